//! Every endpoint over raw HTTP: what it gives, each way in which it refuses, and
//! what it hides from whom. A file per part of the specification.
//!
//! Most tests share one server: their users have names of their own, so they never
//! meet. A test that needs another configuration, or counts something that is the
//! whole server's, starts its own.

mod account_data;
mod accounts;
mod administered;
mod administered_lists;
mod aliases;
mod appservices;
mod archived;
mod audit;
mod calls;
mod capabilities;
mod command;
mod console;
mod console_pages;
mod console_people;
mod console_rooms;
mod create_room;
mod cross_signing;
mod database;
mod dehydrated;
mod delayed_events;
mod deleted_data;
mod device_lists;
mod devices;
mod file_moderation;
mod filters;
mod guests;
mod hierarchy;
mod ignored_users;
mod invitations;
mod invite_permission;
mod joining;
mod key_backups;
mod keys;
mod knocking;
mod limits;
mod login_tokens;
mod markers;
mod media;
mod membership;
mod moderation;
mod moderation_bots;
mod mutual_rooms;
mod notices;
mod notifications;
mod old_syncs;
mod operator;
mod pagination;
mod partners;
mod passwords;
mod people;
mod presence;
mod previews;
mod profiles;
mod public_rooms;
mod push_rules;
mod pushers;
mod pushing;
mod reading;
mod recounts;
mod redaction;
mod register;
mod registration;
mod relation_filters;
mod relations;
mod rendezvous;
mod reports;
mod restraints;
mod restricted;
mod roles;
mod room_administration;
mod room_removal;
mod room_rules;
mod room_versions;
mod search;
mod secret_storage;
mod sending;
mod services;
mod shared_secret;
mod signatures;
mod sliding_extensions;
mod sliding_sync;
mod starting;
mod state;
mod sticky_events;
mod synadm;
mod synapse_admin_people;
mod synapse_admin_rooms;
mod sync_filters;
mod sync_first;
mod sync_membership;
mod sync_next;
mod sync_redactions;
mod sync_state_after;
mod thread_receipts;
mod thread_subscriptions;
mod threads;
mod tls;
mod to_device;
mod tokens;
mod upgraded_spaces;
mod upgrades;
mod user_directory;
mod visibility;
mod web_floor;

/// A client of the server that the tests share.
fn server() -> harness::Api {
    harness::shared(env!("CARGO_TARGET_TMPDIR"))
}
