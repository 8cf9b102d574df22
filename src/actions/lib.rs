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
mod federation;
mod files;
mod joining;
mod moderation;
mod notices;
mod profiles;
mod remote;
mod remote_keys;
mod reports;
mod restored;
mod upgrades;
mod user_directory;

pub use administration::{Administration, AdministrationError};
pub use database::CHECKPOINT;
pub use deactivation::DeactivateError;
pub use files::{Files, FilesError};
pub use moderation::{ModerationError, Restraint};
pub use notices::{NewNotice, NoticeError};
pub use profiles::SetProfileError;
pub use remote::{ResolveError, ResolvedAlias};
pub use remote_keys::{Failures, RemoteKeys, RemoteOneTimeKeys};
pub use restored::{Forgotten, forget_outdated, named_files};

use accounts::{Accounts, Session};
use peers::Peers;
use rooms::{Rooms, Sender};
use runtime::{Clock, Random};

/// The verbs that touch more than one domain. Cheap to clone.
#[derive(Clone)]
pub struct Actions {
    accounts: Accounts,
    rooms: Rooms,
    peers: Peers,
    clock: Clock,
    random: Random,
}

impl Actions {
    /// Verbs over these accounts, rooms and other servers.
    pub fn new(
        accounts: Accounts,
        rooms: Rooms,
        peers: Peers,
        clock: Clock,
        random: Random,
    ) -> Self {
        Self {
            accounts,
            rooms,
            peers,
            clock,
            random,
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
