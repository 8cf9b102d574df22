//! What a person does across domains, and what an administrator does: one function
//! for each verb, shared by every door and by the command line, so that they cannot
//! differ.
//!
//! Place: above `rooms` and `accounts`, below the doors.
//!
//! Never here: HTTP, a table, a rule that one domain can keep by itself.

mod administration;
mod at_time;
mod auditing;
mod ban_lists;
mod closing;
mod completing;
mod contacts;
mod database;
mod deactivation;
mod departments;
mod destinations;
mod device_lists;
mod edus;
mod federation;
mod file_moderation;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod handshakes;
mod hierarchy;
mod history;
mod invitations;
mod joining;
mod letters;
mod listing;
mod moderation;
mod notices;
mod partners;
mod people;
mod people_import;
mod people_letters;
mod people_list;
mod people_table;
mod people_wishes;
mod person_changes;
mod person_limits;
mod policy_servers;
mod profiles;
mod receiving;
mod register;
mod remote;
mod remote_keys;
mod reports;
mod restored;
mod rights;
mod room_care;
mod room_guard;
mod room_reading;
mod room_tasks;
mod room_wishes;
mod second_factors;
#[cfg(test)]
#[path = "../../tests/fuzz/seeds.rs"]
mod seeds;
mod transactions;
mod upgrades;
mod user_directory;
mod validity;

#[cfg(test)]
mod tests;

pub use administration::{Administration, AdministrationError};
pub use auditing::AuditSelection;
pub use closing::Handover;
pub use contacts::{ContactError, Contacts};
pub use database::CHECKPOINT;
pub use deactivation::DeactivateError;
pub use departments::{ShownDepartment, WaitingPlacement};
pub use destinations::{Destination, MediaUsage};
pub use federation::peer_list_json;
pub use file_moderation::{FileModerationError, FileSelection, FileWish};
pub use files::{Files, FilesError};
pub use handshakes::{HandshakeError, Sent, SentInvitation};
pub use invitations::WantedInvitation;
pub use listing::{Listed, Totals};
pub use moderation::{ModerationError, Restraint};
pub use notices::{NewNotice, NoticeError};
pub use partners::OpenedRoom;
pub use people::{Person, PersonRooms};
pub use people_import::{GivenInvitation, IMPORTED_AT_ONCE, Imported};
pub use people_list::{PeopleOrder, PeoplePage, PeopleQuery};
pub use people_table::{
    BadLine, MAX_TABLE_BYTES, PeopleTable, TableError, last_day, people_table, table_columns,
};
pub use people_wishes::{PeopleError, PeopleWish};
pub use person_changes::{NewPerson, PersonChanges};
pub use person_limits::LimitChanges;
pub use profiles::SetProfileError;
pub use receiving::{Outcome, UnusableEvent};
pub use register::{person_csv, room_csv};
pub use remote::{ResolveError, ResolvedAlias};
pub use remote_keys::{Failures, RemoteKeys, RemoteOneTimeKeys};
pub use reports::{Report, ReportsOf, ReportsPage, ReportsQuery};
pub use restored::{Forgotten, forget_outdated, named_files};
pub use rights::{Administrator, Denied, Right};
pub use room_guard::AbandonedRoom;
pub use room_reading::{RoomSizes, shown_extremity};
pub use room_tasks::{DeletedRoom, NewRoom};
pub use room_wishes::RoomWish;
pub use transactions::{Transaction, TransactionAnswer, TransactionError};
pub use user_directory::FindPeopleError;

use std::sync::{Arc, OnceLock};

use accounts::{Accounts, Session};
use media::Media;
use peers::Peers;
use rooms::{Rooms, Sender};
use ruma_common::ServerName;
use runtime::{Clock, Metrics, Random};
use tokio::sync::Notify;

/// The verbs that touch more than one domain. Cheap to clone.
#[derive(Clone)]
pub struct Actions {
    accounts: Accounts,
    rooms: Rooms,
    media: Media,
    peers: Peers,
    clock: Clock,
    random: Random,
    entries: handshakes::Entries,
    received: Arc<transactions::Received>,
    /// Told when a device list of another server's user is to be fetched.
    stale_devices: Arc<Notify>,
    /// Told when somebody is to come into a room, or to go, for the sake of a department.
    placements: Arc<Notify>,
    /// What sends letters, where there is a relay.
    letters: Arc<OnceLock<Contacts>>,
    /// Told when a room was given without its members.
    partial_rooms: Arc<Notify>,
    /// Whose turn it is to bring events into a room, and to look back in it.
    turns: receiving::Turns,
    looking_back: receiving::Turns,
}

impl Actions {
    /// Verbs over these accounts, rooms, files and other servers. From then on the rooms
    /// ask policy servers by way of `peers`.
    pub fn new(
        accounts: Accounts,
        rooms: Rooms,
        media: Media,
        peers: Peers,
        clock: Clock,
        random: Random,
        metrics: &Metrics,
    ) -> Self {
        rooms.ask_policy_servers(Arc::new(policy_servers::PolicyServers(peers.clone())));
        // Not the rooms, which ask the peers: each would keep the other.
        let lists = rooms.ban_lists().clone();
        peers.shun(Arc::new(move |server: &ServerName| {
            lists.is_unwanted_server(server)
        }));
        Self {
            accounts,
            rooms,
            media,
            peers,
            clock,
            random,
            entries: handshakes::Entries::default(),
            received: Arc::new(transactions::Received::new(metrics)),
            stale_devices: Arc::default(),
            placements: Arc::default(),
            letters: Arc::default(),
            partial_rooms: Arc::default(),
            turns: receiving::Turns::default(),
            looking_back: receiving::Turns::default(),
        }
    }
}

impl Actions {
    /// Says by what people are written to. The first counts; before, nobody is written to.
    pub fn write_by(&self, letters: Contacts) {
        let _ = self.letters.set(letters);
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
