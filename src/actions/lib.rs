//! What a person does across domains, and what an administrator does: one function
//! for each verb, shared by every door and by the command line, so that they cannot
//! differ.
//!
//! Place: above `rooms` and `accounts`, below the doors.
//!
//! Never here: HTTP, a table, a rule that one domain can keep by itself.

mod administration;
mod database;
mod deactivation;
mod device_lists;
mod edus;
mod federation;
mod files;
mod joining;
mod moderation;
mod notices;
mod profiles;
mod remote;
mod remote_keys;
mod reports;
mod transactions;
mod upgrades;
mod user_directory;

pub use administration::{Administration, AdministrationError};
pub use deactivation::DeactivateError;
pub use files::{Files, FilesError};
pub use moderation::{ModerationError, Restraint};
pub use notices::{NewNotice, NoticeError};
pub use profiles::SetProfileError;
pub use remote::{ResolveError, ResolvedAlias};
pub use remote_keys::{Failures, RemoteKeys, RemoteOneTimeKeys};
pub use transactions::{Transaction, TransactionAnswer, TransactionError};

use std::sync::Arc;

use accounts::{Accounts, Session};
use peers::Peers;
use rooms::{Rooms, Sender};
use runtime::{Clock, Metrics, Random};
use tokio::sync::Notify;

/// The verbs that touch more than one domain. Cheap to clone.
#[derive(Clone)]
pub struct Actions {
    accounts: Accounts,
    rooms: Rooms,
    peers: Peers,
    clock: Clock,
    random: Random,
    received: Arc<transactions::Received>,
    /// Told when a device list of another server's user is to be fetched.
    stale_devices: Arc<Notify>,
}

impl Actions {
    /// Verbs over these accounts, rooms and other servers.
    pub fn new(
        accounts: Accounts,
        rooms: Rooms,
        peers: Peers,
        clock: Clock,
        random: Random,
        metrics: &Metrics,
    ) -> Self {
        Self {
            accounts,
            rooms,
            peers,
            clock,
            random,
            received: Arc::new(transactions::Received::new(metrics)),
            stale_devices: Arc::default(),
        }
    }
}

/// A session's user as rooms know those who act.
fn sender(session: &Session) -> Sender {
    Sender {
        user_id: session.user_id.clone(),
        user: session.user,
        device: Some(session.device),
        sent_at: None,
    }
}
