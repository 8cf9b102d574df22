//! People of other servers whom somebody may know of: who is in the same rooms, and in those
//! that this server lists for all.

use std::collections::BTreeSet;

use model::{EventSerial, Membership, RoomSerial, UserSerial, tables};
use ruma_common::{ServerName, UserId};
use serde::Deserialize;
use serde_json::Value;
use store::{Read, StoreError};

use crate::membership::joined;

/// The most memberships that one search looks at. Small rooms come first, so that of the
/// largest alone somebody is missed.
const MOST_EXAMINED: usize = 4_000;

/// Somebody of another server, as one room shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Whose membership it is.
    pub user_id: String,
    /// The name that the user goes by there.
    pub display_name: Option<String>,
    /// The URL of the user's avatar there.
    pub avatar_url: Option<String>,
}

#[derive(Deserialize)]
struct Member {
    content: Content,
}

/// Memberships of others may hold anything: only text is a name.
#[derive(Deserialize)]
struct Content {
    membership: String,
    #[serde(default)]
    displayname: Value,
    #[serde(default)]
    avatar_url: Value,
}

/// Shows the people of other servers whom `user` may know of, each as often as there are rooms
/// that show them. Returns whether all were looked at.
///
/// # Errors
/// If the database fails.
pub fn visit_neighbours(
    view: &impl Read,
    own: &ServerName,
    user: UserSerial,
    mut visit: impl FnMut(Neighbour),
) -> Result<bool, StoreError> {
    let mut examined = 0;
    for (_, room) in rooms_by_size(view, user)? {
        let members = (room, "m.room.member".to_owned());
        for row in view.scan(&tables::STATE_BY_ROOM, &members) {
            let ((_, _, user_id), event) = row?;
            if UserId::parse(&*user_id).is_ok_and(|id| id.server_name() == own) {
                continue;
            }
            if examined == MOST_EXAMINED {
                return Ok(false);
            }
            examined += 1;
            if let Some(neighbour) = neighbour(view, user_id, event)? {
                visit(neighbour);
            }
        }
    }
    Ok(true)
}

/// Somebody who has joined, as the membership says.
fn neighbour(
    view: &impl Read,
    user_id: String,
    event: EventSerial,
) -> Result<Option<Neighbour>, StoreError> {
    let stored = view.get(&tables::EVENT_BY_SERIAL, &event)?;
    let member = stored.and_then(|stored| serde_json::from_slice::<Member>(&stored.json).ok());
    let Some(Member { mut content }) = member else {
        return Ok(None);
    };
    if Membership::from_name(&content.membership) != Some(Membership::Join) {
        return Ok(None);
    }
    // A redaction leaves nothing but the membership.
    if view.contains(&tables::REDACTION_BY_EVENT, &event)? {
        (content.displayname, content.avatar_url) = (Value::Null, Value::Null);
    }
    let text = |value: Value| value.as_str().map(str::to_owned);
    Ok(Some(Neighbour {
        user_id,
        display_name: text(content.displayname),
        avatar_url: text(content.avatar_url),
    }))
}

/// The user's rooms and those that are listed, in which users of other servers are, the
/// smallest first.
fn rooms_by_size(
    view: &impl Read,
    user: UserSerial,
) -> Result<BTreeSet<(u64, RoomSerial)>, StoreError> {
    let mut rooms = BTreeSet::new();
    let listed = view.scan(&tables::PUBLISHED_ROOM, &());
    let listed = listed.map(|row| row.map(|(room, ())| room));
    let own = joined(view, user)?.into_iter().map(Ok);
    for room in own.chain(listed) {
        let room = room?;
        if has_others(view, room)? {
            let head = view.get(&tables::HEAD_BY_ROOM, &room)?.unwrap_or_default();
            rooms.insert((head.joined, room));
        }
    }
    Ok(rooms)
}

fn has_others(view: &impl Read, room: RoomSerial) -> Result<bool, StoreError> {
    for row in view.scan(&tables::SERVER_BY_ROOM, &(room,)) {
        if row?.1.joined > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
