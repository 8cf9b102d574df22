//! What rooms and their rules refuse, and what syncs do.

use graph::Reason;
use http::StatusCode;
use rooms::{AppendError, PolicyError, ReadError};
use ruma_common::api::error::ErrorCode;
use search::SearchError;
use sync::SyncError;

use super::sentence;
use crate::ApiError;

const BAD: StatusCode = StatusCode::BAD_REQUEST;

impl From<Reason> for ApiError {
    fn from(reason: Reason) -> Self {
        let text = sentence(&reason);
        match reason {
            Reason::Forbidden(_) => Self::forbidden(text),
            Reason::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, text)
            }
            Reason::NotJson(_) => Self::not_json(text),
            Reason::BadFormat(_) | Reason::BadKey(_) => Self::bad_json(text),
            Reason::UnsupportedVersion(_) => {
                Self::new(BAD, ErrorCode::UnsupportedRoomVersion, text)
            }
            Reason::Damaged(detail) => Self::internal(detail),
        }
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        let text = sentence(&error);
        match error {
            AppendError::Refused(reason) => reason.into(),
            AppendError::Forbidden(_) | AppendError::UnknownRoom => Self::forbidden(text),
            AppendError::NotFound(_) | AppendError::UnknownTarget => Self::not_found(text),
            AppendError::Invalid(_) => Self::invalid_param(text),
            // For a new room; `PUT /directory/room` says 409 for itself.
            AppendError::AliasTaken(_) => Self::new(BAD, ErrorCode::RoomInUse, text),
            AppendError::BadAlias(_) => Self::new(BAD, ErrorCode::BadAlias, text),
            AppendError::InvalidRoomState(_) => Self::new(BAD, ErrorCode::InvalidRoomState, text),
            AppendError::DuplicateAnnotation => {
                Self::new(BAD, ErrorCode::DuplicateAnnotation, text)
            }
            AppendError::NoticeRoom => Self::new(
                StatusCode::FORBIDDEN,
                ErrorCode::CannotLeaveServerNoticeRoom,
                text,
            ),
            AppendError::BadState(_) => Self::new(BAD, ErrorCode::Unknown, text),
            AppendError::UnableToAuthoriseJoin => {
                Self::new(BAD, ErrorCode::UnableToAuthorizeJoin, text)
            }
            AppendError::UnableToGrantJoin => Self::new(BAD, ErrorCode::UnableToGrantJoin, text),
            AppendError::IncompatibleVersion(version) => {
                Self::new(BAD, ErrorCode::IncompatibleRoomVersion, text)
                    .with("room_version", version.as_str())
            }
            AppendError::NotOpenToPartners | AppendError::PartnersMakeNone => Self::forbidden(text),
            AppendError::Suspended => super::accounts::suspended(text),
            AppendError::GuestsForbidden => {
                Self::new(StatusCode::FORBIDDEN, ErrorCode::GuestAccessForbidden, text)
            }
            AppendError::InviteBlocked => {
                Self::new(StatusCode::FORBIDDEN, ErrorCode::InviteBlocked, text)
            }
            AppendError::Policy(error) => error.into(),
            AppendError::Unresolved(detail) => Self::internal(detail),
            AppendError::Store(error) => error.into(),
        }
    }
}

/// What a policy server says goes to the client as it is, unless clients would take it for
/// this server's word about their session.
impl From<PolicyError> for ApiError {
    fn from(error: PolicyError) -> Self {
        let text = sentence(&error);
        let PolicyError::Refused {
            status,
            errcode,
            message,
        } = error
        else {
            return Self::new(StatusCode::BAD_GATEWAY, ErrorCode::Unknown, text);
        };
        let errcode = errcode.map(ErrorCode::from);
        match (status, errcode) {
            (400 | 403 | 404 | 429, Some(errcode)) if !is_about_sessions(&errcode) => {
                let status = StatusCode::from_u16(status).unwrap_or(BAD);
                Self::new(status, errcode, message)
            }
            (400..500, _) => Self::forbidden(message),
            _ => Self::new(StatusCode::BAD_GATEWAY, ErrorCode::Unknown, message),
        }
    }
}

/// Whether clients end or change their session when they see this code.
fn is_about_sessions(errcode: &ErrorCode) -> bool {
    matches!(
        errcode.as_str(),
        "M_UNKNOWN_TOKEN"
            | "M_MISSING_TOKEN"
            | "M_USER_LOCKED"
            | "M_USER_SUSPENDED"
            | "M_USER_DEACTIVATED"
            | "M_CONSENT_NOT_GIVEN"
            | "M_GUEST_ACCESS_FORBIDDEN"
            | "M_RESOURCE_LIMIT_EXCEEDED"
    )
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        let text = sentence(&error);
        match error {
            ReadError::Forbidden(_) => Self::forbidden(text),
            ReadError::NotFound(_) => Self::not_found(text),
            ReadError::Invalid(_) => Self::invalid_param(text),
            ReadError::Partial => Self::unavailable(text),
            ReadError::PartialForServer => {
                let code = "ORG.MATRIX.MSC3895_UNABLE_DUE_TO_PARTIAL_STATE".into();
                Self::new(StatusCode::FORBIDDEN, code, text)
            }
            // What is in the database was checked before: it is damaged.
            ReadError::Event(reason) => Self::internal(reason),
            ReadError::Store(error) => error.into(),
        }
    }
}

impl From<SyncError> for ApiError {
    fn from(error: SyncError) -> Self {
        let text = sentence(&error);
        match error {
            SyncError::Invalid(_) => Self::invalid_param(text),
            // ruma knows this code only with its features for unstable endpoints.
            SyncError::UnknownPosition => Self::new(BAD, "M_UNKNOWN_POS".into(), text),
            SyncError::Read(error) => error.into(),
            SyncError::Store(error) => error.into(),
        }
    }
}

impl From<SearchError> for ApiError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Invalid(text) => Self::invalid_param(sentence(&text)),
            SearchError::Read(error) => error.into(),
            SearchError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_refuse_in_the_words_of_the_specification() {
        for (error, status, errcode) in [
            (AppendError::UnknownRoom, 403, "M_FORBIDDEN"),
            (AppendError::UnknownTarget, 404, "M_NOT_FOUND"),
            (AppendError::Invalid("x".into()), 400, "M_INVALID_PARAM"),
            (AppendError::AliasTaken("#a:b".into()), 400, "M_ROOM_IN_USE"),
            (AppendError::BadAlias("x".into()), 400, "M_BAD_ALIAS"),
            (
                AppendError::InvalidRoomState("x".into()),
                400,
                "M_INVALID_ROOM_STATE",
            ),
            (AppendError::BadState("x".into()), 400, "M_UNKNOWN"),
            (
                AppendError::UnableToAuthoriseJoin,
                400,
                "M_UNABLE_TO_AUTHORISE_JOIN",
            ),
            (
                AppendError::UnableToGrantJoin,
                400,
                "M_UNABLE_TO_GRANT_JOIN",
            ),
            (Reason::Forbidden("x".into()).into(), 403, "M_FORBIDDEN"),
            (
                Reason::TooLarge {
                    what: "the event",
                    limit: 65_536,
                }
                .into(),
                413,
                "M_TOO_LARGE",
            ),
            (Reason::BadFormat("x".into()).into(), 400, "M_BAD_JSON"),
            (
                Reason::UnsupportedVersion("99".into()).into(),
                400,
                "M_UNSUPPORTED_ROOM_VERSION",
            ),
            (Reason::Damaged("x".into()).into(), 500, "M_UNKNOWN"),
        ] {
            let error = ApiError::from(error);
            assert_eq!(error.status(), status, "{error}");
            assert_eq!(
                error.errcode().map(ErrorCode::as_str),
                Some(errcode),
                "{error}"
            );
        }
        let hidden = ApiError::from(ReadError::Event(Reason::NotJson("x".into())));
        assert_eq!(hidden.status(), 500);
    }
}
