//! The one HTTP client with which this server makes requests.
//!
//! Place: the ground floor, beside `runtime`. Knows no Matrix.
//!
//! Whoever may name a URL to the server could otherwise use it to look into the
//! network that it stands in. So an address is checked after its name was resolved,
//! and the connection goes to that very address; a redirect is checked like the first
//! request. Private networks are reached where the configuration lists them.
//!
//! - [`Outgoing`] sends a [`Request`] and gives a whole [`Answer`], within the time and
//!   size that the caller names. Connections are reused.
//! - `reach` decides which addresses may be reached, `connector` makes connections.
//!
//! Never here: a request without a limit, glibc's resolver, a certificate that is not
//! verified.

mod client;
mod connector;
mod error;
mod options;
mod reach;

pub use client::{Answer, Outgoing, Request};
pub use error::{OutgoingError, RootsError};
pub use options::OutgoingOptions;

#[cfg(test)]
mod tests;
