//! The events of a whole state, as another server tells them: too many to be held otherwise
//! than as they came. They are checked and written in pieces.

use std::collections::BTreeMap;

use graph::{Received, Version};
use ruma_common::{OwnedEventId, OwnedUserId};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{Incomplete, Place, checking::Wanted};
use crate::Actions;

/// How many are checked, and then written, at a time.
const PIECE: usize = 500;

/// Events of a state and those that they rest on, unchecked.
#[derive(Debug, Default)]
pub(crate) struct GivenEvents(Vec<GivenEvent>);

#[derive(Debug)]
struct GivenEvent {
    json: Box<RawValue>,
    /// As it says itself.
    depth: u64,
    /// Whether it is part of the state.
    is_state: bool,
}

#[derive(Deserialize)]
struct Depth {
    depth: u64,
}

/// What tells which keys an event needs.
#[derive(Deserialize)]
struct Signed {
    sender: OwnedUserId,
    origin_server_ts: u64,
    /// By server and key.
    signatures: BTreeMap<String, BTreeMap<String, IgnoredAny>>,
}

impl GivenEvents {
    /// Adds an event; whether it is part of the state, or only something rests on it.
    pub(crate) fn add(&mut self, json: Box<RawValue>, is_state: bool) {
        // What has none that can be read is refused when it is checked.
        let depth = serde_json::from_str::<Depth>(json.get()).map_or(0, |event| event.depth);
        self.0.push(GivenEvent {
            json,
            depth,
            is_state,
        });
    }

    /// The keys of the senders' servers: those of others are few.
    fn wanted_keys(&self, version: Version) -> Wanted {
        let mut wanted = Wanted::new();
        for event in &self.0 {
            let Ok(mut signed) = serde_json::from_str::<Signed>(event.json.get()) else {
                continue;
            };
            let at = match version.enforces_key_validity() {
                true => signed.origin_server_ts,
                false => 0,
            };
            let server = signed.sender.server_name();
            let keys = signed
                .signatures
                .remove(server.as_str())
                .unwrap_or_default();
            for key_id in keys.into_keys() {
                let wanted = wanted.entry(server.to_owned()).or_default();
                let latest = wanted.entry(key_id).or_default();
                *latest = at.max(*latest);
            }
        }
        wanted
    }
}

impl Actions {
    /// Keeps events that are told of a room, as outliers, and gives the ids of those that are
    /// of its state. What is not of the room, not signed or rests on what is not here is left
    /// out.
    pub(crate) async fn keep_given(
        &self,
        place: Place<'_>,
        given: GivenEvents,
    ) -> Result<Vec<OwnedEventId>, Incomplete> {
        self.fetch_wanted(given.wanted_keys(place.version)).await;
        let mut events = given.0;
        // What an event rests on comes before it, if all are honest.
        events.sort_by_key(|event| event.depth);
        let mut state = Vec::new();
        let mut waiting = Vec::new();
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            let piece: Vec<GivenEvent> = events.by_ref().take(PIECE).collect();
            let (is_state, jsons): (Vec<_>, Vec<_>) = piece
                .into_iter()
                .map(|event| (event.is_state, event.json))
                .unzip();
            let checked = self.check_events(place.version, jsons).await;
            let mut usable: Vec<Received> = Vec::new();
            for (is_state, checked) in is_state.into_iter().zip(checked) {
                let Some(received) = place.usable(checked) else {
                    continue;
                };
                if is_state {
                    state.push(received.event.event_id().to_owned());
                }
                usable.push(received);
            }
            waiting.extend(self.rooms.keep_outliers(place.room, usable).await?);
        }
        if !waiting.is_empty() {
            self.rooms.keep_outliers(place.room, waiting).await?;
        }
        Ok(state)
    }
}
