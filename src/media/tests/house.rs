//! The files of a server on a temporary folder, with a clock that stands still.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use model::{
    EventSerial, Membership, MembershipRecord, RoomSerial, UserSerial,
    tables::{MEMBERSHIP_BY_USER, ROOM_BY_ID, SMALL_FILE_BY_CONTENT},
};
use ruma_common::{OwnedServerName, ServerName};
use runtime::{Clock, Metrics, Random, Tasks, Timestamp};
use store::{Key, Read as _, Store, StoreError, StoreOptions, Table, Value};
use tempfile::TempDir;

use crate::{
    DownloadError, Eagerness, FileDescription, Media, MediaOptions, MediaParts, StoredFile,
    ThumbnailRequest, UploadError, Uploader, Viewer,
};

pub(super) const ALICE: UserSerial = UserSerial(1);
pub(super) const BOB: UserSerial = UserSerial(2);
pub(super) const START: u64 = 1_800_000_000_000;

pub(super) struct House {
    pub(super) media: Media,
    pub(super) clock: Clock,
    store: Store,
    folder: TempDir,
    _tasks: Tasks,
}

pub(super) fn house() -> House {
    house_with(MediaOptions::default())
}

pub(super) fn house_with(options: MediaOptions) -> House {
    open(tempfile::tempdir().unwrap(), options)
}

fn open(folder: TempDir, options: MediaOptions) -> House {
    let clock = Clock::manual(Timestamp(START));
    let (random, tasks) = (Random::system(), Tasks::new());
    let options_of_store = StoreOptions::default();
    let store = Store::open(folder.path(), "a.test", &options_of_store, &clock, &random).unwrap();
    let media = Media::open(MediaParts {
        store: store.clone(),
        clock: clock.clone(),
        random,
        server_name: here(),
        folder: folder.path().join("media"),
        options,
        metrics: Metrics::new(),
        stop: tasks.stop(),
    });
    House {
        media: media.unwrap(),
        clock,
        store,
        folder,
        _tasks: tasks,
    }
}

pub(super) fn here() -> OwnedServerName {
    "a.test".try_into().unwrap()
}

pub(super) fn uploader(user: UserSerial) -> Uploader {
    Uploader {
        user,
        device_id: "PHONE".to_owned(),
    }
}

pub(super) fn described(content_type: &str, filename: &str) -> FileDescription {
    FileDescription {
        content_type: Some(content_type.to_owned()),
        filename: Some(filename.to_owned()),
        room_id: None,
    }
}

impl House {
    /// The same folder after a crash or a stop.
    pub(super) fn reopened(self, options: MediaOptions) -> Self {
        let Self {
            media,
            store,
            folder,
            ..
        } = self;
        drop((media, store));
        open(folder, options)
    }

    pub(super) async fn upload(
        &self,
        user: UserSerial,
        bytes: &[u8],
    ) -> Result<String, UploadError> {
        self.upload_as(user, described("image/png", "picture.png"), bytes)
            .await
    }

    pub(super) async fn upload_as(
        &self,
        user: UserSerial,
        description: FileDescription,
        bytes: &[u8],
    ) -> Result<String, UploadError> {
        let length = Some(bytes.len() as u64);
        let mut upload = self
            .media
            .upload(uploader(user), description, length)
            .await?;
        for piece in bytes.chunks(100_000) {
            upload.write(Bytes::copy_from_slice(piece)).await?;
        }
        upload.finish().await
    }

    pub(super) async fn download(&self, media_id: &str) -> Result<StoredFile, DownloadError> {
        self.download_as(Viewer::User(BOB), &here(), media_id).await
    }

    pub(super) async fn download_as(
        &self,
        viewer: Viewer,
        server_name: &ServerName,
        media_id: &str,
    ) -> Result<StoredFile, DownloadError> {
        let eagerness = Eagerness::ReadFirstPiece;
        self.media
            .download(viewer, server_name, media_id, Duration::ZERO, eagerness)
            .await
    }

    pub(super) async fn thumbnail(
        &self,
        media_id: &str,
        request: ThumbnailRequest,
    ) -> Result<StoredFile, DownloadError> {
        let (viewer, eagerness) = (Viewer::User(BOB), Eagerness::ReadFirstPiece);
        self.media
            .thumbnail(
                viewer,
                &here(),
                media_id,
                request,
                Duration::ZERO,
                eagerness,
            )
            .await
    }

    /// Makes `user` a member of a room with that id.
    pub(super) async fn join(&self, user: UserSerial, room_id: &str, room: RoomSerial) {
        let record = MembershipRecord {
            membership: Membership::Join,
            event: EventSerial(1),
            position: 1,
            sender: user,
            forgotten: false,
            last_join: 1,
            left_at: 0,
        };
        let room_id = room_id.to_owned();
        self.store
            .commit(move |_, _, batch| {
                batch.put(&ROOM_BY_ID, &room_id, &room);
                batch.put(&MEMBERSHIP_BY_USER, &(user, room), &record);
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
    }

    pub(super) fn row<K: Key, V: Value>(&self, table: &Table<K, V>, key: &K) -> Option<V> {
        self.store.latest().get(table, key).unwrap()
    }

    pub(super) fn rows<K: Key, V: Value>(&self, table: &Table<K, V>) -> Vec<(K, V)> {
        let latest = self.store.latest();
        latest.scan(table, &()).map(Result::unwrap).collect()
    }

    /// The files in `media` in the data folder, but those in `unfinished` and
    /// `thumbnails`.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let all = files_below(&self.folder.path().join("media"));
        let is_content = |path: &PathBuf| {
            !path.starts_with(self.below("unfinished"))
                && !path.starts_with(self.below("thumbnails"))
        };
        all.into_iter().filter(is_content).collect()
    }

    /// How many contents are stored, in files or in rows.
    pub(super) fn contents(&self) -> usize {
        self.files().len() + self.rows(&SMALL_FILE_BY_CONTENT).len()
    }

    pub(super) fn below(&self, name: &str) -> PathBuf {
        self.folder.path().join("media").join(name)
    }
}

pub(super) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// All bytes of a file, read piece by piece.
pub(super) async fn all(file: &StoredFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < file.length {
        let piece = file.read(bytes.len() as u64, file.length).await.unwrap();
        assert!(!piece.is_empty() && piece.len() <= crate::PIECE_BYTES);
        bytes.extend(piece);
    }
    bytes
}

/// Bytes that no other number gives.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Random::seeded(seed).fill(&mut bytes);
    bytes
}
