//! Events as they are stored.

use serde::{Deserialize, Serialize};
use store::{DecodeError, Key, Position, Value};

use crate::{EventSerial, RoomSerial, record::stored};

/// An event's body: never changed, whatever is later learned about the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// The room that it is part of.
    pub room: RoomSerial,
    /// `$…`, the reference hash of the event.
    pub event_id: String,
    /// The event as it was signed: canonical JSON in federation form, no `unsigned`.
    pub json: Vec<u8>,
}

const STORED_EVENT_VERSION: u8 = 1;

impl Value for StoredEvent {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(STORED_EVENT_VERSION);
        Key::encode(&self.room, out);
        Key::encode(&self.event_id, out);
        out.extend_from_slice(&self.json);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = bytes;
        if <u8 as Key>::decode(&mut rest)? != STORED_EVENT_VERSION {
            return Err(DecodeError("an unknown version of an event"));
        }
        Ok(Self {
            room: <RoomSerial as Key>::decode(&mut rest)?,
            event_id: <String as Key>::decode(&mut rest)?,
            json: rest.to_vec(),
        })
    }
}

/// What became of an event when the rules were applied to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventStatus {
    /// Part of the room's timeline and state.
    Accepted,
    /// Known for its place in an auth chain, not part of the timeline.
    Outlier,
    /// The room's rules refuse it.
    Rejected,
    /// Allowed where it stands in the graph, not by the room's current state.
    SoftFailed,
    /// Accepted while the room's state was not wholly known.
    StatePartial,
}

/// The root of a state map; equal states of one server have equal roots.
pub type StateRoot = [u8; 16];

/// What is known about an event beside its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventMeta {
    /// What became of it.
    pub status: EventStatus,
    /// Its place in the timeline: first by depth…
    pub depth: u64,
    /// …then by this.
    pub tie_break: u64,
    /// The commit that brought it: its place in the log.
    pub position: u64,
    /// The room's state before it; replaceable while that state is partial.
    pub state_before: StateRoot,
    /// One more than the highest generation among its auth events.
    pub generation: u32,
    /// The event in whose place it came in that state, if it is state and there was one.
    pub replaces: Option<EventSerial>,
}

impl EventMeta {
    /// The commit that brought the event.
    pub fn position(&self) -> Position {
        Position(self.position)
    }
}

stored! { EventMeta = 1 }
