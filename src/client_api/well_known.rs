//! Where clients and people find what they need (client-server API, "Server Discovery").

use std::sync::Arc;

use ruma_client_api::discovery::{discover_homeserver, discover_support};
use serde_json::{Map, Value, json};
use web::{Anonymous, ApiError, Part, RawJson, Reply, Routes};

use crate::{ClientParts, ServerInfo, answers, rtc};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(client).on(support)
}

/// `GET /.well-known/matrix/client`
async fn client(
    Part(info): Part<Arc<ServerInfo>>,
    _: Anonymous,
    _: discover_homeserver::Request,
) -> Reply<RawJson> {
    let url = &info.well_known.client;
    if url.is_empty() {
        return Err(ApiError::not_found("Nothing is configured here."));
    }
    let mut page = json!({ "m.homeserver": { "base_url": url } });
    let transports = rtc::transports(&info.rtc);
    if !transports.is_empty() {
        page["org.matrix.msc4143.rtc_foci"] = transports.into();
    }
    Ok(answers::json(&page))
}

/// `GET /.well-known/matrix/support`
async fn support(
    Part(info): Part<Arc<ServerInfo>>,
    _: Anonymous,
    _: discover_support::Request,
) -> Reply<RawJson> {
    let options = &info.well_known;
    let mut contact = Map::new();
    let mut page = Map::new();
    for (field, text) in [
        ("email_address", &options.support_email),
        ("matrix_id", &options.support_user),
    ] {
        if !text.is_empty() {
            contact.insert(field.to_owned(), Value::from(text.as_str()));
        }
    }
    if !contact.is_empty() {
        contact.insert("role".to_owned(), Value::from("m.role.admin"));
        page.insert("contacts".to_owned(), json!([contact]));
    }
    if !options.support_page.is_empty() {
        page.insert(
            "support_page".to_owned(),
            Value::from(options.support_page.as_str()),
        );
    }
    if page.is_empty() {
        return Err(ApiError::not_found("Nothing is configured here."));
    }
    Ok(answers::json(&Value::Object(page)))
}
