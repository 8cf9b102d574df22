//! The server itself and its conversations with others, as Synapse's tools ask.

use actions::{Actions, Destination};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use web::{Admin, ApiError, JsonBody, Part, PathOf, QueryOf, RawJson, Routes};

use crate::{
    AdminParts,
    answers::{answer, empty, unsupported},
};

/// How many servers, rooms or people a page has, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1_000;

const DESTINATIONS: &str = "/_synapse/admin/v1/federation/destinations";
const DESTINATION: &str = "/_synapse/admin/v1/federation/destinations/{server}";

pub(crate) fn routes() -> Routes<AdminParts> {
    Routes::new()
        .plain(Method::GET, "/_synapse/admin/v1/server_version", version)
        .plain(Method::GET, DESTINATIONS, destinations)
        .plain(Method::GET, DESTINATION, destination)
        .plain(
            Method::GET,
            "/_synapse/admin/v1/federation/destinations/{server}/rooms",
            rooms_of_destination,
        )
        .plain(
            Method::POST,
            "/_synapse/admin/v1/federation/destinations/{server}/reset_connection",
            reset_connection,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/statistics/users/media",
            media_statistics,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/statistics/database/rooms",
            largest_rooms,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/background_updates/status",
            updates,
        )
        .plain(
            Method::POST,
            "/_synapse/admin/v1/background_updates/enabled",
            enable_updates,
        )
        .plain(
            Method::POST,
            "/_synapse/admin/v1/background_updates/start_job",
            start_job,
        )
}

/// `GET /_synapse/admin/v1/server_version`: this server's own name and version, not Synapse's.
async fn version(_: Admin) -> Result<RawJson, ApiError> {
    let version = format!("Cairn {}", env!("CARGO_PKG_VERSION"));
    Ok(answer(&json!({ "server_version": version })))
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    from: usize,
    limit: Option<usize>,
    /// What must stand in the server's name.
    destination: Option<String>,
    dir: Option<String>,
}

impl Page {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE).min(LONGEST_PAGE)
    }

    fn is_backwards(&self) -> Result<bool, ApiError> {
        match self.dir.as_deref() {
            None | Some("f") => Ok(false),
            Some("b") => Ok(true),
            Some(_) => Err(ApiError::invalid_param("A direction is f or b.")),
        }
    }
}

/// A server as Synapse shows it.
fn shown(destination: &Destination) -> Value {
    json!({
        "destination": destination.server,
        "retry_last_ts": 0,
        "retry_interval": destination.retry_interval.unwrap_or_default(),
        "failure_ts": destination.failing_since,
        // What was sent is counted by rooms here, not by positions.
        "last_successful_stream_ordering": null,
    })
}

/// `GET /_synapse/admin/v1/federation/destinations`, by name.
async fn destinations(
    Part(actions): Part<Actions>,
    QueryOf(page): QueryOf<Page>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let mut found = actions.destinations(&caller.administrator()).await?;
    if let Some(part) = &page.destination {
        found.retain(|destination| destination.server.contains(part.as_str()));
    }
    if page.is_backwards()? {
        found.reverse();
    }
    let total = found.len();
    let some = found.iter().skip(page.from).take(page.limit());
    let shown: Vec<Value> = some.map(shown).collect();
    let next = page.from.saturating_add(shown.len());
    let is_more = next < total && !shown.is_empty();
    let mut told = json!({ "destinations": shown, "total": total });
    if is_more {
        told["next_token"] = next.to_string().into();
    }
    Ok(answer(&told))
}

async fn find(actions: &Actions, caller: &Admin, server: &str) -> Result<Destination, ApiError> {
    let found = actions.destinations(&caller.administrator()).await?;
    let mut found = found.into_iter();
    let one = found.find(|destination| destination.server == server);
    one.ok_or_else(|| ApiError::not_found("This server has never been spoken to."))
}

/// `GET /_synapse/admin/v1/federation/destinations/{server}`
async fn destination(
    Part(actions): Part<Actions>,
    PathOf(server): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let found = find(&actions, &caller, &server).await?;
    Ok(answer(&shown(&found)))
}

/// `GET /_synapse/admin/v1/federation/destinations/{server}/rooms`
async fn rooms_of_destination(
    Part(actions): Part<Actions>,
    PathOf(server): PathOf<String>,
    QueryOf(page): QueryOf<Page>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    find(&actions, &caller, &server).await?;
    let by = caller.administrator();
    let mut rooms = actions.rooms_with(&by, &server).await?;
    if page.is_backwards()? {
        rooms.reverse();
    }
    let total = rooms.len();
    let some = rooms.into_iter().skip(page.from).take(page.limit());
    let shown: Vec<Value> = some
        .map(|room_id| json!({ "room_id": room_id, "stream_ordering": 0 }))
        .collect();
    let next = page.from.saturating_add(shown.len());
    let is_more = next < total && !shown.is_empty();
    let mut told = json!({ "rooms": shown, "total": total });
    if is_more {
        told["next_token"] = next.to_string().into();
    }
    Ok(answer(&told))
}

/// `POST /_synapse/admin/v1/federation/destinations/{server}/reset_connection`
async fn reset_connection(
    Part(actions): Part<Actions>,
    PathOf(server): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    find(&actions, &caller, &server).await?;
    let wish = actions::Administration::FederationRetry { server };
    actions.administer(&caller.administrator(), wish).await?;
    Ok(empty())
}

#[derive(Deserialize)]
struct MediaQuery {
    #[serde(default)]
    from: usize,
    limit: Option<usize>,
    dir: Option<String>,
    order_by: Option<String>,
    /// What must stand in the user's id.
    search_term: Option<String>,
    from_ts: Option<u64>,
    until_ts: Option<u64>,
}

/// `GET /_synapse/admin/v1/statistics/users/media`
async fn media_statistics(
    Part(actions): Part<Actions>,
    QueryOf(query): QueryOf<MediaQuery>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    if query.from_ts.is_some() || query.until_ts.is_some() {
        return Err(unsupported("Usage is counted over all time here."));
    }
    let mut usage = actions.media_usage(&caller.administrator()).await?;
    if let Some(part) = &query.search_term {
        usage.retain(|one| one.user_id.contains(part.as_str()));
    }
    match query.order_by.as_deref() {
        None | Some("user_id") => usage.sort_by(|a, b| a.user_id.cmp(&b.user_id)),
        Some("displayname") => usage.sort_by(|a, b| a.display_name.cmp(&b.display_name)),
        Some("media_length") => usage.sort_by_key(|one| one.bytes),
        Some("media_count") => usage.sort_by_key(|one| one.files),
        Some(_) => return Err(ApiError::invalid_param("There is no such order.")),
    }
    match query.dir.as_deref() {
        None | Some("f") => {}
        Some("b") => usage.reverse(),
        Some(_) => return Err(ApiError::invalid_param("A direction is f or b.")),
    }
    let total = usage.len();
    let limit = query.limit.unwrap_or(PAGE).min(LONGEST_PAGE);
    let users: Vec<Value> = usage
        .iter()
        .skip(query.from)
        .take(limit)
        .map(|one| {
            json!({
                "displayname": one.display_name,
                "media_count": one.files,
                "media_length": one.bytes,
                "user_id": one.user_id,
            })
        })
        .collect();
    let next = query.from.saturating_add(users.len());
    let is_more = next < total && !users.is_empty();
    let mut told = json!({ "users": users, "total": total });
    if is_more {
        told["next_token"] = next.into();
    }
    Ok(answer(&told))
}

/// `GET /_synapse/admin/v1/statistics/database/rooms`
async fn largest_rooms(Part(actions): Part<Actions>, caller: Admin) -> Result<RawJson, ApiError> {
    let sizes = actions.largest_rooms(&caller.administrator()).await?;
    let rooms = sizes.iter();
    let rooms = rooms.map(|(room_id, size)| json!({ "room_id": room_id, "estimated_size": size }));
    Ok(answer(&json!({ "rooms": rooms.collect::<Vec<_>>() })))
}

/// `GET /_synapse/admin/v1/background_updates/status`: what is brought up to date is so behind
/// what people do, and cannot be switched off.
async fn updates(_: Admin) -> Result<RawJson, ApiError> {
    Ok(answer(&json!({ "enabled": true, "current_updates": {} })))
}

#[derive(Deserialize)]
struct Enabled {
    enabled: bool,
}

/// `POST /_synapse/admin/v1/background_updates/enabled`
async fn enable_updates(_: Admin, JsonBody(body): JsonBody<Enabled>) -> Result<RawJson, ApiError> {
    match body.enabled {
        true => Ok(answer(&json!({ "enabled": true }))),
        false => Err(unsupported("This cannot be switched off.")),
    }
}

/// `POST /_synapse/admin/v1/background_updates/start_job`
async fn start_job(_: Admin) -> Result<RawJson, ApiError> {
    Err(unsupported("There are no such jobs here."))
}
