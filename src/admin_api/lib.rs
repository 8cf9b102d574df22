//! The administrators' door: what the command line asks of a running server over its
//! Unix socket, and what programs ask under `/_synapse/admin` on the listeners that
//! serve "admin".
//!
//! Floor: doors. Handlers only; the verbs are `actions`' and `accounts`'.
//!
//! Never here: a verb of its own; from the network, anything for whoever proves
//! nothing.

mod administration;
mod answers;
mod devices;
mod invitations;
mod media;
mod notices;
mod people;
mod person_limits;
mod registration;
mod reports;
mod rooms;
mod server;

pub use administration::{ADMINISTRATION, Order};

use accounts::Accounts;
use actions::Actions;
use axum::extract::FromRef;
use web::{Limits, Routes};

/// What the handlers of [`network_routes`] stand on.
#[derive(Clone)]
pub struct AdminParts {
    /// Who people are.
    pub accounts: Accounts,
    /// What people do across domains.
    pub actions: Actions,
    /// How much one client may ask for.
    pub limits: Limits,
}

impl FromRef<AdminParts> for Actions {
    fn from_ref(parts: &AdminParts) -> Self {
        parts.actions.clone()
    }
}

impl FromRef<AdminParts> for Accounts {
    fn from_ref(parts: &AdminParts) -> Self {
        parts.accounts.clone()
    }
}

impl FromRef<AdminParts> for Limits {
    fn from_ref(parts: &AdminParts) -> Self {
        parts.limits.clone()
    }
}

/// The endpoints for the socket in the data folder. Who can open that socket is the
/// operator: the file's mode says who that is.
pub fn socket_routes() -> Routes<Actions> {
    administration::routes()
}

/// The endpoints for listeners that serve "admin".
pub fn network_routes() -> Routes<AdminParts> {
    registration::routes()
        .merge(notices::routes())
        .merge(media::routes())
        .merge(people::routes())
        .merge(person_limits::routes())
        .merge(devices::routes())
        .merge(invitations::routes())
        .merge(reports::routes())
        .merge(rooms::routes())
        .merge(server::routes())
}
