//! Servers that speak with each other over TLS, on this machine, and with hostile ones.

mod asking;
mod closed;
mod fast_joins;
mod files;
mod finding;
mod guests;
mod hostile;
mod hostile_events;
mod keys;
mod links;
mod memberships;
mod operating;
mod operations;
mod peer_lists;
mod policy_servers;
mod recognising;
mod residents;
mod restoring;
mod rooms_kept;
mod sending;
mod synapse;
mod synapse_people;
mod telling;
mod third_parties;
mod transactions;

use harness::{peer, visitors};

/// Where Synapse is installed.
fn cache() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
}
