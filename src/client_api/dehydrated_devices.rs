//! Dehydrated devices (MSC3814, under its unstable prefix).
//!
//! Pages of messages are asked for in two ways: by the proposal's earlier text with
//! `POST` and `next_batch` in the body, by the later one with `GET` and `from`.

use std::collections::BTreeMap;

use accounts::{
    Accounts, DehydratedEvents, NewDehydratedDevice, dehydrated_device, dehydrated_events,
};
use http::Method;
use ruma_common::{
    OwnedDeviceId, OwnedOneTimeKeyId,
    encryption::{DeviceKeys, OneTimeKey},
    serde::Raw,
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use store::{Snapshot, Store};
use web::{ApiError, JsonBody, Part, PathOf, QueryOf, RawJson, Reply, Routes, User};

use crate::{ClientParts, answers};

const DEVICE: &str = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";
const EVENTS: &str =
    "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events";

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .plain(Method::PUT, DEVICE, put_device)
        .plain(Method::GET, DEVICE, get_device)
        .plain(Method::DELETE, DEVICE, delete_device)
        .plain(Method::POST, EVENTS, post_events)
        .plain(Method::GET, EVENTS, get_events)
}

/// The body of `PUT /dehydrated_device`.
#[derive(Deserialize)]
struct PutDevice {
    device_id: OwnedDeviceId,
    initial_device_display_name: Option<String>,
    device_data: Box<RawValue>,
    device_keys: Raw<DeviceKeys>,
    #[serde(default)]
    one_time_keys: BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>,
    #[serde(default)]
    fallback_keys: BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>,
}

/// `PUT /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`
async fn put_device(
    Part(accounts): Part<Accounts>,
    caller: User,
    JsonBody(request): JsonBody<PutDevice>,
) -> Reply<RawJson> {
    let device_id = request.device_id.clone();
    let new = NewDehydratedDevice {
        device_id: request.device_id,
        display_name: request.initial_device_display_name,
        device_data: request.device_data,
        device_keys: request.device_keys,
        one_time_keys: request.one_time_keys,
        fallback_keys: request.fallback_keys,
    };
    accounts.put_dehydrated_device(&caller, new).await?;
    Ok(answers::json(&json!({ "device_id": device_id })))
}

/// `GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`
async fn get_device(Part(store): Part<Store>, caller: User) -> Reply<RawJson> {
    let user = caller.user;
    let device = store
        .read(move |view: &Snapshot| dehydrated_device(view, user))
        .await?;
    let (device_id, device_data) = (json!(device.device_id), device.device_data);
    let answer = format!(r#"{{"device_id":{device_id},"device_data":{device_data}}}"#);
    Ok(RawJson(answer.into()))
}

/// `DELETE /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`
async fn delete_device(Part(accounts): Part<Accounts>, caller: User) -> Reply<RawJson> {
    let device_id = accounts.delete_dehydrated_device(caller.user).await?;
    Ok(answers::json(&json!({ "device_id": device_id })))
}

/// A page of the messages for the caller's dehydrated device.
async fn events(
    store: Store,
    caller: User,
    device_id: OwnedDeviceId,
    from: Option<String>,
) -> Result<DehydratedEvents, ApiError> {
    let user = caller.user;
    let read = move |view: &Snapshot| dehydrated_events(view, user, &device_id, from.as_deref());
    Ok(store.read(read).await?)
}

fn answer(page: &DehydratedEvents, shows_next: bool) -> RawJson {
    let events: Vec<_> = page
        .events
        .iter()
        .map(|json| String::from_utf8_lossy(json))
        .collect();
    let next = match shows_next {
        true => format!(r#","next_batch":{}"#, json!(page.next_batch)),
        false => String::new(),
    };
    RawJson(format!(r#"{{"events":[{}]{next}}}"#, events.join(",")).into())
}

/// The body of `POST /dehydrated_device/{device_id}/events`.
#[derive(Deserialize)]
struct PostEvents {
    next_batch: Option<String>,
}

/// `POST /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events`
///
/// Who asks like this goes on until a page is empty.
async fn post_events(
    Part(store): Part<Store>,
    caller: User,
    PathOf(device_id): PathOf<OwnedDeviceId>,
    JsonBody(request): JsonBody<PostEvents>,
) -> Reply<RawJson> {
    let page = events(store, caller, device_id, request.next_batch).await?;
    Ok(answer(&page, !page.events.is_empty()))
}

/// The query of `GET /dehydrated_device/{device_id}/events`.
#[derive(Deserialize)]
struct GetEvents {
    from: Option<String>,
}

/// `GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events`
///
/// Who asks like this goes on until a page names no next one.
async fn get_events(
    Part(store): Part<Store>,
    caller: User,
    PathOf(device_id): PathOf<OwnedDeviceId>,
    QueryOf(request): QueryOf<GetEvents>,
) -> Reply<RawJson> {
    let page = events(store, caller, device_id, request.from).await?;
    Ok(answer(&page, page.has_more))
}
