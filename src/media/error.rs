//! What can go wrong with files, named by what the caller can do.

use std::{io, sync::Arc};

use runtime::LaneError;
use store::StoreError;

/// The disk or the machinery failed: nobody's request is wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// A file cannot be read or written.
    #[error("a media file cannot be used: {0}")]
    File(Arc<io::Error>),
    /// The bytes of a file that the database knows are not on disk.
    #[error("the bytes of a media file are missing: {0}")]
    Missing(String),
    /// Hardly any disk space is left.
    #[error("the disk is nearly full: uploads are refused")]
    DiskFull,
    /// Too much waits already, or the server stops.
    #[error(transparent)]
    Busy(#[from] LaneError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::File(Arc::new(error)),
        }
    }
}

/// Why a file was not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UploadError {
    /// The uploader has as much as one may have (`M_FORBIDDEN`).
    #[error("you have uploaded as much as this server stores for one person")]
    Quota,
    /// The uploader is not in the room that the file is said to be for (`M_FORBIDDEN`).
    #[error("you are not in the room that this file is for")]
    NotInRoom,
    /// An administrator has suspended the uploader's account (403 `M_USER_SUSPENDED`).
    #[error("you cannot do this while your account is suspended")]
    Suspended,
    /// Somebody else announced this upload (`M_FORBIDDEN`).
    #[error("somebody else announced this upload")]
    NotYours,
    /// The media id was not announced, or too long ago (`M_NOT_FOUND`).
    #[error("this media id was not made here, or its time is over")]
    UnknownId,
    /// The media id has its content already (`M_CANNOT_OVERWRITE_MEDIA`).
    #[error("this media id has content already, which never changes")]
    Exists,
    /// The name or content type is too long (`M_INVALID_PARAM`).
    #[error("{0}")]
    Invalid(&'static str),
    /// The uploader has too many uploads under way or announced (`M_LIMIT_EXCEEDED`).
    #[error("too many of your uploads are under way or announced")]
    TooMany {
        /// In how many ms it may work.
        retry_after: u64,
    },
    /// The disk or the database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a file or a thumbnail is not given.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DownloadError {
    /// There is no such file here, or it is not for this caller (`M_NOT_FOUND`).
    #[error("there is no such file on this server")]
    NotFound,
    /// An administrator has put it into quarantine: told as if it were not there
    /// (`M_NOT_FOUND`).
    #[error("there is no such file on this server")]
    Quarantined,
    /// It was announced and has not come in time (`M_NOT_YET_UPLOADED`).
    #[error("this file has not been uploaded yet")]
    NotYetUploaded,
    /// The size or method asked for makes no sense (`M_INVALID_PARAM`).
    #[error("{0}")]
    Invalid(&'static str),
    /// It is no image that can be made smaller, or a damaged one (`M_UNKNOWN`).
    #[error(
        "no thumbnail can be made of this file: it is not a whole JPEG, PNG, GIF or WebP image"
    )]
    NoImage,
    /// The image is too large to be made smaller (`M_TOO_LARGE`).
    #[error("this image is too large for a thumbnail")]
    ImageTooLarge,
    /// The caller has too many downloads under way (`M_LIMIT_EXCEEDED`).
    #[error("too many of your downloads are under way")]
    TooMany,
    /// The disk or the database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

macro_rules! storage_errors {
    ($($error:ty: $($source:ty),+;)+) => {$($(
        impl From<$source> for $error {
            fn from(error: $source) -> Self {
                Self::Storage(error.into())
            }
        }
    )+)+};
}

storage_errors! {
    UploadError: StoreError, LaneError, io::Error;
    DownloadError: StoreError, LaneError, io::Error;
}
