//! JSON of which the answers consist.

use serde::Serialize;
use web::{ApiError, RawJson, Reply};

/// A value as an answer.
pub(crate) fn json(value: &impl Serialize) -> Reply<RawJson> {
    let bytes = serde_json::to_vec(value).map_err(ApiError::internal)?;
    Ok(RawJson(bytes.into()))
}
