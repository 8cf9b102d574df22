//! What this server is, and where it is reached (server-server API, "Server
//! implementation", "Server discovery").

use std::sync::Arc;

use ruma_federation_api::discovery::{discover_homeserver, get_server_version::v1 as version};
use serde_json::json;
use web::{Anonymous, ApiError, Part, RawJson, Reply, Routes};

use crate::{ServerInfo, ServerParts, answers};

pub(crate) fn routes() -> Routes<ServerParts> {
    Routes::new().on(version).on(well_known)
}

/// `GET /_matrix/federation/v1/version`
async fn version(_: Anonymous, _: version::Request) -> Reply<RawJson> {
    let version = env!("CARGO_PKG_VERSION");
    answers::json(&json!({ "server": { "name": "Cairn", "version": version } }))
}

/// `GET /.well-known/matrix/server`
async fn well_known(
    Part(info): Part<Arc<ServerInfo>>,
    _: Anonymous,
    _: discover_homeserver::Request,
) -> Reply<RawJson> {
    let server = &info.well_known_server;
    if server.is_empty() {
        return Err(ApiError::not_found("Nothing is configured here."));
    }
    answers::json(&json!({ "m.server": server }))
}
