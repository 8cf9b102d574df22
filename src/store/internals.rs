//! What is measured about the database.

use std::time::Instant;

use prometheus::{Histogram, IntCounter};
use rocksdb::properties::{
    ACTUAL_DELAYED_WRITE_RATE, BACKGROUND_ERRORS, BLOCK_CACHE_USAGE, CUR_SIZE_ALL_MEM_TABLES,
    ESTIMATE_NUM_KEYS, ESTIMATE_PENDING_COMPACTION_BYTES, IS_WRITE_STOPPED, LIVE_SST_FILES_SIZE,
    NUM_RUNNING_COMPACTIONS, NUM_RUNNING_FLUSHES, NUM_SNAPSHOTS, PropName, num_files_at_level,
};
use runtime::Metrics;

use crate::{
    Family, Position, Read as _, Store, StoreError,
    log::{CURSOR_BY_CONSUMER, LOG_BY_POSITION},
    store::run,
};

/// Upper bounds of a commit's duration, in seconds.
const SECONDS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// Upper bounds of how many commits one sync makes durable.
const COMMITS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 512.0];
/// Free bytes with which a database opens whose last write found none.
const ROOM_TO_OPEN: u64 = 64 << 20;
/// Unread records of the log are counted up to here.
const MOST_UNREAD: usize = 10_000;

/// What the writer and the syncer count.
pub(crate) struct Measures {
    pub(crate) commits: IntCounter,
    /// From a commit's being written to its being on disk.
    pub(crate) commit_seconds: Histogram,
    pub(crate) sync_seconds: Histogram,
    pub(crate) commits_per_sync: Histogram,
}

impl Measures {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            commits: metrics.counter("cairn_commits_total", "Commits that were written."),
            commit_seconds: metrics.histogram(
                "cairn_commit_seconds",
                "Time from a commit's being written to its being on disk, for those that are waited for.",
                &SECONDS,
            ),
            sync_seconds: metrics.histogram(
                "cairn_sync_seconds",
                "Time that the disk took to make commits durable.",
                &SECONDS,
            ),
            commits_per_sync: metrics.histogram(
                "cairn_commits_per_sync",
                "Commits that one sync of the disk made durable together.",
                &COMMITS,
            ),
        }
    }
}

impl Measures {
    /// A sync that began then made so many commits durable.
    pub(crate) fn synced(&self, begun: Instant, commits: u64) {
        self.sync_seconds.observe(begun.elapsed().as_secs_f64());
        if commits > 0 {
            // Exact up to 2^53.
            self.commits_per_sync.observe(commits as f64);
        }
    }

    /// A commit that was written then is on disk.
    pub(crate) fn durable(&self, since: Instant) {
        self.commit_seconds.observe(since.elapsed().as_secs_f64());
    }
}

/// How the database is at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Internals {
    /// The last published commit.
    pub position: Position,
    /// Each reader of the log, and how many records it has not read: at most 10,000.
    pub unread: Vec<(String, u64)>,
    /// How many subscriptions wait for changes.
    pub watches: u64,
    /// Numbers of the whole database, by their names.
    pub whole: Vec<(&'static str, u64)>,
    /// Numbers of each column family: its name, theirs, the number.
    pub families: Vec<(&'static str, &'static str, u64)>,
}

/// Numbers of the whole database.
const WHOLE: [(&str, &PropName); 7] = [
    ("background_errors", BACKGROUND_ERRORS),
    ("delayed_write_bytes_per_second", ACTUAL_DELAYED_WRITE_RATE),
    ("running_compactions", NUM_RUNNING_COMPACTIONS),
    ("running_flushes", NUM_RUNNING_FLUSHES),
    ("snapshots", NUM_SNAPSHOTS),
    ("write_stopped", IS_WRITE_STOPPED),
    ("cache_bytes", BLOCK_CACHE_USAGE),
];
/// Numbers of each column family.
const OF_FAMILIES: [(&str, &PropName); 4] = [
    ("sorted_file_bytes", LIVE_SST_FILES_SIZE),
    ("memory_bytes", CUR_SIZE_ALL_MEM_TABLES),
    (
        "pending_compaction_bytes",
        ESTIMATE_PENDING_COMPACTION_BYTES,
    ),
    ("estimated_rows", ESTIMATE_NUM_KEYS),
];

impl Store {
    /// How many rooms, users and devices are waited for, each as often as somebody does.
    pub fn watches(&self) -> u64 {
        self.shared().watchers.count()
    }

    /// How the database is now.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn internals(&self) -> Result<Internals, StoreError> {
        let database = self.latest().database;
        let view = self.snapshot();
        let watches = self.shared().watchers.count();
        run(self.long_lane(), move || {
            let mut found = Internals {
                position: view.position(),
                watches,
                ..Internals::default()
            };
            for row in view.scan(&CURSOR_BY_CONSUMER, &()) {
                let (name, cursor) = row?;
                let next = Position(cursor.0.saturating_add(1));
                let unread = view.scan_from(&LOG_BY_POSITION, &(), &next);
                let unread = unread.take(MOST_UNREAD).count() as u64;
                found.unread.push((name, unread));
            }
            for (name, property) in WHOLE {
                let handle = database.family(Family::Index)?;
                let value = database.db.property_int_value_cf(handle, property)?;
                found.whole.push((name, value.unwrap_or(0)));
            }
            for family in Family::ALL {
                let handle = database.family(family)?;
                for (name, property) in OF_FAMILIES {
                    let value = database.db.property_int_value_cf(handle, property)?;
                    found
                        .families
                        .push((family.name(), name, value.unwrap_or(0)));
                }
                let level0 = database
                    .db
                    .property_int_value_cf(handle, num_files_at_level(0))?;
                let level0 = (family.name(), "level0_files", level0.unwrap_or(0));
                found.families.push(level0);
            }
            Ok(found)
        })
        .await
    }

    /// Whether nothing is written any more because the disk was full, and now it is not: a
    /// restart is all that is missing.
    pub fn needs_restart(&self) -> bool {
        let full = |reason: String| reason.contains("No space left on device");
        let space = self.space();
        // Enough for the rows in memory, whatever the operator keeps free.
        let enough = space.reserved.max(ROOM_TO_OPEN);
        self.failure().is_some_and(full) && !space.is_short && space.free >= enough
    }

    /// Which file of the database was found damaged first, in RocksDB's words; none as long as
    /// all that was read was whole.
    pub fn damage(&self) -> Option<String> {
        self.shared().database.damage.seen()
    }

    /// Why nothing is written any more; none as long as all is well.
    pub fn failure(&self) -> Option<String> {
        self.shared().stopped()
    }
}
