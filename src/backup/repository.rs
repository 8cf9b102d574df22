//! A folder of backups.
//!
//! ```text
//! FOLDER/README                says what this is
//! FOLDER/lock                  held while a backup is made or removed
//! FOLDER/backups/NUMBER-TIME   the manifests; the newest has the highest number
//! FOLDER/objects/aa/aabb…      the bytes of files, named by their SHA-256
//! FOLDER/unfinished/           what is being written; emptied when a backup begins
//! ```

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::{
    BackupError, Manifest,
    manifest::{hexadecimal, parse_hexadecimal},
};

/// How many written files, and how many of their bytes, wait for one sync of the disk.
const FILES_AT_ONCE: usize = 512;
const BYTES_AT_ONCE: u64 = 256 << 20;

/// A folder of backups, held by this process alone where it is to be changed.
pub struct Repository {
    folder: PathBuf,
    /// Held, never read: the lock ends with the file handle.
    _lock: Option<File>,
    /// Files that are written and not yet in their place.
    pending: Vec<(PathBuf, [u8; 32])>,
    pending_hashes: HashSet<[u8; 32]>,
    pending_bytes: u64,
    next: u64,
}

/// A backup in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// What it is of, and its files.
    pub manifest: Manifest,
}

impl Repository {
    /// Opens the folder to make backups of `server_name` in; makes it if it is not there.
    ///
    /// # Errors
    /// If it holds something else, belongs to another server, or is in use.
    pub fn create(folder: &Path, server_name: &str) -> Result<Self, BackupError> {
        make_folder(folder).map_err(BackupError::writing(folder))?;
        if !folder.join("backups").is_dir() && !is_empty(folder)? {
            return Err(BackupError::Foreign(folder.to_owned()));
        }
        let lock = lock(folder)?;
        for part in ["backups", "objects", "unfinished"] {
            let part = folder.join(part);
            make_folder(&part).map_err(BackupError::writing(&part))?;
        }
        let repository = Self::new(folder, Some(lock));
        if let Some(newest) = repository.newest()?
            && newest.manifest.about.server_name != server_name
        {
            return Err(BackupError::OtherServer {
                folder: folder.to_owned(),
                found: newest.manifest.about.server_name,
                wanted: server_name.to_owned(),
            });
        }
        let unfinished = folder.join("unfinished");
        for path in entries(&unfinished)? {
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            removed.map_err(BackupError::writing(&path))?;
        }
        repository.write_readme(server_name)?;
        Ok(repository)
    }

    /// Opens the folder to read what is there.
    ///
    /// # Errors
    /// If there are no backups.
    pub fn open(folder: &Path) -> Result<Self, BackupError> {
        if !folder.join("backups").is_dir() {
            return Err(BackupError::Missing {
                folder: folder.to_owned(),
                name: None,
            });
        }
        // A medium that cannot be written is not changed by anybody either.
        match lock(folder) {
            Ok(lock) => Ok(Self::new(folder, Some(lock))),
            Err(BackupError::InUse(folder)) => Err(BackupError::InUse(folder)),
            Err(_) => Ok(Self::new(folder, None)),
        }
    }

    fn new(folder: &Path, lock: Option<File>) -> Self {
        Self {
            folder: folder.to_owned(),
            _lock: lock,
            pending: Vec::new(),
            pending_hashes: HashSet::new(),
            pending_bytes: 0,
            next: 0,
        }
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The names of the backups, the oldest first.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>, BackupError> {
        let paths = entries(&self.folder.join("backups"))?;
        let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        let mut names: Vec<String> = paths.iter().filter_map(name).collect();
        names.retain(|name| number_of(name).is_some());
        names.sort_by_key(|name| number_of(name));
        Ok(names)
    }

    /// The backup of that name, or the newest.
    ///
    /// # Errors
    /// If it is not there or its list is damaged.
    pub fn backup(&self, name: Option<&str>) -> Result<Held, BackupError> {
        let missing = || BackupError::Missing {
            folder: self.folder.clone(),
            name: name.map(str::to_owned),
        };
        let names = self.names()?;
        let name = match name {
            Some(wanted) => names.into_iter().find(|name| name == wanted),
            None => names.into_iter().next_back(),
        };
        let name = name.ok_or_else(missing)?;
        let path = self.folder.join("backups").join(&name);
        let text = fs::read_to_string(&path).map_err(BackupError::reading(&path))?;
        let manifest = Manifest::parse(&text)?;
        Ok(Held { name, manifest })
    }

    /// The newest backup whose list can be read.
    fn newest(&self) -> Result<Option<Held>, BackupError> {
        for name in self.names()?.iter().rev() {
            match self.backup(Some(name)) {
                Ok(held) => return Ok(Some(held)),
                Err(BackupError::Manifest(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The files of the newest backup.
    pub(crate) fn earlier(&self) -> Result<Manifest, BackupError> {
        let newest = self.newest()?;
        Ok(newest.map_or_else(Manifest::default, |held| held.manifest))
    }

    /// Where the bytes with a hash lie.
    pub(crate) fn object(&self, hash: &[u8; 32]) -> PathBuf {
        let name = hexadecimal(hash);
        let first = name.get(..2).unwrap_or_default();
        self.folder.join("objects").join(first).join(&name)
    }

    /// Whether so many bytes lie under a hash, or are about to.
    pub(crate) fn has(&self, hash: &[u8; 32], length: u64) -> bool {
        self.pending_hashes.contains(hash)
            || fs::metadata(self.object(hash)).is_ok_and(|found| found.len() == length)
    }

    /// A new file for bytes whose hash is not known yet.
    pub(crate) fn begin(&mut self) -> Result<(PathBuf, File), BackupError> {
        self.next += 1;
        let path = self.folder.join("unfinished").join(self.next.to_string());
        let file = create(&path).map_err(BackupError::writing(&path))?;
        Ok((path, file))
    }

    /// Takes a file that [`Repository::begin`] gave out, now that its bytes are known.
    pub(crate) fn take(
        &mut self,
        path: PathBuf,
        hash: [u8; 32],
        length: u64,
    ) -> Result<(), BackupError> {
        if self.has(&hash, length) {
            return fs::remove_file(&path).map_err(BackupError::writing(&path));
        }
        self.pending.push((path, hash));
        self.pending_hashes.insert(hash);
        self.pending_bytes += length;
        if self.pending.len() >= FILES_AT_ONCE || self.pending_bytes >= BYTES_AT_ONCE {
            self.place()?;
        }
        Ok(())
    }

    /// Brings all written files to their places: bytes first, then names. Under its hash
    /// stands only what is wholly on disk.
    fn place(&mut self) -> Result<(), BackupError> {
        sync_disk(&self.folder)?;
        for (path, hash) in std::mem::take(&mut self.pending) {
            let object = self.object(&hash);
            let above = object.parent().unwrap_or(&self.folder);
            make_folder(above).map_err(BackupError::writing(above))?;
            fs::rename(&path, &object).map_err(BackupError::writing(&object))?;
        }
        self.pending_hashes.clear();
        self.pending_bytes = 0;
        Ok(())
    }

    /// Ends a backup: from here on it exists. Returns its name.
    pub(crate) fn finish(&mut self, manifest: &Manifest) -> Result<String, BackupError> {
        self.place()?;
        sync_disk(&self.folder)?;
        let number = self
            .names()?
            .iter()
            .filter_map(|name| number_of(name))
            .max();
        let number = number.unwrap_or(0) + 1;
        // Colons are no part of a file's name on every file system.
        let time = manifest.about.made_at.to_string().replace(':', "-");
        let name = format!("{number:06}-{time}");
        let (unfinished, mut file) = self.begin()?;
        let path = self.folder.join("backups").join(&name);
        file.write_all(manifest.to_text().as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&unfinished, &path))
            .and_then(|()| File::open(self.folder.join("backups"))?.sync_all())
            .map_err(BackupError::writing(&path))?;
        Ok(name)
    }

    /// Removes all backups but the newest `keep`, and the bytes that none of those needs.
    /// Returns the names of the removed ones and how many bytes that freed. If the list of one
    /// that is kept cannot be read, nothing is removed.
    ///
    /// # Errors
    /// If something cannot be read or removed.
    pub fn prune(&self, keep: usize) -> Result<(Vec<String>, u64), BackupError> {
        let mut names = self.names()?;
        let kept = names.split_off(names.len().saturating_sub(keep.max(1)));
        let mut needed = BTreeSet::new();
        for name in &kept {
            let held = self.backup(Some(name))?;
            needed.extend(held.manifest.files.values().map(|file| file.hash));
        }
        let backups = self.folder.join("backups");
        for name in &names {
            let path = backups.join(name);
            fs::remove_file(&path).map_err(BackupError::writing(&path))?;
        }
        File::open(&backups)
            .and_then(|folder| folder.sync_all())
            .map_err(BackupError::writing(&backups))?;
        let mut freed = 0;
        for folder in entries(&self.folder.join("objects"))? {
            for path in entries(&folder)? {
                let hash = path.file_name().and_then(|name| name.to_str());
                let Some(hash) = hash.and_then(parse_hexadecimal) else {
                    continue;
                };
                if !needed.contains(&hash) {
                    freed += fs::metadata(&path).map_or(0, |found| found.len());
                    fs::remove_file(&path).map_err(BackupError::writing(&path))?;
                }
            }
        }
        Ok((names, freed))
    }

    /// A new empty folder here, on the same file system as the bytes, for a rehearsal.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn scratch(&self) -> Result<PathBuf, BackupError> {
        let path = self.folder.join("unfinished").join("rehearsal");
        if path.exists() {
            fs::remove_dir_all(&path).map_err(BackupError::writing(&path))?;
        }
        make_folder(&path).map_err(BackupError::writing(&path))?;
        Ok(path)
    }

    fn write_readme(&self, server_name: &str) -> Result<(), BackupError> {
        let path = self.folder.join("README");
        let text = format!(
            "Backups of the Matrix server {server_name}, made by `cairn backup create`.\n\
             Check one:    cairn backup verify FOLDER\n\
             Restore one:  cairn backup restore FOLDER\n\
             Nothing here may be changed by hand. Whoever can read it can read everything\n\
             that the server knows, and can be the server.\n"
        );
        if fs::read_to_string(&path).is_ok_and(|found| found == text) {
            return Ok(());
        }
        fs::write(&path, text).map_err(BackupError::writing(&path))
    }
}

/// The number that a backup's name begins with.
fn number_of(name: &str) -> Option<u64> {
    name.split_once('-')?.0.parse().ok()
}

fn lock(folder: &Path) -> Result<File, BackupError> {
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(BackupError::writing(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::InUse(folder.to_owned())),
        Err(TryLockError::Error(reason)) => Err(BackupError::writing(&path)(reason)),
    }
}

/// Waits until everything that was written to the disk of `folder` is there.
pub(crate) fn sync_disk(folder: &Path) -> Result<(), BackupError> {
    let synced = File::open(folder).and_then(|file| Ok(rustix::fs::syncfs(&file)?));
    synced.map_err(BackupError::writing(folder))
}

pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

pub(crate) fn is_empty(folder: &Path) -> Result<bool, BackupError> {
    let entries = entries(folder)?;
    // What a new file system brings along.
    Ok(entries
        .iter()
        .all(|path| path.file_name().is_some_and(|name| name == "lost+found")))
}

/// The paths in a folder; none if it is not there.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let listed = match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    listed.map_err(BackupError::reading(folder))
}
