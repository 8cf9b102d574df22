//! What is kept of pages.

use std::time::Duration;

use model::{
    PreviewRecord,
    tables::{PREVIEW_BY_AGE, PREVIEW_BY_URL},
};
use store::{Read as _, StoreError};

use crate::{Inner, UrlHash};

/// How long it is remembered that a page could not be fetched.
const FAILURE_LIFETIME: Duration = Duration::from_secs(120);
/// How long an old preview is kept for those who ask for then.
const HISTORY: Duration = Duration::from_secs(24 * 3_600);
/// How many old previews are removed at once.
const REMOVED: usize = 1_000;
/// How many previews are removed for a new one, at least where they are old.
const REMOVED_FOR_ONE: usize = 4;

impl Inner {
    /// What is known of a page that is good for `at`, or now.
    pub(crate) async fn known(
        &self,
        hash: UrlHash,
        at: Option<u64>,
    ) -> Result<Option<PreviewRecord>, StoreError> {
        let now = self.clock.now().0;
        self.store
            .read(move |view| {
                let record = view.get(&PREVIEW_BY_URL, &hash)?;
                Ok(record.filter(|record| {
                    let held = record.fetched_at..record.expires_at;
                    held.contains(&now) || at.is_some_and(|at| held.contains(&at))
                }))
            })
            .await
    }

    /// Keeps what came of fetching a page; nothing for a failure.
    pub(crate) async fn keep(
        &self,
        hash: UrlHash,
        answer: Option<Vec<u8>>,
    ) -> Result<PreviewRecord, StoreError> {
        let now = self.clock.now();
        let lifetime = match answer {
            Some(_) => Duration::from_secs(self.options.lifetime),
            None => FAILURE_LIFETIME.min(Duration::from_secs(self.options.lifetime)),
        };
        let record = PreviewRecord {
            fetched_at: now.0,
            expires_at: now.plus(lifetime).0,
            answer,
        };
        let (kept, before) = (record.clone(), now.minus(HISTORY).0);
        // Waited for, so that those who wait for the same page read it.
        self.store
            .commit(move |latest, _, batch| {
                if let Some(earlier) = latest.get(&PREVIEW_BY_URL, &hash)? {
                    batch.delete(&PREVIEW_BY_AGE, &(earlier.expires_at, hash));
                }
                for row in latest.scan(&PREVIEW_BY_AGE, &()).take(REMOVED_FOR_ONE) {
                    let (key, ()) = row?;
                    if key.0 < before && key.1 != hash {
                        batch.delete(&PREVIEW_BY_AGE, &key);
                        batch.delete(&PREVIEW_BY_URL, &key.1);
                    }
                }
                batch.put(&PREVIEW_BY_URL, &hash, &kept);
                batch.put(&PREVIEW_BY_AGE, &(kept.expires_at, hash), &());
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(record)
    }

    /// Removes previews that ended long ago.
    pub(crate) async fn forget_old(&self) -> Result<(), StoreError> {
        let before = self.clock.now().minus(HISTORY).0;
        self.store
            .commit_later(move |latest, _, batch| {
                for row in latest.scan(&PREVIEW_BY_AGE, &()).take(REMOVED) {
                    let (key, ()) = row?;
                    if key.0 >= before {
                        break;
                    }
                    batch.delete(&PREVIEW_BY_AGE, &key);
                    batch.delete(&PREVIEW_BY_URL, &key.1);
                }
                Ok(())
            })
            .await
    }
}
