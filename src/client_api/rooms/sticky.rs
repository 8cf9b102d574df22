//! Events that are sticky for a while (MSC4354, under its unstable prefix).

use serde::Deserialize;
use web::ApiError;

/// The longest time for which an event is sticky, in ms.
const LONGEST: u64 = 3_600_000;

/// The query of the endpoints that send events, where it asks for a sticky one.
#[derive(Deserialize)]
pub(super) struct StickyQuery {
    #[serde(rename = "org.matrix.msc4354.sticky_duration_ms")]
    duration: Option<u64>,
}

impl StickyQuery {
    /// For how long, in ms.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM` if that is longer than an hour.
    pub(super) fn checked(&self) -> Result<Option<u64>, ApiError> {
        match self.duration {
            Some(duration) if duration > LONGEST => Err(ApiError::invalid_param(format!(
                "An event is sticky for at most {LONGEST} ms."
            ))),
            duration => Ok(duration),
        }
    }
}
