//! Account data that is deleted (MSC3391), and what goes with a device (MSC3890).
//!
//! What was deleted leaves an empty object behind, so that syncs which go on from before
//! can tell it. It is as if it were not there for everybody else.

use model::{
    AccountDataRecord, Changes, LogEntry, RoomSerial, UserChange, UserSerial,
    tables::{ACCOUNT_DATA_BY_USER, ACCOUNT_DATA_USAGE_BY_USER, CHANGE_BY_USER},
};
use store::{Batch, Latest, Position, Read, StoreError};

use crate::{
    AccountDataEntry, AccountDataError, Accounts,
    account_data::{check_owner, is_server_controlled},
};

/// What a deleted entry leaves behind.
const NOTHING: &[u8] = b"{}";

/// The types of account data that say whether a device is silent; its id follows.
const SETTINGS: [&str; 2] = [
    "org.matrix.msc3890.local_notification_settings.",
    "m.local_notification_settings.",
];

impl AccountDataEntry {
    /// Whether it was deleted, by its own endpoint or by an empty object in its place.
    pub fn is_deleted(&self) -> bool {
        is_nothing(&self.json)
    }
}

/// Whether JSON is an empty object.
pub(crate) fn is_nothing(json: &[u8]) -> bool {
    let inner = json
        .strip_prefix(b"{")
        .and_then(|rest| rest.strip_suffix(b"}"));
    inner.is_some_and(|inner| inner.iter().all(u8::is_ascii_whitespace))
}

impl Accounts {
    /// Deletes a piece of a user's own account data, if it is there.
    ///
    /// # Errors
    /// [`AccountDataError`].
    pub async fn delete_account_data(
        &self,
        user: UserSerial,
        room: Option<RoomSerial>,
        event_type: &str,
    ) -> Result<(), AccountDataError> {
        if is_server_controlled(event_type) {
            return Err(AccountDataError::ServerControlled);
        }
        let event_type = event_type.to_owned();
        self.store()
            .commit(move |latest, position, batch| {
                check_owner(latest, user, room)?;
                let mut changes = Changes::at(position);
                Ok(delete(
                    latest,
                    batch,
                    &mut changes,
                    user,
                    room,
                    &[event_type],
                )?)
            })
            .await
    }
}

/// Deletes what a user's clients have said of whether these devices are silent. In a
/// commit that writes no other account data of the user.
pub(crate) fn forget_settings(
    latest: &Latest,
    batch: &mut Batch,
    changes: &mut Changes,
    user: UserSerial,
    device_ids: &[String],
) -> Result<(), StoreError> {
    let of = |device_id: &String| SETTINGS.map(|settings| format!("{settings}{device_id}"));
    let types: Vec<String> = device_ids.iter().flat_map(of).collect();
    delete(latest, batch, changes, user, None, &types)
}

fn delete(
    latest: &Latest,
    batch: &mut Batch,
    changes: &mut Changes,
    user: UserSerial,
    room: Option<RoomSerial>,
    types: &[String],
) -> Result<(), StoreError> {
    let mut freed = 0;
    for event_type in types {
        let key = (user, room.unwrap_or(RoomSerial(0)), event_type.clone());
        let Some(earlier) = latest.get(&ACCOUNT_DATA_BY_USER, &key)? else {
            continue;
        };
        if is_nothing(&earlier.json) {
            continue;
        }
        freed += earlier.json.len() - NOTHING.len();
        let row = (user, Position(earlier.position), earlier.number);
        batch.delete(&CHANGE_BY_USER, &row);
        let event_type = event_type.clone();
        let change = UserChange::AccountData { room, event_type };
        let (position, number) = changes.user(batch, user, &change);
        let record = AccountDataRecord {
            json: NOTHING.to_vec(),
            position,
            number,
        };
        batch.put(&ACCOUNT_DATA_BY_USER, &key, &record);
    }
    if freed == 0 {
        return Ok(());
    }
    let usage = latest.get(&ACCOUNT_DATA_USAGE_BY_USER, &user)?;
    let mut usage = usage.unwrap_or_default();
    usage.bytes = usage
        .bytes
        .saturating_sub(u64::try_from(freed).unwrap_or(0));
    batch.put(&ACCOUNT_DATA_USAGE_BY_USER, &user, &usage);
    changes.log(batch, &LogEntry::AccountData { user });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_nothing;

    #[test]
    fn only_an_empty_object_is_nothing() {
        for (json, expected) in [
            ("{}", true),
            ("{ \n}", true),
            ("{\"a\":1}", false),
            ("[]", false),
            ("{", false),
            ("", false),
        ] {
            assert_eq!(is_nothing(json.as_bytes()), expected, "{json}");
        }
    }
}
