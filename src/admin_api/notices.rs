//! Notices of the server to its users, as Synapse's tools send them.

use actions::{Actions, NewNotice};
use http::Method;
use ruma_common::OwnedUserId;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use web::{Admin, ApiError, JsonBody, Part, PathOf, RawJson, Routes};

use crate::AdminParts;

/// Where programs ask.
const SEND: &str = "/_synapse/admin/v1/send_server_notice";
/// The same with a transaction id.
const SEND_ONCE: &str = "/_synapse/admin/v1/send_server_notice/{transaction_id}";

pub(crate) fn routes() -> Routes<AdminParts> {
    Routes::new()
        .plain(Method::POST, SEND, send)
        .plain(Method::PUT, SEND_ONCE, send_once)
}

/// The body of both.
#[derive(Deserialize)]
struct ServerNotice {
    user_id: OwnedUserId,
    #[serde(rename = "type")]
    event_type: Option<String>,
    state_key: Option<String>,
    content: Box<RawValue>,
}

/// `POST /_synapse/admin/v1/send_server_notice`
async fn send(
    Part(actions): Part<Actions>,
    caller: Admin,
    JsonBody(notice): JsonBody<ServerNotice>,
) -> Result<RawJson, ApiError> {
    let event_id = actions
        .send_notice(&caller.administrator(), &caller, wish(notice, None))
        .await?;
    Ok(RawJson(json!({ "event_id": event_id }).to_string().into()))
}

/// `PUT /_synapse/admin/v1/send_server_notice/{txnId}`
async fn send_once(
    Part(actions): Part<Actions>,
    PathOf(transaction_id): PathOf<String>,
    caller: Admin,
    JsonBody(notice): JsonBody<ServerNotice>,
) -> Result<RawJson, ApiError> {
    let wish = wish(notice, Some(transaction_id));
    let event_id = actions
        .send_notice(&caller.administrator(), &caller, wish)
        .await?;
    Ok(RawJson(json!({ "event_id": event_id }).to_string().into()))
}

fn wish(notice: ServerNotice, transaction_id: Option<String>) -> NewNotice {
    NewNotice {
        user_id: notice.user_id,
        event_type: notice.event_type,
        state_key: notice.state_key,
        content: notice.content.get().as_bytes().to_vec(),
        transaction_id,
    }
}
