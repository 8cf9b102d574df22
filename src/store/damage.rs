//! Damaged files of the database, remembered for whoever looks after it.

use std::sync::OnceLock;

use crate::StoreError;

/// The first damage that was met.
#[derive(Default)]
pub(crate) struct Damage(OnceLock<String>);

impl Damage {
    /// RocksDB's error as the store's own; damage is remembered.
    pub(crate) fn noted(&self, error: rocksdb::Error) -> StoreError {
        let error = StoreError::from(error);
        if let StoreError::Damaged(reason) = &error {
            self.note(reason);
        }
        error
    }

    /// Remembers words of RocksDB's that tell of damage.
    pub(crate) fn note(&self, reason: &str) {
        if reason.starts_with("Corruption") && self.0.set(reason.to_owned()).is_ok() {
            log::error!("the database is damaged: {reason}");
        }
    }

    /// What was met first.
    pub(crate) fn seen(&self) -> Option<String> {
        self.0.get().cloned()
    }
}
