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

mod writing;

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use runtime::Random;
use sha2::{Digest as _, Sha256};

use crate::{
    BackupError, Identity, Manifest, Opened, Recipient,
    folders::{entries, is_empty, lock, make_folder},
    manifest::hexadecimal,
};

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
