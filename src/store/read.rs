//! Reading: from the published snapshot (what a power cut cannot take back) or,
//! for writers, from what was last written.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rocksdb::{DBPinnableSlice, DBRawIterator, ErrorKind, ReadOptions, ReadTier};

use crate::{
    Family, Key, Position, Prefix, StoreError, Table, Value, damage::Damage, database::Database,
    table::after_prefix,
};

/// RocksDB's own snapshot, as it borrows the database, with the options of reads from it:
/// making them anew for each read costs a part of it.
struct Frozen<'a> {
    options: ReadOptions,
    /// Those of reads that must not go to the disk.
    quick: ReadOptions,
    snapshot: rocksdb::Snapshot<'a>,
}

self_cell::self_cell!(
    /// A RocksDB snapshot together with the database it must not outlive.
    struct Pinned {
        owner: Arc<Database>,
        #[covariant]
        dependent: Frozen,
    }
);

/// The server's state at one position, all of it on disk. Cheap to clone; holding
/// one keeps old rows from being compacted away, so let it go soon.
#[derive(Clone)]
pub struct Snapshot {
    pinned: Arc<Pinned>,
    position: Position,
    /// Only what is in memory is read; set when something was not.
    missed: Option<Arc<AtomicBool>>,
}

impl Snapshot {
    pub(crate) fn take(database: Arc<Database>, position: Position) -> Self {
        let pinned = Pinned::new(database, |database| {
            let snapshot = database.db.snapshot();
            let (mut options, mut quick) = (ReadOptions::default(), ReadOptions::default());
            options.set_snapshot(&snapshot);
            quick.set_snapshot(&snapshot);
            quick.set_read_tier(ReadTier::BlockCache);
            Frozen {
                options,
                quick,
                snapshot,
            }
        });
        Self {
            pinned: Arc::new(pinned),
            position,
            missed: None,
        }
    }

    /// The last commit that this snapshot holds.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The same snapshot, whose reads fail where they would have to wait for the disk.
    pub(crate) fn in_memory(&self) -> Self {
        Self {
            missed: Some(Arc::default()),
            ..self.clone()
        }
    }

    /// Whether a read has failed because it would have had to wait for the disk.
    pub(crate) fn has_missed(&self) -> bool {
        let missed = self.missed.as_ref();
        missed.is_some_and(|missed| missed.load(Ordering::Relaxed))
    }
}

/// What was last written, synced or not. Only writers may look: what they read
/// here may be gone after a power cut, together with what they write on it.
#[derive(Clone)]
pub struct Latest {
    pub(crate) database: Arc<Database>,
}

/// Where a read goes.
#[doc(hidden)]
pub struct Source<'a> {
    database: &'a Database,
    options: &'a ReadOptions,
    /// None for what was last written.
    snapshot: Option<&'a rocksdb::Snapshot<'a>>,
    failures: Failures<'a>,
}

/// Where failed reads are noted.
#[derive(Clone, Copy)]
struct Failures<'a> {
    damage: &'a Damage,
    /// That something was not in memory, if nothing else may be read.
    missed: Option<&'a AtomicBool>,
}

impl Failures<'_> {
    /// What a failed read says; notes damage, and where the disk was not to be waited for.
    fn note(self, error: rocksdb::Error) -> StoreError {
        if let Some(missed) = self.missed
            && error.kind() == ErrorKind::Incomplete
        {
            missed.store(true, Ordering::Relaxed);
        }
        self.damage.noted(error)
    }
}

impl<'a> Source<'a> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<DBPinnableSlice<'a>>, StoreError> {
        let handle = self.database.family(family)?;
        let found = self
            .database
            .db
            .get_pinned_cf_opt(handle, key, self.options);
        found.map_err(|error| self.failures.note(error))
    }

    fn get_many(
        &self,
        family: Family,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<DBPinnableSlice<'a>>>, StoreError> {
        let handle = self.database.family(family)?;
        let found = self
            .database
            .db
            .batched_multi_get_cf_opt(handle, keys, false, self.options);
        let found = found.into_iter();
        found
            .map(|row| row.map_err(|error| self.failures.note(error)))
            .collect()
    }

    fn iterator(
        &self,
        family: Family,
        lower: &[u8],
        upper: Option<Vec<u8>>,
    ) -> Result<DBRawIterator<'a>, StoreError> {
        let handle = self.database.family(family)?;
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(lower);
        if let Some(upper) = upper {
            options.set_iterate_upper_bound(upper);
        }
        if self.failures.missed.is_some() {
            options.set_read_tier(ReadTier::BlockCache);
        }
        Ok(match self.snapshot {
            None => self.database.db.raw_iterator_cf_opt(handle, options),
            Some(snapshot) => snapshot.raw_iterator_cf_opt(handle, options),
        })
    }
}

/// Typed reads; [`Snapshot`] and [`Latest`] offer the same ones.
pub trait Read {
    /// Where the reads of this view go.
    #[doc(hidden)]
    fn source(&self) -> Source<'_>;

    /// The last commit that this view holds, where that is certain: of a snapshot.
    fn published(&self) -> Option<Position> {
        None
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// If the database fails or the row is damaged.
    fn get<K: Key, V: Value>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, StoreError> {
        self.source()
            .get(table.family, &table.key(key))?
            .map(|bytes| decode_value(table, &bytes))
            .transpose()
    }

    /// Whether there is a row under `key`.
    ///
    /// # Errors
    /// If the database fails.
    fn contains<K: Key, V: Value>(&self, table: &Table<K, V>, key: &K) -> Result<bool, StoreError> {
        Ok(self.source().get(table.family, &table.key(key))?.is_some())
    }

    /// The values under `keys`, in the order of the keys: cheaper than one by one.
    ///
    /// # Errors
    /// If the database fails or a row is damaged.
    fn get_many<K: Key, V: Value>(
        &self,
        table: &Table<K, V>,
        keys: &[K],
    ) -> Result<Vec<Option<V>>, StoreError> {
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| table.key(key)).collect();
        let found = self.source().get_many(table.family, &keys)?;
        found
            .into_iter()
            .map(|row| row.map(|bytes| decode_value(table, &bytes)).transpose())
            .collect()
    }

    /// All rows under `prefix`, ascending.
    fn scan<K: Key, V: Value, P: Prefix<K>>(
        &self,
        table: &Table<K, V>,
        prefix: &P,
    ) -> Scan<'_, K, V> {
        let lower = table.prefix(prefix);
        Scan::new(self.source(), table, lower.clone(), &lower, Direction::Up)
    }

    /// For many short walks through one table: much of what a scan costs is its
    /// beginning.
    fn walker<'v, K: Key, V: Value>(&'v self, table: &'v Table<K, V>) -> Walker<'v, K, V> {
        let lower = table.prefix(&());
        let upper = after_prefix(&lower);
        let source = self.source();
        Walker {
            iterator: source.iterator(table.family, &lower, upper),
            table,
            failures: source.failures,
        }
    }

    /// The rows under `prefix` from `from` on, ascending, `from` included.
    fn scan_from<K: Key, V: Value, P: Prefix<K>>(
        &self,
        table: &Table<K, V>,
        prefix: &P,
        from: &K,
    ) -> Scan<'_, K, V> {
        let lower = table.prefix(prefix);
        Scan::new(self.source(), table, lower, &table.key(from), Direction::Up)
    }

    /// How many rows there are under `prefix`: cheaper than reading them.
    ///
    /// # Errors
    /// If the database fails.
    fn count<K: Key, V: Value, P: Prefix<K>>(
        &self,
        table: &Table<K, V>,
        prefix: &P,
    ) -> Result<usize, StoreError> {
        let lower = table.prefix(prefix);
        let source = self.source();
        let mut iterator = source.iterator(table.family, &lower, after_prefix(&lower))?;
        iterator.seek(&lower);
        let mut rows = 0;
        while iterator.valid() {
            rows += 1;
            iterator.next();
        }
        let status = iterator.status();
        status.map_err(|error| source.failures.note(error))?;
        Ok(rows)
    }

    /// The rows under `prefix` just below `before` (or from the end), descending.
    fn scan_back<K: Key, V: Value, P: Prefix<K>>(
        &self,
        table: &Table<K, V>,
        prefix: &P,
        before: Option<&K>,
    ) -> Scan<'_, K, V> {
        let lower = table.prefix(prefix);
        let start = before.map(|key| table.key(key)).unwrap_or_default();
        Scan::new(self.source(), table, lower, &start, Direction::Down)
    }
}

impl Read for Snapshot {
    fn source(&self) -> Source<'_> {
        let frozen = self.pinned.borrow_dependent();
        let database = self.pinned.borrow_owner();
        Source {
            database,
            options: match self.missed {
                Some(_) => &frozen.quick,
                None => &frozen.options,
            },
            snapshot: Some(&frozen.snapshot),
            failures: Failures {
                damage: &database.damage,
                missed: self.missed.as_deref(),
            },
        }
    }

    fn published(&self) -> Option<Position> {
        Some(self.position)
    }
}

impl Read for Latest {
    fn source(&self) -> Source<'_> {
        Source {
            database: &self.database,
            options: &self.database.reading,
            snapshot: None,
            failures: Failures {
                damage: &self.database.damage,
                missed: None,
            },
        }
    }
}

fn decode_value<K, V: Value>(table: &Table<K, V>, bytes: &[u8]) -> Result<V, StoreError> {
    V::decode(bytes).map_err(|reason| StoreError::Corrupt {
        table: table.name,
        reason,
    })
}

/// Goes to one place of a table after the other. Not for tables from which much is
/// deleted: behind the last row of a place it looks at what comes next, be it gone.
pub struct Walker<'v, K, V> {
    iterator: Result<DBRawIterator<'v>, StoreError>,
    table: &'v Table<K, V>,
    failures: Failures<'v>,
}

impl<K: Key, V: Value> Walker<'_, K, V> {
    /// All rows under `prefix`, ascending.
    ///
    /// # Errors
    /// If the database fails or a row is damaged.
    pub fn under<P: Prefix<K>>(&mut self, prefix: &P) -> Result<Vec<(K, V)>, StoreError> {
        let iterator = match &mut self.iterator {
            Ok(iterator) => iterator,
            Err(error) => return Err(error.clone()),
        };
        let prefix = self.table.prefix(prefix);
        let mut rows = Vec::new();
        iterator.seek(&prefix);
        while let (Some(key), Some(value)) = (iterator.key(), iterator.value())
            && key.starts_with(&prefix)
        {
            rows.push(decode_row(self.table.name, key, value)?);
            iterator.next();
        }
        let status = iterator.status();
        status.map_err(|error| self.failures.note(error))?;
        Ok(rows)
    }
}

fn decode_row<K: Key, V: Value>(
    table: &'static str,
    key: &[u8],
    value: &[u8],
) -> Result<(K, V), StoreError> {
    let corrupt = |reason| StoreError::Corrupt { table, reason };
    let mut rest = key.get(2..).unwrap_or_default();
    let key = K::decode(&mut rest).map_err(corrupt)?;
    Ok((key, V::decode(value).map_err(corrupt)?))
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Up,
    Down,
}

/// Rows in order. Ends at the first error.
pub struct Scan<'a, K, V> {
    iterator: Result<DBRawIterator<'a>, StoreError>,
    table: &'static str,
    direction: Direction,
    started: bool,
    ended: bool,
    failures: Failures<'a>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<'a, K: Key, V: Value> Scan<'a, K, V> {
    fn new(
        source: Source<'a>,
        table: &Table<K, V>,
        lower: Vec<u8>,
        start: &[u8],
        direction: Direction,
    ) -> Self {
        // Descending rows are strictly below `start`, which RocksDB's upper bound
        // says by itself: it is exclusive.
        let (upper, from) = match direction {
            Direction::Down if !start.is_empty() => (Some(start.to_vec()), None),
            Direction::Down => (after_prefix(&lower), None),
            Direction::Up => (after_prefix(&lower), Some(start)),
        };
        let mut iterator = source.iterator(table.family, &lower, upper);
        if let Ok(iterator) = &mut iterator {
            match from {
                Some(start) => iterator.seek(start),
                None => iterator.seek_to_last(),
            }
        }
        Self {
            iterator,
            table: table.name,
            direction,
            started: false,
            ended: false,
            failures: source.failures,
            types: PhantomData,
        }
    }

    fn step(&mut self) -> Result<Option<(K, V)>, StoreError> {
        let iterator = match &mut self.iterator {
            Ok(iterator) => iterator,
            Err(error) => return Err(error.clone()),
        };
        if self.started {
            match self.direction {
                Direction::Up => iterator.next(),
                Direction::Down => iterator.prev(),
            }
        }
        self.started = true;
        let (Some(key), Some(value)) = (iterator.key(), iterator.value()) else {
            let status = iterator.status();
            status.map_err(|error| self.failures.note(error))?;
            return Ok(None);
        };
        decode_row(self.table, key, value).map(Some)
    }
}

impl<K: Key, V: Value> Iterator for Scan<'_, K, V> {
    type Item = Result<(K, V), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step().transpose();
        self.ended = !matches!(step, Some(Ok(_)));
        step
    }
}
