//! The auth difference: what some forks rest on, and others do not.
//!
//! A fork rests on its state and on the auth chains of that state. That the state itself counts is how Synapse, and with it the network,
//! reads the definition (its storage walks from the state itself, and so does the one of its tests); the specification's words leave it out, and
//! would resolve some rooms in another way. So whatever all forks have, and whatever that rests on, never differs, and only the differing
//! events need to be followed.

use std::collections::{BinaryHeap, HashMap, HashSet};

use ruma_common::{EventId, OwnedEventId};

use super::{Conflict, ResolutionError, RoomGraph, known::Known};

/// The events of the auth difference, without the conflicting events themselves. `forks` are at most 64.
pub(super) fn auth_difference<G: RoomGraph>(
    conflicts: &[Conflict],
    forks: usize,
    known: &mut Known<'_, G>,
) -> Result<HashSet<OwnedEventId>, ResolutionError<G::Error>> {
    let mut walk = Walk {
        all: u64::MAX >> (u64::BITS as usize - forks),
        ..Walk::default()
    };
    for conflict in conflicts {
        for (fork, event_id) in conflict.by_fork.iter().enumerate() {
            if let Some(event_id) = event_id {
                let generation = known.link(event_id)?.generation;
                walk.reach(event_id, generation, 1 << fork);
            }
        }
    }
    let conflicting: HashSet<OwnedEventId> = walk.reached_by.keys().cloned().collect();
    while walk.open > 0
        && let Some((generation, event_id)) = walk.next()
    {
        let by = walk.by(&event_id);
        let by = if by != walk.all
            && !conflicting.contains(&event_id)
            && known.is_unconflicted(&event_id)?
        {
            walk.set_all(&event_id);
            walk.all
        } else {
            by
        };
        for below in &known.link(&event_id)?.auth_events {
            let below_generation = known.link_below(below, &event_id, generation)?.generation;
            walk.reach(below, below_generation, by);
        }
    }
    let all = walk.all;
    let mut differing: HashSet<OwnedEventId> = walk
        .reached_by
        .into_iter()
        .filter(|(event_id, by)| *by != all && !conflicting.contains(event_id))
        .map(|(event_id, _)| event_id)
        .collect();
    remove_what_all_rest_on(&mut differing, known)?;
    Ok(differing)
}

/// Goes from the highest generation down, so that all that rests on an event was seen before the event.
#[derive(Default)]
struct Walk {
    /// The bits of all forks.
    all: u64,
    /// The forks that are known to rest on an event, as bits.
    reached_by: HashMap<OwnedEventId, u64>,
    waiting: BinaryHeap<(u64, OwnedEventId)>,
    /// How many of those waiting are not reached by all forks. When there are none, nothing below can differ.
    open: usize,
}

impl Walk {
    fn by(&self, event_id: &EventId) -> u64 {
        self.reached_by.get(event_id).copied().unwrap_or(0)
    }

    fn reach(&mut self, event_id: &EventId, generation: u64, by: u64) {
        let Some(already) = self.reached_by.get_mut(event_id) else {
            self.reached_by.insert(event_id.to_owned(), by);
            self.waiting.push((generation, event_id.to_owned()));
            self.open += usize::from(by != self.all);
            return;
        };
        // Its generation is below that of whoever reaches it, so it is waiting still.
        let was_open = *already != self.all;
        *already |= by;
        if was_open && *already == self.all {
            self.open -= 1;
        }
    }

    fn next(&mut self) -> Option<(u64, OwnedEventId)> {
        let next = self.waiting.pop()?;
        if self.by(&next.1) != self.all {
            self.open -= 1;
        }
        Some(next)
    }

    /// All forks rest on an event that waits no more.
    fn set_all(&mut self, event_id: &EventId) {
        if let Some(by) = self.reached_by.get_mut(event_id) {
            *by = self.all;
        }
    }
}

/// Takes out what the state that all forks have rests on: events that were replaced since, such as the join rules under which somebody joined.
fn remove_what_all_rest_on<G: RoomGraph>(
    differing: &mut HashSet<OwnedEventId>,
    known: &mut Known<'_, G>,
) -> Result<(), ResolutionError<G::Error>> {
    let mut lowest = u64::MAX;
    for event_id in differing.iter() {
        lowest = lowest.min(known.link(event_id)?.generation);
    }
    if differing.is_empty() {
        return Ok(());
    }
    let mut seen: HashSet<OwnedEventId> = HashSet::new();
    known.each_unconflicted(|known, event_id| {
        let mut waiting = vec![event_id.to_owned()];
        while let Some(event_id) = waiting.pop() {
            if !seen.insert(event_id.clone()) {
                continue;
            }
            differing.remove(&event_id);
            if differing.is_empty() {
                return Ok(false);
            }
            let link = known.link(&event_id)?;
            if link.generation > lowest {
                waiting.extend(link.auth_events.iter().cloned());
            }
        }
        Ok(true)
    })
}
