//! What is new in the rooms that a client looks at (MSC4186, under the unstable name by
//! which clients know it).

use std::time::Duration;

use ::sync::{SlidingRequest, Sync};
use ruma_common::{
    api::{
        IncomingRequest,
        auth_scheme::AccessToken,
        error::{DeserializationError, Error},
    },
    metadata,
    presence::PresenceState,
};
use serde::Deserialize;
use web::{Limits, Part, RawJson, Reply, Routes, Serving, User};

use crate::{ClientParts, sync::check_presence};

pub(crate) fn routes() -> Routes<ClientParts> {
    let serving = Serving {
        unstable: true,
        waiting: true,
    };
    Routes::new().on_with(sliding_sync, serving)
}

/// The request. ruma's own has fewer filters than MSC4186, and no list without ranges.
pub(crate) struct Request {
    query: Query,
    body: SlidingRequest,
}

#[derive(Deserialize)]
struct Query {
    pos: Option<String>,
    /// In ms.
    #[serde(default)]
    timeout: u64,
    #[serde(default)]
    set_presence: PresenceState,
}

metadata! {
    method: POST,
    rate_limited: false,
    authentication: AccessToken,
    history: {
        unstable("org.matrix.simplified_msc3575") =>
            "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync",
    }
}

impl IncomingRequest for Request {
    type EndpointError = Error;
    type OutgoingResponse = Error;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        _: &[&str],
    ) -> Result<Self, DeserializationError> {
        Ok(Self {
            query: serde_html_form::from_str(request.uri().query().unwrap_or_default())?,
            body: serde_json::from_slice(request.body())?,
        })
    }
}

/// `POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync`
async fn sliding_sync(
    Part(sync): Part<Sync>,
    Part(limits): Part<Limits>,
    caller: User,
    request: Request,
) -> Reply<RawJson> {
    let Request { query, body } = request;
    check_presence(&query.set_presence)?;
    let _present = sync.present(&caller, query.set_presence).await?;
    let asked = SlidingRequest {
        pos: query.pos,
        timeout: Duration::from_millis(query.timeout),
        ..body
    };
    if asked.timeout.is_zero() {
        return Ok(RawJson(sync.sliding(&caller, asked).await?));
    }
    let at_once = SlidingRequest {
        timeout: Duration::ZERO,
        ..asked.clone()
    };
    let mut slot = limits.sync_slot(caller.device);
    // Dropping a sync that waits loses nothing: it has told nobody anything yet.
    let answer = tokio::select! {
        answer = sync.sliding(&caller, asked) => answer,
        () = slot.superseded() => sync.sliding(&caller, at_once).await,
    };
    Ok(RawJson(answer?))
}
