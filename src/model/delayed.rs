//! Records of events that are to be sent later (MSC4140).

use serde::{Deserialize, Serialize};

use crate::{DeviceSerial, RoomSerial, UserSerial, record::stored};

/// An event that a user has scheduled, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayedEventRecord {
    /// Whose it is.
    pub user: UserSerial,
    /// The room that it is for.
    pub room: RoomSerial,
    /// The event type.
    pub event_type: String,
    /// The state key, for state.
    pub state_key: Option<String>,
    /// The content as the client sent it: a JSON object.
    pub content: Vec<u8>,
    /// How long to wait, in ms.
    pub delay: u64,
    /// When it was scheduled or last restarted, in ms since the Unix epoch.
    pub scheduled_at: u64,
    /// The commit that scheduled it: what came before is nothing new to it.
    pub position: u64,
    /// For how long it shall be sticky once it is sent (MSC4354), in ms.
    pub sticky: Option<u64>,
    /// The client's transaction id: the device, the endpoint with the room, the id.
    pub transaction: Option<(DeviceSerial, String, String)>,
    /// How it ended, and when in ms since the Unix epoch; none while it waits.
    pub outcome: Option<(u64, DelayedOutcome)>,
}

impl DelayedEventRecord {
    /// When it is to be sent, in ms since the Unix epoch.
    pub fn due(&self) -> u64 {
        self.scheduled_at.saturating_add(self.delay)
    }
}

/// How a delayed event ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DelayedOutcome {
    /// It was sent, as the event of this id.
    Sent(String),
    /// It was cancelled.
    Cancelled,
    /// The room did not take it.
    Failed(DelayedFailure, String),
}

/// Why a room did not take a delayed event; a sentence stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DelayedFailure {
    /// The sender may not send it.
    Forbidden,
    /// What it names is not there.
    NotFound,
    /// Anything else that is wrong with it.
    Invalid,
}

/// How many delayed events a user has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayedCountsRecord {
    /// Those that wait.
    pub scheduled: u64,
    /// Those that have ended and are still remembered.
    pub ended: u64,
}

stored! { DelayedEventRecord = 1, DelayedCountsRecord = 1 }
