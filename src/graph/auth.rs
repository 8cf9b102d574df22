//! The authorisation rules of the room versions, and which state they need.

use std::sync::Arc;

use ruma_common::{EventId, OwnedEventId};
use ruma_events::TimelineEventType;
use ruma_state_res::{
    auth_types_for_event, check_state_dependent_auth_rules, check_state_independent_auth_rules,
};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{
    Draft, Event, Reason, Version, canonical_text,
    owned::{self, AsOwnState},
};

/// The (type, state key) pairs whose current state, where there is any, goes into the `auth_events` of a draft (server-server API, "Auth
/// events selection").
///
/// # Errors
/// [`Reason::BadFormat`] if the draft is a membership without a state key, or with content that the rules cannot read.
pub fn authorisation_keys(
    version: Version,
    draft: &Draft,
) -> Result<Vec<(String, String)>, Reason> {
    let event_type = TimelineEventType::from(draft.event_type.as_str());
    // The rules look at the content of memberships only.
    let content = if event_type == TimelineEventType::RoomMember {
        canonical_text(&draft.content)?
    } else {
        "{}".to_owned()
    };
    let content =
        RawValue::from_string(content).map_err(|error| Reason::BadFormat(error.to_string()))?;
    let keys = auth_types_for_event(
        &event_type,
        &draft.sender,
        draft.state_key.as_deref(),
        &content,
        &version.rules().authorization,
    )
    .map_err(Reason::BadFormat)?;
    Ok(keys
        .into_iter()
        .map(|(event_type, state_key)| (event_type.to_string(), state_key))
        .collect())
}

/// The (type, state key) pairs of all state that [`authorise`] looks at for a draft: [`authorisation_keys`] and the create event, which since
/// version 12 is not among them.
///
/// # Errors
/// As [`authorisation_keys`].
pub fn state_keys(version: Version, draft: &Draft) -> Result<Vec<(String, String)>, Reason> {
    let mut keys = authorisation_keys(version, draft)?;
    let create = ("m.room.create".to_owned(), String::new());
    if draft.event_type != "m.room.create" && !keys.contains(&create) {
        keys.push(create);
    }
    Ok(keys)
}

/// The few state events that decide whether one event is allowed: those under [`state_keys`].
#[derive(Debug, Clone, Default)]
pub struct AuthState {
    // About five: looking through them costs less than hashing.
    events: Vec<Arc<Event>>,
}

impl AuthState {
    /// Puts a state event in, in the place of the one with the same type and state key. An event that is not state changes nothing.
    pub fn insert(&mut self, event: Arc<Event>) {
        let Some(state_key) = event.state_key() else {
            return;
        };
        match self
            .events
            .iter_mut()
            .find(|other| other.is_state(event.event_type(), state_key))
        {
            Some(other) => *other = event,
            None => self.events.push(event),
        }
    }

    /// The event under a type and state key.
    pub fn get(&self, event_type: &str, state_key: &str) -> Option<&Arc<Event>> {
        self.events
            .iter()
            .find(|event| event.is_state(event_type, state_key))
    }

    /// The event with this id.
    pub fn get_by_id(&self, event_id: &EventId) -> Option<&Arc<Event>> {
        self.events
            .iter()
            .find(|event| event.event_id() == event_id)
    }

    /// The `auth_events` of a draft: the events of this state under its [`authorisation_keys`].
    ///
    /// # Errors
    /// As [`authorisation_keys`].
    pub fn auth_events(
        &self,
        version: Version,
        draft: &Draft,
    ) -> Result<Vec<OwnedEventId>, Reason> {
        let keys = authorisation_keys(version, draft)?;
        let events = keys
            .iter()
            .filter_map(|(event_type, state_key)| self.get(event_type, state_key));
        Ok(events.map(|event| event.event_id().to_owned()).collect())
    }
}

impl FromIterator<Arc<Event>> for AuthState {
    fn from_iter<I: IntoIterator<Item = Arc<Event>>>(events: I) -> Self {
        let mut state = Self::default();
        events.into_iter().for_each(|event| state.insert(event));
        state
    }
}

/// The (type, state key) pairs of all state that the rules look at for an event, the create event included.
pub(crate) fn keys_for(event: &Event) -> Result<Vec<(String, String)>, Reason> {
    let keys = auth_types_for_event(
        &TimelineEventType::from(event.event_type()),
        event.sender(),
        event.state_key(),
        event.content(),
        &event.version().rules().authorization,
    )
    .map_err(Reason::BadFormat)?;
    let mut keys: Vec<(String, String)> = keys
        .into_iter()
        .map(|(event_type, state_key)| (event_type.to_string(), state_key))
        .collect();
    let create = ("m.room.create".to_owned(), String::new());
    if event.event_type() != "m.room.create" && !keys.contains(&create) {
        keys.push(create);
    }
    Ok(keys)
}

/// Whether the rules that look at a state allow an event in this one.
pub(crate) fn allowed_by(event: &Event, state: &AuthState) -> bool {
    authorise_by_state(event, |event_type, state_key| {
        state.get(event_type, state_key).cloned()
    })
    .is_ok()
}

/// Whether the room's rules allow an event of this server, whose `auth_events` are the current state.
///
/// # Errors
/// [`Reason::Forbidden`] with the rule that the event breaks.
pub fn authorise(event: &Event, state: &AuthState) -> Result<(), Reason> {
    authorise_with(
        event,
        |event_id| state.get_by_id(event_id).cloned(),
        |event_type, state_key| state.get(event_type, state_key).cloned(),
    )
}

/// Whether the room's rules allow an event: those that look at its `auth_events` (`fetch_by_id`, which since version 12 must also find the
/// create event), then those that look at a state of the room (`fetch_state`, by type and state key).
///
/// That the event is signed by those who must sign it is not among the rules tested here.
///
/// # Errors
/// [`Reason::Forbidden`] with the rule that the event breaks.
pub fn authorise_with(
    event: &Event,
    fetch_by_id: impl Fn(&EventId) -> Option<Arc<Event>>,
    fetch_state: impl Fn(&str, &str) -> Option<Arc<Event>>,
) -> Result<(), Reason> {
    let rules = &event.version().rules().authorization;
    check_state_independent_auth_rules(rules, event, fetch_by_id).map_err(Reason::Forbidden)?;
    authorise_by_state(event, fetch_state)
}

/// Whether the room's rules allow an event in a state of the room (`fetch_state`, by type and state key): that before the event, or the current
/// one (server-server API, "Checks performed on receipt of a PDU", steps 5 and 6). What the event names as its `auth_events` does not matter.
///
/// # Errors
/// [`Reason::Forbidden`] with the rule that the event breaks.
pub fn authorise_by_state(
    event: &Event,
    fetch_state: impl Fn(&str, &str) -> Option<Arc<Event>>,
) -> Result<(), Reason> {
    let rules = &event.version().rules().authorization;
    let fetch = |event_type: &_, state_key: &str| {
        let event_type: &ruma_events::StateEventType = event_type;
        fetch_state(&event_type.to_string(), state_key)
    };
    if !owned::is_owned(event) {
        return check_state_dependent_auth_rules(rules, event, fetch).map_err(Reason::Forbidden);
    }
    check_state_dependent_auth_rules(rules, AsOwnState(event), fetch).map_err(Reason::Forbidden)?;
    owned::may_set(event, fetch_state)
}

/// Why the events that an event names as allowing it do not allow it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthEventsError {
    /// Some of them, or since version 12 the create event, are not known here. They must be fetched first.
    #[error("{} of the events that allow the event are missing", .0.len())]
    Missing(Vec<OwnedEventId>),
    /// They do not allow the event: it is rejected for good.
    #[error(transparent)]
    Rejected(#[from] Reason),
}

/// Whether an event is allowed by its own `auth_events` (server-server API, "Checks performed on receipt of a PDU", step 4): these are those that
/// the selection for such an event can choose, none twice, none rejected, all of the same room, and the rules allow the event in a state
/// of them.
///
/// # Errors
/// [`AuthEventsError`].
pub fn authorise_by_auth_events(
    event: &Event,
    fetch_by_id: impl Fn(&EventId) -> Option<Arc<Event>>,
) -> Result<(), AuthEventsError> {
    let create = event.version().room_id_is_create_event() && event.event_type() != "m.room.create";
    let create = create
        .then(|| EventId::parse(format!("${}", event.room_id().strip_sigil())).ok())
        .flatten();
    let mut missing = Vec::new();
    let mut state = AuthState::default();
    for event_id in event.auth_events().iter().chain(create.as_ref()) {
        match fetch_by_id(event_id) {
            Some(found) => state.insert(found),
            None => missing.push(event_id.clone()),
        }
    }
    if !missing.is_empty() {
        return Err(AuthEventsError::Missing(missing));
    }
    authorise_with(event, fetch_by_id, |event_type, state_key| {
        state.get(event_type, state_key).cloned()
    })?;
    Ok(())
}
