//! What is refused of thread subscriptions (MSC4306).

use http::StatusCode;
use rooms::SubscriptionError;

use super::sentence;
use crate::ApiError;

impl From<SubscriptionError> for ApiError {
    fn from(error: SubscriptionError) -> Self {
        let text = sentence(&error);
        match error {
            SubscriptionError::NotInThread => Self::new(
                StatusCode::BAD_REQUEST,
                "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD".into(),
                text,
            ),
            SubscriptionError::Conflicting => Self::new(
                StatusCode::CONFLICT,
                "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION".into(),
                text,
            ),
            SubscriptionError::Read(error) => error.into(),
            SubscriptionError::Store(error) => error.into(),
        }
    }
}
