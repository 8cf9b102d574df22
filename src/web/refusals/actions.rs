//! What goes wrong with what a person does across domains.

use actions::{
    ContactError, DeactivateError, FileModerationError, FilesError, ModerationError, NoticeError,
    ResolveError, SetProfileError,
};
use http::StatusCode;
use ruma_common::api::error::ErrorCode;

use super::sentence;
use crate::ApiError;

impl From<NoticeError> for ApiError {
    fn from(error: NoticeError) -> Self {
        match error {
            NoticeError::NotFound => Self::not_found(sentence(&error)),
            NoticeError::Append(error) => error.into(),
            NoticeError::Tag(error) => error.into(),
            NoticeError::Server(error) => error.into(),
            NoticeError::Store(error) => error.into(),
        }
    }
}

impl From<ContactError> for ApiError {
    fn from(error: ContactError) -> Self {
        let text = sentence(&error);
        match error {
            ContactError::Denied => {
                Self::new(StatusCode::FORBIDDEN, ErrorCode::ThreepidDenied, text)
            }
            ContactError::Confirmation(error) => error.into(),
            ContactError::NotSent => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown, text)
            }
            ContactError::Store(error) => error.into(),
        }
    }
}

impl From<FileModerationError> for ApiError {
    fn from(error: FileModerationError) -> Self {
        let text = sentence(&error);
        match error {
            FileModerationError::FileName(_)
            | FileModerationError::Hash(_)
            | FileModerationError::RoomId(_) => Self::invalid_param(text),
            FileModerationError::UnknownUser(_)
            | FileModerationError::UnknownRoom(_)
            | FileModerationError::UnknownFile(_) => Self::not_found(text),
            FileModerationError::Storage(error) => error.into(),
            FileModerationError::Store(error) => error.into(),
        }
    }
}

impl From<DeactivateError> for ApiError {
    fn from(error: DeactivateError) -> Self {
        match error {
            DeactivateError::Account(error) => error.into(),
            DeactivateError::Room(error) => error.into(),
        }
    }
}

impl From<ModerationError> for ApiError {
    fn from(error: ModerationError) -> Self {
        let text = sentence(&error);
        match error {
            ModerationError::Forbidden(_) => Self::forbidden(text),
            ModerationError::NotLocal => Self::invalid_param(text),
            ModerationError::NotFound => Self::not_found(text),
            ModerationError::Account(error) => error.into(),
            ModerationError::Store(error) => error.into(),
        }
    }
}

impl From<SetProfileError> for ApiError {
    fn from(error: SetProfileError) -> Self {
        match error {
            SetProfileError::Profile(error) => error.into(),
            SetProfileError::Room(error) => error.into(),
        }
    }
}

impl From<ResolveError> for ApiError {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Read(error) => error.into(),
            ResolveError::Peer(error) => error.into(),
        }
    }
}

impl From<FilesError> for ApiError {
    fn from(error: FilesError) -> Self {
        let text = sentence(&error);
        match error {
            FilesError::Download(error) => error.into(),
            FilesError::Peer(error) => error.into(),
            FilesError::NotYet => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, ErrorCode::NotYetUploaded, text)
            }
        }
    }
}
