//! What a search asks, and what it answers.

use std::collections::BTreeMap;

use rooms::{EventFilter, ReadError};
use store::StoreError;

use crate::Field;

/// In which order results come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    Recent,
    /// The best match first.
    Rank,
}

/// By what results are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKey {
    /// By room.
    Room,
    /// By sender.
    Sender,
}

impl GroupKey {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Room => "room_id",
            Self::Sender => "sender",
        }
    }
}

/// What surrounds a result.
#[derive(Clone, Copy, Debug)]
pub struct EventContext {
    /// The most events before it.
    pub before: usize,
    /// The most events after it.
    pub after: usize,
    /// Whether the profiles of the senders, as they were then, are wanted.
    pub profiles: bool,
}

/// What is searched for.
#[derive(Clone, Debug)]
pub struct Question {
    /// The words.
    pub term: String,
    /// In which fields.
    pub fields: Vec<Field>,
    /// Which events count.
    pub filter: EventFilter,
    /// The rooms that the filter names.
    pub rooms: Option<Vec<String>>,
    /// The most results.
    pub limit: Option<usize>,
    /// In which order.
    pub order: Order,
    /// What surrounds them.
    pub context: EventContext,
    /// Whether the state of their rooms is wanted.
    pub include_state: bool,
    /// How they are grouped.
    pub groups: Vec<GroupKey>,
    /// Where the page begins.
    pub next_batch: Option<String>,
}

/// An event that was found.
#[derive(Clone, Debug)]
pub struct FoundEvent {
    /// Its id.
    pub event_id: String,
    /// How well it matches.
    pub rank: f64,
    /// The event as JSON.
    pub event: String,
    /// The token of the page before what surrounds it.
    pub start: String,
    /// The token of the page after it.
    pub end: String,
    /// The events before it, the nearest first, as JSON.
    pub before: Vec<String>,
    /// The events after it, the nearest first, as JSON.
    pub after: Vec<String>,
    /// The senders' profiles as a JSON object, if wanted.
    pub profiles: Option<String>,
}

/// Results that belong together.
#[derive(Clone, Debug)]
pub struct Group {
    /// How the group ranks among the others, from 1.
    pub order: usize,
    /// Where it goes on.
    pub next_batch: Option<String>,
    /// The ids of its results.
    pub results: Vec<String>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// About how many results there are in all.
    pub count: usize,
    /// The words.
    pub highlights: Vec<String>,
    /// The results of this page.
    pub results: Vec<FoundEvent>,
    /// The current state of the results' rooms as JSON, if wanted.
    pub state: BTreeMap<String, Vec<String>>,
    /// The groups, by their key and the value that they share.
    pub groups: BTreeMap<&'static str, BTreeMap<String, Group>>,
    /// Where the next page begins, if there may be more.
    pub next_batch: Option<String>,
}

/// Why nothing was searched.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// A value in the request is not usable (`M_INVALID_PARAM`).
    #[error("{0}")]
    Invalid(&'static str),
    /// A room could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
