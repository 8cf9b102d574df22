//! What rooms and users are called, kept in memory: it is asked for all the time, and never
//! changes.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use graph::Version;
use model::{RoomSerial, UserSerial};
use parking_lot::Mutex;
use store::{Read, StoreError};

use crate::{ReadError, room_record};

/// The most rooms, and the most users, whose names are kept.
const MOST: usize = 10_000;

/// The names that were asked for lately. Bounded.
#[derive(Default)]
pub(crate) struct Identities {
    rooms: Names<RoomSerial, RoomIdentity>,
    users: Names<UserSerial, str>,
}

/// What never changes about a room, and everybody needs who reads it.
pub(crate) struct RoomIdentity {
    pub(crate) room_id: String,
    pub(crate) version: Version,
}

struct Names<K, V: ?Sized>(Mutex<HashMap<K, Arc<V>>>);

impl<K, V: ?Sized> Default for Names<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Copy, V: ?Sized> Names<K, V> {
    fn get(&self, key: K) -> Option<Arc<V>> {
        self.0.lock().get(&key).cloned()
    }

    fn put(&self, key: K, name: &Arc<V>) {
        let mut names = self.0.lock();
        if names.len() >= MOST {
            names.clear();
        }
        names.insert(key, name.clone());
    }
}

impl Identities {
    /// The id and the version of a room.
    ///
    /// # Errors
    /// If the room is not there, or the database fails.
    pub(crate) fn room(
        &self,
        view: &impl Read,
        room: RoomSerial,
    ) -> Result<Arc<RoomIdentity>, ReadError> {
        if let Some(known) = self.rooms.get(room) {
            return Ok(known);
        }
        let (record, version) = room_record(view, room)?;
        let identity = Arc::new(RoomIdentity {
            room_id: record.room_id,
            version,
        });
        self.rooms.put(room, &identity);
        Ok(identity)
    }

    /// The user id behind a serial.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) fn user(
        &self,
        view: &impl Read,
        user: UserSerial,
    ) -> Result<Option<Arc<str>>, StoreError> {
        if let Some(known) = self.users.get(user) {
            return Ok(Some(known));
        }
        let Some(user_id) = model::user_id(view, user)? else {
            return Ok(None);
        };
        let user_id: Arc<str> = user_id.into();
        self.users.put(user, &user_id);
        Ok(Some(user_id))
    }
}
