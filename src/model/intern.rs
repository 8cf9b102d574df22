//! Ids are interned: a serial for each, given once.

use store::{Batch, Latest, Read, StoreError};

use crate::{
    RoomSerial, UserSerial,
    tables::{ROOM_BY_ID, ROOM_BY_SERIAL, USER_BY_ID, USER_ID_BY_SERIAL},
};

/// The serial of a user id; a new user gets `candidate` (from `Store::next_serial`).
/// Within one batch call it once for each id.
///
/// # Errors
/// If the database fails.
pub fn intern_user(
    latest: &Latest,
    batch: &mut Batch,
    user_id: &str,
    candidate: u64,
) -> Result<UserSerial, StoreError> {
    if let Some(serial) = latest.get(&USER_BY_ID, &user_id.to_owned())? {
        return Ok(serial);
    }
    let serial = UserSerial(candidate);
    batch.put(&USER_BY_ID, &user_id.to_owned(), &serial);
    batch.put(&USER_ID_BY_SERIAL, &serial, &user_id.to_owned());
    Ok(serial)
}

/// The serial of a room id; a new room gets `candidate`.
///
/// # Errors
/// If the database fails.
pub fn intern_room(
    latest: &Latest,
    batch: &mut Batch,
    room_id: &str,
    candidate: u64,
) -> Result<RoomSerial, StoreError> {
    if let Some(serial) = latest.get(&ROOM_BY_ID, &room_id.to_owned())? {
        return Ok(serial);
    }
    let serial = RoomSerial(candidate);
    batch.put(&ROOM_BY_ID, &room_id.to_owned(), &serial);
    Ok(serial)
}

/// The id of a user.
///
/// # Errors
/// If the database fails.
pub fn user_id(view: &impl Read, user: UserSerial) -> Result<Option<String>, StoreError> {
    view.get(&USER_ID_BY_SERIAL, &user)
}

/// The id of a room.
///
/// # Errors
/// If the database fails.
pub fn room_id(view: &impl Read, room: RoomSerial) -> Result<Option<String>, StoreError> {
    Ok(view
        .get(&ROOM_BY_SERIAL, &room)?
        .map(|record| record.room_id))
}
