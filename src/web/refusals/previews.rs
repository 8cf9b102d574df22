//! What goes wrong with previews of web pages.

use http::StatusCode;
use previews::PreviewError;
use ruma_common::api::error::ErrorCode;

use super::sentence;
use crate::ApiError;

impl From<PreviewError> for ApiError {
    fn from(error: PreviewError) -> Self {
        let text = sentence(&error);
        match error {
            PreviewError::Off => Self::unrecognized(),
            PreviewError::Url => Self::invalid_param(text),
            PreviewError::Failed => Self::new(StatusCode::BAD_GATEWAY, ErrorCode::Unknown, text),
            PreviewError::Busy(error) => error.into(),
            PreviewError::Storage(error) => error.into(),
            PreviewError::Store(error) => error.into(),
        }
    }
}
