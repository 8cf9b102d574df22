//! What rooms refuse.

use graph::Reason;
use store::StoreError;

use crate::PolicyError;

/// Why an event did not enter a room, or another change was not made. Nothing was
/// written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The room's rules, or the event's own form, do not allow it.
    #[error(transparent)]
    Refused(#[from] Reason),
    /// The caller may not do this, whatever the room's rules say (`M_FORBIDDEN`).
    #[error("{0}")]
    Forbidden(String),
    /// There is no such room here, or the caller may not know of it (`M_FORBIDDEN`).
    #[error("this room is not known here, or you are not in it")]
    UnknownRoom,
    /// There is no such thing here (`M_NOT_FOUND`).
    #[error("{0}")]
    NotFound(String),
    /// A value in the request is not usable (`M_INVALID_PARAM`).
    #[error("{0}")]
    Invalid(String),
    /// The alias exists already (`M_ROOM_IN_USE` for a new room, 409 `M_UNKNOWN` for an
    /// alias alone).
    #[error("the alias {0} is in use already")]
    AliasTaken(String),
    /// The alias does not name this room (`M_BAD_ALIAS`).
    #[error("{0}")]
    BadAlias(String),
    /// The initial state of a new room contradicts itself (`M_INVALID_ROOM_STATE`).
    #[error("the room cannot begin like this: {0}")]
    InvalidRoomState(String),
    /// The room's state is not the one that this needs: a room that is to be forgotten
    /// and was not left (`M_UNKNOWN`).
    #[error("{0}")]
    BadState(String),
    /// The server speaks in this room: nobody refuses the invitation
    /// (403 `M_CANNOT_LEAVE_SERVER_NOTICE_ROOM`).
    #[error("the invitation to the server's notices cannot be refused")]
    NoticeRoom,
    /// The redacted event is not in the room (`M_NOT_FOUND`).
    #[error("the event to redact is not in this room")]
    UnknownTarget,
    /// The user has annotated the event like this already (`M_DUPLICATE_ANNOTATION`).
    #[error("you have sent this annotation already")]
    DuplicateAnnotation,
    /// The user must be in another room to join, and this server knows none of those that
    /// count (`M_UNABLE_TO_AUTHORISE_JOIN`).
    #[error("this server knows none of the rooms whose members may join this one")]
    UnableToAuthoriseJoin,
    /// The user is in a room that counts, but nobody here may let the user in
    /// (`M_UNABLE_TO_GRANT_JOIN`).
    #[error("nobody of this server who is in the room may let you in")]
    UnableToGrantJoin,
    /// Another server does not know the room's version
    /// (400 `M_INCOMPATIBLE_ROOM_VERSION`).
    #[error("the room has version {0}")]
    IncompatibleVersion(graph::Version),
    /// An administrator has suspended the sender's account (403 `M_USER_SUSPENDED`).
    #[error("you cannot do this while your account is suspended")]
    Suspended,
    /// The room lets no guests in (403 `M_GUEST_ACCESS_FORBIDDEN`).
    #[error("guests cannot join this room")]
    GuestsForbidden,
    /// The user takes no invitation of the sender (403 `M_INVITE_BLOCKED`).
    #[error("this user takes no invitations")]
    InviteBlocked,
    /// The user is a partner, and nobody has opened the room to partners (403 `M_FORBIDDEN`).
    #[error("this room has not been opened to partners: a moderator of this server can do that")]
    NotOpenToPartners,
    /// The user is a partner (403 `M_FORBIDDEN`).
    #[error("partners make no rooms on this server")]
    PartnersMakeNone,
    /// The room's policy server does not recommend the event, or cannot be asked.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The forks of the room's graph cannot be brought together.
    #[error("the state of this room cannot be resolved: {0}")]
    Unresolved(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A write rests on reads: what these refuse, the write refuses too.
impl From<ReadError> for AppendError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Forbidden(text) => Self::Forbidden(text),
            ReadError::NotFound(text) => Self::NotFound(text),
            ReadError::Invalid(text) => Self::Invalid(text),
            ReadError::Event(reason) => Self::Refused(reason),
            ReadError::Partial => Self::Store(StoreError::Busy),
            ReadError::PartialForServer => Self::Forbidden(error.to_string()),
            ReadError::Store(error) => Self::Store(error),
        }
    }
}

/// Why something in a room cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The caller may not see it (`M_FORBIDDEN`).
    #[error("{0}")]
    Forbidden(String),
    /// It is not there, or the caller may not know that it is (`M_NOT_FOUND`).
    #[error("{0}")]
    NotFound(String),
    /// A value in the request is not usable (`M_INVALID_PARAM`).
    #[error("{0}")]
    Invalid(String),
    /// The room's state is known in part only, and does not say yet what is asked (503).
    #[error("the members of this room are still being fetched")]
    Partial,
    /// The same where another server asks (MSC3895).
    #[error("this server does not know the room's state well enough yet")]
    PartialForServer,
    /// An event in the database cannot be read.
    #[error(transparent)]
    Event(#[from] Reason),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
