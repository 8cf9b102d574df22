//! What is said in rooms, as Synapse's tools read it for administrators.

use actions::Actions;
use http::Method;
use rooms::{EventFilter, PlaceToken};
use ruma_client_api::filter::RoomEventFilter;
use ruma_common::api::Direction;
use serde::Deserialize;
use serde_json::json;
use web::{Admin, ApiError, Part, PathOf, QueryOf, RawJson, Routes};

use crate::{AdminParts, answers::answer};

/// How many events a page has, and at most.
const PAGE: usize = 10;
const LONGEST_PAGE: usize = 1_000;
/// How many rooms of a space a page has, and at most.
const ROOMS: usize = 50;
const MOST_ROOMS: usize = 1_000;

pub(crate) fn routes() -> Routes<AdminParts> {
    Routes::new()
        .plain(
            Method::GET,
            "/_synapse/admin/v1/rooms/{room_id}/messages",
            messages,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/rooms/{room_id}/context/{event_id}",
            context,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/rooms/{room_id}/timestamp_to_event",
            at_time,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/rooms/{room_id}/hierarchy",
            hierarchy,
        )
}

fn direction(text: Option<&str>) -> Result<Direction, ApiError> {
    match text {
        None | Some("f") => Ok(Direction::Forward),
        Some("b") => Ok(Direction::Backward),
        Some(_) => Err(ApiError::invalid_param("A direction is f or b.")),
    }
}

/// Events that are JSON already, as a list.
fn list(events: &[String]) -> String {
    format!("[{}]", events.join(","))
}

#[derive(Deserialize)]
struct Wanted {
    from: Option<String>,
    limit: Option<usize>,
    dir: Option<String>,
    /// JSON.
    filter: Option<String>,
}

/// `GET /_synapse/admin/v1/rooms/{roomId}/messages`
async fn messages(
    Part(actions): Part<Actions>,
    PathOf(room): PathOf<String>,
    QueryOf(wanted): QueryOf<Wanted>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let direction = direction(wanted.dir.as_deref())?;
    let from = match wanted.from.as_deref().filter(|from| !from.is_empty()) {
        Some(text) => {
            let unknown = || ApiError::invalid_param("The token is none of this endpoint's.");
            Some(PlaceToken::parse(text).ok_or_else(unknown)?)
        }
        None => None,
    };
    let filter: RoomEventFilter = match &wanted.filter {
        Some(json) => serde_json::from_str(json)
            .map_err(|error| ApiError::invalid_param(format!("The filter is none: {error}.")))?,
        None => RoomEventFilter::default(),
    };
    let limit = wanted.limit.unwrap_or(PAGE).min(LONGEST_PAGE);
    let by = caller.administrator();
    let page = actions
        .room_messages(
            &by,
            &room,
            (from, direction),
            limit,
            EventFilter::from(&filter),
        )
        .await?;
    let end = page.end.map(|end| format!(",\"end\":\"{end}\""));
    Ok(RawJson(
        format!(
            "{{\"chunk\":{},\"start\":\"{}\"{},\"state\":[]}}",
            list(&page.chunk),
            page.start,
            end.unwrap_or_default()
        )
        .into(),
    ))
}

#[derive(Deserialize)]
struct Around {
    limit: Option<usize>,
}

/// `GET /_synapse/admin/v1/rooms/{roomId}/context/{eventId}`
async fn context(
    Part(actions): Part<Actions>,
    PathOf((room, event_id)): PathOf<(String, String)>,
    QueryOf(around): QueryOf<Around>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let limit = around.limit.unwrap_or(PAGE).min(LONGEST_PAGE);
    let by = caller.administrator();
    let found = actions.event_context(&by, &room, &event_id, limit).await?;
    Ok(RawJson(
        format!(
            "{{\"start\":\"{}\",\"end\":\"{}\",\"event\":{},\"events_before\":{},\"events_after\":{},\"state\":{}}}",
            found.start,
            found.end,
            found.event,
            list(&found.events_before),
            list(&found.events_after),
            list(&found.state)
        )
        .into(),
    ))
}

#[derive(Deserialize)]
struct Moment {
    ts: u64,
    dir: Option<String>,
}

/// `GET /_synapse/admin/v1/rooms/{roomId}/timestamp_to_event`
async fn at_time(
    Part(actions): Part<Actions>,
    PathOf(room): PathOf<String>,
    QueryOf(moment): QueryOf<Moment>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let direction = direction(moment.dir.as_deref())?;
    let by = caller.administrator();
    let found = actions
        .room_event_at(&by, &room, moment.ts, direction)
        .await?;
    Ok(answer(
        &json!({ "event_id": found.event_id, "origin_server_ts": found.sent_at }),
    ))
}

#[derive(Deserialize)]
struct Depth {
    from: Option<usize>,
    limit: Option<usize>,
    max_depth: Option<usize>,
}

/// `GET /_synapse/admin/v1/rooms/{roomId}/hierarchy`
async fn hierarchy(
    Part(actions): Part<Actions>,
    PathOf(room): PathOf<String>,
    QueryOf(depth): QueryOf<Depth>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let from = depth.from.unwrap_or_default();
    let limit = depth.limit.unwrap_or(ROOMS).min(MOST_ROOMS);
    let by = caller.administrator();
    let range = (from, limit);
    let (rooms, is_more) = actions
        .space_rooms(&by, &room, range, depth.max_depth)
        .await?;
    let mut told = json!({ "rooms": rooms });
    if is_more {
        let next = from.saturating_add(rooms.len());
        told["next_batch"] = next.to_string().into();
    }
    Ok(answer(&told))
}
