//! Which versions of the specification this server speaks (client-server API, "API Versions").

use std::sync::Arc;

use ruma_client_api::discovery::get_supported_versions as versions;
use web::{Anonymous, Part, Reply, Routes};

use crate::{ClientParts, ServerInfo};

/// The newest version of which everything is there that a server must have.
const NEWEST: u32 = 19;

/// What an older client may use before the version that has it.
const FEATURES: &[&str] = &[
    // Dehydrated devices.
    "org.matrix.msc3814",
    // Profile fields beside name and avatar, at their stable paths.
    "uk.tcpip.msc4133.stable",
    // Invitations by whom one takes them (MSC4155).
    "org.matrix.msc4155",
    // Locking and suspending accounts.
    "uk.timedout.msc4323",
    // Which rooms two people share.
    "uk.half-shot.msc2666.query_mutual_rooms.stable",
    // Sliding sync (MSC4186).
    "org.matrix.simplified_msc3575",
    // Places where two devices meet.
    "org.matrix.msc4108",
    // Delayed events.
    "org.matrix.msc4140",
    // The servers that carry calls.
    "org.matrix.msc4143",
    // Account data that is deleted.
    "org.matrix.msc3391",
    // Filters of pages by relation.
    "org.matrix.msc3874",
    // Sticky events.
    "org.matrix.msc4354",
];

/// Threads that people follow, where that decides what they are notified of.
const THREADS: &str = "org.matrix.msc4306";

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(get_versions)
}

/// `GET /_matrix/client/versions`
async fn get_versions(
    Part(info): Part<Arc<ServerInfo>>,
    _: Anonymous,
    _: versions::Request,
) -> Reply<versions::Response> {
    let supported = (1..=NEWEST).map(|minor| format!("v1.{minor}")).collect();
    let mut response = versions::Response::new(supported);
    response.unstable_features = FEATURES
        .iter()
        .chain(info.thread_subscriptions.then_some(&THREADS))
        .map(|feature| ((*feature).to_owned(), true))
        .collect();
    Ok(response)
}
