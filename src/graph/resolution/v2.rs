//! State resolution of room versions 2 to 11, and as changed in version 12 (MSC1442, MSC4297).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma_common::OwnedEventId;
use serde::Deserialize;

use super::{
    Conflict, ResolutionError, Resolved, RoomGraph,
    checks::PartialState,
    difference::auth_difference,
    known::Known,
    ordering::{by_mainline, by_power},
    subgraph::conflicted_subgraph,
};
use crate::{Event, StateResolution};

type Events = HashMap<OwnedEventId, Arc<Event>>;

pub(super) fn resolve<G: RoomGraph>(
    conflicts: &[Conflict],
    forks: usize,
    known: &mut Known<'_, G>,
) -> Result<Resolved, ResolutionError<G::Error>> {
    let from_nothing = known.version.state_resolution() == StateResolution::V2_1;
    let conflicted = full_conflicted_set(conflicts, forks, from_nothing, known)?;
    let power_events = with_chains(&conflicted, known);
    let mut state = PartialState {
        applied: Resolved::new(),
        over_unconflicted: !from_nothing,
    };
    let sorted = by_power(&power_events, known)?;
    state.apply(&sorted, known)?;

    let rest = conflicted
        .iter()
        .filter(|(event_id, _)| !power_events.contains_key(*event_id))
        .map(|(_, event)| event.clone())
        .collect();
    let power_levels = state.get("m.room.power_levels", "", known)?;
    let sorted = by_mainline(rest, power_levels, known)?;
    state.apply(&sorted, known)?;

    // What all forks have stays, whatever was applied in its place.
    let mut resolved = Resolved::new();
    for ((event_type, state_key), event_id) in state.applied {
        if known.unconflicted(&event_type, &state_key)?.is_none() {
            resolved.insert((event_type, state_key), event_id);
        }
    }
    Ok(resolved)
}

fn full_conflicted_set<G: RoomGraph>(
    conflicts: &[Conflict],
    forks: usize,
    with_subgraph: bool,
    known: &mut Known<'_, G>,
) -> Result<Events, ResolutionError<G::Error>> {
    let conflicting: HashSet<OwnedEventId> = conflicts
        .iter()
        .flat_map(|conflict| conflict.by_fork.iter().flatten())
        .cloned()
        .collect();
    let mut ids = auth_difference(conflicts, forks, known)?;
    if with_subgraph {
        ids.extend(conflicted_subgraph(&conflicting, known)?);
    }
    ids.extend(conflicting);
    let mut events = Events::with_capacity(ids.len());
    for event_id in ids {
        let event = known.event(&event_id)?;
        events.insert(event_id, event);
    }
    Ok(events)
}

/// The power events of a set, and what they rest on within the set.
fn with_chains<G: RoomGraph>(conflicted: &Events, known: &Known<'_, G>) -> Events {
    let mut chosen = Events::new();
    let mut waiting: Vec<Arc<Event>> = conflicted
        .values()
        .filter(|event| is_power_event(event))
        .cloned()
        .collect();
    while let Some(event) = waiting.pop() {
        let below = event.auth_events().iter().map(|id| &**id);
        waiting.extend(
            below
                .chain(known.create())
                .filter(|below| !chosen.contains_key(*below) && *below != event.event_id())
                .filter_map(|below| conflicted.get(below))
                .cloned(),
        );
        chosen.insert(event.event_id().to_owned(), event);
    }
    chosen
}

/// Whether an event might take away somebody's power to do something: the specification's list and, as everybody has it, the create event.
fn is_power_event(event: &Event) -> bool {
    #[derive(Deserialize)]
    struct Content {
        membership: String,
    }
    match (event.event_type(), event.state_key()) {
        ("m.room.power_levels" | "m.room.join_rules" | "m.room.create", Some("")) => true,
        ("m.room.member", Some(target)) => {
            event.sender() != target
                && event
                    .content_as::<Content>()
                    .is_ok_and(|content| matches!(&*content.membership, "leave" | "ban"))
        }
        _ => false,
    }
}
