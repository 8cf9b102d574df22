//! Which servers are told of an event.

use model::{
    EventSerial, EventStatus, RoomSerial, RoomServerRecord, StoredEvent,
    tables::{EVENT_BY_SERIAL, EVENT_META_BY_SERIAL, RELAYED_EVENT},
};
use ruma_common::{ServerName, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{Read, StoreError};

/// What decides about an event.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(rename = "type")]
    event_type: String,
    sender: String,
    state_key: Option<String>,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct Member {
    membership: String,
}

/// An event that this server has to bring to others.
pub(super) struct Told {
    pub(super) stored: StoredEvent,
    /// The commit that brought it.
    pub(super) position: u64,
    /// The sender's server, which knows it.
    home: String,
    /// The server of the user whom it sends away, in the room or not.
    target: Option<String>,
    /// The user of this server who says that they are in the room: who has come, perhaps, or
    /// has another name.
    pub(super) joined: Option<String>,
}

impl Told {
    /// Reads an event. None if it is not part of the room, or is another server's to
    /// bring to others.
    pub(super) fn load(
        view: &impl Read,
        own: &ServerName,
        event: EventSerial,
    ) -> Result<Option<Self>, StoreError> {
        let Some(meta) = view.get(&EVENT_META_BY_SERIAL, &event)? else {
            return Ok(None);
        };
        let is_part = matches!(
            meta.status,
            EventStatus::Accepted | EventStatus::StatePartial
        );
        let Some(stored) = view.get(&EVENT_BY_SERIAL, &event)?.filter(|_| is_part) else {
            return Ok(None);
        };
        let Ok(header) = serde_json::from_slice::<Header<'_>>(&stored.json) else {
            return Ok(None);
        };
        let Some(home) = server_of(&header.sender) else {
            return Ok(None);
        };
        if home != own.as_str() && !view.contains(&RELAYED_EVENT, &event)? {
            return Ok(None);
        }
        let membership = membership(&header);
        let is_join = membership.as_ref().is_some_and(|(_, name)| name == "join");
        let joined = (is_join && home == own.as_str()).then(|| header.sender.clone());
        let target = match target(membership, own) {
            Some(target) if rooms::federates(view, stored.room)? => Some(target),
            _ => None,
        };
        Ok(Some(Self {
            position: meta.position,
            stored,
            home,
            target,
            joined,
        }))
    }

    /// Whether a server is told: it was in the room, or one of its users is sent away. Not
    /// the one that has sent it.
    pub(super) fn is_for(&self, server: &str, record: &RoomServerRecord) -> bool {
        let is_target = self.target.as_deref() == Some(server);
        self.home != server && (is_target || record.was_in(self.position))
    }
}

fn server_of(user_id: &str) -> Option<String> {
    let user_id = UserId::parse(user_id).ok()?;
    Some(user_id.server_name().to_string())
}

/// Whose membership an event is, and which.
fn membership(header: &Header<'_>) -> Option<(String, String)> {
    if header.event_type != "m.room.member" {
        return None;
    }
    let member: Member = serde_json::from_str(header.content.get()).ok()?;
    Some((header.state_key.clone()?, member.membership))
}

/// The other server whose user a membership is about. An invitation goes there by a way of
/// its own, which the other server must agree to.
fn target(membership: Option<(String, String)>, own: &ServerName) -> Option<String> {
    let (member, membership) = membership?;
    let server = server_of(&member)?;
    (server != own.as_str() && membership != "invite").then_some(server)
}

/// What a room has of a server.
pub(super) fn server_in(
    view: &impl Read,
    room: RoomSerial,
    server: &str,
) -> Result<RoomServerRecord, StoreError> {
    let record = view.get(&model::tables::SERVER_BY_ROOM, &(room, server.to_owned()))?;
    Ok(record.unwrap_or_default())
}
