//! Records of the audit trail and of the register of groups.

use serde::{Deserialize, Serialize};
use store::{DecodeError, Value};

use crate::{EventSerial, Membership, UserSerial, record::stored};

/// An entry of the audit trail: never changed, never deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// The SHA-256 of `json`.
    pub hash: [u8; 32],
    /// The entry as one line of JSON, which names the hash of the entry before.
    pub json: Vec<u8>,
}

const AUDIT_RECORD_VERSION: u8 = 1;

impl Value for AuditRecord {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(AUDIT_RECORD_VERSION);
        out.extend_from_slice(&self.hash);
        out.extend_from_slice(&self.json);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let early = DecodeError("an audit entry ends early");
        let (version, rest) = bytes.split_first().ok_or(early)?;
        if *version != AUDIT_RECORD_VERSION {
            return Err(DecodeError("an unknown version of an audit entry"));
        }
        let (hash, json) = rest.split_first_chunk().ok_or(early)?;
        Ok(Self {
            hash: *hash,
            json: json.to_vec(),
        })
    }
}

/// The end of the audit trail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHeadRecord {
    /// How many entries there are. They are numbered from 1.
    pub entries: u64,
    /// The hash of the last one; zeros if there is none.
    pub hash: [u8; 32],
}

/// A change of somebody's membership of a room, for the register of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StayRecord {
    /// What it was from then on.
    pub membership: Membership,
    /// Since when, in ms since the Unix epoch: when this server took it in, and of what had
    /// happened before this server came into the room, when the event says that it did.
    pub since: u64,
    /// Who made it so.
    pub sender: UserSerial,
    /// The event that says so.
    pub event: EventSerial,
}

/// A change of something in a room's state that decides who may do and see what there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRecord {
    /// Since when this server knows it, in ms since the Unix epoch.
    pub since: u64,
    /// The event; none where the state has nothing of this type any more.
    pub event: Option<EventSerial>,
    /// Whether it had happened before this server came into the room: then the event says when.
    pub is_earlier: bool,
}

/// How far the register of groups has been filled from what was there before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterProgressRecord {
    /// All rooms with lower serials are in it.
    pub next: u64,
    /// Rooms from this serial on have been in it from their beginning.
    pub end: u64,
}

/// A room into which nobody of this server may come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedRoomRecord {
    /// The administrator who blocked it; the command line if `None`.
    pub by: Option<String>,
    /// When, in ms since the Unix epoch.
    pub at: u64,
}

stored! {
    AuditHeadRecord = 1,
    BlockedRoomRecord = 1,
    StayRecord = 1,
    RuleRecord = 1,
    RegisterProgressRecord = 1,
}
