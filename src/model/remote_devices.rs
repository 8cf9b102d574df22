//! Records of what is known about the devices of other servers' users.

use serde::{Deserialize, Serialize};

use crate::record::stored;

/// How well the list of devices of another server's user is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteDeviceListRecord {
    /// The newest update that the kept list holds, as the user's server numbers them; none
    /// as long as the list was never fetched.
    pub stream_id: Option<u64>,
    /// The commit before which the list was fetched: it is true only while some room was
    /// shared with the user all the time since.
    pub since: u64,
    /// How many devices the kept list has.
    pub devices: u32,
    /// Set if the kept list is not to be trusted, and is to be fetched.
    pub stale: Option<StaleDeviceList>,
}

/// That a list of devices is to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaleDeviceList {
    /// The commit that said so last. A list that was asked for before that is not new
    /// enough.
    pub marked_at: u64,
    /// How often it could not be fetched.
    pub failures: u32,
    /// When it is tried (again), in ms since the Unix epoch.
    pub retry_at: u64,
}

/// A device of another server's user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteDeviceRecord {
    /// Its identity keys as canonical JSON, without `unsigned`, with the signatures that
    /// its user has put on it.
    pub keys: Vec<u8>,
    /// Its name, if its server tells.
    pub display_name: Option<String>,
}

/// That a message of another server for devices has been taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteMessageRecord {
    /// The hash of the server and the message's id.
    pub message: [u8; 32],
    /// When, in ms since the Unix epoch.
    pub at: u64,
}

stored! {
    RemoteDeviceListRecord = 1,
    RemoteDeviceRecord = 1,
    RemoteMessageRecord = 1,
}
