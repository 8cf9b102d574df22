//! The conflicted state subgraph (room version 12): what lies between two conflicting events.

use std::collections::{BinaryHeap, HashMap, HashSet};

use ruma_common::OwnedEventId;

use super::{ResolutionError, RoomGraph, known::Known};

/// All events on the paths along `auth_events` from one of the conflicting events to another, these included.
pub(super) fn conflicted_subgraph<G: RoomGraph>(
    conflicting: &HashSet<OwnedEventId>,
    known: &mut Known<'_, G>,
) -> Result<HashSet<OwnedEventId>, ResolutionError<G::Error>> {
    let mut waiting = BinaryHeap::new();
    for event_id in conflicting {
        waiting.push((known.link(event_id)?.generation, event_id.clone()));
    }
    // Nothing of a lower generation rests on a conflicting event.
    let lowest = waiting
        .iter()
        .map(|(generation, _)| *generation)
        .min()
        .unwrap_or(0);
    let mut seen = conflicting.clone();
    let mut resting_on: HashMap<OwnedEventId, Vec<OwnedEventId>> = HashMap::new();
    while let Some((generation, event_id)) = waiting.pop() {
        if generation <= lowest {
            continue;
        }
        for below in &known.link(&event_id)?.auth_events {
            let below_generation = known.link_below(below, &event_id, generation)?.generation;
            if below_generation < lowest {
                continue;
            }
            resting_on
                .entry(below.clone())
                .or_default()
                .push(event_id.clone());
            if seen.insert(below.clone()) {
                waiting.push((below_generation, below.clone()));
            }
        }
    }
    // Everything seen lies below a conflicting event; what lies above one too is between.
    let mut between = conflicting.clone();
    let mut waiting: Vec<OwnedEventId> = conflicting.iter().cloned().collect();
    while let Some(event_id) = waiting.pop() {
        for above in resting_on.get(&event_id).into_iter().flatten() {
            if between.insert(above.clone()) {
                waiting.push(above.clone());
            }
        }
    }
    Ok(between)
}
