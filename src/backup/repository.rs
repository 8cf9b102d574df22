//! A folder of backups.
//!
//! ```text
//! FOLDER/README                says what this is
//! FOLDER/lock                  held while a backup is made or removed
//! FOLDER/backups/NUMBER-TIME   the manifests; the newest has the highest number
//! FOLDER/objects/aa/aabb…      the bytes of files, named by their SHA-256
//! FOLDER/unfinished/           what is being written; emptied when a backup begins
//! ```
//!
//! Where they are sealed:
//!
//! ```text
//! FOLDER/sealed                whose they are, and whom they are sealed for
//! FOLDER/backups/NUMBER-TIME   the manifests, sealed
//! FOLDER/objects/aa/aabb…      the bytes of files, each sealed, named by the SHA-256 of a key
//!                              and their own SHA-256
//! FOLDER/needed/NUMBER-TIME    the names of the objects that a manifest needs, so that the
//!                              others can be removed by whoever cannot read it
//! ```

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use runtime::Random;
use sha2::{Digest as _, Sha256};

use crate::{
    BackupError, Identity, Manifest, Opened, Recipient, Sealed, making::copy_all,
    manifest::hexadecimal,
};

/// How many written files, and how many of their bytes, wait for one sync of the disk.
const FILES_AT_ONCE: usize = 512;
const BYTES_AT_ONCE: u64 = 256 << 20;

/// The longest list of a sealed backup's files, in bytes.
const MAX_MANIFEST: u64 = 2 << 30;

/// A key of names, from a secret that whoever makes the backups has.
pub fn naming_key(secret: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"names of sealed files\0")
        .chain_update(secret)
        .finalize()
        .into()
}

/// Whom backups are sealed for.
#[derive(Clone, Debug)]
pub struct Seal {
    /// Whoever has the secret key can read them.
    pub recipient: Recipient,
    /// A secret of the server's: with it the names of files are made of their hashes.
    pub names: [u8; 32],
}

/// What the file `sealed` says.
pub(crate) struct Marker {
    pub(crate) server_name: String,
    recipient: String,
}

/// A folder of backups, held by this process alone where it is to be changed.
pub struct Repository {
    folder: PathBuf,
    seal: Option<Seal>,
    identity: Option<Identity>,
    random: Random,
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
    pub fn create(
        folder: &Path,
        server_name: &str,
        seal: Option<Seal>,
    ) -> Result<Self, BackupError> {
        make_folder(folder).map_err(BackupError::writing(folder))?;
        if !folder.join("backups").is_dir() && !is_empty(folder)? {
            return Err(BackupError::Foreign(folder.to_owned()));
        }
        let lock = lock(folder)?;
        for part in ["backups", "objects", "unfinished"] {
            let part = folder.join(part);
            make_folder(&part).map_err(BackupError::writing(&part))?;
        }
        let mut repository = Self::new(folder, Some(lock));
        repository.must_be_of(server_name, seal.as_ref())?;
        repository.seal = seal;
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

    /// The folder as somebody sees it who only looks, and waits for nobody who makes a backup
    /// there.
    pub fn look(folder: &Path) -> Self {
        Self::new(folder, None)
    }

    /// With the secret key that opens what is sealed.
    #[must_use]
    pub fn with_identity(mut self, identity: Option<Identity>) -> Self {
        self.identity = identity;
        self
    }

    /// Refuses a folder that has another server's backups, or backups of another kind. Notes
    /// in a new one which kind its backups are.
    fn must_be_of(&self, server_name: &str, seal: Option<&Seal>) -> Result<(), BackupError> {
        let (marker, names) = (self.marker()?, self.names()?);
        let found = match &marker {
            Some(marker) => Some(marker.server_name.clone()),
            None => self.newest()?.map(|held| held.manifest.about.server_name),
        };
        if let Some(found) = found.filter(|found| found != server_name) {
            return Err(BackupError::OtherServer {
                folder: self.folder.clone(),
                found,
                wanted: server_name.to_owned(),
            });
        }
        let sealed_for = marker.map(|marker| marker.recipient);
        let wanted = seal.map(|seal| seal.recipient.to_string());
        if sealed_for == wanted {
            return Ok(());
        }
        if sealed_for.is_some() || !names.is_empty() {
            return Err(BackupError::OtherSeal {
                folder: self.folder.clone(),
                sealed_for,
            });
        }
        let path = self.folder.join("sealed");
        let text = format!("server {server_name}\nto {}\n", wanted.unwrap_or_default());
        fs::write(&path, text).map_err(BackupError::writing(&path))?;
        let needed = self.folder.join("needed");
        make_folder(&needed).map_err(BackupError::writing(&needed))
    }

    /// Whose sealed backups are here, and whom they are sealed for; none if they are not.
    pub(crate) fn marker(&self) -> Result<Option<Marker>, BackupError> {
        let path = self.folder.join("sealed");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BackupError::reading(&path)(error)),
        };
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap_or_default().to_owned()
        };
        Ok(Some(Marker {
            server_name: field("server "),
            recipient: field("to "),
        }))
    }

    /// Whose backups these are, where they are sealed: what can be said without a key.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn sealed_server(&self) -> Result<Option<String>, BackupError> {
        Ok(self.marker()?.map(|marker| marker.server_name))
    }

    /// When the newest backup was ended, by the clock of the folder's disk.
    ///
    /// # Errors
    /// If there is none.
    pub fn newest_age(&self) -> Result<std::time::Duration, BackupError> {
        let missing = || BackupError::Missing {
            folder: self.folder.clone(),
            name: None,
        };
        let name = self.names()?.pop().ok_or_else(missing)?;
        let path = self.folder.join("backups").join(name);
        let modified = fs::metadata(&path).and_then(|found| found.modified());
        let modified = modified.map_err(BackupError::reading(&path))?;
        Ok(modified.elapsed().unwrap_or_default())
    }

    fn new(folder: &Path, lock: Option<File>) -> Self {
        Self {
            seal: None,
            identity: None,
            random: Random::system(),
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
        let mut file = File::open(&path).map_err(BackupError::reading(&path))?;
        let mut text = String::new();
        let read = match (self.marker()?, &self.identity) {
            (None, _) => file.read_to_string(&mut text),
            (Some(_), None) => return Err(BackupError::Sealed(self.folder.clone())),
            (Some(_), Some(identity)) => Opened::new(io::BufReader::new(file), identity)
                .and_then(|opened| opened.take(MAX_MANIFEST).read_to_string(&mut text)),
        };
        read.map_err(BackupError::reading(&path))?;
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

    /// The files of the newest backup; none where they are sealed, so that every file is
    /// read again, though not copied.
    pub(crate) fn earlier(&self) -> Result<Manifest, BackupError> {
        if self.seal.is_some() {
            return Ok(Manifest::default());
        }
        let newest = self.newest()?;
        Ok(newest.map_or_else(Manifest::default, |held| held.manifest))
    }

    /// Where bytes lie under a name.
    fn place_of(&self, name: &[u8; 32]) -> PathBuf {
        let name = hexadecimal(name);
        let first = name.get(..2).unwrap_or_default();
        self.folder.join("objects").join(first).join(&name)
    }

    /// Where the bytes with a hash lie; `names` is the key of names of those that are sealed.
    pub(crate) fn object(&self, hash: &[u8; 32], names: Option<&[u8; 32]>) -> PathBuf {
        self.place_of(&named(hash, names))
    }

    /// The bytes with a hash that a backup has; none if they are not there.
    pub(crate) fn open_object(
        &self,
        hash: &[u8; 32],
        manifest: &Manifest,
    ) -> Result<Option<Box<dyn Read>>, BackupError> {
        let names = manifest.about.names.as_ref();
        let path = self.object(hash, names);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BackupError::reading(&path)(error)),
        };
        match (names, &self.identity) {
            (None, _) => Ok(Some(Box::new(file))),
            (Some(_), None) => Err(BackupError::Sealed(self.folder.clone())),
            (Some(_), Some(identity)) => match Opened::new(io::BufReader::new(file), identity) {
                Ok(opened) => Ok(Some(Box::new(opened))),
                // Damaged at its beginning: as good as not there.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
                Err(error) => Err(BackupError::reading(&path)(error)),
            },
        }
    }

    /// Whether what is made is sealed.
    pub(crate) fn is_sealed(&self) -> bool {
        self.seal.is_some()
    }

    /// The key of names, where what is made is sealed.
    fn own_names(&self) -> Option<&[u8; 32]> {
        self.seal.as_ref().map(|seal| &seal.names)
    }

    /// Whether so many bytes lie under a hash, or are about to.
    pub(crate) fn has(&self, hash: &[u8; 32], length: u64) -> bool {
        if self.pending_hashes.contains(hash) {
            return true;
        }
        let found = fs::metadata(self.object(hash, self.own_names()));
        // What is sealed is longer; under its name stands only what is whole.
        found.is_ok_and(|found| self.seal.is_some() || found.len() == length)
    }

    /// Copies bytes into a file that [`Repository::begin`] gave out, sealed if they shall be.
    pub(crate) fn write(
        &self,
        from: &mut impl Read,
        file: File,
        from_path: &Path,
        to_path: &Path,
    ) -> Result<(), BackupError> {
        let writing = || BackupError::writing(to_path);
        let Some(seal) = &self.seal else {
            return copy_all(from, &mut &file, from_path, to_path);
        };
        let mut sealed = Sealed::new(io::BufWriter::new(file), &seal.recipient, &self.random)
            .map_err(writing())?;
        copy_all(from, &mut sealed, from_path, to_path)?;
        sealed.finish().map_err(writing())?;
        Ok(())
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
            let object = self.object(&hash, self.own_names());
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
        let text = match self.seal.clone() {
            None => manifest.to_text(),
            Some(seal) => {
                self.write_needed(&name, manifest, &seal)?;
                let mut manifest = manifest.clone();
                manifest.about.names = Some(seal.names);
                manifest.to_text()
            }
        };
        self.write_whole(
            &self.folder.join("backups").join(&name),
            text.as_bytes(),
            true,
        )?;
        Ok(name)
    }

    /// Lists the objects that a sealed backup needs.
    fn write_needed(
        &mut self,
        name: &str,
        manifest: &Manifest,
        seal: &Seal,
    ) -> Result<(), BackupError> {
        let hashes = manifest.files.values().map(|file| &file.hash);
        let names: BTreeSet<[u8; 32]> = hashes.map(|hash| named(hash, Some(&seal.names))).collect();
        let lines: Vec<String> = names.iter().map(hexadecimal).collect();
        let text = lines.join("\n") + "\n";
        self.write_whole(
            &self.folder.join("needed").join(name),
            text.as_bytes(),
            false,
        )
    }

    /// Writes a file, whole or not at all, and waits until it is on disk.
    fn write_whole(
        &mut self,
        path: &Path,
        bytes: &[u8],
        may_seal: bool,
    ) -> Result<(), BackupError> {
        let (unfinished, file) = self.begin()?;
        let copy = file.try_clone().map_err(BackupError::writing(path))?;
        match may_seal {
            true => self.write(&mut &*bytes, copy, path, &unfinished)?,
            false => copy_all(&mut &*bytes, &mut &copy, path, &unfinished)?,
        }
        let above = path.parent().unwrap_or(&self.folder);
        file.sync_all()
            .and_then(|()| fs::rename(&unfinished, path))
            .and_then(|()| File::open(above)?.sync_all())
            .map_err(BackupError::writing(path))
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
        let (with, who) = match &self.seal {
            None => ("", "Whoever can read it".to_owned()),
            Some(seal) => (
                " --identity FILE",
                format!("Whoever has the secret key of {}", seal.recipient),
            ),
        };
        let text = format!(
            "Backups of the Matrix server {server_name}, made by `cairn backup create`.\n\
             Check one:    cairn backup verify FOLDER{with}\n\
             Restore one:  cairn backup restore FOLDER{with}\n\
             Nothing here may be changed by hand. {who}\n\
             can read everything that the server knows, and can be the server.\n"
        );
        if fs::read_to_string(&path).is_ok_and(|found| found == text) {
            return Ok(());
        }
        fs::write(&path, text).map_err(BackupError::writing(&path))
    }
}

/// Under which name the bytes with a hash lie.
fn named(hash: &[u8; 32], names: Option<&[u8; 32]>) -> [u8; 32] {
    match names {
        None => *hash,
        // Both have one length: nobody can make one name of two.
        Some(key) => Sha256::new()
            .chain_update(key)
            .chain_update(hash)
            .finalize()
            .into(),
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
