//! One-time and fallback keys: each one-time key is given out once, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    DeviceSerial, FallbackKeyRecord, KeyCountsRecord, LogEntry, UserSerial, device_scope,
    tables::{
        DEVICE_BY_USER, FALLBACK_KEY_BY_DEVICE, KEY_COUNTS_BY_DEVICE, ONE_TIME_KEY_BY_DEVICE,
        ONE_TIME_KEY_BY_ID, USER_BY_ID,
    },
};
use ruma_common::{
    OneTimeKeyAlgorithm, OwnedDeviceId, OwnedOneTimeKeyId, OwnedServerName, OwnedUserId,
    encryption::OneTimeKey, serde::Raw,
};
use services::Services;
use store::{Batch, Latest, Position, Read, StoreError};

use crate::{
    Accounts, UploadKeysError,
    json::{self, key_bytes, key_object},
};

/// The most one-time keys of one device.
const MAX_KEYS: u32 = 500;
/// The most fallback keys of one device, which has one of each algorithm.
const MAX_FALLBACK_KEYS: usize = 10;
/// The largest JSON of one key, in bytes.
const MAX_KEY_BYTES: usize = 4_096;
/// The longest algorithm and key id, in bytes.
const MAX_ID_BYTES: usize = 255;
/// Of how many algorithms without keys it is remembered which was given out last.
const MAX_ALGORITHMS: usize = 10;
/// How many keys are claimed in one commit.
const CLAIMS_AT_ONCE: usize = 100;

/// The JSON of a new key with its algorithm and the rest of its id.
struct NewKey {
    algorithm: String,
    key_id: String,
    json: Vec<u8>,
}

/// One-time and fallback keys that were checked and are to be stored.
pub(crate) struct NewKeys {
    one_time: Vec<NewKey>,
    fallback: Vec<NewKey>,
}

impl NewKeys {
    pub(crate) fn checked(
        one_time: &BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>,
        fallback: &BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>,
    ) -> Result<Self, UploadKeysError> {
        let all = |keys: &BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>| {
            keys.iter()
                .map(|(id, key)| NewKey::checked(id.as_str(), key.json().get()))
                .collect::<Result<Vec<_>, _>>()
        };
        let new = Self {
            one_time: all(one_time)?,
            fallback: all(fallback)?,
        };
        let algorithms: BTreeSet<_> = new.fallback.iter().map(|key| &key.algorithm).collect();
        if algorithms.len() < new.fallback.len() || algorithms.len() > MAX_FALLBACK_KEYS {
            let what = "there can be one fallback key of each algorithm";
            return Err(UploadKeysError::Invalid(what.to_owned()));
        }
        Ok(new)
    }

    fn is_empty(&self) -> bool {
        self.one_time.is_empty() && self.fallback.is_empty()
    }
}

impl NewKey {
    fn checked(id: &str, key: &str) -> Result<Self, UploadKeysError> {
        let invalid = |what: String| UploadKeysError::Invalid(format!("the key {id}: {what}"));
        let (algorithm, key_id) = id
            .split_once(':')
            .filter(|(algorithm, key_id)| !algorithm.is_empty() && !key_id.is_empty())
            .ok_or_else(|| invalid("its id is not <algorithm>:<key id>".to_owned()))?;
        if id.len() > MAX_ID_BYTES {
            return Err(invalid(format!(
                "its id has more than {MAX_ID_BYTES} bytes"
            )));
        }
        // Its form is the algorithm's. Canonical, so that the same key is the same bytes.
        let json = if key.starts_with('"') && key.len() <= MAX_KEY_BYTES {
            key.as_bytes().to_vec()
        } else {
            let object = key_object(key, MAX_KEY_BYTES).map_err(invalid)?;
            key_bytes(&object).map_err(invalid)?
        };
        Ok(Self {
            algorithm: algorithm.to_owned(),
            key_id: key_id.to_owned(),
            json,
        })
    }
}

/// How many keys of a device can still be claimed, for its syncs.
///
/// # Errors
/// If the database fails.
pub fn key_counts(view: &impl Read, device: DeviceSerial) -> Result<KeyCountsRecord, StoreError> {
    Ok(view
        .get(&KEY_COUNTS_BY_DEVICE, &device)?
        .unwrap_or_default())
}

/// Stores the new keys of a device; `begins_anew` drops those before.
pub(crate) fn write(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    device: DeviceSerial,
    new: NewKeys,
    begins_anew: bool,
) -> Result<BTreeMap<String, u32>, UploadKeysError> {
    let mut counts = key_counts(latest, device)?;
    if new.is_empty() && !begins_anew {
        return Ok(counts.one_time);
    }
    if begins_anew {
        batch.delete_prefix(&ONE_TIME_KEY_BY_DEVICE, &(device,));
        batch.delete_prefix(&ONE_TIME_KEY_BY_ID, &(device,));
        batch.delete_prefix(&FALLBACK_KEY_BY_DEVICE, &(device,));
        counts = KeyCountsRecord::default();
    }
    for key in new.one_time {
        if begins_anew || !is_stored(latest, device, &key)? {
            let NewKey {
                algorithm,
                key_id,
                json,
            } = key;
            *counts.one_time.entry(algorithm.clone()).or_default() += 1;
            let id = (device, algorithm.clone(), key_id.clone());
            batch.put(&ONE_TIME_KEY_BY_ID, &id, &position);
            batch.put(
                &ONE_TIME_KEY_BY_DEVICE,
                &(device, algorithm, position, key_id),
                &json,
            );
        }
    }
    if counts.one_time.values().sum::<u32>() > MAX_KEYS {
        return Err(UploadKeysError::TooMany { limit: MAX_KEYS });
    }
    for key in new.fallback {
        let known = match begins_anew {
            true => None,
            false => latest.get(&FALLBACK_KEY_BY_DEVICE, &(device, key.algorithm.clone()))?,
        };
        if known.is_some_and(|known| known.key_id == key.key_id && known.json == key.json) {
            continue;
        }
        if !counts.unused_fallback.contains(&key.algorithm) {
            counts.unused_fallback.push(key.algorithm.clone());
        }
        let NewKey {
            algorithm,
            key_id,
            json,
        } = key;
        let record = FallbackKeyRecord {
            key_id,
            json,
            is_used: false,
        };
        batch.put(&FALLBACK_KEY_BY_DEVICE, &(device, algorithm), &record);
    }
    counts.position = position.0;
    batch.put(&KEY_COUNTS_BY_DEVICE, &device, &counts);
    Ok(counts.one_time)
}

/// Whether exactly this key is there already: uploads are repeated when an answer was lost.
fn is_stored(latest: &Latest, device: DeviceSerial, key: &NewKey) -> Result<bool, UploadKeysError> {
    let id = (device, key.algorithm.clone(), key.key_id.clone());
    let Some(position) = latest.get(&ONE_TIME_KEY_BY_ID, &id)? else {
        return Ok(false);
    };
    let place = (device, key.algorithm.clone(), position, key.key_id.clone());
    if latest.get(&ONE_TIME_KEY_BY_DEVICE, &place)?.as_ref() == Some(&key.json) {
        return Ok(true);
    }
    let id = format!("{}:{}", key.algorithm, key.key_id);
    Err(UploadKeysError::KeyExists(id))
}

/// The keys that somebody claimed (`POST /keys/claim`). Devices without a key are missing.
#[derive(Clone, Debug, Default)]
pub struct ClaimedKeys {
    /// A key for each device.
    pub one_time_keys: BTreeMap<
        OwnedUserId,
        BTreeMap<OwnedDeviceId, BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>>,
    >,
    /// The other servers whose users' keys were claimed.
    pub remote: BTreeSet<OwnedServerName>,
}

/// A claim on a device of this server.
struct Claim {
    user_id: OwnedUserId,
    device_id: OwnedDeviceId,
    device: DeviceSerial,
    algorithm: String,
    /// The user, if an application service is told what becomes of the keys.
    for_service: Option<UserSerial>,
}

impl Accounts {
    /// Gives out one key of each device that is asked for: a one-time key, which nobody gets again, or else the fallback key.
    ///
    /// # Errors
    /// If the database fails. Keys that were given out before it did are gone.
    pub async fn claim_keys(
        &self,
        wanted: BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, OneTimeKeyAlgorithm>>,
    ) -> Result<ClaimedKeys, StoreError> {
        let mut claimed = ClaimedKeys::default();
        let local: Vec<_> = wanted
            .into_iter()
            .filter(|(user_id, _)| {
                let is_local = self.is_local(user_id);
                if !is_local {
                    claimed.remote.insert(user_id.server_name().to_owned());
                }
                is_local
            })
            .collect();
        let services = self.services().clone();
        let mut claims = self
            .store()
            .prepare(move |latest| resolve(latest, &services, local))
            .await?
            .into_iter();
        loop {
            let some: Vec<Claim> = claims.by_ref().take(CLAIMS_AT_ONCE).collect();
            if some.is_empty() {
                return Ok(claimed);
            }
            let given = self
                .store()
                .commit(move |latest, position, batch| give_all(latest, position, batch, some))
                .await?;
            for (claim, key_id, json) in given {
                let id = format!("{}:{key_id}", claim.algorithm);
                let Ok(id) = OwnedOneTimeKeyId::try_from(id) else {
                    continue;
                };
                let key = Raw::from_json(json::raw(json, ONE_TIME_KEY_BY_DEVICE.name)?);
                claimed
                    .one_time_keys
                    .entry(claim.user_id)
                    .or_default()
                    .insert(claim.device_id, BTreeMap::from([(id, key)]));
            }
        }
    }
}

/// The claims on devices that exist.
fn resolve(
    latest: &Latest,
    services: &Services,
    wanted: Vec<(OwnedUserId, BTreeMap<OwnedDeviceId, OneTimeKeyAlgorithm>)>,
) -> Result<Vec<Claim>, StoreError> {
    let mut claims = Vec::new();
    for (user_id, devices) in wanted {
        let Some(user) = latest.get(&USER_BY_ID, &user_id.to_string())? else {
            continue;
        };
        let for_service = services.encrypts_for(&user_id).then_some(user);
        for (device_id, algorithm) in devices {
            let record = latest.get(&DEVICE_BY_USER, &(user, device_id.to_string()))?;
            claims.extend(record.map(|record| Claim {
                user_id: user_id.clone(),
                device_id,
                device: record.serial,
                algorithm: algorithm.to_string(),
                for_service,
            }));
        }
    }
    Ok(claims)
}

/// The claims that could be met, with the key's id and JSON. Each device stands there at most once.
fn give_all(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    claims: Vec<Claim>,
) -> Result<Vec<(Claim, String, Vec<u8>)>, StoreError> {
    let mut given = Vec::new();
    for claim in claims {
        if let Some((key_id, json)) = give(latest, position, batch, &claim)? {
            given.push((claim, key_id, json));
        }
    }
    Ok(given)
}

fn give(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    claim: &Claim,
) -> Result<Option<(String, Vec<u8>)>, StoreError> {
    let Claim {
        device, algorithm, ..
    } = claim;
    let mut counts = key_counts(latest, *device)?;
    let prefix = (*device, algorithm.clone());
    // From the last one on: the database would look at each that was given out before.
    let from = match counts.given.get(algorithm) {
        Some((position, key_id)) => (Position(*position), key_id.clone()),
        None => (Position(0), String::new()),
    };
    let from = (*device, algorithm.clone(), from.0, from.1);
    let first = latest
        .scan_from(&ONE_TIME_KEY_BY_DEVICE, &prefix, &from)
        .next();
    let given = if let Some((key, json)) = first.transpose()? {
        let key_id = key.3.clone();
        let place = (key.2.0, key_id.clone());
        counts.given.insert(algorithm.clone(), place);
        batch.delete(
            &ONE_TIME_KEY_BY_ID,
            &(*device, algorithm.clone(), key_id.clone()),
        );
        batch.delete(&ONE_TIME_KEY_BY_DEVICE, &key);
        if let Some(count) = counts.one_time.get_mut(algorithm) {
            *count = count.saturating_sub(1);
        }
        counts.one_time.retain(|_, count| *count > 0);
        if counts.given.len() > MAX_ALGORITHMS {
            let there = &counts.one_time;
            counts
                .given
                .retain(|algorithm, _| there.contains_key(algorithm));
        }
        (key_id, json)
    } else {
        let Some(mut fallback) = latest.get(&FALLBACK_KEY_BY_DEVICE, &prefix)? else {
            return Ok(None);
        };
        if fallback.is_used {
            return Ok(Some((fallback.key_id, fallback.json)));
        }
        fallback.is_used = true;
        batch.put(&FALLBACK_KEY_BY_DEVICE, &prefix, &fallback);
        counts.unused_fallback.retain(|unused| unused != algorithm);
        (fallback.key_id, fallback.json)
    };
    counts.position = position.0;
    batch.put(&KEY_COUNTS_BY_DEVICE, device, &counts);
    // The device is to make new ones.
    batch.wake(device_scope(*device));
    if let Some(user) = claim.for_service {
        let device = *device;
        LogEntry::ServiceKeys { user, device }.write(batch);
    }
    Ok(Some(given))
}
