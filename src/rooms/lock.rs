//! One lock for each room that is being written to, with the head as last written.

use std::{collections::HashMap, sync::Arc};

use graph::{Event, PowerLevels, Version};
use model::{EventSerial, RoomHead, RoomRecord, RoomSerial};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

/// Rooms kept after their last writer has gone, so that the next one need not read.
const KEPT: usize = 512;
/// State events kept with a room: those that authorise events.
pub(crate) const KEPT_EVENTS: usize = 160;

/// A current state event, read before.
#[derive(Clone)]
pub(crate) struct KeptEvent {
    pub(crate) serial: EventSerial,
    pub(crate) event: Arc<Event>,
    pub(crate) generation: u32,
}

/// Current state events by type and state key.
pub(crate) type KeptState = HashMap<(String, String), KeptEvent>;

/// The current power levels and the event that gives them, if there is one.
pub(crate) type KeptLevels = (Option<EventSerial>, Arc<PowerLevels>);

/// What a writer of a room knows about its end. Holds only what was written.
pub(crate) struct RoomEnd {
    pub(crate) record: RoomRecord,
    pub(crate) version: Version,
    pub(crate) head: RoomHead,
    /// The ids of the head's extremities, in their order.
    pub(crate) extremity_ids: Vec<ruma_common::OwnedEventId>,
    pub(crate) state: KeptState,
    pub(crate) levels: Option<KeptLevels>,
}

type Lock = Arc<tokio::sync::Mutex<Option<RoomEnd>>>;

/// The lock of one room, held.
pub(crate) type RoomGuard = OwnedMutexGuard<Option<RoomEnd>>;

/// The locks of all rooms.
#[derive(Default)]
pub(crate) struct RoomLocks {
    rooms: Mutex<HashMap<RoomSerial, Lock>>,
}

impl RoomLocks {
    /// Waits until nobody else writes to `room`.
    pub(crate) async fn lock(&self, room: RoomSerial) -> RoomGuard {
        let lock = self.of(room);
        lock.lock_owned().await
    }

    fn of(&self, room: RoomSerial) -> Lock {
        let mut rooms = self.rooms.lock();
        if rooms.len() > KEPT && !rooms.contains_key(&room) {
            // Those that nobody holds or waits for.
            rooms.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        rooms.entry(room).or_default().clone()
    }
}
