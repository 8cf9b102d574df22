//! Folders and files as backups need them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::BackupError;

/// Holds a folder of backups against every other process, as long as the file is open.
pub(crate) fn lock(folder: &Path) -> Result<File, BackupError> {
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(BackupError::writing(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::InUse(folder.to_owned())),
        Err(TryLockError::Error(reason)) => Err(BackupError::writing(&path)(reason)),
    }
}

/// Waits until everything that was written to the disk of `folder` is there.
pub(crate) fn sync_disk(folder: &Path) -> Result<(), BackupError> {
    let synced = File::open(folder).and_then(|file| Ok(rustix::fs::syncfs(&file)?));
    synced.map_err(BackupError::writing(folder))
}

/// Makes a new file that nobody else may read.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Makes a folder that nobody else may read, and those above it.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether nothing of anybody's is in a folder.
pub(crate) fn is_empty(folder: &Path) -> Result<bool, BackupError> {
    let entries = entries(folder)?;
    // What a new file system brings along.
    Ok(entries
        .iter()
        .all(|path| path.file_name().is_some_and(|name| name == "lost+found")))
}

/// The paths in a folder; none if it is not there.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let listed = match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    listed.map_err(BackupError::reading(folder))
}
