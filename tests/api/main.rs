//! Every endpoint over raw HTTP: what it gives, each way in which it refuses, and
//! what it hides from whom. A file per part of the specification.
//!
//! Most tests share one server: their users have names of their own, so they never
//! meet. A test that needs another configuration, or counts something that is the
//! whole server's, starts its own.

mod account_data;
mod accounts;
mod aliases;
mod capabilities;
mod command;
mod create_room;
mod cross_signing;
mod device_lists;
mod devices;
mod filters;
mod keys;
mod limits;
mod markers;
mod membership;
mod moderation;
mod notifications;
mod pagination;
mod passwords;
mod profiles;
mod push_rules;
mod pushers;
mod pushing;
mod reading;
mod redaction;
mod registration;
mod room_versions;
mod sending;
mod signatures;
mod state;
mod sync_filters;
mod sync_first;
mod sync_membership;
mod sync_next;
mod sync_state_after;
mod to_device;
mod tokens;
mod visibility;
mod web_floor;

/// A client of the server that the tests share.
fn server() -> harness::Api {
    harness::shared(env!("CARGO_TARGET_TMPDIR"))
}
