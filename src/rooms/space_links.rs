//! The links between a room and the spaces around it, as they are to be moved when the
//! room is replaced (MSC4168).

use model::{Membership, RoomSerial, UserSerial, tables};
use ruma_common::{OwnedRoomId, RoomId};
use serde_json::{Map, Value};
use store::{Read, Snapshot};

use crate::{EventReader, ReadError, Rooms, StateAt, Viewer};

/// The most links that are moved.
const MAX_LINKS: usize = 200;

/// A link to a room, in the state of another room.
#[derive(Clone, Debug, PartialEq)]
pub struct SpaceLink {
    /// The room whose state it is.
    pub room_id: OwnedRoomId,
    /// `m.space.child` in a space, `m.space.parent` in what is in a space.
    pub event_type: &'static str,
    /// Its content.
    pub content: Map<String, Value>,
}

const CHILD: &str = "m.space.child";
const PARENT: &str = "m.space.parent";

impl Rooms {
    /// The links to a room in the other rooms that `user` is in: the spaces that name it as
    /// their child and the rooms that name it as their parent.
    ///
    /// # Errors
    /// If the database fails.
    pub fn links_to(
        &self,
        view: &Snapshot,
        user: UserSerial,
        room_id: &RoomId,
    ) -> Result<Vec<SpaceLink>, ReadError> {
        let mut links = Vec::new();
        for (room, record) in self.stays(view, user)?.iter() {
            if record.membership != Membership::Join {
                continue;
            }
            for event_type in [CHILD, PARENT] {
                let key = (*room, event_type.to_owned(), room_id.to_string());
                if links.len() < MAX_LINKS && view.contains(&tables::STATE_BY_ROOM, &key)? {
                    links.extend(self.link(view, user, *room, event_type, room_id)?);
                }
            }
        }
        Ok(links)
    }

    /// The link in a room's state, if it still holds: one without servers was taken away.
    fn link(
        &self,
        view: &Snapshot,
        user: UserSerial,
        room: RoomSerial,
        event_type: &'static str,
        room_id: &RoomId,
    ) -> Result<Option<SpaceLink>, ReadError> {
        let viewer = Viewer { user, device: None };
        let reader = EventReader::new(view, room, self.inner.store.secret(), viewer, 0)?;
        let serial = StateAt::Current.get(&reader, event_type, room_id.as_str())?;
        let event = serial.map(|serial| reader.load(serial)).transpose()?;
        let Some(event) = event.flatten() else {
            return Ok(None);
        };
        let content: Map<String, Value> =
            serde_json::from_str(&reader.content(&event)?).unwrap_or_default();
        let holds = content.get("via").is_some_and(Value::is_array);
        let room_id = OwnedRoomId::try_from(reader.room_id.as_str()).ok();
        Ok(room_id.filter(|_| holds).map(|room_id| SpaceLink {
            room_id,
            event_type,
            content,
        }))
    }
}
