//! Records of what other servers are sent.

use serde::{Deserialize, Serialize};

use crate::{UserSerial, record::stored};

/// What a room has of another server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomServerRecord {
    /// How many of its users have joined.
    pub joined: u64,
    /// The commit by which the first of these came in; 0 if there was never one.
    pub since: u64,
    /// The commit by which the last went out again; 0 if there is one, or never was.
    pub left_at: u64,
}

impl RoomServerRecord {
    /// Whether the server had users in the room when a commit was made. What came with the
    /// last one's leaving it must know, too.
    pub fn was_in(&self, position: u64) -> bool {
        let is_or_was = self.joined > 0 || self.left_at >= position;
        self.since != 0 && self.since <= position && is_or_was
    }
}

/// Events of a room that a server has not been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingRoomRecord {
    /// Where the first stands among the room's changes: the commit…
    pub from: u64,
    /// …and the number in it.
    pub from_number: u32,
    /// The commit of the newest.
    pub newest: u64,
    /// How many there are, about.
    pub events: u64,
}

/// A transaction that another server has not confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerTransaction {
    /// Its id, which no other transaction has.
    pub id: String,
    /// Its body, which never changes.
    pub body: Vec<u8>,
    /// How many events it brings.
    pub events: u32,
}

/// Something that waits to be sent to another server and is no event of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerEdu {
    /// Messages to devices: the content of an `m.direct_to_device`.
    ToDevice {
        /// JSON.
        content: Vec<u8>,
    },
    /// A device of a local user came, changed or went.
    Device {
        /// Whose.
        user: UserSerial,
        /// The device's id.
        device_id: String,
        /// The number of the change among those of the user.
        stream_id: u64,
        /// The number of the change before it; none for the first.
        previous: Option<u64>,
    },
    /// A local user's cross-signing keys changed.
    SigningKeys {
        /// Whose.
        user: UserSerial,
    },
}

/// How much waits for a server beside events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EduQueueRecord {
    /// Rows.
    pub rows: u64,
    /// Bytes of the messages to devices among them.
    pub bytes: u64,
}

/// The devices and keys of a local user as other servers were told last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedDevicesRecord {
    /// The number of the last change: each change of a device has a higher one.
    pub stream_id: u64,
    /// The devices that have keys, each with a digest of what is told of it.
    pub devices: Vec<(String, [u8; 16])>,
    /// A digest of the cross-signing keys.
    pub signing_keys: [u8; 16],
}

stored! {
    RoomServerRecord = 1,
    WaitingRoomRecord = 1,
    ServerTransaction = 1,
    ServerEdu = 1,
    EduQueueRecord = 1,
    PublishedDevicesRecord = 1,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_in_a_room_from_its_first_join_to_its_last_leave() {
        let record = |joined, since, left_at| RoomServerRecord {
            joined,
            since,
            left_at,
        };
        for (record, position, expected) in [
            (record(0, 0, 0), 5, false),
            (record(1, 4, 0), 3, false),
            (record(1, 4, 0), 4, true),
            (record(2, 4, 0), 900, true),
            (record(0, 4, 8), 8, true),
            (record(0, 4, 8), 9, false),
            (record(0, 4, 8), 3, false),
        ] {
            assert_eq!(record.was_in(position), expected, "{record:?} {position}");
        }
    }
}
