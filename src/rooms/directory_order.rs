//! The order of the public directory, kept in memory: a request finds its page there and
//! reads only what changed since somebody asked before.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use model::{RoomSerial, occupancy_scope, publication_scope, room_scope, tables};
use parking_lot::Mutex;
use store::{Position, Read, Snapshot, Store, StoreError};

/// Where a room stands: after those with more members, and those that are older.
pub(crate) type Place = (Reverse<u64>, RoomSerial);

/// The most published rooms whose order is kept. With more, every request sorts them.
const MAX_KEPT: usize = 100_000;

/// All rooms of the directory that somebody is in, in their order.
type Places = Arc<Vec<Place>>;

/// The order as it was at a position.
struct Kept {
    at: Position,
    places: Places,
    /// How many are in each published room, those without anybody among them.
    joined: HashMap<RoomSerial, u64>,
}

#[derive(Default)]
pub(crate) struct DirectoryOrder(Mutex<Option<Kept>>);

impl DirectoryOrder {
    /// The order as of a snapshot.
    pub(crate) fn of(&self, store: &Store, view: &Snapshot) -> Result<Places, StoreError> {
        let mut slot = self.0.lock();
        let is_true = |kept: &&mut Kept| {
            // What is newer than the snapshot may show what is not in it.
            kept.at <= view.position() && !store.changed_since(publication_scope(), kept.at)
        };
        if let Some(kept) = slot.as_mut().filter(is_true) {
            kept.bring_up_to(store, view)?;
            return Ok(kept.places.clone());
        }
        let kept = Kept::read(view)?;
        let places = kept.places.clone();
        let is_newer = |other: &Kept| other.at > kept.at;
        if kept.joined.len() <= MAX_KEPT && !slot.as_ref().is_some_and(is_newer) {
            *slot = Some(kept);
        }
        Ok(places)
    }
}

impl Kept {
    fn read(view: &Snapshot) -> Result<Self, StoreError> {
        let mut joined = HashMap::new();
        for row in view.scan(&tables::PUBLISHED_ROOM, &()) {
            let (room, ()) = row?;
            joined.insert(room, joined_in(view, room)?);
        }
        let inhabited = joined.iter().filter(|(_, joined)| **joined > 0);
        let mut places: Vec<Place> = inhabited
            .map(|(room, joined)| (Reverse(*joined), *room))
            .collect();
        places.sort_unstable();
        Ok(Self {
            at: view.position(),
            places: Arc::new(places),
            joined,
        })
    }

    /// Moves the rooms that people came into or left.
    fn bring_up_to(&mut self, store: &Store, view: &Snapshot) -> Result<(), StoreError> {
        if store.changed_since(occupancy_scope(), self.at) {
            let mut moved = Vec::new();
            for (room, joined) in &self.joined {
                if store.changed_since(room_scope(*room), self.at) {
                    let now = joined_in(view, *room)?;
                    if now != *joined {
                        moved.push((*room, *joined, now));
                    }
                }
            }
            for (room, before, now) in moved {
                self.joined.insert(room, now);
                let places = Arc::make_mut(&mut self.places);
                if let Ok(place) = places.binary_search(&(Reverse(before), room)) {
                    places.remove(place);
                }
                let place = (Reverse(now), room);
                if now > 0
                    && let Err(gap) = places.binary_search(&place)
                {
                    places.insert(gap, place);
                }
            }
        }
        self.at = view.position();
        Ok(())
    }
}

fn joined_in(view: &Snapshot, room: RoomSerial) -> Result<u64, StoreError> {
    let head = view.get(&tables::HEAD_BY_ROOM, &room)?;
    Ok(head.map_or(0, |head| head.joined))
}
