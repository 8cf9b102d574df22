//! What is refused where two devices meet (MSC4108, MSC4388).

use std::time::Duration;

use accounts::RendezvousError;
use http::StatusCode;
use ruma_common::api::error::ErrorCode;

use super::sentence;
use crate::ApiError;

impl From<RendezvousError> for ApiError {
    fn from(error: RendezvousError) -> Self {
        let text = sentence(&error);
        match error {
            RendezvousError::NotFound => Self::not_found(text),
            RendezvousError::Concurrent => Self::new(
                StatusCode::CONFLICT,
                "IO_ELEMENT_MSC4388_CONCURRENT_WRITE".into(),
                text,
            ),
            RendezvousError::TooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, text)
            }
            RendezvousError::TooMany => Self::limit_exceeded(Duration::from_secs(30)),
        }
    }
}
