//! Reading: from the published snapshot (what a power cut cannot take back) or,
//! for writers, from what was last written.

use std::{marker::PhantomData, sync::Arc};

use rocksdb::{ColumnFamily, DB, DBPinnableSlice, DBRawIterator, ReadOptions};

use crate::{
    Family, Key, Position, Prefix, StoreError, Table, Value, database::Database,
    table::after_prefix,
};

/// RocksDB's own snapshot, as it borrows the database.
type Frozen<'a> = rocksdb::Snapshot<'a>;

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
}

impl Snapshot {
    pub(crate) fn take(database: Arc<Database>, position: Position) -> Self {
        let pinned = Pinned::new(database, |database| database.db.snapshot());
        Self {
            pinned: Arc::new(pinned),
            position,
        }
    }

    /// The last commit that this snapshot holds.
    pub fn position(&self) -> Position {
        self.position
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
pub enum Source<'a> {
    /// The live database.
    Latest(&'a DB),
    /// A snapshot of it.
    Snapshot(&'a DB, &'a rocksdb::Snapshot<'a>),
}

impl<'a> Source<'a> {
    fn family(&self, family: Family) -> Result<&'a ColumnFamily, StoreError> {
        let (Source::Latest(db) | Source::Snapshot(db, _)) = self;
        db.cf_handle(family.name())
            .ok_or_else(|| StoreError::Database(format!("no column family {}", family.name())))
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<DBPinnableSlice<'a>>, StoreError> {
        let handle = self.family(family)?;
        Ok(match self {
            Source::Latest(db) => db.get_pinned_cf(handle, key)?,
            Source::Snapshot(_, snapshot) => snapshot.get_pinned_cf(handle, key)?,
        })
    }

    fn get_many(
        &self,
        family: Family,
        keys: Vec<Vec<u8>>,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let handle = self.family(family)?;
        let keys = keys.into_iter().map(|key| (handle, key));
        let found = match self {
            Source::Latest(db) => db.multi_get_cf(keys),
            Source::Snapshot(_, snapshot) => snapshot.multi_get_cf(keys),
        };
        found
            .into_iter()
            .map(|row| row.map_err(StoreError::from))
            .collect()
    }

    fn iterator(
        &self,
        family: Family,
        lower: &[u8],
        upper: Option<Vec<u8>>,
    ) -> Result<DBRawIterator<'a>, StoreError> {
        let handle = self.family(family)?;
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(lower);
        if let Some(upper) = upper {
            options.set_iterate_upper_bound(upper);
        }
        Ok(match self {
            Source::Latest(db) => db.raw_iterator_cf_opt(handle, options),
            Source::Snapshot(_, snapshot) => snapshot.raw_iterator_cf_opt(handle, options),
        })
    }
}

/// Typed reads; [`Snapshot`] and [`Latest`] offer the same ones.
pub trait Read {
    /// Where the reads of this view go.
    #[doc(hidden)]
    fn source(&self) -> Source<'_>;

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
        let keys = keys.iter().map(|key| table.key(key)).collect();
        let found = self.source().get_many(table.family, keys)?;
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
        Source::Snapshot(
            &self.pinned.borrow_owner().db,
            self.pinned.borrow_dependent(),
        )
    }
}

impl Read for Latest {
    fn source(&self) -> Source<'_> {
        Source::Latest(&self.database.db)
    }
}

fn decode_value<K, V: Value>(table: &Table<K, V>, bytes: &[u8]) -> Result<V, StoreError> {
    V::decode(bytes).map_err(|reason| StoreError::Corrupt {
        table: table.name,
        reason,
    })
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
            iterator.status()?;
            return Ok(None);
        };
        let corrupt = |reason| StoreError::Corrupt {
            table: self.table,
            reason,
        };
        let mut rest = key.get(2..).unwrap_or_default();
        let key = K::decode(&mut rest).map_err(corrupt)?;
        Ok(Some((key, V::decode(value).map_err(corrupt)?)))
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
