//! Full-text search over what the server may read, as a reader of the log
//! (client-server API, "Search").
//!
//! Place: a reader; above `rooms`. Nobody below calls it.
//!
//! - `words`: how a text becomes words, in events and in questions alike.
//! - `text`: which text of an event is searched.
//! - `indexer`: follows the log in bulk, and goes once through the events that were there
//!   before the index was.
//! - `gathering`: what many events change in the index.
//! - `segments`: the index in the database: few and large parts of each room.
//! - `page`: how words and the events that have them become bytes.
//! - `hits`: which events have all of some words.
//! - `question`: what is asked and answered.
//! - `find`: of these what the caller may and wants to see, with its surroundings.
//! - `token`: where the next page begins.
//!
//! What is encrypted cannot be read here and is not in the index. An edit adds words under
//! which the event that it edits is proposed; a redaction takes them away.
//!
//! The index only proposes: each event is looked at again before it is shown, with the
//! eyes of whoever asks, so an index that lags or knows an old text shows nothing that it
//! must not. It lags while nobody searches: a search waits until it knows everything.
//!
//! Never here: a rule about who may see what (`rooms` has them), an event that was found
//! and not checked.

mod find;
mod gathering;
mod hits;
mod indexer;
mod page;
mod question;
mod segments;
mod text;
mod token;
mod words;

pub use question::{
    EventContext, Found, FoundEvent, Group, GroupKey, Order, Question, SearchError,
};
pub use text::Field;

use std::{sync::Arc, time::Duration};

use rooms::Rooms;
use runtime::Clock;
use store::{Position, Store};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

/// How long a search waits for the index to see what was said just before.
const CATCH_UP: Duration = Duration::from_millis(1_500);

/// The search of one server. Cheap to clone.
#[derive(Clone)]
pub struct Search {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    rooms: Rooms,
    clock: Clock,
    /// Up to where the index knows the log.
    indexed: watch::Sender<Position>,
    /// Somebody waits for the index.
    hurry: Notify,
}

impl Search {
    /// Search in these rooms. Nothing is found before [`Search::run`] runs.
    pub fn new(store: Store, rooms: Rooms, clock: Clock) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                rooms,
                clock,
                indexed: watch::Sender::new(Position(0)),
                hurry: Notify::new(),
            }),
        }
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    fn rooms(&self) -> &Rooms {
        &self.inner.rooms
    }

    /// Waits until what is published now is in the index; not for long: an index that
    /// is far behind answers with what it has.
    async fn catch_up(&self) {
        let now = self.store().snapshot().position();
        let mut indexed = self.inner.indexed.subscribe();
        self.inner.hurry.notify_one();
        let waiting = indexed.wait_for(|indexed| *indexed >= now);
        // What fails is only the waiting.
        let _ = timeout(CATCH_UP, waiting).await;
    }
}

#[cfg(test)]
mod tests;
