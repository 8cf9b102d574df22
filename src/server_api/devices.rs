//! Devices and keys of this server's users (server-server API, "Device Management",
//! "End-to-End Encryption").

use accounts::{Accounts, published_devices, published_keys};
use peers::Peers;
use ruma_federation_api::{
    device::get_devices::v1 as devices,
    keys::{claim_keys::v1 as claim, get_keys::v1 as query},
};
use serde_json::{Map, Value, json};
use store::{Snapshot, Store, StoreError};
use web::{ApiError, Part, RawJson, Reply, Routes, Server};

use crate::{ServerParts, answers};

pub(crate) fn routes() -> Routes<ServerParts> {
    Routes::new().on(devices).on(query).on(claim)
}

/// `GET /_matrix/federation/v1/user/devices/{userId}`
async fn devices(
    Part(store): Part<Store>,
    Part(accounts): Part<Accounts>,
    Part(peers): Part<Peers>,
    _: Server,
    request: devices::Request,
) -> Reply<RawJson> {
    let user_id = request.user_id;
    if user_id.server_name() != accounts.server_name() {
        return Err(ApiError::not_found("The user is not of this server."));
    }
    let wanted = user_id.clone();
    let with_names = peers.tells_device_names();
    let read = move |view: &Snapshot| published_devices(view, &wanted, with_names);
    let found = store.read::<_, StoreError, _>(read).await?;
    let found = found.ok_or_else(|| ApiError::not_found("There is no such user."))?;
    let devices: Vec<Value> = found
        .devices
        .iter()
        .map(|(device_id, keys)| json!({ "device_id": device_id, "keys": keys }))
        .collect();
    let mut answer = Map::new();
    answer.insert("user_id".to_owned(), json!(user_id));
    answer.insert("stream_id".to_owned(), json!(found.stream_id));
    answer.insert("devices".to_owned(), json!(devices));
    for (name, key) in [
        ("master_key", found.master_key),
        ("self_signing_key", found.self_signing_key),
    ] {
        if let Some(key) = key {
            answer.insert(name.to_owned(), json!(key));
        }
    }
    answers::json(&Value::Object(answer))
}

/// `POST /_matrix/federation/v1/user/keys/query`
async fn query(
    Part(store): Part<Store>,
    Part(accounts): Part<Accounts>,
    Part(peers): Part<Peers>,
    _: Server,
    request: query::Request,
) -> Reply<query::Response> {
    let wanted = request.device_keys;
    let with_names = peers.tells_device_names();
    let own = accounts.server_name().to_owned();
    let read = move |view: &Snapshot| published_keys(view, &own, &wanted, with_names);
    let found = store.read_long::<_, StoreError, _>(read).await?;
    let mut response = query::Response::new(found.device_keys);
    response.master_keys = found.master_keys;
    response.self_signing_keys = found.self_signing_keys;
    Ok(response)
}

/// `POST /_matrix/federation/v1/user/keys/claim`
async fn claim(
    Part(accounts): Part<Accounts>,
    _: Server,
    request: claim::Request,
) -> Reply<claim::Response> {
    let claimed = accounts.claim_keys(request.one_time_keys).await?;
    Ok(claim::Response::new(claimed.one_time_keys))
}
