//! Cross-origin requests of web clients (client-server API, "Web browser
//! clients").

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

/// The paths whose answers any web page may read. The metrics are not among
/// them, nor are pages for people.
const OPEN_TO_WEB_PAGES: [&str; 4] = [
    "/_matrix/",
    "/.well-known/matrix/",
    "/_synapse/",
    "/_cairn/admin/",
];

/// Whether web pages of any origin may use `path`.
pub(crate) fn is_open(path: &str) -> bool {
    OPEN_TO_WEB_PAGES
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

/// Adds the headers that the specification asks for, to errors too: without
/// them a web client could not even read the error.
pub(crate) fn allow(headers: &mut HeaderMap) {
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "X-Requested-With, Content-Type, Authorization, If-Match, If-None-Match",
        ),
    );
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Retry-After, X-Request-Id, ETag"),
    );
}

/// The answer to a preflight: nothing, good for a day.
pub(crate) fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("86400"),
    );
    response
}
