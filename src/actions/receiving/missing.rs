//! What an event rests on, fetched from the server that sent it.

use std::{collections::HashSet, time::Duration};

use graph::{MAX_RECEIVED_BYTES, Received};
use js_int::UInt;
use peers::{Ask, Lists};
use rooms::Incoming;
use ruma_common::{EventId, OwnedEventId};
use ruma_federation_api::{
    authorization::get_event_authorization::v1 as event_auth,
    event::{
        get_event::v1 as get_event, get_missing_events::v1 as missing_events,
        get_room_state::v1 as room_state, get_room_state_ids::v1 as state_ids,
    },
};
use serde_json::value::RawValue;

use super::{GivenEvents, Incomplete, Place};
use crate::Actions;

/// How long another server may take to tell a piece of a room.
const WAIT: Duration = Duration::from_secs(60);
/// The largest state of a room that is taken, in bytes.
const STATE_BYTES: usize = 256 * 1024 * 1024;
/// What may come in very many pieces.
const STATE_LISTS: Lists = Lists {
    names: &["pdus", "auth_chain"],
    element_bytes: MAX_RECEIVED_BYTES,
};
/// The largest list of a state's events, in bytes.
const IDS_BYTES: usize = 32 * 1024 * 1024;
/// The largest answer of a few events, in bytes.
const EVENTS_BYTES: usize = 16 * 1024 * 1024;
/// The most events between that are asked for; a larger gap is left, and filled by who looks
/// back.
const BETWEEN: u32 = 20;
/// The most events that are fetched one by one; more come with the whole state.
const ONE_BY_ONE: usize = 30;

impl Actions {
    /// Events between those that are held here and a new one, oldest first.
    pub(super) async fn missing_events(
        &self,
        place: Place<'_>,
        new: &Received,
        missing: &[OwnedEventId],
    ) -> Result<Vec<Incoming>, Incomplete> {
        let earliest = self.rooms.extremities(place.room).await?;
        let latest = vec![new.event.event_id().to_owned()];
        let mut request = missing_events::Request::new(place.room_id.to_owned(), earliest, latest);
        request.limit = UInt::from(BETWEEN);
        let ask = Ask::new("missing_events").within(WAIT).up_to(EVENTS_BYTES);
        let answer = self.peers.ask(place.origin, request, ask).await;
        let mut events = answer?.events;
        events.truncate(BETWEEN as usize);
        let mut events = self.placeable(place, events).await;
        events.retain(|incoming| incoming.received.event.event_id() != new.event.event_id());
        let wanted: HashSet<&OwnedEventId> = missing.iter().collect();
        log::debug!(
            "{} tells {} events before {}, of which {} were missing",
            place.origin,
            events.len(),
            new.event.event_id(),
            wanted.len()
        );
        events.sort_by_key(|incoming| incoming.received.event.depth());
        Ok(events)
    }

    /// The events that allow an event, and those that allow them: kept here from now on.
    pub(crate) async fn fetch_auth_chain(
        &self,
        place: Place<'_>,
        event_id: &EventId,
    ) -> Result<(), Incomplete> {
        let request = event_auth::Request::new(place.room_id.to_owned(), event_id.to_owned());
        let ask = Ask::new("event_auth").within(WAIT).up_to(EVENTS_BYTES);
        let answer = self.peers.ask(place.origin, request, ask).await;
        let events = answer?.auth_chain;
        self.keep_usable(place, events).await
    }

    /// The ids of the state after an event that is not held here with its state, all of
    /// whose events are held here from now on. Where the event itself is not to be had, what
    /// was before it has to do.
    pub(crate) async fn fetch_state_after(
        &self,
        place: Place<'_>,
        event_id: &EventId,
    ) -> Result<Vec<OwnedEventId>, Incomplete> {
        let mut state = self
            .fetch_state_ids(place, event_id, Some(event_id))
            .await?;
        let lost = self.rooms.not_held(vec![event_id.to_owned()]).await;
        if lost?.is_empty() {
            // What it says of itself stands last, over what was before it.
            state.push(event_id.to_owned());
        }
        Ok(state)
    }

    /// The ids of the state before an event, all of whose events are held here from now on.
    pub(crate) async fn fetch_state_before(
        &self,
        place: Place<'_>,
        event_id: &EventId,
    ) -> Result<Vec<OwnedEventId>, Incomplete> {
        self.fetch_state_ids(place, event_id, None).await
    }

    async fn fetch_state_ids(
        &self,
        place: Place<'_>,
        event_id: &EventId,
        with: Option<&EventId>,
    ) -> Result<Vec<OwnedEventId>, Incomplete> {
        let request = state_ids::Request::new(event_id.to_owned(), place.room_id.to_owned());
        let ask = Ask::new("state_ids").within(WAIT).up_to(IDS_BYTES);
        let answer = self.peers.ask(place.origin, request, ask).await;
        let answer = answer?;
        let mut all = answer.auth_chain_ids;
        all.extend(answer.pdu_ids.iter().cloned());
        all.extend(with.map(ToOwned::to_owned));
        let mut missing = self.rooms.not_held(all.clone()).await?;
        if missing.len() > ONE_BY_ONE {
            self.fetch_whole_state(place, event_id).await?;
            missing = self.rooms.not_held(all).await?;
        }
        if !missing.is_empty() {
            self.fetch_events(place, missing).await?;
        }
        let mut state = answer.pdu_ids;
        let lost = self.rooms.not_held(state.clone()).await?;
        let lost: HashSet<_> = lost.into_iter().collect();
        state.retain(|event_id| !lost.contains(event_id));
        Ok(state)
    }

    async fn fetch_whole_state(
        &self,
        place: Place<'_>,
        event_id: &EventId,
    ) -> Result<(), Incomplete> {
        let request = room_state::Request::new(event_id.to_owned(), place.room_id.to_owned());
        let ask = Ask::new("state").within(WAIT).up_to(STATE_BYTES);
        let mut given = GivenEvents::default();
        let take = |list: &str, event| given.add(event, list == "pdus");
        self.peers
            .ask_lists(place.origin, request, ask, STATE_LISTS, take)
            .await?;
        self.keep_given(place, given).await?;
        Ok(())
    }

    /// Fetches events one by one and keeps those that can be had.
    async fn fetch_events(
        &self,
        place: Place<'_>,
        wanted: Vec<OwnedEventId>,
    ) -> Result<(), Incomplete> {
        let mut events = Vec::new();
        for event_id in wanted.into_iter().take(2 * ONE_BY_ONE) {
            let ask = Ask::new("event").within(WAIT);
            let request = get_event::Request::new(event_id.clone());
            match self.peers.ask(place.origin, request, ask).await {
                Ok(answer) => events.push(answer.pdu),
                Err(error) => log::debug!("{event_id} is not to be had: {error}"),
            }
        }
        self.keep_usable(place, events).await
    }

    /// Keeps what is usable of some events for its place in auth chains and states.
    async fn keep_usable(
        &self,
        place: Place<'_>,
        events: Vec<Box<RawValue>>,
    ) -> Result<(), Incomplete> {
        let events = self.usable(place, events).await;
        let kept = self.rooms.keep_outliers(place.room, events).await;
        Ok(kept.map(drop)?)
    }

    /// The events that are of the room and can have their place there; the others are logged and
    /// left out.
    pub(crate) async fn placeable(
        &self,
        place: Place<'_>,
        events: Vec<Box<RawValue>>,
    ) -> Vec<Incoming> {
        let checked = self.check_events(place.version, events).await;
        let told = checked.into_iter().filter_map(|checked| {
            let incoming = place.told(self.incoming(checked))?;
            place.is_of_room(&incoming.received).then_some(incoming)
        });
        told.collect()
    }

    /// The events that are of the room and signed; the others are logged and left out.
    async fn usable(&self, place: Place<'_>, events: Vec<Box<RawValue>>) -> Vec<Received> {
        let mut usable = Vec::with_capacity(events.len());
        for checked in self.check_events(place.version, events).await {
            usable.extend(place.usable(checked));
        }
        usable
    }
}
