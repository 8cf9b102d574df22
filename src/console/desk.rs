//! The console at `/console/`: pages for those who have a role on the server.
//!
//! - `session.rs`: who is there, and that a form came from one of our own pages.
//! - `answers.rs`: pages and files as responses; `layout.rs` and `parts.rs`: what pages are made of.
//! - `signing_in.rs`, `passkeys.rs`, `own.rs`: signing in, second factors, one's own account.
//! - Everything else is a page: a handler that asks one verb of `actions`, whose rights decide,
//!   and the page that shows the answer.
//!
//! What a role may not do is not shown; whoever asks for it all the same is refused by the verb.

mod answers;
mod audit;
mod backups;
mod departments;
mod federation;
mod invitations;
mod layout;
mod media;
mod moderation;
mod overview;
mod own;
mod parts;
mod passkeys;
mod people;
mod people_import;
mod people_upload;
mod person;
mod person_acts;
mod person_more;
mod register;
mod reports;
mod room;
mod room_more;
mod rooms;
mod session;
mod settings;
mod signing_in;

use std::{path::PathBuf, sync::Arc};

use accounts::{Accounts, Site};
use actions::{Actions, Right};
use runtime::{Clock, Lane, Random, Timestamp};
use serde_json::Value;
use url::Url;
use web::{Health, Limits, Routes};

pub use self::people_upload::KeptTables;
use crate::words::WORDS;

runtime::options! {
    /// The console, the pages at /console/ for those who have a role on the server.
    pub struct ConsoleOptions in "console" {
        /// The folder of backups that the console shows, if the server may read it.
        pub backups: PathBuf = PathBuf::from("/var/backups/cairn"),
    }
}

/// What is seen of the server as a whole, looked up when somebody asks.
pub trait Oversight: Send + Sync {
    /// How the server is now.
    fn health(&self) -> std::pin::Pin<Box<dyn Future<Output = Health> + Send + '_>>;
    /// How much goes on: commits since the beginning, and how many wait for news.
    fn pulse(&self) -> (u64, u64);
    /// Free bytes of the data folder's disk.
    fn free_disk(&self) -> u64;
    /// The configuration in effect, secrets hidden.
    fn settings(&self) -> Value;
}

/// What the pages of the console stand on.
#[derive(Clone)]
pub struct Desk {
    /// Who people are.
    pub accounts: Accounts,
    /// What may be done.
    pub actions: Actions,
    /// How much one client may ask for.
    pub limits: Limits,
    /// The address that people use for this server, without a slash at its end.
    pub address: Arc<str>,
    /// What is seen of the server as a whole.
    pub oversight: Arc<dyn Oversight>,
    /// The operator's wishes.
    pub options: Arc<ConsoleOptions>,
    /// Where files are read, which may wait for the disk.
    pub lane: Lane,
    /// The clock.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// The tables of people that clerks have uploaded and not imported yet.
    pub tables: KeptTables,
}

impl Desk {
    /// Whether browsers come over TLS.
    fn is_secure(&self) -> bool {
        self.address.starts_with("https://")
    }

    /// For whom passkeys are made here.
    fn site(&self) -> Site {
        let url = Url::parse(&self.address).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        Site {
            host: host.to_owned(),
        }
    }

    /// Whether browsers make passkeys here: over TLS, for a name.
    fn takes_passkeys(&self) -> bool {
        let site = self.site();
        (self.is_secure() || site.host == "localhost") && site.takes_passkeys()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// A page that stands in the navigation.
struct Place {
    /// Its path below `/console/`.
    path: &'static str,
    title: &'static str,
    /// Who may open it; everybody with a role, if no right is named.
    right: Option<Right>,
}

/// The navigation.
const PLACES: [Place; 13] = [
    Place {
        path: "",
        title: WORDS.overview.title,
        right: None,
    },
    Place {
        path: "people",
        title: WORDS.people.title,
        right: Some(Right::ListPeople),
    },
    Place {
        path: "invitations",
        title: WORDS.invitations.title,
        right: Some(Right::ListInvitations),
    },
    Place {
        path: "departments",
        title: WORDS.departments.title,
        right: Some(Right::ListDepartments),
    },
    Place {
        path: "rooms",
        title: WORDS.rooms.title,
        right: Some(Right::ListRooms),
    },
    Place {
        path: "register",
        title: WORDS.register.title,
        right: Some(Right::ReadRegister),
    },
    Place {
        path: "reports",
        title: WORDS.reports.title,
        right: Some(Right::ListReports),
    },
    Place {
        path: "moderation",
        title: WORDS.moderation.title,
        right: Some(Right::ShowRoomTasks),
    },
    Place {
        path: "media",
        title: WORDS.media.title,
        right: Some(Right::ListFiles),
    },
    Place {
        path: "federation",
        title: WORDS.federation.title,
        right: Some(Right::ShowFederation),
    },
    Place {
        path: "audit",
        title: WORDS.audit.title,
        right: Some(Right::ReadAudit),
    },
    Place {
        path: "settings",
        title: WORDS.settings.title,
        right: Some(Right::ShowDatabase),
    },
    Place {
        path: "backups",
        title: WORDS.backups.title,
        right: Some(Right::ShowDatabase),
    },
];

/// All pages of the console.
pub fn routes() -> Routes<Desk> {
    answers::routes()
        .merge(signing_in::routes())
        .merge(passkeys::routes())
        .merge(own::routes())
        .merge(overview::routes())
        .merge(people::routes())
        .merge(person::routes())
        .merge(person_acts::routes())
        .merge(people_import::routes())
        .merge(people_upload::routes())
        .merge(departments::routes())
        .merge(invitations::routes())
        .merge(rooms::routes())
        .merge(room::routes())
        .merge(register::routes())
        .merge(reports::routes())
        .merge(moderation::routes())
        .merge(media::routes())
        .merge(federation::routes())
        .merge(audit::routes())
        .merge(settings::routes())
        .merge(backups::routes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_handlers_want_the_same_page() {
        // It panics where they do.
        drop(routes());
    }

    #[test]
    fn every_role_finds_a_page_and_only_its_own() {
        use model::Role;
        let of = |role: Role| -> Vec<&str> {
            let shown = PLACES.iter();
            let shown = shown.filter(|place| place.right.is_none_or(|right| right.is_of(role)));
            shown.map(|place| place.path).collect()
        };
        assert_eq!(of(Role::Administrator).len(), PLACES.len());
        assert!(of(Role::Moderator).contains(&"reports"));
        assert!(!of(Role::Moderator).contains(&"audit"));
        assert_eq!(
            of(Role::Helpdesk),
            ["", "people", "invitations", "departments"]
        );
        // Of content an auditor sees nothing.
        for path in ["reports", "media"] {
            assert!(!of(Role::Auditor).contains(&path), "{path}");
        }
    }
}
