//! The keys of this server's users as other servers may see them.

use std::collections::BTreeMap;

use model::tables::PUBLISHED_DEVICES_BY_USER;
use ruma_common::{
    OwnedDeviceId, OwnedUserId, ServerName, UserId,
    encryption::{CrossSigningKey, DeviceKeys},
    serde::Raw,
};
use store::{Read, StoreError};

use crate::{
    QueriedKeys,
    device_keys::{KeyViewer, query_keys_as},
    device_list_position, find,
};

/// The devices of a user that have keys, for other servers.
#[derive(Clone, Debug)]
pub struct PublishedDevices {
    /// Tells this list from earlier ones: it grows with each change.
    pub stream_id: u64,
    /// The keys of each device, with its name where that is told.
    pub devices: BTreeMap<OwnedDeviceId, Raw<DeviceKeys>>,
    /// The master key.
    pub master_key: Option<Raw<CrossSigningKey>>,
    /// The self-signing key.
    pub self_signing_key: Option<Raw<CrossSigningKey>>,
}

/// The keys of users of this server, as other servers may see them: for each user the devices
/// named, or all if none is. Of other signatures than those of the users themselves nothing is
/// told; how devices are called, only `with_names` (`federation.device_names`).
///
/// # Errors
/// If the database fails.
pub fn published_keys(
    view: &impl Read,
    server_name: &ServerName,
    wanted: &BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>,
    with_names: bool,
) -> Result<QueriedKeys, StoreError> {
    let viewer = KeyViewer::Server { with_names };
    query_keys_as(view, server_name, viewer, wanted)
}

/// The devices of a user of this server, as other servers may see them, `with_names` or
/// without; none if there is no such user.
///
/// # Errors
/// If the database fails.
pub fn published_devices(
    view: &impl Read,
    user_id: &UserId,
    with_names: bool,
) -> Result<Option<PublishedDevices>, StoreError> {
    let Some((user, _)) = find(view, user_id)? else {
        return Ok(None);
    };
    let wanted = BTreeMap::from([(user_id.to_owned(), Vec::new())]);
    let mut keys = published_keys(view, user_id.server_name(), &wanted, with_names)?;
    // What is told of changes counts by itself: the next one names this number.
    let stream_id = match view.get(&PUBLISHED_DEVICES_BY_USER, &user)? {
        Some(told) => told.stream_id,
        None => device_list_position(view, user)?.map_or(0, |position| position.0),
    };
    Ok(Some(PublishedDevices {
        stream_id,
        devices: keys.device_keys.remove(user_id).unwrap_or_default(),
        master_key: keys.master_keys.remove(user_id),
        self_signing_key: keys.self_signing_keys.remove(user_id),
    }))
}
