//! Key backups: versions, each with an algorithm and its data (client-server API, "Server-side key backups"). What they hold is in `backed_up_keys.rs`.

use model::{
    KeyBackupRecord, UserSerial,
    tables::{BACKED_UP_KEY_BY_VERSION, KEY_BACKUP_BY_USER, KEY_BACKUPS_BY_USER},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{Batch, Latest, Read, StoreError};

use crate::{Accounts, is_active, json};

/// The longest algorithm, in bytes.
const MAX_ALGORITHM_BYTES: usize = 255;
/// The longest data of an algorithm, in bytes.
const MAX_AUTH_DATA_BYTES: usize = 64 * 1_024;
/// The most backups of one user.
const MAX_BACKUPS: usize = 100;

/// Why something cannot be done with a key backup.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeyBackupError {
    /// There is no such backup (`M_NOT_FOUND`).
    #[error("there is no such key backup")]
    NotFound,
    /// The backup holds no such key (`M_NOT_FOUND`).
    #[error("the key backup has no such key")]
    KeyNotFound,
    /// Another backup is newer (403 `M_WRONG_ROOM_KEYS_VERSION`).
    #[error("keys are stored in the newest key backup only, which has the version {current}")]
    WrongVersion {
        /// The newest one's version.
        current: String,
    },
    /// A value contradicts what is there or what else is said (`M_INVALID_PARAM`).
    #[error("{0}")]
    Invalid(&'static str),
    /// Not what a backup or a key consists of (`M_BAD_JSON`).
    #[error("{0}")]
    BadJson(String),
    /// A value, or all of the user's backups together, would be too large (`M_TOO_LARGE`).
    #[error("{0}")]
    TooLarge(&'static str),
    /// The user has as many backups as one may have.
    #[error("this user has too many key backups: delete some of them first")]
    TooMany,
    /// Other devices keep changing the backup at the same time.
    #[error("the key backup is being changed by another device: try again")]
    Contended,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key backup as its user sees it.
#[derive(Clone, Debug)]
pub struct KeyBackup {
    /// Its version.
    pub version: String,
    /// How its keys are encrypted.
    pub algorithm: String,
    /// The algorithm's own data, as it was stored.
    pub auth_data: Box<RawValue>,
    /// How many keys it holds.
    pub count: u64,
    /// Another one whenever its keys are others.
    pub etag: String,
}

/// The body that makes or changes a backup.
#[derive(Deserialize)]
struct Form<'a> {
    algorithm: String,
    #[serde(borrow)]
    auth_data: &'a RawValue,
    version: Option<String>,
}

impl<'a> Form<'a> {
    fn checked(json: &'a str) -> Result<Self, KeyBackupError> {
        let form: Self = serde_json::from_str(json)
            .map_err(|error| KeyBackupError::BadJson(format!("the key backup: {error}")))?;
        if form.algorithm.is_empty() || form.algorithm.len() > MAX_ALGORITHM_BYTES {
            return Err(KeyBackupError::Invalid("an algorithm has 1 to 255 bytes"));
        }
        if !form.auth_data.get().starts_with('{') {
            let what = "auth_data must be a JSON object";
            return Err(KeyBackupError::BadJson(what.to_owned()));
        }
        if form.auth_data.get().len() > MAX_AUTH_DATA_BYTES {
            let what = "auth_data has at most 65536 bytes";
            return Err(KeyBackupError::TooLarge(what));
        }
        Ok(form)
    }
}

/// A user's key backup of that version, or the newest. For that user alone.
///
/// # Errors
/// [`KeyBackupError::NotFound`], or that the database failed.
pub fn key_backup(
    view: &impl Read,
    user: UserSerial,
    version: Option<&str>,
) -> Result<KeyBackup, KeyBackupError> {
    let (number, record) = match version {
        Some(version) => existing(view, user, version)?,
        None => newest(view, user)?.ok_or(KeyBackupError::NotFound)?,
    };
    Ok(KeyBackup {
        version: number.to_string(),
        auth_data: json::raw(record.auth_data, KEY_BACKUP_BY_USER.name)?,
        algorithm: record.algorithm,
        count: record.keys,
        etag: record.changes.to_string(),
    })
}

/// The backup of a version.
pub(crate) fn existing(
    view: &impl Read,
    user: UserSerial,
    version: &str,
) -> Result<(u64, KeyBackupRecord), KeyBackupError> {
    let number = number(version).ok_or(KeyBackupError::NotFound)?;
    let record = view.get(&KEY_BACKUP_BY_USER, &(user, number))?;
    let record = record.ok_or(KeyBackupError::NotFound)?;
    Ok((number, record))
}

/// The newest backup that was not deleted.
pub(crate) fn newest(
    view: &impl Read,
    user: UserSerial,
) -> Result<Option<(u64, KeyBackupRecord)>, StoreError> {
    let last = view.scan_back(&KEY_BACKUP_BY_USER, &(user,), None).next();
    Ok(last
        .transpose()?
        .map(|((_, number), record)| (number, record)))
}

/// The number behind a version, as this server writes it.
fn number(version: &str) -> Option<u64> {
    let number: u64 = version.parse().ok()?;
    (number.to_string() == version).then_some(number)
}

impl Accounts {
    /// Begins a new key backup (`POST /room_keys/version`) and returns its version. From now on keys are stored in this one.
    ///
    /// # Errors
    /// [`KeyBackupError`].
    pub async fn create_key_backup(
        &self,
        user: UserSerial,
        json: &str,
    ) -> Result<String, KeyBackupError> {
        let form = Form::checked(json)?;
        let record = KeyBackupRecord {
            algorithm: form.algorithm,
            auth_data: form.auth_data.get().as_bytes().to_vec(),
            changes: 0,
            keys: 0,
            bytes: 0,
        };
        let number = self
            .store()
            .commit(move |latest, _, batch| {
                if !is_active(latest, user)? {
                    return Err(KeyBackupError::NotFound);
                }
                if latest.scan(&KEY_BACKUP_BY_USER, &(user,)).count() >= MAX_BACKUPS {
                    return Err(KeyBackupError::TooMany);
                }
                let all = latest.get(&KEY_BACKUPS_BY_USER, &user)?;
                let mut all = all.unwrap_or_default();
                all.newest += 1;
                batch.put(&KEY_BACKUPS_BY_USER, &user, &all);
                batch.put(&KEY_BACKUP_BY_USER, &(user, all.newest), &record);
                Ok(all.newest)
            })
            .await?;
        Ok(number.to_string())
    }

    /// Changes the data of a backup's algorithm (`PUT /room_keys/version/{version}`). The algorithm itself never changes.
    ///
    /// # Errors
    /// [`KeyBackupError`].
    pub async fn update_key_backup(
        &self,
        user: UserSerial,
        version: &str,
        json: &str,
    ) -> Result<(), KeyBackupError> {
        let form = Form::checked(json)?;
        if form.version.is_some_and(|other| other != version) {
            let what = "the version in the body is not the one in the path";
            return Err(KeyBackupError::Invalid(what));
        }
        let (version, algorithm) = (version.to_owned(), form.algorithm);
        let auth_data = form.auth_data.get().as_bytes().to_vec();
        self.store()
            .commit(move |latest, _, batch| {
                let (number, mut record) = existing(latest, user, &version)?;
                if record.algorithm != algorithm {
                    let what = "the algorithm of a key backup never changes";
                    return Err(KeyBackupError::Invalid(what));
                }
                if record.auth_data != auth_data {
                    record.auth_data = auth_data;
                    batch.put(&KEY_BACKUP_BY_USER, &(user, number), &record);
                }
                Ok(())
            })
            .await
    }

    /// Deletes a backup with all its keys (`DELETE /room_keys/version/{version}`). One that was deleted before stays so.
    ///
    /// # Errors
    /// [`KeyBackupError::NotFound`] if there never was such a backup.
    pub async fn delete_key_backup(
        &self,
        user: UserSerial,
        version: &str,
    ) -> Result<(), KeyBackupError> {
        let number = number(version).ok_or(KeyBackupError::NotFound)?;
        self.store()
            .commit(move |latest, _, batch| delete(latest, batch, user, number))
            .await
    }
}

fn delete(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    number: u64,
) -> Result<(), KeyBackupError> {
    let all = latest.get(&KEY_BACKUPS_BY_USER, &user)?;
    let mut all = all.unwrap_or_default();
    if number == 0 || number > all.newest {
        return Err(KeyBackupError::NotFound);
    }
    let Some(record) = latest.get(&KEY_BACKUP_BY_USER, &(user, number))? else {
        return Ok(());
    };
    all.keys = all.keys.saturating_sub(record.keys);
    all.bytes = all.bytes.saturating_sub(record.bytes);
    batch.put(&KEY_BACKUPS_BY_USER, &user, &all);
    batch.delete(&KEY_BACKUP_BY_USER, &(user, number));
    batch.delete_prefix(&BACKED_UP_KEY_BY_VERSION, &(user, number));
    Ok(())
}

/// Deletes all backups of a user whose account ends.
pub(crate) fn remove_all(batch: &mut Batch, user: UserSerial) {
    batch.delete(&KEY_BACKUPS_BY_USER, &user);
    batch.delete_prefix(&KEY_BACKUP_BY_USER, &(user,));
    batch.delete_prefix(&BACKED_UP_KEY_BY_VERSION, &(user,));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_written_in_one_way() {
        assert_eq!(number("42"), Some(42));
        for text in ["", "042", "+42", "-1", "4 2", "a", "99999999999999999999"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
