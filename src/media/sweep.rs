//! Removing bytes that no row names: what a kill left between the two.

use std::time::Duration;

use model::tables::THUMBNAIL_BY_CONTENT;
use runtime::Stop;
use store::Read as _;
use tokio::time::sleep;

use crate::{Media, StorageError};

/// The rest between two of the 256 steps.
const REST: Duration = Duration::from_millis(20);

impl Media {
    /// Goes once through all files on disk and removes those that nobody needs. To be
    /// run after a start, as a task: it takes its time.
    pub async fn sweep(&self, stop: Stop) {
        for first in 0..=u8::MAX {
            match self.sweep_some(first).await {
                Ok(0) => {}
                Ok(removed) => log::info!("{removed} media files that nobody needs were removed"),
                Err(error) => {
                    log::warn!("unneeded media files were not removed: {error}");
                    return;
                }
            }
            tokio::select! {
                () = stop.stopped() => return,
                () = sleep(REST) => {}
            }
        }
    }

    /// Looks at the files whose hashes begin with `first`; returns how many it removed.
    pub(crate) async fn sweep_some(&self, first: u8) -> Result<usize, StorageError> {
        let (folder, in_flight) = (self.inner.folder.clone(), self.inner.in_flight.clone());
        let latest = self.store().latest();
        let sweep = move || {
            let mut removed = 0;
            for hash in folder.contents(first)? {
                let is_removed = in_flight.remove_unneeded(&folder, &latest, &hash)?;
                removed += usize::from(is_removed);
            }
            for (hash, key) in folder.thumbnails(first)? {
                // One that is just being made is made again when asked for.
                if !latest.contains(&THUMBNAIL_BY_CONTENT, &(hash, key.clone()))? {
                    folder.remove_thumbnail(&hash, &key)?;
                    removed += 1;
                }
            }
            Ok::<_, StorageError>(removed)
        };
        self.inner.writers.run(sweep).await?
    }
}
