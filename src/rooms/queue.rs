//! Writers of one room come one after another, each with the room's end as last written.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use graph::{Event, PowerLevels, Version};
use model::{EventSerial, RoomHead, RoomRecord, RoomSerial, StateRoot};
use parking_lot::Mutex;
use store::{Store, StoreError, Writing};
use tokio::sync::oneshot;

use crate::PolicyServer;

/// Rooms kept after their last writer has gone, so that the next one need not read.
const KEPT: usize = 512;
/// State events kept with a room: those that authorise events.
pub(crate) const KEPT_EVENTS: usize = 160;
/// How many writers may wait for one room.
const WAITING: usize = 1024;
/// How many writers of one room are served before those of other rooms have a turn.
const TURN: usize = 32;

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

/// The policy server that the room uses, if it does, and the state that says so.
pub(crate) type KeptPolicy = (StateRoot, Option<Arc<PolicyServer>>);

/// What a writer of a room knows about its end. Holds only what was written.
pub(crate) struct RoomEnd {
    pub(crate) record: RoomRecord,
    pub(crate) version: Version,
    pub(crate) head: RoomHead,
    /// The ids of the head's extremities, in their order.
    pub(crate) extremity_ids: Vec<ruma_common::OwnedEventId>,
    pub(crate) state: KeptState,
    pub(crate) levels: Option<KeptLevels>,
    pub(crate) policy: Option<KeptPolicy>,
}

/// What one writer does: reads, computes and commits.
type Work = Box<dyn FnOnce(&Writing, &mut Option<RoomEnd>) + Send>;

/// The writers of one room, served by one thread at a time: while it is at it, who comes
/// after is served on, without waking another thread.
#[derive(Default)]
struct RoomQueue {
    waiting: Mutex<Waiting>,
    /// Held by the thread that serves.
    end: Mutex<Option<RoomEnd>>,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    /// Whether a thread serves the queue, or is about to.
    served: bool,
}

impl RoomQueue {
    /// Queues work; returns whether somebody must be sent to serve it.
    fn push(&self, work: Work) -> Result<bool, StoreError> {
        let mut waiting = self.waiting.lock();
        if waiting.work.len() >= WAITING {
            return Err(StoreError::Busy);
        }
        waiting.work.push_back(work);
        Ok(!std::mem::replace(&mut waiting.served, true))
    }

    /// The next work; if there is none, nobody serves from now on.
    fn next(&self) -> Option<Work> {
        let mut waiting = self.waiting.lock();
        let work = waiting.work.pop_front();
        waiting.served = work.is_some();
        work
    }

    fn serve(self: &Arc<Self>, writing: &Writing) {
        let mut end = self.end.lock();
        for served in 1.. {
            let Some(work) = self.next() else {
                return;
            };
            if served > 1 {
                writing.sync_meanwhile();
            }
            if catch_unwind(AssertUnwindSafe(|| work(writing, &mut end))).is_err() {
                // What it left of the end may be half done.
                *end = None;
                log::error!("a writer of a room panicked");
            }
            if served % TURN == 0 {
                let queue = self.clone();
                let others = move |writing: &Writing| queue.serve(writing);
                // With no place behind the others, they have to wait.
                if writing.store().start_writing(others).is_ok() {
                    return;
                }
            }
        }
    }
}

/// The queues of all rooms.
#[derive(Default)]
pub(crate) struct RoomQueues {
    rooms: Mutex<HashMap<RoomSerial, Arc<RoomQueue>>>,
}

impl RoomQueues {
    /// Does `work` when nobody else writes to `room`: it gets the room's end as the last
    /// writer left it, if it is known, and leaves the one that it wrote. Work that has
    /// begun is done even if the caller goes away.
    ///
    /// # Errors
    /// The work's own; [`StoreError::Busy`] if too many wait.
    pub(crate) async fn write<T, E>(
        &self,
        store: &Store,
        room: RoomSerial,
        work: impl FnOnce(&Writing, &mut Option<RoomEnd>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let queue = self.of(room);
        let work: Work = Box::new(move |writing, end| {
            if !answer.is_closed() {
                // The caller may go away meanwhile: what was written stands.
                let _ = answer.send(work(writing, end));
            }
        });
        if queue.push(work)? {
            let served = queue.clone();
            let start = store.start_writing(move |writing| served.serve(writing));
            if let Err(error) = start {
                // Nobody comes: who waits is told so by losing the answer.
                while queue.next().is_some() {}
                return Err(error.into());
            }
        }
        result.await.map_err(|_| StoreError::Busy)?
    }

    fn of(&self, room: RoomSerial) -> Arc<RoomQueue> {
        let mut rooms = self.rooms.lock();
        if rooms.len() > KEPT && !rooms.contains_key(&room) {
            // Those that nobody uses.
            rooms.retain(|_, queue| Arc::strong_count(queue) > 1);
        }
        rooms.entry(room).or_default().clone()
    }
}
