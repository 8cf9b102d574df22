//! What one commit writes, all or nothing.

use std::sync::Arc;

use crate::{Key, Prefix, Scope, Table, Value, database::Database, table::after_prefix};

/// The rows of one commit, gathered. Nothing is written before the closure that
/// fills it has returned `Ok`.
pub struct Batch {
    database: Arc<Database>,
    pub(crate) rows: rocksdb::WriteBatch,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) broken: Option<crate::StoreError>,
}

impl Batch {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self {
            database,
            rows: rocksdb::WriteBatch::default(),
            scopes: Vec::new(),
            entries: Vec::new(),
            broken: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.entries.is_empty()
    }

    /// Writes `value` under `key`, in place of what stood there.
    pub fn put<K: Key, V: Value>(&mut self, table: &Table<K, V>, key: &K, value: &V) {
        if let Err(error) = self.database.put(&mut self.rows, table, key, value) {
            self.broken = Some(error);
        }
    }

    /// Removes the row under `key`, if there is one.
    pub fn delete<K: Key, V: Value>(&mut self, table: &Table<K, V>, key: &K) {
        match self.database.family(table.family) {
            Ok(family) => self.rows.delete_cf(family, table.key(key)),
            Err(error) => self.broken = Some(error),
        }
    }

    /// Removes all rows under `prefix`.
    pub fn delete_prefix<K: Key, V: Value, P: Prefix<K>>(
        &mut self,
        table: &Table<K, V>,
        prefix: &P,
    ) {
        let from = table.prefix(prefix);
        let to = after_prefix(&from).unwrap_or_else(|| vec![u8::MAX; 16]);
        match self.database.family(table.family) {
            Ok(family) => self.rows.delete_range_cf(family, from, to),
            Err(error) => self.broken = Some(error),
        }
    }

    /// Wakes those who wait for `scope`, once the commit is published.
    pub fn wake(&mut self, scope: Scope) {
        if !self.scopes.contains(&scope) {
            self.scopes.push(scope);
        }
    }

    /// Wakes those who wait for any of many `scopes`, each of which is given once.
    pub fn wake_all(&mut self, scopes: impl IntoIterator<Item = Scope>) {
        self.scopes.extend(scopes);
    }

    /// Appends an entry to the log at this commit's position.
    pub fn log(&mut self, entry: Vec<u8>) {
        self.wake(crate::log::LOG);
        self.entries.push(entry);
    }
}
