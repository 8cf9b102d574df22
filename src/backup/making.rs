//! Making a backup: files go in one after another, the list of them last.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use runtime::Random;
use sha2::{Digest as _, Sha256};

use crate::{
    About, BackupError, FileRecord, Manifest, NoProgress, Progress, Recipient, Repository, Sealed,
    folders::entries,
    manifest::{hexadecimal, is_safe, parse_hexadecimal},
    mending::hash_of,
};

/// How many bytes are read at once.
const PIECE: usize = 1 << 20;

/// A backup that is being made. If it is dropped before [`Making::finish`], nothing has
/// changed but the room that it takes until the next one.
pub struct Making<'a> {
    sink: Sink,
    files: BTreeMap<String, FileRecord>,
    /// The files of the backup before.
    earlier: Manifest,
    progress: &'a mut dyn Progress,
    made: Made,
}

enum Sink {
    Folder(Repository),
    Stream(tar::Builder<Target>),
}

/// Where a stream goes.
enum Target {
    Plain(Box<dyn Write>),
    Sealed(Box<Sealed<Box<dyn Write>>>),
}

impl Target {
    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut stream) => stream.flush(),
            Self::Sealed(sealed) => sealed.finish().map(drop),
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Sealed(sealed) => sealed.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Sealed(sealed) => sealed.flush(),
        }
    }
}

/// What became of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Its name in the folder; empty for a stream.
    pub name: String,
    /// How many files it has.
    pub files: u64,
    /// How many bytes they have together.
    pub bytes: u64,
    /// How many bytes were copied, as no earlier backup has them.
    pub copied_bytes: u64,
    /// How many files were copied.
    pub copied_files: u64,
    /// Uploaded files that are damaged on the server's own disk, and are not in the backup:
    /// their paths.
    pub damaged: Vec<String>,
}

/// Whether a file of this name never changes, so that two with the same name, length and
/// time of change are the same.
pub fn is_immutable(name: &str) -> bool {
    name.starts_with("database/") && (name.ends_with(".sst") || name.ends_with(".blob"))
}

impl<'a> Making<'a> {
    /// A backup into a folder of backups.
    ///
    /// # Errors
    /// If the list of the one before cannot be read.
    pub fn into_folder(
        repository: Repository,
        progress: &'a mut dyn Progress,
    ) -> Result<Self, BackupError> {
        let earlier = repository.earlier()?;
        Ok(Self::new(Sink::Folder(repository), earlier, progress))
    }

    /// A backup as a tar archive, sealed for `recipient` if there is one.
    ///
    /// # Errors
    /// If the stream cannot be written.
    pub fn into_stream(
        stream: Box<dyn Write>,
        recipient: Option<&Recipient>,
        progress: &'a mut dyn Progress,
    ) -> Result<Self, BackupError> {
        let target = match recipient {
            None => Target::Plain(stream),
            Some(recipient) => {
                let sealed = Sealed::new(stream, recipient, &Random::system());
                Target::Sealed(Box::new(sealed.map_err(failed_to_write)?))
            }
        };
        let sink = Sink::Stream(tar::Builder::new(target));
        Ok(Self::new(sink, Manifest::default(), progress))
    }

    fn new(sink: Sink, earlier: Manifest, progress: &'a mut dyn Progress) -> Self {
        Self {
            sink,
            earlier,
            progress,
            files: BTreeMap::new(),
            made: Made::default(),
        }
    }

    /// Copies the uploaded files from `folder`, which is `media` in the data folder: those
    /// that this backup does not have yet. They never change; one that is removed
    /// meanwhile is left out. Thumbnails are not copied, they are made again.
    ///
    /// # Errors
    /// If something cannot be read or written.
    pub fn add_media(&mut self, folder: &Path) -> Result<(), BackupError> {
        self.progress.begin("files");
        let mut found = Vec::new();
        for first in entries(folder)?.iter().filter(|path| is_pair(path)) {
            for second in entries(first)?.iter().filter(|path| is_pair(path)) {
                for path in entries(second)? {
                    let hash = path.file_name().and_then(|name| name.to_str());
                    let Some(hash) = hash.and_then(parse_hexadecimal) else {
                        continue;
                    };
                    let name = media_name(&hash);
                    if let Ok(metadata) = fs::metadata(&path)
                        && !self.files.contains_key(&name)
                    {
                        found.push((path, hash, metadata.len()));
                    }
                }
            }
        }
        self.progress.expect(found.iter().map(|file| file.2).sum());
        for (path, hash, length) in found {
            self.add_content(&path, hash, length)?;
        }
        Ok(())
    }

    fn add_content(&mut self, path: &Path, hash: [u8; 32], length: u64) -> Result<(), BackupError> {
        let name = media_name(&hash);
        if let Sink::Folder(repository) = &self.sink
            && repository.has(&hash, length)
        {
            let file = FileRecord {
                hash,
                length,
                modified: 0,
            };
            self.progress.done(length);
            self.files.insert(name, file);
            return Ok(());
        }
        let Some(copied) = self.copy(&name, path)? else {
            self.progress.done(length);
            return Ok(());
        };
        if copied.hash != hash {
            let path = path.display().to_string();
            // Files are gone through twice.
            if !self.made.damaged.contains(&path) {
                self.made.damaged.push(path);
            }
            return Ok(());
        }
        self.files.insert(
            name,
            FileRecord {
                modified: 0,
                ..copied
            },
        );
        Ok(())
    }

    /// Copies the database from `folder`: a copy that nobody changes, or the data folder's
    /// own of a server that is stopped.
    ///
    /// # Errors
    /// If something cannot be read or written.
    pub fn add_database(&mut self, folder: &Path) -> Result<(), BackupError> {
        self.progress.begin("database");
        let mut found = Vec::new();
        for path in entries(folder)? {
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(name) = name.filter(|name| is_database_file(name)) {
                let metadata = fs::metadata(&path).map_err(BackupError::reading(&path))?;
                found.push((format!("database/{name}"), path, metadata));
            }
        }
        let bytes = found.iter().map(|(_, _, metadata)| metadata.len()).sum();
        self.progress.expect(bytes);
        for (name, path, metadata) in found {
            let known = self.earlier.files.get(&name).filter(|known| {
                is_immutable(&name)
                    && known.length == metadata.len()
                    && known.modified == modified(&metadata)
            });
            if let (Some(known), Sink::Folder(repository)) = (known, &self.sink)
                && repository.has(&known.hash, known.length)
            {
                self.progress.done(known.length);
                self.files.insert(name, *known);
                continue;
            }
            let Some(copied) = self.copy(&name, &path)? else {
                let gone = io::Error::from(io::ErrorKind::NotFound);
                return Err(BackupError::reading(&path)(gone));
            };
            self.files.insert(name, copied);
        }
        Ok(())
    }

    /// Copies one file under the name `name`.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn add_file(&mut self, name: &str, path: &Path) -> Result<(), BackupError> {
        if !is_safe(name) {
            return Err(BackupError::Name(path.to_owned()));
        }
        let copied = self.copy(name, path)?;
        let gone = || BackupError::reading(path)(io::ErrorKind::NotFound.into());
        let copied = copied.ok_or_else(gone)?;
        self.files.insert(name.to_owned(), copied);
        Ok(())
    }

    /// Ends the backup: from here on it exists.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self, about: About) -> Result<Made, BackupError> {
        self.progress.begin("list");
        let manifest = Manifest {
            about,
            files: self.files,
        };
        self.made.files = manifest.files.len() as u64;
        self.made.bytes = manifest.bytes();
        match self.sink {
            Sink::Folder(mut repository) => self.made.name = repository.finish(&manifest)?,
            Sink::Stream(mut archive) => {
                let text = manifest.to_text();
                let mut header = header(text.len() as u64, manifest.about.made_at.0 / 1_000);
                archive
                    .append_data(&mut header, MANIFEST, text.as_bytes())
                    .and_then(|()| archive.into_inner()?.finish())
                    .map_err(failed_to_write)?;
            }
        }
        Ok(self.made)
    }

    /// The hash of a file that lies in a folder of sealed backups already: sealing it again
    /// would cost more than reading it.
    fn known(&self, path: &Path, length: u64) -> Result<Option<[u8; 32]>, BackupError> {
        let Sink::Folder(repository) = &self.sink else {
            return Ok(None);
        };
        if !repository.is_sealed() {
            return Ok(None);
        }
        let mut file = File::open(path).map_err(BackupError::reading(path))?;
        let hash = hash_of(&mut file, &mut NoProgress).map_err(BackupError::reading(path))?;
        Ok(Some(hash).filter(|hash| repository.has(hash, length)))
    }

    /// Copies a file; none if it is not there any more.
    fn copy(&mut self, name: &str, path: &Path) -> Result<Option<FileRecord>, BackupError> {
        let source = match File::open(path) {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BackupError::reading(path)(error)),
        };
        let metadata = source.metadata().map_err(BackupError::reading(path))?;
        let length = metadata.len();
        if let Some(hash) = self.known(path, length)? {
            return Ok(Some(FileRecord {
                hash,
                length,
                modified: modified(&metadata),
            }));
        }
        let mut reader = Hashing {
            source: &source,
            left: length,
            hasher: Sha256::new(),
            progress: self.progress,
        };
        let hash = match &mut self.sink {
            Sink::Folder(repository) => {
                let (unfinished, file) = repository.begin()?;
                repository.write(&mut reader, file, path, &unfinished)?;
                let hash = reader.hasher.finalize().into();
                repository.take(unfinished, hash, length)?;
                hash
            }
            Sink::Stream(archive) => {
                let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
                let mut header = header(length, seconds);
                archive
                    .append_data(&mut header, name, &mut reader)
                    .map_err(failed_to_write)?;
                reader.hasher.finalize().into()
            }
        };
        self.made.copied_files += 1;
        self.made.copied_bytes += length;
        Ok(Some(FileRecord {
            hash,
            length,
            modified: modified(&metadata),
        }))
    }
}

/// The manifest's name in an archive.
pub(crate) const MANIFEST: &str = "manifest";

fn failed_to_write(reason: io::Error) -> BackupError {
    BackupError::Stream {
        doing: "written",
        reason,
    }
}

/// A header of the archive for a file that only its owner may read.
fn header(length: u64, seconds: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(length);
    header.set_mode(0o600);
    header.set_mtime(seconds);
    header
}

/// The name of an uploaded file's bytes in a backup: as in the data folder.
pub fn media_name(hash: &[u8; 32]) -> String {
    let name = hexadecimal(hash);
    let pair = |from: usize| name.get(from..from + 2).unwrap_or_default();
    format!("media/{}/{}/{name}", pair(0), pair(2))
}

/// Whether a folder has two hexadecimal digits as its name.
fn is_pair(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether RocksDB needs a file of this name to open a database; its notes and its lock
/// are no part of one.
fn is_database_file(name: &str) -> bool {
    let ending = Path::new(name)
        .extension()
        .and_then(|ending| ending.to_str());
    matches!(ending, Some("sst" | "blob" | "log"))
        || matches!(name, "CURRENT" | "IDENTITY")
        || name.starts_with("MANIFEST-")
        || name.starts_with("OPTIONS-")
}

fn modified(metadata: &fs::Metadata) -> u64 {
    let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
    let rest = u64::try_from(metadata.mtime_nsec()).unwrap_or(0);
    seconds * 1_000_000_000 + rest
}

/// Reads exactly as many bytes as a file had when it was opened, and hashes them.
struct Hashing<'a> {
    source: &'a File,
    left: u64,
    hasher: Sha256,
    progress: &'a mut dyn Progress,
}

impl Read for Hashing<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(into.len());
        let piece = into.get_mut(..most).unwrap_or_default();
        let read = self.source.read(piece)?;
        if read == 0 && most > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a file became shorter while it was read",
            ));
        }
        self.hasher.update(piece.get(..read).unwrap_or_default());
        self.left -= read as u64;
        self.progress.done(read as u64);
        Ok(read)
    }
}

/// Copies to the end; the error says which of the two files it was.
pub(crate) fn copy_all(
    from: &mut impl Read,
    to: &mut impl Write,
    from_path: &Path,
    to_path: &Path,
) -> Result<(), BackupError> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = from
            .read(&mut piece)
            .map_err(BackupError::reading(from_path))?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(piece.get(..read).unwrap_or_default())
            .map_err(BackupError::writing(to_path))?;
    }
}
