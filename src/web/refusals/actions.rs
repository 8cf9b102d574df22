//! What goes wrong with what a person does across domains.

use actions::{DeactivateError, ModerationError, SetProfileError};

use super::sentence;
use crate::ApiError;

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
