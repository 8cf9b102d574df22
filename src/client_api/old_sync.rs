//! What clients asked before `/sync`, and the previews of rooms (client-server API,
//! "Room previews" and the deprecated endpoints).

use std::time::Duration;

use ::sync::Sync;
use http::Method;
use ruma_client_api::peeking::get_current_state::v3 as room_initial_sync;
use ruma_common::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use web::{ApiError, Part, PathOf, QueryOf, RawJson, Reply, Routes, User};

use crate::{ClientParts, answers, rooms::place};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(room_initial_sync)
        .plain(Method::GET, "/_matrix/client/r0/initialSync", initial_sync)
        .plain(Method::GET, "/_matrix/client/v3/initialSync", initial_sync)
        .plain(Method::GET, "/_matrix/client/r0/events", events)
        .plain(Method::GET, "/_matrix/client/v3/events", events)
        .plain(Method::GET, "/_matrix/client/r0/events/{event_id}", event)
        .plain(Method::GET, "/_matrix/client/v3/events/{event_id}", event)
}

/// `GET /_matrix/client/v3/rooms/{roomId}/initialSync`
async fn room_initial_sync(
    Part(sync): Part<Sync>,
    caller: User,
    request: room_initial_sync::Request,
) -> Reply<RawJson> {
    let answer = sync.room_initial_sync(&caller, request.room_id).await?;
    Ok(answers::json(&answer))
}

#[derive(Deserialize)]
struct InitialSync {
    limit: Option<usize>,
    #[serde(default)]
    archived: bool,
}

/// `GET /_matrix/client/v3/initialSync`
async fn initial_sync(
    Part(sync): Part<Sync>,
    caller: User,
    QueryOf(query): QueryOf<InitialSync>,
) -> Result<RawJson, ApiError> {
    let answer = sync
        .initial_sync(&caller, query.limit, query.archived)
        .await?;
    Ok(answers::json(&answer))
}

#[derive(Deserialize)]
struct Events {
    from: Option<String>,
    /// In ms.
    #[serde(default)]
    timeout: u64,
    room_id: Option<OwnedRoomId>,
}

/// `GET /_matrix/client/v3/events`: of one room where one is named, as for its preview.
async fn events(
    Part(sync): Part<Sync>,
    caller: User,
    QueryOf(query): QueryOf<Events>,
) -> Result<RawJson, ApiError> {
    let timeout = Duration::from_millis(query.timeout);
    let answer = match query.room_id {
        None if caller.is_guest => {
            return Err(ApiError::missing_param("Guests must name a room."));
        }
        None => sync.old_events(&caller, query.from, timeout).await?,
        Some(room_id) => {
            let from = place(&sync, &room_id, query.from.as_deref()).await?;
            sync.room_events(&caller, room_id, from, timeout).await?
        }
    };
    Ok(answers::json(&answer))
}

#[derive(Deserialize)]
struct Event {
    event_id: OwnedEventId,
}

/// `GET /_matrix/client/v3/events/{eventId}`
async fn event(
    Part(sync): Part<Sync>,
    caller: User,
    PathOf(path): PathOf<Event>,
) -> Result<RawJson, ApiError> {
    let event = sync.event_anywhere(&caller, &path.event_id).await?;
    Ok(RawJson(event.into()))
}
