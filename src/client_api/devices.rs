//! One's own devices (client-server API, "Device Management").

use accounts::{Accounts, DeviceError};
use axum::response::IntoResponse as _;
use http::{StatusCode, header};
use ruma_client_api::device::{
    delete_device::v3 as delete_device, delete_devices::v3 as delete_devices,
    get_device::v3 as get_device, get_devices::v3 as get_devices,
    update_device::v3 as update_device,
};
use serde_json::{Map, Value, json};
use store::{Snapshot, Store};
use web::{Interactive, Part, RawJson, Reply, Routes, User, Whole};

use crate::{ClientParts, answers, prover::Prover};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(get_devices)
        .on(get_device)
        .on(update_device)
        .on(delete_device)
        .on(delete_devices)
}

/// A device as its user sees it; what is not known is not told.
fn shown(device: accounts::Device) -> Value {
    let mut shown = Map::new();
    shown.insert("device_id".to_owned(), json!(device.device_id));
    if let Some(name) = device.display_name {
        shown.insert("display_name".to_owned(), name.into());
    }
    if let Some(seen) = device.last_seen {
        shown.insert("last_seen_ip".to_owned(), seen.address.into());
        shown.insert("last_seen_ts".to_owned(), seen.at.into());
    }
    Value::Object(shown)
}

/// `GET /_matrix/client/v3/devices`
async fn get_devices(
    Part(store): Part<Store>,
    caller: User,
    _: get_devices::Request,
) -> Reply<RawJson> {
    let user = caller.user;
    let read = move |view: &Snapshot| accounts::devices(view, user);
    let devices = store.read(read).await?;
    let devices: Vec<Value> = devices.into_iter().map(shown).collect();
    Ok(answers::json(&json!({ "devices": devices })))
}

/// `GET /_matrix/client/v3/devices/{deviceId}`
async fn get_device(
    Part(store): Part<Store>,
    caller: User,
    request: get_device::Request,
) -> Reply<RawJson> {
    let user = caller.user;
    let read = move |view: &Snapshot| {
        accounts::device(view, user, &request.device_id)?.ok_or(DeviceError::NotFound)
    };
    Ok(answers::json(&shown(store.read(read).await?)))
}

/// `PUT /_matrix/client/v3/devices/{deviceId}`
async fn update_device(
    Part(accounts): Part<Accounts>,
    Part(store): Part<Store>,
    caller: User,
    request: update_device::Request,
) -> Reply<Whole> {
    if caller.service.is_some() {
        let is_new = accounts
            .put_device(&caller, &request.device_id, request.display_name)
            .await?;
        return Ok(empty(if is_new {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        }));
    }
    let (user, device_id) = (caller.user, request.device_id);
    if request.display_name.is_some() {
        accounts
            .set_device_display_name(&caller.act(), user, &device_id, request.display_name)
            .await?;
    } else {
        // Without a name nothing changes; a device that is not there is still an error.
        let read = move |view: &Snapshot| {
            accounts::device(view, user, &device_id)?.ok_or(DeviceError::NotFound)
        };
        store.read(read).await?;
    }
    Ok(empty(StatusCode::OK))
}

/// An empty object with a status.
fn empty(status: StatusCode) -> Whole {
    let json = [(header::CONTENT_TYPE, "application/json")];
    Whole((status, json, "{}").into_response())
}

/// `DELETE /_matrix/client/v3/devices/{deviceId}`
async fn delete_device(
    Part(accounts): Part<Accounts>,
    prover: Prover,
    caller: User,
    Interactive { request, operation }: Interactive<delete_device::Request>,
) -> Reply<delete_device::Response> {
    prover
        .user(&caller, operation, request.auth.as_ref())
        .await?;
    accounts
        .remove_devices(&caller.act(), caller.user, vec![request.device_id])
        .await?;
    Ok(delete_device::Response::new())
}

/// `POST /_matrix/client/v3/delete_devices`
async fn delete_devices(
    Part(accounts): Part<Accounts>,
    prover: Prover,
    caller: User,
    Interactive { request, operation }: Interactive<delete_devices::Request>,
) -> Reply<delete_devices::Response> {
    prover
        .user(&caller, operation, request.auth.as_ref())
        .await?;
    accounts
        .remove_devices(&caller.act(), caller.user, request.devices)
        .await?;
    Ok(delete_devices::Response::new())
}
