//! Records of other servers.

use serde::{Deserialize, Serialize};

use crate::record::stored;

/// A server that does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRecord {
    /// How often it was asked in vain, one after the other.
    pub failures: u32,
    /// Since when, in ms since the Unix epoch.
    pub failing_since: u64,
    /// Not before then it is asked again, in ms since the Unix epoch.
    pub retry_at: u64,
    /// What went wrong the last time, for a person.
    pub reason: String,
}

/// A key with which another server signs, or has signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerKeyRecord {
    /// The public key in unpadded base64.
    pub key: String,
    /// Up to when its signatures count, in ms since the Unix epoch.
    pub valid_until: u64,
    /// When it was last seen in a document of its server, in ms since the Unix epoch.
    pub seen_at: u64,
}

/// The document in which another server publishes its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerDocumentRecord {
    /// The document as canonical JSON, with its signatures.
    pub document: String,
    /// `valid_until_ts`, in ms since the Unix epoch.
    pub valid_until: u64,
    /// When it was fetched, in ms since the Unix epoch.
    pub fetched_at: u64,
}

/// A key with which this server signed once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldKeyRecord {
    /// The public key in unpadded base64.
    pub key: String,
    /// When it was replaced, in ms since the Unix epoch.
    pub expired_at: u64,
}

/// The signed list of servers in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerListRecord {
    /// The public key of the authority that has signed it.
    pub authority: String,
    /// Its number.
    pub serial: u64,
    /// The list, as it was signed.
    pub document: Vec<u8>,
    /// When it came, in ms since the Unix epoch.
    pub imported_at: u64,
}

/// A server that an administrator has blocked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedServerRecord {
    /// Since when, in ms since the Unix epoch.
    pub blocked_at: u64,
    /// Why, in the administrator's words.
    pub reason: Option<String>,
}

stored! { BlockedServerRecord = 1, PeerListRecord = 1, PeerRecord = 1, PeerKeyRecord = 1, PeerDocumentRecord = 1, OldKeyRecord = 1 }
