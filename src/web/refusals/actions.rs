//! What goes wrong with what a person does across domains.

use std::time::Duration;

use accounts::{DepartmentError, ImportError, InvitationError};
use actions::{
    AdministrationError, ContactError, DeactivateError, FileModerationError, FilesError,
    FindPeopleError, HandshakeError, ModerationError, NoticeError, PeopleError, ResolveError,
    SetProfileError, TransactionError,
};
use http::StatusCode;
use peers::PeerError;
use rooms::RegisterError;
use ruma_common::api::error::ErrorCode;

use super::sentence;
use crate::ApiError;

/// How long a server waits that sends more than is taken.
const TRANSACTIONS_AGAIN: Duration = Duration::from_secs(5);

impl From<FindPeopleError> for ApiError {
    fn from(error: FindPeopleError) -> Self {
        match error {
            FindPeopleError::Partner => Self::forbidden(sentence(&error)),
            FindPeopleError::Store(error) => error.into(),
        }
    }
}

impl From<TransactionError> for ApiError {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Invalid(_) => Self::invalid_param(sentence(&error)),
            TransactionError::Busy => Self::limit_exceeded(TRANSACTIONS_AGAIN),
            TransactionError::Store(error) => error.into(),
        }
    }
}

impl From<NoticeError> for ApiError {
    fn from(error: NoticeError) -> Self {
        match error {
            NoticeError::Denied(_) => Self::forbidden(sentence(&error)),
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

impl From<AdministrationError> for ApiError {
    fn from(error: AdministrationError) -> Self {
        let text = sentence(&error);
        match error {
            AdministrationError::Denied(_) | AdministrationError::Oneself => Self::forbidden(text),
            AdministrationError::UnknownUser(_)
            | AdministrationError::UnknownReport(_)
            | AdministrationError::UnknownRoom(_)
            | AdministrationError::UnknownEvent(_)
            | AdministrationError::NotFound(_)
            | AdministrationError::Unregistered(
                RegisterError::UnknownRoom | RegisterError::UnknownPerson,
            )
            | AdministrationError::Invitation(InvitationError::NotFound) => Self::not_found(text),
            AdministrationError::Register(error) => error.into(),
            AdministrationError::Password(error) => error.into(),
            AdministrationError::SecondFactor(error) => error.into(),
            AdministrationError::Account(error) => error.into(),
            AdministrationError::Deactivate(error) => error.into(),
            AdministrationError::Files(error) => error.into(),
            AdministrationError::Email(error) => error.into(),
            AdministrationError::Profile(error) => error.into(),
            AdministrationError::Device(error) => error.into(),
            AdministrationError::Room(error) => error.into(),
            AdministrationError::Entry(error) => error.into(),
            AdministrationError::Store(error)
            | AdministrationError::Unregistered(RegisterError::Store(error))
            | AdministrationError::Invitation(InvitationError::Store(error)) => error.into(),
            AdministrationError::People(PeopleError::Department(DepartmentError::NotFound(_))) => {
                Self::not_found(text)
            }
            AdministrationError::People(PeopleError::Import(ImportError::Store(error))) => {
                error.into()
            }
            AdministrationError::People(_)
            | AdministrationError::ServerName(_)
            | AdministrationError::OwnServer
            | AdministrationError::Hash(_)
            | AdministrationError::NotLocal
            | AdministrationError::EmailAddress(_)
            | AdministrationError::NoPower
            | AdministrationError::NoReason
            | AdministrationError::LowerMarking(_)
            | AdministrationError::Invitation(InvitationError::TooMany)
            | AdministrationError::PeerList(_) => Self::invalid_param(text),
            AdministrationError::Unsigned(_) => Self::internal(text),
        }
    }
}

impl From<FileModerationError> for ApiError {
    fn from(error: FileModerationError) -> Self {
        let text = sentence(&error);
        match error {
            FileModerationError::Denied(_) => Self::forbidden(text),
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
            ModerationError::Denied(_) | ModerationError::Forbidden(_) => Self::forbidden(text),
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

impl From<HandshakeError> for ApiError {
    fn from(error: HandshakeError) -> Self {
        let text = sentence(&error);
        match error {
            HandshakeError::Append(error) => error.into(),
            HandshakeError::Alias(error) => error.into(),
            HandshakeError::Peer(error) => told_by_peer(error),
            HandshakeError::NoServer => Self::not_found(text),
            HandshakeError::Invalid(_) => Self::invalid_param(text),
            HandshakeError::Unusable(_) | HandshakeError::Rejected(_) => Self::forbidden(text),
            HandshakeError::UnknownVersion(version) => Self::new(
                StatusCode::BAD_REQUEST,
                ErrorCode::IncompatibleRoomVersion,
                text,
            )
            .with("room_version", version),
        }
    }
}

/// What another server says about a membership that somebody asked for: its reasons are
/// handed on (server-server API, "Joining Rooms").
fn told_by_peer(error: PeerError) -> ApiError {
    const HANDED_ON: [&str; 7] = [
        "M_FORBIDDEN",
        "M_INCOMPATIBLE_ROOM_VERSION",
        "M_INVITE_BLOCKED",
        "M_NOT_FOUND",
        "M_UNABLE_TO_AUTHORISE_JOIN",
        "M_UNABLE_TO_GRANT_JOIN",
        "M_UNSUPPORTED_ROOM_VERSION",
    ];
    match &error {
        PeerError::Status {
            status,
            errcode: Some(errcode),
            message,
        } if status.is_client_error() && HANDED_ON.contains(&errcode.as_str()) => {
            ApiError::new(*status, errcode.as_str().into(), sentence(message))
        }
        PeerError::Refused(_) => error.into(),
        _ => ApiError::new(
            StatusCode::BAD_GATEWAY,
            ErrorCode::Unknown,
            sentence(&error),
        ),
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
