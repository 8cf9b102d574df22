//! Copies of the whole database at one instant, and the new life of one that comes from
//! such a copy.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rocksdb::{DB, LogLevel, Options, checkpoint::Checkpoint};
use runtime::Random;

use crate::{
    Family, OpenError, Position, Store, StoreError, StoreOptions,
    database::{Database, META_BY_NAME, meta},
    mark,
    read::Latest,
    store::{prepare, progress, run},
    upgrade::{self, STEPS},
};

/// How far positions and serials jump in a new life: further than a server could have
/// come between the copy and the loss, so that nothing that was told under a number is
/// followed by something else under the same.
const JUMP: u64 = 1 << 32;
/// How many rows are read between two calls of the caller's function.
const ROWS_AT_ONCE: u64 = 10_000;

/// What stands in a database that nobody has opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The name of the server that it belongs to.
    pub identity: String,
    /// The format of its rows.
    pub format: u32,
    /// Which life of the database this is.
    pub epoch: u64,
    /// The last commit.
    pub position: Position,
}

impl Store {
    /// The data folder.
    pub fn folder(&self) -> &Path {
        let database = self.shared().database.db.path();
        database.parent().unwrap_or(database)
    }

    /// Makes a copy of the database in `folder`, in place of what is there, on the same file
    /// system: everything that was acknowledged when this was called, and whatever else
    /// was committed until some instant before it returns. Files that never change are
    /// hard links, so it takes a moment and little room; they keep what they hold from
    /// being freed until the folder is removed.
    ///
    /// # Errors
    /// If the database fails, or the folder cannot be made.
    pub async fn checkpoint(&self, folder: &Path) -> Result<(), StoreError> {
        let database = self.latest().database;
        let folder = folder.to_owned();
        run(self.long_lane(), move || {
            match std::fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::Database(error.to_string()));
                }
                _ => {}
            }
            Checkpoint::new(&database.db)?.create_checkpoint(&folder)?;
            Ok(())
        })
        .await
    }

    /// Reads every row once, as written: a damaged file is an error, which names it.
    /// `seen` is told now and then how many rows more were read. Returns how many there
    /// are in all.
    ///
    /// # Errors
    /// If a file is damaged or cannot be read.
    pub fn check(&self, mut seen: impl FnMut(u64)) -> Result<u64, StoreError> {
        let database = self.latest().database;
        let mut rows = 0;
        for family in Family::ALL {
            let mut iterator = database.db.raw_iterator_cf(database.family(family)?);
            iterator.seek_to_first();
            while iterator.valid() {
                rows += 1;
                if rows % ROWS_AT_ONCE == 0 {
                    seen(ROWS_AT_ONCE);
                }
                iterator.next();
            }
            iterator.status()?;
        }
        Ok(rows)
    }
}

/// Reads what the database in the folder `database` says of itself, without changing
/// anything there. RocksDB's own notes go to the folder `notes`.
///
/// # Errors
/// If there is no such database, or it cannot be read.
pub fn inspect(database: &Path, notes: &Path) -> Result<Inspected, OpenError> {
    let mut options = Options::default();
    options.set_db_log_dir(notes);
    inspect_with(database, &options)
}

/// Why the database in the folder `database` cannot be opened whole, in RocksDB's words, which
/// name files that are missing; none if it can. Nothing is changed there; RocksDB's own notes
/// go to the folder `notes`.
pub fn broken(database: &Path, notes: &Path) -> Option<String> {
    if let Err(error) = mark::must_be_readable(database) {
        return Some(error.to_string());
    }
    let mut options = Options::default();
    options.set_db_log_dir(notes);
    let families = Family::ALL.map(Family::name);
    let families = families.into_iter().chain(["default"]);
    let opened = DB::open_cf_for_read_only(&options, database, families, false);
    opened.err().map(rocksdb::Error::into_string)
}

/// As [`inspect`], where RocksDB may leave its own notes beside the database.
pub(crate) fn look(database: &Path) -> Result<Inspected, OpenError> {
    let mut options = Options::default();
    options.set_keep_log_file_num(3);
    options.set_log_level(LogLevel::Fatal);
    inspect_with(database, &options)
}

fn inspect_with(database: &Path, options: &Options) -> Result<Inspected, OpenError> {
    mark::must_be_readable(database)?;
    let failed = |error: rocksdb::Error| OpenError::database(database, error);
    let index = Family::Index.name();
    let db =
        DB::open_cf_for_read_only(options, database, ["default", index], false).map_err(failed)?;
    let foreign = || OpenError::Foreign {
        path: database.to_owned(),
    };
    let family = db.cf_handle(index).ok_or_else(foreign)?;
    let row = |name: u8| {
        let found = db.get_cf(family, META_BY_NAME.key(&name));
        found.map_err(failed)
    };
    let number = |bytes: Option<&[u8]>| {
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(u64::from_be_bytes)
    };
    let format = row(meta::FORMAT)?.and_then(|bytes| bytes.try_into().ok());
    let progress = row(meta::PROGRESS)?.unwrap_or_default();
    Ok(Inspected {
        format: u32::from_be_bytes(format.ok_or_else(foreign)?),
        identity: String::from_utf8_lossy(&row(meta::IDENTITY)?.unwrap_or_default()).into_owned(),
        epoch: number(row(meta::EPOCH)?.as_deref()).unwrap_or_default(),
        position: Position(number(progress.get(..8)).unwrap_or_default()),
    })
}

/// Begins a new life of the database in the data folder `folder`, which was copied from
/// another and belongs to the server named `identity`: tokens of the old one are worth
/// nothing in it, and positions and serials jump far ahead of all that may have been told
/// since the copy was made. Returns the last position before the jump.
///
/// # Errors
/// As [`Store::open`].
pub fn begin_epoch(
    folder: &Path,
    identity: &str,
    options: &StoreOptions,
    random: &Random,
) -> Result<Position, OpenError> {
    let database = Arc::new(Database::open(folder, options)?);
    let latest = Latest {
        database: database.clone(),
    };
    prepare(&database, &latest, folder, identity, random, STEPS)?;
    let (last, next_serial) = progress(&latest)?;
    let mut row = (last.0 + JUMP).to_be_bytes().to_vec();
    row.extend_from_slice(&(next_serial + JUMP).to_be_bytes());
    let mut rows = rocksdb::WriteBatch::default();
    database.put(&mut rows, &META_BY_NAME, &meta::PROGRESS, &row)?;
    let epoch = random.number().to_be_bytes().to_vec();
    database.put(&mut rows, &META_BY_NAME, &meta::EPOCH, &epoch)?;
    database.db.write(rows).map_err(StoreError::from)?;
    database.db.flush_wal(true).map_err(StoreError::from)?;
    Ok(last)
}

/// Has the database in the data folder `folder` opened again after [`OpenError::Lost`]: what
/// cannot be read is given up, and a new life begins with what there is, as after a restore.
/// Returns the last position that is there.
///
/// # Errors
/// As [`Store::open`].
pub fn accept_loss(
    folder: &Path,
    identity: &str,
    options: &StoreOptions,
    random: &Random,
) -> Result<Position, OpenError> {
    let failed = |reason| OpenError::Folder {
        path: folder.to_owned(),
        reason,
    };
    mark::cut_anyway(&database_folder(folder)).map_err(failed)?;
    let last = begin_epoch(folder, identity, options, random)?;
    mark::forget(folder).map_err(failed)?;
    Ok(last)
}

/// Goes back to the copy of the database that was kept before an upgrade; what came after is
/// put aside, into `database.newer`. A new life begins with it, as after a restore. Returns the
/// last position that is there.
///
/// # Errors
/// [`OpenError::NoWayBack`] if there is no such copy, and as [`Store::open`].
pub fn go_back(
    folder: &Path,
    identity: &str,
    options: &StoreOptions,
    random: &Random,
) -> Result<Position, OpenError> {
    let failed = |reason| OpenError::Folder {
        path: folder.to_owned(),
        reason,
    };
    let held = hold(folder)?;
    let kept = upgrade::newest_kept(folder, upgrade::format(STEPS));
    let kept = kept.ok_or_else(|| OpenError::NoWayBack {
        path: folder.to_owned(),
    })?;
    let (database, aside) = (database_folder(folder), folder.join(upgrade::NEWER));
    // Where it broke off between the two, the first is done.
    if database.exists() {
        std::fs::rename(&database, &aside).map_err(failed)?;
    }
    std::fs::rename(&kept, &database).map_err(failed)?;
    drop(held);
    accept_loss(folder, identity, options, random)
}

/// Which life the database in the data folder `folder` is in, also where it cannot be opened
/// any more; none if nothing says so.
pub fn epoch_of(folder: &Path) -> Option<u64> {
    let noted = || Some(mark::Synced::read(folder)?.epoch);
    let inspected = look(&database_folder(folder)).ok();
    inspected.map(|found| found.epoch).or_else(noted)
}

/// Where the database stands in a data folder.
pub fn database_folder(data_folder: &Path) -> PathBuf {
    data_folder.join("database")
}

/// Holds a data folder that no server runs on, so that none begins meanwhile.
///
/// # Errors
/// [`OpenError::InUse`], or that the folder cannot be used.
pub fn hold(folder: &Path) -> Result<std::fs::File, OpenError> {
    crate::database::lock_folder(folder)
}
