//! What is refused of delayed events (MSC4140).

use http::StatusCode;
use rooms::DelayError;
use ruma_common::api::error::ErrorCode;

use super::sentence;
use crate::ApiError;

impl From<DelayError> for ApiError {
    fn from(error: DelayError) -> Self {
        let text = sentence(&error);
        match error {
            DelayError::Disabled => Self::forbidden(text),
            // The further fields are those of the proposal's earlier text.
            DelayError::TooLong { max } => Self::forbidden(text)
                .with("org.matrix.msc4140.errcode", "M_MAX_DELAY_EXCEEDED")
                .with("org.matrix.msc4140.max_delay", max),
            DelayError::TooMany { retry_after } => Self::limit_exceeded(retry_after),
            DelayError::NotFound => Self::not_found(text),
            DelayError::Ended(_) => Self::new(StatusCode::CONFLICT, ErrorCode::Unknown, text),
            DelayError::Append(error) => error.into(),
            DelayError::Store(error) => error.into(),
        }
    }
}
