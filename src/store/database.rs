//! Opening a data folder: the lock, the format, RocksDB's tuning on one page.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, LogLevel, LruCacheOptions, Options, ReadOptions, WriteBufferManager,
};

use runtime::{Metrics, OpenFiles};

use crate::{Family, Key, OpenError, StoreError, Table, Value, damage::Damage, manifest};

/// The parts of the cache, as a power of two. What is larger than a part is never kept, so it must not
/// be small.
const SHARDS: i32 = 4;
/// Bytes of what the events of a file share.
const DICTIONARY: i32 = 32 << 10;
/// What RocksDB takes for "as the compression has it": of its window and of its level.
const WINDOW: i32 = -14;
const DEFAULT_LEVEL: i32 = 32_767;

/// The store's own rows.
pub(crate) const META_BY_NAME: Table<u8, Vec<u8>> = Table::new(0, Family::Index, "META_BY_NAME");
/// The numbers of the rows in [`META_BY_NAME`].
pub(crate) mod meta {
    pub(crate) const FORMAT: u8 = 0;
    pub(crate) const IDENTITY: u8 = 1;
    pub(crate) const PROGRESS: u8 = 2;
    pub(crate) const EPOCH: u8 = 3;
    pub(crate) const SECRET: u8 = 4;
    pub(crate) const TRIMMED: u8 = 5;
    /// While an upgrade is under way: the format that it makes, and where it goes on.
    pub(crate) const UPGRADE: u8 = 6;
}

/// How much memory the database may take.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Bytes of uncompressed blocks kept in memory.
    pub cache_bytes: usize,
    /// Bytes of rows kept in memory before they are written into sorted files.
    pub write_buffer_bytes: usize,
    /// Bytes of write-ahead log after which rows are written into sorted files:
    /// bounds the start-up after a crash.
    pub log_bytes: u64,
    /// Bytes of the disk that stay free ([`crate::DatabaseOptions`]).
    pub reserved_bytes: u64,
    /// Where commits are measured.
    pub metrics: Metrics,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            write_buffer_bytes: 32 << 20,
            log_bytes: 24 << 20,
            reserved_bytes: 0,
            metrics: Metrics::new(),
        }
    }
}

/// An open RocksDB and the lock on its folder.
pub(crate) struct Database {
    pub(crate) db: DB,
    /// The options of reads of what was last written.
    pub(crate) reading: ReadOptions,
    /// The blocks that are kept in memory, and how many bytes of them at most.
    pub(crate) cache: Cache,
    pub(crate) cache_bytes: usize,
    /// What of it was found damaged.
    pub(crate) damage: Damage,
    // Held, never read: the lock ends with the file handle.
    _lock: File,
}

impl Database {
    /// Opens the database in a data folder as it is; what it should have is not looked at.
    pub(crate) fn open(folder: &Path, options: &StoreOptions) -> Result<Self, OpenError> {
        Self::open_after(folder, options, |_| Ok(()))
    }

    /// As [`Database::open`], once `look` has seen the database's folder, which nobody else
    /// can open any more and which is not changed yet.
    pub(crate) fn open_after(
        folder: &Path,
        options: &StoreOptions,
        look: impl FnOnce(&Path) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        let lock = lock_folder(folder)?;
        let path = folder.join("database");
        manifest::must_be_sound(&path)?;
        refuse_foreign(&path)?;
        look(&path)?;
        let mut kept = LruCacheOptions::default();
        kept.set_capacity(options.cache_bytes);
        kept.set_num_shard_bits(SHARDS);
        let cache = Cache::new_lru_cache_opts(&kept);
        let families = Family::ALL.map(|family| {
            ColumnFamilyDescriptor::new(family.name(), family_options(family, &cache))
        });
        let db = DB::open_cf_descriptors(&database_options(options), &path, families)
            .map_err(|error| OpenError::database(&path, error))?;
        Ok(Self {
            db,
            reading: ReadOptions::default(),
            cache,
            cache_bytes: options.cache_bytes,
            damage: Damage::default(),
            _lock: lock,
        })
    }

    /// Whether not a single row is there.
    pub(crate) fn is_empty(&self) -> Result<bool, StoreError> {
        for family in Family::ALL {
            if let Some(handle) = self.db.cf_handle(family.name()) {
                let mut iterator = self.db.raw_iterator_cf(handle);
                iterator.seek_to_first();
                if iterator.valid() {
                    return Ok(false);
                }
                iterator.status()?;
            }
        }
        Ok(true)
    }

    /// Begins no more sorting of files, which takes room before it gives any, or goes on with it.
    ///
    /// # Errors
    /// If RocksDB refuses.
    pub(crate) fn put_off_sorting(&self, is_put_off: bool) -> Result<(), StoreError> {
        let value = if is_put_off { "true" } else { "false" };
        for family in Family::ALL {
            let handle = self.family(family)?;
            self.db
                .set_options_cf(handle, &[("disable_auto_compactions", value)])?;
        }
        Ok(())
    }

    pub(crate) fn put<K: Key, V: Value>(
        &self,
        batch: &mut rocksdb::WriteBatch,
        table: &Table<K, V>,
        key: &K,
        value: &V,
    ) -> Result<(), StoreError> {
        let mut bytes = Vec::with_capacity(64);
        value.encode(&mut bytes);
        batch.put_cf(self.family(table.family)?, table.key(key), bytes);
        Ok(())
    }

    pub(crate) fn family(&self, family: Family) -> Result<&rocksdb::ColumnFamily, StoreError> {
        self.db
            .cf_handle(family.name())
            .ok_or_else(|| StoreError::Database(format!("no column family {}", family.name())))
    }
}

/// Creates the folder, proves that it can be written, and locks it against every
/// other process for as long as the file is open.
pub(crate) fn lock_folder(folder: &Path) -> Result<File, OpenError> {
    let failed = |reason| OpenError::Folder {
        path: folder.to_owned(),
        reason,
    };
    create_private(folder).map_err(failed)?;
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join("lock"))
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: folder.to_owned(),
        }),
        Err(TryLockError::Error(reason)) => Err(failed(reason)),
    }
}

fn create_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if folder.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Refuses a database whose column families are not ours, before RocksDB's own
/// recovery could change anything in it.
fn refuse_foreign(path: &PathBuf) -> Result<(), OpenError> {
    if !path.join("CURRENT").exists() {
        return Ok(());
    }
    let names =
        DB::list_cf(&Options::default(), path).map_err(|error| OpenError::database(path, error))?;
    let ours =
        |name: &String| name == "default" || Family::ALL.iter().any(|family| family.name() == name);
    if names.iter().all(ours) {
        Ok(())
    } else {
        Err(OpenError::Foreign { path: path.clone() })
    }
}

fn database_options(options: &StoreOptions) -> Options {
    let mut database = Options::default();
    database.create_if_missing(true);
    database.create_missing_column_families(true);
    database.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager(
        options.write_buffer_bytes,
        false,
    ));
    database.set_max_total_wal_size(options.log_bytes);
    // Rows reach the write-ahead log's file when the syncer says so: one write and
    // one fdatasync for all that was committed meanwhile.
    database.set_manual_wal_flush(true);
    // A torn tail after a power cut is the normal case: everything acknowledged
    // stands before it.
    database.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    database.set_max_background_jobs(2);
    database.set_bytes_per_sync(1 << 20);
    let files = OpenFiles::of_this_process().database();
    database.set_max_open_files(i32::try_from(files).unwrap_or(i32::MAX));
    database.set_keep_log_file_num(3);
    database.set_max_log_file_size(4 << 20);
    database.set_log_level(LogLevel::Warn);
    database.set_stats_dump_period_sec(0);
    database.set_skip_stats_update_on_db_open(true);
    database
}

fn family_options(family: Family, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // In pieces, of which a look-up reads one of each: that of a whole file would have megabytes.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_pin_top_level_index_and_filter(true);
    blocks.set_format_version(6);
    let mut options = Options::default();
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_write_buffer_size(8 << 20);
    // What is sorted at once must find room beside what it replaces (`Database::put_off_sorting`).
    options.set_max_compaction_bytes(256 << 20);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    match family {
        Family::Events => {
            // Of a room's page each event lies in another block, among those of other rooms.
            blocks.set_block_size(4 << 10);
            blocks.set_bloom_filter(10.0, false);
            options.set_write_buffer_size(16 << 20);
            // Events are alike. What they share stands once in each file, so that blocks can be small: a
            // fifth less on disk than blocks of eight times the size without.
            options.set_bottommost_compression_options(WINDOW, DEFAULT_LEVEL, 0, DICTIONARY, true);
            options.set_bottommost_zstd_max_train_bytes(100 * DICTIONARY, true);
            // So much is held in memory until the dictionary of a file is made.
            options.set_target_file_size_base(16 << 20);
        }
        Family::Index | Family::State => {
            blocks.set_block_size(8 << 10);
            blocks.set_bloom_filter(10.0, false);
        }
        Family::Scan => {
            blocks.set_block_size(16 << 10);
            blocks.set_bloom_filter(10.0, false);
        }
        Family::Files => {
            blocks.set_block_size(8 << 10);
            blocks.set_bloom_filter(10.0, false);
            // Long values stand in files of their own: sorting keys moves none of them.
            // What people upload is compressed or encrypted already.
            options.set_enable_blob_files(true);
            options.set_min_blob_size(512);
            options.set_blob_file_size(32 << 20);
            options.set_blob_compression_type(DBCompressionType::None);
            // Sorting keys must not copy bytes either: what deleted files leave behind is
            // given back when it is much (`Store::give_back`).
            options.set_enable_blob_gc(true);
            options.set_blob_gc_age_cutoff(0.0);
        }
        Family::Changes | Family::Queue => blocks.set_block_size(16 << 10),
    }
    options.set_block_based_table_factory(&blocks);
    options
}
