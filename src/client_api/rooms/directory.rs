//! The public directory: reading it, and whether a room stands in it (client-server
//! API, "Published room directory").

use ::rooms::{
    Networks, PublicRoomsPage, PublicRoomsRequest, Rooms, is_published, may_see_directory,
};
use actions::Actions;
use http::Method;
use js_int::UInt;
use ruma_client_api::{
    directory::{
        get_public_rooms::v3 as list, get_public_rooms_filtered::v3 as search,
        get_room_visibility::v3 as get,
    },
    room::Visibility,
};
use ruma_common::{
    OwnedRoomId,
    directory::{RoomNetwork, RoomTypeFilter},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use web::{Anonymous, JsonBody, Part, PathOf, RawJson, Reply, Routes, User};

use super::{creation::is_public, read, read_long, sender};
use crate::{ClientParts, answers};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(list_rooms)
        .on(search_rooms)
        .on(get_visibility)
        .plain(
            Method::PUT,
            "/_matrix/client/v3/directory/list/room/{p1}",
            set_visibility,
        )
        .plain(
            Method::PUT,
            "/_matrix/client/r0/directory/list/room/{p1}",
            set_visibility,
        )
}

fn limit(limit: Option<UInt>) -> Option<usize> {
    limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

fn answer(page: PublicRoomsPage) -> RawJson {
    let (chunk, total) = (json!(page.chunk), json!(page.total));
    answer_of(chunk, page.next_batch, page.prev_batch, total)
}

fn answer_of(
    chunk: Value,
    next_batch: Option<String>,
    prev_batch: Option<String>,
    total: Value,
) -> RawJson {
    let mut answer = Map::new();
    answer.insert("chunk".to_owned(), chunk);
    // Another server may not say.
    if !total.is_null() {
        answer.insert("total_room_count_estimate".to_owned(), total);
    }
    for (name, token) in [("next_batch", next_batch), ("prev_batch", prev_batch)] {
        if let Some(token) = token {
            answer.insert(name.to_owned(), token.into());
        }
    }
    answers::json(&Value::Object(answer))
}

/// A page of the directory of this server or of another.
async fn page(rooms: Rooms, actions: Actions, wanted: PublicRoomsRequest) -> Reply<RawJson> {
    if let Some(viewer) = wanted.viewer {
        read(rooms.clone(), move |_, view| {
            may_see_directory(view, viewer)
        })
        .await?;
    }
    if let Some(server) = wanted.server.clone()
        && server != rooms.server_name()
        && !matches!(wanted.networks, Networks::One(_))
    {
        let page = actions.remote_public_rooms(&server, wanted).await?;
        return Ok(answer_of(
            json!(page.chunk),
            page.next_batch,
            page.prev_batch,
            json!(page.total_room_count_estimate),
        ));
    }
    let page = read_long(rooms, move |rooms, view| rooms.public_rooms(view, &wanted)).await?;
    Ok(answer(page))
}

/// `GET /_matrix/client/v3/publicRooms`
async fn list_rooms(
    Part(rooms): Part<Rooms>,
    Part(actions): Part<Actions>,
    _: Anonymous,
    request: list::Request,
) -> Reply<RawJson> {
    let wanted = PublicRoomsRequest {
        server: request.server,
        limit: limit(request.limit),
        since: request.since,
        ..PublicRoomsRequest::default()
    };
    page(rooms, actions, wanted).await
}

/// `POST /_matrix/client/v3/publicRooms`
async fn search_rooms(
    Part(rooms): Part<Rooms>,
    Part(actions): Part<Actions>,
    caller: User,
    request: search::Request,
) -> Reply<RawJson> {
    let types = request.filter.room_types.iter().map(RoomTypeFilter::as_str);
    let wanted = PublicRoomsRequest {
        server: request.server,
        limit: limit(request.limit),
        since: request.since,
        room_types: types.map(|name| name.map(str::to_owned)).collect(),
        search_term: request.filter.generic_search_term,
        viewer: Some(caller.user),
        networks: match request.room_network {
            RoomNetwork::All => Networks::All,
            RoomNetwork::ThirdParty(instance) => Networks::One(instance),
            _ => Networks::Matrix,
        },
    };
    page(rooms, actions, wanted).await
}

/// `GET /_matrix/client/v3/directory/list/room/{roomId}`
async fn get_visibility(
    Part(rooms): Part<Rooms>,
    _: Anonymous,
    request: get::Request,
) -> Reply<get::Response> {
    let is_published = read(rooms, move |_, view| is_published(view, &request.room_id)).await?;
    Ok(get::Response::new(if is_published {
        Visibility::Public
    } else {
        Visibility::Private
    }))
}

/// The body of `PUT /directory/list/room/{roomId}`. ruma's has no default.
#[derive(Deserialize)]
struct SetVisibility {
    visibility: Option<Visibility>,
}

/// `PUT /_matrix/client/v3/directory/list/room/{roomId}`
async fn set_visibility(
    Part(rooms): Part<Rooms>,
    caller: User,
    PathOf(room_id): PathOf<OwnedRoomId>,
    JsonBody(request): JsonBody<SetVisibility>,
) -> Reply<RawJson> {
    let published = request.visibility.as_ref().map(is_public).transpose()?;
    let sender = sender(&caller);
    rooms
        .set_published(&sender, &room_id, published.unwrap_or(true))
        .await?;
    Ok(answers::json(&json!({})))
}
