//! Events that are sent later (MSC4140, under its unstable prefix).
//!
//! An event is scheduled at an endpoint of its own, or by the proposal's earlier text
//! with a query parameter where it would be sent; an action is the last part of the path
//! or stands in the body. Fields of answers have the names of both texts.

use ::rooms::{DelayAction, DelayedEvent, NewDelayedEvent, Rooms, delayed_event, delayed_events};
use http::Method;
use model::DelayedOutcome;
use ruma_common::{OwnedRoomId, RoomId};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use store::{Snapshot, Store};
use web::{Anyone, ApiError, JsonBody, Part, PathOf, QueryOf, RawJson, Reply, Routes, User};

use super::{sender, sticky::StickyQuery};
use crate::{ClientParts, answers};

const SCHEDULE: &str = "/_matrix/client/unstable/org.matrix.msc4140/rooms/{room_id}/delayed_event/{event_type}/{transaction_id}";
const LIST: &str = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events";
const ONE: &str = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delay_id}";
const ACTION: &str =
    "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delay_id}/{action}";

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .plain(Method::PUT, SCHEDULE, put_delayed_event)
        .plain(Method::GET, LIST, get_list)
        .plain(Method::GET, ONE, get_one)
        .plain(Method::POST, ONE, act_in_body)
        .plain(Method::POST, ACTION, act)
}

/// The query of `/send` and `/state`, where it asks for a delay.
#[derive(Deserialize)]
pub(super) struct DelayQuery {
    /// In ms.
    #[serde(rename = "org.matrix.msc4140.delay")]
    pub(super) delay: Option<u64>,
}

/// Schedules an event, for every endpoint that can.
pub(super) async fn schedule(
    rooms: &Rooms,
    caller: &User,
    room_id: &RoomId,
    new: NewDelayedEvent,
) -> Reply<RawJson> {
    let delay_id = rooms.schedule(&sender(caller), room_id, new).await?;
    Ok(answers::json(&json!({ "delay_id": delay_id })))
}

#[derive(Deserialize)]
struct SchedulePath {
    room_id: OwnedRoomId,
    event_type: String,
    transaction_id: String,
}

#[derive(Deserialize)]
struct ScheduleBody {
    #[serde(alias = "delay")]
    delay_ms: u64,
    state_key: Option<String>,
    content: Box<RawValue>,
}

/// `PUT …/org.matrix.msc4140/rooms/{roomId}/delayed_event/{eventType}/{txnId}`
async fn put_delayed_event(
    Part(rooms): Part<Rooms>,
    caller: User,
    PathOf(path): PathOf<SchedulePath>,
    QueryOf(query): QueryOf<StickyQuery>,
    JsonBody(body): JsonBody<ScheduleBody>,
) -> Reply<RawJson> {
    let new = NewDelayedEvent {
        event_type: path.event_type,
        state_key: body.state_key,
        content: body.content.get().as_bytes().to_vec(),
        delay: body.delay_ms,
        sticky: query.checked()?,
        transaction_id: Some(path.transaction_id),
    };
    schedule(&rooms, &caller, &path.room_id, new).await
}

/// `GET …/org.matrix.msc4140/delayed_events`
async fn get_list(Part(store): Part<Store>, caller: User) -> Reply<RawJson> {
    let user = caller.user;
    let events = store
        .read(move |view: &Snapshot| delayed_events(view, user))
        .await?;
    let events: Vec<Value> = events.iter().map(described).collect();
    Ok(answers::json(&json!({ "delayed_events": events })))
}

/// `GET …/org.matrix.msc4140/delayed_events/{delayId}`
async fn get_one(
    Part(store): Part<Store>,
    caller: User,
    PathOf(delay_id): PathOf<String>,
) -> Reply<RawJson> {
    let user = caller.user;
    let event = store
        .read(move |view: &Snapshot| delayed_event(view, user, &delay_id))
        .await?;
    Ok(answers::json(&described(&event)))
}

#[derive(Deserialize)]
struct ActionBody {
    action: String,
}

/// `POST …/org.matrix.msc4140/delayed_events/{delayId}`
async fn act_in_body(
    Part(rooms): Part<Rooms>,
    caller: Anyone,
    PathOf(delay_id): PathOf<String>,
    JsonBody(body): JsonBody<ActionBody>,
) -> Reply<RawJson> {
    let action = action(&body.action)
        .ok_or_else(|| ApiError::invalid_param("The action is send, cancel or restart."))?;
    manage(&rooms, &caller, &delay_id, action).await
}

/// `POST …/org.matrix.msc4140/delayed_events/{delayId}/{action}`
async fn act(
    Part(rooms): Part<Rooms>,
    caller: Anyone,
    PathOf((delay_id, name)): PathOf<(String, String)>,
    JsonBody(_): JsonBody<Map<String, Value>>,
) -> Reply<RawJson> {
    let action = action(&name).ok_or_else(ApiError::unrecognized)?;
    manage(&rooms, &caller, &delay_id, action).await
}

fn action(name: &str) -> Option<DelayAction> {
    match name {
        "send" => Some(DelayAction::Send),
        "cancel" => Some(DelayAction::Cancel),
        "restart" => Some(DelayAction::Restart),
        _ => None,
    }
}

async fn manage(
    rooms: &Rooms,
    caller: &Anyone,
    delay_id: &str,
    action: DelayAction,
) -> Reply<RawJson> {
    let user = match caller {
        Anyone::User(user) => Some(user.user),
        Anyone::Nobody(_) => None,
    };
    rooms.manage_delayed(user, delay_id, action).await?;
    Ok(answers::json(&json!({})))
}

fn described(event: &DelayedEvent) -> Value {
    let record = &event.record;
    let content: Value = serde_json::from_slice(&record.content).unwrap_or_default();
    let mut fields = json!({
        "delay_id": event.delay_id,
        "room_id": event.room_id,
        "type": record.event_type,
        "delay_ms": record.delay,
        "delay": record.delay,
        "scheduled_at": record.scheduled_at,
        "running_since": record.scheduled_at,
        "content": content,
    });
    if let Some(state_key) = &record.state_key {
        fields["state_key"] = state_key.as_str().into();
    }
    if let Some((at, outcome)) = &record.outcome {
        fields["finalised_ts"] = (*at).into();
        if let DelayedOutcome::Sent(event_id) = outcome {
            fields["event_id"] = event_id.as_str().into();
        }
    }
    if let Some(failure) = event.failure() {
        let error = ApiError::from(failure);
        let errcode = error.errcode().map(|errcode| errcode.as_str().to_owned());
        fields["error"] = json!({ "errcode": errcode, "error": error.message() });
    }
    fields
}
