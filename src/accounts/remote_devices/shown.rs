//! What people here are shown of the keys of other servers' users.

use std::collections::{BTreeMap, HashMap};

use model::{
    CrossSigningKeyRecord, Membership, RemoteDeviceListRecord, RemoteDeviceRecord, RoomSerial,
    UserSerial,
    tables::{
        ACCOUNT_BY_USER, CROSS_SIGNING_KEY_BY_USER, MEMBER_BY_ROOM, MEMBERSHIP_BY_USER,
        REMOTE_DEVICE_BY_USER, REMOTE_DEVICE_LIST_BY_USER, USER_BY_ID,
    },
};
use ruma_common::{
    OwnedDeviceId, OwnedUserId, UserId,
    encryption::{CrossSigningKey, DeviceKeys},
    serde::Raw,
};
use serde_json::{Map, Value, json};
use store::{Read, StoreError};

use super::checks;
use crate::{
    cross_signing::{MASTER, SELF_SIGNING},
    device_keys::add_signatures,
    json,
};

/// How many members of a room are looked at for one of this server: beyond, only the viewer
/// counts.
const MOST_MEMBERS: usize = 5_000;

/// The keys of one user of another server, as that server tells them or as people here are
/// shown them.
#[derive(Clone, Debug, Default)]
pub struct RemoteKeySet {
    /// The keys of each device.
    pub devices: BTreeMap<OwnedDeviceId, Raw<DeviceKeys>>,
    /// The master key; as it is shown, with the viewer's signature.
    pub master: Option<Raw<CrossSigningKey>>,
    /// The self-signing key.
    pub self_signing: Option<Raw<CrossSigningKey>>,
}

/// Keys of users of other servers by user, and those who must be asked for.
#[derive(Clone, Debug, Default)]
pub struct KeptKeys {
    /// Those that are kept here and true.
    pub kept: BTreeMap<OwnedUserId, RemoteKeySet>,
    /// The users of whom nothing is kept that could be trusted, with the devices named.
    pub unknown: BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>,
}

/// The keys of users of other servers as they are kept here: for each user the devices named, or all if none is.
///
/// # Errors
/// If the database fails.
pub fn kept_keys(
    view: &impl Read,
    viewer: UserSerial,
    wanted: &BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>,
) -> Result<KeptKeys, StoreError> {
    let mut found = KeptKeys::default();
    let mut acquaintances = Acquaintances::of(view, Some(viewer));
    for (user_id, device_ids) in wanted {
        let user = view.get(&USER_BY_ID, &user_id.to_string())?;
        match user {
            Some(user) if is_true(view, &mut acquaintances, user)? => {
                let keys = kept(view, viewer, user, device_ids)?;
                found.kept.insert(user_id.clone(), keys);
            }
            _ => {
                let device_ids = device_ids.clone();
                found.unknown.insert(user_id.clone(), device_ids);
            }
        }
    }
    Ok(found)
}

/// Whether the kept list of a user is whole and new.
pub(super) fn is_true<R: Read>(
    view: &R,
    acquaintances: &mut Acquaintances<'_, R>,
    user: UserSerial,
) -> Result<bool, StoreError> {
    match view.get(&REMOTE_DEVICE_LIST_BY_USER, &user)? {
        Some(RemoteDeviceListRecord {
            stale: None, since, ..
        }) => acquaintances.share_room(user, since),
        _ => Ok(false),
    }
}

fn kept(
    view: &impl Read,
    viewer: UserSerial,
    user: UserSerial,
    device_ids: &[OwnedDeviceId],
) -> Result<RemoteKeySet, StoreError> {
    let mut keys = RemoteKeySet::default();
    for row in view.scan(&REMOTE_DEVICE_BY_USER, &(user,)) {
        let ((_, device_id), device) = row?;
        let device_id = OwnedDeviceId::from(device_id);
        if device_ids.is_empty() || device_ids.contains(&device_id) {
            keys.devices.insert(device_id, shown_device(&device)?);
        }
    }
    let key = |usage: u8| view.get(&CROSS_SIGNING_KEY_BY_USER, &(user, usage));
    keys.master = key(MASTER)?
        .map(|key| shown_key(view, viewer, Some(user), &key))
        .transpose()?;
    keys.self_signing = key(SELF_SIGNING)?
        .map(|key| shown_key(view, viewer, Some(user), &key))
        .transpose()?;
    Ok(keys)
}

/// What may be shown of a server's answer about one of its users: for the devices named, or all if none is.
///
/// # Errors
/// If the database fails.
pub fn shown_answer(
    view: &impl Read,
    viewer: UserSerial,
    user_id: &UserId,
    device_ids: &[OwnedDeviceId],
    answer: RemoteKeySet,
) -> Result<RemoteKeySet, StoreError> {
    let user = view.get(&USER_BY_ID, &user_id.to_string())?;
    let mut keys = RemoteKeySet::default();
    for (device_id, device) in answer.devices {
        let is_wanted = device_ids.is_empty() || device_ids.contains(&device_id);
        if let Some(device) = checks::device(user_id, &device_id, &device, None)
            && is_wanted
        {
            keys.devices.insert(device_id, shown_device(&device)?);
        }
    }
    let (master, own) = (answer.master.as_ref(), answer.self_signing.as_ref());
    for (usage, key) in checks::signing_keys(user_id, None, master, own) {
        let shown = Some(shown_key(view, viewer, user, &key)?);
        if usage == MASTER {
            keys.master = shown;
        } else {
            keys.self_signing = shown;
        }
    }
    Ok(keys)
}

fn shown_device(device: &RemoteDeviceRecord) -> Result<Raw<DeviceKeys>, StoreError> {
    let table = REMOTE_DEVICE_BY_USER.name;
    let mut shown: Map<String, Value> = json::parse(&device.keys, table)?;
    if let Some(name) = &device.display_name {
        let unsigned = json!({ "device_display_name": name });
        shown.insert("unsigned".to_owned(), unsigned);
    }
    Ok(Raw::from_json(json::written(&shown, table)?))
}

/// A cross-signing key with the signatures that the viewer has put on it.
fn shown_key(
    view: &impl Read,
    viewer: UserSerial,
    owner: Option<UserSerial>,
    key: &CrossSigningKeyRecord,
) -> Result<Raw<CrossSigningKey>, StoreError> {
    let table = CROSS_SIGNING_KEY_BY_USER.name;
    let mut shown: Map<String, Value> = json::parse(&key.json, table)?;
    if let Some(owner) = owner {
        add_signatures(view, &mut shown, Some(viewer), owner, &key.public_key)?;
    }
    Ok(Raw::from_json(json::written(&shown, table)?))
}

/// Which rooms people of this server are in, asked once for each room.
pub(super) struct Acquaintances<'a, R> {
    view: &'a R,
    viewer: Option<UserSerial>,
    /// The commit by which the first of those here came in who are there now.
    rooms: HashMap<RoomSerial, Option<u64>>,
}

impl<'a, R: Read> Acquaintances<'a, R> {
    /// The rooms of the viewer, who is looked at first, and of all others.
    pub(super) fn of(view: &'a R, viewer: Option<UserSerial>) -> Self {
        Self {
            view,
            viewer,
            rooms: HashMap::new(),
        }
    }

    /// Whether somebody here shares a room with a user, and has since a commit.
    pub(super) fn share_room(&mut self, user: UserSerial, since: u64) -> Result<bool, StoreError> {
        for row in self.view.scan(&MEMBERSHIP_BY_USER, &(user,)) {
            let ((_, room), record) = row?;
            if record.membership == Membership::Join
                && record.last_join <= since
                && self.is_here(room, since)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_here(&mut self, room: RoomSerial, since: u64) -> Result<bool, StoreError> {
        if let Some(viewer) = self.viewer
            && let Some(record) = self.view.get(&MEMBERSHIP_BY_USER, &(viewer, room))?
            && record.membership == Membership::Join
            && record.last_join <= since
        {
            return Ok(true);
        }
        let first = match self.rooms.get(&room) {
            Some(first) => *first,
            None => {
                let first = self.first_here(room)?;
                self.rooms.insert(room, first);
                first
            }
        };
        Ok(first.is_some_and(|first| first <= since))
    }

    fn first_here(&self, room: RoomSerial) -> Result<Option<u64>, StoreError> {
        // Whoever has no viewer has time.
        let most = self.viewer.map_or(usize::MAX, |_| MOST_MEMBERS);
        let mut first = None;
        for row in self.view.scan(&MEMBER_BY_ROOM, &(room,)).take(most) {
            let ((_, user), membership) = row?;
            if membership != Membership::Join || !self.view.contains(&ACCOUNT_BY_USER, &user)? {
                continue;
            }
            if let Some(record) = self.view.get(&MEMBERSHIP_BY_USER, &(user, room))? {
                first =
                    Some(first.map_or(record.last_join, |first: u64| first.min(record.last_join)));
            }
        }
        Ok(first)
    }
}
