//! What application services are told, and asked (application service API).
//!
//! The `router` follows the log: for each event it finds out who is interested
//! (`interest`) and writes a row for each service; what is told soon or never waits in memory
//! (`ephemeral`). A `courier` for each service makes
//! transactions of its rows (`transaction`), stores each with its id before it is sent,
//! and sends it until the service has confirmed it, in the order of the log. `asking` is
//! what a service answers at once: whether it knows a user or an alias, pings, lookups.

mod asking;
mod courier;
mod encryption;
mod ephemeral;
mod interest;
mod options;
mod router;
mod thirdparty;
mod transaction;

pub use asking::{AskError, PingError};
pub use options::AppservicesOptions;

use std::{collections::HashMap, sync::Arc};

use accounts::Accounts;
use outgoing::Outgoing;
use parking_lot::Mutex;
use prometheus::IntCounterVec;
use rooms::{ReadError, Rooms};
use runtime::{Clock, Metrics, Random, Tasks};
use services::Services;
use store::{Store, StoreError};
use tokio::sync::{Notify, Semaphore};

use ephemeral::Ephemeral;
use interest::Interest;

/// Questions to services at the same time, those that clients wait for.
const QUESTIONS: usize = 64;

/// What application services stand on.
pub struct AppservicesParts {
    /// The database.
    pub store: Store,
    /// Who the services are, and their users.
    pub accounts: Accounts,
    /// What happens in rooms.
    pub rooms: Rooms,
    /// The way to the services.
    pub outgoing: Outgoing,
    /// The time.
    pub clock: Clock,
    /// Chance, for ids and to spread retries.
    pub random: Random,
    /// Where couriers run.
    pub tasks: Tasks,
}

/// Tells application services what happens, and asks them. Cheap to clone.
#[derive(Clone)]
pub struct Appservices {
    inner: Arc<Inner>,
}

struct Inner {
    parts: AppservicesParts,
    options: AppservicesOptions,
    /// What became of transactions.
    outcomes: IntCounterVec,
    couriers: Mutex<HashMap<String, Arc<Bell>>>,
    /// What services are told soon or never, by service; not stored.
    ephemeral: Mutex<HashMap<String, Ephemeral>>,
    interest: Mutex<Interest>,
    questions: Semaphore,
}

/// What wakes a courier.
#[derive(Default)]
struct Bell {
    /// There may be something to send.
    news: Notify,
    /// The service was heard of: it need not be waited for any longer.
    awake: Notify,
}

/// Why services could not be told anything; it is tried again.
#[derive(Debug, thiserror::Error)]
enum TellError {
    /// A room could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Appservices {
    /// Application services over these parts. Nothing is told before
    /// [`Appservices::run`].
    pub fn new(parts: AppservicesParts, options: AppservicesOptions, metrics: &Metrics) -> Self {
        let outcomes = metrics.counter_with(
            "cairn_appservice_transactions_total",
            "What became of transactions for application services; failed counts attempts.",
            &["outcome"],
        );
        Self {
            inner: Arc::new(Inner {
                parts,
                options,
                outcomes,
                couriers: Mutex::default(),
                ephemeral: Mutex::default(),
                interest: Mutex::default(),
                questions: Semaphore::new(QUESTIONS),
            }),
        }
    }

    fn services(&self) -> &Services {
        self.inner.parts.accounts.services()
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
}
