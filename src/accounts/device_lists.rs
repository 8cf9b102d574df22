//! Telling others that a user's devices or keys have changed.

use model::{
    Changes, DeviceListRecord, LogEntry, Membership, RoomSerial, UserChange, UserSerial,
    tables::{
        CHANGE_BY_USER, DEVICE_CHANGE_BY_ROOM, DEVICE_CHANGE_BY_USER, MEMBERSHIP_BY_USER,
        SIGNED_USER_BY_USER,
    },
};
use store::{Batch, Latest, Position, Read, StoreError};

/// Records that the user's devices or keys changed, for each room that the user is joined to, for the user's own devices and for the log. Once in a commit.
pub(crate) fn announce(
    latest: &Latest,
    batch: &mut Batch,
    changes: &mut Changes,
    user: UserSerial,
) -> Result<(), StoreError> {
    let earlier = latest.get(&DEVICE_CHANGE_BY_USER, &user)?;
    for row in latest.scan(&MEMBERSHIP_BY_USER, &(user,)) {
        let ((_, room), record) = row?;
        if record.membership == Membership::Join {
            let before = earlier.map(|record| record.position());
            changes.device_list(batch, room, user, before);
        }
    }
    if let Some(record) = earlier {
        batch.delete(&CHANGE_BY_USER, &(user, record.position(), record.number));
    }
    let (position, number) = changes.user(batch, user, &UserChange::DeviceList);
    batch.put(
        &DEVICE_CHANGE_BY_USER,
        &user,
        &DeviceListRecord { position, number },
    );
    changes.log(batch, &LogEntry::DeviceList { user });
    Ok(())
}

/// The commit in which a local user's devices or keys changed last; `None` if they never have.
///
/// # Errors
/// If the database fails.
pub fn device_list_position(
    view: &impl Read,
    user: UserSerial,
) -> Result<Option<Position>, StoreError> {
    let record = view.get(&DEVICE_CHANGE_BY_USER, &user)?;
    Ok(record.map(|record| record.position()))
}

/// The members of a room whose devices or keys changed after `after` and up to `up_to`. Some may have left since.
///
/// # Errors
/// If the database fails.
pub fn devices_changed(
    view: &impl Read,
    room: RoomSerial,
    after: Position,
    up_to: Position,
) -> Result<Vec<UserSerial>, StoreError> {
    let from = (room, Position(after.0.saturating_add(1)), UserSerial(0));
    view.scan_from(&DEVICE_CHANGE_BY_ROOM, &(room,), &from)
        .take_while(|row| !matches!(row, Ok(((_, position, _), ())) if *position > up_to))
        .map(|row| row.map(|((_, _, user), ())| user))
        .collect()
}

/// The users on whose keys `user` has put signatures after `after` and up to `up_to`: the user's own devices read those keys again.
///
/// # Errors
/// If the database fails.
pub fn users_signed(
    view: &impl Read,
    user: UserSerial,
    after: Position,
    up_to: Position,
) -> Result<Vec<UserSerial>, StoreError> {
    let from = (user, Position(after.0.saturating_add(1)), UserSerial(0));
    view.scan_from(&SIGNED_USER_BY_USER, &(user,), &from)
        .take_while(|row| !matches!(row, Ok(((_, position, _), ())) if *position > up_to))
        .map(|row| row.map(|((_, _, signed), ())| signed))
        .collect()
}
