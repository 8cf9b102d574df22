//! Account data: what clients store for their user, for the whole account or for one room.

use model::{
    AccountDataRecord, AccountDataUsageRecord, Changes, LogEntry, RoomSerial, UserChange,
    UserSerial,
    tables::{
        ACCOUNT_DATA_BY_USER, ACCOUNT_DATA_USAGE_BY_USER, CHANGE_BY_USER, MEMBERSHIP_BY_USER,
    },
};
use store::{Batch, Latest, Position, Read, StoreError};

use crate::{Accounts, is_active, json};

/// The longest event type, in bytes.
const MAX_TYPE_BYTES: usize = 255;
/// The longest content, in bytes.
const MAX_CONTENT_BYTES: usize = 512 * 1_024;
/// The most entries of one user.
const MAX_ENTRIES: u64 = 50_000;
/// The most bytes of one user.
const MAX_BYTES: u64 = 32 * 1_024 * 1_024;

/// Why account data was not stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccountDataError {
    /// The server looks after this type itself (405 `M_BAD_JSON`).
    #[error("this type of account data cannot be set here")]
    ServerControlled,
    /// The content is not a JSON object (`M_BAD_JSON`).
    #[error("the content must be a JSON object")]
    NotAnObject,
    /// The type or the tag is too long (`M_INVALID_PARAM`).
    #[error("a type or tag has 1 to 255 bytes")]
    InvalidType,
    /// This content, or all of the user's together, is too large (`M_TOO_LARGE`).
    #[error("this is more account data than the server stores")]
    TooLarge,
    /// There is no such room or account (`M_NOT_FOUND`).
    #[error("there is no such room or account")]
    NotFound,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A piece of account data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountDataEntry {
    /// The event type.
    pub event_type: String,
    /// The content, JSON as the client sent it.
    pub json: Vec<u8>,
    /// The commit that brought it.
    pub position: Position,
}

/// A piece of account data that is to be written.
#[derive(Clone, Debug)]
pub(crate) struct NewAccountData {
    pub(crate) user: UserSerial,
    pub(crate) room: Option<RoomSerial>,
    pub(crate) event_type: String,
    pub(crate) json: Vec<u8>,
}

/// The account's own data stands under the serial that no room has.
fn place(room: Option<RoomSerial>) -> RoomSerial {
    room.unwrap_or(RoomSerial(0))
}

/// Whether the server looks after this type of account data itself.
pub fn is_server_controlled(event_type: &str) -> bool {
    matches!(event_type, "m.fully_read" | "m.push_rules")
}

/// The content of one piece of a user's account data, of a room or of the account. For that user alone.
///
/// # Errors
/// If the database fails.
pub fn account_data(
    view: &impl Read,
    user: UserSerial,
    room: Option<RoomSerial>,
    event_type: &str,
) -> Result<Option<AccountDataEntry>, StoreError> {
    let key = (user, place(room), event_type.to_owned());
    let record = view.get(&ACCOUNT_DATA_BY_USER, &key)?;
    Ok(record.map(|record| entry(event_type.to_owned(), record)))
}

/// All of a user's account data, of one room or of the account. For that user alone.
///
/// # Errors
/// If the database fails.
pub fn account_data_of_room(
    view: &impl Read,
    user: UserSerial,
    room: Option<RoomSerial>,
) -> Result<Vec<AccountDataEntry>, StoreError> {
    view.scan(&ACCOUNT_DATA_BY_USER, &(user, place(room)))
        .map(|row| row.map(|((_, _, event_type), record)| entry(event_type, record)))
        .collect()
}

fn entry(event_type: String, record: AccountDataRecord) -> AccountDataEntry {
    AccountDataEntry {
        event_type,
        json: record.json,
        position: Position(record.position),
    }
}

/// Writes a piece of account data and its change row into somebody's commit, in place of the one before: for what the server looks after itself, such as
/// `m.fully_read`. At most once for a user in one commit.
///
/// # Errors
/// [`AccountDataError::TooLarge`], or that the database failed.
pub fn write_account_data(
    latest: &Latest,
    batch: &mut Batch,
    changes: &mut Changes,
    user: UserSerial,
    room: Option<RoomSerial>,
    event_type: &str,
    json: Vec<u8>,
) -> Result<(), AccountDataError> {
    let event_type = event_type.to_owned();
    let new = NewAccountData {
        user,
        room,
        event_type,
        json,
    };
    write(latest, batch, changes, new)
}

pub(crate) fn write(
    latest: &Latest,
    batch: &mut Batch,
    changes: &mut Changes,
    new: NewAccountData,
) -> Result<(), AccountDataError> {
    let NewAccountData {
        user,
        room,
        event_type,
        json,
    } = new;
    let key = (user, place(room), event_type.clone());
    let earlier = latest.get(&ACCOUNT_DATA_BY_USER, &key)?;
    let usage = latest
        .get(&ACCOUNT_DATA_USAGE_BY_USER, &user)?
        .unwrap_or_default();
    let usage = used(usage, &event_type, earlier.as_ref(), json.len())?;
    if let Some(earlier) = earlier {
        let row = (user, Position(earlier.position), earlier.number);
        batch.delete(&CHANGE_BY_USER, &row);
    }
    let change = UserChange::AccountData { room, event_type };
    let (position, number) = changes.user(batch, user, &change);
    let record = AccountDataRecord {
        json,
        position,
        number,
    };
    batch.put(&ACCOUNT_DATA_BY_USER, &key, &record);
    batch.put(&ACCOUNT_DATA_USAGE_BY_USER, &user, &usage);
    changes.log(batch, &LogEntry::AccountData { user });
    Ok(())
}

/// What a user has stored once a content of `length` bytes stands in place of `earlier`.
fn used(
    before: AccountDataUsageRecord,
    event_type: &str,
    earlier: Option<&AccountDataRecord>,
    length: usize,
) -> Result<AccountDataUsageRecord, AccountDataError> {
    let size = |content: usize| u64::try_from(event_type.len() + content).unwrap_or(u64::MAX);
    let replaced = earlier.map_or(0, |earlier| size(earlier.json.len()));
    let usage = AccountDataUsageRecord {
        entries: before.entries + u64::from(earlier.is_none()),
        bytes: before
            .bytes
            .saturating_sub(replaced)
            .saturating_add(size(length)),
    };
    let grows = usage.bytes > before.bytes || usage.entries > before.entries;
    let too_large = usage.entries > MAX_ENTRIES || usage.bytes > MAX_BYTES;
    if length > MAX_CONTENT_BYTES || (grows && too_large) {
        return Err(AccountDataError::TooLarge);
    }
    Ok(usage)
}

/// Whether there is somebody to own such account data. Rooms that the user never had to do with are as if they were not there.
pub(crate) fn check_owner(
    latest: &Latest,
    user: UserSerial,
    room: Option<RoomSerial>,
) -> Result<(), AccountDataError> {
    let knows_room = match room {
        Some(room) => latest.contains(&MEMBERSHIP_BY_USER, &(user, room))?,
        None => true,
    };
    if knows_room && is_active(latest, user)? {
        Ok(())
    } else {
        Err(AccountDataError::NotFound)
    }
}

impl Accounts {
    /// Stores a piece of a user's own account data (`PUT /user/{userId}/account_data/{type}` and the same for a room).
    ///
    /// # Errors
    /// [`AccountDataError`].
    pub async fn put_account_data(
        &self,
        user: UserSerial,
        room: Option<RoomSerial>,
        event_type: &str,
        json: &[u8],
    ) -> Result<(), AccountDataError> {
        if is_server_controlled(event_type) {
            return Err(AccountDataError::ServerControlled);
        }
        self.put_controlled_account_data(user, room, event_type, json)
            .await
    }

    /// Stores a piece of account data in place of the one that was read at `seen` (`None`: there was none). Returns whether that was still the
    /// newest: if not, nothing was stored.
    ///
    /// # Errors
    /// [`AccountDataError`].
    pub async fn replace_account_data(
        &self,
        user: UserSerial,
        room: Option<RoomSerial>,
        event_type: &str,
        seen: Option<Position>,
        json: Vec<u8>,
    ) -> Result<bool, AccountDataError> {
        let event_type = event_type.to_owned();
        let new = NewAccountData {
            user,
            room,
            event_type,
            json,
        };
        self.store()
            .commit(move |latest, position, batch| {
                let newest = account_data(latest, user, room, &new.event_type)?;
                if newest.map(|entry| entry.position) != seen {
                    return Ok(false);
                }
                check_owner(latest, user, room)?;
                write(latest, batch, &mut Changes::at(position), new)?;
                Ok(true)
            })
            .await
    }

    /// Like [`Accounts::put_account_data`], for the types that the server looks after itself.
    ///
    /// # Errors
    /// [`AccountDataError`].
    pub async fn put_controlled_account_data(
        &self,
        user: UserSerial,
        room: Option<RoomSerial>,
        event_type: &str,
        json: &[u8],
    ) -> Result<(), AccountDataError> {
        if event_type.is_empty() || event_type.len() > MAX_TYPE_BYTES {
            return Err(AccountDataError::InvalidType);
        }
        if json.len() > MAX_CONTENT_BYTES {
            return Err(AccountDataError::TooLarge);
        }
        if !json::is_object(json) {
            return Err(AccountDataError::NotAnObject);
        }
        let event_type = event_type.to_owned();
        let new = NewAccountData {
            user,
            room,
            event_type,
            json: json.to_vec(),
        };
        self.store()
            .commit(move |latest, position, batch| {
                check_owner(latest, user, new.room)?;
                write(latest, batch, &mut Changes::at(position), new)
            })
            .await
    }
}
