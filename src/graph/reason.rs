//! Why something was refused.

use thiserror::Error;

/// Why an event, or JSON that should become part of one, is refused. Each text can be shown to the client that asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Reason {
    /// The room's authorisation rules do not allow the event (`M_FORBIDDEN`).
    #[error("{0}")]
    Forbidden(String),
    /// The event, or a field of it, exceeds the size limits of the client-server API, "Size limits" (`M_TOO_LARGE`).
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What is too large: "the event" or the name of a field.
        what: &'static str,
        /// The most bytes that are allowed.
        limit: usize,
    },
    /// The bytes are not JSON (`M_NOT_JSON`).
    #[error("not valid JSON: {0}")]
    NotJson(String),
    /// The JSON cannot be part of an event: a number that canonical JSON does not know, a missing or wrong field (`M_BAD_JSON`).
    #[error("{0}")]
    BadFormat(String),
    /// The room version is unknown (`M_UNSUPPORTED_ROOM_VERSION`).
    #[error("room version {0:?} is not supported")]
    UnsupportedVersion(String),
    /// A signing key's text, name or signature is not valid.
    #[error("{0}")]
    BadKey(String),
    /// An event of this server's own database cannot be read: the database is damaged, nobody's request is wrong.
    #[error("a stored event is damaged: {0}")]
    Damaged(String),
}
