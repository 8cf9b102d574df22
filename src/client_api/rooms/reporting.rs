//! Telling the administrators (client-server API, "Reporting Content").

use ::rooms::Rooms;
use ruma_client_api::{
    reporting::report_user::v3 as user,
    room::{report_content::v3 as event, report_room::v3 as room},
};
use serde::Deserialize;
use serde_json::{Map, Value};
use web::{ApiError, Asked, Part, Received, Reply, Routes, User, WithBody};

use super::sender;
use crate::ClientParts;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(report_room)
        .on(report_event)
        .on(report_user)
}

/// `POST /_matrix/client/v3/rooms/{roomId}/report`
async fn report_room(
    Part(rooms): Part<Rooms>,
    caller: User,
    WithBody { request, body }: WithBody<room::Request>,
) -> Reply<room::Response> {
    // It may be blank, but not missing: ruma takes it for blank then.
    if !serde_json::from_slice::<Map<String, Value>>(&body)
        .is_ok_and(|body| body.contains_key("reason"))
    {
        return Err(ApiError::bad_json("There is no reason."));
    }
    rooms
        .report_room(&sender(&caller), &request.room_id, request.reason)
        .await?;
    Ok(room::Response::new())
}

/// A report of an event, with the score that clients sent before version 1.18 of the
/// specification and that ruma no longer knows.
struct ScoredReport {
    request: event::Request,
    score: Option<i32>,
}

impl Asked for ScoredReport {
    type Request = event::Request;

    fn new(request: event::Request, _: &http::request::Parts, received: Received) -> Self {
        #[derive(Deserialize)]
        struct Body {
            score: Option<i32>,
        }
        let body = match &received {
            Received::Whole(bytes) => serde_json::from_slice::<Body>(bytes).ok(),
            Received::Streamed(_) => None,
        };
        // What is no score is none.
        let score = body.and_then(|body| body.score);
        Self {
            request,
            score: score.filter(|score| (-100..=0).contains(score)),
        }
    }
}

/// `POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}`
async fn report_event(
    Part(rooms): Part<Rooms>,
    caller: User,
    ScoredReport { request, score }: ScoredReport,
) -> Reply<event::Response> {
    let reason = request.reason.unwrap_or_default();
    let target = (&*request.room_id, &*request.event_id);
    rooms
        .report_event(&sender(&caller), target, reason, score)
        .await?;
    Ok(event::Response::new())
}

/// `POST /_matrix/client/v3/users/{userId}/report`
async fn report_user(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: user::Request,
) -> Reply<user::Response> {
    rooms
        .report_user(&sender(&caller), &request.user_id, request.reason)
        .await?;
    Ok(user::Response::new())
}
