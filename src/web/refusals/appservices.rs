//! What application services fail to answer.

use delivery::{AskError, PingError};
use http::StatusCode;
use ruma_common::api::error::ErrorCode;

use super::sentence;
use crate::ApiError;

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Store(error) => error.into(),
            AskError::Outgoing(_) | AskError::Status(_) | AskError::NoUrl | AskError::Timeout => {
                let text = sentence(&AskError::Timeout);
                Self::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::Unknown, text)
            }
        }
    }
}

impl From<PingError> for ApiError {
    fn from(error: PingError) -> Self {
        let text = sentence(&error);
        let bad_gateway = StatusCode::BAD_GATEWAY;
        match error {
            PingError::UrlNotSet => Self::new(StatusCode::BAD_REQUEST, ErrorCode::UrlNotSet, text),
            PingError::BadStatus { status, body } => {
                Self::new(bad_gateway, ErrorCode::BadStatus, text)
                    .with("status", status)
                    .with("body", body)
            }
            PingError::ConnectionFailed => {
                Self::new(bad_gateway, ErrorCode::ConnectionFailed, text)
            }
            PingError::ConnectionTimeout => {
                let status = StatusCode::GATEWAY_TIMEOUT;
                Self::new(status, ErrorCode::ConnectionTimeout, text)
            }
        }
    }
}
