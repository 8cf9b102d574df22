//! What other servers ask about people and rooms of this one (server-server API,
//! "Querying for information", "Public Room Directory").

use accounts::ProfileError;
use js_int::UInt;
use rooms::{
    Networks, PublicRoomsPage, PublicRoomsRequest, ReadError, Rooms, resolve_alias,
    servers_to_join_by,
};
use ruma_common::directory::{RoomNetwork, RoomTypeFilter};
use ruma_federation_api::{
    directory::{
        get_public_rooms::v1 as list_rooms, get_public_rooms_filtered::v1 as search_rooms,
    },
    query::{get_profile_information::v1 as profile, get_room_information::v1 as alias},
};
use serde_json::{Map, Value, json};
use store::{Snapshot, Store};
use web::{ApiError, Part, RawJson, Reply, Routes, Server};

use crate::{ServerParts, answers};

pub(crate) fn routes() -> Routes<ServerParts> {
    Routes::new()
        .on(profile)
        .on(alias)
        .on(list_rooms)
        .on(search_rooms)
}

/// `GET /_matrix/federation/v1/query/profile`
async fn profile(
    Part(store): Part<Store>,
    Part(rooms): Part<Rooms>,
    _: Server,
    request: profile::Request,
) -> Reply<RawJson> {
    if request.user_id.server_name() != rooms.server_name() {
        return Err(ApiError::not_found("The user is not of this server."));
    }
    let field = request.field.map(|field| field.to_string());
    let read = move |view: &Snapshot| {
        let (user, account) =
            accounts::find(view, &request.user_id)?.ok_or(ProfileError::NotFound)?;
        if account.is_erased {
            return Err(ProfileError::NotFound);
        }
        let mut profile = accounts::profile(view, user)?;
        if let Some(field) = field {
            profile.retain(|name, _| *name == field);
        }
        Ok::<_, ProfileError>(profile)
    };
    answers::json(&store.read(read).await?)
}

/// `GET /_matrix/federation/v1/query/directory`
async fn alias(
    Part(store): Part<Store>,
    Part(rooms): Part<Rooms>,
    _: Server,
    request: alias::Request,
) -> Reply<alias::Response> {
    let own = rooms.server_name().to_owned();
    if request.room_alias.server_name() != own {
        return Err(ApiError::not_found("The alias is not of this server."));
    }
    let read = move |view: &Snapshot| {
        let room_id = resolve_alias(view, &request.room_alias)?;
        let servers = servers_to_join_by(view, &room_id, &own)?;
        Ok::<_, ReadError>((room_id, servers))
    };
    let (room_id, servers) = store.read(read).await?;
    Ok(alias::Response::new(room_id, servers))
}

fn limit(limit: Option<UInt>) -> Option<usize> {
    limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// `GET /_matrix/federation/v1/publicRooms`
async fn list_rooms(
    Part(rooms): Part<Rooms>,
    _: Server,
    request: list_rooms::Request,
) -> Reply<RawJson> {
    let wanted = PublicRoomsRequest {
        limit: limit(request.limit),
        since: request.since,
        ..PublicRoomsRequest::default()
    };
    public_rooms(rooms, wanted).await
}

/// `POST /_matrix/federation/v1/publicRooms`
async fn search_rooms(
    Part(rooms): Part<Rooms>,
    _: Server,
    request: search_rooms::Request,
) -> Reply<RawJson> {
    let types = request.filter.room_types.iter().map(RoomTypeFilter::as_str);
    let wanted = PublicRoomsRequest {
        server: None,
        limit: limit(request.limit),
        since: request.since,
        room_types: types.map(|name| name.map(str::to_owned)).collect(),
        search_term: request.filter.generic_search_term,
        networks: match request.room_network {
            RoomNetwork::All => Networks::All,
            RoomNetwork::ThirdParty(instance) => Networks::One(instance),
            _ => Networks::Matrix,
        },
        viewer: None,
    };
    public_rooms(rooms, wanted).await
}

async fn public_rooms(rooms: Rooms, wanted: PublicRoomsRequest) -> Reply<RawJson> {
    let store = rooms.store().clone();
    let read = move |view: &Snapshot| rooms.public_rooms(view, &wanted);
    let page: PublicRoomsPage = store.read_long::<_, ReadError, _>(read).await?;
    let mut answer = Map::new();
    answer.insert("chunk".to_owned(), json!(page.chunk));
    answer.insert("total_room_count_estimate".to_owned(), json!(page.total));
    for (name, token) in [
        ("next_batch", page.next_batch),
        ("prev_batch", page.prev_batch),
    ] {
        if let Some(token) = token {
            answer.insert(name.to_owned(), token.into());
        }
    }
    answers::json(&Value::Object(answer))
}
