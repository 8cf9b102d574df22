//! Notifications for push gateways (client-server API, "Push Notifications"; push
//! gateway API).
//!
//! The `router` follows the log: for each event it asks the push rules of every member
//! who has pushers, once, and writes a row for each pusher that is to be told. A
//! `courier` for each pusher with rows sends them in their order, as long as there are
//! any; `notification` is what is sent.

mod courier;
mod notification;
mod options;
mod router;

pub use options::PushOptions;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use accounts::{Accounts, PusherKey};
use model::{PusherSerial, UserSerial};
use outgoing::Outgoing;
use parking_lot::Mutex;
use prometheus::IntCounterVec;
use rooms::{ReadError, Rooms};
use runtime::{Clock, Metrics, Random, Tasks};
use store::{Store, StoreError};
use tokio::sync::{Notify, Semaphore};
use url::Url;

/// Requests to one gateway at the same time.
const GATEWAY_WIDTH: usize = 8;
/// Requests to all gateways at the same time.
const WIDTH: usize = 256;

/// What push stands on.
pub struct PushParts {
    /// The database.
    pub store: Store,
    /// Whose pushers.
    pub accounts: Accounts,
    /// What happens in rooms.
    pub rooms: Rooms,
    /// The way to the gateways.
    pub outgoing: Outgoing,
    /// The time.
    pub clock: Clock,
    /// Chance, which spreads retries.
    pub random: Random,
    /// Where couriers run.
    pub tasks: Tasks,
}

/// Sends notifications to push gateways. Cheap to clone.
#[derive(Clone)]
pub struct Push {
    inner: Arc<Inner>,
}

struct Inner {
    parts: PushParts,
    options: PushOptions,
    /// What became of notifications.
    outcomes: IntCounterVec,
    couriers: Mutex<HashMap<PusherSerial, Poke>>,
    gateways: Mutex<HashMap<String, Weak<Semaphore>>>,
    all: Semaphore,
}

/// A courier that is on its way.
struct Poke {
    /// Whether there may be rows that it has not seen.
    is_due: bool,
    notify: Arc<Notify>,
}

/// Whom a pusher serves.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    user: UserSerial,
    key: PusherKey,
    serial: PusherSerial,
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The gateway took it.
    Delivered,
    /// An attempt failed; it is tried again.
    Failed,
    /// The gateway does not know the push key any more.
    Rejected,
    /// It was never taken while it was worth something.
    Expired,
    /// So many waited that newer ones stand for it.
    Coalesced,
    /// It was read, or is no longer for its user to see.
    Obsolete,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Coalesced => "coalesced",
            Self::Obsolete => "obsolete",
        }
    }
}

/// Why push could not go on; it tries again.
#[derive(Debug, thiserror::Error)]
enum PushError {
    /// A room could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Push {
    /// Push over these parts. Nothing is sent before [`Push::run`].
    pub fn new(parts: PushParts, options: PushOptions, metrics: &Metrics) -> Self {
        let outcomes = metrics.counter_with(
            "cairn_push_notifications_total",
            "What became of notifications for push gateways; failed counts attempts.",
            &["outcome"],
        );
        Self {
            inner: Arc::new(Inner {
                parts,
                options,
                outcomes,
                couriers: Mutex::default(),
                gateways: Mutex::default(),
                all: Semaphore::new(WIDTH),
            }),
        }
    }

    fn store(&self) -> &Store {
        &self.inner.parts.store
    }

    fn rooms(&self) -> &Rooms {
        &self.inner.parts.rooms
    }

    fn now(&self) -> u64 {
        self.inner.parts.clock.now().0
    }

    fn count(&self, outcome: Outcome, number: usize) {
        let counter = self.inner.outcomes.with_label_values(&[outcome.name()]);
        counter.inc_by(u64::try_from(number).unwrap_or(u64::MAX));
    }

    /// The turns of one gateway.
    fn gateway(&self, url: &Url) -> Arc<Semaphore> {
        let origin = url.origin().ascii_serialization();
        let mut gateways = self.inner.gateways.lock();
        if let Some(turns) = gateways.get(&origin).and_then(Weak::upgrade) {
            return turns;
        }
        gateways.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(GATEWAY_WIDTH));
        gateways.insert(origin, Arc::downgrade(&turns));
        turns
    }
}
