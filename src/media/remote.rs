//! Files of other servers, kept as a cache.

use bytes::Bytes;
use model::{
    ContentHash, RemoteMediaRecord, StoredContent,
    tables::{MEDIA_BY_CONTENT, REMOTE_MEDIA_BY_AGE, REMOTE_MEDIA_BY_ID, REMOTE_MEDIA_USAGE},
};
use ruma_common::{OwnedServerName, ServerName};
use store::{Batch, Latest, Read as _, Snapshot, StoreError};

use crate::{
    DownloadError, Media, StorageError, id, quarantine,
    upload::{Incoming, MAX_CONTENT_TYPE_BYTES, MAX_FILENAME_BYTES},
};

/// How many old files are removed for a new one, at most.
const EVICTED_AT_ONCE: usize = 64;

/// Whether a text can be another server's media id.
pub fn is_media_id(text: &str) -> bool {
    id::is_valid_remote(text)
}

/// A file of another server that is being fetched. Dropping it leaves nothing behind.
pub struct RemoteFile {
    incoming: Incoming,
    media: Media,
    server: OwnedServerName,
    media_id: String,
    content_type: String,
    filename: Option<String>,
}

impl Media {
    /// How many bytes of a file of another server are taken.
    pub fn max_remote_bytes(&self) -> u64 {
        self.inner.options.max_remote_bytes
    }

    /// Begins to keep a file of another server. What its server says of it is taken if it
    /// is as short as our own users may have it.
    pub fn keep(
        &self,
        server: &ServerName,
        media_id: &str,
        content_type: Option<String>,
        filename: Option<String>,
    ) -> RemoteFile {
        let content_type = content_type.filter(|text| text.len() <= MAX_CONTENT_TYPE_BYTES);
        RemoteFile {
            incoming: Incoming::new(self),
            media: self.clone(),
            server: server.to_owned(),
            media_id: media_id.to_owned(),
            content_type: content_type.unwrap_or_default(),
            filename: filename.filter(|name| name.len() <= MAX_FILENAME_BYTES),
        }
    }

    /// Calls `open` with what is kept of a file of another server.
    pub(crate) async fn look_remote<T, F>(
        &self,
        server: &ServerName,
        media_id: &str,
        open: F,
    ) -> Result<T, DownloadError>
    where
        T: Send + 'static,
        F: FnOnce(&Snapshot, StoredContent) -> Result<T, DownloadError> + Send + 'static,
    {
        let (view, key) = (
            self.store().snapshot(),
            (server.to_string(), media_id.to_owned()),
        );
        let look = move || {
            let record = view.get(&REMOTE_MEDIA_BY_ID, &key)?;
            let content = record.ok_or(DownloadError::NotFound)?.content;
            quarantine::check(&view, &content.hash)?;
            open(&view, content)
        };
        self.inner.readers.run(look).await?
    }
}

impl Media {
    /// Removes a file of another server; it is fetched again when somebody asks for it.
    /// Returns whether it was kept.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn delete_remote(
        &self,
        server: &ServerName,
        media_id: &str,
        deed: Option<audit::Deed>,
    ) -> Result<bool, StorageError> {
        let now = self.now();
        let name = (server.to_string(), media_id.to_owned());
        let removed = self
            .store()
            .commit(move |latest, _, batch| {
                let Some(record) = latest.get(&REMOTE_MEDIA_BY_ID, &name)? else {
                    return Ok::<_, StoreError>(None);
                };
                let total = latest.get(&REMOTE_MEDIA_USAGE, &())?.unwrap_or_default();
                let total = total.saturating_sub(forget(batch, &name, &record));
                batch.put(&REMOTE_MEDIA_USAGE, &(), &total);
                audit::record(latest, batch, now, deed.as_slice())?;
                Ok(Some(record.content.hash))
            })
            .await?;
        match removed {
            None => Ok(false),
            Some(hash) => {
                self.remove_unneeded(hash).await?;
                Ok(true)
            }
        }
    }

    /// Removes the files of other servers that were fetched before a moment, in ms since the
    /// Unix epoch. Returns how many. The audit trail is told `deed` in the commit that removes the
    /// first of them, or in one of its own if there is none.
    ///
    /// # Errors
    /// [`StorageError`]; some may be removed then.
    pub async fn delete_remote_before(
        &self,
        before: u64,
        deed: audit::Deed,
    ) -> Result<usize, StorageError> {
        let mut removed = 0;
        let mut untold = Some(deed);
        loop {
            let read = move |view: &Snapshot| {
                let mut names = Vec::new();
                for row in view.scan(&REMOTE_MEDIA_BY_AGE, &()).take(EVICTED_AT_ONCE) {
                    let ((fetched_at, server, media_id), _) = row?;
                    if fetched_at >= before {
                        break;
                    }
                    names.push((server, media_id));
                }
                Ok::<_, StoreError>(names)
            };
            let names: Vec<(String, String)> = self.store().read(read).await?;
            if names.is_empty() {
                if let Some(deed) = untold {
                    let now = self.now();
                    self.store()
                        .commit(move |latest, _, batch| audit::record(latest, batch, now, &[deed]))
                        .await?;
                }
                return Ok(removed);
            }
            for (server, media_id) in names {
                let server = OwnedServerName::try_from(server).map_err(|_| {
                    StoreError::Database("a file of a server without a name".to_owned())
                })?;
                let is_removed = self
                    .delete_remote(&server, &media_id, untold.clone())
                    .await?;
                if is_removed {
                    untold = None;
                    removed += 1;
                }
            }
        }
    }
}

impl RemoteFile {
    /// Takes the next bytes. Waits while they are written.
    ///
    /// # Errors
    /// [`StorageError`]; then it is over.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), StorageError> {
        self.incoming.write(piece).await
    }

    /// Keeps the file, and removes old ones beyond what is kept.
    ///
    /// # Errors
    /// [`StorageError`]; then nothing was kept.
    pub async fn finish(self) -> Result<(), StorageError> {
        let (hash, length, in_flight) = self.incoming.place().await?;
        let content = StoredContent {
            hash,
            length,
            content_type: self.content_type,
            filename: self.filename,
            uploaded_at: self.media.now(),
        };
        let name = (self.server.to_string(), self.media_id);
        let most = self.media.inner.options.remote_cache_bytes;
        let commit = self
            .media
            .store()
            .commit(move |latest, _, batch| keep(latest, batch, name, content, most));
        let removed = commit.await;
        drop(in_flight);
        let unneeded = match &removed {
            Ok(removed) => removed.as_slice(),
            Err(_) => &[hash],
        };
        for hash in unneeded {
            self.media.remove_unneeded(*hash).await?;
        }
        removed.map(drop).map_err(StorageError::from)
    }
}

fn shared_name((server, media_id): &(String, String)) -> String {
    format!("{server}/{media_id}")
}

/// Writes the rows of a file; returns the bytes that are perhaps no longer needed.
fn keep(
    latest: &Latest,
    batch: &mut Batch,
    name: (String, String),
    content: StoredContent,
    most: u64,
) -> Result<Vec<ContentHash>, StoreError> {
    let mut total = latest.get(&REMOTE_MEDIA_USAGE, &())?.unwrap_or_default();
    let mut removed = Vec::new();
    if let Some(earlier) = latest.get(&REMOTE_MEDIA_BY_ID, &name)? {
        total = total.saturating_sub(forget(batch, &name, &earlier));
        removed.extend((earlier.content.hash != content.hash).then_some(earlier.content.hash));
    }
    total = total.saturating_add(content.length);
    let mut oldest = latest.scan(&REMOTE_MEDIA_BY_AGE, &()).take(EVICTED_AT_ONCE);
    while total > most
        && let Some(row) = oldest.next()
    {
        let ((_, server, media_id), _) = row?;
        let old = (server, media_id);
        if old != name
            && let Some(record) = latest.get(&REMOTE_MEDIA_BY_ID, &old)?
        {
            total = total.saturating_sub(forget(batch, &old, &record));
            removed.push(record.content.hash);
        }
    }
    let age = (content.uploaded_at, name.0.clone(), name.1.clone());
    batch.put(&REMOTE_MEDIA_BY_AGE, &age, &content.length);
    batch.put(&MEDIA_BY_CONTENT, &(content.hash, shared_name(&name)), &());
    batch.put(&REMOTE_MEDIA_BY_ID, &name, &RemoteMediaRecord { content });
    batch.put(&REMOTE_MEDIA_USAGE, &(), &total);
    Ok(removed)
}

/// Deletes the rows of a file; returns what it counted.
fn forget(batch: &mut Batch, name: &(String, String), record: &RemoteMediaRecord) -> u64 {
    let content = &record.content;
    let age = (content.uploaded_at, name.0.clone(), name.1.clone());
    batch.delete(&REMOTE_MEDIA_BY_AGE, &age);
    batch.delete(&MEDIA_BY_CONTENT, &(content.hash, shared_name(name)));
    batch.delete(&REMOTE_MEDIA_BY_ID, name);
    content.length
}
