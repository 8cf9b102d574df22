//! The state of a room that was known in part becomes whole (MSC3902, "Resynchronisation"):
//! the state before the join by which this server came in is there, and from it follow the
//! state before each event that came meanwhile, whether the rules allow it, and the room's
//! present. One commit, while nobody else writes to the room.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use graph::{Event, Reason, redaction_applies};
use model::{
    EventMeta, EventSerial, EventStatus, LogEntry, Membership, PartialEventRecord,
    PartialRoomRecord, RoomChange, RoomSerial, StateRoot, intern_user, rewriting_scope, tables,
};
use ruma_common::{OwnedEventId, UserId};
use store::{Batch, Latest, Position, Read as _, Writing, Written};

use crate::{
    AppendError, Rooms, StateMaps,
    forks::{allowed_in, merge},
    known::{KnownEvent, KnownEvents},
    outliers::judged,
    partial::{forget_events, unknown_before, unmark},
    placing::membership_of,
    queue::RoomEnd,
    receive::{build, by_auth_events},
    relations::{RelationKeys, Tallies},
    rows::{self, Extra, Progress},
    staging::Staging,
    unplaced_devices,
};

/// What came of the states that another server told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// The room's state is known wholly.
    Done,
    /// Nothing was to be completed.
    NotPartial,
    /// They cannot be those of this room, or contradict what the server said that gave it:
    /// nothing was changed.
    Refused(String),
}

/// An event that was placed while the state was known in part.
struct Replayed {
    serial: EventSerial,
    event: Arc<Event>,
    before: EventMeta,
    record: PartialEventRecord,
    /// What it is now.
    after: EventMeta,
}

impl Replayed {
    fn is_accepted(&self) -> bool {
        matches!(
            self.after.status,
            EventStatus::Accepted | EventStatus::StatePartial
        )
    }

    fn was_accepted(&self) -> bool {
        matches!(
            self.before.status,
            EventStatus::Accepted | EventStatus::StatePartial
        )
    }

    fn key(&self) -> Option<(&str, &str)> {
        let state_key = self.event.state_key()?;
        Some((self.event.event_type(), state_key))
    }
}

/// All that the commit brings beside the room's new state.
struct Rest {
    /// The room's state until now.
    before: StateRoot,
    record: PartialRoomRecord,
    events: Vec<Replayed>,
    /// By events that are part of the room only now: what they redact.
    redacted: Vec<(EventSerial, EventSerial)>,
    /// Servers of which nobody knew that they were in the room.
    found: Vec<String>,
    /// Users of whom nobody knew that they are.
    newcomers: Vec<String>,
}

impl Rooms {
    /// Completes a room's state. `given` are the states after the events directly before the
    /// join, all of whose events are held here. What another server says is refused if it
    /// contradicts what is known of the state already, unless `is_believed`: members apart,
    /// the state was known. Returns when it is on disk.
    ///
    /// # Errors
    /// [`AppendError::Unresolved`]; if the database fails.
    pub async fn complete(
        &self,
        room: RoomSerial,
        given: BTreeMap<OwnedEventId, Vec<OwnedEventId>>,
        is_believed: bool,
    ) -> Result<Completion, AppendError> {
        let rooms = self.clone();
        let (completion, written) = self
            .inner
            .queues
            .write(&self.inner.store, room, move |writing, end| {
                rooms.complete_now(writing, room, &given, is_believed, end)
            })
            .await?;
        if let Some(written) = written {
            written.durable().await?;
            // Events in it may not be part of the room any more.
            self.inner.news.forget(room);
            self.let_guests_go(room).await;
        }
        Ok(completion)
    }

    fn complete_now(
        &self,
        writing: &Writing,
        room: RoomSerial,
        given: &BTreeMap<OwnedEventId, Vec<OwnedEventId>>,
        is_believed: bool,
        end: &mut Option<RoomEnd>,
    ) -> Result<(Completion, Option<Written>), AppendError> {
        let latest = writing.latest();
        let now = self.inner.clock.now().0;
        let Some(record) = latest.get(&tables::PARTIAL_ROOM, &room)? else {
            return Ok((Completion::NotPartial, None));
        };
        let mut staging = match end.take() {
            Some(end) => Staging::on(end, room, now),
            None => Staging::load(latest, room, now)?,
        };
        let secret = self.inner.store.secret();
        let known = staging.known_events(latest)?;
        let mut maps = StateMaps::new(latest, room, secret);
        let before = unknown_before(&known, &record.entries)?;
        if let Some(missing) = before.iter().find(|prev| !given.contains_key(*prev)) {
            let reason = format!("the state after {missing} is missing");
            return Ok((Completion::Refused(reason), None));
        }
        let mut roots = BTreeMap::new();
        for (event_id, state) in given {
            roots.insert(event_id.clone(), build(&known, &mut maps, state)?);
        }
        let mut events = in_order(&known, partial_events(&known, room)?)?;
        for event in &mut events {
            replay(&known, &mut maps, event, &roots)?;
            if record.entries.contains(&event.serial)
                && let Err(reason) = check_entry(&maps, &staging, event, is_believed)?
            {
                return Ok((Completion::Refused(reason), None));
            }
        }
        let before = staging.head.state;
        staging.move_on(&known, &mut maps, &events)?;
        let found = found_servers(self, &known, &maps, &record, &staging, &events)?;
        staging.nodes = maps.into_fresh();
        let redacted = redacted_now(latest, &known, &mut staging, &events)?;
        let rest = Rest {
            before,
            record,
            events,
            redacted,
            found,
            newcomers: unplaced_devices::newcomers(&staging),
        };
        let (staging, written) = self.write_completed(writing, staging, &rest)?;
        *end = Some(staging.into_end());
        Ok((Completion::Done, Some(written)))
    }

    fn write_completed(
        &self,
        writing: &Writing,
        staging: Staging,
        rest: &Rest,
    ) -> Result<(Staging, Written), AppendError> {
        let context = rows::Context::of_others(self);
        writing.write(|latest, position, batch| {
            let mut progress = Progress::at(position, &context);
            // Who turns out to have been there before came in when their events say.
            progress.is_entry = true;
            let extra = Extra::none();
            let staging = rows::write_room(staging, &context, extra, &mut progress, latest, batch)?;
            let room = staging.room;
            let root = staging.head.state;
            rest.event_rows(room, &context, position, latest, batch)?;
            let newcomers = &rest.newcomers;
            unplaced_devices::tell(room, newcomers, &context, &mut progress, latest, batch)?;
            unmark(room, &mut progress, latest, batch)?;
            forget_events(batch, room);
            batch.put(&tables::COMPLETED_BY_ROOM, &room, &position);
            // Who compares sees what was known before.
            let before = RoomChange::State { root: rest.before };
            progress.tell(batch, room, &before);
            progress.tell(batch, room, &RoomChange::State { root });
            LogEntry::Completed {
                room,
                since: rest.record.position,
                found: rest.found.clone(),
            }
            .write(batch);
            Ok(staging)
        })
    }
}

/// Whether the state before a join by which this server came in can be that; or why not.
fn check_entry(
    maps: &StateMaps<'_, Latest>,
    staging: &Staging,
    entry: &Replayed,
    is_believed: bool,
) -> Result<Result<(), String>, AppendError> {
    let root = entry.after.state_before;
    let create = maps.get(root, "m.room.create", "")?;
    if create != Some(staging.record.create_event) {
        return Ok(Err("the state is of another room".to_owned()));
    }
    if !entry.is_accepted() {
        return Ok(Err("the state does not allow the join".to_owned()));
    }
    if !is_believed {
        for (event_type, state_key, _) in maps.changed(root, entry.before.state_before)? {
            if event_type != "m.room.member" {
                return Ok(Err(format!(
                    "the state has another {event_type} of {state_key:?} than the room came with"
                )));
            }
        }
    }
    Ok(Ok(()))
}

fn partial_events(
    known: &KnownEvents<'_, Latest>,
    room: RoomSerial,
) -> Result<Vec<Replayed>, AppendError> {
    let mut events = Vec::new();
    for row in known.view().scan(&tables::PARTIAL_EVENT_BY_ROOM, &(room,)) {
        let ((_, serial), record) = row?;
        if let Some(found) = known.by_serial(serial)? {
            events.push(Replayed {
                serial,
                event: found.event.clone(),
                before: found.meta.clone(),
                after: found.meta.clone(),
                record,
            });
        }
    }
    Ok(events)
}

/// The events, each after those that come before it in the room's graph and, where it names
/// them, those that allow it.
fn in_order(
    known: &KnownEvents<'_, Latest>,
    events: Vec<Replayed>,
) -> Result<Vec<Replayed>, AppendError> {
    let ids: Vec<EventSerial> = events.iter().map(|event| event.serial).collect();
    let mut waiting: HashMap<EventSerial, Replayed> = events
        .into_iter()
        .map(|event| (event.serial, event))
        .collect();
    let mut ordered = Vec::with_capacity(ids.len());
    let mut entered = HashSet::new();
    for serial in ids {
        let mut open = vec![(serial, false)];
        while let Some((serial, is_left)) = open.pop() {
            if is_left {
                ordered.extend(waiting.remove(&serial));
                continue;
            }
            let Some(event) = waiting.get(&serial) else {
                continue;
            };
            if !entered.insert(serial) {
                continue;
            }
            open.push((serial, true));
            let event = event.event.clone();
            for before in event.prev_events().iter().chain(event.auth_events()) {
                if let Some(before) = known.by_id(before)? {
                    open.push((before.serial, false));
                }
            }
        }
    }
    Ok(ordered)
}

/// Finds the state before an event anew, and whether it is allowed there. `given` are states
/// after events that are not held here with theirs.
fn replay(
    known: &KnownEvents<'_, Latest>,
    maps: &mut StateMaps<'_, Latest>,
    replayed: &mut Replayed,
    given: &BTreeMap<OwnedEventId, StateRoot>,
) -> Result<(), AppendError> {
    let event = judged(&replayed.event, known.version, &known.room_id, false)?;
    let state_before = state_before(known, maps, &event, replayed, given)?;
    let refused = match by_auth_events(known, &event)? {
        Ok((_, None)) => allowed_in(known, maps, state_before, &event)?.err(),
        Ok((_, refused)) => refused,
        Err(_) => Some(Reason::Forbidden(
            "events that shall allow it are not to be had".to_owned(),
        )),
    };
    let status = match (&refused, replayed.before.status) {
        (Some(_), _) => EventStatus::Rejected,
        (None, EventStatus::SoftFailed) => EventStatus::SoftFailed,
        (None, _) => EventStatus::Accepted,
    };
    if let Some(reason) = &refused
        && replayed.was_accepted()
    {
        log::info!("{} is not accepted after all: {reason}", event.event_id());
    }
    replayed.event = Arc::new(match refused {
        Some(_) => judged(&event, known.version, &known.room_id, true)?,
        None => event,
    });
    replayed.after.status = status;
    replayed.after.state_before = state_before;
    replayed.after.replaces = match replayed.key() {
        Some((event_type, state_key)) => maps.get(state_before, event_type, state_key)?,
        None => None,
    };
    known.add(KnownEvent {
        serial: replayed.serial,
        event: replayed.event.clone(),
        meta: replayed.after.clone(),
    });
    Ok(())
}

fn state_before(
    known: &KnownEvents<'_, Latest>,
    maps: &mut StateMaps<'_, Latest>,
    event: &Event,
    replayed: &Replayed,
    given: &BTreeMap<OwnedEventId, StateRoot>,
) -> Result<StateRoot, AppendError> {
    let mut roots = Vec::new();
    for prev in event.prev_events() {
        let held = match known.by_id(prev)? {
            Some(held) => known.state_after(maps, &held)?,
            None => None,
        };
        let with_it = replayed.record.given.iter();
        let mut with_it = with_it.filter(|(event_id, _)| event_id == prev.as_str());
        let with_it = with_it.next().map(|(_, root)| *root);
        let given = with_it.or_else(|| given.get(prev).copied());
        roots.extend(held.or(given));
    }
    if roots.is_empty() {
        return Ok(replayed.before.state_before);
    }
    merge(known, maps, &roots)
}

impl Staging {
    /// The room's present, as it follows from the events that were replayed.
    fn move_on(
        &mut self,
        known: &KnownEvents<'_, Latest>,
        maps: &mut StateMaps<'_, Latest>,
        events: &[Replayed],
    ) -> Result<(), AppendError> {
        let replayed: HashSet<EventSerial> = events.iter().map(|event| event.serial).collect();
        let accepted = || events.iter().filter(|event| event.is_accepted());
        let named: HashSet<&OwnedEventId> = accepted()
            .flat_map(|event| event.event.prev_events())
            .collect();
        let mut ends: Vec<(OwnedEventId, EventSerial)> = self
            .extremity_ids
            .iter()
            .cloned()
            .zip(self.head.extremities.iter().copied())
            .filter(|(event_id, serial)| !replayed.contains(serial) && !named.contains(event_id))
            .collect();
        ends.extend(
            accepted()
                .filter(|event| !event.record.is_history)
                .map(|event| (event.event.event_id().to_owned(), event.serial))
                .filter(|(event_id, _)| !named.contains(event_id)),
        );
        let mut roots = Vec::with_capacity(ends.len());
        for (_, serial) in &ends {
            let end = known.by_serial(*serial)?.ok_or(AppendError::UnknownRoom)?;
            roots.extend(known.state_after(maps, &end)?);
        }
        let before = self.head.state;
        self.head.state = merge(known, maps, &roots)?;
        (self.extremity_ids, self.head.extremities) = ends.into_iter().unzip();
        self.head.is_partial = false;
        self.members = Some(Vec::new());
        self.follow_state(known, maps, before)
    }
}

/// The servers that have been in the room since this one came in, without those that it was
/// told of at once.
fn found_servers(
    rooms: &Rooms,
    known: &KnownEvents<'_, Latest>,
    maps: &StateMaps<'_, Latest>,
    record: &PartialRoomRecord,
    staging: &Staging,
    events: &[Replayed],
) -> Result<Vec<String>, AppendError> {
    let told: HashSet<&str> = record.servers.iter().map(String::as_str).collect();
    let own = &rooms.inner.server_name;
    let mut found = BTreeSet::new();
    let mut add = |user_id: &str| {
        if let Ok(user_id) = UserId::parse(user_id)
            && user_id.server_name() != *own
            && !told.contains(user_id.server_name().as_str())
        {
            found.insert(user_id.server_name().to_string());
        }
    };
    let entries = events.iter();
    let entries = entries.filter(|event| record.entries.contains(&event.serial));
    let firsts: Vec<StateRoot> = entries.map(|entry| entry.after.state_before).collect();
    for member in staging.members.iter().flatten() {
        if member.membership == Membership::Join {
            add(&member.user_id);
            continue;
        }
        // Who was there first, and has gone meanwhile.
        for first in &firsts {
            if let Some(serial) = maps.get(*first, "m.room.member", &member.user_id)?
                && let Some(event) = known.by_serial(serial)?
                && membership_of(&event.event) == Some(Membership::Join)
            {
                add(&member.user_id);
            }
        }
    }
    for event in events.iter().filter(|event| event.is_accepted()) {
        if let Some(user_id) = comer_or_goer(known, event)? {
            add(user_id);
        }
    }
    Ok(found.into_iter().collect())
}

/// Who came into the room with an event, or was there before it.
fn comer_or_goer<'a>(
    known: &KnownEvents<'_, Latest>,
    replayed: &'a Replayed,
) -> Result<Option<&'a str>, AppendError> {
    let Some(("m.room.member", user_id)) = replayed.key() else {
        return Ok(None);
    };
    let before = match replayed.after.replaces {
        Some(before) => known.by_serial(before)?,
        None => None,
    };
    let before = before.and_then(|before| membership_of(&before.event));
    let memberships = [before, membership_of(&replayed.event)];
    let is_there = memberships.contains(&Some(Membership::Join));
    Ok(is_there.then_some(user_id))
}

/// What those redact that are part of the room only now: (target, redaction).
fn redacted_now(
    latest: &Latest,
    known: &KnownEvents<'_, Latest>,
    staging: &mut Staging,
    events: &[Replayed],
) -> Result<Vec<(EventSerial, EventSerial)>, AppendError> {
    let mut redacted = Vec::new();
    for event in events {
        let is_new = event.is_accepted() && !event.was_accepted();
        if let Some(target) = event.event.redacts().filter(|_| is_new)
            && let Some(target) = known.by_id(target)?
            && let Some(levels) = staging.power_levels(latest)?
            && redaction_applies(&event.event, &target.event, &levels)
        {
            redacted.push((target.serial, event.serial));
        }
    }
    Ok(redacted)
}

impl Rest {
    /// The rows of the events that were replayed.
    fn event_rows(
        &self,
        room: RoomSerial,
        context: &rows::Context<'_>,
        position: Position,
        latest: &Latest,
        batch: &mut Batch,
    ) -> Result<(), AppendError> {
        let mut tallies = Tallies::default();
        batch.wake(rewriting_scope(room));
        for replayed in &self.events {
            let (serial, meta) = (replayed.serial, &replayed.after);
            if *meta != replayed.before {
                batch.put(&tables::EVENT_META_BY_SERIAL, &serial, meta);
            }
            let (was, is) = (replayed.was_accepted(), replayed.is_accepted());
            if was == is {
                continue;
            }
            let place = (meta.depth, meta.tie_break);
            let row = (room, meta.depth, serial.0);
            let sender = replayed.event.sender().as_str();
            let sender = intern_user(latest, batch, sender, context.store.next_serial())?;
            let relation = RelationKeys::of(&replayed.event, serial, place);
            if is {
                batch.put(&tables::EVENT_BY_PLACE, &row, &serial);
                if let Some(relation) = relation {
                    relation.put(room, sender, &mut tallies, latest, position, batch)?;
                }
                continue;
            }
            batch.delete(&tables::EVENT_BY_PLACE, &row);
            forget_change(room, serial, meta.position(), latest, batch)?;
            if let Some(relation) = relation {
                relation.delete(room, sender, &mut tallies, latest, batch)?;
            }
            if let Some(target) = replayed.event.redacts()
                && let Some(target) = latest.get(&tables::EVENT_BY_ID, &target.to_string())?
                && latest.get(&tables::REDACTION_BY_EVENT, &target)? == Some(serial)
            {
                batch.delete(&tables::REDACTION_BY_EVENT, &target);
            }
        }
        for (target, redaction) in &self.redacted {
            if !latest.contains(&tables::REDACTION_BY_EVENT, target)? {
                batch.put(&tables::REDACTION_BY_EVENT, target, redaction);
            }
        }
        Ok(())
    }
}

/// Takes away the row that told of an event.
fn forget_change(
    room: RoomSerial,
    event: EventSerial,
    position: Position,
    latest: &Latest,
    batch: &mut Batch,
) -> Result<(), AppendError> {
    for row in latest.scan(&tables::CHANGE_BY_ROOM, &(room, position)) {
        let (key, change) = row?;
        if matches!(change, RoomChange::Event(change) if change.event == event) {
            batch.delete(&tables::CHANGE_BY_ROOM, &key);
        }
    }
    Ok(())
}
