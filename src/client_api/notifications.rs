//! What the caller was notified about (client-server API, "Listing Notifications").

use rooms::{NotificationToken, Rooms, Viewer};
use ruma_client_api::push::get_notifications::v3 as get_notifications;
use serde_json::{Value, json};
use store::{Snapshot, Store};
use web::{ApiError, Part, RawJson, Reply, Routes, User};

use crate::{ClientParts, answers};

/// Notifications of a page when the client does not say.
const DEFAULT_LIMIT: u64 = 20;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(get_notifications)
}

/// `GET /_matrix/client/v3/notifications`
async fn get_notifications(
    Part(rooms): Part<Rooms>,
    Part(store): Part<Store>,
    caller: User,
    request: get_notifications::Request,
) -> Reply<RawJson> {
    let from = match request.from.as_deref().filter(|from| !from.is_empty()) {
        Some(text) => Some(
            NotificationToken::parse(text)
                .ok_or_else(|| ApiError::invalid_param("The from token is not one of ours."))?,
        ),
        None => None,
    };
    let limit = request.limit.map_or(DEFAULT_LIMIT, u64::from);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let only_highlights = request.only.as_deref() == Some("highlight");
    let viewer = Viewer {
        user: caller.user,
        device: Some(caller.device),
    };
    let read =
        move |view: &Snapshot| rooms.notifications(view, viewer, from, limit, only_highlights);
    let page = store.read_long(read).await?;
    let told: Result<Vec<Value>, serde_json::Error> = page.chunk.iter().map(shown).collect();
    let mut answer = json!({ "notifications": told.map_err(ApiError::internal)? });
    if let Some(next) = page.next {
        answer["next_token"] = next.to_string().into();
    }
    Ok(answers::json(&answer))
}

fn shown(told: &rooms::Notification) -> Result<Value, serde_json::Error> {
    Ok(json!({
        "room_id": told.room_id,
        "event": serde_json::from_str::<Value>(&told.event)?,
        "actions": serde_json::to_value(&told.actions)?,
        "read": told.is_read,
        "ts": told.at,
    }))
}
