//! People's devices, as Synapse's tools administer them.

use accounts::Device;
use actions::Actions;
use http::Method;
use ruma_common::{OwnedDeviceId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};
use web::{Admin, ApiError, JsonBody, Part, PathOf, RawJson, Routes};

use crate::{
    AdminParts,
    answers::{answer, empty, unsupported},
};

const DEVICES: &str = "/_synapse/admin/v2/users/{user_id}/devices";
const DEVICE: &str = "/_synapse/admin/v2/users/{user_id}/devices/{device_id}";

pub(crate) fn routes() -> Routes<AdminParts> {
    Routes::new()
        .plain(Method::GET, DEVICES, list)
        .plain(Method::POST, DEVICES, make)
        .plain(
            Method::POST,
            "/_synapse/admin/v2/users/{user_id}/delete_devices",
            delete_many,
        )
        .plain(Method::GET, DEVICE, show)
        .plain(Method::PUT, DEVICE, rename)
        .plain(Method::DELETE, DEVICE, delete)
}

/// A device as Synapse shows it.
fn shown(user_id: &UserId, device: &Device) -> Value {
    let seen = device.last_seen.as_ref();
    json!({
        "device_id": device.device_id,
        "display_name": device.display_name,
        "last_seen_ip": seen.map(|seen| &seen.address),
        "last_seen_ts": seen.map(|seen| seen.at),
        "last_seen_user_agent": seen.and_then(|seen| seen.user_agent.as_ref()),
        "user_id": user_id,
        "dehydrated": false,
    })
}

/// `GET /_synapse/admin/v2/users/{userId}/devices`
async fn list(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let (user_id, devices) = actions
        .devices_of(&caller.administrator(), &user_id)
        .await?;
    let shown: Vec<Value> = devices
        .iter()
        .map(|device| shown(&user_id, device))
        .collect();
    Ok(answer(&json!({ "total": shown.len(), "devices": shown })))
}

/// `POST /_synapse/admin/v2/users/{userId}/devices`: devices come with a sign-in.
async fn make(_: Admin) -> Result<RawJson, ApiError> {
    Err(unsupported("Devices come with a sign-in here."))
}

#[derive(Deserialize)]
struct Devices {
    devices: Vec<OwnedDeviceId>,
}

/// `POST /_synapse/admin/v2/users/{userId}/delete_devices`
async fn delete_many(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    caller: Admin,
    JsonBody(body): JsonBody<Devices>,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    actions
        .remove_devices_of(&by, &user_id, body.devices)
        .await?;
    Ok(empty())
}

/// `GET /_synapse/admin/v2/users/{userId}/devices/{deviceId}`
async fn show(
    Part(actions): Part<Actions>,
    PathOf((user_id, device_id)): PathOf<(String, OwnedDeviceId)>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let (user_id, devices) = actions
        .devices_of(&caller.administrator(), &user_id)
        .await?;
    let device = devices.iter().find(|device| device.device_id == device_id);
    let device = device.ok_or_else(|| ApiError::not_found("There is no such device."))?;
    Ok(answer(&shown(&user_id, device)))
}

#[derive(Deserialize)]
struct Rename {
    display_name: Option<String>,
}

/// `PUT /_synapse/admin/v2/users/{userId}/devices/{deviceId}`
async fn rename(
    Part(actions): Part<Actions>,
    PathOf((user_id, device_id)): PathOf<(String, OwnedDeviceId)>,
    caller: Admin,
    JsonBody(body): JsonBody<Rename>,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    if let Some(name) = body.display_name {
        actions
            .rename_device_of(&by, &user_id, &device_id, Some(name))
            .await?;
    }
    Ok(empty())
}

/// `DELETE /_synapse/admin/v2/users/{userId}/devices/{deviceId}`
async fn delete(
    Part(actions): Part<Actions>,
    PathOf((user_id, device_id)): PathOf<(String, OwnedDeviceId)>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    actions
        .remove_devices_of(&by, &user_id, vec![device_id])
        .await?;
    Ok(empty())
}
