//! What can go wrong with a backup.

use std::{io, path::PathBuf};

/// Why a backup cannot be made, checked or laid out. Each reads as one sentence for a person.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file or folder cannot be read or written.
    #[error("{} cannot be {doing}: {reason}", path.display())]
    File {
        /// What was tried: "read", "written".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's word for it.
        reason: io::Error,
    },
    /// The stream cannot be read or written.
    #[error("the stream cannot be {doing}: {reason}")]
    Stream {
        /// "read" or "written".
        doing: &'static str,
        /// The system's word for it.
        reason: io::Error,
    },
    /// There is something else in the folder.
    #[error("{} holds other things than backups of Cairn: name an empty folder", .0.display())]
    Foreign(PathBuf),
    /// The folder holds another server's backups.
    #[error("{} holds the backups of the server \"{found}\", and this is \"{wanted}\"", folder.display())]
    OtherServer {
        /// The folder.
        folder: PathBuf,
        /// Whose they are.
        found: String,
        /// Whose they should be.
        wanted: String,
    },
    /// Another backup is being made or checked there.
    #[error("{} is in use: another backup runs", .0.display())]
    InUse(PathBuf),
    /// There is no such backup.
    #[error("there is no {} in {}", name.as_deref().map_or_else(|| "backup".to_owned(), |name| format!("backup {name}")), folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// Which one; any, if there is none.
        name: Option<String>,
    },
    /// The backups there are sealed, and whoever asks has no key.
    #[error("the backups in {} are sealed: name the file with the secret key (--identity FILE)", .0.display())]
    Sealed(PathBuf),
    /// The backups there are sealed for somebody else, or not at all.
    #[error(
        "the backups in {} are {}, and one folder holds one kind: name another folder",
        folder.display(),
        sealed_for.as_deref().map_or_else(|| "not sealed".to_owned(), |key| format!("sealed for {key}"))
    )]
    OtherSeal {
        /// The folder.
        folder: PathBuf,
        /// Whom they are sealed for, if for anybody.
        sealed_for: Option<String>,
    },
    /// The list of a backup's files is not as it was written.
    #[error("the list of the backup's files is damaged: {0}")]
    Manifest(String),
    /// Something in the archive is none of a backup.
    #[error("the archive holds {0:?}, which is no part of a backup")]
    Stray(String),
    /// A name that no list can hold.
    #[error("{} has a line break in its name", .0.display())]
    Name(PathBuf),
    /// What is to be laid out is damaged where nothing can be done without it.
    #[error("the backup is damaged: {}", .0.join("; "))]
    Damaged(Vec<String>),
    /// The place for a restored server is taken.
    #[error(
        "{} is not empty: nothing was changed. Move what is there away, or name another folder",
        .0.display()
    )]
    NotEmpty(PathBuf),
}

impl BackupError {
    pub(crate) fn reading(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        Self::file("read", path)
    }

    pub(crate) fn writing(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        Self::file("written", path)
    }

    fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |reason| Self::File {
            doing,
            path,
            reason,
        }
    }
}
