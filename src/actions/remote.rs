//! What people ask about people and rooms of other servers.

use std::time::Duration;

use js_int::UInt;
use peers::{Ask, PeerError};
use rooms::{PublicRoomsRequest, ReadError, resolve_alias, servers_to_join_by};
use ruma_common::{
    OwnedRoomId, OwnedServerName, RoomAliasId, ServerName, UserId,
    directory::{Filter, RoomNetwork, RoomTypeFilter},
    profile::ProfileFieldName,
};
use ruma_federation_api::{
    directory::get_public_rooms_filtered::v1 as public_rooms,
    query::{get_profile_information::v1 as profile, get_room_information::v1 as alias},
};
use serde_json::Value;
use store::Snapshot;

use crate::Actions;

/// How long somebody waits for another server.
const WAIT: Duration = Duration::from_secs(15);
/// The longest profile of another server, in bytes.
const PROFILE_BYTES: usize = 128 * 1024;
/// The longest page of another server's directory, in bytes.
const DIRECTORY_BYTES: usize = 4 * 1024 * 1024;
/// The most servers of a room that are believed of another server.
const MOST_SERVERS: usize = 50;
/// The most rooms of one page that another server is asked for.
const MOST_ROOMS: u32 = 500;

/// The room behind an alias, and servers that are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedAlias {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers that know it.
    pub servers: Vec<OwnedServerName>,
}

/// Why an alias leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// This server has no such alias.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The server that it belongs to has none, or does not say.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

impl Actions {
    /// This server's name.
    pub fn server_name(&self) -> &ServerName {
        self.rooms.server_name()
    }

    /// Whether a user is of this server.
    pub fn is_local(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.rooms.server_name()
    }

    /// The profile of a user of another server, as that server tells it; only one field of
    /// it if one is named.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn remote_profile(
        &self,
        user_id: &UserId,
        field: Option<&str>,
    ) -> Result<Vec<(String, Value)>, PeerError> {
        let mut request = profile::Request::new(user_id.to_owned());
        request.field = field.map(ProfileFieldName::from);
        let ask = Ask::new("profile").within(WAIT).up_to(PROFILE_BYTES);
        let answer = self.peers.ask(user_id.server_name(), request, ask).await?;
        let fields = answer.into_iter();
        Ok(fields
            .filter(|(name, _)| field.is_none_or(|wanted| wanted == name))
            .collect())
    }

    /// The room that an alias names, of this server or of another.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn resolve_alias(
        &self,
        room_alias: &RoomAliasId,
    ) -> Result<ResolvedAlias, ResolveError> {
        let own = self.rooms.server_name();
        if room_alias.server_name() == own {
            let (wanted, own) = (room_alias.to_owned(), own.to_owned());
            let read = move |view: &Snapshot| {
                let room_id = resolve_alias(view, &wanted)?;
                let servers = servers_to_join_by(view, &room_id, &own)?;
                Ok::<_, ReadError>(ResolvedAlias { room_id, servers })
            };
            return Ok(self.rooms.store().read(read).await?);
        }
        let request = alias::Request::new(room_alias.to_owned());
        let ask = Ask::new("alias").within(WAIT).regardless();
        let answer = self
            .peers
            .ask(room_alias.server_name(), request, ask)
            .await?;
        let mut servers = answer.servers;
        servers.truncate(MOST_SERVERS);
        Ok(ResolvedAlias {
            room_id: answer.room_id,
            servers,
        })
    }

    /// A page of another server's directory, as that server tells it.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn remote_public_rooms(
        &self,
        server: &ServerName,
        wanted: PublicRoomsRequest,
    ) -> Result<public_rooms::Response, PeerError> {
        let mut request = public_rooms::Request::new();
        let limit = wanted.limit.and_then(|limit| u32::try_from(limit).ok());
        request.limit = limit.map(|limit| UInt::from(limit.min(MOST_ROOMS)));
        request.since = wanted.since;
        let mut filter = Filter::new();
        filter.generic_search_term = wanted.search_term;
        let types = wanted.room_types.into_iter().map(RoomTypeFilter::from);
        filter.room_types = types.collect();
        request.filter = filter;
        request.room_network = RoomNetwork::Matrix;
        let ask = Ask::new("public_rooms").within(WAIT).up_to(DIRECTORY_BYTES);
        self.peers.ask(server, request, ask).await
    }
}
