//! Records of the search index.

use serde::{Deserialize, Serialize};

use crate::{EventSerial, record::stored};

/// A part of events that is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SearchedField {
    /// `content.body` of messages.
    Body,
    /// `content.name` of room names.
    Name,
    /// `content.topic` of topics.
    Topic,
}

/// Where an event stands in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedRecord {
    /// Its time in the index's keys, in ms since the Unix epoch.
    pub at: u64,
}

/// How far the index has come with the events that were there before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchProgressRecord {
    /// By which rules texts were cut into words.
    pub version: u32,
    /// The next event to look at.
    pub next: EventSerial,
    /// All events from here on come through the log.
    pub end: EventSerial,
}

stored! { IndexedRecord = 2, SearchProgressRecord = 1 }
