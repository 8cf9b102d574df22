//! Devices: listing, naming, deleting.

use audit::{Act, Verb};
use model::{
    Changes, DeviceRecord, DeviceSerial, UserSerial,
    tables::{
        DEVICE_BY_USER, DEVICE_KEYS_BY_DEVICE, EVENT_BY_TRANSACTION, FALLBACK_KEY_BY_DEVICE,
        KEY_COUNTS_BY_DEVICE, LAST_SEEN_BY_DEVICE, ONE_TIME_KEY_BY_DEVICE, ONE_TIME_KEY_BY_ID,
        SIGNATURE_BY_KEY, TO_DEVICE_BY_DEVICE, TO_DEVICE_QUEUE_BY_DEVICE,
        TO_DEVICE_TRANSACTION_BY_HASH, TO_DEVICE_TRANSACTION_BY_POSITION,
    },
};
use ruma_common::{DeviceId, OwnedDeviceId};
use runtime::Random;
use serde_json::json;
use store::{Batch, Latest, Read, StoreError};

use crate::{
    Accounts, audited, dehydrated_devices, deleted_data, device_lists, person::person, pushers,
    tokens,
};

/// The longest device id, in bytes.
const MAX_DEVICE_ID_BYTES: usize = 255;
/// The longest device name, in bytes.
const MAX_DISPLAY_NAME_BYTES: usize = 255;
/// The most devices of one user.
const MAX_DEVICES: usize = 500;

/// Why something cannot be done with a device.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeviceError {
    /// The user has no such device.
    #[error("there is no such device")]
    NotFound,
    /// Not a device id that this server takes.
    #[error("a device id has 1 to 255 bytes and is not \"*\"")]
    InvalidId,
    /// One of the user's cross-signing keys has this id.
    #[error("this device id is the id of a cross-signing key")]
    IsKeyId,
    /// The name is too long.
    #[error("a device name has at most 255 bytes")]
    NameTooLong,
    /// The user has as many devices as one may have.
    #[error("this user has too many devices: sign out from some of them first")]
    TooMany,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A device as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The device's id.
    pub device_id: OwnedDeviceId,
    /// The device's serial.
    pub serial: DeviceSerial,
    /// Its name.
    pub display_name: Option<String>,
    /// When it was used last, if ever.
    pub last_seen: Option<LastSeen>,
}

/// When and from where a device was used last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastSeen {
    /// In ms since the Unix epoch.
    pub at: u64,
    /// The network address.
    pub address: String,
    /// What the client called itself.
    pub user_agent: Option<String>,
}

/// All devices of a user, for that user and administrators.
///
/// # Errors
/// If the database fails.
pub fn devices(view: &impl Read, user: UserSerial) -> Result<Vec<Device>, StoreError> {
    view.scan(&DEVICE_BY_USER, &(user,))
        .map(|row| {
            let ((_, device_id), record) = row?;
            with_last_seen(view, device_id, record)
        })
        .collect()
}

/// One device of a user, for that user and administrators.
///
/// # Errors
/// If the database fails.
pub fn device(
    view: &impl Read,
    user: UserSerial,
    device_id: &DeviceId,
) -> Result<Option<Device>, StoreError> {
    view.get(&DEVICE_BY_USER, &(user, device_id.to_string()))?
        .map(|record| with_last_seen(view, device_id.to_string(), record))
        .transpose()
}

fn with_last_seen(
    view: &impl Read,
    device_id: String,
    record: DeviceRecord,
) -> Result<Device, StoreError> {
    let last_seen = view.get(&LAST_SEEN_BY_DEVICE, &record.serial)?;
    Ok(Device {
        device_id: device_id.into(),
        serial: record.serial,
        display_name: record.display_name,
        last_seen: last_seen.map(|seen| LastSeen {
            at: seen.at,
            address: seen.address,
            user_agent: seen.user_agent,
        }),
    })
}

/// A device id nobody has asked for: ten capital letters.
pub(crate) fn draw_device_id(random: &Random) -> OwnedDeviceId {
    let letters = random
        .bytes::<10>()
        .map(|byte| char::from(b'A' + byte % 26));
    letters.iter().collect::<String>().into()
}

pub(crate) fn check_device_id(device_id: &DeviceId) -> Result<(), DeviceError> {
    let id = device_id.as_str();
    // "*" means all devices in to-device messages.
    if id.is_empty() || id.len() > MAX_DEVICE_ID_BYTES || id == "*" {
        return Err(DeviceError::InvalidId);
    }
    Ok(())
}

pub(crate) fn check_display_name(name: Option<&str>) -> Result<(), DeviceError> {
    if name.is_some_and(|name| name.len() > MAX_DISPLAY_NAME_BYTES) {
        return Err(DeviceError::NameTooLong);
    }
    Ok(())
}

/// Whether the user may have this device, be it a known or a new one.
pub(crate) fn check_number(
    view: &impl Read,
    user: UserSerial,
    device_id: &DeviceId,
) -> Result<(), DeviceError> {
    let is_known = view.contains(&DEVICE_BY_USER, &(user, device_id.to_string()))?;
    let own = person(view, user)?.limits.devices;
    let own = own.map(|own| usize::try_from(own).unwrap_or(usize::MAX));
    let most = own.map_or(MAX_DEVICES, |own| own.min(MAX_DEVICES));
    if !is_known && view.scan(&DEVICE_BY_USER, &(user,)).count() >= most {
        return Err(DeviceError::TooMany);
    }
    Ok(())
}

impl Accounts {
    /// Gives a device of a user another name, or takes it away.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub async fn set_device_display_name(
        &self,
        act: &Act,
        user: UserSerial,
        device_id: &DeviceId,
        display_name: Option<String>,
    ) -> Result<(), DeviceError> {
        check_display_name(display_name.as_deref())?;
        let (now, act) = (self.now(), act.clone());
        let key = (user, device_id.to_string());
        self.store()
            .commit(move |latest, position, batch| {
                let mut record = latest
                    .get(&DEVICE_BY_USER, &key)?
                    .ok_or(DeviceError::NotFound)?;
                if record.display_name != display_name {
                    let deed = audited::deed(latest, &act, Verb::DeviceRenamed, user)?
                        .before(json!({ "device_id": key.1, "name": record.display_name }))
                        .after(json!({ "name": display_name }));
                    audit::record(latest, batch, now, &[deed])?;
                    record.display_name = display_name;
                    batch.put(&DEVICE_BY_USER, &key, &record);
                    // Others see the name beside the device's keys.
                    let mut changes = Changes::at(position);
                    device_lists::announce(latest, batch, &mut changes, user)?;
                }
                Ok(())
            })
            .await
    }

    /// Deletes devices of a user with their tokens, pushers, keys and queues. Those that the user does not have are left out.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove_devices(
        &self,
        act: &Act,
        user: UserSerial,
        device_ids: Vec<OwnedDeviceId>,
    ) -> Result<(), StoreError> {
        let (sessions, now, act) = (self.inner.sessions.clone(), self.now(), act.clone());
        self.store()
            .commit(move |latest, position, batch| {
                let (mut removed, mut changes) = (Vec::new(), Changes::at(position));
                let mut ids = Vec::new();
                for device_id in device_ids {
                    let id = device_id.to_string();
                    if let Some(record) = latest.get(&DEVICE_BY_USER, &(user, id.clone()))? {
                        remove(latest, batch, user, &id, record.serial)?;
                        removed.push(record.serial);
                        ids.push(id);
                    }
                }
                deleted_data::forget_settings(latest, batch, &mut changes, user, &ids)?;
                if !removed.is_empty() {
                    device_lists::announce(latest, batch, &mut changes, user)?;
                    tell_removed(latest, batch, (&act, now), user, &ids)?;
                }
                for device in removed {
                    sessions.evict_device(device, position);
                }
                Ok(())
            })
            .await
    }

    /// Deletes all devices of a user, but not `kept`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remove_all_devices(
        &self,
        act: &Act,
        user: UserSerial,
        kept: Option<DeviceSerial>,
    ) -> Result<(), StoreError> {
        let (sessions, now, act) = (self.inner.sessions.clone(), self.now(), act.clone());
        self.store()
            .commit(move |latest, position, batch| {
                let mut changes = Changes::at(position);
                let removed = remove_all(latest, batch, &mut changes, user, kept)?;
                if !removed.is_empty() {
                    device_lists::announce(latest, batch, &mut changes, user)?;
                    tell_removed(latest, batch, (&act, now), user, &removed)?;
                }
                sessions.evict_user(user, position);
                Ok(())
            })
            .await
    }
}

fn tell_removed(
    latest: &Latest,
    batch: &mut Batch,
    (act, now): (&Act, u64),
    user: UserSerial,
    device_ids: &[String],
) -> Result<(), StoreError> {
    let deed = audited::deed(latest, act, Verb::DevicesRemoved, user)?;
    let deed = deed.before(json!({ "devices": device_ids }));
    audit::record(latest, batch, now, &[deed])
}

/// Removes all devices but `kept`, and returns which they were. The caller evicts their sessions and announces the change.
pub(crate) fn remove_all(
    latest: &Latest,
    batch: &mut Batch,
    changes: &mut Changes,
    user: UserSerial,
    kept: Option<DeviceSerial>,
) -> Result<Vec<String>, StoreError> {
    let mut removed = Vec::new();
    for row in latest.scan(&DEVICE_BY_USER, &(user,)) {
        let ((_, device_id), record) = row?;
        if Some(record.serial) != kept {
            remove(latest, batch, user, &device_id, record.serial)?;
            removed.push(device_id);
        }
    }
    deleted_data::forget_settings(latest, batch, changes, user, &removed)?;
    Ok(removed)
}

/// Removes everything that belongs to a device.
pub(crate) fn remove(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    device_id: &str,
    device: DeviceSerial,
) -> Result<(), StoreError> {
    tokens::delete_all(latest, batch, device)?;
    dehydrated_devices::forget(latest, batch, user, device)?;
    pushers::remove_of_device(latest, batch, user, device)?;
    batch.delete(&DEVICE_BY_USER, &(user, device_id.to_owned()));
    batch.delete(&LAST_SEEN_BY_DEVICE, &device);
    batch.delete(&DEVICE_KEYS_BY_DEVICE, &device);
    batch.delete(&KEY_COUNTS_BY_DEVICE, &device);
    batch.delete_prefix(&ONE_TIME_KEY_BY_DEVICE, &(device,));
    batch.delete_prefix(&ONE_TIME_KEY_BY_ID, &(device,));
    batch.delete_prefix(&FALLBACK_KEY_BY_DEVICE, &(device,));
    batch.delete_prefix(&SIGNATURE_BY_KEY, &(user, device_id.to_owned()));
    batch.delete_prefix(&TO_DEVICE_BY_DEVICE, &(device,));
    batch.delete(&TO_DEVICE_QUEUE_BY_DEVICE, &device);
    batch.delete_prefix(&TO_DEVICE_TRANSACTION_BY_HASH, &(device,));
    batch.delete_prefix(&TO_DEVICE_TRANSACTION_BY_POSITION, &(device,));
    // Transaction ids end with the device that used them.
    batch.delete_prefix(&EVENT_BY_TRANSACTION, &(device,));
    Ok(())
}

/// Whether `device` is still the user's device of that id.
pub(crate) fn is_current(
    view: &impl Read,
    user: UserSerial,
    device_id: &DeviceId,
    device: DeviceSerial,
) -> Result<bool, StoreError> {
    let record = view.get(&DEVICE_BY_USER, &(user, device_id.to_string()))?;
    Ok(record.is_some_and(|record| record.serial == device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_device_ids_are_capital_letters() {
        let id = draw_device_id(&Random::seeded(3));
        assert_eq!(id.as_str().len(), 10);
        assert!(id.as_str().bytes().all(|byte| byte.is_ascii_uppercase()));
    }
}
