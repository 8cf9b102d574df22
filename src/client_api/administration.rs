//! What administrators may ask as clients (client-server API, "Server administration").

use actions::{Actions, Restraint};
use ruma_client_api::admin::{
    get_user_info::v3 as whois, is_user_locked::v1 as is_locked,
    is_user_suspended::v1 as is_suspended, lock_user::v1 as lock, suspend_user::v1 as suspend,
};
use serde_json::{Map, Value, json};
use web::{Part, RawJson, Reply, Routes, User};

use crate::{ClientParts, answers};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(get_whois)
        .on(get_locked)
        .on(set_locked)
        .on(get_suspended)
        .on(set_suspended)
}

/// `GET /_matrix/client/v3/admin/whois/{userId}`
async fn get_whois(
    Part(actions): Part<Actions>,
    caller: User,
    request: whois::Request,
) -> Reply<RawJson> {
    let devices = actions
        .whois(&caller.administrator(), &request.user_id)
        .await?;
    let mut shown = Map::new();
    for device in devices {
        let mut connections = Vec::new();
        if let Some(seen) = &device.last_seen {
            let mut connection = json!({ "ip": seen.address, "last_seen": seen.at });
            if let Some(user_agent) = &seen.user_agent {
                connection["user_agent"] = user_agent.as_str().into();
            }
            connections.push(connection);
        }
        let sessions = json!({ "sessions": [{ "connections": connections }] });
        shown.insert(device.device_id.to_string(), sessions);
    }
    Ok(answers::json(&json!({
        "user_id": request.user_id,
        "devices": Value::Object(shown),
    })))
}

/// `GET /_matrix/client/v1/admin/lock/{userId}`
async fn get_locked(
    Part(actions): Part<Actions>,
    caller: User,
    request: is_locked::Request,
) -> Reply<is_locked::Response> {
    let by = caller.administrator();
    let locked = actions.is_restrained(&by, &request.user_id, Restraint::Lock);
    Ok(is_locked::Response::new(locked.await?))
}

/// `PUT /_matrix/client/v1/admin/lock/{userId}`
async fn set_locked(
    Part(actions): Part<Actions>,
    caller: User,
    request: lock::Request,
) -> Reply<lock::Response> {
    actions
        .restrain(
            &caller.administrator(),
            &request.user_id,
            Restraint::Lock,
            request.locked,
            None,
        )
        .await?;
    Ok(lock::Response::new(request.locked))
}

/// `GET /_matrix/client/v1/admin/suspend/{userId}`
async fn get_suspended(
    Part(actions): Part<Actions>,
    caller: User,
    request: is_suspended::Request,
) -> Reply<is_suspended::Response> {
    let by = caller.administrator();
    let suspended = actions.is_restrained(&by, &request.user_id, Restraint::Suspension);
    Ok(is_suspended::Response::new(suspended.await?))
}

/// `PUT /_matrix/client/v1/admin/suspend/{userId}`
async fn set_suspended(
    Part(actions): Part<Actions>,
    caller: User,
    request: suspend::Request,
) -> Reply<suspend::Response> {
    actions
        .restrain(
            &caller.administrator(),
            &request.user_id,
            Restraint::Suspension,
            request.suspended,
            None,
        )
        .await?;
    Ok(suspend::Response::new(request.suspended))
}
