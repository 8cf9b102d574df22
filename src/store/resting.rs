//! Memory that was of use once is given back, little by little.

use rocksdb::properties::CUR_SIZE_ALL_MEM_TABLES;

use crate::{Family, Position, Store, StoreError, database::Database, store::run};

/// Rows in memory of fewer bytes stay there, however long nothing is written.
pub(crate) const WORTH_WHILE: u64 = 4 << 20;
/// So few commits in a minute are made by the server's own housekeeping.
pub(crate) const FEW: u64 = 30;

impl Store {
    /// Forgets the half of the kept blocks that nobody has read for the longest time; and
    /// writes the rows in memory into sorted files if they are many and next to nothing was written
    /// since `before`. To be called each minute, with what it returned the last time.
    ///
    /// Blocks that are read again come from the system's cache, so this costs a busy server next
    /// to nothing, and one that rests has its memory back within minutes.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn rest(&self, before: Option<Position>) -> Result<Position, StoreError> {
        let (database, now) = (self.latest().database, self.snapshot().position());
        let is_quiet = before.is_some_and(|before| now.0.saturating_sub(before.0) <= FEW);
        run(self.long_lane(), move || {
            database.forget_blocks();
            if is_quiet && database.rows_in_memory()? >= WORTH_WHILE {
                for family in Family::ALL {
                    database.db.flush_cf(database.family(family)?)?;
                }
            }
            Ok(now)
        })
        .await
    }
}

impl Database {
    /// Forgets half of the kept blocks, the least recently read ones.
    fn forget_blocks(&self) {
        let mut cache = self.cache.clone();
        let kept = cache.get_usage();
        cache.set_capacity(kept / 2);
        cache.set_capacity(self.cache_bytes);
    }

    /// The bytes of rows that are in no sorted file yet.
    pub(crate) fn rows_in_memory(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for family in Family::ALL {
            let handle = self.family(family)?;
            let of_family = self
                .db
                .property_int_value_cf(handle, CUR_SIZE_ALL_MEM_TABLES)?;
            bytes += of_family.unwrap_or(0);
        }
        Ok(bytes)
    }
}
