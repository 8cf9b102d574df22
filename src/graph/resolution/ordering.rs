//! The two orders in which conflicting events are applied.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    sync::Arc,
};

use ruma_common::{EventId, OwnedEventId};

use super::{ResolutionError, RoomGraph, known::Known};
use crate::{Event, power::PowerLevel, power::sender_power};

/// By what the reverse topological power ordering compares two events: the smaller comes first.
type PowerOrder = (Reverse<PowerLevel>, u64, OwnedEventId);

/// The reverse topological power ordering of events that are closed under `auth_events` within the full conflicted set: an event comes after those
/// that it rests on; among those that could come next, the one whose sender has the most power, then the oldest, then the least id.
pub(super) fn by_power<G: RoomGraph>(
    events: &HashMap<OwnedEventId, Arc<Event>>,
    known: &mut Known<'_, G>,
) -> Result<Vec<Arc<Event>>, ResolutionError<G::Error>> {
    let mut orders: HashMap<&EventId, PowerOrder> = HashMap::new();
    let mut resting_on: HashMap<&EventId, Vec<&EventId>> = HashMap::new();
    let mut unmet: HashMap<&EventId, usize> = HashMap::new();
    for (event_id, event) in events {
        let power = power_at(event, known)?;
        let order = (Reverse(power), event.origin_server_ts(), event_id.clone());
        orders.insert(event_id, order);
        let below: BTreeSet<&EventId> = named(event, known)
            .filter_map(|below| events.get_key_value(&below))
            .map(|(below, _)| &**below)
            .collect();
        unmet.insert(event_id, below.len());
        for below in below {
            resting_on.entry(below).or_default().push(event_id);
        }
    }
    let mut next: BinaryHeap<Reverse<PowerOrder>> = BinaryHeap::new();
    for (event_id, count) in &unmet {
        if *count == 0 {
            next.extend(orders.remove(event_id).map(Reverse));
        }
    }
    let mut sorted = Vec::with_capacity(events.len());
    while let Some(Reverse((_, _, event_id))) = next.pop() {
        for above in resting_on.remove(&*event_id).into_iter().flatten() {
            if let Some(count) = unmet.get_mut(above) {
                *count -= 1;
                if *count == 0 {
                    next.extend(orders.remove(above).map(Reverse));
                }
            }
        }
        sorted.extend(events.get(&event_id).cloned());
    }
    Ok(sorted)
}

/// What an event rests on: its `auth_events` and the create event, where it goes without saying.
fn named<G: RoomGraph>(
    event: &Event,
    known: &Known<'_, G>,
) -> impl Iterator<Item = OwnedEventId> + use<G> {
    let create = known
        .create()
        .filter(|create| *create != event.event_id())
        .map(ToOwned::to_owned);
    event.auth_events().to_vec().into_iter().chain(create)
}

/// The power of an event's sender, as its auth events tell it.
fn power_at<G: RoomGraph>(
    event: &Event,
    known: &mut Known<'_, G>,
) -> Result<PowerLevel, ResolutionError<G::Error>> {
    let mut create = None;
    let mut power_levels = None;
    for below in named(event, known) {
        let below = known.event(&below)?;
        if below.is_state("m.room.create", "") {
            create = Some(below);
        } else if below.is_state("m.room.power_levels", "") {
            power_levels = Some(below);
        }
    }
    Ok(sender_power(
        event.sender(),
        create.as_deref(),
        power_levels.as_deref(),
        known.version,
    ))
}

/// The mainline ordering of events, based on a power levels event: first those that rest on the earliest power levels of its line, or on none
/// of them, then by time, then by id.
pub(super) fn by_mainline<G: RoomGraph>(
    mut events: Vec<Arc<Event>>,
    power_levels: Option<OwnedEventId>,
    known: &mut Known<'_, G>,
) -> Result<Vec<Arc<Event>>, ResolutionError<G::Error>> {
    let mut line = Vec::new();
    let mut next = power_levels;
    while let Some(event_id) = next {
        let event = known.event(&event_id)?;
        line.push(event_id);
        next = power_levels_below(&event, known)?;
    }
    // Counted from the earliest, 0 for those that rest on none, so that the positions of all events ever looked at only need to be compared.
    let mut positions: HashMap<OwnedEventId, usize> = line.into_iter().rev().zip(1..).collect();
    for event in &events {
        let mut way = Vec::new();
        let mut next = Some(event.event_id().to_owned());
        let mut position = 0;
        while let Some(event_id) = next {
            if let Some(found) = positions.get(&event_id) {
                position = *found;
                break;
            }
            let event = known.event(&event_id)?;
            way.push(event_id);
            next = power_levels_below(&event, known)?;
        }
        positions.extend(way.into_iter().map(|event_id| (event_id, position)));
    }
    events.sort_by_cached_key(|event| {
        let position = positions.get(event.event_id()).copied().unwrap_or(0);
        (
            position,
            event.origin_server_ts(),
            event.event_id().to_owned(),
        )
    });
    Ok(events)
}

/// The power levels event among an event's auth events. That generations fall keeps the way finite: where servers chose their events' ids, two
/// could name each other.
fn power_levels_below<G: RoomGraph>(
    event: &Event,
    known: &mut Known<'_, G>,
) -> Result<Option<OwnedEventId>, ResolutionError<G::Error>> {
    for below in event.auth_events() {
        if known.event(below)?.is_state("m.room.power_levels", "") {
            let generation = known.link(event.event_id())?.generation;
            known.link_below(below, event.event_id(), generation)?;
            return Ok(Some(below.clone()));
        }
    }
    Ok(None)
}
