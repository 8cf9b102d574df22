//! Syncs of both kinds on a database of their own.

mod client;
mod histories;
mod house;
mod sliding;
