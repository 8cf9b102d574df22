//! Devices and cross-signing keys of other servers' users with whom rooms are shared: kept, so that their servers need not be asked each time
//! (server-server API, "Device Management").
//!
//! A list is fetched whole once and then follows the updates that the user's server sends. Each names those before it. If one is missing, or if no room was
//! shared for a while, so that none were sent, the list is not used until it was fetched again.

mod checks;
mod fetching;
mod shown;
mod updates;

pub use fetching::{DeviceListToFetch, DeviceListsToFetch};
pub use shown::{KeptKeys, RemoteKeySet, kept_keys, shown_answer};

use model::{
    Changes, DeviceListRecord, LogEntry, Membership, RemoteDeviceListRecord, RoomSerial,
    StaleDeviceList, UserSerial,
    tables::{
        DEVICE_CHANGE_BY_USER, MEMBERSHIP_BY_USER, REMOTE_DEVICE_LIST_BY_USER,
        STALE_DEVICE_LIST_BY_TIME,
    },
};
use store::{Batch, Latest, Position, Read as _, StoreError};

/// The most devices of one user that are taken.
const MAX_DEVICES: usize = 1_000;

/// Records that the devices or keys of another server's user changed, for each room that the user is joined to. Once in a commit.
fn announce(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    user: UserSerial,
) -> Result<(), StoreError> {
    announce_devices(latest, position, batch, user, None)
}

/// Records that the devices or keys of another server's user changed, for each room that the user is joined to, and the one into which this commit brings the user.
/// Once in a commit.
///
/// # Errors
/// If the database fails.
pub fn announce_devices(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    user: UserSerial,
    entered: Option<RoomSerial>,
) -> Result<(), StoreError> {
    let mut changes = Changes::at(position);
    let earlier = latest.get(&DEVICE_CHANGE_BY_USER, &user)?;
    let earlier = earlier.map(|record| record.position());
    for row in latest.scan(&MEMBERSHIP_BY_USER, &(user,)) {
        let ((_, room), record) = row?;
        if record.membership == Membership::Join && entered != Some(room) {
            changes.device_list(batch, room, user, earlier);
        }
    }
    if let Some(room) = entered {
        changes.device_list(batch, room, user, earlier);
    }
    changes.log(batch, &LogEntry::RemoteDeviceList { user });
    // No row of the user's own: that is for this server's users.
    let record = DeviceListRecord {
        position: position.0,
        number: 0,
    };
    batch.put(&DEVICE_CHANGE_BY_USER, &user, &record);
    Ok(())
}

/// Writes what is known about a user's list, with its place among those to fetch.
fn put_list(
    batch: &mut Batch,
    user: UserSerial,
    before: Option<&RemoteDeviceListRecord>,
    list: &RemoteDeviceListRecord,
) {
    if let Some(stale) = before.and_then(|before| before.stale) {
        batch.delete(&STALE_DEVICE_LIST_BY_TIME, &(stale.retry_at, user));
    }
    if let Some(stale) = list.stale {
        batch.put(&STALE_DEVICE_LIST_BY_TIME, &(stale.retry_at, user), &());
    }
    batch.put(&REMOTE_DEVICE_LIST_BY_USER, &user, list);
}

/// That a list is to be fetched at once.
fn stale_now(position: Position, now: u64) -> Option<StaleDeviceList> {
    Some(StaleDeviceList {
        marked_at: position.0,
        failures: 0,
        retry_at: now,
    })
}
