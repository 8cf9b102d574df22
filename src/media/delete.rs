//! Deleting files.

use model::{
    ContentHash, MediaRecord, MediaState, ThumbnailRecord,
    tables::{
        MEDIA_BY_CONTENT, MEDIA_BY_ID, MEDIA_BY_ROOM, MEDIA_BY_USER, MEDIA_USAGE_BY_USER,
        PENDING_MEDIA_BY_USER, PROTECTED_MEDIA, SMALL_FILE_BY_CONTENT, THUMBNAIL_BY_CONTENT,
    },
};
use store::{Batch, Latest, Read as _, Snapshot, StoreError};

use crate::{Media, NOBODY, StorageError, thumbnails};

impl Media {
    /// Deletes a file of this server: whoever asks for its media id finds nothing, and
    /// its bytes are gone unless another file has the same. Returns whether there was
    /// such a file.
    ///
    /// # Errors
    /// [`StorageError`]. If the media id is gone and its bytes could not be removed,
    /// [`Media::sweep`] removes them after the next start.
    pub async fn delete(&self, media_id: &str) -> Result<bool, StorageError> {
        let media_id = media_id.to_owned();
        let deleted = self
            .store()
            .commit_from_reserve(move |latest, _, batch| {
                let Some(record) = latest.get(&MEDIA_BY_ID, &media_id)? else {
                    return Ok::<_, StoreError>(None);
                };
                delete_rows(latest, batch, &media_id, &record)?;
                Ok(Some(record))
            })
            .await?;
        match deleted.map(|record| record.state) {
            None => Ok(false),
            Some(MediaState::Pending { .. }) => Ok(true),
            Some(MediaState::Stored(content)) => {
                self.remove_unneeded(content.hash).await?;
                Ok(true)
            }
        }
    }

    /// Deletes the files of [`NOBODY`] that are older than `before` (in ms since the Unix
    /// epoch), and the oldest of them beyond `most` bytes. Returns how many.
    ///
    /// # Errors
    /// [`StorageError`]; what is left is deleted the next time.
    pub async fn delete_nobodys(&self, before: u64, most: u64) -> Result<usize, StorageError> {
        let mut deleted = 0;
        loop {
            let read = move |view: &Snapshot| {
                let usage = view.get(&MEDIA_USAGE_BY_USER, &NOBODY)?.unwrap_or_default();
                let oldest = view.scan(&MEDIA_BY_USER, &(NOBODY,)).next().transpose()?;
                let is_due = |created_at: u64| created_at < before || usage.bytes > most;
                Ok::<_, StoreError>(
                    oldest
                        .map(|((_, created_at, media_id), ())| (created_at, media_id))
                        .filter(|(created_at, _)| is_due(*created_at)),
                )
            };
            let due: Option<(u64, String)> = self.store().read(read).await?;
            let Some((_, media_id)) = due else {
                return Ok(deleted);
            };
            if !self.delete(&media_id).await? {
                return Ok(deleted);
            }
            deleted += 1;
        }
    }

    /// Removes bytes and their thumbnails, if no file and no upload needs them.
    pub(crate) async fn remove_unneeded(&self, hash: ContentHash) -> Result<(), StorageError> {
        let (folder, in_flight) = (self.inner.folder.clone(), self.inner.in_flight.clone());
        let latest = self.store().latest();
        let remove = move || in_flight.remove_unneeded(&folder, &latest, &hash);
        if self.inner.writers.run(remove).await?? {
            self.remove_thumbnails(hash).await?;
        }
        Ok(())
    }

    async fn remove_thumbnails(&self, hash: ContentHash) -> Result<(), StorageError> {
        let read = move |view: &Snapshot| {
            view.scan(&THUMBNAIL_BY_CONTENT, &(hash,))
                .map(|row| row.map(|((_, key), record)| (key, record)))
                .collect::<Result<Vec<(String, ThumbnailRecord)>, StoreError>>()
        };
        let found = self.store().read(read).await?;
        if found.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = found.iter().map(|(key, _)| key.clone()).collect();
        self.store()
            .commit_later(move |latest, _, batch| {
                let mut freed = 0;
                for (key, record) in &found {
                    // Another one may have been made meanwhile.
                    let name = (hash, key.clone());
                    if latest.get(&THUMBNAIL_BY_CONTENT, &name)?.as_ref() == Some(record) {
                        freed += thumbnails::forget(batch, hash, key, record);
                    }
                }
                thumbnails::count_freed(latest, batch, freed)
            })
            .await?;
        let folder = self.inner.folder.clone();
        let remove = move || {
            keys.iter()
                .try_for_each(|key| folder.remove_thumbnail(&hash, key))
        };
        Ok(self.inner.writers.run(remove).await??)
    }
}

fn delete_rows(
    latest: &Latest,
    batch: &mut Batch,
    media_id: &str,
    record: &MediaRecord,
) -> Result<(), StoreError> {
    let (user, media_id) = (record.uploader, media_id.to_owned());
    batch.delete(&MEDIA_BY_ID, &media_id);
    batch.delete(&PROTECTED_MEDIA, &media_id);
    let content = match &record.state {
        MediaState::Pending { expires_at } => {
            batch.delete(&PENDING_MEDIA_BY_USER, &(user, *expires_at, media_id));
            return Ok(());
        }
        MediaState::Stored(content) => content,
    };
    let mut usage = latest.get(&MEDIA_USAGE_BY_USER, &user)?.unwrap_or_default();
    usage.files = usage.files.saturating_sub(1);
    usage.bytes = usage.bytes.saturating_sub(content.length);
    batch.put(&MEDIA_USAGE_BY_USER, &user, &usage);
    if let Some(room) = record.room {
        batch.delete(&MEDIA_BY_ROOM, &(room, media_id.clone()));
    }
    // Two rows tell whether there is another one.
    let mut is_needed = false;
    for row in latest.scan(&MEDIA_BY_CONTENT, &(content.hash,)).take(2) {
        is_needed |= row?.0.1 != media_id;
    }
    if !is_needed {
        batch.delete(&SMALL_FILE_BY_CONTENT, &content.hash);
    }
    batch.delete(&MEDIA_BY_CONTENT, &(content.hash, media_id.clone()));
    batch.delete(&MEDIA_BY_USER, &(user, record.created_at, media_id));
    Ok(())
}
