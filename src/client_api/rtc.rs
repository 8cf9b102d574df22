//! Where calls find the servers that carry them (MSC4143, under its unstable prefix).

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use web::{Part, RawJson, Reply, Routes, User};

use crate::{ClientParts, RtcOptions, ServerInfo, answers};

const TRANSPORTS: &str = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports";

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().plain(Method::GET, TRANSPORTS, get_transports)
}

/// `GET /_matrix/client/unstable/org.matrix.msc4143/rtc/transports`
async fn get_transports(Part(info): Part<Arc<ServerInfo>>, _: User) -> Reply<RawJson> {
    let transports = transports(&info.rtc);
    Ok(answers::json(&json!({ "rtc_transports": transports })))
}

/// The transports as clients read them (MSC4195), preferred ones first.
pub(crate) fn transports(options: &RtcOptions) -> Vec<Value> {
    let urls = options.livekit_service_urls.iter();
    urls.map(|url| json!({ "type": "livekit", "livekit_service_url": url }))
        .collect()
}
