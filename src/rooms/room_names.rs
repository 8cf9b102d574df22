//! What rooms are called, kept in memory for lists of all of them: read anew where a room's state
//! is another, or something of it was redacted.

use std::{collections::HashMap, sync::Arc};

use model::{RoomHead, RoomSerial, StateRoot, rewriting_scope};
use parking_lot::Mutex;
use store::{Position, Snapshot, StoreError};

use crate::{Rooms, room_text};

/// The most rooms whose names are kept.
const MOST: usize = 100_000;

/// What a room is called.
pub(crate) struct RoomName {
    state: StateRoot,
    at: Position,
    pub(crate) room_id: String,
    pub(crate) name: Option<String>,
    /// Name and main alias in small letters, for searches.
    searched: [String; 2],
}

impl RoomName {
    /// Whether a text, in small letters, stands in the name or the main alias, or one as it is
    /// typed in the id.
    pub(crate) fn has(&self, typed: &str, lower: &str) -> bool {
        self.room_id.contains(typed) || self.searched.iter().any(|text| text.contains(lower))
    }
}

/// The names of many rooms. Bounded.
#[derive(Default)]
pub(crate) struct RoomNames(Mutex<HashMap<RoomSerial, Arc<RoomName>>>);

impl Rooms {
    /// What a room is called; none if it is not there.
    pub(crate) fn name_of(
        &self,
        view: &Snapshot,
        room: RoomSerial,
        head: &RoomHead,
    ) -> Result<Option<Arc<RoomName>>, StoreError> {
        let rewritten = self.inner.store.newest_change(rewriting_scope(room));
        let known = self.inner.room_names.0.lock().get(&room).cloned();
        if let Some(known) =
            known.filter(|known| known.state == head.state && rewritten <= known.at)
        {
            return Ok(Some(known));
        }
        let Some(room_id) = model::room_id(view, room)? else {
            return Ok(None);
        };
        let name = room_text(view, room, "m.room.name", "name")?;
        let alias = room_text(view, room, "m.room.canonical_alias", "alias")?;
        let lower = |text: &Option<String>| text.as_deref().unwrap_or_default().to_lowercase();
        let read = Arc::new(RoomName {
            state: head.state,
            at: view.position(),
            searched: [lower(&name), lower(&alias)],
            room_id,
            name,
        });
        let mut names = self.inner.room_names.0.lock();
        if names.len() >= MOST {
            names.clear();
        }
        names.insert(room, read.clone());
        Ok(Some(read))
    }
}
