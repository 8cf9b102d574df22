//! The keys in a key backup: the better of two is kept, whoever comes first.

use std::sync::Arc;

use model::{
    BackedUpKeyRecord, UserSerial,
    tables::{BACKED_UP_KEY_BY_VERSION, KEY_BACKUP_BY_USER, KEY_BACKUPS_BY_USER},
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use store::{Batch, Latest, Read, StoreError};

use crate::{
    Accounts, KeyBackupError, json,
    key_backups::{existing, newest},
};

/// The most keys of one request.
const MAX_KEYS_AT_ONCE: usize = 5_000;
/// The longest encrypted key, in bytes.
const MAX_SESSION_DATA_BYTES: usize = 32 * 1_024;
/// The longest room id and session id, in bytes.
const MAX_ID_BYTES: usize = 255;
/// The most keys of one user, in all backups.
const MAX_KEYS: u64 = 300_000;
/// The most bytes of one user's keys, in all backups.
const MAX_BYTES: u64 = 256 * 1_024 * 1_024;
/// The most keys that are read at once…
const PIECE_KEYS: usize = 1_000;
/// …and the bytes after which no more are.
const PIECE_BYTES: usize = 512 * 1_024;
/// How often a change is tried when other devices change the backup at the same time.
const TRIES: usize = 10;

/// Which keys of a backup are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupScope {
    /// All of them.
    All,
    /// Those of a room.
    Room(String),
    /// The one of a session: room id and session id.
    Session(String, String),
}

/// A backup's keys after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupState {
    /// Another one whenever the keys are others.
    pub etag: String,
    /// How many they are.
    pub count: u64,
}

/// A key that was checked and is to be stored.
struct NewKey {
    room_id: String,
    session_id: String,
    record: BackedUpKeyRecord,
}

/// A key in JSON (client-server API, `KeyBackupData`).
#[derive(Deserialize)]
struct KeyForm<'a> {
    first_message_index: u64,
    forwarded_count: u64,
    is_verified: bool,
    #[serde(borrow)]
    session_data: &'a RawValue,
}

impl NewKey {
    fn checked(room_id: String, session_id: String, json: &str) -> Result<Self, KeyBackupError> {
        let bad =
            |what: String| KeyBackupError::BadJson(format!("the key of {session_id}: {what}"));
        let form: KeyForm<'_> =
            serde_json::from_str(json).map_err(|error| bad(error.to_string()))?;
        let session_data = form.session_data.get();
        if !session_data.starts_with('{') {
            return Err(bad("session_data must be a JSON object".to_owned()));
        }
        if session_data.len() > MAX_SESSION_DATA_BYTES {
            let what = "session_data has at most 32768 bytes";
            return Err(KeyBackupError::TooLarge(what));
        }
        if room_id.len() > MAX_ID_BYTES || session_id.is_empty() || session_id.len() > MAX_ID_BYTES
        {
            let what = "a room id and a session id have 1 to 255 bytes";
            return Err(KeyBackupError::Invalid(what));
        }
        let record = BackedUpKeyRecord {
            first_message_index: form.first_message_index,
            forwarded_count: form.forwarded_count,
            is_verified: form.is_verified,
            session_data: session_data.as_bytes().to_vec(),
        };
        Ok(Self {
            room_id,
            session_id,
            record,
        })
    }
}

/// Whether a key is better than the one that is there. Of equal ones the first stays.
fn is_better(new: &BackedUpKeyRecord, known: &BackedUpKeyRecord) -> bool {
    if new.is_verified != known.is_verified {
        return new.is_verified;
    }
    let order = |key: &BackedUpKeyRecord| (key.first_message_index, key.forwarded_count);
    order(new) < order(known)
}

/// What a key counts for.
fn size(room_id: &str, session_id: &str, record: &BackedUpKeyRecord) -> u64 {
    let bytes = room_id.len() + session_id.len() + record.session_data.len();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// A change of a backup's keys, worked out on what was last written.
struct Plan {
    number: u64,
    /// The number of changes that it rests on.
    changes: u64,
    /// Keys and their bytes afterwards.
    keys: u64,
    bytes: u64,
    rows: Rows,
}

/// Which rows change.
enum Rows {
    None,
    /// These keys of the request, by their place in it.
    Put(Arc<Vec<NewKey>>, Vec<usize>),
    Delete(BackupScope),
}

impl Accounts {
    /// Stores keys in a user's newest backup (`PUT /room_keys/keys` and its variants): room id, session id and JSON of each. Where the backup has a key of
    /// the same session, the better one is kept. All in one commit.
    ///
    /// # Errors
    /// [`KeyBackupError`]; then nothing was stored.
    pub async fn put_backed_up_keys(
        &self,
        user: UserSerial,
        version: &str,
        keys: Vec<(String, String, Box<RawValue>)>,
    ) -> Result<BackupState, KeyBackupError> {
        if keys.len() > MAX_KEYS_AT_ONCE {
            let what = "too many keys in one request";
            return Err(KeyBackupError::TooLarge(what));
        }
        let new = self
            .store()
            .prepare(move |_| {
                keys.into_iter()
                    .map(|(room_id, session_id, json)| {
                        NewKey::checked(room_id, session_id, json.get())
                    })
                    .collect::<Result<Vec<_>, _>>()
            })
            .await?;
        let new = Arc::new(new);
        let version: Arc<str> = version.into();
        self.change_backup(user, move |latest| plan_put(latest, user, &version, &new))
            .await
    }

    /// Deletes keys of a user's backup (`DELETE /room_keys/keys` and its variants).
    ///
    /// # Errors
    /// [`KeyBackupError::NotFound`] if there is no such backup.
    pub async fn delete_backed_up_keys(
        &self,
        user: UserSerial,
        version: &str,
        scope: BackupScope,
    ) -> Result<BackupState, KeyBackupError> {
        let version: Arc<str> = version.into();
        self.change_backup(user, move |latest| {
            plan_delete(latest, user, &version, &scope)
        })
        .await
    }

    /// Works a change out beside the commits and writes it if the backup is still the same, else works it out again.
    async fn change_backup(
        &self,
        user: UserSerial,
        plan: impl Fn(&Latest) -> Result<Plan, KeyBackupError> + Clone + Send + 'static,
    ) -> Result<BackupState, KeyBackupError> {
        for _ in 0..TRIES {
            let plan = self.store().prepare(plan.clone()).await?;
            let done = self
                .store()
                .commit(move |latest, _, batch| write(latest, batch, user, plan))
                .await?;
            if let Some(state) = done {
                return Ok(state);
            }
        }
        Err(KeyBackupError::Contended)
    }
}

fn plan_put(
    latest: &Latest,
    user: UserSerial,
    version: &str,
    new: &Arc<Vec<NewKey>>,
) -> Result<Plan, KeyBackupError> {
    let (number, record) = existing(latest, user, version)?;
    if let Some((current, _)) = newest(latest, user)?.filter(|(current, _)| *current != number) {
        let current = current.to_string();
        return Err(KeyBackupError::WrongVersion { current });
    }
    let (mut keys, mut bytes, mut put) = (record.keys, record.bytes, Vec::new());
    for (place, key) in new.iter().enumerate() {
        let (room_id, session_id) = (key.room_id.clone(), key.session_id.clone());
        let row = (user, number, room_id, session_id);
        let known = latest.get(&BACKED_UP_KEY_BY_VERSION, &row)?;
        if known
            .as_ref()
            .is_some_and(|known| !is_better(&key.record, known))
        {
            continue;
        }
        let known_size = known.map(|known| size(&key.room_id, &key.session_id, &known));
        keys += u64::from(known_size.is_none());
        bytes = bytes.saturating_sub(known_size.unwrap_or(0));
        bytes = bytes.saturating_add(size(&key.room_id, &key.session_id, &key.record));
        put.push(place);
    }
    let rows = match put.is_empty() {
        true => Rows::None,
        false => Rows::Put(new.clone(), put),
    };
    Ok(Plan {
        number,
        changes: record.changes,
        keys,
        bytes,
        rows,
    })
}

fn plan_delete(
    latest: &Latest,
    user: UserSerial,
    version: &str,
    scope: &BackupScope,
) -> Result<Plan, KeyBackupError> {
    let (number, record) = existing(latest, user, version)?;
    let (mut gone, mut gone_bytes) = (0, 0);
    let mut count = |room_id: &str, session_id: &str, key: &BackedUpKeyRecord| {
        gone += 1;
        gone_bytes += size(room_id, session_id, key);
    };
    match scope {
        BackupScope::All => (gone, gone_bytes) = (record.keys, record.bytes),
        BackupScope::Room(room_id) => {
            let prefix = (user, number, room_id.clone());
            for row in latest.scan(&BACKED_UP_KEY_BY_VERSION, &prefix) {
                let ((_, _, room_id, session_id), key) = row?;
                count(&room_id, &session_id, &key);
            }
        }
        BackupScope::Session(room_id, session_id) => {
            let row = (user, number, room_id.clone(), session_id.clone());
            if let Some(key) = latest.get(&BACKED_UP_KEY_BY_VERSION, &row)? {
                count(room_id, session_id, &key);
            }
        }
    }
    Ok(Plan {
        number,
        changes: record.changes,
        keys: record.keys.saturating_sub(gone),
        bytes: record.bytes.saturating_sub(gone_bytes),
        rows: match gone {
            0 => Rows::None,
            _ => Rows::Delete(scope.clone()),
        },
    })
}

/// Writes a plan; `None` if the backup is no longer the one that the plan rests on.
fn write(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    plan: Plan,
) -> Result<Option<BackupState>, KeyBackupError> {
    let known = latest.get(&KEY_BACKUP_BY_USER, &(user, plan.number))?;
    let Some(mut record) = known.filter(|record| record.changes == plan.changes) else {
        return Ok(None);
    };
    let all = latest.get(&KEY_BACKUPS_BY_USER, &user)?;
    let mut all = all.unwrap_or_default();
    if matches!(plan.rows, Rows::Put(..)) && all.newest != plan.number {
        // A newer one may have been made; or it was deleted, which only a scan tells.
        let newest = newest(latest, user)?;
        if newest.is_none_or(|(newest, _)| newest != plan.number) {
            return Ok(None);
        }
    }
    if !matches!(plan.rows, Rows::None) {
        let grows = plan.keys > record.keys || plan.bytes > record.bytes;
        all.keys = all.keys.saturating_sub(record.keys) + plan.keys;
        all.bytes = all.bytes.saturating_sub(record.bytes) + plan.bytes;
        if grows && (all.keys > MAX_KEYS || all.bytes > MAX_BYTES) {
            let what = "this is more than the server stores in a user's key backups";
            return Err(KeyBackupError::TooLarge(what));
        }
        (record.keys, record.bytes) = (plan.keys, plan.bytes);
        record.changes += 1;
        batch.put(&KEY_BACKUP_BY_USER, &(user, plan.number), &record);
        batch.put(&KEY_BACKUPS_BY_USER, &user, &all);
    }
    write_rows(batch, user, plan.number, plan.rows);
    Ok(Some(BackupState {
        etag: record.changes.to_string(),
        count: record.keys,
    }))
}

fn write_rows(batch: &mut Batch, user: UserSerial, number: u64, rows: Rows) {
    let table = &BACKED_UP_KEY_BY_VERSION;
    match rows {
        Rows::None => {}
        Rows::Put(new, places) => {
            for key in places.into_iter().map(|place| &new[place]) {
                let row = (user, number, key.room_id.clone(), key.session_id.clone());
                batch.put(table, &row, &key.record);
            }
        }
        Rows::Delete(BackupScope::All) => batch.delete_prefix(table, &(user, number)),
        Rows::Delete(BackupScope::Room(room_id)) => {
            batch.delete_prefix(table, &(user, number, room_id));
        }
        Rows::Delete(BackupScope::Session(room_id, session_id)) => {
            batch.delete(table, &(user, number, room_id, session_id));
        }
    }
}

/// One key of a user's backup as JSON (client-server API, `KeyBackupData`). For that user alone.
///
/// # Errors
/// [`KeyBackupError::NotFound`], [`KeyBackupError::KeyNotFound`], or that the database failed.
pub fn backed_up_key(
    view: &impl Read,
    user: UserSerial,
    version: &str,
    room_id: &str,
    session_id: &str,
) -> Result<Box<RawValue>, KeyBackupError> {
    let (number, _) = existing(view, user, version)?;
    let row = (user, number, room_id.to_owned(), session_id.to_owned());
    let record = view.get(&BACKED_UP_KEY_BY_VERSION, &row)?;
    let record = record.ok_or(KeyBackupError::KeyNotFound)?;
    let json = written(&record).into_bytes();
    Ok(json::raw(json, BACKED_UP_KEY_BY_VERSION.name)?)
}

fn written(record: &BackedUpKeyRecord) -> String {
    format!(
        r#"{{"first_message_index":{},"forwarded_count":{},"is_verified":{},"session_data":{}}}"#,
        record.first_message_index,
        record.forwarded_count,
        record.is_verified,
        String::from_utf8_lossy(&record.session_data)
    )
}

/// The keys of a backup, or of one room in it, as JSON in pieces: a backup may be larger than what should be in memory at once. Each piece is read from
/// what is published then.
#[derive(Clone)]
pub struct BackedUpKeys {
    accounts: Accounts,
    user: UserSerial,
    number: u64,
    /// The only room that is wanted.
    room_id: Option<String>,
    /// Room and session of the last key that was written.
    last: Option<(String, String)>,
    /// Whether the beginning is written, and the end.
    begun: bool,
    ended: bool,
}

impl Accounts {
    /// The keys of a user's backup, or those of one room in it. For that user alone.
    ///
    /// # Errors
    /// [`KeyBackupError::NotFound`], or that the database failed.
    pub async fn backed_up_keys(
        &self,
        user: UserSerial,
        version: &str,
        room_id: Option<String>,
    ) -> Result<BackedUpKeys, KeyBackupError> {
        let version = version.to_owned();
        let (number, _) = self
            .store()
            .read(move |view| existing(view, user, &version))
            .await?;
        Ok(BackedUpKeys {
            accounts: self.clone(),
            user,
            number,
            room_id,
            last: None,
            begun: false,
            ended: false,
        })
    }
}

impl BackedUpKeys {
    /// The next piece of the JSON, and what gives the one after it; `None` at the end.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn piece(self) -> Result<Option<(String, Self)>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let store = self.accounts.store().clone();
        store
            .read_long(move |view| {
                let mut keys = self;
                let piece = keys.read(view)?;
                Ok(Some((piece, keys)))
            })
            .await
    }

    fn read(&mut self, view: &impl Read) -> Result<String, StoreError> {
        let table = &BACKED_UP_KEY_BY_VERSION;
        let from = self.last.clone().unwrap_or_default();
        let mut out = String::new();
        if !self.begun {
            self.begun = true;
            out.push_str(
                self.room_id
                    .as_ref()
                    .map_or(r#"{"rooms":{"#, |_| r#"{"sessions":{"#),
            );
        }
        let rows = match &self.room_id {
            Some(room_id) => {
                let from = (self.user, self.number, room_id.clone(), from.1);
                view.scan_from(table, &(self.user, self.number, room_id.clone()), &from)
            }
            None => {
                let from = (self.user, self.number, from.0, from.1);
                view.scan_from(table, &(self.user, self.number), &from)
            }
        };
        for (count, row) in rows.enumerate() {
            if count >= PIECE_KEYS || out.len() >= PIECE_BYTES {
                return Ok(out);
            }
            let ((_, _, room_id, session_id), record) = row?;
            let place = (room_id, session_id);
            if self.last.as_ref() != Some(&place) {
                self.write_key(&mut out, place, &record);
            }
        }
        self.ended = true;
        if self.room_id.is_none() && self.last.is_some() {
            out.push_str("}}");
        }
        out.push_str("}}");
        Ok(out)
    }

    fn write_key(&mut self, out: &mut String, place: (String, String), record: &BackedUpKeyRecord) {
        let (room_id, session_id) = &place;
        let last_room = self.last.as_ref().map(|(room_id, _)| room_id);
        let opens_room = self.room_id.is_none() && last_room != Some(room_id);
        if opens_room {
            out.push_str(last_room.map_or("", |_| "}},"));
            out.push_str(&Value::from(room_id.as_str()).to_string());
            out.push_str(r#":{"sessions":{"#);
        } else if last_room.is_some() {
            out.push(',');
        }
        out.push_str(&Value::from(session_id.as_str()).to_string());
        out.push(':');
        out.push_str(&written(record));
        self.last = Some(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(is_verified: bool, first_message_index: u64, forwarded_count: u64) -> BackedUpKeyRecord {
        BackedUpKeyRecord {
            first_message_index,
            forwarded_count,
            is_verified,
            session_data: b"{}".to_vec(),
        }
    }

    #[test]
    fn the_better_key_is_verified_then_older_then_less_forwarded() {
        let known = key(false, 5, 5);
        for (new, expected) in [
            (key(true, 9, 9), true),
            (key(false, 4, 9), true),
            (key(false, 5, 4), true),
            (key(false, 5, 5), false),
            (key(false, 5, 6), false),
            (key(false, 6, 0), false),
        ] {
            assert_eq!(is_better(&new, &known), expected, "{new:?}");
        }
        assert!(!is_better(&key(false, 0, 0), &key(true, 9, 9)));
    }

    #[test]
    fn a_key_has_all_its_parts() {
        let good = r#"{"first_message_index":1,"forwarded_count":0,"is_verified":false,"session_data":{"a":1}}"#;
        let check = |json: &str| NewKey::checked("!r:a.test".to_owned(), "s".to_owned(), json);
        assert!(check(good).is_ok());
        for (part, instead) in [
            (r#""first_message_index":1"#, r#""first_message_index":-1"#),
            (r#""forwarded_count":0"#, r#""forwarded_count":"0""#),
            (r#""is_verified":false"#, r#""is_verified":1"#),
            (r#"{"a":1}"#, "[]"),
            (r#","session_data":{"a":1}"#, ""),
        ] {
            let bad = check(&good.replace(part, instead));
            assert!(matches!(bad, Err(KeyBackupError::BadJson(_))), "{instead}");
        }
        let long = good.replace(
            r#"{"a":1}"#,
            &format!(r#"{{"a":"{}"}}"#, "x".repeat(32_768)),
        );
        assert!(matches!(check(&long), Err(KeyBackupError::TooLarge(_))));
    }
}
