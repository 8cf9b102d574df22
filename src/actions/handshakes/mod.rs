//! Memberships that two servers make together (server-server API, "Joining Rooms",
//! "Inviting to a room", "Leaving Rooms", "Knocking upon a room"): of this server's people in
//! rooms of others (`entering`, `leaving`, `knocking`), and of other servers' people in rooms
//! of this one (`hosting`, `invited`).

mod asking;
mod entering;
mod hosting;
mod invited;
mod inviting;
mod knocking;
mod leaving;
mod third_parties;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use peers::PeerError;
use rooms::AppendError;
use ruma_common::{OwnedRoomId, OwnedServerName, RoomId, RoomOrAliasId, ServerName};
use store::StoreError;

pub use hosting::Sent;
pub use invited::SentInvitation;

use crate::{Actions, ResolveError, UnusableEvent, receiving::Incomplete};

/// The most servers that are asked to let somebody into a room.
const MOST_SERVERS: usize = 10;
/// The most of them that did not answer lately: each may take its time to do it again.
const MOST_FAILING: usize = 2;

/// Why a membership did not come about.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// This server, or the room as it knows it, refuses it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The alias leads nowhere.
    #[error(transparent)]
    Alias(#[from] ResolveError),
    /// Another server refuses it, or does not answer.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// No server is known that is in the room (`M_NOT_FOUND`).
    #[error("no server is known that could let you into this room")]
    NoServer,
    /// What another server has sent is not what it should be (400 `M_INVALID_PARAM`).
    #[error("{0}")]
    Invalid(String),
    /// The event is not vouched for (403 `M_FORBIDDEN`).
    #[error(transparent)]
    Unusable(#[from] UnusableEvent),
    /// The room's rules refuse the event (403 `M_FORBIDDEN`).
    #[error("the room refuses the event: {0}")]
    Rejected(String),
    /// The room has a version that this server does not know
    /// (400 `M_INCOMPATIBLE_ROOM_VERSION`).
    #[error("this server does not know rooms of version {0}")]
    UnknownVersion(String),
}

impl From<StoreError> for HandshakeError {
    fn from(error: StoreError) -> Self {
        Self::Append(error.into())
    }
}

impl From<Incomplete> for HandshakeError {
    fn from(error: Incomplete) -> Self {
        match error {
            Incomplete::Store(error) => error.into(),
            Incomplete::Reason(reason) => PeerError::BadAnswer(reason).into(),
        }
    }
}

impl HandshakeError {
    /// Whether nobody else need be asked: what is wrong is here, or with the request.
    fn is_final(&self) -> bool {
        match self {
            Self::Append(
                AppendError::Store(_) | AppendError::Suspended | AppendError::GuestsForbidden,
            )
            | Self::UnknownVersion(_) => true,
            Self::Peer(PeerError::Status { errcode, .. }) => {
                errcode.as_deref() == Some("M_INCOMPATIBLE_ROOM_VERSION")
            }
            _ => false,
        }
    }

    /// How much it tells the person who asked: an answer of a server in the room most.
    fn weight(&self) -> u8 {
        match self {
            Self::Peer(PeerError::Status { errcode, .. }) => match errcode.as_deref() {
                Some("M_FORBIDDEN" | "M_UNABLE_TO_AUTHORISE_JOIN" | "M_UNABLE_TO_GRANT_JOIN") => 4,
                _ => 3,
            },
            Self::Peer(_) => 1,
            _ => 2,
        }
    }
}

/// Of several failures the one that tells most.
fn worse(one: Option<HandshakeError>, other: HandshakeError) -> HandshakeError {
    match one {
        Some(one) if one.weight() >= other.weight() => one,
        _ => other,
    }
}

/// Whose turn it is to come into each room. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Entries(Arc<Mutex<HashMap<OwnedRoomId, Weak<tokio::sync::Mutex<()>>>>>);

impl Entries {
    fn of(&self, room_id: &RoomId) -> Arc<tokio::sync::Mutex<()>> {
        let mut rooms = self.0.lock();
        if let Some(turn) = rooms.get(room_id).and_then(Weak::upgrade) {
            return turn;
        }
        rooms.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        rooms.insert(room_id.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

/// Servers to ask, each once, the most promising first, this one never.
struct Candidates {
    own: OwnedServerName,
    servers: Vec<OwnedServerName>,
}

impl Candidates {
    fn add<'a>(&mut self, servers: impl IntoIterator<Item = &'a ServerName>) {
        for server in servers {
            if server != self.own && !self.servers.iter().any(|it| it == server) {
                self.servers.push(server.to_owned());
            }
        }
    }

    fn into_servers(mut self) -> Vec<OwnedServerName> {
        self.servers.truncate(MOST_SERVERS);
        self.servers
    }
}

impl Actions {
    fn candidates(&self) -> Candidates {
        Candidates {
            own: self.rooms.server_name().to_owned(),
            servers: Vec::new(),
        }
    }

    /// Servers in the order in which they are asked: of those who did not answer lately some, and
    /// at the end. They may be back, and a person waits.
    fn in_order(&self, servers: Vec<OwnedServerName>) -> Vec<OwnedServerName> {
        let answers = |server: &OwnedServerName| self.peers.left_alone_until(server).is_none();
        let (mut servers, failing): (Vec<_>, Vec<_>) = servers.into_iter().partition(answers);
        servers.extend(failing.into_iter().take(MOST_FAILING));
        servers
    }

    /// The room that a client means, and servers that are said to be in it.
    pub(crate) async fn find_room(
        &self,
        target: &RoomOrAliasId,
        via: &[OwnedServerName],
    ) -> Result<(OwnedRoomId, Vec<OwnedServerName>), HandshakeError> {
        let mut candidates = self.candidates();
        let room_id = match <&RoomId>::try_from(target) {
            Ok(room_id) => {
                candidates.add(via.iter().map(AsRef::as_ref));
                room_id.to_owned()
            }
            Err(alias) => {
                let resolved = self.resolve_alias(alias).await?;
                candidates.add(resolved.servers.iter().map(AsRef::as_ref));
                candidates.add(via.iter().map(AsRef::as_ref));
                resolved.room_id
            }
        };
        Ok((room_id, candidates.into_servers()))
    }
}
