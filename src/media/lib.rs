//! Files that people upload, and their thumbnails.
//!
//! Place in the order: the domain floor. It stands on `model`, `store` and `runtime`,
//! and knows neither rooms nor accounts nor HTTP. It holds the files of this server, and
//! as a cache those of others, which `actions` fetches ([`Media::keep`]).
//!
//! - The same bytes are stored once, under their SHA-256 ([`mod@folder`]). A media id is a
//!   row that names them; ids are random, hashes are never told.
//! - A small file is a row of the database ([`mod@original`]); what follows is about the
//!   others.
//! - Bytes are on disk, under their last name, before the row that names them is
//!   committed. What an upload left behind that never got so far is removed: files
//!   that were not finished at start, bytes that no row names by [`Media::sweep`].
//! - Bytes go through in pieces ([`PIECE_BYTES`]), read and written by lanes of a few
//!   threads; no file is ever in memory whole but an image that is made smaller, one
//!   at a time (`thumbnails.rs` says what that may take).
//! - An administrator can put bytes into quarantine ([`mod@quarantine`]): no file that has
//!   them is given out, whoever uploads it and whenever.
//! - Whoever is signed in may fetch every file whose id is known, as the specification
//!   has it (client-server API, "Content repository"). Files of deactivated users stay.
//!
//! Never here: a name given by a client as part of a path, a decision about bytes that
//! trusts what their uploader said they are.

mod delete;
mod download;
mod error;
mod folder;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod id;
mod in_flight;
mod listing;
mod options;
mod original;
mod quarantine;
mod remote;
mod running;
#[cfg(test)]
#[path = "../../tests/fuzz/seeds.rs"]
mod seeds;
mod sweep;
mod thumbnails;
mod upload;

#[cfg(test)]
mod tests;

use std::{io, path::PathBuf, sync::Arc};

use model::UserSerial;
use ruma_common::{OwnedServerName, ServerName};
use runtime::{Clock, Lane, Metrics, OpenFiles, Random, Stop};
use store::Store;
use tokio::sync::Semaphore;

pub use self::{
    download::{Eagerness, StoredFile, Viewer},
    error::{DownloadError, StorageError, UploadError},
    listing::{FileFacts, FileName, FilesPage, Order},
    options::{MediaOptions, OptionsError},
    quarantine::{parse_hash, quarantine_changes},
    remote::{RemoteFile, is_media_id},
    thumbnails::{ImageSize, ThumbnailMethod, ThumbnailRequest, image_size},
    upload::{Announced, FileDescription, Upload, Uploader},
};
use self::{folder::Folder, in_flight::InFlight, running::Counter, thumbnails::Thumbnails};

/// The files that belong to no person: copies of pictures on web pages. They count for nobody.
pub const NOBODY: UserSerial = UserSerial(0);

/// How many bytes of a file are in memory at once, for each upload and download.
pub const PIECE_BYTES: usize = 256 * 1_024;

/// Threads that write files, most of which wait for the disk.
const WRITERS: usize = 8;
/// Threads that read files and look up their rows.
const READERS: usize = 4;
/// How many writes, and how many reads, may wait.
const QUEUE: usize = 1_024;
/// How many pieces of downloads may wait for a reader; further ones wait for that.
const WAITING_PIECES: usize = 512;
/// How many uploads of one person may be under way.
const UPLOADS_PER_USER: usize = 32;
/// How many downloads of one person may be under way.
const DOWNLOADS_PER_USER: usize = 256;

/// What [`Media`] is made of.
pub struct MediaParts {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Chance, for media ids.
    pub random: Random,
    /// The name of this server.
    pub server_name: OwnedServerName,
    /// The folder for files, in the data folder; made if it is not there.
    pub folder: PathBuf,
    /// What the administrator chose.
    pub options: MediaOptions,
    /// Where the lanes are measured.
    pub metrics: Metrics,
    /// Ends the waiting for files that are still to come.
    pub stop: Stop,
}

/// Why the files of a server cannot be opened. Each reads as one sentence for a person.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made, read or written.
    #[error("the folder for files {} cannot be used: {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's word for it.
        reason: io::Error,
    },
    /// An option is wrong.
    #[error(transparent)]
    Options(#[from] OptionsError),
}

/// The files of this server. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Media {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    clock: Clock,
    random: Random,
    server_name: OwnedServerName,
    options: MediaOptions,
    /// Files uploaded before this can be had without an access token.
    open_before: u64,
    folder: Arc<Folder>,
    in_flight: InFlight,
    writers: Lane,
    readers: Lane,
    pieces: Semaphore,
    uploads: Counter,
    downloads: Counter,
    thumbnails: Thumbnails,
    stop: Stop,
}

impl Media {
    /// Opens the files of this server, and removes what an earlier run did not finish.
    /// Nobody else may use the folder meanwhile: the caller holds the data folder.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(parts: MediaParts) -> Result<Self, OpenError> {
        let MediaParts {
            folder, options, ..
        } = parts;
        let open_before = options.open_before()?;
        let opened = Folder::open(
            folder.clone(),
            parts.random.clone(),
            options.reserved_disk_bytes,
            OpenFiles::of_this_process().media(),
        );
        let opened = opened.map_err(|reason| OpenError::Folder {
            path: folder,
            reason,
        })?;
        let lane = |name, width| Lane::measured(name, width, QUEUE, &parts.metrics);
        Ok(Self {
            inner: Arc::new(Inner {
                writers: lane("media-write", WRITERS),
                readers: lane("media-read", READERS),
                thumbnails: Thumbnails::new(&parts.metrics),
                store: parts.store,
                clock: parts.clock,
                random: parts.random,
                server_name: parts.server_name,
                options,
                open_before,
                folder: Arc::new(opened),
                in_flight: InFlight::default(),
                pieces: Semaphore::new(WAITING_PIECES),
                uploads: Counter::new(UPLOADS_PER_USER),
                downloads: Counter::new(DOWNLOADS_PER_USER),
                stop: parts.stop,
            }),
        })
    }

    /// The `mxc://` URI of one of this server's files.
    pub fn uri(&self, media_id: &str) -> String {
        format!("mxc://{}/{media_id}", self.inner.server_name)
    }

    /// The name of this server.
    pub fn server_name(&self) -> &ServerName {
        &self.inner.server_name
    }

    fn is_own(&self, server_name: &ServerName) -> bool {
        server_name == self.inner.server_name
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    fn now(&self) -> u64 {
        self.inner.clock.now().0
    }
}
