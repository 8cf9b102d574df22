//! Signatures that users put on their own devices and on each other's master keys.

use std::collections::BTreeMap;

use model::{
    Changes, SignatureRecord, UserSerial,
    tables::{
        CROSS_SIGNING_KEY_BY_USER, DEVICE_BY_USER, DEVICE_KEYS_BY_DEVICE, SIGNATURE_BY_KEY,
        SIGNED_USER_BY_USER, USER_BY_ID,
    },
    user_scope,
};
use ruma_client_api::keys::upload_signatures::v3::SignedKeys;
use ruma_common::{CanonicalJsonObject, OwnedUserId};
use store::{Batch, Latest, Position, Read, StoreError};

use crate::{
    Accounts, Session,
    cross_signing::{MASTER, SELF_SIGNING, USER_SIGNING, device_signatures},
    device_lists,
    json::{self, content_hash, key_object},
};

/// The largest JSON of one signed key, in bytes.
const MAX_KEY_BYTES: usize = 64 * 1_024;
/// The most keys in one request.
const MAX_KEYS: usize = 1_000;

/// Why a signature was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFailure {
    /// It is not valid, is missing, or is made with a key that may not sign this (`M_INVALID_SIGNATURE`).
    #[error("the signature is not valid: {0}")]
    Invalid(String),
    /// There is no such key, or it is another now (`M_NOT_FOUND`).
    #[error("there is no such key")]
    NotFound,
}

/// A signature that was verified.
struct Verified {
    target: UserSerial,
    /// A device id or a public key.
    key: String,
    signing_key_id: String,
    signature: String,
}

impl Accounts {
    /// Takes signatures on keys (`POST /keys/signatures/upload`). Returns those that were not taken, by user and key id; the others were.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn upload_signatures(
        &self,
        session: &Session,
        signed: BTreeMap<OwnedUserId, SignedKeys>,
    ) -> Result<BTreeMap<OwnedUserId, BTreeMap<String, SignatureFailure>>, StoreError> {
        let signer = session.clone();
        let (verified, failures) = self
            .store()
            .prepare(move |latest| verify_all(latest, &signer, &signed))
            .await?;
        let user = session.user;
        if !verified.is_empty() {
            self.store()
                .commit(move |latest, position, batch| {
                    write(latest, position, batch, user, verified)
                })
                .await?;
        }
        Ok(failures)
    }
}

type Failures = BTreeMap<OwnedUserId, BTreeMap<String, SignatureFailure>>;

fn verify_all(
    view: &impl Read,
    session: &Session,
    signed: &BTreeMap<OwnedUserId, SignedKeys>,
) -> Result<(Vec<Verified>, Failures), StoreError> {
    let mut verified = Vec::new();
    let mut failures = Failures::new();
    let keys = signed
        .iter()
        .flat_map(|(user_id, keys)| keys.iter().map(move |(key, json)| (user_id, key, json)));
    for (number, (user_id, key, json)) in keys.enumerate() {
        let result = if number < MAX_KEYS {
            verify(view, session, user_id, key, json.get())?
        } else {
            Err(SignatureFailure::Invalid(
                "too many keys in one request".to_owned(),
            ))
        };
        match result {
            Ok(signatures) => verified.extend(signatures),
            Err(failure) => {
                let of_user = failures.entry(user_id.clone()).or_default();
                of_user.insert(key.to_owned(), failure);
            }
        }
    }
    Ok((verified, failures))
}

/// The new signatures on one key.
fn verify(
    view: &impl Read,
    session: &Session,
    user_id: &OwnedUserId,
    key: &str,
    json: &str,
) -> Result<Result<Vec<Verified>, SignatureFailure>, StoreError> {
    let Some(target) = view.get(&USER_BY_ID, &user_id.to_string())? else {
        return Ok(Err(SignatureFailure::NotFound));
    };
    let parsed = key_object(json, MAX_KEY_BYTES)
        .and_then(|object| content_hash(&object).map(|content| (object, content)));
    let (object, content) = match parsed {
        Ok(parsed) => parsed,
        Err(what) => return Ok(Err(SignatureFailure::Invalid(what))),
    };
    let master = view.get(&CROSS_SIGNING_KEY_BY_USER, &(target, MASTER))?;
    let is_own = target == session.user;
    let found = match master {
        Some(master) if master.public_key == key => {
            if master.content != content {
                return Ok(Err(SignatureFailure::NotFound));
            }
            if is_own {
                by_devices(view, session, &object)?
            } else {
                by_key(view, session, USER_SIGNING, &object)?
            }
        }
        // Only its owner can sign a device.
        _ if is_own => {
            if content_of_device(view, target, key)? != Some(content) {
                return Ok(Err(SignatureFailure::NotFound));
            }
            by_key(view, session, SELF_SIGNING, &object)?
        }
        _ => return Ok(Err(SignatureFailure::NotFound)),
    };
    Ok(found.map(|signatures| {
        let verified = |(signing_key_id, signature)| Verified {
            target,
            key: key.to_owned(),
            signing_key_id,
            signature,
        };
        signatures.into_iter().map(verified).collect()
    }))
}

fn content_of_device(
    view: &impl Read,
    user: UserSerial,
    device_id: &str,
) -> Result<Option<[u8; 32]>, StoreError> {
    let Some(device) = view.get(&DEVICE_BY_USER, &(user, device_id.to_owned()))? else {
        return Ok(None);
    };
    let keys = view.get(&DEVICE_KEYS_BY_DEVICE, &device.serial)?;
    Ok(keys.map(|keys| keys.content))
}

type Signatures = Result<Vec<(String, String)>, SignatureFailure>;

/// The signatures of the user's devices.
fn by_devices(
    view: &impl Read,
    session: &Session,
    object: &CanonicalJsonObject,
) -> Result<Signatures, StoreError> {
    let valid = device_signatures(view, session, object)?;
    if valid.is_empty() {
        let what = "none of your devices has signed this";
        return Ok(Err(SignatureFailure::Invalid(what.to_owned())));
    }
    Ok(Ok(valid))
}

/// The signature of the user's key of that usage.
fn by_key(
    view: &impl Read,
    session: &Session,
    usage: u8,
    object: &CanonicalJsonObject,
) -> Result<Signatures, StoreError> {
    let Some(signing) = view.get(&CROSS_SIGNING_KEY_BY_USER, &(session.user, usage))? else {
        let what = "you have no key that may sign this";
        return Ok(Err(SignatureFailure::Invalid(what.to_owned())));
    };
    let (user_id, key_id) = (
        session.user_id.as_str(),
        format!("ed25519:{}", signing.public_key),
    );
    if let Err(reason) = graph::verify_json(user_id, &key_id, &signing.public_key, object) {
        return Ok(Err(SignatureFailure::Invalid(reason.to_string())));
    }
    let signature = json::signatures_of(object, user_id)
        .find(|(id, _)| *id == key_id)
        .map(|(id, signature)| (id.to_owned(), signature.to_owned()));
    Ok(Ok(signature.into_iter().collect()))
}

/// The id of the user's self-signing key and its signature on one of the user's devices; `None` if there is none that is valid.
pub(crate) fn by_self_signing_key(
    view: &impl Read,
    session: &Session,
    object: &CanonicalJsonObject,
) -> Result<Option<(String, String)>, StoreError> {
    let valid = by_key(view, session, SELF_SIGNING, object)?;
    Ok(valid.ok().and_then(|valid| valid.into_iter().next()))
}

fn write(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    signer: UserSerial,
    verified: Vec<Verified>,
) -> Result<(), StoreError> {
    let mut signs_own = false;
    for new in verified {
        let key = (new.target, new.key, signer, new.signing_key_id);
        let earlier = latest.get(&SIGNATURE_BY_KEY, &key)?;
        if earlier
            .as_ref()
            .is_some_and(|earlier| earlier.signature == new.signature)
        {
            continue;
        }
        let record = SignatureRecord {
            signature: new.signature,
            position: position.0,
        };
        batch.put(&SIGNATURE_BY_KEY, &key, &record);
        if new.target == signer {
            signs_own = true;
            continue;
        }
        // Nobody but the signer sees it: only the signer's own devices are told.
        if let Some(earlier) = earlier {
            let row = (signer, Position(earlier.position), new.target);
            batch.delete(&SIGNED_USER_BY_USER, &row);
        }
        batch.put(&SIGNED_USER_BY_USER, &(signer, position, new.target), &());
        batch.wake(user_scope(signer));
    }
    if signs_own {
        device_lists::announce(latest, batch, &mut Changes::at(position), signer)?;
    }
    Ok(())
}
