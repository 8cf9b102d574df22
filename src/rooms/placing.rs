//! The place of an event of another server in its room, and what the room becomes by it.

use std::{collections::HashSet, sync::Arc};

use graph::{Event, MAX_PREV_EVENTS, redaction_applies};
use model::{EventMeta, EventSerial, EventStatus, Membership, StateRoot, tables};
use ruma_common::OwnedEventId;
use serde::Deserialize;
use store::{Latest, Read};

use crate::{
    AppendError, Rooms, StateMaps,
    digest::{Digest, digest},
    forks::merge,
    form::MAX_STICKY,
    gaps,
    known::{KnownEvent, KnownEvents},
    relations::{Relation, RelationKeys, relates, thread_of},
    staging::{Arrival, Redacted, Staged, StagedMember, Staging},
};

/// The most events that are looked through for what is missing behind them.
const MOST_BEHIND: usize = 100;

/// An event with all that was found out about it.
pub(crate) struct Placed {
    pub(crate) known: Option<EventSerial>,
    pub(crate) status: EventStatus,
    pub(crate) reason: Option<String>,
    pub(crate) state_before: StateRoot,
    pub(crate) generation: u32,
    pub(crate) is_history: bool,
    pub(crate) is_relayed: bool,
    pub(crate) gaps: Vec<OwnedEventId>,
    /// The states after some of these, as they were given with it.
    pub(crate) given: Vec<(OwnedEventId, StateRoot)>,
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
            is_relayed: false,
            gaps,
            given: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
struct MemberContent {
    membership: String,
}

impl Staging {
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
        let mut arrival = Arrival {
            was_missing: gaps::depths_above(latest, self.room, event_id)?,
            gaps: placed.gaps.clone(),
            given: placed.given.clone(),
            is_history: placed.is_history,
            is_entry,
            is_relayed: placed.is_relayed && placed.status == EventStatus::Accepted,
            ..Arrival::default()
        };
        let is_accepted = placed.status == EventStatus::Accepted;
        let redacts = if is_accepted {
            arrival.gaps.extend(gaps_behind(&known, &event)?);
            self.earlier_redactions(latest, &known, &event, &mut arrival)?;
            self.redacts(latest, &known, &event, &mut arrival)?
        } else {
            // What is not part of the room leaves no gap that must be filled; where it fills
            // one, the history goes on behind it.
            if arrival.was_missing.is_empty() {
                arrival.gaps.clear();
            }
            None
        };
        self.members = Some(Vec::new());
        let replaces = self.follow(rooms, &known, &event, serial, &placed, &mut arrival)?;
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

    /// The room goes on with an event that is part of it. Gives the event in whose place it
    /// comes.
    fn follow(
        &mut self,
        rooms: &Rooms,
        known: &KnownEvents<'_, Latest>,
        event: &Event,
        serial: EventSerial,
        placed: &Placed,
        arrival: &mut Arrival,
    ) -> Result<Option<EventSerial>, AppendError> {
        let nodes = std::mem::take(&mut self.nodes);
        let secret = rooms.inner.store.secret();
        let mut maps = StateMaps::new(known.view(), self.room, secret).with_fresh(nodes);
        let key = event.state_key().map(|key| (event.event_type(), key));
        let replaces = match key {
            Some((event_type, state_key)) => {
                maps.get(placed.state_before, event_type, state_key)?
            }
            None => None,
        };
        if placed.status == EventStatus::Accepted && !placed.is_history {
            let before = self.head.state;
            let is_named = !arrival.was_missing.is_empty();
            let is_entry = arrival.is_entry;
            arrival.is_beside = !is_entry && event.depth() <= self.head.depth;
            self.move_end(known, &mut maps, event, serial, is_named, is_entry)?;
            let alone = match key {
                Some((event_type, state_key)) => {
                    maps.insert(placed.state_before, event_type, state_key, serial)?
                }
                None => placed.state_before,
            };
            let differs = !is_entry && before != placed.state_before;
            arrival.head_before = differs.then_some(before);
            arrival.head_after = (alone != self.head.state).then_some(self.head.state);
        }
        self.nodes = maps.into_fresh();
        Ok(replaces)
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
        let named = named_by(known, event)?;
        let ends = self.extremity_ids.iter().zip(&self.head.extremities);
        let (mut ids, mut ends): (Vec<OwnedEventId>, Vec<EventSerial>) = ends
            .filter(|(event_id, _)| !is_entry && !named.contains(*event_id))
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
            roots.push(known.state_after(maps, &end)?);
        }
        let needless = needless_ends(&roots);
        for place in needless.into_iter().rev() {
            ids.remove(place);
            ends.remove(place);
            roots.remove(place);
        }
        let roots: Vec<StateRoot> = roots.into_iter().flatten().collect();
        self.head.state = merge(known, maps, &roots)?;
        self.head.extremities = ends;
        self.extremity_ids = ids;
        self.head.depth = self.head.depth.max(event.depth());
        self.follow_state(known, maps, before)
    }

    /// Everything that follows from the room's new state.
    pub(crate) fn follow_state(
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
        arrival: &mut Arrival,
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
        arrival: &mut Arrival,
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

/// The events directly before an event, and behind those of them that are no part of the
/// room the ones before these.
fn named_by(
    known: &KnownEvents<'_, Latest>,
    event: &Event,
) -> Result<HashSet<OwnedEventId>, AppendError> {
    let mut open: Vec<OwnedEventId> = event.prev_events().to_vec();
    let mut seen = HashSet::new();
    while let Some(event_id) = open.pop() {
        if seen.len() >= MOST_BEHIND || !seen.insert(event_id.clone()) {
            continue;
        }
        if let Some(held) = known.by_id(&event_id)?
            && is_left_out(held.meta.status)
        {
            open.extend(held.event.prev_events().iter().cloned());
        }
    }
    Ok(seen)
}

/// What is missing behind those events directly before an event that are held here and are no
/// part of the room: they have left no gap of their own.
fn gaps_behind(
    known: &KnownEvents<'_, Latest>,
    event: &Event,
) -> Result<Vec<OwnedEventId>, AppendError> {
    let mut missing = Vec::new();
    for event_id in named_by(known, event)? {
        // What is directly before the event is its own gap, if it is one.
        if event.prev_events().contains(&event_id) {
            continue;
        }
        let held = known.by_id(&event_id)?;
        if held.is_none_or(|held| held.meta.status == EventStatus::Outlier) {
            missing.push(event_id);
        }
    }
    Ok(missing)
}

fn is_left_out(status: EventStatus) -> bool {
    matches!(status, EventStatus::SoftFailed | EventStatus::Rejected)
}

/// The membership that an event gives, if it gives one.
pub(crate) fn membership_of(event: &Event) -> Option<Membership> {
    let content = event.content_as::<MemberContent>().ok()?;
    Membership::from_name(&content.membership)
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
    let membership = event.as_ref().and_then(|known| membership_of(&known.event));
    Ok(StagedMember {
        user_id: user_id.to_owned(),
        membership: membership.unwrap_or(Membership::Leave),
        sent_at: event
            .as_ref()
            .map_or(0, |known| known.event.origin_server_ts()),
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

/// Which ends of a room, oldest first, need not stay: there are more than an event can name,
/// and a newer one has the same state. Who has sent such an end has it, and so the room's state
/// does not depend on it. `roots` are the states after each.
fn needless_ends(roots: &[Option<StateRoot>]) -> Vec<usize> {
    let most = roots.len().saturating_sub(MAX_PREV_EVENTS);
    let has_newer = |(place, root): &(usize, &Option<StateRoot>)| roots[place + 1..].contains(root);
    let places = roots.iter().enumerate().filter(has_newer);
    places.map(|(place, _)| place).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ends_whose_state_others_have_go() {
        let root = |byte: u8| Some([byte; 16]);
        let few = vec![root(1); MAX_PREV_EVENTS];
        assert!(needless_ends(&few).is_empty());
        let mut many = vec![root(1); MAX_PREV_EVENTS + 2];
        assert_eq!(needless_ends(&many), [0, 1]);
        // The only one of its state stays, however old it is.
        many[0] = root(2);
        assert_eq!(needless_ends(&many), [1, 2]);
        let all_different: Vec<_> = (0..40).map(root).collect();
        assert!(needless_ends(&all_different).is_empty());
    }
}
