//! What other servers say has changed.

use model::{
    CrossSigningKeyRecord, RemoteDeviceListRecord, RemoteDeviceRecord, UserSerial,
    tables::{
        CROSS_SIGNING_KEY_BY_USER, REMOTE_DEVICE_BY_USER, REMOTE_DEVICE_LIST_BY_USER,
        SIGNATURE_BY_KEY, USER_BY_ID,
    },
};
use ruma_federation_api::transactions::edu::{DeviceListUpdateContent, SigningKeyUpdateContent};
use store::{Batch, Latest, Position, Read, StoreError};

use super::{MAX_DEVICES, announce, checks, put_list, stale_now};
use crate::{
    Accounts,
    cross_signing::{MASTER, SELF_SIGNING},
};

/// A device as an update has it: none if it is gone, or has no keys.
struct DeviceUpdate {
    device_id: String,
    device: Option<RemoteDeviceRecord>,
    /// Whether it has no keys yet: nobody can see anything of it.
    is_without_keys: bool,
    stream_id: u64,
    earlier: Vec<u64>,
}

impl Accounts {
    /// Takes the change of a device of another server's user (`m.device_list_update`), which that server has sent. Returns whether a list is to be fetched now.
    ///
    /// It is written in order and not yet on disk when this returns.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remote_device_changed(
        &self,
        update: DeviceListUpdateContent,
    ) -> Result<bool, StoreError> {
        let name = update.device_display_name.as_deref();
        let keys = update
            .keys
            .as_ref()
            .filter(|_| update.deleted != Some(true));
        let device =
            keys.and_then(|keys| checks::device(&update.user_id, &update.device_id, keys, name));
        let change = DeviceUpdate {
            device_id: update.device_id.to_string(),
            device,
            is_without_keys: update.keys.is_none() && update.deleted != Some(true),
            stream_id: update.stream_id.into(),
            earlier: update.prev_id.into_iter().map(u64::from).collect(),
        };
        let (name, now) = (update.user_id.to_string(), self.now());
        self.store()
            .commit_later(move |latest, position, batch| {
                let Some(user) = latest.get(&USER_BY_ID, &name)? else {
                    return Ok(false);
                };
                device_changed(latest, position, batch, user, now, change)
            })
            .await
    }

    /// Takes the change of the cross-signing keys of another server's user (`m.signing_key_update`), which that server has sent. Returns whether a list is to be
    /// fetched now.
    ///
    /// It is written in order and not yet on disk when this returns.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remote_signing_keys_changed(
        &self,
        update: SigningKeyUpdateContent,
    ) -> Result<bool, StoreError> {
        let now = self.now();
        let checked = self
            .store()
            .prepare(move |latest| {
                let user = latest.get(&USER_BY_ID, &update.user_id.to_string())?;
                let Some(user) = user else {
                    return Ok::<_, StoreError>(None);
                };
                let known = latest.get(&CROSS_SIGNING_KEY_BY_USER, &(user, MASTER))?;
                let (master, own) = (update.master_key.as_ref(), update.self_signing_key.as_ref());
                let keys = checks::signing_keys(&update.user_id, known.as_ref(), master, own);
                let told = usize::from(master.is_some()) + usize::from(own.is_some());
                let is_whole = keys.len() == told;
                Ok(Some((user, keys, is_whole)))
            })
            .await?;
        let Some((user, keys, is_whole)) = checked else {
            return Ok(false);
        };
        self.store()
            .commit_later(move |latest, position, batch| {
                signing_keys_changed(latest, position, batch, user, now, (keys, is_whole))
            })
            .await
    }
}

fn device_changed(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    user: UserSerial,
    now: u64,
    update: DeviceUpdate,
) -> Result<bool, StoreError> {
    let before = latest.get(&REMOTE_DEVICE_LIST_BY_USER, &user)?;
    let key = (user, update.device_id.clone());
    // Servers tell of such a device when its user comes into a room, which says already that
    // there is somebody whose devices nobody knows.
    let is_news = !update.is_without_keys || latest.contains(&REMOTE_DEVICE_BY_USER, &key)?;
    let Some(before) = before else {
        // Nobody has asked for it: who does now learns the newest.
        if is_news {
            announce(latest, position, batch, user)?;
        }
        return Ok(false);
    };
    if before.stale.is_none() && before.stream_id == Some(update.stream_id) {
        return Ok(false);
    }
    if is_news {
        announce(latest, position, batch, user)?;
    }
    let mut list = before.clone();
    if follows(&before, &update) {
        let known = latest.contains(&REMOTE_DEVICE_BY_USER, &key)?;
        match update.device {
            Some(device) => {
                batch.put(&REMOTE_DEVICE_BY_USER, &key, &device);
                list.devices += u32::from(!known);
            }
            None => {
                batch.delete(&REMOTE_DEVICE_BY_USER, &key);
                list.devices -= u32::from(known && list.devices > 0);
            }
        }
        list.stream_id = Some(update.stream_id);
        put_list(batch, user, Some(&before), &list);
        return Ok(false);
    }
    list.stale = stale_now(position, now);
    put_list(batch, user, Some(&before), &list);
    Ok(true)
}

/// Whether the kept list is the one that the update changes.
fn follows(list: &RemoteDeviceListRecord, update: &DeviceUpdate) -> bool {
    let is_next = |earlier: &u64| Some(*earlier) == list.stream_id;
    list.stale.is_none()
        && !update.earlier.is_empty()
        && update.earlier.iter().all(is_next)
        && usize::try_from(list.devices).is_ok_and(|count| count < MAX_DEVICES)
}

fn signing_keys_changed(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    user: UserSerial,
    now: u64,
    (keys, is_whole): (Vec<(u8, CrossSigningKeyRecord)>, bool),
) -> Result<bool, StoreError> {
    announce(latest, position, batch, user)?;
    let Some(before) = latest.get(&REMOTE_DEVICE_LIST_BY_USER, &user)? else {
        return Ok(false);
    };
    let mut list = before.clone();
    if before.stale.is_none() && is_whole {
        write_signing_keys(latest, batch, user, keys)?;
        return Ok(false);
    }
    list.stale = stale_now(position, now);
    put_list(batch, user, Some(&before), &list);
    Ok(true)
}

/// Puts a user's keys into the place of those before. Returns whether they are others.
pub(super) fn write_signing_keys(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    keys: Vec<(u8, CrossSigningKeyRecord)>,
) -> Result<bool, StoreError> {
    let mut changed = false;
    let has = |usage: u8| keys.iter().any(|(new, _)| *new == usage);
    if has(MASTER) && !has(SELF_SIGNING) {
        // It may be signed by the master key before.
        batch.delete(&CROSS_SIGNING_KEY_BY_USER, &(user, SELF_SIGNING));
    }
    for (usage, key) in keys {
        let before = latest.get(&CROSS_SIGNING_KEY_BY_USER, &(user, usage))?;
        if before.as_ref() == Some(&key) {
            continue;
        }
        changed = true;
        if let Some(before) = before.filter(|before| before.public_key != key.public_key) {
            // What people here have signed about a key is worth nothing with another.
            batch.delete_prefix(&SIGNATURE_BY_KEY, &(user, before.public_key));
        }
        batch.put(&CROSS_SIGNING_KEY_BY_USER, &(user, usage), &key);
    }
    Ok(changed)
}
