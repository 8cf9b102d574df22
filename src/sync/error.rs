//! Why a sync has no answer.

use rooms::ReadError;
use store::StoreError;

/// Why a sync has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A token or filter in the request is not usable.
    #[error("{0}")]
    Invalid(String),
    /// The connection is not known to stand where the client says: it must begin anew.
    #[error("this position is not known; begin a new connection")]
    UnknownPosition,
    /// A room could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
