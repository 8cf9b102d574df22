//! Servers that speak with each other over TLS, on this machine, and with hostile ones.

mod asking;
mod files;
mod hostile;
mod keys;
mod memberships;
mod neighbours;
mod operating;
mod peer;
mod policy_servers;
mod recognising;
mod sending;
mod synapse;
mod telling;
mod transactions;
mod visitors;
