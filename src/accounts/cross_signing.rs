//! Cross-signing keys: a user's master key, and the self-signing and user-signing keys that it signs.

use model::{
    Changes, CrossSigningKeyRecord, UserSerial,
    tables::{CROSS_SIGNING_KEY_BY_USER, DEVICE_BY_USER, DEVICE_KEYS_BY_DEVICE, SIGNATURE_BY_KEY},
};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, DeviceId, UserId,
    encryption::CrossSigningKey,
    serde::{Base64, Raw, base64::Standard},
};
use store::{Batch, Latest, Position, Read, StoreError};

use crate::{
    Accounts, Session, device_lists,
    json::{self, content_hash, key_bytes, key_object, text},
};

/// The usages in [`CROSS_SIGNING_KEY_BY_USER`].
pub(crate) const MASTER: u8 = 0;
pub(crate) const SELF_SIGNING: u8 = 1;
pub(crate) const USER_SIGNING: u8 = 2;

/// The largest JSON of one key, in bytes.
const MAX_KEY_BYTES: usize = 16 * 1_024;
/// The bytes of an Ed25519 public key.
const PUBLIC_KEY_BYTES: usize = 32;

/// Why cross-signing keys were not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CrossSigningError {
    /// Not this user's key, or not in the form that the specification gives it (`M_INVALID_PARAM`).
    #[error("{0}")]
    Invalid(String),
    /// The self-signing or user-signing key is not signed by the master key (`M_INVALID_SIGNATURE`).
    #[error("the key is not signed by the master key: {0}")]
    InvalidSignature(String),
    /// There is no master key, neither here nor in the request (`M_MISSING_PARAM`).
    #[error("there is no master key")]
    MissingMaster,
    /// A device of the user has the id that this key would have (403 `M_FORBIDDEN`).
    #[error("a device has the id of this key")]
    KeyIdInUse,
    /// There are keys already, and replacing them needs a user-interactive authentication.
    #[error("replacing cross-signing keys needs authentication")]
    AuthenticationRequired,
    /// Another device uploaded keys at the same time.
    #[error("another device changed the keys at the same time")]
    Contended,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is uploaded (`POST /keys/device_signing/upload`).
#[derive(Clone, Debug, Default)]
pub struct CrossSigningUpload {
    /// The master key.
    pub master_key: Option<Raw<CrossSigningKey>>,
    /// The self-signing key.
    pub self_signing_key: Option<Raw<CrossSigningKey>>,
    /// The user-signing key.
    pub user_signing_key: Option<Raw<CrossSigningKey>>,
}

/// Keys that were checked against the keys that the user had.
struct Checked {
    new: Vec<(u8, CrossSigningKeyRecord)>,
    /// The user's three keys when they were checked.
    before: [Option<CrossSigningKeyRecord>; 3],
}

impl Checked {
    /// Whether the user has all these keys already.
    fn is_known(&self) -> bool {
        self.new.iter().all(|(usage, key)| {
            let known = self.before[usize::from(*usage)].as_ref();
            known.is_some_and(|known| known.content == key.content)
        })
    }

    fn needs_authentication(&self) -> bool {
        self.before[usize::from(MASTER)].is_some() && !self.is_known()
    }
}

impl Accounts {
    /// Whether this upload needs a user-interactive authentication: it does once the user has a master key, unless the upload brings no new key.
    ///
    /// # Errors
    /// [`CrossSigningError`] if the keys would not be taken at all.
    pub async fn cross_signing_needs_authentication(
        &self,
        session: &Session,
        upload: &CrossSigningUpload,
    ) -> Result<bool, CrossSigningError> {
        let checked = self.check_cross_signing(session, upload).await?;
        Ok(checked.needs_authentication())
    }

    /// Takes cross-signing keys. `is_authenticated`: whether the user has just passed a user-interactive authentication for it.
    ///
    /// # Errors
    /// [`CrossSigningError`]; then nothing was stored.
    pub async fn upload_cross_signing_keys(
        &self,
        session: &Session,
        upload: &CrossSigningUpload,
        is_authenticated: bool,
    ) -> Result<(), CrossSigningError> {
        let checked = self.check_cross_signing(session, upload).await?;
        let user = session.user;
        self.store()
            .commit(move |latest, position, batch| {
                if keys_of(latest, user)? != checked.before {
                    return Err(CrossSigningError::Contended);
                }
                if !is_authenticated && checked.needs_authentication() {
                    return Err(CrossSigningError::AuthenticationRequired);
                }
                if !checked.is_known() {
                    write(latest, position, batch, user, checked)?;
                }
                Ok(())
            })
            .await
    }

    async fn check_cross_signing(
        &self,
        session: &Session,
        upload: &CrossSigningUpload,
    ) -> Result<Checked, CrossSigningError> {
        let (session, upload) = (session.clone(), upload.clone());
        self.store()
            .prepare(move |latest| check(latest, &session, &upload))
            .await
    }
}

fn keys_of(
    view: &impl Read,
    user: UserSerial,
) -> Result<[Option<CrossSigningKeyRecord>; 3], StoreError> {
    let key = |usage: u8| view.get(&CROSS_SIGNING_KEY_BY_USER, &(user, usage));
    Ok([key(MASTER)?, key(SELF_SIGNING)?, key(USER_SIGNING)?])
}

/// Whether one of the user's cross-signing keys has this id, which a device then cannot have.
pub(crate) fn is_key_id(
    view: &impl Read,
    user: UserSerial,
    device_id: &DeviceId,
) -> Result<bool, StoreError> {
    let keys = keys_of(view, user)?;
    let mut keys = keys.iter().flatten();
    Ok(keys.any(|key| key.public_key == device_id.as_str()))
}

fn check(
    view: &impl Read,
    session: &Session,
    upload: &CrossSigningUpload,
) -> Result<Checked, CrossSigningError> {
    let before = keys_of(view, session.user)?;
    let mut new = Vec::new();
    let mut master = before[usize::from(MASTER)]
        .as_ref()
        .map(|key| key.public_key.clone());
    if let Some(key) = &upload.master_key {
        let (mut object, public_key) = parsed(&session.user_id, key, "master")?;
        let content = content_hash(&object).map_err(CrossSigningError::Invalid)?;
        let signatures = device_signatures(view, session, &object)?;
        json::keep_signatures(&mut object, session.user_id.as_str(), signatures);
        new.push((MASTER, record(&object, public_key.clone(), content)?));
        master = Some(public_key);
    }
    for (usage, name, key) in [
        (SELF_SIGNING, "self_signing", &upload.self_signing_key),
        (USER_SIGNING, "user_signing", &upload.user_signing_key),
    ] {
        if let Some(key) = key {
            let master = master.as_ref().ok_or(CrossSigningError::MissingMaster)?;
            new.push((
                usage,
                signed_by_master(&session.user_id, key, name, master)?,
            ));
        }
    }
    if master.is_none() {
        return Err(CrossSigningError::MissingMaster);
    }
    for (_, key) in &new {
        let device = (session.user, key.public_key.clone());
        if view.contains(&DEVICE_BY_USER, &device)? {
            return Err(CrossSigningError::KeyIdInUse);
        }
    }
    Ok(Checked { new, before })
}

/// The master key of a user of another server, with the signatures that the user's devices
/// are said to have put on it: whether they have is for clients to find out.
pub(crate) fn master_of(
    user_id: &UserId,
    key: &Raw<CrossSigningKey>,
) -> Result<CrossSigningKeyRecord, CrossSigningError> {
    let (mut object, public_key) = parsed(user_id, key, "master")?;
    let content = content_hash(&object).map_err(CrossSigningError::Invalid)?;
    json::keep_all_signatures_of(&mut object, user_id.as_str());
    object.remove("unsigned");
    record(&object, public_key, content)
}

/// A key of this user for that usage, and its public key.
fn parsed(
    user_id: &UserId,
    key: &Raw<CrossSigningKey>,
    usage: &str,
) -> Result<(CanonicalJsonObject, String), CrossSigningError> {
    let invalid = |what: &str| CrossSigningError::Invalid(format!("the {usage} key {what}"));
    let object = key_object(key.json().get(), MAX_KEY_BYTES).map_err(|what| invalid(&what))?;
    if text(&object, "user_id") != Some(user_id.as_str()) {
        return Err(invalid("is another user's"));
    }
    let is_usage = |value: &CanonicalJsonValue| matches!(value, CanonicalJsonValue::String(name) if name == usage);
    match object.get("usage") {
        Some(CanonicalJsonValue::Array(usages)) if usages.iter().any(is_usage) => {}
        _ => return Err(invalid("is for another usage")),
    }
    let keys = json::object(&object, "keys").ok_or_else(|| invalid("has no keys"))?;
    let mut keys = keys.iter();
    let (Some((key_id, CanonicalJsonValue::String(public_key))), None) = (keys.next(), keys.next())
    else {
        return Err(invalid("must be exactly one key"));
    };
    let is_key = Base64::<Standard>::parse(public_key)
        .is_ok_and(|bytes| bytes.as_bytes().len() == PUBLIC_KEY_BYTES);
    if key_id.strip_prefix("ed25519:") != Some(public_key) || !is_key {
        return Err(invalid("must be an Ed25519 key under its own name"));
    }
    let public_key = public_key.clone();
    Ok((object, public_key))
}

/// A self-signing or user-signing key with the master key's signature and no other.
pub(crate) fn signed_by_master(
    user_id: &UserId,
    key: &Raw<CrossSigningKey>,
    usage: &str,
    master: &str,
) -> Result<CrossSigningKeyRecord, CrossSigningError> {
    let (mut object, public_key) = parsed(user_id, key, usage)?;
    let (user_id, master_id) = (user_id.as_str(), format!("ed25519:{master}"));
    graph::verify_json(user_id, &master_id, master, &object)
        .map_err(|reason| CrossSigningError::InvalidSignature(reason.to_string()))?;
    let content = content_hash(&object).map_err(CrossSigningError::Invalid)?;
    let signature = json::signatures_of(&object, user_id)
        .find(|(id, _)| *id == master_id)
        .map(|(id, signature)| (id.to_owned(), signature.to_owned()));
    json::keep_signatures(&mut object, user_id, signature);
    record(&object, public_key, content)
}

fn record(
    object: &CanonicalJsonObject,
    public_key: String,
    content: [u8; 32],
) -> Result<CrossSigningKeyRecord, CrossSigningError> {
    let json = key_bytes(object).map_err(CrossSigningError::Invalid)?;
    Ok(CrossSigningKeyRecord {
        public_key,
        json,
        content,
    })
}

/// The valid signatures on an object by the user's own devices.
pub(crate) fn device_signatures(
    view: &impl Read,
    session: &Session,
    object: &CanonicalJsonObject,
) -> Result<Vec<(String, String)>, StoreError> {
    let user_id = session.user_id.as_str();
    let mut valid = Vec::new();
    for (key_id, signature) in json::signatures_of(object, user_id) {
        let Some(device_id) = key_id.strip_prefix("ed25519:") else {
            continue;
        };
        let device = (session.user, device_id.to_owned());
        let Some(device) = view.get(&DEVICE_BY_USER, &device)? else {
            continue;
        };
        let Some(keys) = view.get(&DEVICE_KEYS_BY_DEVICE, &device.serial)? else {
            continue;
        };
        let keys: CanonicalJsonObject = json::parse(&keys.json, DEVICE_KEYS_BY_DEVICE.name)?;
        let public_key = json::object(&keys, "keys").and_then(|keys| text(keys, key_id));
        if public_key.is_some_and(|key| graph::verify_json(user_id, key_id, key, object).is_ok()) {
            valid.push((key_id.to_owned(), signature.to_owned()));
        }
    }
    Ok(valid)
}

fn write(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    user: UserSerial,
    checked: Checked,
) -> Result<(), StoreError> {
    let Checked { new, before } = checked;
    let [old_master, old_self_signing, _] = before;
    let replacement = |usage: u8| new.iter().find(|(new, _)| *new == usage);
    let is_other = |old: &CrossSigningKeyRecord, usage: u8| {
        replacement(usage).is_some_and(|(_, new)| new.public_key != old.public_key)
    };
    let resets = old_master.as_ref().is_some_and(|old| is_other(old, MASTER));
    if let Some(old) = old_self_signing.filter(|old| resets || is_other(old, SELF_SIGNING)) {
        forget_signed_devices(latest, batch, user, &old)?;
    }
    if let Some(old) = old_master.filter(|_| resets) {
        // The keys that the old master key has signed, and what others signed about
        // it, are worth nothing with another.
        batch.delete_prefix(&CROSS_SIGNING_KEY_BY_USER, &(user,));
        batch.delete_prefix(&SIGNATURE_BY_KEY, &(user, old.public_key));
    }
    for (usage, key) in &new {
        batch.put(&CROSS_SIGNING_KEY_BY_USER, &(user, *usage), key);
    }
    device_lists::announce(latest, batch, &mut Changes::at(position), user)
}

/// Deletes what a self-signing key, replaced now, has signed: nobody could check it any more.
fn forget_signed_devices(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    old: &CrossSigningKeyRecord,
) -> Result<(), StoreError> {
    let key_id = format!("ed25519:{}", old.public_key);
    for row in latest.scan(&DEVICE_BY_USER, &(user,)) {
        let ((_, device_id), _) = row?;
        batch.delete(&SIGNATURE_BY_KEY, &(user, device_id, user, key_id.clone()));
    }
    Ok(())
}
