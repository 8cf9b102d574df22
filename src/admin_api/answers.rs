//! What the handlers of Synapse's endpoints answer with.

use http::StatusCode;
use ruma_common::api::error::ErrorCode;
use serde_json::Value;
use web::{ApiError, RawJson};

pub(crate) fn answer(value: &Value) -> RawJson {
    RawJson(value.to_string().into())
}

/// An empty object.
pub(crate) fn empty() -> RawJson {
    RawJson("{}".into())
}

/// That something has no meaning here, in a sentence that says why (400 `M_UNKNOWN`).
pub(crate) fn unsupported(why: &'static str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, ErrorCode::Unknown, why)
}

/// A reason, which Synapse's own tools do not give.
pub(crate) fn reason(given: Option<String>) -> Option<String> {
    given.filter(|reason| !reason.trim().is_empty())
}
