//! The page to which the link leads in the notice of an account's end: its person puts the end
//! off.
//!
//! Opening the page changes nothing, as with `confirming.rs`; the button does.

use accounts::Renewal;
use axum::response::{IntoResponse as _, Response};
use http::{Method, StatusCode};
use runtime::Timestamp;
use web::{ApiError, Origin, Part, PathOf, Routes};

use crate::{
    Console,
    html::element,
    joining::Visitor,
    page::Page,
    pages::{self, notice, paragraph},
    same_origin::SameOrigin,
    texts::{TEXTS, fill, moment},
};

/// The token of the link.
const PATH: &str = "/renew/{token}";

pub(crate) fn routes() -> Routes<Console> {
    Routes::new()
        .plain(Method::GET, PATH, show)
        .plain(Method::POST, PATH, renew)
}

/// The path's token; what is no text is no link's.
type Token = Result<PathOf<String>, ApiError>;

/// `GET /renew/{token}`: whose account ends when, and until when it could be renewed.
async fn show(Part(console): Part<Console>, _: Visitor, token: Token) -> Result<Page, Page> {
    let PathOf(token) = token.map_err(|_| gone())?;
    let found = console.accounts.renewal(&token).await;
    let found = found.map_err(|error| pages::failed(error.into()))?;
    found
        .map(|found| question(&console, &found))
        .ok_or_else(gone)
}

/// `POST /renew/{token}`: renews the account. The link is of no use afterwards.
async fn renew(
    Part(console): Part<Console>,
    _: Visitor,
    origin: Origin,
    _: SameOrigin,
    token: Token,
) -> Result<Response, Page> {
    let PathOf(token) = token.map_err(|_| gone())?;
    let from = Some(origin.address.to_string());
    let renewed = console.accounts.renew(&token, from).await;
    let renewed = renewed.map_err(|error| pages::failed(error.into()))?;
    let renewed = renewed.ok_or_else(gone)?;
    let texts = &TEXTS.renewing;
    let until = moment(Timestamp(renewed.renewed_until));
    let text = fill(texts.done_until, &[("moment", &until)]);
    Ok(notice(StatusCode::OK, texts.done, &text).into_response())
}

fn question(console: &Console, found: &Renewal) -> Page {
    let texts = &TEXTS.renewing;
    let (end, until) = (
        moment(Timestamp(found.expires_at)),
        moment(Timestamp(found.renewed_until)),
    );
    let values = [
        ("server", console.accounts.server_name().as_str()),
        ("user", found.user_id.as_str()),
        ("end", end.as_str()),
        ("until", until.as_str()),
    ];
    let form = element("form")
        .with("method", "post")
        .has(element("button").with("type", "submit").has(texts.button));
    let content = element("main")
        .has(element("h1").has(texts.title))
        .has(paragraph("lead", fill(texts.lead, &values)))
        .has(paragraph("", fill(texts.until, &values)))
        .has(form)
        .has(paragraph("small", texts.not_you));
    Page::new(StatusCode::OK, texts.title.to_owned(), content)
}

/// The link cannot be used, for whatever reason.
fn gone() -> Page {
    let texts = &TEXTS.renewing;
    let content = element("main")
        .has(element("h1").has(texts.gone))
        .has(paragraph("lead", texts.gone_why));
    Page::new(StatusCode::NOT_FOUND, texts.gone.to_owned(), content)
}
