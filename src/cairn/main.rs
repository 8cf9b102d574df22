//! The Cairn homeserver: command line, configuration composed from each crate's
//! options, wiring, clean stop.
//!
//! Floor: doors, the highest. Each part is built here from the parts below it and
//! handed to whoever needs it: there is no registry of services, and what a verb
//! decides is decided in a crate below, never here.

mod allocator;
mod backoff;
mod command_line;
mod config;
mod gauges;
mod health;
#[cfg(test)]
mod house;
mod oversight;
mod parts;
mod progress;
#[cfg(test)]
#[path = "../../tests/fuzz/seeds.rs"]
mod seeds;
mod sight;
mod signals;
mod socket;
mod systemd;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    command_line::run()
}
