//! Whether the server is well, for those who watch it.

use axum::{
    Router,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// How the server is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether it can do anything at all; if not, a restart is the only help.
    pub live: bool,
    /// Whether it answers requests as it should.
    pub ready: bool,
    /// Whether something is not as it should be; what is, stands in `reasons`.
    pub degraded: bool,
    /// What an operator should look at, each in a sentence.
    pub reasons: Vec<String>,
}

/// `GET /_cairn/health`: how the server is, as JSON; 503 if it is not ready.
pub fn health_routes<Asking>(ask: impl Fn() -> Asking + Clone + Send + Sync + 'static) -> Router
where
    Asking: Future<Output = Health> + Send + 'static,
{
    let answer = move || {
        let asked = ask();
        async move {
            let health = asked.await;
            let status = match health.ready {
                true => StatusCode::OK,
                false => StatusCode::SERVICE_UNAVAILABLE,
            };
            let json = HeaderValue::from_static("application/json");
            let headers = [
                (header::CONTENT_TYPE, json),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ];
            let body = serde_json::to_string(&health).unwrap_or_default();
            let response: Response = (status, headers, body).into_response();
            response
        }
    };
    Router::new().route("/_cairn/health", get(answer))
}
