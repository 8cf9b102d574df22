//! Events of other servers: checked, completed with what they rest on, and brought into
//! their rooms (server-server API, "Checks performed on receipt of a PDU").
//!
//! What an event rests on and is not held here is fetched from the server that sent it:
//! first the events between (`/get_missing_events`), then, where the gap is larger, the
//! state at its edge (`/state_ids`). The events of one room come one after another.

mod checking;
mod given;
mod missing;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
};

use graph::{Received, Unchecked, Version};
use model::RoomSerial;
use parking_lot::Mutex;
use peers::PeerError;
use rooms::{AppendError, Arrival, Incoming, ReadError};
use ruma_common::{OwnedEventId, OwnedRoomId, RoomId, ServerName};
use runtime::Boxed;
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{Snapshot, StoreError};
use tokio::task::{JoinError, JoinSet};

pub use checking::UnusableEvent;
pub(crate) use given::GivenEvents;

use crate::Actions;

/// What became of an event of a transaction: nothing, or why it is not part of its room.
pub type Outcome = Result<(), String>;

/// What became of the events of a room, if the database did not fail.
type Outcomes = Result<Vec<(OwnedEventId, Outcome)>, StoreError>;

/// Why an event could not be completed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Incomplete {
    /// What it rests on is not to be had, or does not fit.
    #[error("{0}")]
    Reason(String),
    /// The database failed: nothing is said of the event.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AppendError> for Incomplete {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Store(error) => Self::Store(error),
            error => Self::Reason(error.to_string()),
        }
    }
}

impl From<PeerError> for Incomplete {
    fn from(error: PeerError) -> Self {
        Self::Reason(error.to_string())
    }
}

/// What there is to say of an event, but not of one that met a failing database.
fn said<T>(result: Result<T, Incomplete>) -> Result<Result<T, String>, StoreError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Incomplete::Reason(reason)) => Ok(Err(reason)),
        Err(Incomplete::Store(error)) => Err(error),
    }
}

/// What was found out before an error; unless the database failed.
fn failed_or(error: AppendError, outcomes: Vec<(OwnedEventId, Outcome)>) -> Outcomes {
    match error {
        AppendError::Store(error) => Err(error),
        error => {
            log::error!("events were not received: {error}");
            Ok(outcomes)
        }
    }
}

/// What became of the events of one room.
fn received(finished: Option<Result<Outcomes, JoinError>>) -> Outcomes {
    match finished {
        Some(Ok(outcomes)) => outcomes,
        Some(Err(error)) => {
            log::error!("receiving the events of a room was not finished: {error}");
            Err(StoreError::Busy)
        }
        None => Ok(Vec::new()),
    }
}

/// What became of an event that has all it rests on.
pub(crate) enum Completed {
    /// It is part of the room, or known not to be.
    Taken,
    /// The rules refuse it, for this reason.
    Rejected(String),
}

/// How often an event's surroundings are completed before it is given up.
const ROUNDS: usize = 4;
/// Rooms of one transaction whose events are received at the same time.
const ROOMS_AT_ONCE: usize = 8;

/// Whose turn it is in each room. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<RoomSerial, Weak<tokio::sync::Mutex<()>>>>>);

impl Turns {
    pub(crate) fn of(&self, room: RoomSerial) -> Arc<tokio::sync::Mutex<()>> {
        let mut rooms = self.0.lock();
        if let Some(turn) = rooms.get(&room).and_then(Weak::upgrade) {
            return turn;
        }
        rooms.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        rooms.insert(room, Arc::downgrade(&turn));
        turn
    }
}

/// A room in which events are received from a server.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) origin: &'a ServerName,
    pub(crate) room: RoomSerial,
    pub(crate) room_id: &'a RoomId,
    pub(crate) version: Version,
}

impl Place<'_> {
    /// A checked event, if it is of the room and signed; the others are logged.
    fn usable(&self, checked: Result<Received, UnusableEvent>) -> Option<Received> {
        let received = self.told(checked)?;
        self.is_of_room(&received).then_some(received)
    }

    /// What was told, if it can be used; that it cannot is logged.
    fn told<T>(&self, checked: Result<T, UnusableEvent>) -> Option<T> {
        let logged = |error: &UnusableEvent| log::info!("{} told an event: {error}", self.origin);
        checked.inspect_err(logged).ok()
    }

    fn is_of_room(&self, received: &Received) -> bool {
        let is_of_room = received.event.room_id() == self.room_id;
        if !is_of_room {
            let event_id = received.event.event_id();
            log::info!(
                "{} told {event_id}, which is of another room than {}",
                self.origin,
                self.room_id
            );
        }
        is_of_room
    }
}

fn not_told(missing: &[OwnedEventId]) -> Incomplete {
    Incomplete::Reason(format!(
        "{} events that it rests on are not to be had",
        missing.len()
    ))
}

#[derive(Deserialize)]
struct Header {
    room_id: OwnedRoomId,
}

impl Actions {
    /// Brings the events of another server's transaction into their rooms, those of each
    /// room in their order and some rooms at the same time, and tells of each what became of
    /// it. Events that cannot even be named are left out. Returns when all that was accepted is
    /// on disk.
    ///
    /// # Errors
    /// If the database fails: then nothing is said of any event, and its server has to send
    /// them all again.
    pub async fn receive_transaction_events(
        &self,
        origin: &ServerName,
        events: Vec<Box<RawValue>>,
    ) -> Result<Vec<(OwnedEventId, Outcome)>, StoreError> {
        let mut by_room: BTreeMap<OwnedRoomId, Vec<Box<RawValue>>> = BTreeMap::new();
        for event in events {
            if let Ok(header) = serde_json::from_str::<Header>(event.get()) {
                by_room.entry(header.room_id).or_default().push(event);
            }
        }
        let mut receiving = JoinSet::new();
        let mut outcomes = Vec::new();
        for (room_id, events) in by_room {
            if receiving.len() >= ROOMS_AT_ONCE {
                outcomes.extend(received(receiving.join_next().await)?);
            }
            let (actions, origin) = (self.clone(), origin.to_owned());
            receiving
                .spawn(async move { actions.receive_of_room(&origin, &room_id, events).await });
        }
        while let Some(finished) = receiving.join_next().await {
            outcomes.extend(received(Some(finished))?);
        }
        Ok(outcomes)
    }

    async fn receive_of_room(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        events: Vec<Box<RawValue>>,
    ) -> Outcomes {
        let (room, version) = match self.rooms.part_of(room_id).await {
            Ok(Some(part)) => part,
            Ok(None) => return self.receive_outside(room_id, events).await,
            Err(error) => return failed_or(error, Vec::new()),
        };
        let place = Place {
            origin,
            room,
            room_id,
            version,
        };
        let named = self.check_named(version, events).await;
        if !self.takes_part(room, origin).await? {
            let refused = "the room takes no events of this server".to_owned();
            let refused = |(event_id, _)| (event_id, Err(refused.clone()));
            return Ok(named.into_iter().map(refused).collect());
        }
        let mut outcomes = Vec::new();
        let (mut ids, mut incoming) = (Vec::new(), Vec::new());
        for (event_id, checked) in named {
            match self.incoming(checked) {
                Ok(event) => {
                    ids.push(event_id);
                    incoming.push(event);
                }
                Err(error) => outcomes.push((event_id, Err(error.to_string()))),
            }
        }
        // Before others have to wait for it.
        let incoming = self.recommended(room, incoming).await;
        let turn = self.turns.of(room);
        let _turn = turn.lock().await;
        let arrivals = match self.rooms.receive(room, incoming).await {
            Ok(arrivals) => arrivals,
            Err(error) => {
                let failed = |event_id| (event_id, Err(error.to_string()));
                outcomes.extend(ids.into_iter().map(failed));
                return failed_or(error, outcomes);
            }
        };
        // Whether something was missing before, and has come since.
        let mut has_come = false;
        for (event_id, arrival) in ids.into_iter().zip(arrivals) {
            let completed = self.complete_in_turn(place, arrival, &mut has_come).await;
            let completed = said(completed)?;
            if let Ok(Completed::Rejected(reason)) | Err(reason) = &completed {
                log::info!("{origin} sent {event_id}, which is not accepted: {reason}");
            }
            // What is rejected has been dealt with: it need not come again.
            outcomes.push((event_id, completed.map(drop)));
        }
        Ok(outcomes)
    }

    /// Completes an event that came with others, which may have waited for one of those before
    /// it alone.
    async fn complete_in_turn(
        &self,
        place: Place<'_>,
        arrival: Arrival,
        has_come: &mut bool,
    ) -> Result<Completed, Incomplete> {
        let arrival = match arrival {
            Arrival::MissingAuth(_, incoming) | Arrival::MissingPrev(_, incoming) if *has_come => {
                self.receive_one(place, *incoming).await?
            }
            arrival => arrival,
        };
        *has_come |= matches!(
            &arrival,
            Arrival::MissingAuth(..) | Arrival::MissingPrev(..)
        );
        self.complete(place, arrival, true).await
    }

    /// Events of a room in which nobody of this server is: they may end an invitation or a
    /// knock, and are of no use else.
    async fn receive_outside(&self, room_id: &RoomId, events: Vec<Box<RawValue>>) -> Outcomes {
        let version = match self.rooms.known_version(room_id).await {
            Ok(Some(version)) => version,
            Ok(None) => return Ok(Vec::new()),
            Err(error) => return failed_or(error, Vec::new()),
        };
        let mut outcomes = Vec::new();
        for (event_id, checked) in self.check_named(version, events).await {
            let outcome = match checked {
                Ok(received) => match self.rooms.receive_outside(received).await {
                    Ok(true) => Ok(()),
                    Ok(false) => Err("nobody of this server is in the room".to_owned()),
                    Err(AppendError::Store(error)) => return Err(error),
                    Err(error) => Err(error.to_string()),
                },
                Err(error) => Err(error.to_string()),
            };
            outcomes.push((event_id, outcome));
        }
        Ok(outcomes)
    }

    /// Whether the room's access control list, as it is now, lets a server take part.
    async fn takes_part(&self, room: RoomSerial, server: &ServerName) -> Result<bool, StoreError> {
        let server = server.to_owned();
        let read = move |view: &Snapshot| rooms::acl_allows(view, room, &server);
        match self.rooms.store().read(read).await {
            Ok(allowed) => Ok(allowed),
            Err(ReadError::Store(error)) => Err(error),
            Err(error) => {
                log::error!("an access control list cannot be read: {error}");
                Ok(false)
            }
        }
    }

    /// Fetches what an event lacks until it has its place, or is refused. `between`: the
    /// events between are fetched too, not only the state at the edge of the gap.
    pub(crate) fn complete<'a>(
        &'a self,
        place: Place<'a>,
        arrival: Arrival,
        between: bool,
    ) -> Boxed<'a, Result<Completed, Incomplete>> {
        Box::pin(self.fetch_and_place(place, arrival, between))
    }

    async fn fetch_and_place(
        &self,
        place: Place<'_>,
        arrival: Arrival,
        between: bool,
    ) -> Result<Completed, Incomplete> {
        let mut arrival = arrival;
        let (mut asked, mut fetched) = (false, false);
        for _ in 0..ROUNDS {
            let incoming = match arrival {
                Arrival::Accepted(_) | Arrival::SoftFailed(_) | Arrival::Known => {
                    return Ok(Completed::Taken);
                }
                Arrival::Rejected(reason) => return Ok(Completed::Rejected(reason)),
                Arrival::MissingAuth(_, mut incoming) if fetched => {
                    incoming.is_given_up = true;
                    *incoming
                }
                Arrival::MissingAuth(_, incoming) => {
                    fetched = true;
                    let event_id = incoming.received.event.event_id();
                    if let Err(reason) = said(self.fetch_auth_chain(place, event_id).await)? {
                        log::info!("what allows {event_id} is not to be had: {reason}");
                    }
                    *incoming
                }
                Arrival::MissingPrev(missing, incoming) if between && !asked => {
                    asked = true;
                    self.fetch_between(place, &incoming.received, &missing)
                        .await?;
                    *incoming
                }
                // Its server does not tell what is directly before its own new event.
                Arrival::MissingPrev(missing, _) if between => return Err(not_told(&missing)),
                Arrival::MissingPrev(missing, mut incoming) => {
                    for event_id in missing {
                        let state = self.fetch_state_after(place, &event_id).await?;
                        incoming.prev_states.insert(event_id, state);
                    }
                    *incoming
                }
            };
            arrival = self.receive_one(place, incoming).await?;
        }
        match arrival {
            Arrival::Accepted(_) | Arrival::SoftFailed(_) | Arrival::Known => Ok(Completed::Taken),
            Arrival::Rejected(reason) => Ok(Completed::Rejected(reason)),
            Arrival::MissingAuth(missing, _) | Arrival::MissingPrev(missing, _) => {
                Err(not_told(&missing))
            }
        }
    }

    async fn receive_one(
        &self,
        place: Place<'_>,
        incoming: Incoming,
    ) -> Result<Arrival, Incomplete> {
        let arrival = self.rooms.receive(place.room, vec![incoming]).await?.pop();
        arrival.ok_or_else(|| Incomplete::Reason("the event was not received".to_owned()))
    }

    /// Events between those that are held here and a new one, as the other server tells
    /// them, brought in oldest first. Whether they are enough shows when the new one is tried
    /// again.
    async fn fetch_between(
        &self,
        place: Place<'_>,
        new: &Received,
        missing: &[OwnedEventId],
    ) -> Result<(), StoreError> {
        let events = match said(self.missing_events(place, new, missing).await)? {
            Ok(events) => events,
            Err(reason) => {
                log::debug!("no events between of {}: {reason}", place.room_id);
                return Ok(());
            }
        };
        for incoming in self.recommended(place.room, events).await {
            let event_id = incoming.received.event.event_id().to_owned();
            let is_unvouched = incoming.is_unvouched;
            let arrived = self.receive_one(place, incoming).await;
            let outcome = match arrived {
                Ok(arrival) => self.complete(place, arrival, false).await,
                Err(error) => Err(error),
            };
            if let Ok(Completed::Rejected(reason)) | Err(reason) = said(outcome)? {
                // In a busy room that is every other event.
                let level = match is_unvouched {
                    true => log::Level::Debug,
                    false => log::Level::Info,
                };
                let room_id = place.room_id;
                log::log!(level, "{event_id} of {room_id} is not accepted: {reason}");
            }
        }
        Ok(())
    }

    /// Reads and checks events; each with its id.
    async fn check_named(
        &self,
        version: Version,
        events: Vec<Box<RawValue>>,
    ) -> Vec<(OwnedEventId, Result<Received, UnusableEvent>)> {
        let mut named = Vec::new();
        let mut readable = Vec::new();
        for event in events {
            match Unchecked::read(event.get().as_bytes(), version) {
                Ok(unchecked) => {
                    named.push(unchecked.event_id().to_owned());
                    readable.push(unchecked);
                }
                Err(reason) => log::info!("an event cannot be read: {reason}"),
            }
        }
        let checked = self.check_read(readable).await;
        named.into_iter().zip(checked).collect()
    }
}
