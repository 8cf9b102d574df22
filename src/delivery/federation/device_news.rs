//! What changed of a user's devices and keys since other servers were told last
//! (server-server API, "Device Management").

use std::collections::BTreeMap;

use model::{PublishedDevicesRecord, UserSerial};
use ruma_common::{UserId, encryption::CrossSigningKey, serde::Raw};
use sha2::{Digest as _, Sha256};
use store::{Position, Read, StoreError};

/// A device that came, changed or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChangedDevice {
    pub(super) device_id: String,
    pub(super) stream_id: u64,
    pub(super) previous: Option<u64>,
}

/// What other servers are to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DeviceNews {
    /// What they know then.
    pub(super) record: PublishedDevicesRecord,
    pub(super) devices: Vec<ChangedDevice>,
    pub(super) signing_keys: bool,
}

/// Compares what other servers may see of a user now, `with_names` of devices or without,
/// with what they were told. None if there is no such user, or nothing new to them. `at` is
/// the commit that changed something. A device without keys is nothing that others see but by
/// its name.
pub(super) fn news(
    view: &impl Read,
    (user, user_id): (UserSerial, &UserId),
    known: Option<PublishedDevicesRecord>,
    with_names: bool,
    at: Position,
) -> Result<Option<DeviceNews>, StoreError> {
    let Some(published) = accounts::published_devices(view, user_id, with_names)? else {
        return Ok(None);
    };
    let devices = published.devices.iter();
    let mut devices: Vec<(String, [u8; 16])> = devices
        .map(|(id, keys)| (id.to_string(), digest(&[keys.json().get()])))
        .collect();
    if with_names {
        for device in accounts::devices(view, user)? {
            if let Some(name) = device.display_name
                && !published.devices.contains_key(&device.device_id)
            {
                devices.push((device.device_id.to_string(), digest(&["", &name])));
            }
        }
    }
    let key = |key: &Option<Raw<CrossSigningKey>>| {
        key.as_ref()
            .map_or(String::new(), |key| key.json().get().to_owned())
    };
    let keys = [key(&published.master_key), key(&published.self_signing_key)];
    let is_without_keys = keys.iter().all(String::is_empty);
    let now = PublishedDevicesRecord {
        stream_id: 0,
        devices,
        signing_keys: if is_without_keys {
            [0; 16]
        } else {
            digest(&[&keys[0], &keys[1]])
        },
    };
    Ok(compare(known, now, at))
}

fn digest(texts: &[&str]) -> [u8; 16] {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.as_bytes());
        hasher.update([0]);
    }
    let whole: [u8; 32] = hasher.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    half
}

fn compare(
    known: Option<PublishedDevicesRecord>,
    mut now: PublishedDevicesRecord,
    at: Position,
) -> Option<DeviceNews> {
    let before = known.unwrap_or_default();
    let old: BTreeMap<&String, &[u8; 16]> =
        before.devices.iter().map(|(id, keys)| (id, keys)).collect();
    let new: BTreeMap<&String, &[u8; 16]> =
        now.devices.iter().map(|(id, keys)| (id, keys)).collect();
    let gone = old.keys().filter(|id| !new.contains_key(**id));
    let changed = new.iter().filter(|(id, keys)| old.get(**id) != Some(*keys));
    let ids: Vec<String> = gone
        .chain(changed.map(|(id, _)| id))
        .map(|id| (*id).clone())
        .collect();
    let signing_keys = now.signing_keys != before.signing_keys;
    if ids.is_empty() && !signing_keys {
        return None;
    }
    // Each change has a number that this user's changes never had: the commit's, or one
    // more than the last where one commit changed several devices.
    let mut previous = (before.stream_id > 0).then_some(before.stream_id);
    let mut devices = Vec::new();
    for device_id in ids {
        let stream_id = at.0.max(previous.map_or(0, |previous| previous + 1));
        devices.push(ChangedDevice {
            device_id,
            stream_id,
            previous,
        });
        previous = Some(stream_id);
    }
    now.stream_id = previous.unwrap_or(0);
    Some(DeviceNews {
        record: now,
        devices,
        signing_keys,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stream_id: u64, devices: &[(&str, u8)], keys: u8) -> PublishedDevicesRecord {
        let devices = devices.iter();
        PublishedDevicesRecord {
            stream_id,
            devices: devices
                .map(|(id, keys)| ((*id).to_owned(), [*keys; 16]))
                .collect(),
            signing_keys: [keys; 16],
        }
    }

    /// A device, its number, and the number before.
    type Told<'a> = (&'a str, u64, Option<u64>);

    /// The changes, and whether the keys changed.
    fn told(news: &DeviceNews) -> (Vec<Told<'_>>, bool) {
        let devices = news.devices.iter();
        let devices = devices.map(|one| (one.device_id.as_str(), one.stream_id, one.previous));
        (devices.collect(), news.signing_keys)
    }

    #[test]
    fn only_differences_are_news_and_each_has_its_number() {
        let first = compare(None, record(0, &[("A", 1), ("B", 1)], 0), Position(10)).unwrap();
        let expected = vec![("A", 10, None), ("B", 11, Some(10))];
        assert_eq!(told(&first), (expected, false));
        assert_eq!(first.record.stream_id, 11);
        let known = Some(first.record);
        let same = record(0, &[("A", 1), ("B", 1)], 0);
        assert_eq!(compare(known.clone(), same, Position(11)), None);
        // The commit right after: its own number is taken.
        let next = compare(known, record(0, &[("B", 2), ("C", 1)], 0), Position(11)).unwrap();
        let expected = vec![
            ("A", 12, Some(11)),
            ("B", 13, Some(12)),
            ("C", 14, Some(13)),
        ];
        assert_eq!(told(&next), (expected, false));
        let known = Some(next.record);
        let keys = compare(known, record(0, &[("B", 2), ("C", 1)], 7), Position(90)).unwrap();
        assert_eq!(told(&keys), (vec![], true));
        assert_eq!(keys.record.stream_id, 14, "no device changed");
        let last = compare(Some(keys.record), record(0, &[("B", 2)], 7), Position(95)).unwrap();
        assert_eq!(told(&last), (vec![("C", 95, Some(14))], false));
    }
}
