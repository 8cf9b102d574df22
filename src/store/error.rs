//! What can go wrong in the store.

use std::path::PathBuf;

use runtime::Timestamp;

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
    /// A file of the database is damaged: RocksDB's words, which name it.
    #[error("a file of the database is damaged: {0}")]
    Damaged(String),
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
    /// The disk is nearly full: nothing was written, and it works again once there is room.
    #[error("the disk is nearly full: nothing new is written until there is room")]
    DiskFull,
    /// The store is closing, or its lanes are full.
    #[error("the database is busy or closing")]
    Busy,
    /// A log position that has been trimmed away.
    #[error("the log no longer reaches back to position {0}")]
    Trimmed(u64),
}

impl From<rocksdb::Error> for StoreError {
    fn from(error: rocksdb::Error) -> Self {
        match error.kind() {
            rocksdb::ErrorKind::Corruption => Self::Damaged(error.into_string()),
            _ => Self::Database(error.into_string()),
        }
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
        "the data folder was written by a newer version (format {found}; this one reads up to {known}): install the newer version again{}",
        way_back(kept.as_deref())
    )]
    Newer {
        /// The format on disk.
        found: u32,
        /// The newest format this program knows.
        known: u32,
        /// The copy of before the upgrade, if it is still there.
        kept: Option<PathBuf>,
    },
    /// There is no copy of before an upgrade.
    #[error("{} holds no database of before an upgrade: restore a backup (cairn backup restore FOLDER)", path.display())]
    NoWayBack {
        /// The data folder.
        path: PathBuf,
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
    /// Commits that were on disk are not there any more: the log is damaged. Nothing was
    /// changed.
    #[error(
        "the database's log is damaged ({}): {commits} commits that were on disk, the last one at {at}, cannot be read any more. Nothing was changed. Look after the disk; then restore the newest backup (cairn backup restore FOLDER), or go on without them: cairn database accept-loss",
        list(logs)
    )]
    Lost {
        /// The log's files, of which one is damaged or missing.
        logs: Vec<PathBuf>,
        /// How many commits are lost.
        commits: u64,
        /// When the last of them was made durable.
        at: Timestamp,
    },
    /// A file of the database is damaged or missing.
    #[error(
        "the database in {} is damaged: {reason}. Look after the disk; then put back the file as a backup has it (cairn backup mend FOLDER), or restore the whole backup (cairn backup restore FOLDER)", path.display()
    )]
    Damaged {
        /// The database's folder.
        path: PathBuf,
        /// RocksDB's words, which name the file.
        reason: String,
    },
    /// The list of the database's files is damaged. Nothing was changed.
    #[error(
        "the list of the database's files is damaged ({}, at byte {at}). Nothing was changed. Look after the disk; then restore the newest backup (cairn backup restore FOLDER)", list.display()
    )]
    ListDamaged {
        /// The list's file.
        list: PathBuf,
        /// Where in it the damage begins.
        at: u64,
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

impl OpenError {
    /// RocksDB's refusal to open the database in the folder `path`.
    pub(crate) fn database(path: &std::path::Path, error: rocksdb::Error) -> Self {
        let is_damaged = error.kind() == rocksdb::ErrorKind::Corruption;
        let (path, reason) = (path.to_owned(), error.into_string());
        // A file that the database names and that is not there is damage too.
        match is_damaged || reason.contains("No such file or directory") {
            true => Self::Damaged { path, reason },
            false => Self::Database { path, reason },
        }
    }
}

fn way_back(kept: Option<&std::path::Path>) -> String {
    let Some(kept) = kept else {
        return ", or restore a backup of before".to_owned();
    };
    format!(
        ". Or go back to the database as it was before the upgrade ({}), without what came after: cairn database go-back",
        kept.display()
    )
}

fn list(files: &[PathBuf]) -> String {
    let names: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    match names.is_empty() {
        true => "its files are gone".to_owned(),
        false => names.join(", "),
    }
}
