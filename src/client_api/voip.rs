//! What calls need (client-server API, "Voice over IP").

use std::sync::Arc;

use accounts::turn_credentials;
use ruma_client_api::voip::get_turn_server_info::v3 as turn_server;
use runtime::Clock;
use serde_json::json;
use web::{Part, RawJson, Reply, Routes, User};

use crate::{ClientParts, ServerInfo, answers};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(get_turn_server)
}

/// `GET /_matrix/client/v3/voip/turnServer`: an empty object where there is none.
async fn get_turn_server(
    Part(info): Part<Arc<ServerInfo>>,
    Part(clock): Part<Clock>,
    caller: User,
    _: turn_server::Request,
) -> Reply<RawJson> {
    let made = turn_credentials(&info.turn, &caller.user_id, clock.now());
    Ok(answers::json(&match made {
        None => json!({}),
        Some(made) => json!({
            "username": made.username,
            "password": made.password,
            "uris": made.uris,
            "ttl": made.lifetime.as_secs(),
        }),
    }))
}
