//! Backups of a data folder: what lies in them, how they are made, checked and laid out again.
//!
//! Place: the ground floor, beside `runtime`. Knows files, no row of the database and no
//! Matrix type: what a consistent copy is, its caller knows.
//!
//! - A folder of backups ([`Repository`]) holds each file's bytes once, under their SHA-256,
//!   however many backups name them; a backup is a [`Manifest`] that names all of its
//!   files with their hashes. The manifest is written last, when everything that it names is
//!   on disk: whatever breaks off before, the earlier backups are whole.
//! - Backups can be sealed for the holder of a secret key ([`sealing`](Sealed)): each file by
//!   itself, under a name that only whoever has the server's signing key can make of its hash.
//!   Making them needs no secret; looking into them does.
//! - A stream is a tar archive of the same files, with the manifest at its end.
//! - Files that never change ([`is_immutable`]) are read only once for all backups in a folder.
//!
//! Never here: a path from a manifest or an archive that leads out of the folder it is
//! written into; a byte that is written back without its hash having been compared.

mod error;
mod folders;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod laying;
mod making;
mod manifest;
mod mending;
mod progress;
mod pruning;
mod repository;
mod sealing;
#[cfg(test)]
#[path = "../../tests/fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests;

pub use error::BackupError;
pub use laying::{Layout, Unpacked, give_to_owner, sync_all, unpack_backup, unpack_stream};
pub use making::{Made, Making, is_immutable, media_name};
pub use manifest::{About, FileRecord, Manifest};
pub use mending::{Mended, mend};
pub use progress::{NoProgress, Progress};
pub use repository::{Held, Repository, Seal, naming_key};
pub use sealing::{Identity, KeyError, Opened, Recipient, SealError, Sealed};

/// The signing key's name in a backup and in the data folder.
pub const KEY: &str = "signing.key";
/// Under this name in a backup, and in a restored data folder, stands what the configuration
/// was: the file itself and, under `files/`, those that it names.
pub const CONFIGURATION: &str = "configuration";
