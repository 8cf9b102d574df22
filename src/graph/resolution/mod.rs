//! State resolution (room versions, "State resolution"): what the state of a room is where forks of its graph meet.
//!
//! Works on what differs only. The caller names the keys whose values differ between the forks; everything else of the state is looked up
//! where a rule asks for it. The events' auth chains are never loaded whole either: the walks go from the highest generation down and end
//! where nothing can differ any more.

mod checks;
mod difference;
mod known;
mod ordering;
mod subgraph;
mod v1;
mod v2;

use std::{collections::BTreeMap, sync::Arc};

use ruma_common::{EventId, OwnedEventId, RoomId};
use thiserror::Error;

use self::known::Known;
use crate::{Event, StateResolution, Version};

/// The most forks that are resolved at once. An event names at most [`MAX_PREV_EVENTS`](crate::MAX_PREV_EVENTS).
pub const MAX_FORKS: usize = 64;

/// A key of the state under which not all forks have the same event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The type of the state.
    pub event_type: String,
    /// The state key.
    pub state_key: String,
    /// The event in each fork, always in the same order of forks; none where a fork has no such state. At least two are different.
    pub by_fork: Vec<Option<OwnedEventId>>,
}

/// An event's place among the events that allow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// [`generation`] of `auth_events`.
    pub generation: u64,
    /// The event's `auth_events`.
    pub auth_events: Vec<OwnedEventId>,
}

/// An event's generation, from those of its `auth_events`: every event has a higher one than all that it rests on.
pub fn generation(of_auth_events: impl IntoIterator<Item = u64>) -> u64 {
    of_auth_events
        .into_iter()
        .max()
        .map_or(0, |highest| highest.saturating_add(1))
}

/// What a resolution asks about the room. The answers must not change while it runs.
pub trait RoomGraph {
    /// Why there may be no answer.
    type Error;

    /// An event of the room, rejected or not.
    ///
    /// # Errors
    /// Whatever keeps the caller from answering; the resolution ends with it.
    fn event(&self, event_id: &EventId) -> Result<Option<Arc<Event>>, Self::Error>;

    /// An event's link. Asked of far more events than [`RoomGraph::event`] is.
    ///
    /// # Errors
    /// As [`RoomGraph::event`].
    fn link(&self, event_id: &EventId) -> Result<Option<Link>, Self::Error>;

    /// The event that all forks have under a key. None if there is no such state, or it is among the [`Conflict`]s.
    ///
    /// # Errors
    /// As [`RoomGraph::event`].
    fn unconflicted(
        &self,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<OwnedEventId>, Self::Error>;

    /// Shows all events that all forks have, in any order, until `visit` returns false. Asked rarely: only where an event of a fork rests on
    /// state that the room has replaced, and that not all forks are seen to rest on.
    ///
    /// # Errors
    /// As [`RoomGraph::event`].
    fn each_unconflicted(&self, visit: &mut dyn FnMut(&EventId) -> bool)
    -> Result<(), Self::Error>;
}

/// Why a state cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResolutionError<E> {
    /// The graph could not answer.
    #[error("the room's graph cannot be read")]
    Graph(E),
    /// An event that others rest on is not there: it must be fetched first.
    #[error("{0} is missing")]
    Missing(OwnedEventId),
    /// An event that others rest on, or that stands in the state, is of another room.
    #[error("{0} is of another room")]
    OtherRoom(OwnedEventId),
    /// A fork's event under a key is not state of that key.
    #[error("{0} is not the state that it is said to be")]
    NotThatState(OwnedEventId),
    /// An event has no higher generation than one that it rests on. Real events cannot rest on each other in a circle: the caller's
    /// generations are wrong.
    #[error("the generation of {0} is not above that of its auth events")]
    Generation(OwnedEventId),
    /// More events would have to be looked at than the caller allows.
    #[error("more than {limit} events would have to be looked at")]
    TooManyEvents {
        /// The limit given.
        limit: usize,
    },
    /// The conflicts do not agree on how many forks there are, or these are less than two or more than [`MAX_FORKS`].
    #[error("the number of forks is wrong")]
    Forks,
}

/// The events of the resolved state by (type, state key).
pub type Resolved = BTreeMap<(String, String), OwnedEventId>;

/// Resolves the state where forks of a room's graph meet.
///
/// The result holds the events under the keys of `conflicts`; one that is not in it has no event in the resolved state. It can hold more: keys
/// that no fork has, whose events others rest on and pass the rules. Everything else of the state is what all forks have.
///
/// The result depends neither on the order of the conflicts nor on that of the forks. `limit` is the most events looked at, links and events each
/// counted once.
///
/// # Errors
/// [`ResolutionError`].
pub fn resolve<G: RoomGraph>(
    version: Version,
    room_id: &RoomId,
    conflicts: &[Conflict],
    graph: &G,
    limit: usize,
) -> Result<Resolved, ResolutionError<G::Error>> {
    let Some(first) = conflicts.first() else {
        return Ok(Resolved::new());
    };
    let forks = first.by_fork.len();
    let agree = conflicts
        .iter()
        .all(|conflict| conflict.by_fork.len() == forks);
    if !agree || !(2..=MAX_FORKS).contains(&forks) {
        return Err(ResolutionError::Forks);
    }
    let mut known = Known::new(version, room_id, graph, limit);
    for conflict in conflicts {
        for event_id in conflict.by_fork.iter().flatten() {
            let event = known.event(event_id)?;
            if !event.is_state(&conflict.event_type, &conflict.state_key) {
                return Err(ResolutionError::NotThatState(event_id.clone()));
            }
        }
    }
    match version.state_resolution() {
        StateResolution::V1 => v1::resolve(conflicts, &mut known),
        StateResolution::V2 | StateResolution::V2_1 => v2::resolve(conflicts, forks, &mut known),
    }
}
