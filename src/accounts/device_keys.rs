//! Device keys: uploading with all checks, and showing them.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Changes, DeviceKeysRecord, DeviceRecord, DeviceSerial, SignatureRecord, UserSerial,
    tables::{
        ACCOUNT_BY_USER, CROSS_SIGNING_KEY_BY_USER, DEVICE_BY_USER, DEVICE_KEYS_BY_DEVICE,
        SIGNATURE_BY_KEY, USER_BY_ID,
    },
};
use ruma_common::{
    DeviceId, OwnedDeviceId, OwnedOneTimeKeyId, OwnedServerName, OwnedUserId, ServerName,
    encryption::{CrossSigningKey, DeviceKeys, OneTimeKey},
    serde::Raw,
};
use serde_json::{Map, Value, value::RawValue};
use store::{Batch, Latest, Position, Read, StoreError, Walker};

use crate::{
    Accounts, Session, cross_signing, device_lists, devices,
    json::{self, add_signature, content_hash, key_bytes, key_object, text},
    one_time_keys::{self, NewKeys},
    signatures,
};

/// The largest JSON of one device's identity keys, in bytes.
const MAX_KEYS_BYTES: usize = 32 * 1_024;

/// Why keys were not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UploadKeysError {
    /// Not the keys of this device, or not in the form that the specification gives them (`M_INVALID_PARAM`).
    #[error("{0}")]
    Invalid(String),
    /// Not an object of the form that device keys have (`M_BAD_JSON`).
    #[error("the device keys {0}")]
    Malformed(String),
    /// What stands as the device's signature of its keys is not one of the key among them (`M_INVALID_SIGNATURE`).
    #[error("the device keys are not signed by the device: {0}")]
    InvalidSignature(String),
    /// There is another one-time key of the same id (400 `M_UNKNOWN`).
    #[error("there is another one-time key of the id {0}")]
    KeyExists(String),
    /// The device has as many one-time keys as one may have.
    #[error("a device has at most {limit} one-time keys")]
    TooMany {
        /// The most.
        limit: u32,
    },
    /// An application service acts as the user without a device (`M_MISSING_PARAM`).
    #[error("keys belong to a device: name it with device_id")]
    Deviceless,
    /// The device was deleted meanwhile.
    #[error("this device was deleted")]
    NoDevice,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The keys that somebody asked for (`POST /keys/query`).
#[derive(Clone, Debug, Default)]
pub struct QueriedKeys {
    /// Each device's keys, with all signatures that may be seen and the device's name in `unsigned`.
    pub device_keys: BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, Raw<DeviceKeys>>>,
    /// Master keys.
    pub master_keys: BTreeMap<OwnedUserId, Raw<CrossSigningKey>>,
    /// Self-signing keys.
    pub self_signing_keys: BTreeMap<OwnedUserId, Raw<CrossSigningKey>>,
    /// The user-signing key of who asked, and of nobody else.
    pub user_signing_keys: BTreeMap<OwnedUserId, Raw<CrossSigningKey>>,
    /// The other servers whose users were asked for.
    pub remote: BTreeSet<OwnedServerName>,
}

impl Accounts {
    /// Takes the keys of a device (`POST /keys/upload`). Returns how many one-time keys of each algorithm can be claimed now.
    ///
    /// # Errors
    /// [`UploadKeysError`]; then nothing was stored.
    pub async fn upload_keys(
        &self,
        session: &Session,
        device_keys: Option<Raw<DeviceKeys>>,
        one_time_keys: BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>,
        fallback_keys: BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>,
    ) -> Result<BTreeMap<String, u32>, UploadKeysError> {
        let owner = session.clone();
        // Signatures are checked off the network's threads.
        let prepared = self
            .store()
            .prepare(move |latest| {
                let identity = device_keys
                    .map(|keys| checked(latest, &owner, &owner.device_id, keys.json().get()))
                    .transpose()?;
                let new = NewKeys::checked(&one_time_keys, &fallback_keys)?;
                Ok::<_, UploadKeysError>((identity, new))
            })
            .await?;
        let session = session.clone();
        self.store()
            .commit(move |latest, position, batch| {
                let (identity, new) = prepared;
                write(latest, position, batch, &session, identity, new)
            })
            .await
    }
}

/// A device's identity keys that were checked and are to be stored.
pub(crate) struct NewIdentity {
    record: DeviceKeysRecord,
    /// The id of the user's self-signing key and its signature on them, if they came with it: verified.
    signature: Option<(String, String)>,
}

/// Keys that belong to that device of the session's user. Clients trust only those that are signed by it, and it is theirs to decide; but no signature that
/// is wrong is passed on.
pub(crate) fn checked(
    latest: &Latest,
    session: &Session,
    device_id: &DeviceId,
    keys: &str,
) -> Result<NewIdentity, UploadKeysError> {
    let mut object = key_object(keys, MAX_KEYS_BYTES).map_err(UploadKeysError::Invalid)?;
    let invalid = |what: &str| UploadKeysError::Invalid(format!("the device keys {what}"));
    // What else must be there and of which type.
    serde_json::from_str::<DeviceKeys>(keys)
        .map_err(|error| UploadKeysError::Malformed(error.to_string()))?;
    if text(&object, "user_id") != Some(session.user_id.as_str()) {
        return Err(invalid("are another user's"));
    }
    if text(&object, "device_id") != Some(device_id.as_str()) {
        return Err(invalid("are another device's"));
    }
    let key_id = format!("ed25519:{device_id}");
    let public_key = json::object(&object, "keys")
        .and_then(|keys| text(keys, &key_id))
        .ok_or_else(|| invalid("have no ed25519 key of the device"))?;
    let user_id = session.user_id.as_str();
    if json::signatures_of(&object, user_id).any(|(id, _)| id == key_id) {
        graph::verify_json(user_id, &key_id, public_key, &object)
            .map_err(|reason| UploadKeysError::InvalidSignature(reason.to_string()))?;
    }
    let content = content_hash(&object).map_err(UploadKeysError::Invalid)?;
    let by_user = signatures::by_self_signing_key(latest, session, &object)?;
    let own = json::signatures_of(&object, session.user_id.as_str())
        .find(|(id, _)| *id == key_id)
        .map(|(id, signature)| (id.to_owned(), signature.to_owned()));
    // Signatures of others come, checked, by their own way.
    json::keep_signatures(&mut object, session.user_id.as_str(), own);
    object.remove("unsigned");
    let json = key_bytes(&object).map_err(UploadKeysError::Invalid)?;
    Ok(NewIdentity {
        record: DeviceKeysRecord { json, content },
        signature: by_user,
    })
}

fn write(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    session: &Session,
    identity: Option<NewIdentity>,
    new: NewKeys,
) -> Result<BTreeMap<String, u32>, UploadKeysError> {
    if !session.has_device() {
        return Err(UploadKeysError::Deviceless);
    }
    if !devices::is_current(latest, session.user, &session.device_id, session.device)? {
        return Err(UploadKeysError::NoDevice);
    }
    let mut begins_anew = false;
    if let Some(identity) = identity {
        let known = latest.get(&DEVICE_KEYS_BY_DEVICE, &session.device)?;
        // What was signed by or for the keys before is worth nothing with others.
        begins_anew = known
            .as_ref()
            .is_some_and(|known| known.content != identity.record.content);
        let device = (session.device, session.device_id.as_str());
        let (user, known) = (session.user, known.as_ref());
        if write_identity(latest, position, batch, user, device, known, &identity)? {
            let mut changes = Changes::at(position);
            device_lists::announce(latest, batch, &mut changes, session.user)?;
        }
    }
    one_time_keys::write(latest, position, batch, session.device, new, begins_anew)
}

/// Stores the identity keys of a device, in place of those `known`. Returns whether anything changed, so that others must look again.
pub(crate) fn write_identity(
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
    user: UserSerial,
    (device, device_id): (DeviceSerial, &str),
    known: Option<&DeviceKeysRecord>,
    identity: &NewIdentity,
) -> Result<bool, StoreError> {
    let mut changed = known != Some(&identity.record);
    if changed {
        batch.put(&DEVICE_KEYS_BY_DEVICE, &device, &identity.record);
    }
    let is_other = known.is_some_and(|known| known.content != identity.record.content);
    if is_other {
        batch.delete_prefix(&SIGNATURE_BY_KEY, &(user, device_id.to_owned()));
    }
    if let Some((key_id, signature)) = identity.signature.clone() {
        let key = (user, device_id.to_owned(), user, key_id);
        let earlier = latest.get(&SIGNATURE_BY_KEY, &key)?;
        if is_other || earlier.is_none_or(|earlier| earlier.signature != signature) {
            changed = true;
            let record = SignatureRecord {
                signature,
                position: position.0,
            };
            batch.put(&SIGNATURE_BY_KEY, &key, &record);
        }
    }
    Ok(changed)
}

/// The keys of users of this server, as `viewer` may see them: for each user the devices named, or all if none is.
///
/// # Errors
/// If the database fails.
pub fn query_keys(
    view: &impl Read,
    server_name: &ServerName,
    viewer: UserSerial,
    wanted: &BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>,
) -> Result<QueriedKeys, StoreError> {
    query_keys_as(view, server_name, KeyViewer::User(viewer), wanted)
}

/// Who looks at keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyViewer {
    /// A user of this server.
    User(UserSerial),
    /// Another server, which is told how devices are called, or not.
    Server { with_names: bool },
}

/// The same for a viewer who may be nobody in particular.
pub(crate) fn query_keys_as(
    view: &impl Read,
    server_name: &ServerName,
    viewer: KeyViewer,
    wanted: &BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>,
) -> Result<QueriedKeys, StoreError> {
    let (viewer, with_names) = match viewer {
        KeyViewer::User(viewer) => (Some(viewer), true),
        KeyViewer::Server { with_names } => (None, with_names),
    };
    let mut found = QueriedKeys::default();
    let (local, remote): (Vec<_>, Vec<_>) = wanted
        .iter()
        .partition(|(user_id, _)| user_id.server_name() == server_name);
    let servers = remote.iter().map(|(user_id, _)| user_id.server_name());
    found.remote.extend(servers.map(ToOwned::to_owned));
    let mut looking = Looking {
        view,
        viewer,
        with_names,
        devices: view.walker(&DEVICE_BY_USER),
        signatures: view.walker(&SIGNATURE_BY_KEY),
    };
    let users = looking.accounts(local)?;
    looking.device_keys(&users, &mut found)?;
    looking.user_keys(&users, &mut found)?;
    Ok(found)
}

/// A user of this server, and the devices that are asked for.
type Asked<'a> = (UserSerial, &'a OwnedUserId, &'a Vec<OwnedDeviceId>);

/// Looks up the keys of many users together: one by one costs several times as much.
struct Looking<'a, R> {
    view: &'a R,
    viewer: Option<UserSerial>,
    /// Whether it is told how devices are called.
    with_names: bool,
    devices: Walker<'a, (UserSerial, String), DeviceRecord>,
    signatures: Walker<'a, (UserSerial, String, UserSerial, String), SignatureRecord>,
}

impl<R: Read> Looking<'_, R> {
    /// Those who have an account.
    fn accounts<'a>(
        &self,
        wanted: Vec<(&'a OwnedUserId, &'a Vec<OwnedDeviceId>)>,
    ) -> Result<Vec<Asked<'a>>, StoreError> {
        let ids: Vec<String> = wanted.iter().map(|(id, _)| id.to_string()).collect();
        let serials = self.view.get_many(&USER_BY_ID, &ids)?;
        let known = wanted.into_iter().zip(serials);
        let known = known.filter_map(|((id, devices), user)| Some((user?, id, devices)));
        let known: Vec<Asked<'a>> = known.collect();
        let serials: Vec<UserSerial> = known.iter().map(|(user, _, _)| *user).collect();
        let accounts = self.view.get_many(&ACCOUNT_BY_USER, &serials)?;
        let there = known.into_iter().zip(accounts);
        Ok(there
            .filter_map(|(asked, account)| account.map(|_| asked))
            .collect())
    }

    fn device_keys(
        &mut self,
        users: &[Asked<'_>],
        found: &mut QueriedKeys,
    ) -> Result<(), StoreError> {
        let table = DEVICE_KEYS_BY_DEVICE.name;
        let mut devices = Vec::new();
        for (user, user_id, device_ids) in users {
            found.device_keys.entry((*user_id).clone()).or_default();
            for ((_, device_id), device) in self.devices.under(&(*user,))? {
                let device_id = OwnedDeviceId::from(device_id);
                if device_ids.is_empty() || device_ids.contains(&device_id) {
                    devices.push((*user, *user_id, device_id, device));
                }
            }
        }
        let serials: Vec<DeviceSerial> = devices.iter().map(|(.., device)| device.serial).collect();
        let keys = self.view.get_many(&DEVICE_KEYS_BY_DEVICE, &serials)?;
        for ((user, user_id, device_id, device), record) in devices.into_iter().zip(keys) {
            let Some(record) = record else {
                continue;
            };
            let name = device.display_name.filter(|_| self.with_names);
            let signatures = self.signatures(user, device_id.as_str())?;
            let json = shown(record.json, signatures, name, table)?;
            let of_user = found.device_keys.entry(user_id.clone()).or_default();
            of_user.insert(device_id, Raw::from_json(json));
        }
        Ok(())
    }

    fn user_keys(
        &mut self,
        users: &[Asked<'_>],
        found: &mut QueriedKeys,
    ) -> Result<(), StoreError> {
        let table = CROSS_SIGNING_KEY_BY_USER.name;
        for (usage, found) in [
            (cross_signing::MASTER, &mut found.master_keys),
            (cross_signing::SELF_SIGNING, &mut found.self_signing_keys),
            (cross_signing::USER_SIGNING, &mut found.user_signing_keys),
        ] {
            // Whom a user has verified is nobody else's business.
            let is_public = usage != cross_signing::USER_SIGNING;
            let users = users.iter();
            let users = users.filter(|(user, ..)| is_public || Some(*user) == self.viewer);
            let users: Vec<_> = users.collect();
            let keys: Vec<(UserSerial, u8)> =
                users.iter().map(|(user, ..)| (*user, usage)).collect();
            let records = self.view.get_many(&CROSS_SIGNING_KEY_BY_USER, &keys)?;
            for ((user, user_id, _), record) in users.into_iter().zip(records) {
                let Some(record) = record else {
                    continue;
                };
                let signatures = self.signatures(*user, &record.public_key)?;
                let json = shown(record.json, signatures, None, table)?;
                found.insert((*user_id).clone(), Raw::from_json(json));
            }
        }
        Ok(())
    }

    /// The signatures that a key's owner and the viewer have put on it: by whom, with which
    /// key. Those of others are theirs to see.
    fn signatures(
        &mut self,
        owner: UserSerial,
        key: &str,
    ) -> Result<Vec<(String, String, String)>, StoreError> {
        let mut found = Vec::new();
        let signers = [Some(owner), self.viewer.filter(|viewer| *viewer != owner)];
        for signer in signers.into_iter().flatten() {
            let prefix = (owner, key.to_owned(), signer);
            let rows = self.signatures.under(&prefix)?;
            if rows.is_empty() {
                continue;
            }
            let Some(signer_id) = model::user_id(self.view, signer)? else {
                continue;
            };
            for ((.., key_id), record) in rows {
                found.push((signer_id.clone(), key_id, record.signature));
            }
        }
        Ok(found)
    }
}

/// A stored key with what else is told with it.
fn shown(
    mut json: Vec<u8>,
    signatures: Vec<(String, String, String)>,
    device_name: Option<String>,
    table: &'static str,
) -> Result<Box<RawValue>, StoreError> {
    if !signatures.is_empty() {
        let mut key: Map<String, Value> = json::parse(&json, table)?;
        for (signer_id, key_id, signature) in signatures {
            add_signature(&mut key, signer_id, key_id, signature);
        }
        json = json::written(&key, table)?.get().as_bytes().to_vec();
    }
    if let Some(name) = device_name {
        // What is stored has no `unsigned`, and is never empty.
        json.pop();
        json.extend_from_slice(br#","unsigned":{"device_display_name":"#);
        json.extend_from_slice(Value::String(name).to_string().as_bytes());
        json.extend_from_slice(b"}}");
    }
    json::raw(json, table)
}

/// Adds the signatures that the key's owner and the viewer have put on a key. Those of others are theirs to see.
pub(crate) fn add_signatures(
    view: &impl Read,
    shown: &mut Map<String, Value>,
    viewer: Option<UserSerial>,
    owner: UserSerial,
    key: &str,
) -> Result<(), StoreError> {
    let signers = [Some(owner), viewer.filter(|viewer| *viewer != owner)];
    for signer in signers.into_iter().flatten() {
        for row in view.scan(&SIGNATURE_BY_KEY, &(owner, key.to_owned(), signer)) {
            let ((_, _, _, key_id), record) = row?;
            if let Some(signer_id) = model::user_id(view, signer)? {
                add_signature(shown, signer_id, key_id, record.signature);
            }
        }
    }
    Ok(())
}
