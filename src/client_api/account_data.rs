//! What clients store for their user, and tags of rooms (client-server API, "Client
//! Config" and "Room Tagging"; deletion is MSC3391, under its unstable prefix).

use accounts::{AccountDataError, Accounts};
use http::Method;
use model::RoomSerial;
use ruma_client_api::{
    config::{
        get_global_account_data::v3 as get_global, get_room_account_data::v3 as get_of_room,
        set_global_account_data::v3 as set_global, set_room_account_data::v3 as set_of_room,
    },
    tag::{create_tag::v3 as create_tag, delete_tag::v3 as delete_tag, get_tags::v3 as get_tags},
};
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId};
use serde_json::json;
use store::{Snapshot, Store};
use web::{ApiError, Part, PathOf, RawJson, Reply, Routes, User};

use crate::{ClientParts, answers};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(get_global)
        .on(set_global)
        .on(get_of_room)
        .on(set_of_room)
        .on(get_tags)
        .on(create_tag)
        .on(delete_tag)
        .plain(Method::DELETE, DELETE_GLOBAL, delete_global)
        .plain(Method::DELETE, DELETE_OF_ROOM, delete_of_room)
}

const DELETE_GLOBAL: &str =
    "/_matrix/client/unstable/org.matrix.msc3391/user/{user_id}/account_data/{event_type}";
const DELETE_OF_ROOM: &str = "/_matrix/client/unstable/org.matrix.msc3391/user/{user_id}/rooms/{room_id}/account_data/{event_type}";

/// `DELETE …/org.matrix.msc3391/user/{userId}/account_data/{type}`
async fn delete_global(
    Part(accounts): Part<Accounts>,
    caller: User,
    PathOf((user_id, event_type)): PathOf<(OwnedUserId, String)>,
) -> Reply<RawJson> {
    caller.must_be(&user_id)?;
    accounts
        .delete_account_data(caller.user, None, &event_type)
        .await?;
    Ok(answers::json(&json!({})))
}

/// `DELETE …/org.matrix.msc3391/user/{userId}/rooms/{roomId}/account_data/{type}`
async fn delete_of_room(
    Part(accounts): Part<Accounts>,
    Part(store): Part<Store>,
    caller: User,
    PathOf((user_id, room_id, event_type)): PathOf<(OwnedUserId, OwnedRoomId, String)>,
) -> Reply<RawJson> {
    caller.must_be(&user_id)?;
    let room = room(&store, room_id).await?;
    accounts
        .delete_account_data(caller.user, Some(room), &event_type)
        .await?;
    Ok(answers::json(&json!({})))
}

/// The room of a path.
async fn room(store: &Store, room_id: OwnedRoomId) -> Result<RoomSerial, AccountDataError> {
    let read = move |view: &Snapshot| known_room(view, &room_id);
    store.read(read).await
}

fn known_room(view: &Snapshot, room_id: &RoomId) -> Result<RoomSerial, AccountDataError> {
    rooms::room_serial(view, room_id.as_str())?.ok_or(AccountDataError::NotFound)
}

/// `GET /_matrix/client/v3/user/{userId}/account_data/{type}`
async fn get_global(
    Part(store): Part<Store>,
    caller: User,
    request: get_global::Request,
) -> Reply<RawJson> {
    caller.must_be(&request.user_id)?;
    let (user, event_type) = (caller.user, request.event_type.to_string());
    let read = move |view: &Snapshot| accounts::account_data(view, user, None, &event_type);
    let entry = store.read(read).await?;
    let entry = entry.filter(|entry| !entry.is_deleted());
    let entry = entry.ok_or_else(|| ApiError::not_found("There is no such account data."))?;
    Ok(RawJson(entry.json.into()))
}

/// `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`
async fn set_global(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: set_global::Request,
) -> Reply<set_global::Response> {
    caller.must_be(&request.user_id)?;
    let (event_type, json) = (request.event_type.to_string(), request.data.json().get());
    accounts
        .put_account_data(caller.user, None, &event_type, json.as_bytes())
        .await?;
    Ok(set_global::Response::new())
}

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
async fn get_of_room(
    Part(store): Part<Store>,
    caller: User,
    request: get_of_room::Request,
) -> Reply<RawJson> {
    caller.must_be(&request.user_id)?;
    let user = caller.user;
    let read = move |view: &Snapshot| {
        let room = known_room(view, &request.room_id)?;
        let event_type = request.event_type.to_string();
        accounts::account_data(view, user, Some(room), &event_type)?
            .filter(|entry| !entry.is_deleted())
            .ok_or(AccountDataError::NotFound)
    };
    Ok(RawJson(store.read(read).await?.json.into()))
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
async fn set_of_room(
    Part(accounts): Part<Accounts>,
    Part(store): Part<Store>,
    caller: User,
    request: set_of_room::Request,
) -> Reply<set_of_room::Response> {
    caller.must_be(&request.user_id)?;
    let room = room(&store, request.room_id).await?;
    let (event_type, json) = (request.event_type.to_string(), request.data.json().get());
    accounts
        .put_account_data(caller.user, Some(room), &event_type, json.as_bytes())
        .await?;
    Ok(set_of_room::Response::new())
}

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags`
async fn get_tags(
    Part(store): Part<Store>,
    caller: User,
    request: get_tags::Request,
) -> Reply<RawJson> {
    caller.must_be(&request.user_id)?;
    let user = caller.user;
    let read = move |view: &Snapshot| {
        let room = known_room(view, &request.room_id)?;
        Ok::<_, AccountDataError>(accounts::tags(view, user, room)?)
    };
    Ok(answers::json(&json!({ "tags": store.read(read).await? })))
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
async fn create_tag(
    Part(accounts): Part<Accounts>,
    Part(store): Part<Store>,
    caller: User,
    request: create_tag::Request,
) -> Reply<create_tag::Response> {
    caller.must_be(&request.user_id)?;
    let room = room(&store, request.room_id).await?;
    accounts
        .put_tag(caller.user, room, request.tag, json!(request.tag_info))
        .await?;
    Ok(create_tag::Response::new())
}

/// `DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
async fn delete_tag(
    Part(accounts): Part<Accounts>,
    Part(store): Part<Store>,
    caller: User,
    request: delete_tag::Request,
) -> Reply<delete_tag::Response> {
    caller.must_be(&request.user_id)?;
    let room = room(&store, request.room_id).await?;
    accounts.delete_tag(caller.user, room, request.tag).await?;
    Ok(delete_tag::Response::new())
}
