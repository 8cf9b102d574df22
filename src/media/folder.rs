//! The folder `media` in the data folder: what lies where, and how it gets there.
//!
//! ```text
//! media/unfinished/TOKEN        files that are being written; emptied at start
//! media/aa/bb/aabb…             whole files, named by the SHA-256 of their bytes
//! media/thumbnails/aa/aabb…-KEY thumbnails, named by their content's hash and their kind
//! ```
//!
//! A name that a client gave is never part of a path.

use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use model::ContentHash;
use runtime::{LaneError, Random};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::StorageError;

/// The folder and what is known to last of it.
pub(crate) struct Folder {
    root: PathBuf,
    random: Random,
    reserved: u64,
    /// One for each file that may be open.
    places: Arc<Semaphore>,
    /// Which of the 65,536 folders `aa/bb` are known to be on disk, a bit each.
    known: Vec<AtomicU64>,
}

impl Folder {
    /// Opens or makes the folder at `root` and removes what an earlier run did not
    /// finish. `reserved` is how many bytes of the disk stay free,
    /// `most` how many files may be open at once.
    pub(crate) fn open(
        root: PathBuf,
        random: Random,
        reserved: u64,
        most: usize,
    ) -> io::Result<Self> {
        for folder in [&root, &root.join("unfinished"), &root.join("thumbnails")] {
            make_folder(folder)?;
        }
        for entry in fs::read_dir(root.join("unfinished"))? {
            fs::remove_file(entry?.path())?;
        }
        sync_folder(&root)?;
        if let Some(above) = root.parent() {
            sync_folder(above)?;
        }
        let known = (0..1_024).map(|_| AtomicU64::new(0)).collect();
        Ok(Self {
            root,
            random,
            reserved,
            places: Arc::new(Semaphore::new(most)),
            known,
        })
    }

    /// A new file for bytes that are still to come.
    pub(crate) fn begin(&self) -> Result<Unfinished, StorageError> {
        let place = self.place_for_one()?;
        let path = self.root.join("unfinished").join(self.random.token());
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Unfinished {
            path: Some(path),
            file,
            _place: place,
        })
    }

    /// Opens a file that must be there.
    fn open_one(&self, path: &Path) -> Result<OpenFile, StorageError> {
        let place = self.place_for_one()?;
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StorageError::Missing(error.to_string()),
            _ => error.into(),
        })?;
        Ok(OpenFile {
            file,
            _place: place,
        })
    }

    /// Nobody waits for it: whoever holds one may be waiting for a slow client.
    fn place_for_one(&self) -> Result<OwnedSemaphorePermit, StorageError> {
        let place = self.places.clone().try_acquire_owned();
        Ok(place.map_err(|_| LaneError::Full)?)
    }

    /// Whether `unfinished` may grow by `bytes` without filling the disk.
    pub(crate) fn check_space(
        &self,
        unfinished: &Unfinished,
        bytes: u64,
    ) -> Result<(), StorageError> {
        let disk = rustix::fs::fstatvfs(&unfinished.file).map_err(io::Error::from)?;
        self.check_free(&disk, bytes)
    }

    /// Whether the disk has room for `bytes` more in the database.
    pub(crate) fn check_space_beside(&self, bytes: u64) -> Result<(), StorageError> {
        let disk = rustix::fs::statvfs(&self.root).map_err(io::Error::from)?;
        self.check_free(&disk, bytes)
    }

    fn check_free(&self, disk: &rustix::fs::StatVfs, bytes: u64) -> Result<(), StorageError> {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < self.reserved.saturating_add(bytes) {
            return Err(StorageError::DiskFull);
        }
        Ok(())
    }

    /// Where the bytes with this hash lie.
    fn content_path(&self, hash: &ContentHash) -> PathBuf {
        let [first, second, ..] = *hash;
        self.root
            .join(format!("{first:02x}"))
            .join(format!("{second:02x}"))
            .join(hexadecimal(hash))
    }

    fn thumbnail_path(&self, hash: &ContentHash, key: &str) -> PathBuf {
        let name = format!("{}-{key}", hexadecimal(hash));
        let folder = format!("{:02x}", hash[0]);
        self.root.join("thumbnails").join(folder).join(name)
    }

    /// Puts a file in its place, with its bytes on disk before and its name after. A
    /// file that is there has the same bytes, and is replaced whole.
    pub(crate) fn place(&self, mut unfinished: Unfinished, hash: &ContentHash) -> io::Result<()> {
        unfinished.file.sync_data()?;
        self.make_content_folder(hash)?;
        let path = self.content_path(hash);
        unfinished.rename(&path)?;
        sync_folder(path.parent().unwrap_or(&self.root))
    }

    /// Makes `aa/bb` and waits until it is on disk, once for each since the start:
    /// whoever made it may not have come so far.
    fn make_content_folder(&self, hash: &ContentHash) -> io::Result<()> {
        let number = usize::from(u16::from_be_bytes([hash[0], hash[1]]));
        let (word, bit) = (&self.known[number / 64], 1 << (number % 64));
        if word.load(Ordering::Acquire) & bit != 0 {
            return Ok(());
        }
        let above = self.root.join(format!("{:02x}", hash[0]));
        make_folder(&above)?;
        make_folder(&above.join(format!("{:02x}", hash[1])))?;
        sync_folder(&self.root)?;
        sync_folder(&above)?;
        word.fetch_or(bit, Ordering::AcqRel);
        Ok(())
    }

    /// Writes a thumbnail, whole or not at all.
    pub(crate) fn place_thumbnail(
        &self,
        hash: &ContentHash,
        key: &str,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let path = self.thumbnail_path(hash, key);
        make_folder(path.parent().unwrap_or(&self.root))?;
        let mut unfinished = self.begin()?;
        self.check_space(&unfinished, bytes.len() as u64)?;
        unfinished.file.write_all(bytes)?;
        // Its row may outlive a power cut: the bytes must as well.
        unfinished.file.sync_data()?;
        Ok(unfinished.rename(&path)?)
    }

    pub(crate) fn open_content(&self, hash: &ContentHash) -> Result<OpenFile, StorageError> {
        self.open_one(&self.content_path(hash))
    }

    pub(crate) fn open_thumbnail(
        &self,
        hash: &ContentHash,
        key: &str,
    ) -> Result<OpenFile, StorageError> {
        self.open_one(&self.thumbnail_path(hash, key))
    }

    pub(crate) fn has_thumbnail(&self, hash: &ContentHash, key: &str) -> bool {
        self.thumbnail_path(hash, key).exists()
    }

    /// Removes bytes that nobody needs. Only [`crate::in_flight`] may call it.
    pub(crate) fn remove_content(&self, hash: &ContentHash) -> io::Result<()> {
        gone(fs::remove_file(self.content_path(hash)))
    }

    pub(crate) fn remove_thumbnail(&self, hash: &ContentHash, key: &str) -> io::Result<()> {
        gone(fs::remove_file(self.thumbnail_path(hash, key)))
    }

    /// The hashes of the files in all folders `aa/bb` of one `aa`.
    pub(crate) fn contents(&self, first: u8) -> io::Result<Vec<ContentHash>> {
        let mut hashes = Vec::new();
        for folder in entries(&self.root.join(format!("{first:02x}")))? {
            hashes.extend(
                entries(&folder)?
                    .iter()
                    .filter_map(|path| parse_hexadecimal(path.file_name()?.to_str()?)),
            );
        }
        Ok(hashes)
    }

    /// The thumbnails whose content's hash begins with `first`: hash and key.
    pub(crate) fn thumbnails(&self, first: u8) -> io::Result<Vec<(ContentHash, String)>> {
        let folder = self.root.join("thumbnails").join(format!("{first:02x}"));
        let parse = |path: &PathBuf| {
            let (hash, key) = path.file_name()?.to_str()?.split_once('-')?;
            Some((parse_hexadecimal(hash)?, key.to_owned()))
        };
        Ok(entries(&folder)?.iter().filter_map(parse).collect())
    }
}

/// A file that is read.
pub(crate) struct OpenFile {
    pub(crate) file: File,
    _place: OwnedSemaphorePermit,
}

impl OpenFile {
    /// The file at a path.
    #[cfg(test)]
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            file: File::open(path).unwrap(),
            _place: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
        }
    }

    /// How many bytes it has.
    pub(crate) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// `length` bytes from `offset` on; fewer are an error.
    pub(crate) fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut bytes = BytesMut::zeroed(length);
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.freeze())
    }
}

/// A file that is being written; removed when it is dropped before its place was found.
pub(crate) struct Unfinished {
    path: Option<PathBuf>,
    file: File,
    _place: OwnedSemaphorePermit,
}

impl Unfinished {
    /// Appends bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn rename(&mut self, to: &Path) -> io::Result<()> {
        if let Some(path) = &self.path {
            fs::rename(path, to)?;
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = fs::remove_file(path)
        {
            log::warn!("an unfinished upload was not removed, the next start will: {error}");
        }
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Waits until the entries of a folder are on disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The paths in a folder; none if it is not there.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn hexadecimal(hash: &ContentHash) -> String {
    let mut text = String::with_capacity(64);
    for byte in hash {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(crate) fn parse_hexadecimal(text: &str) -> Option<ContentHash> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (number, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * number..2 * number + 2)?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn folder(root: &Path) -> Folder {
        Folder::open(root.join("media"), Random::seeded(1), 0, 2).unwrap()
    }

    fn write(folder: &Folder, bytes: &[u8]) -> ContentHash {
        let mut unfinished = folder.begin().unwrap();
        unfinished.append(bytes).unwrap();
        let hash = Sha256::digest(bytes).into();
        folder.place(unfinished, &hash).unwrap();
        hash
    }

    #[test]
    fn a_file_is_found_by_the_hash_of_its_bytes() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let hash = write(&folder, b"hello");
        assert_eq!(write(&folder, b"hello"), hash);
        let name = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let path = root.path().join("media/2c/f2").join(name);
        assert_eq!(fs::read(path).unwrap(), b"hello");
        let file = folder.open_content(&hash).unwrap();
        assert_eq!(&file.read(1, 3).unwrap()[..], b"ell");
        assert!(file.read(3, 3).is_err(), "more than there is");
        assert_eq!(folder.contents(0x2c).unwrap(), [hash]);
        assert!(folder.contents(0x2d).unwrap().is_empty());
        folder.remove_content(&hash).unwrap();
        folder.remove_content(&hash).unwrap();
        assert!(folder.open_content(&hash).is_err());
    }

    #[test]
    fn what_is_not_finished_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let unfinished = root.path().join("media/unfinished");
        let count = || fs::read_dir(&unfinished).unwrap().count();
        let first = folder(root.path());
        let begun = first.begin().unwrap();
        assert_eq!(count(), 1);
        drop(begun);
        assert_eq!(count(), 0, "when it is given up");
        fs::write(unfinished.join("left"), b"half a picture").unwrap();
        drop(first);
        folder(root.path());
        assert_eq!(count(), 0, "at the next start");
    }

    #[test]
    fn only_so_many_are_open_at_once() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let hash = write(&folder, b"hello");
        let (reading, writing) = (folder.open_content(&hash), folder.begin());
        assert!(reading.is_ok() && writing.is_ok());
        let full = |error| matches!(error, Some(StorageError::Busy(LaneError::Full)));
        assert!(full(folder.open_content(&hash).err()));
        assert!(full(folder.begin().err()));
        drop(reading);
        let unknown = folder.open_content(&[0; 32]).err();
        assert!(matches!(unknown, Some(StorageError::Missing(_))));
        assert!(folder.open_content(&hash).is_ok());
    }

    #[test]
    fn only_hashes_are_names() {
        let hash: ContentHash = std::array::from_fn(|number| number as u8 * 7);
        assert_eq!(parse_hexadecimal(&hexadecimal(&hash)), Some(hash));
        for wrong in ["", "00", &"0g".repeat(32), &"+1".repeat(32)] {
            assert_eq!(parse_hexadecimal(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_full_disk_takes_no_more() {
        let root = tempfile::tempdir().unwrap();
        let folder =
            Folder::open(root.path().join("media"), Random::seeded(1), 1 << 60, 2).unwrap();
        let unfinished = folder.begin().unwrap();
        let full = folder.check_space(&unfinished, 1);
        assert!(matches!(full, Err(StorageError::DiskFull)), "{full:?}");
    }
}
