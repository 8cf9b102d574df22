//! Account data of a room that is gone.

use model::{
    RoomSerial, UserSerial,
    tables::{ACCOUNT_DATA_BY_USER, ACCOUNT_DATA_USAGE_BY_USER, CHANGE_BY_USER},
};
use store::{Batch, Latest, Position, Read, StoreError};

/// Forgets what a user has stored for a room, in somebody's commit. At most once for a user in
/// one commit.
///
/// # Errors
/// If the database fails.
pub fn forget_room_data(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    room: RoomSerial,
) -> Result<(), StoreError> {
    let (mut entries, mut bytes) = (0, 0);
    for row in latest.scan(&ACCOUNT_DATA_BY_USER, &(user, room)) {
        let (key, record) = row?;
        entries += 1;
        bytes += key.2.len() as u64 + record.json.len() as u64;
        let change = (user, Position(record.position), record.number);
        batch.delete(&CHANGE_BY_USER, &change);
        batch.delete(&ACCOUNT_DATA_BY_USER, &key);
    }
    if entries > 0
        && let Some(mut usage) = latest.get(&ACCOUNT_DATA_USAGE_BY_USER, &user)?
    {
        usage.entries = usage.entries.saturating_sub(entries);
        usage.bytes = usage.bytes.saturating_sub(bytes);
        batch.put(&ACCOUNT_DATA_USAGE_BY_USER, &user, &usage);
    }
    Ok(())
}
