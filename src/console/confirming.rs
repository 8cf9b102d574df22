//! The page to which the link in a letter leads: who has the letter confirms an e-mail
//! address.
//!
//! Opening the page changes nothing, for programs that look for harm in mail open every
//! link. The button does, which they do not press.

use accounts::Confirmation;
use axum::response::{IntoResponse as _, Response};
use http::{Method, StatusCode};
use model::EmailPurpose;
use url::Url;
use web::{ApiError, Part, PathOf, Routes};

use crate::{
    Console,
    html::element,
    joining::Visitor,
    page::{Page, see_other},
    pages::{self, notice, paragraph},
    same_origin::SameOrigin,
    texts::{TEXTS, fill},
};

/// The confirmation's id and the letter's token.
const PATH: &str = "/confirm/{id}/{token}";

pub(crate) fn routes() -> Routes<Console> {
    Routes::new()
        .plain(Method::GET, PATH, show)
        .plain(Method::POST, PATH, confirm)
}

/// Both parts of the path; what is no text is no letter's.
type Link = Result<PathOf<(String, String)>, ApiError>;

/// `GET /confirm/{id}/{token}`: what is to be confirmed.
async fn show(Part(console): Part<Console>, _: Visitor, link: Link) -> Result<Page, Page> {
    let PathOf((id, token)) = link.map_err(|_| gone())?;
    let found = console.accounts.confirmation(&id, &token).await;
    let found = found.map_err(|error| pages::failed(error.into()))?;
    match found {
        None => Err(gone()),
        Some(found) if found.is_confirmed => Ok(done()),
        Some(found) => Ok(question(&console, &found)),
    }
}

/// `POST /confirm/{id}/{token}`: confirms, and leads on to where the client said.
async fn confirm(
    Part(console): Part<Console>,
    _: Visitor,
    _: SameOrigin,
    link: Link,
) -> Result<Response, Page> {
    let PathOf((id, token)) = link.map_err(|_| gone())?;
    let confirmed = console.accounts.confirm(&id, &token).await;
    let confirmed = confirmed.map_err(|error| pages::failed(error.into()))?;
    match confirmed.ok_or_else(gone)?.next_link {
        Some(link) => Ok(see_other(&link)),
        None => Ok(done().into_response()),
    }
}

fn question(console: &Console, found: &Confirmation) -> Page {
    let texts = &TEXTS.confirming;
    let server = console.accounts.server_name().as_str();
    let user = found.user_id.as_ref().map(|user_id| user_id.as_str());
    let (text, button) = match found.purpose {
        EmailPurpose::Add if user.is_some() => (texts.add, texts.button),
        EmailPurpose::Add => (texts.add_nameless, texts.button),
        EmailPurpose::Register => (texts.register, texts.button),
        EmailPurpose::ResetPassword => (texts.reset, texts.button_reset),
    };
    let values = [
        ("server", server),
        ("email", found.email.as_str()),
        ("user", user.unwrap_or_default()),
    ];
    let warning =
        (found.purpose == EmailPurpose::ResetPassword).then(|| paragraph("", texts.reset_warning));
    let next = found
        .next_link
        .as_deref()
        .and_then(|link| Url::parse(link).ok());
    let leads_on = next
        .as_ref()
        .and_then(|next| next.host_str())
        .map(|host| paragraph("", fill(texts.next, &[("host", host)])));
    let form = element("form")
        .with("method", "post")
        .has(element("button").with("type", "submit").has(button));
    let content = element("main")
        .has(element("h1").has(texts.title))
        .has(paragraph("lead", fill(text, &values)))
        .has_all(warning)
        .has_all(leads_on)
        .has(form)
        .has(paragraph("small", texts.not_you));
    let page = Page::new(StatusCode::OK, texts.title.to_owned(), content);
    match next {
        Some(next) => page.leading_to(next.origin().ascii_serialization()),
        None => page,
    }
}

fn done() -> Page {
    let texts = &TEXTS.confirming;
    notice(StatusCode::OK, texts.done, texts.done_how)
}

/// The link cannot be used, for whatever reason.
fn gone() -> Page {
    let texts = &TEXTS.confirming;
    let content = element("main")
        .has(element("h1").has(texts.gone))
        .has(paragraph("lead", texts.gone_why))
        .has(paragraph("", texts.gone_ask));
    Page::new(StatusCode::NOT_FOUND, texts.gone.to_owned(), content)
}
