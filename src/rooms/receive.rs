//! Events of other servers enter their room (server-server API, "Checks performed on
//! receipt of a PDU", steps 4 to 6; steps 1 to 3 are `graph`'s).
//!
//! Each event is authorised by its auth events, by the state before it, and by the room's
//! current state; it gets its place in the graph, and where forks meet the state is
//! resolved. It is written as an own event is: in one commit with all that follows from it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use graph::{AuthEventsError, Event, Received, redaction_applies};
use model::{EventMeta, EventSerial, EventStatus, Membership, RoomSerial, StateRoot, tables};
use ruma_common::{EventId, OwnedEventId};
use serde::Deserialize;
use store::{Latest, Read, Writing, Written};

use crate::{
    AppendError, Appended, ReadError, Rooms, StateMaps,
    digest::{Digest, digest},
    forks::{allowed_in, merge},
    form::MAX_STICKY,
    gaps,
    known::{KnownEvent, KnownEvents},
    outliers::is_held,
    queue::RoomEnd,
    relations::{Relation, RelationKeys, relates, thread_of},
    rows::{self, Extra, Progress},
    staging::{Arrival as Arrived, Redacted, Staged, StagedMember, Staging},
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
}

impl Incoming {
    /// A new event.
    pub fn new(received: Received) -> Self {
        Self {
            received,
            prev_states: BTreeMap::new(),
            is_history: false,
        }
    }
}

/// What became of an event of another server.
#[derive(Debug)]
pub enum Arrival {
    /// It is part of the room.
    Accepted(Appended),
    /// It is allowed where it stands, and not by the room's current state: kept, and not
    /// shown.
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

/// An event with all that was found out about it.
pub(crate) struct Placed {
    known: Option<EventSerial>,
    status: EventStatus,
    reason: Option<String>,
    state_before: StateRoot,
    generation: u32,
    is_history: bool,
    gaps: Vec<OwnedEventId>,
}

impl Placed {
    /// An event that is part of the room.
    pub(crate) fn accepted(
        known: Option<EventSerial>,
        state_before: StateRoot,
        generation: u32,
        gaps: Vec<OwnedEventId>,
    ) -> Self {
        Self {
            known,
            status: EventStatus::Accepted,
            reason: None,
            state_before,
            generation,
            is_history: false,
            gaps,
        }
    }
}

/// Whether an event may be placed.
enum Checked {
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

#[derive(Deserialize)]
struct MemberContent {
    membership: String,
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
        let (arrivals, written) = self
            .inner
            .queues
            .write(&self.inner.store, room, move |writing, end| {
                let mut arrivals = Vec::with_capacity(events.len());
                let mut last = None;
                for incoming in events {
                    let (arrival, written) = rooms.receive_now(writing, room, end, incoming)?;
                    arrivals.push(arrival);
                    last = written.or(last);
                }
                Ok::<_, AppendError>((arrivals, last))
            })
            .await?;
        match written {
            Some(written) => written.durable().await?,
            None => self.wait_for_earlier().await?,
        }
        Ok(arrivals)
    }

    fn receive_now(
        &self,
        writing: &Writing,
        room: RoomSerial,
        end: &mut Option<RoomEnd>,
        incoming: Incoming,
    ) -> Result<(Arrival, Option<Written>), AppendError> {
        let latest = writing.latest();
        let now = self.inner.clock.now().0;
        let mut staging = match end.take() {
            Some(end) => Staging::on(end, room, now),
            None => Staging::load(latest, room, now)?,
        };
        let placed = match staging.check_incoming(self, latest, &incoming)? {
            Checked::Placed(placed) => placed,
            not => {
                *end = Some(staging.into_end());
                return Ok((not.arrival(incoming), None));
            }
        };
        let (status, reason) = (placed.status, placed.reason.clone());
        staging.place(self, latest, incoming.received.event, placed, false)?;
        let (appended, written) = self.write_received(writing, staging, end)?;
        let arrival = match status {
            EventStatus::SoftFailed => Arrival::SoftFailed(appended),
            EventStatus::Rejected => Arrival::Rejected(reason.unwrap_or_default()),
            _ => Arrival::Accepted(appended),
        };
        Ok((arrival, Some(written)))
    }

    /// Writes one staged event of another server and leaves the room's new end.
    pub(crate) fn write_received(
        &self,
        writing: &Writing,
        staging: Staging,
        end: &mut Option<RoomEnd>,
    ) -> Result<(Appended, Written), AppendError> {
        let context = rows::Context {
            store: &self.inner.store,
            server_name: &self.inner.server_name,
            sender: None,
            transaction: None,
        };
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
    fn known_events<'a>(&self, latest: &'a Latest) -> Result<KnownEvents<'a, Latest>, AppendError> {
        let room_id = self.room_id.clone().ok_or(AppendError::UnknownRoom)?;
        Ok(KnownEvents::new(latest, self.room, self.version, room_id))
    }

    fn check_incoming(
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
            Err(missing) => return Ok(Checked::MissingAuth(missing)),
        };
        let nodes = std::mem::take(&mut self.nodes);
        let secret = rooms.inner.store.secret();
        let mut maps = StateMaps::new(latest, self.room, secret).with_fresh(nodes);
        let before = before(&known, &mut maps, event, &incoming.prev_states)?;
        let (state_before, gaps) = match before {
            Ok(before) => before,
            // Nobody need look for the place of what is refused wherever it stands.
            Err(_) if refused.is_some() => (EMPTY, Vec::new()),
            Err(missing) => {
                self.nodes = maps.into_fresh();
                return Ok(Checked::MissingPrev(missing));
            }
        };
        let refused = match refused {
            Some(reason) => Some(reason),
            None => allowed_in(&known, &maps, state_before, event)?.err(),
        };
        let status = if refused.is_some() {
            EventStatus::Rejected
        } else if incoming.is_history
            || state_before == self.head.state
            || allowed_in(&known, &maps, self.head.state, event)?.is_ok()
        {
            EventStatus::Accepted
        } else {
            EventStatus::SoftFailed
        };
        self.nodes = maps.into_fresh();
        Ok(Checked::Placed(Placed {
            known: held.map(|held| held.serial),
            status,
            reason: refused.map(|reason| reason.to_string()),
            state_before,
            generation,
            is_history: incoming.is_history,
            gaps,
        }))
    }

    /// Stages a checked event: its place, and what the room becomes by it. `is_entry`: another
    /// server let a local user in with it, and the room goes on from it alone.
    pub(crate) fn place(
        &mut self,
        rooms: &Rooms,
        latest: &Latest,
        event: Event,
        placed: Placed,
        is_entry: bool,
    ) -> Result<(), AppendError> {
        let serial = match placed.known {
            Some(serial) => serial,
            None => EventSerial(rooms.inner.store.next_serial()),
        };
        let event = Arc::new(event);
        let known = self.known_events(latest)?;
        known.add(KnownEvent {
            serial,
            event: event.clone(),
            meta: EventMeta {
                status: placed.status,
                depth: event.depth(),
                tie_break: serial.0,
                position: 0,
                state_before: placed.state_before,
                generation: placed.generation,
                replaces: None,
            },
        });
        let event_id = event.event_id().as_str();
        let mut arrival = Arrived {
            was_missing: gaps::depths_above(latest, self.room, event_id)?,
            gaps: placed.gaps,
            is_entry,
            ..Arrived::default()
        };
        let is_accepted = placed.status == EventStatus::Accepted;
        let redacts = if is_accepted {
            self.earlier_redactions(latest, &known, &event, &mut arrival)?;
            self.redacts(latest, &known, &event, &mut arrival)?
        } else {
            // What is not part of the room leaves no gap that must be filled.
            arrival.gaps.clear();
            None
        };
        let nodes = std::mem::take(&mut self.nodes);
        let secret = rooms.inner.store.secret();
        let mut maps = StateMaps::new(latest, self.room, secret).with_fresh(nodes);
        let replaces = match event.state_key() {
            Some(state_key) => maps.get(placed.state_before, event.event_type(), state_key)?,
            None => None,
        };
        self.members = Some(Vec::new());
        if is_accepted && !placed.is_history {
            let before = self.head.state;
            let is_named = !arrival.was_missing.is_empty();
            self.move_end(&known, &mut maps, &event, serial, is_named, is_entry)?;
            let alone = match event.state_key() {
                Some(state_key) => {
                    maps.insert(placed.state_before, event.event_type(), state_key, serial)?
                }
                None => placed.state_before,
            };
            let differs = !is_entry && before != placed.state_before;
            arrival.head_before = differs.then_some(before);
            arrival.head_after = (alone != self.head.state).then_some(self.head.state);
        }
        self.nodes = maps.into_fresh();
        let digest = self.digest_received(latest, &event)?;
        let sticky_until = sticky_until(&event, self.now);
        self.events.push(Staged {
            serial,
            status: placed.status,
            is_new: is_accepted && !placed.is_history,
            state_before: placed.state_before,
            depth: event.depth(),
            generation: placed.generation,
            digest,
            redacts,
            relation: RelationKeys::of(&event, serial, (event.depth(), serial.0)),
            replaces,
            sticky_until,
            arrival: Some(Box::new(arrival)),
            event,
        });
        Ok(())
    }

    /// The room's new extremities, and its state where they meet. `is_named`: others that are
    /// held here come after the event already. `is_entry`: the room goes on from it alone.
    fn move_end(
        &mut self,
        known: &KnownEvents<'_, Latest>,
        maps: &mut StateMaps<'_, Latest>,
        event: &Event,
        serial: EventSerial,
        is_named: bool,
        is_entry: bool,
    ) -> Result<(), AppendError> {
        let before = self.head.state;
        let named: HashSet<&EventId> = event.prev_events().iter().map(AsRef::as_ref).collect();
        let ends = self.extremity_ids.iter().zip(&self.head.extremities);
        let (mut ids, mut ends): (Vec<OwnedEventId>, Vec<EventSerial>) = ends
            .filter(|(event_id, _)| !is_entry && !named.contains(&***event_id))
            .map(|(event_id, serial)| (event_id.clone(), *serial))
            .unzip();
        let fewer = ids.len() < self.extremity_ids.len();
        if !is_named || ids.is_empty() {
            ids.push(event.event_id().to_owned());
            ends.push(serial);
        } else if !fewer {
            // It fills a gap: the room's end is what it was.
            return Ok(());
        }
        let mut roots = Vec::with_capacity(ends.len());
        for end in &ends {
            let end = known.by_serial(*end)?.ok_or(AppendError::UnknownRoom)?;
            roots.extend(known.state_after(maps, &end)?);
        }
        self.head.state = merge(known, maps, &roots)?;
        self.head.extremities = ends;
        self.extremity_ids = ids;
        self.head.depth = self.head.depth.max(event.depth());
        self.follow_state(known, maps, before)
    }

    /// Everything that follows from the room's new state.
    fn follow_state(
        &mut self,
        known: &KnownEvents<'_, Latest>,
        maps: &StateMaps<'_, Latest>,
        before: StateRoot,
    ) -> Result<(), AppendError> {
        let after = self.head.state;
        if before == after {
            return Ok(());
        }
        let mut changed = Vec::new();
        for (event_type, state_key, serial) in maps.changed(before, after)? {
            changed.push(((event_type, state_key), Some(serial)));
        }
        for (event_type, state_key, _) in maps.changed(after, before)? {
            if maps.get(after, &event_type, &state_key)?.is_none() {
                changed.push(((event_type, state_key), None));
            }
        }
        for (key, serial) in changed {
            if key.0 == "m.room.member" {
                let member = staged_member(known, &key.1, serial)?;
                self.members.get_or_insert_default().push(member);
            }
            if key.0 == "m.room.power_levels" || key.0 == "m.room.create" {
                self.levels = None;
            }
            self.kept.remove(&key);
            self.state.insert(key, serial);
        }
        Ok(())
    }

    /// The redactions that came before the event that they redact.
    fn earlier_redactions(
        &mut self,
        latest: &Latest,
        known: &KnownEvents<'_, Latest>,
        event: &Event,
        arrival: &mut Arrived,
    ) -> Result<(), AppendError> {
        let prefix = (self.room, event.event_id().to_string());
        for row in latest.scan(&tables::REDACTION_BY_MISSING, &prefix) {
            let ((_, _, redaction), ()) = row?;
            arrival.redactions.push(redaction);
            if arrival.redacted_by.is_none()
                && let Some(found) = known.by_serial(redaction)?
                && let Some(levels) = self.power_levels(latest)?
                && redaction_applies(&found.event, event, &levels)
            {
                arrival.redacted_by = Some(redaction);
            }
        }
        Ok(())
    }

    /// The event's target, if it is a redaction that takes effect.
    fn redacts(
        &mut self,
        latest: &Latest,
        known: &KnownEvents<'_, Latest>,
        event: &Event,
        arrival: &mut Arrived,
    ) -> Result<Option<Redacted>, AppendError> {
        let Some(target_id) = event.redacts() else {
            return Ok(None);
        };
        let Some(target) = known.by_id(target_id)? else {
            // Of another room, or not here yet.
            let elsewhere = latest.contains(&tables::EVENT_BY_ID, &target_id.to_string())?;
            arrival.redacts_missing = (!elsewhere).then(|| target_id.to_owned());
            return Ok(None);
        };
        let applies = match self.power_levels(latest)? {
            Some(levels) => redaction_applies(event, &target.event, &levels),
            None => false,
        };
        if !applies {
            return Ok(None);
        }
        let place = (target.meta.depth, target.meta.tie_break);
        let relation = RelationKeys::of(&target.event, target.serial, place);
        Ok(Some(Redacted {
            serial: target.serial,
            is_state: target.event.state_key().is_some(),
            relation: relation.map(|keys| (keys, target.event.sender().to_string())),
        }))
    }

    fn digest_received(&mut self, latest: &Latest, event: &Event) -> Result<Digest, AppendError> {
        let levels = match event.state_key() {
            // The room's levels may be unreadable for this moment only.
            None => self.power_levels(latest)?,
            Some(_) => None,
        };
        let mut digest = digest(event, levels.as_deref());
        if event.state_key().is_none() && relates(event) {
            let relation = Relation::of_event(event.json().as_bytes());
            digest.thread = thread_of(latest, self.room, relation)?;
        }
        Ok(digest)
    }
}

fn staged_member(
    known: &KnownEvents<'_, Latest>,
    user_id: &str,
    serial: Option<EventSerial>,
) -> Result<StagedMember, AppendError> {
    let event = match serial {
        Some(serial) => known.by_serial(serial)?,
        None => None,
    };
    let membership = event
        .as_ref()
        .and_then(|known| known.event.content_as::<MemberContent>().ok())
        .and_then(|content| Membership::from_name(&content.membership));
    Ok(StagedMember {
        user_id: user_id.to_owned(),
        membership: membership.unwrap_or(Membership::Leave),
        sender: event.map_or_else(String::new, |known| known.event.sender().to_string()),
        event: serial,
    })
}

/// Until when an event is sticky by its own word (MSC4354).
fn sticky_until(event: &Event, now: u64) -> Option<u64> {
    #[derive(Deserialize)]
    struct Sticky {
        duration_ms: u64,
    }
    #[derive(Deserialize)]
    struct Header {
        #[serde(rename = "msc4354_sticky")]
        sticky: Sticky,
    }
    let header: Header = serde_json::from_str(event.json()).ok()?;
    let begin = event.origin_server_ts().min(now);
    let until = begin + header.sticky.duration_ms.min(MAX_STICKY);
    (until > now).then_some(until)
}

type AuthFound = Result<(u32, Option<graph::Reason>), Vec<OwnedEventId>>;

/// The event's generation, and why its auth events do not allow it; or which are missing.
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
        Err(AuthEventsError::Missing(missing)) => Err(missing),
        Err(AuthEventsError::Rejected(reason)) => Ok((generation.get(), Some(reason))),
    })
}

type Before = Result<(StateRoot, Vec<OwnedEventId>), Vec<OwnedEventId>>;

/// The state before an event, and which events directly before it are not held here with
/// their state but given; or which are missing.
fn before(
    known: &KnownEvents<'_, Latest>,
    maps: &mut StateMaps<'_, Latest>,
    event: &Event,
    given: &BTreeMap<OwnedEventId, Vec<OwnedEventId>>,
) -> Result<Before, AppendError> {
    let mut roots = Vec::new();
    let mut missing = Vec::new();
    let mut gaps = Vec::new();
    for prev in event.prev_events() {
        let held = match known.by_id(prev)? {
            Some(held) => known.state_after(maps, &held)?,
            None => None,
        };
        match (held, given.get(prev)) {
            (Some(root), _) => roots.push(root),
            (None, Some(state)) => {
                roots.push(build(known, maps, state)?);
                gaps.push(prev.clone());
            }
            (None, None) => missing.push(prev.clone()),
        }
    }
    if !missing.is_empty() {
        return Ok(Err(missing));
    }
    Ok(Ok((merge(known, maps, &roots)?, gaps)))
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
