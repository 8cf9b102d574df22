//! `/_matrix/federation`, `/_matrix/key` and `/.well-known/matrix/server`: the door of
//! other servers.
//!
//! Floor: doors. Handlers only, one file for each module of the specification with its
//! table of routes on top. A handler is a typed caller ([`web::Server`], or
//! [`web::Anonymous`] where nothing is signed), a typed request, one call of a domain, an
//! answer.
//!
//! Never here: a rule about what another server may see, a signature that is verified by
//! hand.

mod answers;
mod devices;
mod events;
mod inviting;
mod keys;
mod media;
mod memberships;
mod old_requests;
mod open_id;
mod queries;
mod spaces;
mod third_parties;
mod transactions;
mod version;

use std::sync::Arc;

use accounts::Accounts;
use actions::Actions;
use axum::extract::FromRef;
use peers::Peers;
use runtime::Clock;
use store::Store;
use web::Routes;

/// What the handlers stand on; each takes the parts that it needs, as [`web::Part`].
#[derive(Clone)]
pub struct ServerParts {
    /// Who people are.
    pub accounts: Accounts,
    /// Where they talk.
    pub rooms: ::rooms::Rooms,
    /// What touches more than one of these.
    pub actions: Actions,
    /// Files.
    pub media: ::media::Media,
    /// Other servers.
    pub peers: Peers,
    /// The time.
    pub clock: Clock,
    /// What the server tells about itself.
    pub info: Arc<ServerInfo>,
}

/// What the server tells other servers about itself.
#[derive(Clone, Debug, Default)]
pub struct ServerInfo {
    /// `well_known.server` of the configuration.
    pub well_known_server: String,
}

macro_rules! part {
    ($($field:ident: $type:ty),* $(,)?) => {$(
        impl FromRef<ServerParts> for $type {
            fn from_ref(parts: &ServerParts) -> Self {
                parts.$field.clone()
            }
        }
    )*};
}

part! {
    accounts: Accounts,
    rooms: ::rooms::Rooms,
    actions: Actions,
    media: ::media::Media,
    peers: Peers,
    clock: Clock,
    info: Arc<ServerInfo>,
}

/// The database, for reads of one snapshot.
impl FromRef<ServerParts> for Store {
    fn from_ref(parts: &ServerParts) -> Self {
        parts.rooms.store().clone()
    }
}

/// All endpoints of servers. `routes().into_router(parts)` serves them.
pub fn routes() -> Routes<ServerParts> {
    Routes::new()
        .merge(version::routes())
        .merge(keys::routes())
        .merge(queries::routes())
        .merge(devices::routes())
        .merge(media::routes())
        .merge(open_id::routes())
        .merge(memberships::routes())
        .merge(inviting::routes())
        .merge(events::routes())
        .merge(spaces::routes())
        .merge(third_parties::routes())
        .merge(transactions::routes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_handlers_want_the_same_endpoint() {
        // It panics where they do.
        drop(routes());
    }
}
