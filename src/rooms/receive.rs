//! Events of other servers enter their room (server-server API, "Checks performed on
//! receipt of a PDU", steps 4 to 6; steps 1 to 3 are `graph`'s).
//!
//! Each event is authorised by its auth events, by the state before it, and by the room's
//! current state; it gets its place in the graph, and where forks meet the state is
//! resolved. It is written as an own event is: in one commit with all that follows from it.

use std::collections::BTreeMap;

use graph::{AuthEventsError, Event, Reason, Received, Unchecked};
use model::{EventStatus, Membership, RoomSerial, StateRoot};
use ruma_common::{OwnedEventId, UserId};
use store::{Latest, Read, Writing, Written};

use crate::{
    AppendError, Appended, ReadError, Rooms, StateMaps, closed,
    forks::{allowed_in, merge},
    guests::GUEST_ACCESS,
    known::{KnownEvents, Looked},
    outliers::is_held,
    partial::{rests_on_partial, with_auth_events},
    placing::{Placed, membership_of},
    queue::RoomEnd,
    rows::{self, Extra, Progress},
    staging::Staging,
    state_map::EMPTY,
};

/// An event of another server, vouched for.
#[derive(Debug)]
pub struct Incoming {
    /// The event.
    pub received: Received,
    /// For events directly before it that are not held here with their state: the ids of
    /// the state after each of them. All must be held here, as outliers at least.
    pub prev_states: BTreeMap<OwnedEventId, Vec<OwnedEventId>>,
    /// Whether it happened long ago: it takes its place in the history, and nobody is told.
    pub is_history: bool,
    /// Whether it comes in by way of this server (`/send_join` and the like), which then has
    /// to send it to all others.
    pub is_relayed: bool,
    /// Whether it is taken although events that shall allow it are not to be had: it is
    /// rejected, and others can come after it.
    pub is_given_up: bool,
    /// Whether nobody vouches for it, as this server does not speak to the one that signed it:
    /// it is rejected wherever it stands, and others can come after it.
    pub is_unvouched: bool,
    /// Whether it is of somebody on a server that this one does not speak to: it is not shown,
    /// unless it is history or somebody leaves by it.
    pub is_unwanted: bool,
}

impl Incoming {
    /// A new event.
    pub fn new(received: Received) -> Self {
        Self {
            received,
            prev_states: BTreeMap::new(),
            is_history: false,
            is_relayed: false,
            is_given_up: false,
            is_unvouched: false,
            is_unwanted: false,
        }
    }

    /// A new event that nobody vouches for, as this server does not speak to the one that
    /// signed it.
    pub fn unvouched(event: Unchecked) -> Self {
        Self {
            is_unvouched: true,
            ..Self::new(event.unvouched())
        }
    }

    /// A new event that a user of another server sends by way of this one.
    pub fn relayed(received: Received) -> Self {
        Self {
            is_relayed: true,
            ..Self::new(received)
        }
    }
}

/// What became of an event of another server.
#[derive(Debug)]
pub enum Arrival {
    /// It is part of the room.
    Accepted(Appended),
    /// It is allowed where it stands, and not by the room's current state, or not recommended
    /// by the room's policy server: kept, and not shown.
    SoftFailed(Appended),
    /// The rules refuse it, for this reason. It is kept, so as to know that.
    Rejected(String),
    /// It had come before.
    Known,
    /// Nothing was written: these events directly before it are not held here with their
    /// state. The event comes back.
    MissingPrev(Vec<OwnedEventId>, Box<Incoming>),
    /// Nothing was written: these events that shall allow it are not held here. The event
    /// comes back.
    MissingAuth(Vec<OwnedEventId>, Box<Incoming>),
}

/// Whether an event may be placed.
pub(crate) enum Checked {
    Placed(Placed),
    Known,
    Refused(&'static str),
    MissingPrev(Vec<OwnedEventId>),
    MissingAuth(Vec<OwnedEventId>),
}

impl Checked {
    /// What becomes of an event that is not placed.
    fn arrival(self, incoming: Incoming) -> Arrival {
        match self {
            Self::Placed(_) | Self::Known => Arrival::Known,
            Self::Refused(reason) => Arrival::Rejected(reason.to_owned()),
            Self::MissingPrev(missing) => Arrival::MissingPrev(missing, Box::new(incoming)),
            Self::MissingAuth(missing) => Arrival::MissingAuth(missing, Box::new(incoming)),
        }
    }
}

impl Rooms {
    /// Brings events of other servers into a room, in this order, each by itself. Returns
    /// when they are on disk.
    ///
    /// # Errors
    /// [`AppendError::UnknownRoom`] for a room that this server takes no part in;
    /// [`AppendError::Unresolved`]; if the database fails. Those before the failing one
    /// stand.
    pub async fn receive(
        &self,
        room: RoomSerial,
        events: Vec<Incoming>,
    ) -> Result<Vec<Arrival>, AppendError> {
        let rooms = self.clone();
        let (arrivals, written, guests) = self
            .inner
            .queues
            .write(&self.inner.store, room, move |writing, end| {
                let mut arrivals = Vec::with_capacity(events.len());
                let (mut last, mut guests) = (None, false);
                // Events of one batch rest on the same few.
                let looked = Looked::default();
                for incoming in events {
                    let event_id = incoming.received.event.event_id().to_owned();
                    let received = rooms.receive_now(writing, room, end, incoming, &looked);
                    looked.forget(&event_id);
                    let (arrival, written) = received?;
                    arrivals.push(arrival);
                    if let Some((written, rules)) = written {
                        last = Some(written);
                        guests |= rules;
                    }
                }
                Ok::<_, AppendError>((arrivals, last, guests))
            })
            .await?;
        match written {
            Some(written) => written.durable().await?,
            None => self.wait_for_earlier().await?,
        }
        if guests {
            self.let_guests_go(room).await;
        }
        Ok(arrivals)
    }

    /// Brings one event in. Where something was written, that, and whether the room's rule
    /// for guests is another now.
    fn receive_now(
        &self,
        writing: &Writing,
        room: RoomSerial,
        end: &mut Option<RoomEnd>,
        incoming: Incoming,
        looked: &Looked,
    ) -> Result<(Arrival, Option<(Written, bool)>), AppendError> {
        let latest = writing.latest();
        let now = self.inner.clock.now().0;
        let mut staging = match end.take() {
            Some(end) => Staging::on(end, room, now),
            None => Staging::load(latest, room, now)?,
        };
        staging.looked = looked.clone();
        let placed = match staging.check_incoming(self, latest, &incoming)? {
            Checked::Placed(placed) => placed,
            not => {
                *end = Some(staging.into_end());
                return Ok((not.arrival(incoming), None));
            }
        };
        let (status, reason) = (placed.status, placed.reason.clone());
        staging.place(self, latest, incoming.received.event, placed, false)?;
        let guests = (GUEST_ACCESS.to_owned(), String::new());
        let guests = staging.state.contains_key(&guests);
        let (appended, written) = self.write_received(writing, staging, end)?;
        let arrival = match status {
            EventStatus::SoftFailed => Arrival::SoftFailed(appended),
            EventStatus::Rejected => Arrival::Rejected(reason.unwrap_or_default()),
            _ => Arrival::Accepted(appended),
        };
        Ok((arrival, Some((written, guests))))
    }

    /// Writes one staged event of another server and leaves the room's new end.
    pub(crate) fn write_received(
        &self,
        writing: &Writing,
        staging: Staging,
        end: &mut Option<RoomEnd>,
    ) -> Result<(Appended, Written), AppendError> {
        let context = rows::Context::of_others(self);
        let (staging, written) = writing.write(|latest, position, batch| {
            let mut progress = Progress::at(position, &context);
            rows::write_room(
                staging,
                &context,
                Extra::none(),
                &mut progress,
                latest,
                batch,
            )
        })?;
        let appended = staging.appended().pop().ok_or(AppendError::UnknownRoom)?;
        *end = Some(staging.into_end());
        Ok((appended, written))
    }
}

impl Staging {
    pub(crate) fn known_events<'a>(
        &self,
        latest: &'a Latest,
    ) -> Result<KnownEvents<'a, Latest>, AppendError> {
        let room_id = self.room_id.clone().ok_or(AppendError::UnknownRoom)?;
        let known = KnownEvents::new(latest, self.room, self.version, room_id);
        Ok(known.after(self.looked.clone()))
    }

    /// Whether an event may have its place here, and what becomes of it there.
    pub(crate) fn check_incoming(
        &mut self,
        rooms: &Rooms,
        latest: &Latest,
        incoming: &Incoming,
    ) -> Result<Checked, AppendError> {
        let event = &incoming.received.event;
        let known = self.known_events(latest)?;
        if event.room_id() != known.room_id {
            return Ok(Checked::Refused("the event is of another room"));
        }
        let held = known.by_id(event.event_id())?;
        if let Some(held) = &held
            && held.state_before().is_some()
        {
            return Ok(Checked::Known);
        }
        if held.is_none() && is_held(latest, event)? {
            return Ok(Checked::Refused("another room has an event of this id"));
        }
        let (generation, refused) = match by_auth_events(&known, event)? {
            Ok(found) => found,
            Err((generation, _)) if incoming.is_unvouched => (generation, None),
            Err((generation, _)) if incoming.is_given_up => {
                let reason = "events that shall allow it are not to be had".to_owned();
                (generation, Some(Reason::Forbidden(reason)))
            }
            Err((_, missing)) => {
                // Who tells what comes before it tells these too.
                let before = missing_before(&known, incoming)?;
                return Ok(match before.is_empty() {
                    true => Checked::MissingAuth(missing),
                    false => Checked::MissingPrev(before),
                });
            }
        };
        let refused = refused.or_else(|| {
            let reason = || Reason::Forbidden("its server is not spoken to".to_owned());
            incoming.is_unvouched.then(reason)
        });
        let policy = self.policy_server(rooms, latest)?;
        let nodes = std::mem::take(&mut self.nodes);
        let secret = rooms.inner.store.secret();
        let mut maps = StateMaps::new(latest, self.room, secret).with_fresh(nodes);
        let judged = self.judge(&known, &mut maps, incoming, refused);
        self.nodes = maps.into_fresh();
        let mut judged = match judged? {
            Ok(judged) => judged,
            Err(missing) => return Ok(Checked::MissingPrev(missing)),
        };
        if judged.status == EventStatus::Accepted
            && policy.is_some_and(|policy| !policy.recommends(event))
        {
            judged.status = EventStatus::SoftFailed;
        }
        if judged.status == EventStatus::Accepted
            && !incoming.is_history
            && self.is_unwanted(rooms, latest, incoming)?
        {
            judged.status = EventStatus::SoftFailed;
        }
        Ok(Checked::Placed(Placed {
            known: held.map(|held| held.serial),
            generation,
            is_history: incoming.is_history,
            is_relayed: incoming.is_relayed,
            ..judged
        }))
    }

    /// Whether an administrator of this server, its configuration, or a ban list that it heeds,
    /// does not want an event to be shown that the room's rules allow.
    fn is_unwanted(
        &mut self,
        rooms: &Rooms,
        latest: &Latest,
        incoming: &Incoming,
    ) -> Result<bool, AppendError> {
        let event = &incoming.received.event;
        let membership = membership_of(event).filter(|_| event.event_type() == "m.room.member");
        if membership == Some(Membership::Leave) {
            return Ok(false);
        }
        if incoming.is_unwanted || closed(latest, self.room)?.is_some() {
            return Ok(true);
        }
        let comes = [Membership::Join, Membership::Invite, Membership::Knock];
        let target = event.state_key().and_then(|key| UserId::parse(key).ok());
        let Some(target) = target.filter(|_| membership.is_some_and(|it| comes.contains(&it)))
        else {
            return Ok(false);
        };
        // Who is in it already changes name and picture.
        if self.membership(latest, &target)? == Some(Membership::Join) {
            return Ok(false);
        }
        match rooms.must_be_wanted(None, &[event.sender(), &target]) {
            Ok(()) => Ok(false),
            Err(AppendError::Ruled(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The state before the event, and what becomes of it there and in the room as it is
    /// now; or which events directly before it are missing.
    fn judge(
        &self,
        known: &KnownEvents<'_, Latest>,
        maps: &mut StateMaps<'_, Latest>,
        incoming: &Incoming,
        refused: Option<Reason>,
    ) -> Result<Result<Placed, Vec<OwnedEventId>>, AppendError> {
        let event = &incoming.received.event;
        let mut gaps = Vec::new();
        let (mut state_before, given) = match before(known, maps, event, &incoming.prev_states)? {
            Ok(before) => before,
            // Nobody need look for the place of what is refused wherever it stands, unless
            // honest ones come after it.
            Err(missing) if refused.is_some() && !incoming.is_unvouched => {
                gaps = missing;
                (EMPTY, Vec::new())
            }
            Err(missing) => return Ok(Err(missing)),
        };
        let is_partial = self.head.is_partial;
        if is_partial && refused.is_none() && rests_on_partial(known, self.room, event)? {
            state_before = with_auth_events(known, maps, state_before, event)?;
        }
        let refused = match refused {
            Some(reason) => Some(reason),
            None => allowed_in(known, maps, state_before, event)?.err(),
        };
        let status = if refused.is_some() {
            EventStatus::Rejected
        } else if incoming.is_history
            // The state of now is not known well enough to refuse anything by it.
            || is_partial
            || state_before == self.head.state
            || allowed_in(known, maps, self.head.state, event)?.is_ok()
        {
            EventStatus::Accepted
        } else {
            EventStatus::SoftFailed
        };
        gaps.extend(given.iter().map(|(event_id, _)| event_id.clone()));
        let mut placed = Placed::accepted(None, state_before, 0, gaps);
        placed.given = given;
        placed.status = status;
        placed.reason = refused.map(|reason| reason.to_string());
        Ok(Ok(placed))
    }
}

type AuthFound = Result<(u32, Option<Reason>), (u32, Vec<OwnedEventId>)>;

/// The event's generation, and why its auth events do not allow it; or its generation as far
/// as they are held here, and which are missing.
pub(crate) fn by_auth_events<R: Read>(
    known: &KnownEvents<'_, R>,
    event: &Event,
) -> Result<AuthFound, ReadError> {
    let failed = std::cell::Cell::new(None);
    let generation = std::cell::Cell::new(0);
    let allowed = graph::authorise_by_auth_events(event, |event_id| match known.by_id(event_id) {
        Ok(found) => found.map(|known| {
            generation.set(generation.get().max(known.meta.generation + 1));
            known.event.clone()
        }),
        Err(error) => {
            failed.set(Some(error));
            None
        }
    });
    if let Some(error) = failed.into_inner() {
        return Err(error);
    }
    Ok(match allowed {
        Ok(()) => Ok((generation.get(), None)),
        Err(AuthEventsError::Missing(missing)) => Err((generation.get(), missing)),
        Err(AuthEventsError::Rejected(reason)) => Ok((generation.get(), Some(reason))),
    })
}

/// The events directly before an incoming one that are not held here with their state, nor
/// given with it.
fn missing_before(
    known: &KnownEvents<'_, Latest>,
    incoming: &Incoming,
) -> Result<Vec<OwnedEventId>, ReadError> {
    let mut missing = Vec::new();
    for prev in incoming.received.event.prev_events() {
        let held = known.by_id(prev)?.and_then(|held| held.state_before());
        if held.is_none() && !incoming.prev_states.contains_key(prev) {
            missing.push(prev.clone());
        }
    }
    Ok(missing)
}

type Before = Result<(StateRoot, Vec<(OwnedEventId, StateRoot)>), Vec<OwnedEventId>>;

/// The state before an event, and the states after those events directly before it that are
/// not held here with their state but given; or which are missing.
fn before(
    known: &KnownEvents<'_, Latest>,
    maps: &mut StateMaps<'_, Latest>,
    event: &Event,
    given: &BTreeMap<OwnedEventId, Vec<OwnedEventId>>,
) -> Result<Before, AppendError> {
    let mut roots = Vec::new();
    let mut missing = Vec::new();
    let mut given_roots = Vec::new();
    for prev in event.prev_events() {
        let held = match known.by_id(prev)? {
            Some(held) => known.state_after(maps, &held)?,
            None => None,
        };
        match (held, given.get(prev)) {
            (Some(root), _) => roots.push(root),
            (None, Some(state)) => {
                let root = build(known, maps, state)?;
                roots.push(root);
                given_roots.push((prev.clone(), root));
            }
            (None, None) => missing.push(prev.clone()),
        }
    }
    if !missing.is_empty() {
        return Ok(Err(missing));
    }
    Ok(Ok((merge(known, maps, &roots)?, given_roots)))
}

/// The state of these events. What is rejected is no state, whoever says so.
pub(crate) fn build(
    known: &KnownEvents<'_, Latest>,
    maps: &mut StateMaps<'_, Latest>,
    state: &[OwnedEventId],
) -> Result<StateRoot, AppendError> {
    let mut entries = Vec::with_capacity(state.len());
    for event_id in state {
        let found = known
            .by_id(event_id)?
            .ok_or_else(|| AppendError::Unresolved(format!("{event_id} is missing")))?;
        if let Some(state_key) = found.event.state_key()
            && !found.event.rejected()
        {
            let key = (found.event.event_type().to_owned(), state_key.to_owned());
            entries.push((key.0, key.1, found.serial));
        }
    }
    Ok(maps.build(entries)?)
}
