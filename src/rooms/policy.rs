//! Policy servers: a room can name a server that looks at every event before it is sent, and
//! recommends it by its signature (client-server and server-server API, "Policy Servers").
//!
//! The rules of the room are not changed by that. An own event that is not recommended is
//! refused; one of another server is kept and not shown. Whoever reaches other servers asks
//! for the signatures, by way of [`PolicyServers`]; while it waits, the room goes on.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use graph::{Event, Received};
use model::{EventStatus, RoomSerial, tables};
use ruma_common::{OwnedServerName, ServerName};
use serde::Deserialize;
use store::{Latest, Read, Snapshot, Writing, Written};

use crate::{
    AppendError, Appended, Incoming, ReadError, Rooms, Sender,
    append::{Transaction, sent_before},
    client_event::load_event,
    is_server_in,
    queue::RoomEnd,
    receive::Checked,
    rows::Extra,
    staging::Staging,
};

/// The type of the state event that names a policy server.
const POLICY: &str = "m.room.policy";
/// The id of the key of every policy server.
pub const POLICY_KEY: &str = "ed25519:policy_server";

/// The policy server of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyServer {
    /// Its name. It has users in the room.
    pub server: OwnedServerName,
    /// Its key, in base64, as the room says.
    pub public_key: String,
}

impl PolicyServer {
    /// Whether the room's events need a signature: all but the one that names the server,
    /// with which people get rid of it.
    fn judges(&self, event: &Event) -> bool {
        !event.is_state(POLICY, "")
    }

    /// Whether an event may be shown.
    pub fn recommends(&self, event: &Event) -> bool {
        !self.judges(event) || event.is_signed_by(&self.server, POLICY_KEY, &self.public_key)
    }
}

/// Why an event was not signed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PolicyError {
    /// The policy server answered with an error, which is its client's.
    #[error("{message}")]
    Refused {
        /// The status.
        status: u16,
        /// The error code, if there is one.
        errcode: Option<String>,
        /// The sentence.
        message: String,
    },
    /// There was no answer, or none that can be used.
    #[error("the room's policy server did not look at the event: {0}")]
    Unanswered(String),
}

/// What a policy server says.
pub type Signing<'a> = Pin<Box<dyn Future<Output = Result<String, PolicyError>> + Send + 'a>>;

/// Who can ask policy servers.
pub trait PolicyServers: Send + Sync {
    /// Asks a server to sign an event; gives the signature in base64, which nobody has
    /// checked.
    fn sign<'a>(&'a self, server: &'a ServerName, event: &'a Event) -> Signing<'a>;
}

/// Events that need a signature before they can enter their room.
pub(crate) struct Unjudged {
    pub(crate) policy: Arc<PolicyServer>,
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) extra: Extra,
}

#[derive(Deserialize)]
struct Content {
    via: OwnedServerName,
    public_keys: BTreeMap<String, serde_json::Value>,
}

impl Unjudged {
    /// Whether a policy server has to look at any of these.
    pub(crate) fn is_any(policy: &PolicyServer, staging: &Staging) -> bool {
        let mut events = staging.events.iter();
        events.any(|staged| policy.judges(&staged.event))
    }
}

/// The policy server that a room uses now, if it uses one. This server is none: it cannot
/// ask itself.
pub(crate) fn policy_server(
    view: &impl Read,
    room: RoomSerial,
    own: &ServerName,
) -> Result<Option<PolicyServer>, ReadError> {
    let key = (room, POLICY.to_owned(), String::new());
    let Some(serial) = view.get(&tables::STATE_BY_ROOM, &key)? else {
        return Ok(None);
    };
    if view.contains(&tables::REDACTION_BY_EVENT, &serial)? {
        return Ok(None);
    }
    let Ok(content) = load_event(view, serial)?.content_as::<Content>() else {
        return Ok(None);
    };
    let Some(public_key) = content
        .public_keys
        .get("ed25519")
        .and_then(|it| it.as_str())
    else {
        return Ok(None);
    };
    if content.via == own || !is_server_in(view, room, content.via.as_str())? {
        return Ok(None);
    }
    Ok(Some(PolicyServer {
        server: content.via,
        public_key: public_key.to_owned(),
    }))
}

impl Staging {
    /// The policy server that the room uses, as its state is staged.
    pub(crate) fn policy_server(
        &mut self,
        rooms: &Rooms,
        latest: &Latest,
    ) -> Result<Option<Arc<PolicyServer>>, AppendError> {
        if self.new_room {
            return Ok(None);
        }
        if let Some((state, policy)) = &self.policy
            && *state == self.head.state
        {
            return Ok(policy.clone());
        }
        let policy = policy_server(latest, self.room, &rooms.inner.server_name)?.map(Arc::new);
        self.policy = Some((self.head.state, policy.clone()));
        Ok(policy)
    }
}

impl Rooms {
    /// From now on policy servers are asked by way of `servers`. The first call counts;
    /// before it, no event enters a room that uses a policy server.
    pub fn ask_policy_servers(&self, servers: Arc<dyn PolicyServers>) {
        // Whoever came first can ask as well.
        let _ = self.inner.policy_servers.set(servers);
    }

    /// The policy server that a room uses, if it uses one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn policy_server(
        &self,
        room: RoomSerial,
    ) -> Result<Option<PolicyServer>, AppendError> {
        let own = self.inner.server_name.clone();
        let read = move |view: &Snapshot| policy_server(view, room, &own);
        Ok(self.inner.store.read(read).await?)
    }

    /// An event with the signature of the room's policy server, which is asked for it if it
    /// must and has not signed yet.
    ///
    /// # Errors
    /// [`PolicyError`]; [`AppendError::Refused`] if the event is too large with the
    /// signature.
    pub async fn recommended_by(
        &self,
        policy: &PolicyServer,
        event: &Event,
    ) -> Result<Event, AppendError> {
        let (server, key) = (&*policy.server, POLICY_KEY);
        if policy.recommends(event) {
            return Ok(event.clone());
        }
        let Some(servers) = self.inner.policy_servers.get() else {
            let nobody = "nobody can ask it".to_owned();
            return Err(PolicyError::Unanswered(nobody).into());
        };
        let signature = servers.sign(server, event).await?;
        let signed = event.with_signature(server, key, &signature)?;
        if policy.recommends(&signed) {
            Ok(signed)
        } else {
            let wrong = "its signature is not by the key that the room names".to_owned();
            Err(PolicyError::Unanswered(wrong).into())
        }
    }

    /// Brings own events into their room that wait for its policy server: built already,
    /// and a fork of the room if others have written to it meanwhile.
    pub(crate) async fn append_unjudged(
        &self,
        room: RoomSerial,
        sender: &Sender,
        transaction: Option<Transaction>,
        unjudged: Unjudged,
    ) -> Result<(Vec<Appended>, Option<Written>), AppendError> {
        let Unjudged {
            policy,
            events,
            extra,
        } = unjudged;
        let mut judged = Vec::with_capacity(events.len());
        for event in events {
            judged.push(self.recommended_by(&policy, &event).await?);
        }
        let (rooms, sender) = (self.clone(), sender.clone());
        self.inner
            .queues
            .write(&self.inner.store, room, move |writing, end| {
                let acting = (&sender, transaction.as_ref());
                rooms.append_judged(writing, room, end, acting, extra, judged)
            })
            .await
    }

    fn append_judged(
        &self,
        writing: &Writing,
        room: RoomSerial,
        end: &mut Option<RoomEnd>,
        (sender, transaction): (&Sender, Option<&Transaction>),
        mut extra: Extra,
        events: Vec<Event>,
    ) -> Result<(Vec<Appended>, Option<Written>), AppendError> {
        if let Some(transaction) = transaction {
            let latest = writing.latest();
            if let Some(earlier) = latest.get(&tables::EVENT_BY_TRANSACTION, transaction)? {
                return Ok((vec![sent_before(latest, room, earlier.event)?], None));
            }
        }
        let (mut appended, mut written) = (Vec::new(), None);
        let count = events.len();
        for (number, event) in events.into_iter().enumerate() {
            let staging = self.stage_judged(writing.latest(), room, end, event)?;
            // What else the commit writes names the last of them.
            let is_last = number + 1 == count;
            let beside = std::mem::replace(&mut extra, Extra::none());
            let beside = if is_last {
                beside
            } else {
                extra = beside;
                Extra::none()
            };
            let transaction = transaction.filter(|_| is_last);
            let (new, durable) =
                self.write_staging(writing, staging, sender, transaction, beside, end)?;
            appended.extend(new);
            written = Some(durable);
        }
        Ok((appended, written))
    }

    /// The place of an own event in its room as that is now.
    pub(crate) fn stage_judged(
        &self,
        latest: &Latest,
        room: RoomSerial,
        end: &mut Option<RoomEnd>,
        event: Event,
    ) -> Result<Staging, AppendError> {
        let changed =
            || AppendError::Forbidden("the room has changed, and does not allow this".to_owned());
        let now = self.inner.clock.now().0;
        let mut staging = match end.take() {
            Some(end) => Staging::on(end, room, now),
            None => Staging::load(latest, room, now)?,
        };
        let incoming = Incoming::new(Received {
            event,
            redacted: false,
        });
        match staging.check_incoming(self, latest, &incoming)? {
            Checked::Placed(placed) if placed.status == EventStatus::Accepted => {
                staging.place(self, latest, incoming.received.event, placed, false)?;
                Ok(staging)
            }
            _ => Err(changed()),
        }
    }
}
