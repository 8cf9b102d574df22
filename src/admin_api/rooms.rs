//! Rooms, as Synapse's tools administer them.

use actions::Actions;
use http::Method;
use model::Membership;
use rooms::{RoomOverview, RoomsOrder, RoomsQuery};
use ruma_common::{OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use web::{Admin, ApiError, JsonBody, Part, PathOf, QueryOf, RawJson, Routes};

use crate::{
    AdminParts,
    answers::{answer, empty, unsupported},
};

/// How many rooms a page of the list has, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1_000;

const BLOCK: &str = "/_synapse/admin/v1/rooms/{room_id}/block";
const EXTREMITIES: &str = "/_synapse/admin/v1/rooms/{room_id}/forward_extremities";

pub(crate) fn routes() -> Routes<AdminParts> {
    Routes::new()
        .plain(Method::GET, "/_synapse/admin/v1/rooms", list)
        .plain(Method::GET, "/_synapse/admin/v1/rooms/{room_id}", show)
        .plain(
            Method::GET,
            "/_synapse/admin/v1/rooms/{room_id}/members",
            members,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/rooms/{room_id}/state",
            state,
        )
        .plain(Method::GET, BLOCK, is_blocked)
        .plain(Method::PUT, BLOCK, block)
        .plain(
            Method::POST,
            "/_synapse/admin/v1/rooms/{room_id}/make_room_admin",
            take_over,
        )
        .plain(Method::GET, EXTREMITIES, extremities)
        .plain(Method::DELETE, EXTREMITIES, drop_extremities)
        .plain(Method::POST, "/_synapse/admin/v1/join/{room}", join)
        .plain(
            Method::GET,
            "/_synapse/admin/v1/fetch_event/{event_id}",
            event,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/users/{user_id}/joined_rooms",
            joined_rooms,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/users/{user_id}/memberships",
            memberships,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/users/{user_id}/sent_invite_count",
            sent_invite_count,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/users/{user_id}/cumulative_joined_room_count",
            joined_room_count,
        )
}

/// A room as Synapse lists it.
fn shown(room: &RoomOverview) -> Value {
    json!({
        "room_id": room.room_id,
        "name": room.name,
        "canonical_alias": room.canonical_alias,
        "joined_members": room.joined,
        "joined_local_members": room.joined_here,
        "version": room.version,
        "creator": room.creator,
        "encryption": room.encryption,
        "federatable": room.is_federated,
        "public": room.is_published,
        "join_rules": room.join_rule,
        "guest_access": room.guest_access,
        "history_visibility": room.history_visibility,
        "state_events": room.state_events,
        "room_type": room.room_type,
    })
}

/// Which rooms a list is to have.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wanted {
    from: usize,
    limit: Option<usize>,
    order_by: Option<String>,
    dir: Option<String>,
    search_term: Option<String>,
    public_rooms: Option<bool>,
    empty_rooms: Option<bool>,
}

impl Wanted {
    fn query(self) -> Result<RoomsQuery, ApiError> {
        let order = match self.order_by.as_deref() {
            None | Some("name" | "alphabetical") => RoomsOrder::Name,
            Some("canonical_alias") => RoomsOrder::Alias,
            Some("joined_members" | "size") => RoomsOrder::Members,
            Some("joined_local_members") => RoomsOrder::LocalMembers,
            Some("version") => RoomsOrder::Version,
            Some("creator") => RoomsOrder::Creator,
            Some("encryption") => RoomsOrder::Encryption,
            Some("join_rules") => RoomsOrder::JoinRule,
            Some("history_visibility") => RoomsOrder::Visibility,
            Some("guest_access") => RoomsOrder::GuestAccess,
            Some("state_events") => RoomsOrder::StateEvents,
            // Would need everything of every room.
            Some("federatable" | "public") => {
                return Err(unsupported("Rooms are not ordered by this here."));
            }
            Some(_) => return Err(ApiError::invalid_param("There is no such order.")),
        };
        let backwards = match self.dir.as_deref() {
            None | Some("f") => false,
            Some("b") => true,
            Some(_) => return Err(ApiError::invalid_param("A direction is f or b.")),
        };
        if self.search_term.as_deref() == Some("") {
            return Err(ApiError::invalid_param("There is nothing to search for."));
        }
        Ok(RoomsQuery {
            text: self.search_term,
            published: self.public_rooms,
            empty: self.empty_rooms,
            order,
            backwards,
            from: self.from,
            limit: self.limit.unwrap_or(PAGE).min(LONGEST_PAGE),
        })
    }
}

/// `GET /_synapse/admin/v1/rooms`
async fn list(
    Part(actions): Part<Actions>,
    QueryOf(wanted): QueryOf<Wanted>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let query = wanted.query()?;
    let (from, limit) = (query.from, query.limit);
    let found = actions.rooms_page(&caller.administrator(), query).await?;
    let rooms: Vec<Value> = found.rooms.iter().map(shown).collect();
    let next = from.saturating_add(rooms.len());
    let mut told = json!({ "rooms": rooms, "offset": from, "total_rooms": found.total });
    if next < found.total && !found.rooms.is_empty() {
        told["next_batch"] = next.into();
    }
    if from > 0 {
        told["prev_batch"] = from.saturating_sub(limit).into();
    }
    Ok(answer(&told))
}

/// `GET /_synapse/admin/v1/rooms/{roomId}`
async fn show(
    Part(actions): Part<Actions>,
    PathOf(room_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let room = actions.room_overview(&by, &room_id).await?;
    let devices = actions.devices_in(&by, &room_id).await?;
    let mut told = shown(&room);
    told["joined_local_devices"] = devices.into();
    told["topic"] = room.topic.into();
    told["avatar"] = room.avatar_url.into();
    told["cairn.marking"] = room.marking.into();
    told["cairn.closed"] = room.is_closed.into();
    told["cairn.frozen"] = room.is_frozen.into();
    told["forgotten"] = (room.joined_here == 0).into();
    told["tombstoned"] = room.replaced_by.is_some().into();
    let replacement = room.replaced_by.filter(|room_id| !room_id.is_empty());
    told["replacement_room"] = replacement.into();
    Ok(answer(&told))
}

/// `GET /_synapse/admin/v1/rooms/{roomId}/members`
async fn members(
    Part(actions): Part<Actions>,
    PathOf(room_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let members = actions
        .members_of(&caller.administrator(), &room_id)
        .await?;
    Ok(answer(
        &json!({ "members": members, "total": members.len() }),
    ))
}

#[derive(Deserialize)]
struct OfType {
    #[serde(rename = "type")]
    event_type: Option<String>,
}

/// `GET /_synapse/admin/v1/rooms/{roomId}/state`
async fn state(
    Part(actions): Part<Actions>,
    PathOf(room_id): PathOf<String>,
    QueryOf(query): QueryOf<OfType>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let state = actions.state_of(&by, &room_id, query.event_type).await?;
    Ok(answer(&json!({ "state": state })))
}

/// `GET /_synapse/admin/v1/rooms/{roomId}/block`
async fn is_blocked(
    Part(actions): Part<Actions>,
    PathOf(room_id): PathOf<OwnedRoomId>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let record = actions.blocked(&caller.administrator(), &room_id).await?;
    let mut told = json!({ "block": record.is_some() });
    if let Some(by) = record.and_then(|record| record.by) {
        told["user_id"] = by.into();
    }
    Ok(answer(&told))
}

#[derive(Deserialize)]
struct Block {
    block: bool,
}

/// `PUT /_synapse/admin/v1/rooms/{roomId}/block`
async fn block(
    Part(actions): Part<Actions>,
    PathOf(room_id): PathOf<OwnedRoomId>,
    caller: Admin,
    JsonBody(body): JsonBody<Block>,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    actions.block_room(&by, &room_id, body.block).await?;
    Ok(answer(&json!({ "block": body.block })))
}

#[derive(Deserialize)]
struct TakeOver {
    user_id: Option<OwnedUserId>,
}

/// `POST /_synapse/admin/v1/rooms/{roomIdOrAlias}/make_room_admin`
async fn take_over(
    Part(actions): Part<Actions>,
    PathOf(room): PathOf<String>,
    caller: Admin,
    JsonBody(body): JsonBody<TakeOver>,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let user_id = body.user_id.unwrap_or_else(|| caller.user_id.clone());
    actions.take_over_room(&by, &room, &user_id).await?;
    Ok(empty())
}

/// `GET /_synapse/admin/v1/rooms/{roomIdOrAlias}/forward_extremities`
async fn extremities(
    Part(actions): Part<Actions>,
    PathOf(room): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let found = actions
        .room_extremities(&caller.administrator(), &room)
        .await?;
    let results: Vec<Value> = found.iter().map(actions::shown_extremity).collect();
    Ok(answer(
        &json!({ "count": results.len(), "results": results }),
    ))
}

/// `DELETE /_synapse/admin/v1/rooms/{roomId}/forward_extremities`
async fn drop_extremities(_: Admin) -> Result<RawJson, ApiError> {
    Err(unsupported(
        "A room's ends are joined by what comes next; there are never too many here.",
    ))
}

#[derive(Deserialize)]
struct Join {
    user_id: OwnedUserId,
}

/// `POST /_synapse/admin/v1/join/{roomIdOrAlias}`
async fn join(
    Part(actions): Part<Actions>,
    PathOf(room): PathOf<OwnedRoomOrAliasId>,
    caller: Admin,
    JsonBody(body): JsonBody<Join>,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let room_id = actions.add_member(&by, &room, &body.user_id).await?;
    Ok(answer(&json!({ "room_id": room_id })))
}

/// `GET /_synapse/admin/v1/fetch_event/{eventId}`
async fn event(
    Part(actions): Part<Actions>,
    PathOf(event_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let event = actions
        .event_for(&caller.administrator(), &event_id)
        .await?;
    Ok(answer(&json!({ "event": event })))
}

/// `GET /_synapse/admin/v1/users/{userId}/joined_rooms`
async fn joined_rooms(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<OwnedUserId>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let rooms = actions.memberships_of(&by, &user_id).await?;
    let joined = rooms
        .into_iter()
        .filter(|(_, membership)| *membership == Membership::Join);
    let joined: Vec<OwnedRoomId> = joined.map(|(room_id, _)| room_id).collect();
    Ok(answer(
        &json!({ "joined_rooms": joined, "total": joined.len() }),
    ))
}

/// `GET /_synapse/admin/v1/users/{userId}/memberships`
async fn memberships(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<OwnedUserId>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let rooms = actions.memberships_of(&by, &user_id).await?;
    let memberships: Map<String, Value> = rooms
        .into_iter()
        .map(|(room_id, membership)| (room_id.to_string(), membership.name().into()))
        .collect();
    Ok(answer(&json!({ "memberships": memberships })))
}

#[derive(Deserialize)]
struct Since {
    /// In ms since the Unix epoch.
    from_ts: u64,
}

/// `GET /_synapse/admin/v1/users/{userId}/sent_invite_count`
async fn sent_invite_count(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    QueryOf(query): QueryOf<Since>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let count = actions.invitations_sent_since(&by, &user_id, query.from_ts);
    Ok(answer(&json!({ "invite_count": count.await? })))
}

/// `GET /_synapse/admin/v1/users/{userId}/cumulative_joined_room_count`
async fn joined_room_count(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    QueryOf(query): QueryOf<Since>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let count = actions.joins_since(&by, &user_id, query.from_ts).await?;
    Ok(answer(&json!({ "cumulative_joined_room_count": count })))
}
