//! Tags of rooms: the room's account data of type `m.tag`, one entry at a time.

use model::{AccountDataRecord, Changes, RoomSerial, UserSerial, tables::ACCOUNT_DATA_BY_USER};
use serde_json::{Map, Value, json};
use store::{Latest, Read, StoreError};

use crate::{
    AccountDataError, Accounts,
    account_data::{self, NewAccountData},
};

const EVENT_TYPE: &str = "m.tag";
/// How often a change is tried when other devices change the tags at the same time.
const TRIES: usize = 5;
/// The longest tag, in bytes.
const MAX_TAG_BYTES: usize = 255;

/// The tags that a user has given a room, with what the user says about each. For that user alone.
///
/// # Errors
/// If the database fails.
pub fn tags(
    view: &impl Read,
    user: UserSerial,
    room: RoomSerial,
) -> Result<Map<String, Value>, StoreError> {
    Ok(stored(view, user, room)?.map_or_else(Map::new, |record| parsed(&record)))
}

fn stored(
    view: &impl Read,
    user: UserSerial,
    room: RoomSerial,
) -> Result<Option<AccountDataRecord>, StoreError> {
    view.get(&ACCOUNT_DATA_BY_USER, &(user, room, EVENT_TYPE.to_owned()))
}

/// Clients can write this type of account data whole too, and may have written no tags.
fn parsed(record: &AccountDataRecord) -> Map<String, Value> {
    match serde_json::from_slice(&record.json) {
        Ok(Value::Object(mut content)) => match content.remove("tags") {
            Some(Value::Object(tags)) => tags,
            _ => Map::new(),
        },
        _ => Map::new(),
    }
}

impl Accounts {
    /// Gives a room of the user a tag (`PUT /user/{userId}/rooms/{roomId}/tags/{tag}`).
    ///
    /// # Errors
    /// [`AccountDataError`].
    pub async fn put_tag(
        &self,
        user: UserSerial,
        room: RoomSerial,
        tag: String,
        info: Value,
    ) -> Result<(), AccountDataError> {
        if tag.is_empty() || tag.len() > MAX_TAG_BYTES {
            return Err(AccountDataError::InvalidType);
        }
        self.change_tags(user, room, move |tags| {
            tags.insert(tag.clone(), info.clone());
            true
        })
        .await
    }

    /// Takes a tag from a room of the user; one that the room does not have is no error.
    ///
    /// # Errors
    /// [`AccountDataError`].
    pub async fn delete_tag(
        &self,
        user: UserSerial,
        room: RoomSerial,
        tag: String,
    ) -> Result<(), AccountDataError> {
        self.change_tags(user, room, move |tags| tags.remove(&tag).is_some())
            .await
    }

    /// Reads the tags, changes them, and writes them if nobody else has meanwhile.
    async fn change_tags(
        &self,
        user: UserSerial,
        room: RoomSerial,
        change: impl Fn(&mut Map<String, Value>) -> bool,
    ) -> Result<(), AccountDataError> {
        for _ in 0..TRIES {
            let record = self
                .store()
                .prepare(move |latest| stored(latest, user, room))
                .await?;
            let mut tags = record.as_ref().map_or_else(Map::new, parsed);
            if !change(&mut tags) {
                return Ok(());
            }
            let seen = record.map(|record| record.position);
            let json = json!({ "tags": tags }).to_string().into_bytes();
            if self.replace_tags(user, room, seen, json).await? {
                return Ok(());
            }
        }
        Err(StoreError::Busy.into())
    }

    /// Whether the tags written at `seen` were still there to be replaced.
    async fn replace_tags(
        &self,
        user: UserSerial,
        room: RoomSerial,
        seen: Option<u64>,
        json: Vec<u8>,
    ) -> Result<bool, AccountDataError> {
        let event_type = EVENT_TYPE.to_owned();
        let new = NewAccountData {
            user,
            room: Some(room),
            event_type,
            json,
        };
        self.store()
            .commit(move |latest: &Latest, position, batch| {
                if stored(latest, user, room)?.map(|record| record.position) != seen {
                    return Ok(false);
                }
                account_data::check_owner(latest, user, Some(room))?;
                account_data::write(latest, batch, &mut Changes::at(position), new)?;
                Ok(true)
            })
            .await
    }
}
