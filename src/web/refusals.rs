//! The one table that turns the errors of the floors below into what a client
//! sees: a status and an error code. The texts are those of the errors.

mod accounts;
mod actions;
mod appservices;
mod delayed;
mod media;
mod peers;
mod previews;
mod rendezvous;
mod rooms;
mod threads;

use runtime::LaneError;
use store::StoreError;

use crate::ApiError;

/// Nobody's request is wrong: the details are for the log.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::unavailable(error),
            StoreError::DiskFull => Self::disk_full(),
            StoreError::Database(_)
            | StoreError::Damaged(_)
            | StoreError::Corrupt { .. }
            | StoreError::WritingStopped(_)
            | StoreError::Trimmed(_) => Self::internal(error),
        }
    }
}

impl From<LaneError> for ApiError {
    fn from(error: LaneError) -> Self {
        match error {
            LaneError::Full | LaneError::Stopped => Self::unavailable(error),
        }
    }
}

/// An error's text as a sentence for a person.
fn sentence(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => {
            let end = if text.ends_with(['.', '!', '?']) {
                ""
            } else {
                "."
            };
            first.to_uppercase().chain(letters).collect::<String>() + end
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_a_sentence() {
        assert_eq!(
            sentence(&"there is no such device"),
            "There is no such device."
        );
        assert_eq!(sentence(&"Why?"), "Why?");
        assert_eq!(sentence(&""), "");
    }

    #[test]
    fn what_the_store_says_stays_in_the_log() {
        let error = ApiError::from(StoreError::Database("secret path".to_owned()));
        assert_eq!(error.status(), 500);
        assert!(!error.message().contains("secret"));
        assert_eq!(ApiError::from(StoreError::Busy).status(), 503);
        assert_eq!(ApiError::from(StoreError::DiskFull).status(), 507);
    }
}
