//! Syncs of both kinds on a database of their own.

mod client;
mod gaps;
mod histories;
mod house;
mod sliding;
mod sliding_memberships;
mod steps;
