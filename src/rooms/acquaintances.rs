//! Whom somebody may know of: those who share a room with them, and those in rooms
//! that are open to all.

use std::collections::{HashMap, HashSet};

use model::{Membership, RoomSerial, UserSerial, tables};
use serde::Deserialize;
use serde_json::{Map, Value};
use store::{Read, StoreError};

/// The users that one user may know of (client-server API, "User Directory").
pub struct Acquaintances<'a, R> {
    view: &'a R,
    user: UserSerial,
    /// The rooms that the user is in.
    rooms: HashSet<RoomSerial>,
    /// Whether anybody may join or read a room, as far as it was asked.
    open: HashMap<RoomSerial, bool>,
}

impl<'a, R: Read> Acquaintances<'a, R> {
    /// Those of `user`.
    ///
    /// # Errors
    /// If the database fails.
    pub fn of(view: &'a R, user: UserSerial) -> Result<Self, StoreError> {
        Ok(Self {
            view,
            user,
            rooms: joined(view, user).collect::<Result<_, _>>()?,
            open: HashMap::new(),
        })
    }

    /// Whether `other` is one of them. The user is, too, as anybody who is in an open room.
    ///
    /// # Errors
    /// If the database fails.
    pub fn include(&mut self, other: UserSerial) -> Result<bool, StoreError> {
        for room in joined(self.view, other) {
            let room = room?;
            let is_shared = other != self.user && self.rooms.contains(&room);
            if is_shared || self.is_open(room)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_open(&mut self, room: RoomSerial) -> Result<bool, StoreError> {
        if let Some(known) = self.open.get(&room) {
            return Ok(*known);
        }
        let text = |event_type: &str, field: &str| room_text(self.view, room, event_type, field);
        let open = text("m.room.join_rules", "join_rule")?.as_deref() == Some("public")
            || text("m.room.history_visibility", "history_visibility")?.as_deref()
                == Some("world_readable");
        self.open.insert(room, open);
        Ok(open)
    }
}

fn joined(
    view: &impl Read,
    user: UserSerial,
) -> impl Iterator<Item = Result<RoomSerial, StoreError>> {
    view.scan(&tables::MEMBERSHIP_BY_USER, &(user,))
        .filter(|row| !matches!(row, Ok((_, record)) if record.membership != Membership::Join))
        .map(|row| row.map(|((_, room), _)| room))
}

/// The content of a part of a room's state under an empty key, as it was sent.
///
/// # Errors
/// If the database fails.
pub fn room_content(
    view: &impl Read,
    room: RoomSerial,
    event_type: &str,
) -> Result<Option<Map<String, Value>>, StoreError> {
    #[derive(Deserialize)]
    struct Event {
        content: Map<String, Value>,
    }
    let key = (room, event_type.to_owned(), String::new());
    let Some(serial) = view.get(&tables::STATE_BY_ROOM, &key)? else {
        return Ok(None);
    };
    let stored = view.get(&tables::EVENT_BY_SERIAL, &serial)?;
    Ok(stored
        .and_then(|stored| serde_json::from_slice::<Event>(&stored.json).ok())
        .map(|event| event.content))
}

/// A text in the content of a part of a room's state, where there is one.
///
/// # Errors
/// If the database fails.
pub fn room_text(
    view: &impl Read,
    room: RoomSerial,
    event_type: &str,
    field: &str,
) -> Result<Option<String>, StoreError> {
    let content = room_content(view, room, event_type)?;
    Ok(content.and_then(|content| content.get(field)?.as_str().map(str::to_owned)))
}
