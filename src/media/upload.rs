//! Uploads: at once, or announced first and sent later.

use bytes::Bytes;
use model::{
    ContentHash, MediaRecord, MediaState, MediaUsageRecord, Membership, RoomSerial, StoredContent,
    UserSerial, media_scope,
    tables::{
        MEDIA_BY_CONTENT, MEDIA_BY_ID, MEDIA_BY_ROOM, MEDIA_BY_USER, MEDIA_USAGE_BY_USER,
        MEMBERSHIP_BY_USER, PENDING_MEDIA_BY_USER, PERSON_BY_USER, ROOM_BY_ID,
        SMALL_FILE_BY_CONTENT, STANDING_BY_USER,
    },
};
use ruma_common::{OwnedRoomId, ServerName};
use runtime::LaneError;
use sha2::{Digest as _, Sha256};
use store::{Batch, Latest, Read, Snapshot, StoreError};

use crate::{
    Media, MediaOptions, NOBODY, PIECE_BYTES, StorageError, UploadError,
    folder::{Folder, Unfinished},
    id,
    in_flight::{self, InFlight},
    original::MAX_ROW_BYTES,
    running::Running,
};

/// The longest content type, in bytes.
pub(crate) const MAX_CONTENT_TYPE_BYTES: usize = 255;
/// The longest file name, in bytes.
pub(crate) const MAX_FILENAME_BYTES: usize = 1_024;
/// When somebody with too many uploads under way may try again, in ms.
const TRY_AGAIN: u64 = 1_000;

/// Who uploads, and with which device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploader {
    /// The user.
    pub user: UserSerial,
    /// The device's id.
    pub device_id: String,
}

/// What an uploader says of a file. Nothing of it is believed; the room must be one
/// that the uploader is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileDescription {
    /// The `Content-Type`.
    pub content_type: Option<String>,
    /// The name.
    pub filename: Option<String>,
    /// The room that the file is for, so that whatever becomes of the room's messages
    /// can become of the file.
    pub room_id: Option<OwnedRoomId>,
}

/// A media id whose content is still to be uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The media id.
    pub media_id: String,
    /// Until when its content can be uploaded, in ms since the Unix epoch.
    pub expires_at: u64,
}

/// An upload under way. Dropping it leaves nothing behind.
pub struct Upload {
    incoming: Incoming,
    file: NewFile,
    _running: Running,
}

/// The bytes of a file that are coming, from wherever. Dropping it leaves nothing behind.
pub(crate) struct Incoming {
    media: Media,
    /// None once writing has failed.
    received: Option<Received>,
    /// What came and was not written yet.
    pieces: Vec<Bytes>,
    waiting: usize,
}

/// What came of a file and was hashed and written.
#[derive(Default)]
struct Received {
    /// None while nothing was written: a file of one piece may turn out to be known.
    unfinished: Option<Unfinished>,
    hasher: Sha256,
    length: u64,
}

/// Everything about a new file but its bytes.
#[derive(Clone)]
struct NewFile {
    media_id: String,
    /// Whether the media id was made before.
    is_announced: bool,
    uploader: Uploader,
    room: Option<RoomSerial>,
    content_type: String,
    filename: Option<String>,
}

impl Media {
    /// Makes a media id whose content is uploaded later (`POST /media/v1/create`).
    ///
    /// # Errors
    /// [`UploadError::TooMany`] if the uploader has too many of them.
    pub async fn create(&self, uploader: &Uploader) -> Result<Announced, UploadError> {
        let (now, options) = (self.now(), &self.inner.options);
        let expires_at = now.saturating_add(options.pending_lifetime.saturating_mul(1_000));
        let (user, most) = (uploader.user, options.max_pending_per_user);
        let media_id = id::new(&self.inner.random);
        let record = MediaRecord {
            uploader: user,
            device_id: uploader.device_id.clone(),
            created_at: now,
            room: None,
            state: MediaState::Pending { expires_at },
        };
        let new_id = media_id.clone();
        self.store()
            .commit(move |latest, _, batch| {
                check_standing(latest, user)?;
                let retry_after = count_pending(latest, batch, user, now, most)?;
                if let Some(retry_after) = retry_after {
                    return Err(UploadError::TooMany { retry_after });
                }
                must_be_new(latest, &new_id)?;
                batch.put(
                    &PENDING_MEDIA_BY_USER,
                    &(user, expires_at, new_id.clone()),
                    &(),
                );
                batch.put(&MEDIA_BY_ID, &new_id, &record);
                Ok(())
            })
            .await?;
        Ok(Announced {
            media_id,
            expires_at,
        })
    }

    /// Begins an upload (`POST /media/v3/upload`). `length` is how many bytes are said
    /// to come.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn upload(
        &self,
        uploader: Uploader,
        description: FileDescription,
        length: Option<u64>,
    ) -> Result<Upload, UploadError> {
        let media_id = id::new(&self.inner.random);
        self.begin(media_id, false, uploader, description, length)
            .await
    }

    /// Begins the upload of what was announced before
    /// (`PUT /media/v3/upload/{serverName}/{mediaId}`).
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn upload_announced(
        &self,
        server_name: &ServerName,
        media_id: &str,
        uploader: Uploader,
        description: FileDescription,
        length: Option<u64>,
    ) -> Result<Upload, UploadError> {
        if !self.is_own(server_name) || !id::is_valid(media_id) {
            return Err(UploadError::UnknownId);
        }
        let (media_id, user, now) = (media_id.to_owned(), uploader.user, self.now());
        let wanted = media_id.clone();
        let read = move |view: &Snapshot| match view.get(&MEDIA_BY_ID, &wanted)? {
            None => Err(UploadError::UnknownId),
            Some(record) => check_announced(&record, user, now),
        };
        self.store().read(read).await?;
        self.begin(media_id, true, uploader, description, length)
            .await
    }

    async fn begin(
        &self,
        media_id: String,
        is_announced: bool,
        uploader: Uploader,
        description: FileDescription,
        length: Option<u64>,
    ) -> Result<Upload, UploadError> {
        let content_type = description.content_type.unwrap_or_default();
        if content_type.len() > MAX_CONTENT_TYPE_BYTES {
            return Err(UploadError::Invalid("a content type has at most 255 bytes"));
        }
        let filename = description.filename.filter(|name| !name.is_empty());
        if filename.as_ref().map_or(0, String::len) > MAX_FILENAME_BYTES {
            return Err(UploadError::Invalid("a file name has at most 1024 bytes"));
        }
        let running = self.inner.uploads.begin(uploader.user);
        let running = running.ok_or(UploadError::TooMany {
            retry_after: TRY_AGAIN,
        })?;
        let room = self.room(&uploader, description.room_id).await?;
        // Less than a piece is not worth a look before it is there.
        if let Some(length) = length.filter(|length| *length > PIECE_BYTES as u64) {
            self.check_quota(uploader.user, length).await?;
        }
        Ok(Upload {
            incoming: Incoming::new(self),
            file: NewFile {
                media_id,
                is_announced,
                uploader,
                room,
                content_type,
                filename,
            },
            _running: running,
        })
    }

    /// The room that a file is for.
    async fn room(
        &self,
        uploader: &Uploader,
        room_id: Option<OwnedRoomId>,
    ) -> Result<Option<RoomSerial>, UploadError> {
        let Some(room_id) = room_id else {
            return Ok(None);
        };
        let user = uploader.user;
        let read = move |view: &Snapshot| {
            let room = view.get(&ROOM_BY_ID, &room_id.to_string())?;
            let room = room.ok_or(UploadError::NotInRoom)?;
            match view.get(&MEMBERSHIP_BY_USER, &(user, room))? {
                Some(record) if record.membership == Membership::Join => Ok(Some(room)),
                _ => Err(UploadError::NotInRoom),
            }
        };
        self.store().read(read).await
    }

    async fn check_quota(&self, user: UserSerial, length: u64) -> Result<(), UploadError> {
        let options = self.inner.options.clone();
        let read = move |view: &Snapshot| {
            check_standing(view, user)?;
            let usage = view.get(&MEDIA_USAGE_BY_USER, &user)?.unwrap_or_default();
            let own = own_bytes(view, user)?;
            with_one_more(user, usage, length, own, &options).map(drop)
        };
        self.store().read(read).await
    }
}

impl Upload {
    /// Takes the next bytes. Waits while they are written.
    ///
    /// # Errors
    /// [`UploadError::Storage`]; then the upload is over.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), UploadError> {
        Ok(self.incoming.write(piece).await?)
    }

    /// Stores the file: its bytes are on disk and its media id is good when this
    /// returns. Returns the media id.
    ///
    /// # Errors
    /// [`UploadError`]; then nothing was stored.
    pub async fn finish(self) -> Result<String, UploadError> {
        let Self {
            incoming,
            file,
            _running: running,
        } = self;
        let media = incoming.media.clone();
        if let Some(bytes) = incoming.small() {
            let media_id = store_small(&media, file, bytes).await;
            drop(running);
            return media_id;
        }
        let (hash, length, in_flight) = incoming.place().await?;
        let media_id = file.media_id.clone();
        let content = file.content(hash, length, media.now());
        let options = media.inner.options.clone();
        let commit = media
            .store()
            .commit(move |latest, _, batch| commit_file(latest, batch, &file, content, &options));
        let committed = commit.await;
        drop((in_flight, running));
        if let Err(error) = committed {
            media.remove_unneeded(hash).await?;
            return Err(error);
        }
        Ok(media_id)
    }
}

impl Incoming {
    pub(crate) fn new(media: &Media) -> Self {
        Self {
            media: media.clone(),
            received: Some(Received::default()),
            pieces: Vec::new(),
            waiting: 0,
        }
    }

    /// Takes the next bytes. Waits while they are written.
    pub(crate) async fn write(&mut self, piece: Bytes) -> Result<(), StorageError> {
        self.waiting += piece.len();
        self.pieces.push(piece);
        if self.waiting < PIECE_BYTES {
            return Ok(());
        }
        let (folder, pieces) = (self.media.inner.folder.clone(), self.take_pieces());
        let mut received = self.received.take().ok_or(LaneError::Stopped)?;
        let write = move || {
            received.hash(&pieces);
            received.write(&folder, &pieces)?;
            Ok::<_, StorageError>(received)
        };
        self.received = Some(self.media.inner.writers.run(write).await??);
        Ok(())
    }

    /// All bytes, if they are few and none was written yet.
    fn small(&self) -> Option<Vec<u8>> {
        self.received.as_ref()?.small(&self.pieces)
    }

    /// Puts the bytes in their place on disk, where they stay as long as the last of what
    /// is returned lives: until then a row must name them.
    pub(crate) async fn place(
        mut self,
    ) -> Result<(ContentHash, u64, in_flight::Announced), StorageError> {
        let pieces = self.take_pieces();
        let received = self.received.take().ok_or(LaneError::Stopped)?;
        let inner = &self.media.inner;
        let (folder, in_flight) = (inner.folder.clone(), inner.in_flight.clone());
        let latest = self.media.store().latest();
        let store = move || received.store(&folder, &in_flight, &latest, &pieces);
        inner.writers.run(store).await?
    }

    fn take_pieces(&mut self) -> Vec<Bytes> {
        self.waiting = 0;
        std::mem::take(&mut self.pieces)
    }
}

/// Stores a small file: a row with its bytes in the commit of the row that names them.
async fn store_small(media: &Media, file: NewFile, bytes: Vec<u8>) -> Result<String, UploadError> {
    let length = bytes.len() as u64;
    media.inner.folder.check_space_beside(length)?;
    let hash: ContentHash = Sha256::digest(&bytes).into();
    let (media_id, options) = (file.media_id.clone(), media.inner.options.clone());
    let content = file.content(hash, length, media.now());
    media
        .store()
        .commit(move |latest, _, batch| {
            // Where a file has these bytes already, they are there, in a row or not.
            if !in_flight::is_needed(latest, &hash)? {
                batch.put(&SMALL_FILE_BY_CONTENT, &hash, &bytes);
            }
            commit_file(latest, batch, &file, content, &options)
        })
        .await?;
    Ok(media_id)
}

impl NewFile {
    fn content(&self, hash: ContentHash, length: u64, uploaded_at: u64) -> StoredContent {
        StoredContent {
            hash,
            length,
            content_type: self.content_type.clone(),
            filename: self.filename.clone(),
            uploaded_at,
        }
    }
}

impl Received {
    /// All bytes, if these are the last of few.
    fn small(&self, last: &[Bytes]) -> Option<Vec<u8>> {
        let length = last.iter().map(Bytes::len).sum::<usize>();
        (self.length == 0 && length <= MAX_ROW_BYTES).then(|| last.concat())
    }

    fn hash(&mut self, pieces: &[Bytes]) {
        for piece in pieces {
            self.hasher.update(piece);
            self.length += piece.len() as u64;
        }
    }

    fn write(&mut self, folder: &Folder, pieces: &[Bytes]) -> Result<(), StorageError> {
        let unfinished = match &mut self.unfinished {
            Some(unfinished) => unfinished,
            none => none.insert(folder.begin()?),
        };
        let coming = pieces.iter().map(Bytes::len).sum::<usize>();
        folder.check_space(unfinished, coming as u64)?;
        for piece in pieces {
            unfinished.append(piece)?;
        }
        Ok(())
    }

    /// Takes the last bytes and puts the file in its place, unless it lies there and
    /// somebody needs it. It stays as long as what is returned lives.
    fn store(
        mut self,
        folder: &Folder,
        in_flight: &InFlight,
        latest: &Latest,
        last: &[Bytes],
    ) -> Result<(ContentHash, u64, in_flight::Announced), StorageError> {
        self.hash(last);
        let hash: ContentHash = self.hasher.clone().finalize().into();
        let announced = in_flight.announce(hash);
        if !in_flight::is_needed(latest, &hash)? {
            self.write(folder, last)?;
            if let Some(unfinished) = self.unfinished {
                folder.place(unfinished, &hash)?;
            }
        }
        Ok((hash, self.length, announced))
    }
}

/// Sweeps out a user's announced uploads that never came, and counts the others. In
/// how many ms the first of them ends, if they are `most` or more.
fn count_pending(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    now: u64,
    most: u64,
) -> Result<Option<u64>, StoreError> {
    let (mut pending, mut first_end) = (0, None);
    for row in latest.scan(&PENDING_MEDIA_BY_USER, &(user,)) {
        let (key, ()) = row?;
        if key.1 <= now {
            batch.delete(&MEDIA_BY_ID, &key.2);
            batch.delete(&PENDING_MEDIA_BY_USER, &key);
            continue;
        }
        pending += 1;
        first_end = first_end.or(Some(key.1 - now));
    }
    Ok(first_end.filter(|_| pending >= most.max(1)))
}

/// Refuses who may say nothing (client-server API, "Account suspension").
fn check_standing(view: &impl Read, user: UserSerial) -> Result<(), UploadError> {
    let standing = view.get(&STANDING_BY_USER, &user)?;
    match standing.is_some_and(|standing| standing.is_suspended) {
        true => Err(UploadError::Suspended),
        false => Ok(()),
    }
}

fn must_be_new(latest: &Latest, media_id: &String) -> Result<(), UploadError> {
    match latest.contains(&MEDIA_BY_ID, media_id)? {
        // 144 random bits: this is a broken generator.
        true => Err(StoreError::Database("a media id was made twice".to_owned()).into()),
        false => Ok(()),
    }
}

/// Whether this uploader may upload now what was announced.
fn check_announced(record: &MediaRecord, user: UserSerial, now: u64) -> Result<(), UploadError> {
    if record.uploader != user {
        return Err(UploadError::NotYours);
    }
    match record.state {
        MediaState::Stored(_) => Err(UploadError::Exists),
        MediaState::Pending { expires_at } if expires_at <= now => Err(UploadError::UnknownId),
        MediaState::Pending { .. } => Ok(()),
    }
}

/// How many bytes of files a person may have, where that is not as everybody.
fn own_bytes(view: &impl Read, user: UserSerial) -> Result<Option<u64>, StoreError> {
    let person = view.get(&PERSON_BY_USER, &user)?;
    Ok(person.and_then(|person| person.limits.media_bytes))
}

/// What a user has with one more file of `length` bytes. `own` is how many bytes they may have,
/// where that is not as everybody.
fn with_one_more(
    user: UserSerial,
    before: MediaUsageRecord,
    length: u64,
    own: Option<u64>,
    options: &MediaOptions,
) -> Result<MediaUsageRecord, UploadError> {
    let after = MediaUsageRecord {
        files: before.files.saturating_add(1),
        bytes: before.bytes.saturating_add(length),
    };
    let exceeds = |most: u64, value: u64| user != NOBODY && most > 0 && value > most;
    let is_above_own = own.is_some_and(|most| user != NOBODY && after.bytes > most);
    let is_above = own.is_none() && exceeds(options.max_bytes_per_user, after.bytes);
    if exceeds(options.max_files_per_user, after.files) || is_above || is_above_own {
        return Err(UploadError::Quota);
    }
    Ok(after)
}

/// Writes the rows of a file whose bytes are in their place.
fn commit_file(
    latest: &Latest,
    batch: &mut Batch,
    file: &NewFile,
    content: StoredContent,
    options: &MediaOptions,
) -> Result<(), UploadError> {
    let (media_id, user) = (&file.media_id, file.uploader.user);
    check_standing(latest, user)?;
    let created_at = if file.is_announced {
        let record = latest.get(&MEDIA_BY_ID, media_id)?;
        let record = record.ok_or(UploadError::UnknownId)?;
        // Whoever began in time may end later, as long as nobody swept it out.
        check_announced(&record, user, 0)?;
        if let MediaState::Pending { expires_at } = record.state {
            batch.delete(
                &PENDING_MEDIA_BY_USER,
                &(user, expires_at, media_id.clone()),
            );
        }
        batch.wake(media_scope(media_id));
        record.created_at
    } else {
        must_be_new(latest, media_id)?;
        content.uploaded_at
    };
    let usage = latest.get(&MEDIA_USAGE_BY_USER, &user)?.unwrap_or_default();
    let own = own_bytes(latest, user)?;
    let usage = with_one_more(user, usage, content.length, own, options)?;
    batch.put(&MEDIA_USAGE_BY_USER, &user, &usage);
    batch.put(&MEDIA_BY_CONTENT, &(content.hash, media_id.clone()), &());
    batch.put(&MEDIA_BY_USER, &(user, created_at, media_id.clone()), &());
    if let Some(room) = file.room {
        batch.put(&MEDIA_BY_ROOM, &(room, media_id.clone()), &());
    }
    let record = MediaRecord {
        uploader: user,
        device_id: file.uploader.device_id.clone(),
        created_at,
        room: file.room,
        state: MediaState::Stored(content),
    };
    batch.put(&MEDIA_BY_ID, media_id, &record);
    Ok(())
}
