//! Records of what application services are sent.

use serde::{Deserialize, Serialize};

use crate::{DeviceSerial, EventSerial, RoomSerial, UserSerial, record::stored};

/// Something that waits to be sent to an application service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceNews {
    /// An event.
    Event {
        /// Its room.
        room: RoomSerial,
        /// The event.
        event: EventSerial,
    },
    /// Receipts that a user moved in the commit under whose position this stands.
    Receipts {
        /// Where.
        room: RoomSerial,
        /// Whose.
        user: UserSerial,
        /// Whether the service may learn of private ones.
        with_private: bool,
    },
    /// Messages for a device of one of its users, of the commit under whose position this
    /// stands.
    ToDevice {
        /// Whose.
        user: UserSerial,
        /// The device.
        device: DeviceSerial,
    },
    /// Keys of a device of one of its users were given out.
    Keys {
        /// Whose.
        user: UserSerial,
        /// The device.
        device: DeviceSerial,
    },
    /// The devices or keys of somebody changed whom its users may write to.
    DeviceList {
        /// Whose.
        user: UserSerial,
    },
}

/// A transaction that an application service has not confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTransaction {
    /// Its id, which no other transaction has.
    pub id: String,
    /// Its body, which never changes.
    pub body: Vec<u8>,
    /// The users that it tells of, and whom the service may have to make first.
    pub users: Vec<String>,
    /// How many events it brings.
    pub events: u32,
}

stored! { ServiceNews = 1, ServiceTransaction = 1 }
