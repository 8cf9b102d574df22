//! Records of pushers and of what waits to be pushed.

use serde::{Deserialize, Serialize};

use crate::{DeviceSerial, EventSerial, PusherSerial, RoomSerial, record::stored};

/// Where a user's client wants notifications sent (client-server API, "Push
/// Notifications").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PusherRecord {
    /// The pusher's serial: its queue stands under it.
    pub serial: PusherSerial,
    /// The device that set it, with which it goes.
    pub device: DeviceSerial,
    /// The commit that made it: what came before is not pushed.
    pub since: u64,
    /// When it was last set, in ms since the Unix epoch.
    pub updated_at: u64,
    /// The name of the application, for its user.
    pub app_display_name: String,
    /// The name of the device, for its user.
    pub device_display_name: String,
    /// `profile_tag`, as the client gave it.
    pub profile_tag: Option<String>,
    /// The language that notifications should have.
    pub lang: String,
    /// Where the push gateway listens.
    pub url: String,
    /// `data` as the client gave it, without `url`: a JSON object.
    pub data: Vec<u8>,
}

/// Something that waits to be sent to a pusher's gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushRecord {
    /// When it was queued, in ms since the Unix epoch.
    pub at: u64,
    /// The event to be told of; none for the count of what is unread alone.
    pub event: Option<PushedEvent>,
}

/// An event that a user's push rules notify about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedEvent {
    /// The room.
    pub room: RoomSerial,
    /// The event.
    pub event: EventSerial,
    /// The tweaks of the rule that matched: a JSON object.
    pub tweaks: Vec<u8>,
    /// Whether the device should be woken for it.
    pub is_urgent: bool,
}

stored! { PusherRecord = 1, PushRecord = 1 }
