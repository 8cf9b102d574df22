//! Files of this server's users (server-server API, "Content Repository").

use ::media::{Eagerness, Media, ThumbnailMethod, ThumbnailRequest, Viewer};
use js_int::UInt;
use ruma_common::media::Method;
use ruma_federation_api::authenticated_media::{
    get_content::v1 as get, get_content_thumbnail::v1 as get_thumbnail,
};
use web::{ApiError, MultipartFile, Part, Reply, Routes, Server};

use crate::ServerParts;

const EAGERNESS: Eagerness = Eagerness::ReadFirstPiece;

pub(crate) fn routes() -> Routes<ServerParts> {
    Routes::new().on(get).on(get_thumbnail)
}

/// `GET /_matrix/federation/v1/media/download/{mediaId}`
async fn get(Part(media): Part<Media>, _: Server, request: get::Request) -> Reply<MultipartFile> {
    let (own, wait) = (media.server_name().to_owned(), request.timeout_ms);
    let file = media.download(Viewer::Server, &own, &request.media_id, wait, EAGERNESS);
    Ok(MultipartFile(file.await?))
}

/// `GET /_matrix/federation/v1/media/thumbnail/{mediaId}`
async fn get_thumbnail(
    Part(media): Part<Media>,
    _: Server,
    request: get_thumbnail::Request,
) -> Reply<MultipartFile> {
    let length = |length: UInt| u32::try_from(u64::from(length)).unwrap_or(u32::MAX);
    let wanted = ThumbnailRequest {
        width: length(request.width),
        height: length(request.height),
        method: match request.method {
            None | Some(Method::Scale) => ThumbnailMethod::Scale,
            Some(Method::Crop) => ThumbnailMethod::Crop,
            Some(_) => return Err(ApiError::invalid_param("A method is crop or scale.")),
        },
        is_animated: request.animated.unwrap_or(false),
    };
    let (own, wait) = (media.server_name().to_owned(), request.timeout_ms);
    let id = &request.media_id;
    let file = media.thumbnail(Viewer::Server, &own, id, wanted, wait, EAGERNESS);
    Ok(MultipartFile(file.await?))
}
