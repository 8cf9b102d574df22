//! How far the log was synced, noted outside of it.
//!
//! After a power cut the end of RocksDB's log may be torn: that is the normal case, nothing of
//! it was acknowledged, and it is left out without a word. A log that is damaged further in
//! front looks the same to RocksDB, which would leave out all that comes behind the damage. So
//! the last position that is known to be on disk stands in a file of its own: a database that
//! opens with less than that has lost something, and is not opened.
//!
//! ```text
//! synced  MAGIC (8) EPOCH (8) POSITION (8) TIME (8) SUM (8)
//! ```
//!
//! The file is written after each sync and synced itself now and then: it may say too little,
//! never too much.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use runtime::Timestamp;

use crate::{OpenError, Position, checkpoint::look, manifest, tail};

/// The file's name in the data folder.
const NAME: &str = "synced";
const MAGIC: [u8; 8] = *b"cairn\0s1";
const LENGTH: usize = 40;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) epoch: u64,
    pub(crate) position: Position,
    pub(crate) at: Timestamp,
}

impl Synced {
    fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let numbers = [self.epoch, self.position.0, self.at.0];
        let numbers = numbers.map(u64::to_be_bytes);
        let parts = [MAGIC, numbers[0], numbers[1], numbers[2]];
        let mut place = bytes.chunks_exact_mut(8);
        for (place, part) in place.by_ref().zip(parts) {
            place.copy_from_slice(&part);
        }
        let sum = sum(bytes.get(..32).unwrap_or_default());
        bytes[32..].copy_from_slice(&sum);
        bytes
    }

    /// Reads the file; none if it is not whole, which a power cut can make of it.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        let bytes = fs::read(folder.join(NAME)).ok()?;
        let (parts, []) = bytes.as_chunks::<8>() else {
            return None;
        };
        let [magic, epoch, position, at, found] = parts else {
            return None;
        };
        if *magic != MAGIC || *found != sum(bytes.get(..32)?) {
            return None;
        }
        Some(Self {
            epoch: u64::from_be_bytes(*epoch),
            position: Position(u64::from_be_bytes(*position)),
            at: Timestamp(u64::from_be_bytes(*at)),
        })
    }
}

/// A sum against torn writes, not against anybody (FNV-1a).
fn sum(bytes: &[u8]) -> [u8; 8] {
    let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix).to_be_bytes()
}

/// The open file.
pub(crate) struct Mark {
    file: File,
    epoch: u64,
    /// Whether it was written and not synced.
    is_new: AtomicBool,
    /// Whether it was said that it cannot be written.
    has_failed: AtomicBool,
}

impl Mark {
    /// Opens the file for the database's life `epoch`, or makes it.
    pub(crate) fn open(folder: &Path, epoch: u64) -> io::Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join(NAME))?;
        Ok(Self {
            file,
            epoch,
            is_new: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
        })
    }

    /// Notes that everything up to `position` is on disk.
    pub(crate) fn note(&self, position: Position, at: Timestamp) {
        let synced = Synced {
            epoch: self.epoch,
            position,
            at,
        };
        match self.file.write_all_at(&synced.to_bytes(), 0) {
            Ok(()) => self.is_new.store(true, Ordering::Release),
            // Damage to the log would be found by less; nothing else depends on it.
            Err(error) if !self.has_failed.swap(true, Ordering::AcqRel) => {
                log::warn!("how far the log was synced cannot be noted: {error}");
            }
            Err(_) => {}
        }
    }

    /// Makes what was noted last.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match self.is_new.swap(false, Ordering::AcqRel) {
            true => self.file.sync_data(),
            false => Ok(()),
        }
    }
}

/// Looks whether the database in the data folder still has all that was synced, without
/// changing anything: opening it would remove what cannot be read.
///
/// # Errors
/// [`OpenError::Lost`] if it has not, or that it cannot be read.
pub(crate) fn check(folder: &Path, database: &Path) -> Result<(), OpenError> {
    let synced = Synced::read(folder);
    cut_trap(folder, database, synced)?;
    let Some(synced) = synced else {
        return Ok(());
    };
    let nothing = || compare(database, synced, synced.epoch, Position(0));
    if !database.join("CURRENT").exists() {
        return nothing();
    }
    match look(database) {
        // Not even its first rows are there: it would be taken for a new one.
        Err(OpenError::Foreign { .. }) => nothing(),
        found => {
            let found = found?;
            compare(database, synced, found.epoch, found.position)
        }
    }
}

/// Cuts the log off where RocksDB would not go on, if nothing that was synced stands behind.
///
/// # Errors
/// As [`check`].
fn cut_trap(folder: &Path, database: &Path, synced: Option<Synced>) -> Result<(), OpenError> {
    let failed = |reason| OpenError::Folder {
        path: folder.to_owned(),
        reason,
    };
    for log in logs(database) {
        let Some(end) = tail::trap(&log).map_err(failed)? else {
            continue;
        };
        if let Some(synced) = synced {
            let copy = folder.join("database.look");
            tail::cut_copy(database, &log, end, &copy).map_err(failed)?;
            let found = look(&copy);
            fs::remove_dir_all(&copy).map_err(failed)?;
            match found {
                Err(OpenError::Foreign { .. }) => {
                    compare(database, synced, synced.epoch, Position(0))?;
                }
                found => {
                    let found = found?;
                    compare(database, synced, found.epoch, found.position)?;
                }
            }
        }
        log::warn!("the end of {} is torn and was cut off", log.display());
        return tail::cut(&log, end).map_err(failed);
    }
    Ok(())
}

/// Cuts the log off where RocksDB would not go on, whatever stands behind.
pub(crate) fn cut_anyway(database: &Path) -> io::Result<()> {
    for log in logs(database) {
        if let Some(end) = tail::trap(&log)? {
            return tail::cut(&log, end);
        }
    }
    Ok(())
}

/// Refuses a log that RocksDB would never come to the end of, and a damaged list of files.
///
/// # Errors
/// [`OpenError::Damaged`] or [`OpenError::ListDamaged`], which name the file.
pub(crate) fn must_be_readable(database: &Path) -> Result<(), OpenError> {
    manifest::must_be_sound(database)?;
    let logs = logs(database);
    let trapped = logs.iter().find(|log| !matches!(tail::trap(log), Ok(None)));
    match trapped {
        None => Ok(()),
        Some(log) => Err(OpenError::Damaged {
            path: database.to_owned(),
            reason: format!("{} cannot be read to its end", log.display()),
        }),
    }
}

/// Compares what a database has with what was synced.
///
/// # Errors
/// [`OpenError::Lost`].
pub(crate) fn compare(
    database: &Path,
    synced: Synced,
    epoch: u64,
    found: Position,
) -> Result<(), OpenError> {
    // Another life is another count: a restore came between.
    if synced.epoch != epoch || found >= synced.position {
        return Ok(());
    }
    Err(OpenError::Lost {
        logs: logs(database),
        commits: synced.position.0 - found.0,
        at: synced.at,
    })
}

/// Forgets how far the log was synced: what is lost is lost.
pub(crate) fn forget(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The files of RocksDB's log that hold anything, the oldest first.
fn logs(database: &Path) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "log")
            && fs::metadata(path).is_ok_and(|file| file.len() > 0)
    };
    let entries = fs::read_dir(database).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> = paths.filter(holds).collect();
    found.sort();
    found
}
