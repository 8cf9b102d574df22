//! Speaking in rooms (client-server API, "Sending events to a room", "Redactions").
//!
//! The `ts` of a request is for application services alone; others' is not looked at
//! (application service API, "Timestamp massaging").

use ::rooms::{Rooms, Sender};
use ruma_client_api::{
    message::send_message_event::v3 as send, redact::redact_event::v3 as redact,
    state::send_state_event::v3 as state,
};
use ruma_common::MilliSecondsSinceUnixEpoch;
use web::{Part, Reply, Routes, User};

use super::sender;
use crate::ClientParts;

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
    request: send::Request,
) -> Reply<send::Response> {
    let event_id = rooms
        .send(
            &sender_at(&caller, request.timestamp),
            &request.room_id,
            &request.event_type.to_string(),
            request.txn_id.as_str(),
            request.body.json().get().as_bytes(),
        )
        .await?;
    Ok(send::Response::new(event_id))
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
async fn set_state(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: state::Request,
) -> Reply<state::Response> {
    let event_id = rooms
        .set_state(
            &sender_at(&caller, request.timestamp),
            &request.room_id,
            &request.event_type.to_string(),
            &request.state_key,
            request.body.json().get().as_bytes(),
        )
        .await?;
    Ok(state::Response::new(event_id))
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
