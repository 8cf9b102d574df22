//! The paths of files from before access tokens were asked for. What they give is the
//! administrator's choice (`media.unauthenticated_until`); else they answer 404, as the
//! specification has it after a freeze. Where they are open to all, files of other servers are
//! fetched as for those who are signed in, unless `allow_remote` says not to. What was
//! announced and has not come is not waited for.

#![expect(
    deprecated,
    reason = "ruma marks these requests so that clients move on; a server still gets them"
)]

use std::time::Duration;

use ::media::Viewer::Anybody;
use actions::Files;
use ruma_client_api::media::{
    get_content::v3 as get, get_content_as_filename::v3 as get_named,
    get_content_thumbnail::v3 as get_thumbnail, get_media_config::v3 as config,
};
use web::{Anonymous, Conditions, FileAnswer, Limits, Part, Reply, Routes, User};

use super::{eagerness, longest, wanted};
use crate::ClientParts;

pub(super) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(get)
        .on(get_named)
        .on(get_thumbnail)
        .on(config)
}

/// `GET /_matrix/media/v3/download/{serverName}/{mediaId}`
async fn get(
    Part(files): Part<Files>,
    _: Anonymous,
    conditions: Conditions,
    request: get::Request,
) -> Reply<FileAnswer> {
    let place = (&*request.server_name, request.media_id.as_str());
    let (wait, eagerness) = (Duration::ZERO, eagerness(&conditions));
    let file = files.download(Anybody, place, wait, request.allow_remote, eagerness);
    Ok(FileAnswer::new(file.await?, conditions))
}

/// `GET /_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}`
async fn get_named(
    Part(files): Part<Files>,
    _: Anonymous,
    conditions: Conditions,
    request: get_named::Request,
) -> Reply<FileAnswer> {
    let place = (&*request.server_name, request.media_id.as_str());
    let (wait, eagerness) = (Duration::ZERO, eagerness(&conditions));
    let file = files.download(Anybody, place, wait, request.allow_remote, eagerness);
    Ok(FileAnswer::new(file.await?, conditions).named(request.filename))
}

/// `GET /_matrix/media/v3/thumbnail/{serverName}/{mediaId}`
async fn get_thumbnail(
    Part(files): Part<Files>,
    _: Anonymous,
    conditions: Conditions,
    request: get_thumbnail::Request,
) -> Reply<FileAnswer> {
    let (width, height) = (request.width, request.height);
    let wanted = wanted(width, height, request.method, request.animated)?;
    let place = (&*request.server_name, request.media_id.as_str());
    let (wait, eagerness) = (Duration::ZERO, eagerness(&conditions));
    let file = files.thumbnail(
        Anybody,
        place,
        wanted,
        wait,
        request.allow_remote,
        eagerness,
    );
    Ok(FileAnswer::new(file.await?, conditions))
}

/// `GET /_matrix/media/v3/config`
async fn config(
    Part(limits): Part<Limits>,
    _: User,
    _: config::Request,
) -> Reply<config::Response> {
    Ok(config::Response::new(longest(&limits)))
}
