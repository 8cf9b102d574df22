//! Which bytes are just being stored, so that nobody removes them meanwhile.
//!
//! Bytes are in their place before the row that needs them is committed. Whoever
//! removes bytes looks for such rows, and must not do so in between: an upload
//! announces its hash before it looks whether the bytes are there, and takes that back
//! once its row is committed or refused. While anybody has announced a hash, its bytes
//! stay.

use std::{collections::HashMap, sync::Arc};

use model::{ContentHash, tables::MEDIA_BY_CONTENT};
use parking_lot::Mutex;
use store::{Latest, Read as _, StoreError};

use crate::{StorageError, folder::Folder};

/// How many uploads are storing the bytes of each hash. Clones share the count.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashMap<ContentHash, usize>>>);

/// An announcement; taken back when dropped.
pub(crate) struct Announced {
    in_flight: InFlight,
    hash: ContentHash,
}

impl InFlight {
    /// Keeps the bytes of `hash` where they are.
    pub(crate) fn announce(&self, hash: ContentHash) -> Announced {
        *self.0.lock().entry(hash).or_default() += 1;
        Announced {
            in_flight: self.clone(),
            hash,
        }
    }

    /// Removes the bytes of `hash` if no file and no upload needs them. Returns
    /// whether they are not needed.
    pub(crate) fn remove_unneeded(
        &self,
        folder: &Folder,
        latest: &Latest,
        hash: &ContentHash,
    ) -> Result<bool, StorageError> {
        // Held until the bytes are gone: an upload that announces them now must find
        // them missing.
        let held = self.0.lock();
        if held.contains_key(hash) || is_needed(latest, hash)? {
            return Ok(false);
        }
        folder.remove_content(hash)?;
        drop(held);
        Ok(true)
    }
}

/// Whether a file has these bytes.
pub(crate) fn is_needed(latest: &Latest, hash: &ContentHash) -> Result<bool, StoreError> {
    let first = latest.scan(&MEDIA_BY_CONTENT, &(*hash,)).next();
    Ok(first.transpose()?.is_some())
}

impl Drop for Announced {
    fn drop(&mut self) {
        let mut held = self.in_flight.0.lock();
        if let Some(count) = held.get_mut(&self.hash) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.hash);
            }
        }
    }
}
