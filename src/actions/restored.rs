//! What must not be done a second time by a server that was restored from a backup, what it
//! has to tell and to ask anew, and what a backup must have.

use model::{
    Changes, ContentHash, EduQueueRecord, LogEntry, ServerEdu,
    tables::{
        ACCOUNT_BY_USER, EDU_BY_SERVER, EDU_QUEUE_BY_SERVER, KEY_COUNTS_BY_DEVICE,
        MEDIA_BY_CONTENT, ONE_TIME_KEY_BY_DEVICE, ONE_TIME_KEY_BY_ID, PUBLISHED_DEVICES_BY_USER,
        PUSH_BY_PUSHER, REMOTE_DEVICE_BY_USER, REMOTE_DEVICE_LIST_BY_USER, SMALL_FILE_BY_CONTENT,
        STALE_DEVICE_LIST_BY_TIME,
    },
};
use store::{Batch, Latest, Position, Read, Store, StoreError};

/// What [`forget_outdated`] dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// One-time keys of devices.
    pub one_time_keys: u64,
    /// Notifications that waited for push gateways.
    pub notifications: u64,
    /// Changes of devices that other servers were to be told.
    pub device_changes: u64,
}

/// Drops from a restored database, which no server runs on, what may have been given out
/// since the backup was made: one-time keys, which must never be given out twice (devices
/// are told that there are none, and upload new ones), and notifications that waited.
///
/// Other servers have seen a time that this one has forgotten. What was to be told of devices
/// then is outdated: it is dropped, and the devices of everybody are told anew, in a way that
/// makes other servers ask for the whole list. The devices of their users, whose changes this
/// server has confirmed and forgotten, are asked for when they are needed next.
///
/// Events, messages to devices and transactions for other servers and application services
/// stay: they have ids of their own, by which who has had them knows them again.
///
/// # Errors
/// If the database fails.
pub async fn forget_outdated(store: &Store) -> Result<Forgotten, StoreError> {
    store
        .commit(|latest, position, batch| {
            let mut forgotten = Forgotten {
                one_time_keys: latest.scan(&ONE_TIME_KEY_BY_DEVICE, &()).count() as u64,
                notifications: latest.scan(&PUSH_BY_PUSHER, &()).count() as u64,
                device_changes: 0,
            };
            batch.delete_prefix(&ONE_TIME_KEY_BY_DEVICE, &());
            batch.delete_prefix(&ONE_TIME_KEY_BY_ID, &());
            batch.delete_prefix(&KEY_COUNTS_BY_DEVICE, &());
            batch.delete_prefix(&PUSH_BY_PUSHER, &());
            forgotten.device_changes = forget_device_changes(latest, batch)?;
            tell_devices_anew(latest, position, batch)?;
            batch.delete_prefix(&REMOTE_DEVICE_LIST_BY_USER, &());
            batch.delete_prefix(&REMOTE_DEVICE_BY_USER, &());
            batch.delete_prefix(&STALE_DEVICE_LIST_BY_TIME, &());
            Ok(forgotten)
        })
        .await
}

/// Takes changes of devices and keys out of the queues for other servers; says how many.
fn forget_device_changes(latest: &Latest, batch: &mut Batch) -> Result<u64, StoreError> {
    let mut forgotten = 0;
    // The queue of the server whose rows these are.
    let mut left: Option<(String, EduQueueRecord)> = None;
    for row in latest.scan(&EDU_BY_SERVER, &()) {
        let (key, edu) = row?;
        if matches!(edu, ServerEdu::ToDevice { .. }) {
            continue;
        }
        let usage = match left.take() {
            Some((server, usage)) if server == key.0 => usage,
            other => {
                put_usage(batch, other);
                let usage = latest.get(&EDU_QUEUE_BY_SERVER, &key.0)?;
                usage.unwrap_or_default()
            }
        };
        let rows = usage.rows.saturating_sub(1);
        left = Some((key.0.clone(), EduQueueRecord { rows, ..usage }));
        batch.delete(&EDU_BY_SERVER, &key);
        forgotten += 1;
    }
    put_usage(batch, left);
    Ok(forgotten)
}

fn put_usage(batch: &mut Batch, left: Option<(String, EduQueueRecord)>) {
    match left {
        Some((server, usage)) if usage.rows == 0 => batch.delete(&EDU_QUEUE_BY_SERVER, &server),
        Some((server, usage)) => batch.put(&EDU_QUEUE_BY_SERVER, &server, &usage),
        None => {}
    }
}

/// Has other servers told of everybody's devices as if they knew none of them.
fn tell_devices_anew(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    batch.delete_prefix(&PUBLISHED_DEVICES_BY_USER, &());
    let mut changes = Changes::at(position);
    for row in latest.scan(&ACCOUNT_BY_USER, &()) {
        let (user, _) = row?;
        changes.log(batch, &LogEntry::DeviceList { user });
    }
    Ok(())
}

/// The hashes of all uploaded files whose bytes must lie in the folder for files, each once.
///
/// # Errors
/// If the database fails.
pub fn named_files(
    view: &impl Read,
    mut visit: impl FnMut(&ContentHash),
) -> Result<(), StoreError> {
    let mut last = None;
    for row in view.scan(&MEDIA_BY_CONTENT, &()) {
        let ((hash, _), ()) = row?;
        if last != Some(hash) && !view.contains(&SMALL_FILE_BY_CONTENT, &hash)? {
            visit(&hash);
        }
        last = Some(hash);
    }
    Ok(())
}
