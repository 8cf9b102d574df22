//! What goes wrong with what a person does across domains.

use actions::{DeactivateError, SetProfileError};

use crate::ApiError;

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
