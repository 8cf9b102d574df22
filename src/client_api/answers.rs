//! Answers that are not worth a type.

use serde_json::Value;
use web::RawJson;

/// An answer of these fields.
pub(crate) fn json(value: &Value) -> RawJson {
    RawJson(value.to_string().into())
}
