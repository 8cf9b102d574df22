//! The key ring: the signing keys of this server and of others (server-server API,
//! "Retrieving server keys").
//!
//! - `document` checks what a server publishes, `own` makes what this one does.
//! - `ring` finds the key for a signature: pinned, stored, fetched from its server, or
//!   from the key servers of the configuration.
//! - `notary` answers those who ask this server for the keys of others.

mod document;
mod notary;
mod own;
mod pinned;
mod ring;

pub(crate) use document::Document;
pub use notary::WantedKeys;
pub(crate) use own::OwnKeys;
pub use own::rotate;
pub use pinned::PinnedKeyError;
pub(crate) use pinned::{Pinned, parse_key};
pub use ring::KeyError;
pub(crate) use ring::{Ring, Sources};
