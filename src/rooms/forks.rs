//! Where forks of a room's graph meet: the state there, as `graph` resolves it.

use std::{collections::HashSet, sync::Arc};

use graph::{Conflict, Event, Link, MAX_FORKS, Reason, RoomGraph};
use model::StateRoot;
use ruma_common::{EventId, OwnedEventId};
use store::Read;

use crate::{AppendError, ReadError, StateMaps, known::KnownEvents};

/// The most events that are looked at to resolve a state. Beyond that somebody wants to keep
/// this server busy.
const LIMIT: usize = 200_000;

/// What the resolution asks of the room's graph.
struct Forks<'a, R: Read> {
    known: &'a KnownEvents<'a, R>,
    maps: &'a StateMaps<'a, R>,
    /// The first fork: what is no conflict stands in it as in the others.
    first: StateRoot,
    conflicts: HashSet<(String, String)>,
}

impl<R: Read> RoomGraph for Forks<'_, R> {
    type Error = ReadError;

    fn event(&self, event_id: &EventId) -> Result<Option<Arc<Event>>, ReadError> {
        let known = self.known.by_id(event_id)?;
        Ok(known.map(|known| known.event.clone()))
    }

    fn link(&self, event_id: &EventId) -> Result<Option<Link>, ReadError> {
        let known = self.known.by_id(event_id)?;
        Ok(known.map(|known| Link {
            generation: known.meta.generation.into(),
            auth_events: known.event.auth_events().to_vec(),
        }))
    }

    fn unconflicted(
        &self,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<OwnedEventId>, ReadError> {
        let key = (event_type.to_owned(), state_key.to_owned());
        if self.conflicts.contains(&key) {
            return Ok(None);
        }
        match self.maps.get(self.first, event_type, state_key)? {
            Some(serial) => {
                let known = self.known.by_serial(serial)?;
                Ok(known.map(|known| known.event.event_id().to_owned()))
            }
            None => Ok(None),
        }
    }

    fn each_unconflicted(&self, visit: &mut dyn FnMut(&EventId) -> bool) -> Result<(), ReadError> {
        for (event_type, state_key, serial) in self.maps.all(self.first)? {
            if self.conflicts.contains(&(event_type, state_key)) {
                continue;
            }
            if let Some(known) = self.known.by_serial(serial)?
                && !visit(known.event.event_id())
            {
                break;
            }
        }
        Ok(())
    }
}

/// The state where these forks of the room's graph meet. Costs as much as they differ.
///
/// # Errors
/// [`AppendError::Unresolved`] if they cannot be resolved, or the database fails.
pub(crate) fn merge<R: Read>(
    known: &KnownEvents<'_, R>,
    maps: &mut StateMaps<'_, R>,
    roots: &[StateRoot],
) -> Result<StateRoot, AppendError> {
    let mut forks: Vec<StateRoot> = Vec::new();
    for root in roots {
        if !forks.contains(root) {
            forks.push(*root);
        }
    }
    forks.truncate(MAX_FORKS);
    let Some(first) = forks.first().copied() else {
        return Ok(crate::state_map::EMPTY);
    };
    let mut keys = HashSet::new();
    for other in &forks[1..] {
        for (from, to) in [(first, *other), (*other, first)] {
            let changed = maps.changed(from, to)?.into_iter();
            keys.extend(changed.map(|(event_type, state_key, _)| (event_type, state_key)));
        }
    }
    if keys.is_empty() {
        return Ok(first);
    }
    let mut conflicts = Vec::with_capacity(keys.len());
    for (event_type, state_key) in &keys {
        let mut by_fork = Vec::with_capacity(forks.len());
        for fork in &forks {
            by_fork.push(match maps.get(*fork, event_type, state_key)? {
                Some(serial) => {
                    let known = known.by_serial(serial)?;
                    known.map(|known| known.event.event_id().to_owned())
                }
                None => None,
            });
        }
        conflicts.push(Conflict {
            event_type: event_type.clone(),
            state_key: state_key.clone(),
            by_fork,
        });
    }
    let graph = Forks {
        known,
        maps,
        first,
        conflicts: keys,
    };
    let resolved = graph::resolve(known.version, &known.room_id, &conflicts, &graph, LIMIT)
        .map_err(|error| AppendError::Unresolved(error.to_string()))?;
    let keys = graph.conflicts;
    let mut root = first;
    for (event_type, state_key) in &keys {
        if !resolved.contains_key(&(event_type.clone(), state_key.clone())) {
            root = maps.remove(root, event_type, state_key)?;
        }
    }
    for ((event_type, state_key), event_id) in &resolved {
        let event = known
            .by_id(event_id)?
            .ok_or_else(|| AppendError::Unresolved(format!("{event_id} is missing")))?;
        root = maps.insert(root, event_type, state_key, event.serial)?;
    }
    Ok(root)
}

/// Whether the room's rules allow an event in the state under a root; the inner error says
/// which one does not.
///
/// # Errors
/// If the database fails.
pub(crate) fn allowed_in<R: Read>(
    known: &KnownEvents<'_, R>,
    maps: &StateMaps<'_, R>,
    root: StateRoot,
    event: &Event,
) -> Result<Result<(), Reason>, AppendError> {
    let failed = std::cell::Cell::new(None);
    let allowed = graph::authorise_by_state(event, |event_type, state_key| {
        let found = maps
            .get(root, event_type, state_key)
            .map_err(ReadError::from)
            .and_then(|serial| match serial {
                Some(serial) => known.by_serial(serial),
                None => Ok(None),
            });
        match found {
            Ok(found) => found.map(|known| known.event.clone()),
            Err(error) => {
                failed.set(Some(error));
                None
            }
        }
    });
    match failed.into_inner() {
        Some(error) => Err(error.into()),
        None => Ok(allowed),
    }
}
