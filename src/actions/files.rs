//! Files of other servers: fetched when somebody asks for them, and kept by `media`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use media::{
    DownloadError, Eagerness, Media, StorageError, StoredFile, ThumbnailRequest, Viewer,
    is_media_id,
};
use outgoing::Begun;
use parking_lot::Mutex;
use peers::{Ask, PeerError, Peers};
use ruma_common::{OwnedServerName, ServerName};
use tokio::sync::Semaphore;

use self::multipart::{FilePart, Multipart};

mod multipart;
#[cfg(any(test, fuzzing))]
pub(crate) use multipart::in_pieces;

/// How long a file may take to come.
const TIME: Duration = Duration::from_secs(300);
/// How many files are fetched at the same time.
const FETCHES: usize = 32;
/// The shortest and the longest wait for another server's file.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(60);

/// Why somebody gets no file.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// It is not here, or cannot be read.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// Its server gave none.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// It takes longer than the client waits; it may be there later.
    #[error("the file is still being fetched from its server")]
    NotYet,
}

impl From<StorageError> for FilesError {
    fn from(error: StorageError) -> Self {
        Self::Download(error.into())
    }
}

/// Who waits for a file that is being fetched already.
type Slot = Arc<tokio::sync::Mutex<()>>;

/// Files of this server and of others. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct Files(Arc<Inner>);

struct Inner {
    media: Media,
    peers: Peers,
    fetching: Mutex<HashMap<(OwnedServerName, String), Slot>>,
    places: Semaphore,
}

/// Which file somebody wants, and how much they want it.
#[derive(Clone, Copy, Debug)]
struct Wanted<'a> {
    viewer: Viewer,
    server: &'a ServerName,
    media_id: &'a str,
    wait: Duration,
    allow_remote: bool,
}

impl Files {
    /// The files that `media` holds, and those that `peers` can give.
    pub fn new(media: Media, peers: Peers) -> Self {
        Self(Arc::new(Inner {
            media,
            peers,
            fetching: Mutex::default(),
            places: Semaphore::new(FETCHES),
        }))
    }

    /// Finds a file as [`Media::download`] does; fetches it if it is another server's, is
    /// not kept yet, and `allow_remote` says so.
    ///
    /// # Errors
    /// [`FilesError`].
    pub async fn download(
        &self,
        viewer: Viewer,
        (server, media_id): (&ServerName, &str),
        wait: Duration,
        allow_remote: bool,
        eagerness: Eagerness,
    ) -> Result<StoredFile, FilesError> {
        let wanted = Wanted {
            viewer,
            server,
            media_id,
            wait,
            allow_remote,
        };
        let look = || {
            let media = &self.0.media;
            media.download(viewer, server, media_id, wait, eagerness)
        };
        self.look_or_fetch(wanted, look).await
    }

    /// Looks for a file, and once more when it was fetched, if it had to be and can be.
    async fn look_or_fetch<L>(
        &self,
        wanted: Wanted<'_>,
        look: impl Fn() -> L,
    ) -> Result<StoredFile, FilesError>
    where
        L: Future<Output = Result<StoredFile, DownloadError>>,
    {
        match look().await {
            Err(DownloadError::NotFound) if self.can_be_fetched(wanted) => {
                self.fetch(wanted).await?;
                Ok(look().await?)
            }
            found => Ok(found?),
        }
    }

    /// Finds a thumbnail as [`Media::thumbnail`] does; of another server's file it is made
    /// here, so that the file is fetched once for all sizes.
    ///
    /// # Errors
    /// [`FilesError`].
    pub async fn thumbnail(
        &self,
        viewer: Viewer,
        (server, media_id): (&ServerName, &str),
        request: ThumbnailRequest,
        wait: Duration,
        allow_remote: bool,
        eagerness: Eagerness,
    ) -> Result<StoredFile, FilesError> {
        let wanted = Wanted {
            viewer,
            server,
            media_id,
            wait,
            allow_remote,
        };
        let look = || {
            let media = &self.0.media;
            media.thumbnail(viewer, server, media_id, request, wait, eagerness)
        };
        self.look_or_fetch(wanted, look).await
    }

    fn can_be_fetched(&self, wanted: Wanted<'_>) -> bool {
        let may_ask = match wanted.viewer {
            Viewer::User(_) => true,
            Viewer::Anybody => self.0.media.is_open_to_all(),
            Viewer::Server => false,
        };
        let is_remote = wanted.server != self.0.media.server_name();
        may_ask && is_remote && wanted.allow_remote && is_media_id(wanted.media_id)
    }

    /// Fetches a file, or waits until whoever does so already has done it.
    async fn fetch(&self, wanted: Wanted<'_>) -> Result<(), FilesError> {
        let key = (wanted.server.to_owned(), wanted.media_id.to_owned());
        let slot = self
            .0
            .fetching
            .lock()
            .entry(key.clone())
            .or_default()
            .clone();
        let fetched = tokio::time::timeout(wanted.wait.clamp(SHORTEST, LONGEST), async {
            let _turn = slot.lock().await;
            if self.is_kept(wanted).await? {
                return Ok(());
            }
            let _place = self.0.places.acquire().await;
            self.receive(wanted).await
        })
        .await;
        drop(slot);
        let mut fetching = self.0.fetching.lock();
        if fetching
            .get(&key)
            .is_some_and(|slot| Arc::strong_count(slot) == 1)
        {
            fetching.remove(&key);
        }
        fetched.unwrap_or(Err(FilesError::NotYet))
    }

    async fn is_kept(&self, wanted: Wanted<'_>) -> Result<bool, FilesError> {
        let Wanted {
            viewer,
            server,
            media_id,
            ..
        } = wanted;
        let media = &self.0.media;
        let look = media.download(
            viewer,
            server,
            media_id,
            Duration::ZERO,
            Eagerness::OpenOnly,
        );
        match look.await {
            Ok(_) => Ok(true),
            Err(DownloadError::NotFound) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a file from its server (server-server API, "Content Repository").
    async fn receive(&self, wanted: Wanted<'_>) -> Result<(), FilesError> {
        let Wanted {
            server, media_id, ..
        } = wanted;
        let (peers, media) = (&self.0.peers, &self.0.media);
        let limit = usize::try_from(media.max_remote_bytes()).unwrap_or(usize::MAX);
        // The parts around the file come on top of it.
        let ask = Ask::new("media")
            .within(TIME)
            .up_to(limit.saturating_add(multipart::AROUND));
        let wait = wanted.wait.clamp(SHORTEST, LONGEST).as_millis();
        let path = format!("/_matrix/federation/v1/media/download/{media_id}?timeout_ms={wait}");
        let begun = match peers.begin(server, &path, ask).await {
            Err(error) if is_unknown_path(&error) => {
                return self.receive_from_old(wanted, ask.up_to(limit)).await;
            }
            begun => begun?,
        };
        let mut parts = Multipart::new(begun)?;
        match parts.file().await? {
            FilePart::Here {
                content_type,
                filename,
            } => {
                let mut file = media.keep(server, media_id, content_type, filename);
                while let Some(piece) = parts.next().await? {
                    file.write(piece).await?;
                }
                Ok(file.finish().await?)
            }
            FilePart::Elsewhere(place) => {
                let ask = ask.up_to(limit);
                let begun = peers.begin_elsewhere(server, &place, ask).await?;
                self.receive_plain(wanted, begun).await
            }
        }
    }

    /// Takes a file from a server that gives files to anybody, as all did before version 1.11
    /// of the specification, and knows no other way.
    async fn receive_from_old(&self, wanted: Wanted<'_>, ask: Ask) -> Result<(), FilesError> {
        let (server, media_id) = (wanted.server, wanted.media_id);
        let wait = wanted.wait.clamp(SHORTEST, LONGEST).as_millis();
        let path = format!(
            "/_matrix/media/v3/download/{server}/{media_id}?allow_remote=false&timeout_ms={wait}"
        );
        let begun = self.0.peers.begin(server, &path, ask).await?;
        self.receive_plain(wanted, begun).await
    }

    async fn receive_plain(&self, wanted: Wanted<'_>, begun: Begun) -> Result<(), FilesError> {
        let (server, media_id) = (wanted.server, wanted.media_id);
        let (content_type, filename) = multipart::description(&begun.headers);
        let media = &self.0.media;
        let mut file = media.keep(server, media_id, content_type, filename);
        let mut body = begun.body;
        while let Some(piece) = body.next().await.map_err(|error| PeerError::Unreachable {
            server: server.to_owned(),
            error,
        })? {
            file.write(piece).await?;
        }
        Ok(file.finish().await?)
    }
}

/// Whether a server does not know what it was asked: it says so, or answers with no error of
/// Matrix at all.
fn is_unknown_path(error: &PeerError) -> bool {
    matches!(
        error,
        PeerError::Status { status, errcode, .. }
            if matches!(status.as_u16(), 400 | 404 | 405)
                && errcode.as_deref().is_none_or(|code| code == "M_UNRECOGNIZED")
    )
}
