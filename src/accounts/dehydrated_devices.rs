//! Dehydrated devices (MSC3814): a device of a user without a client, which gathers keys until a new client takes them over.

use std::collections::BTreeMap;

use model::{
    Changes, DehydratedDeviceRecord, DeviceRecord, DeviceSerial, UserSerial,
    tables::{DEHYDRATED_DEVICE_BY_USER, DEVICE_BY_USER},
};
use ruma_common::{
    DeviceId, OwnedDeviceId, OwnedOneTimeKeyId,
    encryption::{DeviceKeys, OneTimeKey},
    serde::Raw,
};
use serde_json::value::RawValue;
use store::{Batch, Latest, Position, Read, Snapshot, StoreError};

use crate::{
    Accounts, DeviceError, Session, UploadKeysError,
    cross_signing::is_key_id,
    device_keys::{self, NewIdentity},
    device_lists,
    devices::{self, check_device_id, check_display_name, check_number},
    is_active, json,
    one_time_keys::{self, NewKeys},
    to_device,
};

/// The longest encrypted device, in bytes.
const MAX_DATA_BYTES: usize = 128 * 1_024;
/// The most messages handed over at once.
const MAX_EVENTS: usize = 100;

/// Why something cannot be done with a dehydrated device.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DehydratedDeviceError {
    /// The user has none (`M_NOT_FOUND`).
    #[error("there is no dehydrated device")]
    NotFound,
    /// The device is not the user's dehydrated device (`M_FORBIDDEN`).
    #[error("this is not your dehydrated device")]
    NotDehydrated,
    /// The user has a device of this id that is not dehydrated (`M_INVALID_PARAM`).
    #[error("another device has this id")]
    IdInUse,
    /// The data is not a JSON object with an algorithm (`M_BAD_JSON`).
    #[error("device_data must be a JSON object with an algorithm")]
    InvalidData,
    /// The data is too long (`M_TOO_LARGE`).
    #[error("device_data has at most 131072 bytes")]
    TooLarge,
    /// The token is none of this server's (`M_INVALID_PARAM`).
    #[error("the token is none of this server's")]
    InvalidToken,
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Its keys are not taken.
    #[error(transparent)]
    Keys(#[from] UploadKeysError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A dehydrated device that is to be stored (`PUT /dehydrated_device`).
#[derive(Clone, Debug)]
pub struct NewDehydratedDevice {
    /// Its id.
    pub device_id: OwnedDeviceId,
    /// Its name.
    pub display_name: Option<String>,
    /// The encrypted device.
    pub device_data: Box<RawValue>,
    /// Its identity keys.
    pub device_keys: Raw<DeviceKeys>,
    /// Its one-time keys.
    pub one_time_keys: BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>,
    /// Its fallback keys.
    pub fallback_keys: BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>,
}

/// A user's dehydrated device.
#[derive(Clone, Debug)]
pub struct DehydratedDevice {
    /// Its id.
    pub device_id: OwnedDeviceId,
    /// The encrypted device, as it was stored.
    pub device_data: Box<RawValue>,
}

/// A page of the messages for a dehydrated device.
#[derive(Clone, Debug)]
pub struct DehydratedEvents {
    /// The messages, as a sync would show them.
    pub events: Vec<Vec<u8>>,
    /// The token of the page after this one.
    pub next_batch: String,
    /// Whether that page has something already.
    pub has_more: bool,
}

/// The user's dehydrated device. For that user alone.
///
/// # Errors
/// [`DehydratedDeviceError::NotFound`], or that the database failed.
pub fn dehydrated_device(
    view: &impl Read,
    user: UserSerial,
) -> Result<DehydratedDevice, DehydratedDeviceError> {
    let record = view.get(&DEHYDRATED_DEVICE_BY_USER, &user)?;
    let record = record.ok_or(DehydratedDeviceError::NotFound)?;
    Ok(DehydratedDevice {
        device_id: record.device_id.into(),
        device_data: json::raw(record.json, DEHYDRATED_DEVICE_BY_USER.name)?,
    })
}

/// The messages for the user's dehydrated device, from a token of an earlier page on. They stay until the device is deleted, so that whoever takes them
/// over may fail and begin again.
///
/// # Errors
/// [`DehydratedDeviceError`].
pub fn dehydrated_events(
    snapshot: &Snapshot,
    user: UserSerial,
    device_id: &DeviceId,
    from: Option<&str>,
) -> Result<DehydratedEvents, DehydratedDeviceError> {
    let record = snapshot.get(&DEHYDRATED_DEVICE_BY_USER, &user)?;
    let record = record
        .filter(|record| record.device_id == device_id.as_str())
        .ok_or(DehydratedDeviceError::NotDehydrated)?;
    let after = match from {
        None => Position(0),
        Some(token) => parse_token(token).ok_or(DehydratedDeviceError::InvalidToken)?,
    };
    let (events, up_to) = to_device::to_device(snapshot, record.device, after, MAX_EVENTS)?;
    Ok(DehydratedEvents {
        events,
        next_batch: format!("d{}", up_to.0),
        has_more: up_to < snapshot.position(),
    })
}

fn parse_token(token: &str) -> Option<Position> {
    token.strip_prefix('d')?.parse().ok().map(Position)
}

/// What is written of a new dehydrated device.
struct Draft {
    device_id: OwnedDeviceId,
    display_name: Option<String>,
    json: Vec<u8>,
    identity: NewIdentity,
    keys: NewKeys,
    candidate: DeviceSerial,
    now: u64,
}

impl Accounts {
    /// Stores a dehydrated device with its keys, in place of the one before.
    ///
    /// # Errors
    /// [`DehydratedDeviceError`]; then nothing was stored.
    pub async fn put_dehydrated_device(
        &self,
        session: &Session,
        new: NewDehydratedDevice,
    ) -> Result<(), DehydratedDeviceError> {
        let (candidate, now) = (DeviceSerial(self.store().next_serial()), self.now());
        let owner = session.clone();
        // Signatures are checked off the network's threads.
        let draft = self
            .store()
            .prepare(move |latest| draft(latest, &owner, new, candidate, now))
            .await?;
        let user = session.user;
        self.store()
            .commit(move |latest, position, batch| write(latest, position, batch, user, draft))
            .await
    }

    /// Deletes the user's dehydrated device and returns its id.
    ///
    /// # Errors
    /// [`DehydratedDeviceError::NotFound`], or that the database failed.
    pub async fn delete_dehydrated_device(
        &self,
        user: UserSerial,
    ) -> Result<OwnedDeviceId, DehydratedDeviceError> {
        self.store()
            .commit(move |latest, position, batch| {
                let record = latest.get(&DEHYDRATED_DEVICE_BY_USER, &user)?;
                let record = record.ok_or(DehydratedDeviceError::NotFound)?;
                devices::remove(latest, batch, user, &record.device_id, record.device)?;
                device_lists::announce(latest, batch, &mut Changes::at(position), user)?;
                Ok(record.device_id.into())
            })
            .await
    }
}

fn draft(
    latest: &Latest,
    owner: &Session,
    new: NewDehydratedDevice,
    candidate: DeviceSerial,
    now: u64,
) -> Result<Draft, DehydratedDeviceError> {
    check_device_id(&new.device_id)?;
    check_display_name(new.display_name.as_deref())?;
    check_data(new.device_data.get())?;
    if !latest.contains(&DEHYDRATED_DEVICE_BY_USER, &owner.user)? {
        check_number(latest, owner.user, &new.device_id)?;
    }
    let keys = new.device_keys.json().get();
    Ok(Draft {
        identity: device_keys::checked(latest, owner, &new.device_id, keys)?,
        keys: NewKeys::checked(&new.one_time_keys, &new.fallback_keys)?,
        device_id: new.device_id,
        display_name: new.display_name,
        json: new.device_data.get().as_bytes().to_vec(),
        candidate,
        now,
    })
}

fn check_data(json: &str) -> Result<(), DehydratedDeviceError> {
    #[derive(serde::Deserialize)]
    struct Data {
        #[serde(rename = "algorithm")]
        _algorithm: String,
    }
    if json.len() > MAX_DATA_BYTES {
        return Err(DehydratedDeviceError::TooLarge);
    }
    if !json.starts_with('{') || serde_json::from_str::<Data>(json).is_err() {
        return Err(DehydratedDeviceError::InvalidData);
    }
    Ok(())
}

fn write(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    user: UserSerial,
    draft: Draft,
) -> Result<(), DehydratedDeviceError> {
    if !is_active(latest, user)? {
        return Err(UploadKeysError::NoDevice.into());
    }
    if is_key_id(latest, user, &draft.device_id)? {
        return Err(DeviceError::IsKeyId.into());
    }
    let device_id = draft.device_id.to_string();
    let earlier = latest.get(&DEHYDRATED_DEVICE_BY_USER, &user)?;
    if let Some(known) = latest.get(&DEVICE_BY_USER, &(user, device_id.clone()))?
        && earlier
            .as_ref()
            .is_none_or(|earlier| earlier.device != known.serial)
    {
        return Err(DehydratedDeviceError::IdInUse);
    }
    if let Some(earlier) = earlier {
        devices::remove(latest, batch, user, &earlier.device_id, earlier.device)?;
    }
    let device = draft.candidate;
    let record = DeviceRecord {
        serial: device,
        display_name: draft.display_name,
        created_at: draft.now,
    };
    batch.put(&DEVICE_BY_USER, &(user, device_id.clone()), &record);
    let named = (device, device_id.as_str());
    device_keys::write_identity(latest, position, batch, user, named, None, &draft.identity)?;
    one_time_keys::write(latest, position, batch, device, draft.keys, false)?;
    let record = DehydratedDeviceRecord {
        device_id,
        device,
        json: draft.json,
    };
    batch.put(&DEHYDRATED_DEVICE_BY_USER, &user, &record);
    device_lists::announce(latest, batch, &mut Changes::at(position), user)?;
    Ok(())
}

/// Forgets that a device is the dehydrated one: it was deleted, or somebody signed in with it.
pub(crate) fn forget(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    device: DeviceSerial,
) -> Result<(), StoreError> {
    let record = latest.get(&DEHYDRATED_DEVICE_BY_USER, &user)?;
    if record.is_some_and(|record| record.device == device) {
        batch.delete(&DEHYDRATED_DEVICE_BY_USER, &user);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_an_object_with_an_algorithm() {
        assert!(check_data(r#"{"algorithm":"a","device_pickle":"p"}"#).is_ok());
        for json in [
            r#"{}"#,
            r#"{"algorithm":1}"#,
            r#"["algorithm"]"#,
            "\"text\"",
        ] {
            let bad = check_data(json);
            assert!(
                matches!(bad, Err(DehydratedDeviceError::InvalidData)),
                "{json}"
            );
        }
        let long = format!(r#"{{"algorithm":"{}"}}"#, "a".repeat(MAX_DATA_BYTES));
        assert!(matches!(
            check_data(&long),
            Err(DehydratedDeviceError::TooLarge)
        ));
    }

    #[test]
    fn tokens_are_this_servers() {
        assert_eq!(parse_token("d12"), Some(Position(12)));
        for token in ["", "12", "d", "dx", "d-1", "s12"] {
            assert_eq!(parse_token(token), None, "{token}");
        }
    }
}
