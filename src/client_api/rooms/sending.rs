//! Speaking in rooms (client-server API, "Sending events to a room", "Redactions").
//!
//! The `ts` of a request is for application services alone; others' is not looked at
//! (application service API, "Timestamp massaging").

use ::rooms::{NewDelayedEvent, Rooms, Sender};
use actions::Actions;
use ruma_client_api::{
    message::send_message_event::v3 as send, redact::redact_event::v3 as redact,
    state::send_state_event::v3 as state,
};
use ruma_common::MilliSecondsSinceUnixEpoch;
use serde_json::json;
use web::{Part, QueryOf, RawJson, Reply, Routes, Tried, User, Wrong};

use super::{
    delayed::{self, DelayQuery},
    sender,
    sticky::StickyQuery,
};
use crate::{ClientParts, answers};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(send).on(set_state).on(redact)
}

/// The caller, who may say when the event was made if it is an application service.
fn sender_at(caller: &User, at: Option<MilliSecondsSinceUnixEpoch>) -> Sender {
    Sender {
        sent_at: at
            .filter(|_| caller.service.is_some())
            .map(|at| at.get().into()),
        ..sender(caller)
    }
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
async fn send(
    Part(rooms): Part<Rooms>,
    caller: User,
    QueryOf(later): QueryOf<DelayQuery>,
    QueryOf(sticky): QueryOf<StickyQuery>,
    Tried(request): Tried<send::Request>,
) -> Reply<RawJson> {
    let request = match request {
        Ok(request) => request,
        Err(wrong) => return sent_before(&rooms, &caller, &later, wrong).await,
    };
    let (event_type, sticky) = (request.event_type.to_string(), sticky.checked()?);
    let content = request.body.json().get().as_bytes();
    if let Some(delay) = later.delay {
        let new = NewDelayedEvent {
            event_type,
            state_key: None,
            content: content.to_vec(),
            delay,
            sticky,
            transaction_id: Some(request.txn_id.to_string()),
        };
        return delayed::schedule(&rooms, &caller, &request.room_id, new).await;
    }
    let event_id = rooms
        .send_sticky(
            &sender_at(&caller, request.timestamp),
            &request.room_id,
            &event_type,
            request.txn_id.as_str(),
            content,
            sticky,
        )
        .await?;
    Ok(answers::json(&json!({ "event_id": event_id })))
}

/// The answer that was given before, if the transaction id was used already: it stands
/// whatever else the request says (client-server API, "Transaction identifiers").
async fn sent_before(
    rooms: &Rooms,
    caller: &User,
    later: &DelayQuery,
    wrong: Wrong,
) -> Reply<RawJson> {
    let [room_id, event_type, transaction_id] = wrong.arguments.as_slice() else {
        return Err(wrong.error);
    };
    let sender = sender(caller);
    let (name, id) = if later.delay.is_some() {
        let known = rooms.scheduled_before(&sender, room_id, event_type, transaction_id);
        ("delay_id", known.await?)
    } else {
        let known = rooms.sent_before(&sender, room_id, event_type, transaction_id);
        ("event_id", known.await?)
    };
    let id = id.ok_or(wrong.error)?;
    Ok(answers::json(&json!({ name: id })))
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
async fn set_state(
    Part(rooms): Part<Rooms>,
    Part(actions): Part<Actions>,
    caller: User,
    QueryOf(later): QueryOf<DelayQuery>,
    QueryOf(sticky): QueryOf<StickyQuery>,
    request: state::Request,
) -> Reply<RawJson> {
    let (event_type, sticky) = (request.event_type.to_string(), sticky.checked()?);
    let content = request.body.json().get().as_bytes();
    if let Some(delay) = later.delay {
        let new = NewDelayedEvent {
            event_type,
            state_key: Some(request.state_key),
            content: content.to_vec(),
            delay,
            sticky,
            transaction_id: None,
        };
        return delayed::schedule(&rooms, &caller, &request.room_id, new).await;
    }
    let key = (event_type.as_str(), request.state_key.as_str());
    let invited = actions.invite_by_state(&caller, &request.room_id, key, content);
    if let Some(event_id) = invited.await? {
        return Ok(answers::json(&json!({ "event_id": event_id })));
    }
    let event_id = rooms
        .set_state_sticky(
            &sender_at(&caller, request.timestamp),
            &request.room_id,
            &event_type,
            &request.state_key,
            content,
            sticky,
        )
        .await?;
    actions
        .take_settings_to_successor(&caller, &event_type, content)
        .await;
    Ok(answers::json(&json!({ "event_id": event_id })))
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`
async fn redact(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: redact::Request,
) -> Reply<redact::Response> {
    let event_id = rooms
        .redact(
            &sender(&caller),
            &request.room_id,
            &request.event_id,
            request.txn_id.as_str(),
            request.reason,
        )
        .await?;
    Ok(redact::Response::new(event_id))
}
