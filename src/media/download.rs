//! Downloads: a file is looked up and opened, then read in pieces.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use model::{MediaState, StoredContent, UserSerial, media_scope, tables::MEDIA_BY_ID};
use ruma_common::ServerName;
use runtime::LaneError;
use store::{Read as _, Snapshot};
use tokio::time::{Instant, sleep_until};

use crate::{
    DownloadError, Media, PIECE_BYTES, StorageError,
    folder::Folder,
    id,
    original::{MAX_ROW_BYTES, Original},
    quarantine,
    running::Running,
};

/// The longest wait for a file that was announced.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// No user has this serial: the downloads of other servers count under it.
const SERVERS: UserSerial = UserSerial(0);

/// Who asks for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// Somebody who is signed in, and may see every file.
    User(UserSerial),
    /// Another server, which may see every file of this one.
    Server,
    /// Anybody, who may see what was uploaded here before a freeze
    /// (`media.unauthenticated_until`); other servers' files, too, if there is none.
    Anybody,
}

/// Whether the bytes will be wanted from the first one on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eagerness {
    /// Most likely: the first piece is read while the file is opened.
    ReadFirstPiece,
    /// Perhaps others, or none.
    OpenOnly,
}

/// A file or thumbnail that was found and can be read.
pub struct StoredFile {
    media: Media,
    file: Arc<Original>,
    /// How many bytes it has.
    pub length: u64,
    /// The `Content-Type` that its uploader gave; of thumbnails, their true one. Empty
    /// if the uploader gave none.
    pub content_type: String,
    /// The name that its uploader gave; of thumbnails, one that fits their type.
    pub filename: Option<String>,
    /// Tells these bytes from all others: letters, digits, `-` and `_`.
    pub tag: String,
    /// The first piece, if it was read at once.
    first: Option<Bytes>,
    _running: Option<Running>,
}

/// An open file and its first piece.
pub(crate) struct Opened {
    file: Original,
    length: u64,
    first: Option<Bytes>,
}

impl Opened {
    /// Opens a file that must have `length` bytes.
    pub(crate) fn new(
        file: Original,
        length: u64,
        eagerness: Eagerness,
    ) -> Result<Self, StorageError> {
        let first = match eagerness {
            Eagerness::OpenOnly => None,
            Eagerness::ReadFirstPiece => Some(file.piece(0, piece(0, length))?),
        };
        Ok(Self {
            file,
            length,
            first,
        })
    }

    /// Opens the bytes of a file.
    pub(crate) fn content(
        view: &Snapshot,
        folder: &Folder,
        content: &StoredContent,
        eagerness: Eagerness,
    ) -> Result<Self, StorageError> {
        let file = match content.length {
            // Too long for a row: the database need not be asked.
            length if length > MAX_ROW_BYTES as u64 => {
                Original::File(folder.open_content(&content.hash)?)
            }
            _ => Original::find(view, folder, &content.hash)?,
        };
        Self::new(file, content.length, eagerness)
    }
}

/// How long the piece at `offset` of a file of `length` bytes is.
fn piece(offset: u64, length: u64) -> usize {
    usize::try_from(length.saturating_sub(offset)).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES))
}

impl Media {
    /// Finds a file (`GET /media/download/{serverName}/{mediaId}`). If it was announced
    /// and has not come, waits for it, `wait` or a minute at most.
    ///
    /// # Errors
    /// [`DownloadError`].
    pub async fn download(
        &self,
        viewer: Viewer,
        server_name: &ServerName,
        media_id: &str,
        wait: Duration,
        eagerness: Eagerness,
    ) -> Result<StoredFile, DownloadError> {
        let running = self.begin_download(viewer, server_name, media_id)?;
        let folder = self.inner.folder.clone();
        let open = move |view: &Snapshot, content: StoredContent| {
            let opened = Opened::content(view, &folder, &content, eagerness)?;
            Ok((content, opened))
        };
        let place = (server_name, media_id);
        let (content, opened) = self.when_uploaded(viewer, place, wait, open).await?;
        let tag = tag(&content.hash);
        let (content_type, filename) = (content.content_type, content.filename);
        Ok(self.file(opened, content_type, filename, tag, running))
    }

    pub(crate) fn file(
        &self,
        opened: Opened,
        content_type: String,
        filename: Option<String>,
        tag: String,
        running: Option<Running>,
    ) -> StoredFile {
        StoredFile {
            media: self.clone(),
            file: Arc::new(opened.file),
            length: opened.length,
            content_type,
            filename,
            tag,
            first: opened.first,
            _running: running,
        }
    }

    /// Whether files are given to anybody, signed in or not, however new they are
    /// (`media.unauthenticated_until` is "always").
    pub fn is_open_to_all(&self) -> bool {
        self.inner.open_before == u64::MAX
    }

    /// Counts a download for whoever is signed in, and refuses what cannot be there.
    pub(crate) fn begin_download(
        &self,
        viewer: Viewer,
        server_name: &ServerName,
        media_id: &str,
    ) -> Result<Option<Running>, DownloadError> {
        let is_own = self.is_own(server_name);
        let is_valid = match is_own {
            true => id::is_valid(media_id),
            false => id::is_valid_remote(media_id),
        };
        if !is_valid {
            return Err(DownloadError::NotFound);
        }
        match viewer {
            Viewer::Server if !is_own => Err(DownloadError::NotFound),
            // Other servers give their files to those whom they trust to ask who is asking.
            Viewer::Anybody if !is_own && !self.is_open_to_all() => Err(DownloadError::NotFound),
            Viewer::Anybody if self.inner.open_before == 0 => Err(DownloadError::NotFound),
            Viewer::Anybody => Ok(None),
            Viewer::User(user) => self.count(user),
            // All together: each has a limit of requests as well.
            Viewer::Server => self.count(SERVERS),
        }
    }

    fn count(&self, user: UserSerial) -> Result<Option<Running>, DownloadError> {
        let running = self.inner.downloads.begin(user);
        running.map(Some).ok_or(DownloadError::TooMany)
    }

    /// Calls `open` with what is stored under a media id, on a thread that may read
    /// files; waits for it if it was announced.
    pub(crate) async fn when_uploaded<T, F>(
        &self,
        viewer: Viewer,
        (server_name, media_id): (&ServerName, &str),
        wait: Duration,
        open: F,
    ) -> Result<T, DownloadError>
    where
        T: Send + 'static,
        F: Fn(&Snapshot, StoredContent) -> Result<T, DownloadError> + Clone + Send + 'static,
    {
        if !self.is_own(server_name) {
            return self.look_remote(server_name, media_id, open).await;
        }
        if let Some(opened) = self.look(viewer, media_id, open.clone()).await? {
            return Ok(opened);
        }
        // Subscribed before it is looked at again, so that nothing comes in between.
        let mut watch = self.store().watch(&[media_scope(media_id)]);
        let deadline = Instant::now() + wait.min(LONGEST_WAIT);
        loop {
            if let Some(opened) = self.look(viewer, media_id, open.clone()).await? {
                return Ok(opened);
            }
            tokio::select! {
                () = watch.changed() => {}
                () = sleep_until(deadline) => return Err(DownloadError::NotYetUploaded),
                () = self.inner.stop.stopped() => return Err(DownloadError::NotYetUploaded),
            }
        }
    }

    /// None if the file has not come yet.
    async fn look<T, F>(
        &self,
        viewer: Viewer,
        media_id: &str,
        open: F,
    ) -> Result<Option<T>, DownloadError>
    where
        T: Send + 'static,
        F: FnOnce(&Snapshot, StoredContent) -> Result<T, DownloadError> + Send + 'static,
    {
        let (view, media_id, now) = (self.store().snapshot(), media_id.to_owned(), self.now());
        let open_before = self.inner.open_before;
        let look = move || {
            let record = view.get(&MEDIA_BY_ID, &media_id)?;
            let hidden = viewer == Viewer::Anybody;
            match record.ok_or(DownloadError::NotFound)?.state {
                MediaState::Pending { expires_at }
                    if expires_at <= now || hidden && open_before <= now =>
                {
                    Err(DownloadError::NotFound)
                }
                MediaState::Pending { .. } => Ok(None),
                MediaState::Stored(content) if hidden && content.uploaded_at >= open_before => {
                    Err(DownloadError::NotFound)
                }
                MediaState::Stored(content) => {
                    quarantine::check(&view, &content.hash)?;
                    open(&view, content).map(Some)
                }
            }
        };
        self.inner.readers.run(look).await?
    }
}

impl StoredFile {
    /// The bytes from `offset` on, up to `end` or a piece's length. Waits while others
    /// read.
    ///
    /// # Errors
    /// If the file cannot be read, or is shorter than it should be.
    pub async fn read(&self, offset: u64, end: u64) -> Result<Bytes, StorageError> {
        if offset == 0
            && let Some(first) = &self.first
        {
            let wanted = usize::try_from(end).map_or(first.len(), |end| end.min(first.len()));
            return Ok(first.slice(..wanted));
        }
        let permit = self.media.inner.pieces.acquire().await;
        let _permit = permit.map_err(|_| LaneError::Stopped)?;
        let (file, length) = (self.file.clone(), piece(offset, end.min(self.length)));
        let read = move || file.piece(offset, length);
        Ok(self.media.inner.readers.run(read).await??)
    }

    /// All bytes, if they were read already.
    pub fn whole(&self) -> Option<Bytes> {
        let first = self.first.as_ref()?;
        (first.len() as u64 == self.length).then(|| first.clone())
    }
}

/// Half of a hash as text.
pub(crate) fn tag(hash: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(&hash[..16])
}
