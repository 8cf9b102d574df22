//! Previews of web pages (client-server API, `GET /media/preview_url`).

use previews::Previews;
use ruma_client_api::{
    authenticated_media::get_media_preview::v1 as get, media::get_media_preview::v3 as get_old,
};
use web::{ApiError, Limits, Part, RawJson, Reply, Routes, User};

use crate::ClientParts;

pub(super) fn routes() -> Routes<ClientParts> {
    Routes::new().on(get_preview).on(get_preview_old)
}

/// `GET /_matrix/client/v1/media/preview_url`
async fn get_preview(
    Part(previews): Part<Previews>,
    Part(limits): Part<Limits>,
    caller: User,
    request: get::Request,
) -> Reply<RawJson> {
    let at = request.ts.map(|at| u64::from(at.get()));
    preview(&previews, &limits, &caller, &request.url, at).await
}

/// `GET /_matrix/media/v3/preview_url`
#[expect(deprecated, reason = "clients that know no other path still ask here")]
async fn get_preview_old(
    Part(previews): Part<Previews>,
    Part(limits): Part<Limits>,
    caller: User,
    request: get_old::Request,
) -> Reply<RawJson> {
    let at = request.ts.map(|at| u64::from(at.get()));
    preview(&previews, &limits, &caller, &request.url, at).await
}

async fn preview(
    previews: &Previews,
    limits: &Limits,
    caller: &User,
    url: &str,
    at: Option<u64>,
) -> Result<RawJson, ApiError> {
    if previews.are_on() {
        limits.preview(caller.user)?;
    }
    let told = previews.preview(url, at).await?;
    Ok(RawJson(told.into()))
}
