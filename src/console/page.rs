//! A page as a response: the document around its content, and the headers that keep
//! it to itself.

use std::sync::LazyLock;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};
use web::ApiError;

use crate::{
    html::{Element, Node, element},
    texts::TEXTS,
};

/// How pages look. It stands in each of them: one request, nothing to cache.
const STYLE: &str = include_str!("style.css");

/// What goes with every page and file besides its policy and its type.
const HEADERS: [(HeaderName, &str); 7] = [
    // A page's address may hold a token, and its form what was typed.
    (header::CACHE_CONTROL, "no-store"),
    // Within our own site it stays, so that browsers tell us the form's origin.
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
];

/// Nothing may be loaded or run but the one style, which is known by its hash; the
/// form goes to this server only, and no other page may hold this one.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    HeaderValue::try_from(policy("")).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The policy of a page whose form's answer may send the browser to `origin` too.
fn policy(origin: &str) -> String {
    let separator = if origin.is_empty() { "" } else { " " };
    format!(
        "default-src 'none'; style-src '{}'; form-action 'self'{separator}{origin}; \
         base-uri 'none'; frame-ancestors 'none'",
        source_hash(STYLE)
    )
}

/// How a policy names a style of that text.
pub(crate) fn source_hash(style: &str) -> String {
    format!(
        "sha256-{}",
        STANDARD.encode(Sha256::digest(style.as_bytes()))
    )
}

/// A page, ready to be sent. Handlers return it for success and failure alike.
#[derive(Debug)]
pub(crate) struct Page(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    title: String,
    content: Element,
    cause: Option<ApiError>,
    /// Where the form's answer may send the browser, besides this server.
    leads_to: Option<String>,
}

impl Page {
    /// A page with that title and, in `<main>`, that content.
    pub(crate) fn new(status: StatusCode, title: String, content: Element) -> Self {
        Self(Box::new(Inner {
            status,
            title,
            content,
            cause: None,
            leads_to: None,
        }))
    }

    /// The same whose form's answer may send the browser to `origin` (`https://app.example`):
    /// browsers hold such an answer against the policy too.
    #[must_use]
    pub(crate) fn leading_to(mut self, origin: String) -> Self {
        self.0.leads_to = Some(origin);
        self
    }

    /// The same because of an error, whose status it takes.
    #[must_use]
    pub(crate) fn because(mut self, error: ApiError) -> Self {
        self.0.status = error.status();
        self.0.cause = Some(error);
        self
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let Inner {
            status,
            title,
            content,
            cause,
            leads_to,
        } = *self.0;
        // The error's own response holds what else it has to say: when to come
        // again, and what the log should know.
        let mut response = cause.map_or_else(Response::default, IntoResponse::into_response);
        *response.status_mut() = status;
        *response.body_mut() = Body::from(document(&title, STYLE, content));
        guard_page(response.headers_mut());
        if let Some(policy) =
            leads_to.and_then(|origin| HeaderValue::try_from(policy(&origin)).ok())
        {
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}

/// The answer that leads on to `location`, which holds no secret, with `GET`.
pub(crate) fn see_other(location: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    guard_page(response.headers_mut());
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn guard_page(headers: &mut HeaderMap) {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    guard(headers, POLICY.clone());
}

/// Keeps a page or a file to itself, under this policy.
pub(crate) fn guard(headers: &mut HeaderMap, policy: HeaderValue) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
}

/// A whole document.
pub(crate) fn document(title: &str, style: &'static str, content: Element) -> String {
    let head = element("head")
        .has(element("meta").with("charset", "utf-8"))
        .has(
            element("meta")
                .with("name", "viewport")
                .with("content", "width=device-width, initial-scale=1"),
        )
        .has(
            element("meta")
                .with("name", "color-scheme")
                .with("content", "light dark"),
        )
        .has(element("title").has(title))
        .has(element("style").has(Node::Style(style)));
    let html = element("html")
        .with("lang", TEXTS.language)
        .has(head)
        .has(element("body").has(content));
    format!("<!DOCTYPE html>\n{}\n", html.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_allows_our_style_and_nothing_else() {
        let policy = POLICY.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
        assert!(!policy.contains("unsafe") && !policy.contains('*'));
        // The hash is that of what stands between the tags.
        let page = document("a", STYLE, element("main"));
        let (_, rest) = page.split_once("<style>").unwrap();
        let (style, _) = rest.split_once("</style>").unwrap();
        assert!(policy.contains(&source_hash(style)));
    }

    #[test]
    fn a_style_cannot_end_early_or_load_anything() {
        for style in [STYLE, crate::sheet::STYLE] {
            for part in ["</", "url(", "@import", "@font-face"] {
                assert!(!style.contains(part), "{part}");
            }
        }
    }

    #[test]
    fn an_error_keeps_its_status_and_its_wait() {
        let error = ApiError::limit_exceeded(std::time::Duration::from_millis(1_500));
        let page = Page::new(StatusCode::OK, "x".to_owned(), element("main")).because(error);
        let response = page.into_response();
        assert_eq!(response.status(), 429);
        let header = |name: HeaderName| response.headers()[name].to_str().unwrap();
        assert_eq!(header(header::RETRY_AFTER), "2");
        assert_eq!(header(header::CONTENT_TYPE), "text/html; charset=utf-8");
        assert_eq!(header(header::CACHE_CONTROL), "no-store");
    }
}
