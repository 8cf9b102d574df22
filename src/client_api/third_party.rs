//! Other networks, as application services know them (client-server API, "Third-party
//! Lookup").

use std::collections::BTreeMap;

use delivery::Appservices;
use ruma_client_api::thirdparty::{
    get_location_for_protocol::v3 as location, get_location_for_room_alias::v3 as location_of,
    get_protocol::v3 as protocol, get_protocols::v3 as protocols,
    get_user_for_protocol::v3 as user, get_user_for_user_id::v3 as user_of,
};
use serde_json::{Value, json};
use web::{ApiError, Part, RawJson, Reply, Routes, User};

use crate::{ClientParts, answers};

/// Of the query these are about who asks, and nothing that a service may see.
const ABOUT_THE_CALLER: [&str; 4] = [
    "access_token",
    "user_id",
    "device_id",
    "org.matrix.msc3202.device_id",
];

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(get_protocols)
        .on(get_protocol)
        .on(get_locations)
        .on(get_users)
        .on(get_locations_of)
        .on(get_users_of)
}

fn searched(mut fields: BTreeMap<String, String>) -> BTreeMap<String, String> {
    fields.retain(|name, _| !ABOUT_THE_CALLER.contains(&name.as_str()));
    fields
}

/// What was found, if anything was.
fn found(results: Vec<Value>) -> Reply<RawJson> {
    if results.is_empty() {
        return Err(ApiError::not_found("Nothing was found."));
    }
    Ok(answers::json(&Value::Array(results)))
}

/// `GET /_matrix/client/v3/thirdparty/protocols`
async fn get_protocols(
    Part(appservices): Part<Appservices>,
    _: User,
    _: protocols::Request,
) -> Reply<RawJson> {
    Ok(answers::json(&json!(appservices.protocols().await)))
}

/// `GET /_matrix/client/v3/thirdparty/protocol/{protocol}`
async fn get_protocol(
    Part(appservices): Part<Appservices>,
    _: User,
    request: protocol::Request,
) -> Reply<RawJson> {
    let protocol = appservices.protocol(&request.protocol).await;
    let unknown = || ApiError::not_found("There is no such protocol here.");
    Ok(answers::json(&protocol.ok_or_else(unknown)?))
}

/// `GET /_matrix/client/v3/thirdparty/location/{protocol}`
async fn get_locations(
    Part(appservices): Part<Appservices>,
    _: User,
    request: location::Request,
) -> Reply<RawJson> {
    let fields = searched(request.fields);
    found(appservices.locations(&request.protocol, &fields).await)
}

/// `GET /_matrix/client/v3/thirdparty/user/{protocol}`
async fn get_users(
    Part(appservices): Part<Appservices>,
    _: User,
    request: user::Request,
) -> Reply<RawJson> {
    let fields = searched(request.fields);
    found(appservices.users(&request.protocol, &fields).await)
}

/// `GET /_matrix/client/v3/thirdparty/location`
async fn get_locations_of(
    Part(appservices): Part<Appservices>,
    _: User,
    request: location_of::Request,
) -> Reply<RawJson> {
    found(appservices.locations_of(request.alias.as_str()).await)
}

/// `GET /_matrix/client/v3/thirdparty/user`
async fn get_users_of(
    Part(appservices): Part<Appservices>,
    _: User,
    request: user_of::Request,
) -> Reply<RawJson> {
    found(appservices.users_of(request.userid.as_str()).await)
}
