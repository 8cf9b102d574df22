//! Certificates that the server makes or gets by itself, and renews in time.
//!
//! Place: the ground floor, beside `outgoing` and `runtime`. Knows no listener: it keeps one
//! file, `tls/server.pem` in the data folder, with the certificates and their key, replaced
//! whole; whoever listens reads it again when it has changed.
//!
//! - [`Issuer::Local`]: an authority of its own, for places without internet. Its root,
//!   `tls/root.pem`, is handed out once and installed on people's devices; it vouches for
//!   this server's names alone (name constraints of RFC 5280), so that whoever installs it trusts
//!   nobody for anything else.
//! - [`Issuer::Acme`]: an authority on the internet that speaks ACME (RFC 8555) and
//!   asks on the server's own port whether the name is its own (tls-alpn-01, RFC 8737).
//!
//! Never here: a name in a certificate that the operator has not named.

mod acme;
mod challenges;
mod ends;
mod file;
mod keeper;
mod local;
mod options;

pub use challenges::{Challenges, PROTOCOL};
pub use ends::ends_at;
pub use keeper::{Keeper, KeeperParts};
pub use local::Authority;
pub use options::{CertificateOptions, Issuer};

use std::{io, path::PathBuf};

use runtime::Timestamp;

/// The folder in the data folder.
pub const FOLDER: &str = "tls";
/// The file with the certificates and their key, in that folder.
pub const SERVER: &str = "server.pem";

/// A clock before this (2026-01-01) is wrong, as on a machine without a battery for it: the
/// program is younger.
const YOUNGEST: Timestamp = Timestamp(1_767_225_600_000);

/// Why there is no new certificate. Each reads as one sentence for a person.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("{} cannot be used: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's word for it.
        reason: io::Error,
    },
    /// A file holds something else.
    #[error("{} is not what it should be: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The root that was handed out does not vouch for a name.
    #[error(
        "the authority in {} does not vouch for {name:?}: move root.pem and root.key away, and a new one is made, whose root.pem is handed out anew",
        folder.display()
    )]
    NotVouched {
        /// The folder of the authority.
        folder: PathBuf,
        /// The name.
        name: String,
    },
    /// Something cannot be made, of a name that is none for instance.
    #[error("no certificate can be made: {0}")]
    Made(#[from] rcgen::Error),
    /// The authority on the internet could not be asked.
    #[error("the authority does not answer: {0}")]
    Unreached(String),
    /// The authority on the internet has refused.
    #[error("the authority gives no certificate: {0}")]
    Refused(String),
}
