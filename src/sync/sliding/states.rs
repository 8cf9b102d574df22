//! The current state of rooms as it is told, the same for everybody in them: looked up
//! and written once for as long as nothing happens there.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use model::{EventSerial, RoomSerial, StateRoot, rewriting_scope, room_scope, tables};
use parking_lot::Mutex;
use rooms::{EventReader, StateAt};
use store::{Position, Read, Snapshot, Store, StoreError};

use crate::SyncError;

/// The most rooms whose state is remembered.
const MOST_ROOMS: usize = 20_000;
/// The most that is remembered of one room.
const MOST_OF_ROOM: usize = 2_000;
/// The most bytes of all rooms, about.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// What a remembered thing takes beside its text, about.
const ENTRY: usize = 64;

/// The state of many rooms. Bounded.
#[derive(Default)]
pub(crate) struct StateCache(Mutex<Table>);

#[derive(Default)]
struct Table {
    rooms: HashMap<RoomSerial, Arc<Kept>>,
    bytes: usize,
}

/// What is remembered of one room.
struct Kept {
    /// True from here on, until the room changes.
    at: AtomicU64,
    /// The state that it is about.
    state: StateRoot,
    parts: Mutex<Parts>,
    name: OnceLock<Option<String>>,
    avatar: OnceLock<Option<String>>,
}

#[derive(Default)]
struct Parts {
    /// By event type and state key; none where there is no such state.
    events: HashMap<String, HashMap<String, Option<EventSerial>>>,
    /// All of a type.
    types: HashMap<String, Arc<Vec<(String, EventSerial)>>>,
    /// JSON.
    shown: HashMap<EventSerial, Arc<str>>,
    count: usize,
    bytes: usize,
}

/// The state of one room, for one reader.
pub(crate) struct States<'a> {
    cache: &'a StateCache,
    reader: &'a EventReader<'a, Snapshot>,
    state: &'a StateAt,
    /// None for a state of the past.
    kept: Option<Arc<Kept>>,
}

impl StateCache {
    /// The `state` of the reader's room.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) fn states<'a>(
        &'a self,
        store: &Store,
        reader: &'a EventReader<'a, Snapshot>,
        state: &'a StateAt,
    ) -> Result<States<'a>, StoreError> {
        let kept = match state {
            StateAt::Current => self.kept(store, reader.view, reader.room)?,
            StateAt::Past { .. } => None,
        };
        Ok(States {
            cache: self,
            reader,
            state,
            kept,
        })
    }

    /// None where what is remembered is newer than the snapshot.
    fn kept(
        &self,
        store: &Store,
        snapshot: &Snapshot,
        room: RoomSerial,
    ) -> Result<Option<Arc<Kept>>, StoreError> {
        let position = snapshot.position();
        let known = self.0.lock().rooms.get(&room).cloned();
        if let Some(kept) = &known {
            let at = Position(kept.at.load(Ordering::Acquire));
            if at > position {
                return Ok(None);
            }
            if !store.changed_since(room_scope(room), at) {
                return Ok(known);
            }
        }
        let head = snapshot.get(&tables::HEAD_BY_ROOM, &room)?;
        let state = head.unwrap_or_default().state;
        if let Some(kept) = &known {
            // Messages change nothing of it.
            let at = Position(kept.at.load(Ordering::Acquire));
            if kept.state == state && store.newest_change(rewriting_scope(room)) <= at {
                kept.at.fetch_max(position.0, Ordering::AcqRel);
                return Ok(known);
            }
        }
        let kept = Arc::new(Kept {
            at: AtomicU64::new(position.0),
            state,
            parts: Mutex::default(),
            name: OnceLock::new(),
            avatar: OnceLock::new(),
        });
        let mut table = self.0.lock();
        if let Some(before) = table.rooms.remove(&room) {
            let freed = before.parts.lock().bytes;
            table.bytes = table.bytes.saturating_sub(freed);
        }
        if table.rooms.len() >= MOST_ROOMS || table.bytes > MOST_BYTES {
            *table = Table::default();
        }
        table.rooms.insert(room, kept.clone());
        Ok(Some(kept))
    }

    fn grew(&self, bytes: usize) {
        self.0.lock().bytes += bytes;
    }
}

impl States<'_> {
    /// The event under a type and key.
    pub(crate) fn get(&self, kind: &str, key: &str) -> Result<Option<EventSerial>, SyncError> {
        if let Some(kept) = &self.kept {
            let parts = kept.parts.lock();
            if let Some(known) = parts.events.get(kind).and_then(|keys| keys.get(key)) {
                return Ok(*known);
            }
        }
        let found = self.state.get(self.reader, kind, key)?;
        self.keep(kind.len() + key.len(), |parts| {
            let keys = parts.events.entry(kind.to_owned()).or_default();
            keys.insert(key.to_owned(), found);
        });
        Ok(found)
    }

    /// The keys of a type and their events.
    pub(crate) fn of_type(&self, kind: &str) -> Result<Arc<Vec<(String, EventSerial)>>, SyncError> {
        if let Some(kept) = &self.kept
            && let Some(known) = kept.parts.lock().types.get(kind)
        {
            return Ok(known.clone());
        }
        let found = Arc::new(self.state.of_type(self.reader, kind)?);
        let bytes: usize = found.iter().map(|(key, _)| key.len() + ENTRY).sum();
        self.keep(kind.len() + bytes, |parts| {
            parts.types.insert(kind.to_owned(), found.clone());
        });
        Ok(found)
    }

    /// All of it.
    pub(crate) fn all(&self) -> Result<Vec<(String, String, EventSerial)>, SyncError> {
        Ok(self.state.all(self.reader)?)
    }

    /// An event of it as JSON; none if it is gone.
    pub(crate) fn json(&self, event: EventSerial) -> Result<Option<Arc<str>>, SyncError> {
        if let Some(kept) = &self.kept
            && let Some(known) = kept.parts.lock().shown.get(&event)
        {
            return Ok(Some(known.clone()));
        }
        let Some(loaded) = self.reader.load(event)? else {
            return Ok(None);
        };
        let Some(plain) = self.reader.plain_json(&loaded)? else {
            return Ok(Some(self.reader.json(&loaded, false)?.into()));
        };
        let shown: Arc<str> = plain.into();
        self.keep(shown.len(), |parts| {
            parts.shown.insert(event, shown.clone());
        });
        Ok(Some(shown))
    }

    /// The room's name; none if it is empty.
    pub(crate) fn name(&self) -> Result<Option<String>, SyncError> {
        self.remembered(|kept| &kept.name, "m.room.name", "name")
    }

    /// The URL of the room's avatar; none if it is empty.
    pub(crate) fn avatar(&self) -> Result<Option<String>, SyncError> {
        self.remembered(|kept| &kept.avatar, "m.room.avatar", "url")
    }

    fn remembered(
        &self,
        place: impl Fn(&Kept) -> &OnceLock<Option<String>>,
        kind: &str,
        field: &str,
    ) -> Result<Option<String>, SyncError> {
        if let Some(kept) = &self.kept
            && let Some(known) = place(kept).get()
        {
            return Ok(known.clone());
        }
        let text = self.text(kind, field)?;
        if let Some(kept) = &self.kept {
            let _ = place(kept).set(text.clone());
        }
        Ok(text)
    }

    /// A text in the content of state; none if it is empty.
    fn text(&self, kind: &str, field: &str) -> Result<Option<String>, SyncError> {
        let Some(serial) = self.get(kind, "")? else {
            return Ok(None);
        };
        let Some(event) = self.reader.load(serial)? else {
            return Ok(None);
        };
        let content = self.reader.content(&event)?;
        let content: Option<serde_json::Value> = serde_json::from_str(&content).ok();
        let text = content.and_then(|content| content.get(field)?.as_str().map(str::to_owned));
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// Remembers something of so many bytes, if there is room for it.
    fn keep(&self, bytes: usize, put: impl FnOnce(&mut Parts)) {
        let Some(kept) = &self.kept else {
            return;
        };
        let mut parts = kept.parts.lock();
        if parts.count >= MOST_OF_ROOM {
            return;
        }
        put(&mut parts);
        parts.count += 1;
        parts.bytes += bytes + ENTRY;
        drop(parts);
        self.cache.grew(bytes + ENTRY);
    }
}
