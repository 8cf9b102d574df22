//! Signing keys, this server's and those of others (server-server API, "Retrieving server
//! keys").

use http::Method;
use peers::{Peers, WantedKeys};
use ruma_federation_api::discovery::{
    get_remote_server_keys::v2 as query, get_remote_server_keys_batch::v2 as query_many,
    get_server_keys::v2 as own,
};
use runtime::{Clock, Timestamp};
use serde_json::json;
use web::{Anonymous, Part, PathOf, RawJson, Reply, Routes};

use crate::{ServerParts, answers};

pub(crate) fn routes() -> Routes<ServerParts> {
    Routes::new()
        .on(own)
        // The old form names a key, and is answered with all of them.
        .plain(Method::GET, "/_matrix/key/v2/server/{p1}", own_by_id)
        .on(query)
        .on(query_many)
}

/// `GET /_matrix/key/v2/server`
async fn own(Part(peers): Part<Peers>, _: Anonymous, _: own::Request) -> Reply<RawJson> {
    answers::json(&peers.own_document()?)
}

/// `GET /_matrix/key/v2/server/{keyId}`
async fn own_by_id(
    Part(peers): Part<Peers>,
    _: Anonymous,
    PathOf(_): PathOf<String>,
) -> Reply<RawJson> {
    answers::json(&peers.own_document()?)
}

/// `GET /_matrix/key/v2/query/{serverName}`
async fn query(Part(peers): Part<Peers>, _: Anonymous, request: query::Request) -> Reply<RawJson> {
    let until = Timestamp(request.minimum_valid_until_ts.0.into());
    notarised(&peers, WantedKeys::from([(request.server_name, until)])).await
}

/// `POST /_matrix/key/v2/query`
async fn query_many(
    Part(peers): Part<Peers>,
    Part(clock): Part<Clock>,
    _: Anonymous,
    request: query_many::Request,
) -> Reply<RawJson> {
    let now = clock.now();
    let wanted = request.server_keys.into_iter().map(|(server, keys)| {
        let times = keys.values().filter_map(|key| key.minimum_valid_until_ts);
        let until = times.map(|time| Timestamp(time.0.into())).max();
        (server, until.unwrap_or(now))
    });
    notarised(&peers, wanted.collect()).await
}

async fn notarised(peers: &Peers, wanted: WantedKeys) -> Reply<RawJson> {
    let documents = peers.notarised(wanted).await?;
    answers::json(&json!({ "server_keys": documents }))
}
