//! Servers that speak with each other over TLS, on this machine, and with hostile ones.

mod asking;
mod files;
mod hostile;
mod keys;
mod links;
mod memberships;
mod operating;
mod peer;
mod peer_lists;
mod policy_servers;
mod recognising;
mod sending;
mod synapse;
mod telling;
mod transactions;
mod visitors;

/// Where Synapse is installed.
fn cache() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
}
