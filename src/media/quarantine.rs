//! Quarantine: bytes that are not given out, to nobody.
//!
//! It is the bytes that are put there, by their SHA-256, not a media id: every file that has
//! them is gone for everybody at once, those that come later too. Such an upload is taken as
//! any other and its uploader is told nothing; nobody can fetch it. Bytes of other servers'
//! files are treated alike. A protected file is not put there with others; its bytes can still
//! be named by their hash.

use audit::Deed;
use model::{
    ContentHash, QuarantineChangeRecord, QuarantineRecord,
    tables::{
        MEDIA_BY_CONTENT, MEDIA_BY_ID, PROTECTED_MEDIA, QUARANTINE_BY_CONTENT,
        QUARANTINE_CHANGE_BY_POSITION,
    },
};
use store::{Batch, Latest, Position, Read, StoreError};

use crate::{DownloadError, FileName, Media, listing::hash_of};

/// How many files that share bytes are looked at for one that is protected.
const SHARING: usize = 1_000;

/// Refuses bytes that are in quarantine.
///
/// # Errors
/// [`DownloadError::Quarantined`].
pub(crate) fn check(view: &impl Read, hash: &ContentHash) -> Result<(), DownloadError> {
    match view.contains(&QUARANTINE_BY_CONTENT, hash)? {
        true => Err(DownloadError::Quarantined),
        false => Ok(()),
    }
}

impl Media {
    /// Puts the bytes of these files into quarantine, but not of those that are protected.
    /// `by` is the administrator; `deed` what the audit trail is told. Returns how many of the files were not there before.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn quarantine(
        &self,
        files: Vec<FileName>,
        by: Option<String>,
        deed: Option<Deed>,
    ) -> Result<usize, StoreError> {
        let now = self.now();
        let record = QuarantineRecord { by, at: now };
        let own = self.inner.server_name.clone();
        self.store()
            .commit(move |latest, position, batch| {
                let mut changes = Changed::at(position, true);
                let mut count = 0;
                let mut put = std::collections::HashSet::new();
                for file in &files {
                    let Some(hash) = hash_of(latest, &own, file)? else {
                        continue;
                    };
                    if put.contains(&hash) {
                        changes.note(batch, file);
                        count += 1;
                        continue;
                    }
                    if latest.contains(&QUARANTINE_BY_CONTENT, &hash)?
                        || is_protected(latest, &hash)?
                    {
                        continue;
                    }
                    batch.put(&QUARANTINE_BY_CONTENT, &hash, &record);
                    put.insert(hash);
                    changes.note(batch, file);
                    count += 1;
                }
                tell(latest, batch, now, deed, count)?;
                Ok(count)
            })
            .await
    }

    /// Puts bytes into quarantine by their hash, whether or not a file has them.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn quarantine_hash(
        &self,
        hash: ContentHash,
        by: Option<String>,
        deed: Deed,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let record = QuarantineRecord { by, at: now };
        self.store()
            .commit(move |latest, _, batch| {
                batch.put(&QUARANTINE_BY_CONTENT, &hash, &record);
                audit::record(latest, batch, now, &[deed])
            })
            .await
    }

    /// Gives the bytes of these files out again. Returns how many of the files that were.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn unquarantine(
        &self,
        files: Vec<FileName>,
        deed: Option<Deed>,
    ) -> Result<usize, StoreError> {
        let now = self.now();
        let own = self.inner.server_name.clone();
        self.store()
            .commit(move |latest, position, batch| {
                let mut changes = Changed::at(position, false);
                let mut count = 0;
                for file in &files {
                    if let Some(hash) = hash_of(latest, &own, file)?
                        && latest.contains(&QUARANTINE_BY_CONTENT, &hash)?
                    {
                        batch.delete(&QUARANTINE_BY_CONTENT, &hash);
                        changes.note(batch, file);
                        count += 1;
                    }
                }
                tell(latest, batch, now, deed, count)?;
                Ok(count)
            })
            .await
    }

    /// Gives bytes out again, by their hash. Returns whether they were in quarantine.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn unquarantine_hash(
        &self,
        hash: ContentHash,
        deed: Deed,
    ) -> Result<bool, StoreError> {
        let now = self.now();
        self.store()
            .commit(move |latest, _, batch| {
                let was = latest.contains(&QUARANTINE_BY_CONTENT, &hash)?;
                batch.delete(&QUARANTINE_BY_CONTENT, &hash);
                if was {
                    audit::record(latest, batch, now, &[deed])?;
                }
                Ok(was)
            })
            .await
    }

    /// Protects a file of this server from being put into quarantine with others, or ends
    /// that. Returns whether there is such a file.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_protected(
        &self,
        media_id: &str,
        is: bool,
        deed: Deed,
    ) -> Result<bool, StoreError> {
        let now = self.now();
        let media_id = media_id.to_owned();
        self.store()
            .commit(move |latest, _, batch| {
                if !latest.contains(&MEDIA_BY_ID, &media_id)? {
                    return Ok(false);
                }
                if is {
                    batch.put(&PROTECTED_MEDIA, &media_id, &());
                } else {
                    batch.delete(&PROTECTED_MEDIA, &media_id);
                }
                audit::record(latest, batch, now, &[deed])?;
                Ok(true)
            })
            .await
    }
}

/// Writes down which files a commit puts into quarantine, or takes out of it.
struct Changed {
    position: Position,
    number: u32,
    is_quarantined: bool,
}

impl Changed {
    fn at(position: Position, is_quarantined: bool) -> Self {
        Self {
            position,
            number: 0,
            is_quarantined,
        }
    }

    fn note(&mut self, batch: &mut Batch, file: &FileName) {
        let record = QuarantineChangeRecord {
            file: file.to_string(),
            is_quarantined: self.is_quarantined,
        };
        let key = (self.position, self.number);
        batch.put(&QUARANTINE_CHANGE_BY_POSITION, &key, &record);
        self.number += 1;
    }
}

/// How many changes one commit has at most: so many places in the list are its own.
const CHANGES_OF_ONE: u64 = 1 << 20;

/// What was put into quarantine, or taken out of it, and was named by a file: the oldest first,
/// from the place `from` on, at most `limit`. Returns with it the place of what comes next.
///
/// # Errors
/// If the database fails.
pub fn quarantine_changes(
    view: &impl Read,
    from: u64,
    limit: usize,
) -> Result<(Vec<QuarantineChangeRecord>, u64), StoreError> {
    let number = u32::try_from(from % CHANGES_OF_ONE).unwrap_or_default();
    let key = (Position(from / CHANGES_OF_ONE), number);
    let (mut changes, mut next) = (Vec::new(), from);
    let rows = view.scan_from(&QUARANTINE_CHANGE_BY_POSITION, &(), &key);
    for row in rows.take(limit) {
        let ((position, number), change) = row?;
        next = position.0 * CHANGES_OF_ONE + u64::from(number) + 1;
        changes.push(change);
    }
    Ok((changes, next))
}

/// Tells the audit trail of what was done to some files.
fn tell(
    latest: &Latest,
    batch: &mut Batch,
    now: u64,
    deed: Option<Deed>,
    count: usize,
) -> Result<(), StoreError> {
    let deeds: Vec<Deed> = deed
        .filter(|_| count > 0)
        .map(|deed| deed.after(serde_json::json!({ "files": count })))
        .into_iter()
        .collect();
    audit::record(latest, batch, now, &deeds)
}

/// Whether a file that has these bytes is protected.
fn is_protected(latest: &Latest, hash: &ContentHash) -> Result<bool, StoreError> {
    for row in latest.scan(&MEDIA_BY_CONTENT, &(*hash,)).take(SHARING) {
        let ((_, media_id), ()) = row?;
        if latest.contains(&PROTECTED_MEDIA, &media_id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A SHA-256 as people write it: 64 hexadecimal digits.
pub fn parse_hash(text: &str) -> Option<ContentHash> {
    crate::folder::parse_hexadecimal(&text.trim().to_ascii_lowercase())
}
