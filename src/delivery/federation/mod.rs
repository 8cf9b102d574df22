//! What other servers are sent (server-server API, "Transactions", "EDUs").
//!
//! The `router` follows the log: for each event of a user of this server it finds out
//! which servers were in the room (`destinations`) and notes for each that the room has
//! something for it; so a server that does not answer costs a row for each room, however
//! much happens there. What is no event and must not get lost (messages to devices,
//! changes of devices and keys, `device_news`) has rows of its own; what is worth nothing
//! later (`ephemeral`: who types, has read, is there) waits in memory.
//!
//! The `schedule` knows which servers have something waiting, and lets a few couriers
//! work at a time: there is no task for a server that does not answer, and none of these
//! keeps others waiting. Those that answer have places that nobody else takes. A `courier` makes a `transaction` of what waits, stores it before
//! it is sent, and sends the same until it is confirmed. A server that was away gets the
//! newest events of each room alone, and fetches what lies between when it wants to.

mod courier;
mod destinations;
mod device_news;
mod draft;
mod edus;
mod ephemeral;
mod presence;
mod router;
mod schedule;
mod transaction;
mod typing;
mod waiting;

#[cfg(test)]
mod tests;

pub use waiting::{WaitingServer, forget_server, waiting_servers};

use std::sync::Arc;

use peers::{FederationOptions, Peers};
use prometheus::{IntCounter, IntCounterVec};
use rooms::{ReadError, Rooms};
use ruma_common::{OwnedServerName, ServerName};
use runtime::{Clock, Metrics, Random, Tasks};
use store::{Store, StoreError};

use ephemeral::Ephemerals;
use schedule::Schedule;

/// What sending to other servers stands on.
pub struct FederationParts {
    /// The database.
    pub store: Store,
    /// What happens in rooms.
    pub rooms: Rooms,
    /// The other servers.
    pub peers: Peers,
    /// The time.
    pub clock: Clock,
    /// Chance, for ids and to spread retries.
    pub random: Random,
    /// Where couriers run.
    pub tasks: Tasks,
}

/// Sends to other servers what happens here. Cheap to clone.
#[derive(Clone)]
pub struct Federation {
    inner: Arc<Inner>,
}

struct Inner {
    parts: FederationParts,
    options: FederationOptions,
    schedule: Schedule,
    ephemerals: Ephemerals,
    /// What became of transactions.
    transactions: IntCounterVec,
    /// What became of events.
    events: IntCounterVec,
    /// What was worth nothing any more.
    dropped: IntCounter,
}

/// Why other servers could not be told anything; it is tried again.
#[derive(Debug, thiserror::Error)]
enum SendError {
    /// A room could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Federation {
    /// Sending over these parts. Nothing is sent before [`Federation::run`].
    pub fn new(parts: FederationParts, options: FederationOptions, metrics: &Metrics) -> Self {
        let transactions = metrics.counter_with(
            "cairn_federation_transactions_total",
            "What became of transactions for other servers; failed and refused count attempts.",
            &["outcome"],
        );
        let events = metrics.counter_with(
            "cairn_federation_events_total",
            "Events for other servers: sent, rejected by them, left out because newer ones stand for them.",
            &["outcome"],
        );
        let dropped = metrics.counter(
            "cairn_federation_ephemeral_dropped_total",
            "Notices of typing, reading and presence that were not sent while they were worth something.",
        );
        Self {
            inner: Arc::new(Inner {
                parts,
                options,
                schedule: Schedule::new(metrics),
                ephemerals: Ephemerals::default(),
                transactions,
                events,
                dropped,
            }),
        }
    }

    fn store(&self) -> &Store {
        &self.inner.parts.store
    }

    fn rooms(&self) -> &Rooms {
        &self.inner.parts.rooms
    }

    fn peers(&self) -> &Peers {
        &self.inner.parts.peers
    }

    fn own_name(&self) -> &ServerName {
        self.rooms().server_name()
    }

    /// A server's name, if this server speaks to it.
    fn may_tell(&self, server: &str) -> Option<OwnedServerName> {
        let server = OwnedServerName::try_from(server).ok()?;
        self.peers().may_speak_to(&server).ok()?;
        Some(server)
    }

    fn count_events(&self, outcome: &str, number: u64) {
        let counter = self.inner.events.with_label_values(&[outcome]);
        counter.inc_by(number);
    }
}
