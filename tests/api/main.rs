//! Every endpoint over raw HTTP: what it gives, each way in which it refuses, and
//! what it hides from whom. A file per part of the specification.
//!
//! Most tests share one server: their users have names of their own, so they never
//! meet. A test that needs another configuration, or counts something that is the
//! whole server's, starts its own.

mod account_data;
mod accounts;
mod aliases;
mod appservices;
mod archived;
mod capabilities;
mod command;
mod create_room;
mod cross_signing;
mod database;
mod dehydrated;
mod device_lists;
mod devices;
mod filters;
mod hierarchy;
mod ignored_users;
mod invitations;
mod joining;
mod key_backups;
mod keys;
mod knocking;
mod limits;
mod markers;
mod media;
mod membership;
mod moderation;
mod notifications;
mod operator;
mod pagination;
mod passwords;
mod profiles;
mod public_rooms;
mod push_rules;
mod pushers;
mod pushing;
mod reading;
mod redaction;
mod registration;
mod relations;
mod restricted;
mod room_versions;
mod secret_storage;
mod sending;
mod shared_secret;
mod signatures;
mod sliding_sync;
mod starting;
mod state;
mod sync_filters;
mod sync_first;
mod sync_membership;
mod sync_next;
mod sync_state_after;
mod threads;
mod tls;
mod to_device;
mod tokens;
mod upgrades;
mod user_directory;
mod visibility;
mod web_floor;

/// A client of the server that the tests share.
fn server() -> harness::Api {
    harness::shared(env!("CARGO_TARGET_TMPDIR"))
}
