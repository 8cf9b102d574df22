//! What this server can do (client-server API, "Capabilities negotiation").

use std::sync::Arc;

use ::rooms::Rooms;
use actions::{Contacts, Right};
use graph::Version;
use ruma_client_api::discovery::get_capabilities::v3 as get;
use serde_json::{Map, Value, json};
use web::{Part, RawJson, Reply, Routes, User};

use crate::{ClientParts, ServerInfo, answers};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(get_capabilities)
}

/// `GET /_matrix/client/v3/capabilities`
async fn get_capabilities(
    Part(info): Part<Arc<ServerInfo>>,
    Part(rooms): Part<Rooms>,
    Part(contacts): Part<Contacts>,
    caller: User,
    _: get::Request,
) -> Reply<RawJson> {
    let stability = |version: &Version| match version.is_stable() {
        true => Value::from("stable"),
        false => Value::from("unstable"),
    };
    let available: Map<String, Value> = Version::KNOWN
        .iter()
        .map(|version| (version.to_string(), stability(version)))
        .collect();
    let (max_delay, max_scheduled) = rooms.delay_limits();
    let moderates = caller.administrator().may(Right::RestrainPerson);
    Ok(answers::json(&json!({ "capabilities": {
        "m.room_versions": { "default": info.default_room_version, "available": available },
        "m.change_password": { "enabled": true },
        "m.set_displayname": { "enabled": true },
        "m.set_avatar_url": { "enabled": true },
        "m.profile_fields": { "enabled": true },
        "m.3pid_changes": { "enabled": contacts.are_on() },
        "m.get_login_token": { "enabled": true },
        "m.account_moderation": { "lock": moderates, "suspend": moderates },
        "org.matrix.msc4140.delayed_events": {
            "max_delay_ms": max_delay,
            "max_scheduled": max_scheduled,
        },
    }})))
}
