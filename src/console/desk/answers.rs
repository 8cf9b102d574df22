//! Pages and files of the console as responses: what goes with each, and what may run on it.

use std::sync::LazyLock;

use actions::AdministrationError;
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};
use web::{ApiError, PathOf, Routes};

use super::Desk;
use crate::{
    html::{Element, element},
    page::{self, source_hash},
    pages::paragraph,
    texts::TEXTS,
    words::WORDS,
};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// What style and script are known by: another text has another address.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let hash: [u8; 32] = Sha256::new()
        .chain_update(STYLE)
        .chain_update(SCRIPT)
        .finalize()
        .into();
    ::audit::hexadecimal(&hash).chars().take(16).collect()
});

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::GET, "/console/assets/{version}/style.css", style)
        .plain(Method::GET, "/console/assets/{version}/script.js", script)
}

async fn style(PathOf(version): PathOf<String>) -> Response {
    asset("text/css; charset=utf-8", STYLE, &version)
}

async fn script(PathOf(version): PathOf<String>) -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT, &version)
}

fn asset(kind: &'static str, text: &'static str, version: &str) -> Response {
    if version != *VERSION {
        return StatusCode::NOT_FOUND.into_response();
    }
    let mut response = Response::new(Body::from(text));
    guard(response.headers_mut(), "default-src 'none'");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let kept = "private, max-age=31536000, immutable";
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    response
}

fn guard(headers: &mut HeaderMap, policy: &str) {
    let policy = HeaderValue::from_str(policy);
    page::guard(
        headers,
        policy.unwrap_or(HeaderValue::from_static("default-src 'none'")),
    );
}

/// A whole page. Its style and script are the two files of our own, which are known by a number
/// that is drawn for this answer alone; nothing else is loaded, run, sent or framed.
pub(super) fn document(
    desk: &Desk,
    status: StatusCode,
    title: &str,
    body: impl IntoIterator<Item = Element>,
) -> Response {
    let nonce = desk.random.token();
    let server = desk.accounts.server_name().as_str();
    let meta = |name: &str, content: &str| {
        let meta = element("meta").with("name", name);
        meta.with("content", content)
    };
    let file = |name: &str| format!("/console/assets/{}/{name}", *VERSION);
    let style = element("link")
        .with("rel", "stylesheet")
        .with("href", file("style.css"))
        .with("nonce", nonce.as_str());
    let script = element("script")
        .with("src", file("script.js"))
        .with("nonce", nonce.as_str())
        .flag("defer", true);
    let head = element("head")
        .has(element("meta").with("charset", "utf-8"))
        .has(meta("viewport", "width=device-width, initial-scale=1"))
        .has(meta("color-scheme", "light dark"))
        .has(element("title").has(format!("{title} · {server}")))
        .has(style)
        .has(script);
    let html = element("html")
        .with("lang", TEXTS.language)
        .has(head)
        .has(element("body").has_all(body));
    let text = format!("<!DOCTYPE html>\n{}\n", html.render());
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    guard(response.headers_mut(), &policy);
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The answer that leads on to a path of the console, with `GET`.
pub(super) fn see_other(path: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    guard(response.headers_mut(), "default-src 'none'");
    if let Ok(location) = HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// A document with a style of its own, for printing.
pub(super) fn printed(document: String, style: &str) -> Response {
    let mut response = Response::new(Body::from(document));
    let policy = format!(
        "default-src 'none'; style-src '{}'; base-uri 'none'; frame-ancestors 'none'",
        source_hash(style)
    );
    guard(response.headers_mut(), &policy);
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A file to be kept.
pub(super) fn download(name: &str, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    guard(response.headers_mut(), "default-src 'none'; sandbox");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let safe = |letter: char| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => letter,
        _ => '_',
    };
    let name: String = name.chars().map(safe).collect();
    let kept = format!("attachment; filename=\"{name}\"");
    if let Ok(kept) = HeaderValue::from_str(&kept) {
        headers.insert(header::CONTENT_DISPOSITION, kept);
    }
    response
}

/// JSON for our own script.
pub(super) fn json(value: &serde_json::Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    guard(response.headers_mut(), "default-src 'none'");
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Why a page is not shown: another answer in its place.
#[derive(Debug)]
pub(super) enum Stop {
    /// An answer that is ready.
    Instead(Box<Response>),
    /// Something failed, or is not allowed.
    Failed(Box<ApiError>),
}

impl Stop {
    pub(super) fn instead(response: Response) -> Self {
        Self::Instead(Box::new(response))
    }
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Self::Failed(Box::new(error))
    }
}

macro_rules! stops {
    ($($error:ty),+ $(,)?) => {$(
        impl From<$error> for Stop {
            fn from(error: $error) -> Self {
                Self::from(ApiError::from(error))
            }
        }
    )+};
}
stops!(
    AdministrationError,
    actions::FileModerationError,
    actions::ModerationError,
    accounts::ConsoleError,
    store::StoreError,
    web::LimitExceeded,
);

impl IntoResponse for Stop {
    fn into_response(self) -> Response {
        match self {
            Self::Instead(response) => *response,
            Self::Failed(error) => failed(*error),
        }
    }
}

/// What is said where there is no page to say it on. It stands alone, without our files: whoever
/// sees it may be nobody.
fn failed(error: ApiError) -> Response {
    let words = &WORDS.failures;
    let heading = match error.status() {
        StatusCode::FORBIDDEN => words.forbidden,
        StatusCode::NOT_FOUND => words.not_found,
        StatusCode::TOO_MANY_REQUESTS => words.too_many,
        _ => words.failed,
    };
    let back = element("p").has(element("a").with("href", "/console/").has(words.back));
    let content = element("main")
        .has(element("h1").has(heading))
        .has(paragraph("lead", error.message()))
        .has(back);
    crate::page::Page::new(error.status(), heading.to_owned(), content)
        .because(error)
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_end_no_header() {
        let response = download("a\"; x\r\n.csv", "text/csv", "a");
        let kept = &response.headers()[header::CONTENT_DISPOSITION];
        assert_eq!(kept, "attachment; filename=\"a___x__.csv\"");
    }

    #[test]
    fn files_are_kept_and_pages_are_not() {
        let response = asset("text/css", STYLE, &VERSION);
        assert!(
            response.headers()[header::CACHE_CONTROL]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
        assert_eq!(asset("text/css", STYLE, "other").status(), 404);
        assert_eq!(
            see_other("/console/").headers()[header::CACHE_CONTROL],
            "no-store"
        );
    }

    #[test]
    fn neither_style_nor_script_loads_anything_else() {
        // The name of a kind of elements, which nobody opens.
        let script = SCRIPT.replace("http://www.w3.org/2000/svg", "");
        for part in ["url(", "@import", "@font-face", "http:", "https:"] {
            assert!(!STYLE.contains(part), "{part}");
            assert!(!script.contains(part), "{part}");
        }
        for part in ["eval(", "innerHTML", "document.write", "import("] {
            assert!(!SCRIPT.contains(part), "{part}");
        }
    }
}
