//! What can go wrong in the store.

use std::path::PathBuf;

/// Bytes that are not what was written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub &'static str);

/// A read or a write that could not be done. None of them is the caller's fault.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// RocksDB refused.
    #[error("the database failed: {0}")]
    Database(String),
    /// A row is not what its table says.
    #[error("a row of {table} cannot be read: {reason}")]
    Corrupt {
        /// The table's name.
        table: &'static str,
        /// What is wrong with it.
        reason: DecodeError,
    },
    /// An earlier write or sync failed: nothing is written until a restart.
    #[error("writing has stopped after a failed write to disk: {0}")]
    WritingStopped(String),
    /// The store is closing, or its lanes are full.
    #[error("the database is busy or closing")]
    Busy,
    /// A log position that has been trimmed away.
    #[error("the log no longer reaches back to position {0}")]
    Trimmed(u64),
}

impl From<rocksdb::Error> for StoreError {
    fn from(error: rocksdb::Error) -> Self {
        StoreError::Database(error.into_string())
    }
}

/// Why a data folder cannot be opened. Each reads as one sentence for a person.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be created, read or written.
    #[error("the data folder {} cannot be used: {reason}", path.display())]
    Folder {
        /// The data folder.
        path: PathBuf,
        /// The system's word for it.
        reason: std::io::Error,
    },
    /// Another process holds it.
    #[error("the data folder {} is in use by another process", path.display())]
    InUse {
        /// The data folder.
        path: PathBuf,
    },
    /// There is a database that this program did not make.
    #[error("{} holds a database that is not Cairn's", path.display())]
    Foreign {
        /// The database's folder.
        path: PathBuf,
    },
    /// Written by a newer version.
    #[error(
        "the data folder was written by a newer version (format {found}; this one reads up to {known}): install the newer version again"
    )]
    Newer {
        /// The format on disk.
        found: u32,
        /// The newest format this program knows.
        known: u32,
    },
    /// Made for another server name.
    #[error(
        "the data folder belongs to the server \"{stored}\", but the configuration says server_name = \"{given}\": a server's name can never be changed"
    )]
    OtherServer {
        /// The name in the database.
        stored: String,
        /// The name in the configuration.
        given: String,
    },
    /// RocksDB could not open it.
    #[error("the database in {} cannot be opened: {reason}", path.display())]
    Database {
        /// The database's folder.
        path: PathBuf,
        /// RocksDB's words.
        reason: String,
    },
    /// It opened but could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}
