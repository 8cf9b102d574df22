//! What goes wrong with other servers.

use http::StatusCode;
use peers::{KeyError, PeerError, Refused, Unauthorized};
use ruma_common::api::error::ErrorCode;

use super::sentence;
use crate::ApiError;

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        Self::forbidden(sentence(&refused))
    }
}

/// Requests of other servers.
impl From<Unauthorized> for ApiError {
    fn from(error: Unauthorized) -> Self {
        let text = sentence(&error);
        match error {
            Unauthorized::Refused(refused) | Unauthorized::Key(KeyError::Refused(refused)) => {
                refused.into()
            }
            Unauthorized::Key(KeyError::Store(error)) => error.into(),
            Unauthorized::Missing
            | Unauthorized::WrongDestination(_)
            | Unauthorized::Key(_)
            | Unauthorized::Content(_)
            | Unauthorized::Signature => {
                Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, text)
            }
        }
    }
}

/// Requests to other servers, for somebody who waits for the answer.
impl From<PeerError> for ApiError {
    fn from(error: PeerError) -> Self {
        let text = sentence(&error);
        match error {
            PeerError::Refused(refused) => refused.into(),
            PeerError::Status { status, .. } if status == StatusCode::NOT_FOUND => {
                Self::not_found(text)
            }
            PeerError::Status { status, .. } if status == StatusCode::FORBIDDEN => {
                Self::forbidden(text)
            }
            PeerError::LeftAlone { .. }
            | PeerError::Discovery(_)
            | PeerError::Unreachable { .. }
            | PeerError::Status { .. }
            | PeerError::BadAnswer(_) => {
                Self::new(StatusCode::BAD_GATEWAY, ErrorCode::Unknown, text)
            }
            PeerError::BadRequest(_) => Self::internal(error),
        }
    }
}
