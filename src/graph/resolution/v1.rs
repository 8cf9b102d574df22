//! State resolution of room version 1.
//!
//! Where the specification is silent, Synapse's way is taken, as only its rooms exist: the memberships of different users are resolved
//! independently, and where no event passes the rules, the one of the least depth stays.

use std::{cmp::Reverse, sync::Arc};

use ruma_common::{EventId, OwnedEventId};
use sha1::{Digest as _, Sha1};

use super::{Conflict, ResolutionError, Resolved, RoomGraph, known::Known};
use crate::{
    AuthState, Event,
    auth::{allowed_by, keys_for},
};

/// The types whose conflicts are resolved one after another, because the later depend on the earlier.
const PHASES: [&str; 3] = ["m.room.power_levels", "m.room.join_rules", "m.room.member"];

pub(super) fn resolve<G: RoomGraph>(
    conflicts: &[Conflict],
    known: &mut Known<'_, G>,
) -> Result<Resolved, ResolutionError<G::Error>> {
    let mut resolved = Resolved::new();
    let mut open = Vec::new();
    for conflict in conflicts {
        let key = (conflict.event_type.clone(), conflict.state_key.clone());
        let events = candidates(conflict, known)?;
        match &events[..] {
            [] => {}
            // What some forks lack is no conflict in this version.
            [only] => {
                resolved.insert(key, only.event_id().to_owned());
            }
            _ => open.push((key, events)),
        }
    }
    for phase in PHASES {
        let mut chosen = Resolved::new();
        for ((event_type, state_key), events) in &open {
            // There is one kind of power levels, while join rules with a key follow the join rules.
            if event_type == phase && (phase != "m.room.power_levels" || state_key.is_empty()) {
                let event = last_of_chain(events, &resolved, known)?;
                chosen.insert((event_type.clone(), state_key.clone()), event);
            }
        }
        resolved.extend(chosen);
    }
    let mut others = Resolved::new();
    for (key, events) in &open {
        if !resolved.contains_key(key) {
            others.insert(key.clone(), deepest_allowed(events, &resolved, known)?);
        }
    }
    resolved.extend(others);
    Ok(resolved)
}

/// The different events of a conflict, least depth first, and among those of one depth the greatest SHA-1 of the id. Rejected ones do not count.
fn candidates<G: RoomGraph>(
    conflict: &Conflict,
    known: &mut Known<'_, G>,
) -> Result<Vec<Arc<Event>>, ResolutionError<G::Error>> {
    let mut events = Vec::new();
    for event_id in conflict.by_fork.iter().flatten() {
        let event = known.event(event_id)?;
        if !event.rejected() {
            events.push(event);
        }
    }
    events.sort_by_cached_key(|event| (event.depth(), Reverse(sha1(event.event_id()))));
    events.dedup_by(|one, other| one.event_id() == other.event_id());
    Ok(events)
}

fn sha1(event_id: &EventId) -> [u8; 20] {
    Sha1::digest(event_id.as_bytes()).into()
}

/// Follows the events as long as each is allowed after the one before.
fn last_of_chain<G: RoomGraph>(
    events: &[Arc<Event>],
    resolved: &Resolved,
    known: &mut Known<'_, G>,
) -> Result<OwnedEventId, ResolutionError<G::Error>> {
    let mut last = &events[0];
    for event in &events[1..] {
        if !allows(event, Some(last), resolved, known)? {
            break;
        }
        last = event;
    }
    Ok(last.event_id().to_owned())
}

fn deepest_allowed<G: RoomGraph>(
    events: &[Arc<Event>],
    resolved: &Resolved,
    known: &mut Known<'_, G>,
) -> Result<OwnedEventId, ResolutionError<G::Error>> {
    for event in events.iter().rev() {
        if allows(event, None, resolved, known)? {
            return Ok(event.event_id().to_owned());
        }
    }
    Ok(events[0].event_id().to_owned())
}

/// Whether an event is allowed in the state that is resolved so far, in which `last` stands under its key.
fn allows<G: RoomGraph>(
    event: &Arc<Event>,
    last: Option<&Arc<Event>>,
    resolved: &Resolved,
    known: &mut Known<'_, G>,
) -> Result<bool, ResolutionError<G::Error>> {
    let Ok(keys) = keys_for(event) else {
        return Ok(false);
    };
    let mut state = AuthState::default();
    for (event_type, state_key) in keys {
        let key = (event_type, state_key);
        let found = match resolved.get(&key) {
            Some(event_id) => Some(event_id.clone()),
            None => known.unconflicted(&key.0, &key.1)?,
        };
        if let Some(event_id) = found {
            state.insert(known.event(&event_id)?);
        }
    }
    if let Some(last) = last {
        state.insert(last.clone());
    }
    Ok(allowed_by(event, &state))
}
