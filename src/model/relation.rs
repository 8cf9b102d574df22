//! Records of how events relate to each other (client-server API, "Forming
//! relationships between events").

use serde::{Deserialize, Serialize};
use store::{DecodeError, Key};

use crate::{EventSerial, UserSerial, record::stored};

/// An event that relates to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationRecord {
    /// The event itself, the child.
    pub event: EventSerial,
    /// Who sent it.
    pub sender: UserSerial,
    /// How it relates to its target, as `rel_type` says.
    pub rel_type: String,
    /// Its event type.
    pub event_type: String,
}

/// The kinds of relation that a server gathers for its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bundled {
    /// `m.replace`: apart for each sender, because only the target's own sender counts.
    Replace(UserSerial),
    /// `m.thread`
    Thread,
    /// `m.reference`
    Reference,
}

impl Key for Bundled {
    fn encode(&self, out: &mut Vec<u8>) {
        let (kind, sender): (u8, _) = match self {
            Self::Replace(sender) => (0, *sender),
            Self::Thread => (1, UserSerial(0)),
            Self::Reference => (2, UserSerial(0)),
        };
        Key::encode(&kind, out);
        Key::encode(&sender, out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let kind = <u8 as Key>::decode(input)?;
        let sender = <UserSerial as Key>::decode(input)?;
        match kind {
            0 => Ok(Self::Replace(sender)),
            1 => Ok(Self::Thread),
            2 => Ok(Self::Reference),
            _ => Err(DecodeError("an unknown kind of relation")),
        }
    }
}

/// A child that is bundled with its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundledRecord {
    /// The child.
    pub event: EventSerial,
    /// Who sent it.
    pub sender: UserSerial,
    /// When, in ms since the Unix epoch, by its own server's clock.
    pub sent_at: u64,
}

/// How many children are bundled with an event. No row: none are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleRecord {
    /// `m.replace`, of whomever.
    pub edits: u64,
    /// `m.thread`
    pub replies: u64,
    /// `m.reference`
    pub references: u64,
    /// Where the newest reply of the thread stands: depth and tie-break.
    pub newest_reply: Option<(u64, u64)>,
}

impl BundleRecord {
    /// Whether nothing is left to bundle.
    pub fn is_empty(&self) -> bool {
        self.edits == 0 && self.replies == 0 && self.references == 0
    }
}

stored! { RelationRecord = 1, BundledRecord = 1, BundleRecord = 1 }
