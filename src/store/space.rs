//! How much of the disk is left, and what is refused when that is little.
//!
//! A database that meets the end of the disk in the middle of a write cannot say what of it
//! is there. So writing is refused while there is still room to finish what was begun: the
//! rows in memory, the files that are written anew, RocksDB's own notes. It goes on by
//! itself as soon as there is room again.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::StoreError;

/// For so long, and so many written bytes, what was seen of the disk is taken for true.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_AFTER: u64 = 1 << 20;

runtime::options! {
    /// The database.
    pub struct DatabaseOptions in "database" {
        /// Nothing new is written when fewer bytes than this are free on the disk of the data
        /// folder, so that the database can finish what it has begun. People read on, and are
        /// told why nothing else works, until there is room. Files are refused earlier
        /// (media.reserved_disk_bytes). Below twice as many, the database puts off sorting.
        pub reserved_disk_bytes: u64 = 268_435_456,
    }
}

/// What is left of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be taken.
    pub free: u64,
    /// Below so many nothing new is written.
    pub reserved: u64,
    /// Whether nothing new is written.
    pub is_short: bool,
}

/// What a commit writes, as far as the disk is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Something new.
    New,
    /// What makes room, or remembers what was done already: it may take half of the reserve.
    Housekeeping,
}

/// Looks at the disk, and decides.
pub(crate) struct Guard {
    folder: PathBuf,
    reserved: u64,
    seen: Mutex<Seen>,
}

struct Seen {
    at: Option<Instant>,
    /// Bytes that were written since.
    written: u64,
    free: u64,
    is_short: bool,
}

impl Guard {
    /// For the disk on which `folder` is, of which `reserved` bytes stay free.
    pub(crate) fn new(folder: &Path, reserved: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            reserved,
            seen: Mutex::new(Seen {
                at: None,
                written: 0,
                free: u64::MAX,
                is_short: false,
            }),
        }
    }

    /// Whether so many bytes may be written.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`]; then nothing may be written.
    pub(crate) fn admit(&self, need: Need, bytes: u64) -> Result<(), StoreError> {
        if self.reserved == 0 {
            return Ok(());
        }
        let mut seen = self.seen.lock();
        seen.written = seen.written.saturating_add(bytes);
        let is_recent = seen.at.is_some_and(|at| at.elapsed() < LOOK_EVERY);
        if !is_recent || seen.written >= LOOK_AFTER {
            self.look(&mut seen);
        }
        let refused = match need {
            Need::New => seen.is_short,
            Need::Housekeeping => seen.free < self.reserved / 2,
        };
        match refused {
            true => Err(StoreError::DiskFull),
            false => Ok(()),
        }
    }

    /// What is left now.
    pub(crate) fn space(&self) -> Space {
        let mut seen = self.seen.lock();
        self.look(&mut seen);
        Space {
            free: seen.free,
            reserved: self.reserved,
            is_short: seen.is_short,
        }
    }

    fn look(&self, seen: &mut Seen) {
        seen.at = Some(Instant::now());
        seen.written = 0;
        // A disk that cannot be asked is not refused for that: the write will say.
        seen.free = match rustix::fs::statvfs(&self.folder) {
            Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
            Err(_) => u64::MAX,
        };
        // Somewhat more than what was too little must be there before it goes on.
        let enough = match seen.is_short {
            true => self.reserved.saturating_add(self.reserved / 8),
            false => self.reserved,
        };
        let is_short = seen.free < enough;
        if is_short != seen.is_short {
            seen.is_short = is_short;
            let free = seen.free >> 20;
            match is_short {
                true => log::error!(
                    "nothing new is written: {free} MiB are free on the disk of {}, and {} stay reserved",
                    self.folder.display(),
                    self.reserved >> 20
                ),
                false => log::info!("writing goes on: {free} MiB are free again"),
            }
        }
    }
}
