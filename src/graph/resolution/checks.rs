//! Iterative auth checks: applying events to a state one by one, if the rules allow them.

use std::sync::Arc;

use ruma_common::OwnedEventId;

use super::{ResolutionError, Resolved, RoomGraph, known::Known};
use crate::{
    AuthState, Event,
    auth::{allowed_by, keys_for},
};

/// A state that is being built: what was applied so far, over what all forks have, or over nothing.
pub(super) struct PartialState {
    pub(super) applied: Resolved,
    pub(super) over_unconflicted: bool,
}

impl PartialState {
    pub(super) fn get<G: RoomGraph>(
        &self,
        event_type: &str,
        state_key: &str,
        known: &Known<'_, G>,
    ) -> Result<Option<OwnedEventId>, ResolutionError<G::Error>> {
        let key = (event_type.to_owned(), state_key.to_owned());
        match self.applied.get(&key) {
            Some(event_id) => Ok(Some(event_id.clone())),
            None if self.over_unconflicted => known.unconflicted(event_type, state_key),
            None => Ok(None),
        }
    }

    /// Applies those of the events that are allowed, in this order.
    pub(super) fn apply<G: RoomGraph>(
        &mut self,
        events: &[Arc<Event>],
        known: &mut Known<'_, G>,
    ) -> Result<(), ResolutionError<G::Error>> {
        for event in events {
            if let Some(state_key) = event.state_key()
                && self.allows(event, known)?
            {
                let key = (event.event_type().to_owned(), state_key.to_owned());
                self.applied.insert(key, event.event_id().to_owned());
            }
        }
        Ok(())
    }

    /// Whether the rules allow an event in this state. Where it has nothing under a key that the rules ask for, the event's own auth events count.
    /// A rejected event counts in neither.
    fn allows<G: RoomGraph>(
        &self,
        event: &Arc<Event>,
        known: &mut Known<'_, G>,
    ) -> Result<bool, ResolutionError<G::Error>> {
        // An event that the rules cannot read is not allowed.
        let Ok(keys) = keys_for(event) else {
            return Ok(false);
        };
        let mut state = AuthState::default();
        for auth_event in event.auth_events() {
            let auth_event = known.event(auth_event)?;
            if !auth_event.rejected() {
                state.insert(auth_event);
            }
        }
        if let Some(create) = known.create().map(ToOwned::to_owned)
            && create != *event.event_id()
        {
            state.insert(known.event(&create)?);
        }
        for (event_type, state_key) in keys {
            if let Some(event_id) = self.get(&event_type, &state_key, known)? {
                let found = known.event(&event_id)?;
                if !found.rejected() {
                    state.insert(found);
                }
            }
        }
        Ok(allowed_by(event, &state))
    }
}
