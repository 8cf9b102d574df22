//! What this server tells others by itself, as a reader of the log.
//!
//! Place: a reader; above `rooms` and `accounts`. Nobody below calls it.
//!
//! - `push`: notifications for push gateways ([`Push`]).
//! - `appservice`: events for application services, and what they are asked ([`Appservices`]).
//! - `federation`: events and all else for other servers ([`Federation`]).
//! - `following`: how each of them follows the log.
//!
//! What goes out is stored before it is sent, in the same commit as the place in the
//! log up to which everything was looked at: after a crash nothing is lost and what was
//! not confirmed is sent again. A receiver that does not answer delays nobody else.
//!
//! Never here: a request without a row that remembers it, a row without an end.

mod appservice;
mod federation;
mod following;
mod push;

pub use appservice::{Appservices, AppservicesOptions, AppservicesParts, AskError, PingError};
pub use federation::{Federation, FederationParts, WaitingServer, forget_server, waiting_servers};
pub use push::{Push, PushOptions, PushParts};

#[cfg(test)]
mod tests;
