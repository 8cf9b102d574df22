//! Thumbnails: made from JPEG, PNG, GIF and WebP images when somebody asks, one at a
//! time, and kept.
//!
//! What an image may cost is decided by its headers, before anything is decoded:
//!
//! - at most 32 megapixels ([`MOST_PIXELS`]) and 65,535 pixels on a side;
//! - at most 256 MiB in its decoder ([`MOST_DECODED_BYTES`]), by what each format needs
//!   for a pixel; and JPEG and WebP files, which decoders read whole, at most 32 MiB;
//! - an animation stays one if all its frames together have at most 32 megapixels, there
//!   are at most 500, and the result has at most 8 MiB. If not, its first frame is shown.
//!
//! So the making of thumbnails takes at most 320 MiB, whatever is uploaded. An image
//! beyond this is refused with 413 `M_TOO_LARGE`; what is no whole image of these four
//! kinds, whatever its name and content type say, with 400 `M_UNKNOWN`. A refusal is
//! remembered like a thumbnail.
//!
//! Results are JPEGs, PNGs where something is transparent or a PNG becomes very small, GIFs
//! where they move. They are turned as EXIF says, and hold no metadata of the original but, in a JPEG, its
//! colour profile. An image that is no larger than what was asked for is given as it is.

mod moving;
mod probe;
mod shrink;
mod size;
mod still;

use std::{
    collections::HashMap,
    io::{self, BufReader},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use model::{
    ContentHash, ImageFormat, StoredContent, ThumbnailRecord,
    tables::{THUMBNAIL_BY_AGE, THUMBNAIL_BY_CONTENT, THUMBNAIL_USAGE},
};
use parking_lot::Mutex;
use ruma_common::ServerName;
use runtime::{Lane, Metrics};
use store::{Batch, Latest, Read, Snapshot, StoreError};

use self::{
    probe::{MOST_FRAMES, Probe, probe},
    size::Kind,
};
use crate::{
    DownloadError, Eagerness, Media, StorageError, StoredFile, Viewer,
    download::{Opened, tag},
    folder::Folder,
    original::Original,
};

/// The most pixels of an image, or of all frames of an animation together.
const MOST_PIXELS: u64 = 32_000_000;
/// The longest side of an image, in pixels.
const LONGEST_SIDE: u32 = 65_535;
/// The most memory that decoding an image takes, in bytes.
const MOST_DECODED_BYTES: u64 = 256 << 20;
/// The longest file that is read whole for decoding, in bytes.
const MOST_FILE_BYTES: u64 = 32 << 20;
/// How many thumbnails may wait to be made.
const QUEUE: usize = 256;
/// What a row counts in the cache besides its file, in bytes.
const ROW_BYTES: u64 = 256;
/// How many old thumbnails are removed for a new one, at most.
const EVICTED_AT_ONCE: usize = 64;
/// For how many contents the locks are kept, at least those in use.
const KEPT_LOCKS: usize = 512;

/// How an image is fitted into a size (client-server API, "Thumbnails").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThumbnailMethod {
    /// All of it, as large as fits.
    Scale,
    /// As much of its middle as has the size's proportions.
    Crop,
}

/// What thumbnail is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThumbnailRequest {
    /// The width, in pixels, at least.
    pub width: u32,
    /// The height, in pixels, at least.
    pub height: u32,
    /// How the image is fitted into it.
    pub method: ThumbnailMethod,
    /// Whether an animation may stay one.
    pub is_animated: bool,
}

/// What an image says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// Its content type, as its bytes have it.
    pub content_type: &'static str,
    /// Its width, in pixels.
    pub width: u32,
    /// Its height, in pixels.
    pub height: u32,
}

/// How large an image is; none of what is no JPEG, PNG, GIF or WebP, whatever it is called.
pub fn image_size(bytes: &[u8]) -> Option<ImageSize> {
    let probe = probe(&mut io::Cursor::new(bytes)).ok()??;
    Some(ImageSize {
        content_type: names(probe.format).0,
        width: probe.width,
        height: probe.height,
    })
}

/// The making of thumbnails.
pub(crate) struct Thumbnails {
    /// One thread: one image is decoded at a time.
    lane: Lane,
    /// Whoever makes a thumbnail of some content holds its lock: others who want the
    /// same find it made.
    locks: Mutex<HashMap<ContentHash, Arc<tokio::sync::Mutex<()>>>>,
}

/// An image that was made.
struct Image {
    format: ImageFormat,
    bytes: Vec<u8>,
}

/// Why none was made.
#[derive(Debug)]
enum Failure {
    NoImage,
    TooLarge,
    Storage(StorageError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Storage(error.into())
    }
}

/// What making one came to.
enum Made {
    Image(Image),
    /// The content is small enough.
    Original(ImageFormat),
    /// The content does not move.
    Still,
}

impl Thumbnails {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            lane: Lane::measured("thumbnails", 1, QUEUE, metrics),
            locks: Mutex::default(),
        }
    }

    fn lock(&self, hash: ContentHash) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock();
        if locks.len() > KEPT_LOCKS {
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        locks.entry(hash).or_default().clone()
    }
}

impl Media {
    /// Finds or makes a thumbnail (`GET /media/thumbnail/{serverName}/{mediaId}`). It has
    /// the next larger of a few sizes. Waits for the file as [`Media::download`] does.
    ///
    /// # Errors
    /// [`DownloadError`].
    pub async fn thumbnail(
        &self,
        viewer: Viewer,
        server_name: &ServerName,
        media_id: &str,
        request: ThumbnailRequest,
        wait: Duration,
        eagerness: Eagerness,
    ) -> Result<StoredFile, DownloadError> {
        let kind = Kind::of(&request)?;
        let running = self.begin_download(viewer, server_name, media_id)?;
        let folder = self.inner.folder.clone();
        let look = move |view: &Snapshot, content: StoredContent| {
            let known = known(view, &content.hash, kind)?;
            let opened = match known {
                Some((kind, record)) => open(view, &folder, &content, kind, record, eagerness)?,
                None => None,
            };
            Ok((content, opened))
        };
        let place = (server_name, media_id);
        let (content, found) = self.when_uploaded(viewer, place, wait, look).await?;
        let (opened, format, key) = match found {
            Some(found) => found,
            None => {
                let (kind, record) = self.make_thumbnail(&content, kind).await?;
                let (folder, content) = (self.inner.folder.clone(), content.clone());
                let view = self.store().snapshot();
                let open = move || open(&view, &folder, &content, kind, record, eagerness);
                let opened = self.inner.readers.run(open).await??;
                opened.ok_or_else(|| StorageError::Missing("a thumbnail just made".to_owned()))?
            }
        };
        let tag = match key {
            Some(key) => format!("{}-{key}", tag(&content.hash)),
            None => tag(&content.hash),
        };
        let (content_type, filename) = names(format);
        let (content_type, filename) = (content_type.to_owned(), Some(filename.to_owned()));
        Ok(self.file(opened, content_type, filename, tag, running))
    }

    /// Makes a thumbnail, unless somebody just did.
    async fn make_thumbnail(
        &self,
        content: &StoredContent,
        kind: Kind,
    ) -> Result<(Kind, ThumbnailRecord), DownloadError> {
        let lock = self.inner.thumbnails.lock(content.hash);
        let _held = lock.lock().await;
        let (folder, latest, now) = (self.inner.folder.clone(), self.store().latest(), self.now());
        let hash = content.hash;
        let make = move || make_records(&folder, &latest, hash, kind, now);
        let (kind, record, new) = self.inner.thumbnails.lane.run(make).await??;
        if !new.is_empty() {
            self.keep_thumbnails(hash, new).await?;
        }
        Ok((kind, record))
    }

    /// Writes the rows of new thumbnails, and removes old ones beyond what is kept.
    async fn keep_thumbnails(
        &self,
        hash: ContentHash,
        new: Vec<(String, ThumbnailRecord)>,
    ) -> Result<(), StorageError> {
        let most = self.inner.options.thumbnail_cache_bytes;
        let evicted = self
            .store()
            .commit_later(move |latest, _, batch| keep(latest, batch, hash, &new, most))
            .await?;
        if evicted.is_empty() {
            return Ok(());
        }
        let folder = self.inner.folder.clone();
        let remove = move || {
            evicted
                .iter()
                .try_for_each(|(hash, key)| folder.remove_thumbnail(hash, key))
        };
        Ok(self.inner.writers.run(remove).await??)
    }
}

/// What is known about a thumbnail, and of which kind it really is.
fn known(
    view: &impl Read,
    hash: &ContentHash,
    kind: Kind,
) -> Result<Option<(Kind, ThumbnailRecord)>, StoreError> {
    let found = view.get(&THUMBNAIL_BY_CONTENT, &(*hash, kind.key()))?;
    match found {
        Some(ThumbnailRecord::Still { .. }) => {
            let kind = kind.still();
            let found = view.get(&THUMBNAIL_BY_CONTENT, &(*hash, kind.key()))?;
            Ok(found.map(|record| (kind, record)))
        }
        found => Ok(found.map(|record| (kind, record))),
    }
}

/// A thumbnail or its original that was opened: what kind of image it is, and which
/// kind of thumbnail.
type Found = (Opened, ImageFormat, Option<String>);

/// Opens what a record says. None if the cache has lost it.
fn open(
    view: &Snapshot,
    folder: &Folder,
    content: &StoredContent,
    kind: Kind,
    record: ThumbnailRecord,
    eagerness: Eagerness,
) -> Result<Option<Found>, DownloadError> {
    match record {
        ThumbnailRecord::Refused {
            too_large: true, ..
        } => Err(DownloadError::ImageTooLarge),
        ThumbnailRecord::Refused { .. } => Err(DownloadError::NoImage),
        ThumbnailRecord::Still { .. } => Ok(None),
        ThumbnailRecord::Original { format, .. } => Ok(Some((
            Opened::content(view, folder, content, eagerness)?,
            format,
            None,
        ))),
        ThumbnailRecord::Made { format, length, .. } => {
            let key = kind.key();
            let file = folder.open_thumbnail(&content.hash, &key);
            let opened = file.and_then(|file| Opened::new(Original::File(file), length, eagerness));
            match opened {
                Ok(opened) => Ok(Some((opened, format, Some(key)))),
                Err(StorageError::Missing(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// The content type and a name for an image.
fn names(format: ImageFormat) -> (&'static str, &'static str) {
    match format {
        ImageFormat::Jpeg => ("image/jpeg", "thumbnail.jpg"),
        ImageFormat::Png => ("image/png", "thumbnail.png"),
        ImageFormat::Gif => ("image/gif", "thumbnail.gif"),
        ImageFormat::Webp => ("image/webp", "thumbnail.webp"),
    }
}

/// New rows by the keys of their kinds.
type NewRecords = Vec<(String, ThumbnailRecord)>;

/// Makes a thumbnail and writes its file, unless that was just done. Returns what there
/// is, and what is new of it.
fn make_records(
    folder: &Folder,
    latest: &Latest,
    hash: ContentHash,
    mut kind: Kind,
    now: u64,
) -> Result<(Kind, ThumbnailRecord, NewRecords), StorageError> {
    let is_there = |kind: Kind, record: &ThumbnailRecord| match record {
        ThumbnailRecord::Made { .. } => folder.has_thumbnail(&hash, &kind.key()),
        _ => true,
    };
    let mut new = NewRecords::new();
    loop {
        if let Some((kind, record)) = known(latest, &hash, kind)?
            && is_there(kind, &record)
        {
            return Ok((kind, record, new));
        }
        let file = Original::find(latest, folder, &hash)?;
        // A decoder that panics has met a damaged image.
        let made = catch_unwind(AssertUnwindSafe(|| make(&file, kind)));
        let made_at = now;
        let record = match made.unwrap_or(Err(Failure::NoImage)) {
            Ok(Made::Still) => {
                new.push((kind.key(), ThumbnailRecord::Still { made_at }));
                kind = kind.still();
                continue;
            }
            Ok(Made::Original(format)) => ThumbnailRecord::Original { format, made_at },
            Ok(Made::Image(Image { format, bytes })) => {
                folder.place_thumbnail(&hash, &kind.key(), &bytes)?;
                ThumbnailRecord::Made {
                    format,
                    length: bytes.len() as u64,
                    made_at,
                }
            }
            Err(Failure::Storage(error)) => return Err(error),
            Err(failure) => ThumbnailRecord::Refused {
                too_large: matches!(failure, Failure::TooLarge),
                made_at,
            },
        };
        new.push((kind.key(), record));
        return Ok((kind, record, new));
    }
}

/// Makes a thumbnail of an image.
fn make(file: &Original, kind: Kind) -> Result<Made, Failure> {
    let image = probe(&mut BufReader::new(file))?.ok_or(Failure::NoImage)?;
    let fits = kind.plan(image.width, image.height);
    if kind.is_animated {
        if !may_move(&image) {
            return Ok(Made::Still);
        }
        let Some(plan) = fits else {
            return Ok(Made::Original(image.format));
        };
        return match moving::make(file, &image, plan) {
            Ok(made) => Ok(Made::Image(made)),
            Err(Failure::Storage(error)) => Err(Failure::Storage(error)),
            Err(Failure::NoImage | Failure::TooLarge) => Ok(Made::Still),
        };
    }
    if fits.is_none() && image.frames == 1 {
        return Ok(Made::Original(image.format));
    }
    check_cost(&image)?;
    still::make(file, &image, kind).map(Made::Image)
}

/// The bytes of the thumbnail that is made of an image, if one is: what panics here, panics in
/// who fuzzes it.
#[cfg(any(test, fuzzing))]
pub(crate) fn made(file: &Original, request: &ThumbnailRequest) -> Option<Vec<u8>> {
    match make(file, Kind::of(request).ok()?) {
        Ok(Made::Image(image)) => Some(image.bytes),
        _ => None,
    }
}

/// Whether an image is an animation that can be made smaller.
fn may_move(image: &Probe) -> bool {
    let all = image.pixels().saturating_mul(image.frames.into());
    (2..=MOST_FRAMES).contains(&image.frames) && all <= MOST_PIXELS
}

fn check_cost(image: &Probe) -> Result<(), Failure> {
    let pixels = image.pixels();
    let bytes = pixels.saturating_mul(image.bytes_per_pixel);
    if pixels > MOST_PIXELS
        || bytes > MOST_DECODED_BYTES
        || image.width.max(image.height) > LONGEST_SIDE
    {
        return Err(Failure::TooLarge);
    }
    Ok(())
}

/// The longest file of a format that is decoded.
fn most_bytes(format: ImageFormat) -> u64 {
    match format {
        ImageFormat::Jpeg | ImageFormat::Webp => MOST_FILE_BYTES,
        // These are read as they are decoded.
        ImageFormat::Png | ImageFormat::Gif => u64::MAX,
    }
}

/// Writes the rows of new thumbnails; returns the old ones that are no longer kept.
fn keep(
    latest: &Latest,
    batch: &mut Batch,
    hash: ContentHash,
    new: &NewRecords,
    most: u64,
) -> Result<Vec<(ContentHash, String)>, StoreError> {
    let mut total = latest.get(&THUMBNAIL_USAGE, &())?.unwrap_or_default();
    for (key, record) in new {
        let name = (hash, key.clone());
        if let Some(earlier) = latest.get(&THUMBNAIL_BY_CONTENT, &name)? {
            total = total.saturating_sub(forget(batch, hash, key, &earlier));
        }
        let (made_at, bytes) = (made_at(record), counted(record));
        batch.put(&THUMBNAIL_BY_CONTENT, &name, record);
        batch.put(&THUMBNAIL_BY_AGE, &(made_at, hash, key.clone()), &bytes);
        total = total.saturating_add(bytes);
    }
    let mut evicted = Vec::new();
    if total > most {
        for row in latest.scan(&THUMBNAIL_BY_AGE, &()).take(EVICTED_AT_ONCE) {
            let ((made_at, old, key), bytes) = row?;
            let is_new = old == hash && new.iter().any(|(new, _)| *new == key);
            if is_new {
                continue;
            }
            batch.delete(&THUMBNAIL_BY_AGE, &(made_at, old, key.clone()));
            batch.delete(&THUMBNAIL_BY_CONTENT, &(old, key.clone()));
            evicted.push((old, key));
            total = total.saturating_sub(bytes);
            if total <= most {
                break;
            }
        }
    }
    batch.put(&THUMBNAIL_USAGE, &(), &total);
    Ok(evicted)
}

/// Deletes the rows of a thumbnail; returns what it counted.
pub(crate) fn forget(
    batch: &mut Batch,
    hash: ContentHash,
    key: &str,
    record: &ThumbnailRecord,
) -> u64 {
    batch.delete(&THUMBNAIL_BY_CONTENT, &(hash, key.to_owned()));
    batch.delete(&THUMBNAIL_BY_AGE, &(made_at(record), hash, key.to_owned()));
    counted(record)
}

/// Counts bytes of thumbnails that are gone.
pub(crate) fn count_freed(
    latest: &Latest,
    batch: &mut Batch,
    freed: u64,
) -> Result<(), StoreError> {
    let total = latest.get(&THUMBNAIL_USAGE, &())?.unwrap_or_default();
    batch.put(&THUMBNAIL_USAGE, &(), &total.saturating_sub(freed));
    Ok(())
}

fn made_at(record: &ThumbnailRecord) -> u64 {
    match record {
        ThumbnailRecord::Made { made_at, .. }
        | ThumbnailRecord::Original { made_at, .. }
        | ThumbnailRecord::Still { made_at }
        | ThumbnailRecord::Refused { made_at, .. } => *made_at,
    }
}

fn counted(record: &ThumbnailRecord) -> u64 {
    match record {
        ThumbnailRecord::Made { length, .. } => length.saturating_add(ROW_BYTES),
        _ => ROW_BYTES,
    }
}
