//! Rooms that another server gave without their members: these are fetched in the background,
//! from that server or others in the room, until the room is whole (MSC3902,
//! "Resynchronisation").

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use model::RoomSerial;
use rooms::{Completion, PartialRoom};
use ruma_common::OwnedEventId;
use runtime::Stop;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use crate::{
    Actions,
    receiving::{Incomplete, Place},
};

/// How many rooms are completed at the same time.
const AT_ONCE: usize = 8;
/// The most servers that are asked in one round.
const MOST_ASKED: usize = 20;
/// How long to wait after a round in vain, and…
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// …how long at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(1800);
/// After how many rounds in which servers only contradicted the one that gave the room
/// they are believed.
const ROUNDS_OF_DOUBT: u32 = 3;
/// How long to wait when the database fails.
const PAUSE: Duration = Duration::from_secs(5);

/// What came of one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// Nothing is left to do.
    Done,
    /// Nobody could tell.
    Unanswered,
    /// Who told contradicted the server that gave the room.
    Contradicted,
}

/// A room that waits for its next round.
struct Waiting {
    failures: u32,
    contradictions: u32,
    due: Instant,
}

/// The rooms that are being completed.
#[derive(Default)]
struct Completing {
    rounds: JoinSet<(RoomSerial, Vec<OwnedEventId>, Round)>,
    /// Which states are asked for now.
    running: HashMap<RoomSerial, (Vec<OwnedEventId>, AbortHandle)>,
    waiting: HashMap<RoomSerial, Waiting>,
}

impl Completing {
    /// Begins a round for each room that is due.
    fn start(&mut self, actions: &Actions, rooms: Vec<PartialRoom>) {
        let now = Instant::now();
        self.waiting
            .retain(|room, _| rooms.iter().any(|partial| partial.room == *room));
        for partial in rooms {
            let room = partial.room;
            if let Some((before, round)) = self.running.get(&room) {
                if *before == partial.before {
                    continue;
                }
                // Somebody came in anew meanwhile: nobody needs the other state any more.
                round.abort();
                self.running.remove(&room);
                self.waiting.remove(&room);
            }
            let waiting = self.waiting.get(&room);
            if self.running.len() >= AT_ONCE || waiting.is_some_and(|waiting| waiting.due > now) {
                continue;
            }
            let doubts = waiting.map_or(0, |waiting| waiting.contradictions);
            let (actions, before) = (actions.clone(), partial.before.clone());
            let round = self.rounds.spawn(async move {
                let round = actions
                    .complete_room(&partial, doubts >= ROUNDS_OF_DOUBT)
                    .await;
                (partial.room, partial.before, round)
            });
            self.running.insert(room, (before, round));
        }
    }

    /// A round has ended.
    fn ended(&mut self, room: RoomSerial, before: &[OwnedEventId], round: Round) {
        if self.running.get(&room).is_none_or(|(of, _)| of != before) {
            return;
        }
        self.running.remove(&room);
        if round == Round::Done {
            self.waiting.remove(&room);
            return;
        }
        let waiting = self.waiting.entry(room).or_insert(Waiting {
            failures: 0,
            contradictions: 0,
            due: Instant::now(),
        });
        let pause = FIRST_PAUSE.saturating_mul(1 << waiting.failures.min(16));
        waiting.failures += 1;
        waiting.contradictions += u32::from(round == Round::Contradicted);
        waiting.due = Instant::now() + pause.min(LONGEST_PAUSE);
    }

    /// How long until the next room is due.
    fn pause(&self) -> Duration {
        let dues = self.waiting.iter();
        let dues = dues.filter(|(room, _)| !self.running.contains_key(room));
        let next = dues.map(|(_, waiting)| waiting.due).min();
        next.map_or(LONGEST_PAUSE, |due| {
            due.saturating_duration_since(Instant::now())
        })
    }
}

impl Actions {
    /// Completes the rooms whose state is known in part, until the server stops. Run it
    /// once, as a task.
    pub async fn complete_rooms(&self, stop: Stop) {
        let mut completing = Completing::default();
        while !stop.is_stopping() {
            let mut pause = match self.rooms.partial_rooms().await {
                Ok(rooms) => {
                    completing.start(self, rooms);
                    completing.pause()
                }
                Err(error) => {
                    log::error!("rooms cannot be completed: {error}");
                    PAUSE
                }
            };
            if completing.running.len() >= AT_ONCE {
                pause = LONGEST_PAUSE;
            }
            tokio::select! {
                () = stop.stopped() => return,
                () = self.partial_rooms.notified() => {}
                Some(ended) = completing.rounds.join_next() => match ended {
                    Ok((room, before, round)) => completing.ended(room, &before, round),
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => log::error!("a room was not completed: {error}"),
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Asks the servers in a room for its state, one after the other, until one tells it.
    async fn complete_room(&self, partial: &PartialRoom, is_believed: bool) -> Round {
        let room_id = &partial.room_id;
        let mut round = Round::Unanswered;
        for server in partial.servers.iter().take(MOST_ASKED) {
            let place = Place {
                origin: server,
                room: partial.room,
                room_id,
                version: partial.version,
            };
            let given = match self.states_after(place, &partial.before).await {
                Ok(given) => given,
                Err(reason) => {
                    log::info!("{server} does not tell the state of {room_id}: {reason}");
                    continue;
                }
            };
            match self.rooms.complete(partial.room, given, is_believed).await {
                Ok(Completion::Done) => {
                    log::info!("{room_id} is whole: {server} told its members");
                    return Round::Done;
                }
                Ok(Completion::NotPartial) => return Round::Done,
                Ok(Completion::Refused(reason)) => {
                    log::warn!("what {server} tells of {room_id} is not taken: {reason}");
                    round = Round::Contradicted;
                }
                Err(error) => log::error!("{room_id} was not completed: {error}"),
            }
        }
        round
    }

    async fn states_after(
        &self,
        place: Place<'_>,
        events: &[OwnedEventId],
    ) -> Result<BTreeMap<OwnedEventId, Vec<OwnedEventId>>, Incomplete> {
        let mut states = BTreeMap::new();
        for event_id in events {
            let state = self.fetch_state_after(place, event_id).await?;
            states.insert(event_id.clone(), state);
        }
        Ok(states)
    }
}
