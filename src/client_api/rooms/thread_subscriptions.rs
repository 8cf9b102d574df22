//! Threads that people follow (MSC4306 and MSC4308, under their unstable prefixes).

use ::rooms::{Rooms, changed_subscriptions};
use ::sync::{subscriptions_end, subscriptions_json, subscriptions_position};
use http::Method;
use ruma_common::{OwnedEventId, OwnedRoomId};
use serde::Deserialize;
use serde_json::json;
use store::{Snapshot, Store, StoreError};
use web::{ApiError, JsonBody, Part, PathOf, QueryOf, RawJson, Reply, Routes, User};

use super::{read, sender};
use crate::{ClientParts, answers};

const ONE: &str =
    "/_matrix/client/unstable/io.element.msc4306/rooms/{room_id}/thread/{thread_root}/subscription";
const LIST: &str = "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions";

/// How many subscriptions a page has, unless fewer are asked for.
const PAGE: u64 = 100;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .plain(Method::GET, ONE, get_subscription)
        .plain(Method::PUT, ONE, put_subscription)
        .plain(Method::DELETE, ONE, delete_subscription)
        .plain(Method::GET, LIST, get_subscriptions)
}

#[derive(Deserialize)]
struct Thread {
    room_id: OwnedRoomId,
    thread_root: OwnedEventId,
}

/// `GET …/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription`
async fn get_subscription(
    Part(rooms): Part<Rooms>,
    caller: User,
    PathOf(thread): PathOf<Thread>,
) -> Reply<RawJson> {
    let viewer = sender(&caller).viewer();
    let record = read(rooms, move |rooms, view| {
        rooms.thread_subscription(view, viewer, &thread.room_id, &thread.thread_root)
    })
    .await?;
    Ok(answers::json(&json!({ "automatic": record.automatic })))
}

#[derive(Deserialize)]
struct Subscription {
    /// The event because of which a client subscribes by itself.
    automatic: Option<OwnedEventId>,
}

/// `PUT …/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription`
async fn put_subscription(
    Part(rooms): Part<Rooms>,
    caller: User,
    PathOf(thread): PathOf<Thread>,
    JsonBody(body): JsonBody<Subscription>,
) -> Reply<RawJson> {
    let viewer = sender(&caller).viewer();
    let (room_id, root) = (&thread.room_id, &thread.thread_root);
    rooms
        .subscribe_to_thread(viewer, room_id, root, body.automatic.as_deref())
        .await?;
    Ok(answers::json(&json!({})))
}

/// `DELETE …/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription`
async fn delete_subscription(
    Part(rooms): Part<Rooms>,
    caller: User,
    PathOf(thread): PathOf<Thread>,
) -> Reply<RawJson> {
    let viewer = sender(&caller).viewer();
    rooms
        .unsubscribe_from_thread(viewer, &thread.room_id, &thread.thread_root)
        .await?;
    Ok(answers::json(&json!({})))
}

#[derive(Deserialize)]
struct Pages {
    dir: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<u64>,
}

/// `GET …/io.element.msc4308/thread_subscriptions`
async fn get_subscriptions(
    Part(store): Part<Store>,
    caller: User,
    QueryOf(pages): QueryOf<Pages>,
) -> Reply<RawJson> {
    if pages.dir.as_deref() != Some("b") {
        return Err(ApiError::invalid_param("The direction is b."));
    }
    let limit = pages.limit.unwrap_or(PAGE).min(PAGE);
    if limit == 0 {
        return Err(ApiError::invalid_param("A page has at least one entry."));
    }
    let epoch = store.epoch();
    let token = |text: Option<String>| match text {
        Some(text) => subscriptions_position(&text, epoch)
            .map(Some)
            .ok_or_else(|| ApiError::invalid_param("The token is none of this server's.")),
        None => Ok(None),
    };
    let (from, to) = (token(pages.from)?, token(pages.to)?);
    let (user, limit) = (caller.user, usize::try_from(limit).unwrap_or(1));
    let answer = store
        .read(move |view: &Snapshot| {
            let page = changed_subscriptions(view, user, to, from, limit)?;
            let mut fields = subscriptions_json(view, &page)?;
            if let Some(end) = page.end {
                fields.push(("end", subscriptions_end(epoch, end)));
            }
            Ok::<_, StoreError>(fields)
        })
        .await?;
    let fields: Vec<(&str, &str)> = answer
        .iter()
        .map(|(name, json)| (*name, json.as_str()))
        .collect();
    Ok(super::answers::object(&fields))
}
