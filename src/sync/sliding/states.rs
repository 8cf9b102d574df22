//! The current state of rooms as it is told, the same for everybody in them: looked up
//! and written once for as long as nothing happens there.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use model::{EventSerial, RoomSerial, room_scope};
use parking_lot::Mutex;
use rooms::{EventReader, StateAt};
use store::{Position, Snapshot, Store};

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
    at: Position,
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
    pub(crate) fn states<'a>(
        &'a self,
        store: &Store,
        reader: &'a EventReader<'a, Snapshot>,
        state: &'a StateAt,
    ) -> States<'a> {
        let is_current = *state == StateAt::Current;
        let position = reader.view.position();
        States {
            cache: self,
            reader,
            state,
            kept: is_current
                .then(|| self.kept(store, reader.room, position))
                .flatten(),
        }
    }

    /// None where what is remembered is newer than the snapshot.
    fn kept(&self, store: &Store, room: RoomSerial, position: Position) -> Option<Arc<Kept>> {
        let mut table = self.0.lock();
        if let Some(kept) = table.rooms.get(&room) {
            if !store.changed_since(room_scope(room), kept.at) {
                return (kept.at <= position).then(|| kept.clone());
            }
            if kept.at > position {
                return None;
            }
            let freed = kept.parts.lock().bytes;
            table.rooms.remove(&room);
            table.bytes = table.bytes.saturating_sub(freed);
        }
        if table.rooms.len() >= MOST_ROOMS || table.bytes > MOST_BYTES {
            *table = Table::default();
        }
        let kept = Arc::new(Kept {
            at: position,
            parts: Mutex::default(),
            name: OnceLock::new(),
            avatar: OnceLock::new(),
        });
        table.rooms.insert(room, kept.clone());
        Some(kept)
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
