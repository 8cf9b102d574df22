//! What must not be done a second time by a server that was restored from a backup, and
//! what a backup must have.

use model::{
    ContentHash,
    tables::{
        KEY_COUNTS_BY_DEVICE, MEDIA_BY_CONTENT, ONE_TIME_KEY_BY_DEVICE, ONE_TIME_KEY_BY_ID,
        PUSH_BY_PUSHER, SMALL_FILE_BY_CONTENT,
    },
};
use store::{Read, Store, StoreError};

/// What [`forget_outdated`] dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// One-time keys of devices.
    pub one_time_keys: u64,
    /// Notifications that waited for push gateways.
    pub notifications: u64,
}

/// Drops from a restored database, which no server runs on, what may have been given out
/// since the backup was made: one-time keys, which must never be given out twice (devices
/// are told that there are none, and upload new ones), and notifications that waited.
///
/// Transactions of application services stay: they have ids of their own, so that a service
/// knows one that it has had.
///
/// # Errors
/// If the database fails.
pub async fn forget_outdated(store: &Store) -> Result<Forgotten, StoreError> {
    store
        .commit(|latest, _, batch| {
            let forgotten = Forgotten {
                one_time_keys: latest.scan(&ONE_TIME_KEY_BY_DEVICE, &()).count() as u64,
                notifications: latest.scan(&PUSH_BY_PUSHER, &()).count() as u64,
            };
            batch.delete_prefix(&ONE_TIME_KEY_BY_DEVICE, &());
            batch.delete_prefix(&ONE_TIME_KEY_BY_ID, &());
            batch.delete_prefix(&KEY_COUNTS_BY_DEVICE, &());
            batch.delete_prefix(&PUSH_BY_PUSHER, &());
            Ok(forgotten)
        })
        .await
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
