//! What takes long: deleting rooms, removing history, redacting what somebody has said, as
//! Synapse's tools ask for it.

use std::time::Duration;

use actions::{Actions, Administrator, DeletedRoom, NewRoom};
use http::Method;
use model::{RoomRemoval, RoomTaskRecord, RoomTaskState, RoomWork};
use rooms::{Boundary, RoomTask, WantedRedaction};
use ruma_common::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use web::{Admin, ApiError, JsonBody, Part, PathOf, QueryOf, RawJson, Routes};

use crate::{AdminParts, answers::answer};

/// How often it is looked whether a deletion is done that somebody waits for, and how long.
const LOOK: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(600);
/// How many events of somebody are redacted in each room, if nothing is said.
const REDACTED: u64 = 1_000;
/// What Synapse calls the room that is made, and says there.
const NAME: &str = "Content Violation Notification";
const MESSAGE: &str =
    "A room that you were in has been removed by the administrators of this server.";

const HISTORY: &str = "/_synapse/admin/v1/purge_history/{room_id}";

pub(crate) fn routes() -> Routes<AdminParts> {
    Routes::new()
        .plain(
            Method::DELETE,
            "/_synapse/admin/v1/rooms/{room_id}",
            delete_and_wait,
        )
        .plain(Method::DELETE, "/_synapse/admin/v2/rooms/{room_id}", delete)
        .plain(
            Method::GET,
            "/_synapse/admin/v2/rooms/{room_id}/delete_status",
            status_of_room,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v2/rooms/delete_status/{delete_id}",
            status,
        )
        .plain(Method::POST, HISTORY, purge_history)
        .plain(
            Method::POST,
            "/_synapse/admin/v1/purge_history/{room_id}/{event_id}",
            purge_history_before,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/purge_history_status/{purge_id}",
            purge_status,
        )
        .plain(
            Method::POST,
            "/_synapse/admin/v1/user/{user_id}/redact",
            redact,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/user/redact_status/{redact_id}",
            redact_status,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/scheduled_tasks",
            scheduled_tasks,
        )
}

#[derive(Deserialize)]
struct Delete {
    new_room_user_id: Option<OwnedUserId>,
    room_name: Option<String>,
    message: Option<String>,
    #[serde(default)]
    block: bool,
    purge: Option<bool>,
}

impl Delete {
    fn wanted(self, room: String) -> DeletedRoom {
        let (name, message) = (self.room_name, self.message);
        let new_room = self.new_room_user_id.map(|creator| NewRoom {
            creator,
            name: name.unwrap_or_else(|| NAME.to_owned()),
            message: message.unwrap_or_else(|| MESSAGE.to_owned()),
        });
        DeletedRoom {
            room,
            purge: self.purge.unwrap_or(true),
            block: self.block,
            with_files: false,
            new_room,
        }
    }
}

/// What has come of those who were in a room, as Synapse shows it.
fn shut_down(removal: &RoomRemoval) -> Value {
    json!({
        "kicked_users": removal.put_out,
        "failed_to_kick_users": removal.not_put_out,
        "local_aliases": removal.aliases,
        "new_room_id": removal.new_room.as_ref().map(|(room_id, _)| room_id),
    })
}

fn state_of(task: &RoomTaskRecord) -> &'static str {
    match task.state {
        RoomTaskState::Waiting => "scheduled",
        RoomTaskState::Active => "active",
        RoomTaskState::Done => "complete",
        RoomTaskState::Failed(_) => "failed",
    }
}

fn shown(id: &str, task: &RoomTaskRecord, removal: &RoomRemoval) -> Value {
    let mut shown = json!({
        "delete_id": id,
        "room_id": removal.room_id,
        "status": state_of(task),
        "shutdown_room": shut_down(removal),
        "cairn.done": task.done,
        "cairn.expected": task.expected,
    });
    if let RoomTaskState::Failed(why) = &task.state {
        shown["error"] = why.as_str().into();
    }
    shown
}

/// `DELETE /_synapse/admin/v1/rooms/{roomId}`: waits until it is done.
async fn delete_and_wait(
    Part(actions): Part<Actions>,
    PathOf(room): PathOf<String>,
    caller: Admin,
    JsonBody(body): JsonBody<Delete>,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let is_known = actions.room_overview(&by, &room).await.is_ok();
    if body.block
        && !is_known
        && let Ok(room_id) = OwnedRoomId::try_from(room.as_str())
    {
        actions.block_room(&by, &room_id, true).await?;
        return Ok(answer(&json!({
            "kicked_users": [], "failed_to_kick_users": [], "local_aliases": [], "new_room_id": null,
        })));
    }
    let id = actions.delete_room(&by, body.wanted(room)).await?;
    let task = ended(&actions, &by, &id).await?;
    match (&task.state, &task.work) {
        (RoomTaskState::Failed(why), _) => Err(ApiError::internal(why.clone())),
        (_, RoomWork::Removal(removal)) => Ok(answer(&shut_down(removal))),
        _ => Err(ApiError::not_found("Nothing was deleted.")),
    }
}

/// Waits until something has ended, but not for ever.
async fn ended(
    actions: &Actions,
    by: &Administrator,
    id: &str,
) -> Result<RoomTaskRecord, ApiError> {
    let mut waited = Duration::ZERO;
    loop {
        let task = actions.room_task(by, id).await?;
        if task.finished_at > 0 || waited >= LONGEST {
            return Ok(task);
        }
        tokio::time::sleep(LOOK).await;
        waited += LOOK;
    }
}

/// `DELETE /_synapse/admin/v2/rooms/{roomId}`
async fn delete(
    Part(actions): Part<Actions>,
    PathOf(room): PathOf<String>,
    caller: Admin,
    JsonBody(body): JsonBody<Delete>,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let id = actions.delete_room(&by, body.wanted(room)).await?;
    Ok(answer(&json!({ "delete_id": id })))
}

/// `GET /_synapse/admin/v2/rooms/{roomId}/delete_status`
async fn status_of_room(
    Part(actions): Part<Actions>,
    PathOf(room_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let tasks: Vec<RoomTask> = actions.room_tasks(&caller.administrator()).await?;
    let of_room = tasks.iter().filter_map(|(id, task)| match &task.work {
        RoomWork::Removal(removal) if removal.room_id == room_id => Some(shown(id, task, removal)),
        _ => None,
    });
    let results: Vec<Value> = of_room.collect();
    match results.is_empty() {
        true => Err(ApiError::not_found("This room was not deleted.")),
        false => Ok(answer(&json!({ "results": results }))),
    }
}

/// `GET /_synapse/admin/v2/rooms/delete_status/{deleteId}`
async fn status(
    Part(actions): Part<Actions>,
    PathOf(id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let task = actions.room_task(&caller.administrator(), &id).await?;
    match &task.work {
        RoomWork::Removal(removal) => Ok(answer(&shown(&id, &task, removal))),
        _ => Err(ApiError::not_found("Nothing is deleted under this id.")),
    }
}

#[derive(Deserialize)]
struct Purge {
    #[serde(default)]
    delete_local_events: bool,
    purge_up_to_event_id: Option<String>,
    purge_up_to_ts: Option<u64>,
}

async fn purge(
    actions: &Actions,
    caller: &Admin,
    room: &str,
    body: Purge,
) -> Result<RawJson, ApiError> {
    let before = match (body.purge_up_to_event_id, body.purge_up_to_ts) {
        (Some(event_id), _) => Boundary::Event(event_id),
        (None, Some(time)) => Boundary::Time(time),
        (None, None) => {
            let text = "Say purge_up_to_event_id or purge_up_to_ts.";
            return Err(ApiError::invalid_param(text));
        }
    };
    let by = caller.administrator();
    let id = actions
        .shrink_history(&by, room, before, body.delete_local_events)
        .await?;
    Ok(answer(&json!({ "purge_id": id })))
}

/// `POST /_synapse/admin/v1/purge_history/{roomId}`
async fn purge_history(
    Part(actions): Part<Actions>,
    PathOf(room): PathOf<String>,
    caller: Admin,
    JsonBody(body): JsonBody<Purge>,
) -> Result<RawJson, ApiError> {
    purge(&actions, &caller, &room, body).await
}

/// `POST /_synapse/admin/v1/purge_history/{roomId}/{eventId}`
async fn purge_history_before(
    Part(actions): Part<Actions>,
    PathOf((room, event_id)): PathOf<(String, String)>,
    caller: Admin,
    JsonBody(mut body): JsonBody<Purge>,
) -> Result<RawJson, ApiError> {
    body.purge_up_to_event_id = Some(event_id);
    purge(&actions, &caller, &room, body).await
}

/// `GET /_synapse/admin/v1/purge_history_status/{purgeId}`
async fn purge_status(
    Part(actions): Part<Actions>,
    PathOf(id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let task = actions.room_task(&caller.administrator(), &id).await?;
    if !matches!(task.work, RoomWork::Shrinking(_)) {
        return Err(ApiError::not_found("No history is removed under this id."));
    }
    // Synapse knows no waiting here.
    let state = match task.state {
        RoomTaskState::Waiting => "active",
        _ => state_of(&task),
    };
    let mut told = json!({ "status": state });
    if let RoomTaskState::Failed(why) = task.state {
        told["error"] = why.into();
    }
    Ok(answer(&told))
}

#[derive(Deserialize)]
struct Redact {
    rooms: Vec<String>,
    reason: Option<String>,
    limit: Option<u64>,
    #[serde(default)]
    use_admin: bool,
    after_ts: Option<u64>,
    before_ts: Option<u64>,
}

/// `POST /_synapse/admin/v1/user/{userId}/redact`
async fn redact(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<OwnedUserId>,
    caller: Admin,
    JsonBody(body): JsonBody<Redact>,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator().because(body.reason.clone());
    let wanted = WantedRedaction {
        user_id,
        rooms: body.rooms,
        limit: body.limit.unwrap_or(REDACTED),
        by: body.use_admin.then(|| caller.user_id.clone()),
        reason: body.reason,
        after: body.after_ts,
        before: body.before_ts,
    };
    let id = actions.redact_person(&by, wanted).await?;
    Ok(answer(&json!({ "redact_id": id })))
}

/// `GET /_synapse/admin/v1/user/redact_status/{redactId}`
async fn redact_status(
    Part(actions): Part<Actions>,
    PathOf(id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let task = actions.room_task(&caller.administrator(), &id).await?;
    let RoomWork::Redaction(work) = &task.work else {
        return Err(ApiError::not_found("Nothing is redacted under this id."));
    };
    let failed = work.failed.iter();
    let failed: Map<String, Value> = failed
        .map(|(event_id, why)| (event_id.clone(), why.as_str().into()))
        .collect();
    let mut told = json!({ "status": state_of(&task), "failed_redactions": failed });
    if let RoomTaskState::Failed(why) = &task.state {
        told["error"] = why.as_str().into();
    }
    Ok(answer(&told))
}

#[derive(Deserialize)]
struct Tasks {
    action_name: Option<String>,
    resource_id: Option<String>,
    status: Option<String>,
    max_timestamp: Option<u64>,
}

/// `GET /_synapse/admin/v1/scheduled_tasks`
async fn scheduled_tasks(
    Part(actions): Part<Actions>,
    QueryOf(wanted): QueryOf<Tasks>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let tasks = actions.room_tasks(&caller.administrator()).await?;
    let is =
        |wanted: &Option<String>, it: &str| wanted.as_deref().is_none_or(|wanted| wanted == it);
    let mut shown = Vec::new();
    for (id, task) in &tasks {
        let (action, resource) = match &task.work {
            RoomWork::Removal(work) => ("shutdown_and_purge_room", &work.room_id),
            RoomWork::Shrinking(work) => ("purge_history", &work.room_id),
            RoomWork::Redaction(work) => ("redact_all_events", &work.user_id),
        };
        let time = task.finished_at.max(task.started_at);
        let is_early = wanted.max_timestamp.is_none_or(|most| time < most);
        if !is(&wanted.action_name, action)
            || !is(&wanted.resource_id, resource)
            || !is(&wanted.status, state_of(task))
            || !is_early
        {
            continue;
        }
        let error = match &task.state {
            RoomTaskState::Failed(why) => Some(why),
            _ => None,
        };
        shown.push(json!({
            "id": id,
            "action": action,
            "status": state_of(task),
            "timestamp_ms": time,
            "resource_id": resource,
            "result": { "done": task.done, "expected": task.expected },
            "error": error,
        }));
    }
    Ok(answer(&json!({ "scheduled_tasks": shown })))
}
