//! What is taken of the keys that another server tells of its users.

use model::{CrossSigningKeyRecord, RemoteDeviceRecord};
use ruma_common::{
    DeviceId, UserId,
    encryption::{CrossSigningKey, DeviceKeys},
    serde::Raw,
};
use serde::Deserialize;

use crate::{
    cross_signing::{MASTER, SELF_SIGNING, master_of, signed_by_master},
    json::{self, key_bytes, key_object, text},
};

/// The largest JSON of one device's identity keys, in bytes.
const MAX_KEYS_BYTES: usize = 32 * 1_024;
/// The longest name of a device that is kept, in characters.
const MAX_NAME: usize = 128;
/// The longest id of a device, in bytes.
const MAX_ID: usize = 255;

#[derive(Default, Deserialize)]
struct Unsigned {
    device_display_name: Option<String>,
}

#[derive(Deserialize)]
struct WithUnsigned {
    #[serde(default)]
    unsigned: Unsigned,
}

/// The device of a user, if the keys are its own. Its name comes beside the keys or in their
/// `unsigned`.
pub(super) fn device(
    user_id: &UserId,
    device_id: &DeviceId,
    keys: &Raw<DeviceKeys>,
    name: Option<&str>,
) -> Option<RemoteDeviceRecord> {
    let mut object = key_object(keys.json().get(), MAX_KEYS_BYTES).ok()?;
    let is_its_own = text(&object, "user_id") == Some(user_id.as_str())
        && text(&object, "device_id") == Some(device_id.as_str());
    if !is_its_own || device_id.as_str().len() > MAX_ID {
        return None;
    }
    json::object(&object, "keys")?;
    let inner = serde_json::from_str::<WithUnsigned>(keys.json().get()).ok();
    let inner = inner.and_then(|keys| keys.unsigned.device_display_name);
    let name = name.map(str::to_owned).or(inner);
    object.remove("unsigned");
    json::keep_all_signatures_of(&mut object, user_id.as_str());
    Some(RemoteDeviceRecord {
        keys: key_bytes(&object).ok()?,
        display_name: name.map(|name| name.chars().take(MAX_NAME).collect()),
    })
}

/// Those of a user's master and self-signing key that are what they say, with their usage. The
/// self-signing key counts only with the signature of the master key, `known` if none comes
/// with it.
pub(super) fn signing_keys(
    user_id: &UserId,
    known: Option<&CrossSigningKeyRecord>,
    master: Option<&Raw<CrossSigningKey>>,
    self_signing: Option<&Raw<CrossSigningKey>>,
) -> Vec<(u8, CrossSigningKeyRecord)> {
    let refused = |usage: &str, why: &dyn std::fmt::Display| {
        log::debug!("the {usage} key of {user_id} is not taken: {why}");
    };
    let mut taken = Vec::new();
    let mut trusted = known.map(|key| key.public_key.clone());
    if let Some(key) = master {
        match master_of(user_id, key) {
            Ok(record) => {
                trusted = Some(record.public_key.clone());
                taken.push((MASTER, record));
            }
            Err(error) => refused("master", &error),
        }
    }
    if let (Some(key), Some(master)) = (self_signing, trusted) {
        match signed_by_master(user_id, key, "self_signing", &master) {
            Ok(record) => taken.push((SELF_SIGNING, record)),
            Err(error) => refused("self-signing", &error),
        }
    }
    taken
}
