//! What the database takes on disk.

use std::{fs, os::unix::fs::MetadataExt as _};

use rocksdb::{BottommostLevelCompaction, CompactOptions, properties::LIVE_SST_FILES_SIZE};

use crate::{Family, Store, StoreError, database::Database, store::run};

/// The unit in which a file system counts what it has given to a file, in bytes.
const BLOCK: u64 = 512;

/// Garbage of fewer bytes is left where it is.
const WORTH_WHILE: u64 = 64 << 20;
/// Of how many of the oldest files of long values a compaction moves what is needed still.
const GARBAGE_SHARE: &str = "blob_garbage_collection_age_cutoff";

/// What the database takes on disk, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// The sorted files of each column family, by its name.
    pub families: Vec<(&'static str, u64)>,
    /// The write-ahead log, with what the file system keeps ready for it.
    pub write_ahead_log: u64,
    /// The whole folder of the database, with what the file system keeps ready for it.
    pub total: u64,
}

impl Store {
    /// What the database takes on disk. Rows that were written last may still be in
    /// memory and in the write-ahead log only.
    ///
    /// # Errors
    /// If the database fails or its folder cannot be listed.
    pub async fn disk_use(&self) -> Result<DiskUse, StoreError> {
        let database = self.latest().database;
        run(self.long_lane(), move || disk_use(&database)).await
    }

    /// Writes all rows in memory into sorted files and every file anew, without what
    /// was deleted or replaced. Takes as long as that takes, and meanwhile the room of
    /// the largest column family twice; others read and write on.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn compact(&self) -> Result<(), StoreError> {
        let database = self.latest().database;
        run(self.long_lane(), move || {
            let mut all = Family::ALL.into_iter();
            all.try_for_each(|family| compact(&database, family))
        })
        .await
    }

    /// Writes the bytes of files anew if deleted ones take more of the disk than those that
    /// are there.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn give_back(&self) -> Result<(), StoreError> {
        let (database, space) = (self.latest().database, self.space());
        run(self.long_lane(), move || {
            let handle = database.family(Family::Files)?;
            let number = |name: &str| database.db.property_int_value_cf(handle, name);
            let all = number("rocksdb.live-blob-file-size")?.unwrap_or(0);
            let gone = number("rocksdb.live-blob-file-garbage-size")?.unwrap_or(0);
            if gone < WORTH_WHILE || gone <= all / 2 {
                return Ok(());
            }
            // What stays is written anew before anything is given back.
            if space.free < space.reserved.saturating_add(all.saturating_sub(gone)) {
                return Ok(());
            }
            compact(&database, Family::Files)
        })
        .await
    }

    /// Puts off the sorting of files, which takes room before it gives any, while less than
    /// twice the reserve is free. To be called again and again, with what it returned the
    /// last time (false at first).
    ///
    /// # Errors
    /// If the database fails.
    pub async fn spare_disk(&self, is_put_off: bool) -> Result<bool, StoreError> {
        let space = self.space();
        let put_off = space.free < space.reserved.saturating_mul(2);
        if put_off != is_put_off {
            let database = self.latest().database;
            let done = run(self.long_lane(), move || database.put_off_sorting(put_off)).await;
            // It is in effect all the same: a full disk keeps RocksDB from writing that down.
            if let Err(error) = done {
                log::warn!("the database sorts less, or more, until the next start: {error}");
            }
        }
        Ok(put_off)
    }
}

/// Writes one family anew, the long values that stand in files of their own included.
fn compact(database: &Database, family: Family) -> Result<(), StoreError> {
    let mut options = CompactOptions::default();
    options.set_exclusive_manual_compaction(false);
    options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
    let handle = database.family(family)?;
    let moves = |share: &str| {
        database
            .db
            .set_options_cf(handle, &[(GARBAGE_SHARE, share)])
    };
    if family == Family::Files {
        moves("1.0")?;
    }
    database.db.flush_cf(handle)?;
    database
        .db
        .compact_range_cf_opt(handle, None::<&[u8]>, None::<&[u8]>, &options);
    if family == Family::Files {
        moves("0.0")?;
    }
    Ok(())
}

fn disk_use(database: &Database) -> Result<DiskUse, StoreError> {
    let mut found = DiskUse::default();
    for family in Family::ALL {
        let handle = database.family(family)?;
        let size = database
            .db
            .property_int_value_cf(handle, LIVE_SST_FILES_SIZE)?;
        found.families.push((family.name(), size.unwrap_or(0)));
    }
    let failed = |error: std::io::Error| StoreError::Database(error.to_string());
    for file in fs::read_dir(database.db.path()).map_err(failed)? {
        let file = file.map_err(failed)?;
        // Files come and go: what has just gone takes nothing.
        let Ok(metadata) = file.metadata() else {
            continue;
        };
        let size = metadata.blocks() * BLOCK;
        found.total += size;
        if file
            .path()
            .extension()
            .is_some_and(|ending| ending == "log")
        {
            found.write_ahead_log += size;
        }
    }
    Ok(found)
}
