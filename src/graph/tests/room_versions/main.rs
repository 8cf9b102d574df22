//! The graph's promises, told as stories of small rooms and tables of cases, over the room versions.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may stop")]

mod build;
mod forks;
mod handshake;
mod json;
mod owned;
mod receipt;
mod received;
mod redaction;
mod refusals;
mod resolution;
mod room;
mod rules;
mod stored;
mod stories;
mod vouching;
