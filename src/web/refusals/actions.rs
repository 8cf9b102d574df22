//! What goes wrong with what a person does across domains.

use actions::{DeactivateError, NoticeError, SetProfileError};

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

impl From<DeactivateError> for ApiError {
    fn from(error: DeactivateError) -> Self {
        match error {
            DeactivateError::Account(error) => error.into(),
            DeactivateError::Room(error) => error.into(),
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
