//! Files: uploads, downloads, thumbnails (client-server API, "Content repository").
//!
//! `POST` and `PUT /upload` take one parameter that the specification does not have:
//! `cairn.room_id`, the room that the file is for, which the uploader must be in. A
//! server cannot see which file an encrypted message holds; what is to become of a
//! room's files when its messages are deleted must be said when they are uploaded.

mod old;
mod previews;

use ::media::{
    Eagerness, FileDescription, Media, ThumbnailMethod, ThumbnailRequest, UploadError, Uploader,
    Viewer,
};
use actions::Files;
use js_int::UInt;
use ruma_client_api::{
    authenticated_media::{
        get_content::v1 as get, get_content_as_filename::v1 as get_named,
        get_content_thumbnail::v1 as get_thumbnail, get_media_config::v1 as config,
    },
    media::{
        create_content::v3 as upload, create_content_async::v3 as upload_announced,
        create_mxc_uri::v1 as create,
    },
};
use ruma_common::{MilliSecondsSinceUnixEpoch, OwnedRoomId, media::Method};
use serde::Deserialize;
use serde_json::json;
use web::{
    ApiError, Conditions, FileAnswer, Limits, Part, QueryOf, RawJson, Reply, Routes, SentFile,
    Upload, User,
};

use crate::{ClientParts, answers};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(upload)
        .on(create)
        .on(upload_announced)
        .on(get)
        .on(get_named)
        .on(get_thumbnail)
        .on(config)
        .merge(old::routes())
        .merge(previews::routes())
}

/// Whoever is signed in may have files of other servers fetched. Only the old paths have a
/// parameter that asks for that not to be done.
const ALLOW_REMOTE: bool = true;

/// Our own parameter of uploads.
#[derive(Deserialize)]
struct UploadedFor {
    #[serde(rename = "cairn.room_id")]
    room_id: Option<OwnedRoomId>,
}

fn uploader(caller: &User) -> Uploader {
    Uploader {
        user: caller.user,
        device_id: caller.device_id.to_string(),
    }
}

/// Takes a file as it comes. Returns its media id.
async fn receive(
    mut file: SentFile,
    begun: Result<::media::Upload, UploadError>,
) -> Result<String, ApiError> {
    let taken = match begun {
        Ok(upload) => take(&mut file, upload).await,
        Err(error) => Err(error.into()),
    };
    if taken.is_err() {
        file.discard().await;
    }
    taken
}

async fn take(file: &mut SentFile, mut upload: ::media::Upload) -> Result<String, ApiError> {
    while let Some(piece) = file.next().await? {
        upload.write(piece).await?;
    }
    Ok(upload.finish().await?)
}

/// `POST /_matrix/media/v3/upload`
async fn upload(
    Part(media): Part<Media>,
    caller: User,
    QueryOf(uploaded_for): QueryOf<UploadedFor>,
    Upload { request, file }: Upload<upload::Request>,
) -> Reply<upload::Response> {
    let description = FileDescription {
        content_type: request.content_type,
        filename: request.filename,
        room_id: uploaded_for.room_id,
    };
    let begun = media.upload(uploader(&caller), description, file.length());
    let media_id = receive(file, begun.await).await?;
    Ok(upload::Response::new(media.uri(&media_id).into()))
}

/// `POST /_matrix/media/v1/create`
async fn create(
    Part(media): Part<Media>,
    caller: User,
    _: create::Request,
) -> Reply<create::Response> {
    let announced = media.create(&uploader(&caller)).await?;
    let mut response = create::Response::new(media.uri(&announced.media_id).into());
    let expires_at = UInt::try_from(announced.expires_at).unwrap_or(UInt::MAX);
    response.unused_expires_at = Some(MilliSecondsSinceUnixEpoch(expires_at));
    Ok(response)
}

/// `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`
async fn upload_announced(
    Part(media): Part<Media>,
    caller: User,
    QueryOf(uploaded_for): QueryOf<UploadedFor>,
    Upload { request, file }: Upload<upload_announced::Request>,
) -> Reply<RawJson> {
    let description = FileDescription {
        content_type: request.content_type,
        filename: request.filename,
        room_id: uploaded_for.room_id,
    };
    let (server_name, media_id) = (request.server_name, request.media_id);
    let begun = media.upload_announced(
        &server_name,
        &media_id,
        uploader(&caller),
        description,
        file.length(),
    );
    receive(file, begun.await).await?;
    Ok(answers::json(&json!({})))
}

fn eagerness(conditions: &Conditions) -> Eagerness {
    match conditions.wants_beginning() {
        true => Eagerness::ReadFirstPiece,
        false => Eagerness::OpenOnly,
    }
}

/// `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}`
async fn get(
    Part(files): Part<Files>,
    caller: User,
    conditions: Conditions,
    request: get::Request,
) -> Reply<FileAnswer> {
    let (viewer, eagerness) = (Viewer::User(caller.user), eagerness(&conditions));
    let place = (&*request.server_name, request.media_id.as_str());
    let file = files.download(viewer, place, request.timeout_ms, ALLOW_REMOTE, eagerness);
    Ok(FileAnswer::new(file.await?, conditions))
}

/// `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}`
async fn get_named(
    Part(files): Part<Files>,
    caller: User,
    conditions: Conditions,
    request: get_named::Request,
) -> Reply<FileAnswer> {
    let (viewer, eagerness) = (Viewer::User(caller.user), eagerness(&conditions));
    let place = (&*request.server_name, request.media_id.as_str());
    let file = files.download(viewer, place, request.timeout_ms, ALLOW_REMOTE, eagerness);
    Ok(FileAnswer::new(file.await?, conditions).named(request.filename))
}

/// `GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}`
async fn get_thumbnail(
    Part(files): Part<Files>,
    caller: User,
    conditions: Conditions,
    request: get_thumbnail::Request,
) -> Reply<FileAnswer> {
    let (viewer, eagerness) = (Viewer::User(caller.user), eagerness(&conditions));
    let place = (&*request.server_name, request.media_id.as_str());
    let wanted = wanted(
        request.width,
        request.height,
        request.method,
        request.animated,
    )?;
    let wait = request.timeout_ms;
    let file = files.thumbnail(viewer, place, wanted, wait, ALLOW_REMOTE, eagerness);
    Ok(FileAnswer::new(file.await?, conditions))
}

/// The thumbnail that a request wants. Scaled if it does not say how.
fn wanted(
    width: UInt,
    height: UInt,
    method: Option<Method>,
    animated: Option<bool>,
) -> Result<ThumbnailRequest, ApiError> {
    let length = |length: UInt| u32::try_from(u64::from(length)).unwrap_or(u32::MAX);
    Ok(ThumbnailRequest {
        width: length(width),
        height: length(height),
        method: match method {
            None | Some(Method::Scale) => ThumbnailMethod::Scale,
            Some(Method::Crop) => ThumbnailMethod::Crop,
            Some(_) => return Err(ApiError::invalid_param("A method is crop or scale.")),
        },
        is_animated: animated.unwrap_or(false),
    })
}

/// What clients may upload.
fn longest(limits: &Limits) -> UInt {
    UInt::try_from(limits.options().max_upload_bytes).unwrap_or(UInt::MAX)
}

/// `GET /_matrix/client/v1/media/config`
async fn config(
    Part(limits): Part<Limits>,
    _: User,
    _: config::Request,
) -> Reply<config::Response> {
    Ok(config::Response::new(longest(&limits)))
}
