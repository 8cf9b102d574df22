//! Events that were read lately, kept in memory with what is known about them: for pages of
//! timelines, syncs and lists of members.
//!
//! Only what is part of a room is kept, as it was at one commit. It is true for a snapshot of
//! that commit or a later one, as long as nothing of the room's past was rewritten meanwhile
//! (`model::rewriting_scope`): a redaction has its target read again.

use std::collections::HashMap;

use model::{EventSerial, EventStatus, RoomSerial, rewriting_scope};
use parking_lot::Mutex;
use store::{Position, Read, Store};

use crate::ClientEvent;

/// The most bytes of each generation; there are two.
const MOST_BYTES: usize = 12 << 20;
/// What an event takes beside its body, in bytes, about.
const ENTRY: usize = 256;

/// The events. Those that nobody has asked for while as many others were go.
#[derive(Default)]
pub(crate) struct EventCache(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: Generation,
    old: Generation,
    /// What is to be dropped when the lock is free.
    gone: Option<Generation>,
}

#[derive(Default)]
struct Generation {
    events: HashMap<EventSerial, Entry>,
    bytes: usize,
}

#[derive(Clone)]
struct Entry {
    event: ClientEvent,
    /// The commit as of which it was read.
    at: Position,
}

/// The cache as one reader of one room may use it.
#[derive(Clone, Copy)]
pub(crate) struct Remembered<'a> {
    cache: &'a EventCache,
    room: RoomSerial,
    /// Nothing of the room was rewritten between these two: what was read in between is true.
    since: Position,
    at: Position,
}

impl EventCache {
    /// The cache for who reads `room` from `view`; none if that is no snapshot.
    pub(crate) fn seen_from<'a>(
        &'a self,
        store: &Store,
        view: &impl Read,
        room: RoomSerial,
    ) -> Option<Remembered<'a>> {
        let at = view.published()?;
        Some(Remembered {
            cache: self,
            room,
            since: store.newest_change(rewriting_scope(room)),
            at,
        })
    }

    /// Forgets what nobody has asked for since this was called the last time but one.
    pub(crate) fn rest(&self) {
        let mut kept = self.0.lock();
        kept.turn();
        let gone = kept.gone.take();
        drop(kept);
        drop(gone);
    }

    /// About how many bytes are kept.
    pub(crate) fn bytes(&self) -> usize {
        let kept = self.0.lock();
        kept.young.bytes + kept.old.bytes
    }
}

impl Remembered<'_> {
    fn is_true(&self, entry: &Entry) -> bool {
        (self.since..=self.at).contains(&entry.at) && entry.event.stored.room == self.room
    }

    /// The event of a serial, if it is kept.
    pub(crate) fn get(&self, serial: EventSerial) -> Option<ClientEvent> {
        self.get_many(&[serial]).pop().flatten()
    }

    /// The events of some serials, in their order, as far as they are kept.
    pub(crate) fn get_many(&self, serials: &[EventSerial]) -> Vec<Option<ClientEvent>> {
        let mut kept = self.cache.0.lock();
        let found = serials.iter().map(|serial| {
            let entry = kept.find(*serial)?;
            self.is_true(entry).then(|| entry.event.clone())
        });
        let found = found.collect();
        let gone = kept.gone.take();
        drop(kept);
        drop(gone);
        found
    }

    /// Keeps events as they stand in the snapshot.
    pub(crate) fn put<'e>(&self, events: impl IntoIterator<Item = &'e ClientEvent>) {
        if self.at < self.since {
            // Whoever comes next could not use them.
            return;
        }
        let mut kept = self.cache.0.lock();
        for event in events {
            if event.meta.status == EventStatus::Accepted {
                kept.put(event.clone(), self.at);
            }
        }
        let gone = kept.gone.take();
        drop(kept);
        drop(gone);
    }
}

impl Generations {
    fn find(&mut self, serial: EventSerial) -> Option<&Entry> {
        if let Some(entry) = self.old.events.remove(&serial) {
            self.old.bytes = self.old.bytes.saturating_sub(entry.bytes());
            self.add(entry);
        }
        let young = self.young.events.get(&serial);
        young.or_else(|| self.old.events.get(&serial))
    }

    fn put(&mut self, event: ClientEvent, at: Position) {
        let newer = self.find(event.serial).filter(|known| known.at > at);
        if newer.is_none() {
            self.add(Entry { event, at });
        }
    }

    fn add(&mut self, entry: Entry) {
        self.young.bytes += entry.bytes();
        let serial = entry.event.serial;
        if let Some(earlier) = self.young.events.insert(serial, entry) {
            self.young.bytes = self.young.bytes.saturating_sub(earlier.bytes());
        }
        if self.young.bytes > MOST_BYTES {
            self.turn();
        }
    }

    /// Begins another generation: what is left of the old one goes.
    fn turn(&mut self) {
        let young = std::mem::take(&mut self.young);
        self.gone = Some(std::mem::replace(&mut self.old, young));
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY + self.event.stored.bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{EventMeta, StoredEvent};

    use super::*;

    const LARGE: usize = 64 << 10;

    fn event(serial: u64, status: EventStatus) -> ClientEvent {
        let stored = StoredEvent {
            room: RoomSerial(1),
            event_id: format!("${serial}"),
            json: vec![b' '; LARGE],
        };
        ClientEvent {
            serial: EventSerial(serial),
            stored: Arc::new(stored.into()),
            meta: EventMeta {
                status,
                depth: serial,
                tie_break: serial,
                position: serial,
                state_before: [0; 16],
                generation: 0,
                replaces: None,
            },
            redacted_by: None,
        }
    }

    fn at(cache: &EventCache, since: u64, at: u64) -> Remembered<'_> {
        Remembered {
            cache,
            room: RoomSerial(1),
            since: Position(since),
            at: Position(at),
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_asked_for_stays() {
        let cache = EventCache::default();
        let reader = at(&cache, 0, 1);
        for serial in 0..2_000 {
            reader.put([&event(serial, EventStatus::Accepted)]);
            assert!(cache.bytes() <= 2 * (MOST_BYTES + 2 * LARGE));
            assert!(reader.get(EventSerial(0)).is_some(), "after {serial}");
        }
        assert!(reader.get(EventSerial(1)).is_none());
        assert!(reader.get(EventSerial(1_999)).is_some());
        let kept = cache.0.lock();
        for generation in [&kept.young, &kept.old] {
            let bytes = generation.events.values().map(Entry::bytes);
            assert_eq!(generation.bytes, bytes.sum::<usize>());
        }
    }

    #[test]
    fn what_is_asked_for_no_more_goes() {
        let cache = EventCache::default();
        let reader = at(&cache, 0, 1);
        for serial in 1..=2 {
            reader.put([&event(serial, EventStatus::Accepted)]);
        }
        for _ in 0..3 {
            cache.rest();
            assert!(reader.get(EventSerial(1)).is_some());
        }
        assert!(reader.get(EventSerial(2)).is_none());
        cache.rest();
        cache.rest();
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn only_what_is_true_is_told() {
        let cache = EventCache::default();
        at(&cache, 0, 5).put([&event(1, EventStatus::Accepted)]);
        at(&cache, 0, 5).put([&event(2, EventStatus::StatePartial)]);
        for (since, of, expected) in [
            (0, 5, true),
            (5, 9, true),
            // Read later than the snapshot.
            (0, 4, false),
            // Rewritten since.
            (6, 9, false),
        ] {
            let found = at(&cache, since, of).get(EventSerial(1));
            assert_eq!(found.is_some(), expected, "{since} {of}");
        }
        assert!(
            at(&cache, 0, 5).get(EventSerial(2)).is_none(),
            "no part of the room yet"
        );
        let other = Remembered {
            room: RoomSerial(2),
            ..at(&cache, 0, 5)
        };
        assert!(other.get(EventSerial(1)).is_none(), "of another room");
        // An older reading does not replace a newer one.
        at(&cache, 0, 3).put([&event(1, EventStatus::Accepted)]);
        assert!(at(&cache, 4, 9).get(EventSerial(1)).is_some());
    }
}
