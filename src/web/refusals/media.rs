//! What goes wrong with files.

use std::time::Duration;

use http::StatusCode;
use media::{DownloadError, StorageError, UploadError};
use ruma_common::api::error::ErrorCode;

use super::{accounts::suspended, sentence};
use crate::ApiError;

/// When somebody with too many downloads under way may try again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Nobody's request is wrong: the details are for the log.
impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::DiskFull => Self::disk_full(),
            StorageError::Busy(error) => error.into(),
            StorageError::Store(error) => error.into(),
            StorageError::File(_) | StorageError::Missing(_) => Self::internal(error),
        }
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        let text = sentence(&error);
        match error {
            UploadError::Quota | UploadError::NotInRoom | UploadError::NotYours => {
                Self::forbidden(text)
            }
            UploadError::Suspended => suspended(text),
            UploadError::UnknownId => Self::not_found(text),
            UploadError::Exists => {
                Self::new(StatusCode::CONFLICT, ErrorCode::CannotOverwriteMedia, text)
            }
            UploadError::Invalid(_) => Self::invalid_param(text),
            UploadError::TooMany { retry_after } => {
                Self::limit_exceeded(Duration::from_millis(retry_after))
            }
            UploadError::Storage(error) => error.into(),
        }
    }
}

impl From<DownloadError> for ApiError {
    fn from(error: DownloadError) -> Self {
        let text = sentence(&error);
        match error {
            DownloadError::NotFound | DownloadError::Quarantined => Self::not_found(text),
            DownloadError::NotYetUploaded => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, ErrorCode::NotYetUploaded, text)
            }
            DownloadError::Invalid(_) => Self::invalid_param(text),
            DownloadError::NoImage => Self::new(StatusCode::BAD_REQUEST, ErrorCode::Unknown, text),
            DownloadError::ImageTooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, text)
            }
            DownloadError::TooMany => Self::limit_exceeded(TRY_AGAIN),
            DownloadError::Storage(error) => error.into(),
        }
    }
}
