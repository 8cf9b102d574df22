//! One's own devices (client-server API, "Device Management").

use accounts::{Accounts, DeviceError};
use axum::response::IntoResponse as _;
use http::{StatusCode, header};
use js_int::UInt;
use ruma_client_api::device::{
    Device, delete_device::v3 as delete_device, delete_devices::v3 as delete_devices,
    get_device::v3 as get_device, get_devices::v3 as get_devices,
    update_device::v3 as update_device,
};
use ruma_common::MilliSecondsSinceUnixEpoch;
use store::{Snapshot, Store};
use web::{Interactive, Part, Reply, Routes, User, Whole};

use crate::{ClientParts, prover::Prover};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(get_devices)
        .on(get_device)
        .on(update_device)
        .on(delete_device)
        .on(delete_devices)
}

/// A device as its user sees it.
fn shown(device: accounts::Device) -> Device {
    let mut shown = Device::new(device.device_id);
    shown.display_name = device.display_name;
    if let Some(seen) = device.last_seen {
        shown.last_seen_ip = Some(seen.address);
        shown.last_seen_ts = UInt::new(seen.at).map(MilliSecondsSinceUnixEpoch);
    }
    shown
}

/// `GET /_matrix/client/v3/devices`
async fn get_devices(
    Part(store): Part<Store>,
    caller: User,
    _: get_devices::Request,
) -> Reply<get_devices::Response> {
    let user = caller.user;
    let read = move |view: &Snapshot| accounts::devices(view, user);
    let devices = store.read(read).await?;
    Ok(get_devices::Response::new(
        devices.into_iter().map(shown).collect(),
    ))
}

/// `GET /_matrix/client/v3/devices/{deviceId}`
async fn get_device(
    Part(store): Part<Store>,
    caller: User,
    request: get_device::Request,
) -> Reply<get_device::Response> {
    let user = caller.user;
    let read = move |view: &Snapshot| {
        accounts::device(view, user, &request.device_id)?.ok_or(DeviceError::NotFound)
    };
    Ok(get_device::Response::new(shown(store.read(read).await?)))
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
            .set_device_display_name(user, &device_id, request.display_name)
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
        .remove_devices(caller.user, vec![request.device_id])
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
        .remove_devices(caller.user, request.devices)
        .await?;
    Ok(delete_devices::Response::new())
}
