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
//!   size that the caller names, or the beginning of one whose body comes piece by piece
//!   ([`Begun`]). Connections are reused.
//! - A [`Route`] sends a request elsewhere than to the host of its URL, with a certificate
//!   for a name of its own: how federation reaches servers.
//! - `names` asks the system's name servers, `reach` decides which addresses may be reached, `connector` makes connections.
//!
//! Never here: a request without a limit, glibc's resolver, a certificate that is not
//! verified.

mod body;
mod client;
mod connector;
mod error;
mod names;
mod options;
mod reach;
mod routes;

pub use body::AnswerBody;
pub use client::{Answer, Begun, Outgoing, Request, trusted_roots};
pub use connector::{Route, are_authorities};
pub use error::{OutgoingError, RootsError};
pub use names::Service;
pub use options::OutgoingOptions;

#[cfg(test)]
mod tests;
