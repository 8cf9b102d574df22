//! Invitations by e-mail address (server-server API, "Third-party invites").

use actions::Actions;
use ruma_federation_api::thirdparty::{
    bind_callback::v1 as bound, exchange_invite::v1 as exchange,
};
use serde_json::json;
use web::{Anonymous, ApiError, Part, Reply, Routes, Server};

use crate::ServerParts;

/// The most invitations that are looked at when an address is bound.
const MOST_INVITES: usize = 10;
/// How deeply what an identity server says may be nested.
const MAX_DEPTH: usize = 20;

pub(crate) fn routes() -> Routes<ServerParts> {
    Routes::new().on(exchange).on(bound)
}

/// `PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}`
async fn exchange(
    Part(actions): Part<Actions>,
    caller: Server,
    request: exchange::Request,
) -> Reply<exchange::Response> {
    caller.must_be(request.state_key.server_name())?;
    let content = graph::canonical(request.content.json().get().as_bytes(), MAX_DEPTH)?;
    let (room_id, sender) = (&request.room_id, &request.sender);
    actions
        .exchange_invitation(room_id, sender, &request.state_key, content)
        .await?;
    Ok(exchange::Response::new())
}

/// `PUT /_matrix/federation/v1/3pid/onbind`: of identity servers, which do not sign. What
/// they say is believed by whoever invited the address, if at all.
async fn bound(
    Part(actions): Part<Actions>,
    _: Anonymous,
    request: bound::Request,
) -> Reply<bound::Response> {
    for invite in request.invites.into_iter().take(MOST_INVITES) {
        let content = json!({
            "third_party_invite": { "display_name": invite.address, "signed": invite.signed },
        });
        let text = content.to_string();
        let content = graph::canonical(text.as_bytes(), MAX_DEPTH)?;
        let told = actions
            .address_bound(&invite.room_id, &invite.sender, &request.mxid, content)
            .await;
        if let Err(error) = told {
            let error = ApiError::from(error);
            log::info!(
                "{} does not learn whose an address is: {error}",
                invite.room_id
            );
        }
    }
    Ok(bound::Response::new())
}
