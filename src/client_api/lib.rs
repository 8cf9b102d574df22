//! `/_matrix/client` and `/.well-known/matrix`: the door of people's clients.
//!
//! Floor: doors. Handlers only, one file for each module of the specification with
//! its table of routes on top. A handler is a typed caller, a typed request, one call
//! of a domain, an answer.
//!
//! Never here: a rule about who may see or do what, a table, a status for a domain's
//! error (`web` has them all).

mod account;
mod account_data;
mod account_validity;
mod administration;
mod answers;
mod appservice;
mod capabilities;
mod contacts;
mod dehydrated_devices;
mod devices;
mod filters;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod key_backups;
mod keys;
mod login;
mod media;
mod notifications;
mod old_sync;
mod open_id;
mod options;
mod presence;
mod profile;
mod prover;
mod push_rules;
mod pushers;
mod put_push_rule;
mod registration;
mod rendezvous;
mod rooms;
mod rtc;
#[cfg(test)]
#[path = "../../tests/fuzz/seeds.rs"]
mod seeds;
mod sliding_sync;
mod sync;
mod third_party;
mod to_device;
mod user_directory;
mod versions;
mod voip;
mod well_known;

pub use options::{RtcOptions, WellKnownOptions};

use std::sync::Arc;

use accounts::{Accounts, TurnOptions};
use actions::{Actions, Contacts, Files};
use axum::extract::FromRef;
use delivery::Appservices;
use previews::Previews;
use runtime::Clock;
use store::Store;
use web::{Limits, Routes};

/// What the handlers stand on; each takes the parts that it needs, as
/// [`web::Part`].
#[derive(Clone)]
pub struct ClientParts {
    /// Who people are.
    pub accounts: Accounts,
    /// Where they talk.
    pub rooms: ::rooms::Rooms,
    /// What changed for a device.
    pub sync: ::sync::Sync,
    /// Full-text search.
    pub search: ::search::Search,
    /// Files.
    pub media: ::media::Media,
    /// What web pages say of themselves.
    pub previews: Previews,
    /// Files, those of other servers too.
    pub files: Files,
    /// What a person does across domains.
    pub actions: Actions,
    /// Confirmations of e-mail addresses.
    pub contacts: Contacts,
    /// What application services are asked.
    pub appservices: Appservices,
    /// How much one client may ask for.
    pub limits: Limits,
    /// The time.
    pub clock: Clock,
    /// What the server tells about itself.
    pub info: Arc<ServerInfo>,
}

/// What the server tells clients about itself.
#[derive(Clone, Debug, Default)]
pub struct ServerInfo {
    /// The room version of new rooms, `rooms.default_version` of the configuration.
    pub default_room_version: String,
    /// What `/.well-known/matrix` says.
    pub well_known: WellKnownOptions,
    /// The TURN servers.
    pub turn: TurnOptions,
    /// Which servers carry calls.
    pub rtc: RtcOptions,
    /// Whether people are notified of threads by what they follow.
    pub thread_subscriptions: bool,
    /// Whether push gateways without TLS are taken: they are reached in listed private
    /// networks only.
    pub plain_push_gateways: bool,
}

macro_rules! part {
    ($($field:ident: $type:ty),* $(,)?) => {$(
        impl FromRef<ClientParts> for $type {
            fn from_ref(parts: &ClientParts) -> Self {
                parts.$field.clone()
            }
        }
    )*};
}

part! {
    accounts: Accounts,
    rooms: ::rooms::Rooms,
    sync: ::sync::Sync,
    search: ::search::Search,
    media: ::media::Media,
    previews: Previews,
    files: Files,
    actions: Actions,
    contacts: Contacts,
    appservices: Appservices,
    limits: Limits,
    clock: Clock,
    info: Arc<ServerInfo>,
}

/// The database, for reads of one snapshot.
impl FromRef<ClientParts> for Store {
    fn from_ref(parts: &ClientParts) -> Self {
        parts.rooms.store().clone()
    }
}

/// All endpoints of clients. `routes().into_router(parts)` serves them.
pub fn routes() -> Routes<ClientParts> {
    Routes::new()
        .merge(versions::routes())
        .merge(capabilities::routes())
        .merge(well_known::routes())
        .merge(registration::routes())
        .merge(login::routes())
        .merge(account::routes())
        .merge(contacts::routes())
        .merge(devices::routes())
        .merge(profile::routes())
        .merge(account_data::routes())
        .merge(account_validity::routes())
        .merge(filters::routes())
        .merge(push_rules::routes())
        .merge(pushers::routes())
        .merge(notifications::routes())
        .merge(keys::routes())
        .merge(key_backups::routes())
        .merge(dehydrated_devices::routes())
        .merge(to_device::routes())
        .merge(user_directory::routes())
        .merge(administration::routes())
        .merge(open_id::routes())
        .merge(voip::routes())
        .merge(old_sync::routes())
        .merge(presence::routes())
        .merge(sync::routes())
        .merge(media::routes())
        .merge(sliding_sync::routes())
        .merge(rendezvous::routes())
        .merge(rtc::routes())
        .merge(appservice::routes())
        .merge(third_party::routes())
        .merge(rooms::routes())
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
