//! Records of files: what was uploaded, by whom, and what its bytes are.

use serde::{Deserialize, Serialize};

use crate::{RoomSerial, UserSerial, record::stored};

/// The SHA-256 of a file's bytes, which is also its name on disk.
pub type ContentHash = [u8; 32];

/// A file, or the promise of one, under one media id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaRecord {
    /// Who uploaded it, or is to.
    pub uploader: UserSerial,
    /// The device with which that was done, which may have been deleted since.
    pub device_id: String,
    /// When the media id was made, in ms since the Unix epoch.
    pub created_at: u64,
    /// The room that it was uploaded for, if the client said so.
    pub room: Option<RoomSerial>,
    /// Whether its bytes are there.
    pub state: MediaState,
}

/// Whether a file's bytes are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaState {
    /// Not yet.
    Pending {
        /// When the promise ends, in ms since the Unix epoch.
        expires_at: u64,
    },
    /// They are, and never change.
    Stored(StoredContent),
}

/// The bytes of a file and what its uploader said of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredContent {
    /// Which bytes.
    pub hash: ContentHash,
    /// How many.
    pub length: u64,
    /// The `Content-Type` that the client gave; empty if it gave none.
    pub content_type: String,
    /// The name that the client gave.
    pub filename: Option<String>,
    /// When the bytes were there, in ms since the Unix epoch.
    pub uploaded_at: u64,
}

/// A file of another server that was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteMediaRecord {
    /// Its bytes, and what its server said of them. Uploaded is when they were fetched.
    pub content: StoredContent,
}

/// Who has put some bytes into quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRecord {
    /// The administrator's user id; the command line if `None`.
    pub by: Option<String>,
    /// When, in ms since the Unix epoch.
    pub at: u64,
}

/// How much a user has uploaded. The same bytes under two ids count twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaUsageRecord {
    /// Files.
    pub files: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// What is known about one thumbnail of some content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ThumbnailRecord {
    /// It lies in the cache.
    Made {
        /// What kind of image it is.
        format: ImageFormat,
        /// Its length in bytes.
        length: u64,
        /// When it was made, in ms since the Unix epoch.
        made_at: u64,
    },
    /// The content itself is small enough.
    Original {
        /// What kind of image it is.
        format: ImageFormat,
        /// When that was found, in ms since the Unix epoch.
        made_at: u64,
    },
    /// The content does not move: the still thumbnail of this size is meant.
    Still {
        /// When that was found, in ms since the Unix epoch.
        made_at: u64,
    },
    /// None can be made.
    Refused {
        /// Whether the image is too large, rather than none or damaged.
        too_large: bool,
        /// When that was found, in ms since the Unix epoch.
        made_at: u64,
    },
}

/// That a file was put into quarantine, or taken out of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineChangeRecord {
    /// The file's `mxc://` URI.
    pub file: String,
    /// Whether it is in quarantine from then on.
    pub is_quarantined: bool,
}

/// The kinds of image that are looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ImageFormat {
    /// JPEG.
    Jpeg,
    /// PNG, and APNG.
    Png,
    /// GIF.
    Gif,
    /// WebP.
    Webp,
}

stored! {
    MediaRecord = 1,
    MediaUsageRecord = 1,
    QuarantineRecord = 1,
    QuarantineChangeRecord = 1,
    RemoteMediaRecord = 1,
    ThumbnailRecord = 1,
}
