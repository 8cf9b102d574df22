//! Putting single files back that are damaged on a server's disk.
//!
//! Files of the database that never change, and uploaded files, have under their name the same
//! bytes for ever: in one life of the database, and in all of it. So one that differs from what
//! a backup has of it is damaged, and can be put back without losing what came after.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use sha2::{Digest as _, Sha256};

use crate::{
    BackupError, FileRecord, Held, Progress, Repository,
    folders::{create, entries, make_folder},
    is_immutable,
    laying::sync_all,
    making::{copy_all, media_name},
    manifest::{hexadecimal, parse_hexadecimal},
};

/// How many bytes are read at once.
const PIECE: usize = 1 << 20;

/// What became of damaged files, by their names in the data folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// How many files were compared with what they should be.
    pub compared: u64,
    /// Put back as they were.
    pub put_back: Vec<String>,
    /// Damaged, and in no backup as they should be.
    pub beyond: Vec<String>,
}

/// Compares the files of the data folder `folder`, which no server uses, with the backups of
/// the database's life `epoch`, and puts back what is damaged. `missing` are files of the
/// database that are not there and should be.
///
/// # Errors
/// If something cannot be read or written.
pub fn mend(
    repository: &Repository,
    folder: &Path,
    epoch: u64,
    missing: &[String],
    progress: &mut dyn Progress,
) -> Result<Mended, BackupError> {
    let mut backups = Vec::new();
    for name in repository.names()?.iter().rev() {
        match repository.backup(Some(name)) {
            Ok(held) => backups.push(held),
            Err(BackupError::Manifest(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let mut mending = Mending {
        repository,
        folder,
        progress,
        found: Mended::default(),
    };
    mending.progress.begin("comparing");
    let known = database_files(&backups, epoch);
    for (name, record) in &known {
        let path = folder.join(name);
        let is_missing = missing.contains(name) && !path.exists();
        if is_missing || mending.is_damaged(&path, &record.hash)? {
            mending.put_back(name, record, &backups)?;
        }
    }
    let beyond = missing.iter().filter(|name| !known.contains_key(*name));
    mending.found.beyond.extend(beyond.cloned());
    for hash in media_files(folder)? {
        let name = media_name(&hash);
        if mending.is_damaged(&folder.join(&name), &hash)? {
            let record = FileRecord {
                hash,
                length: 0,
                modified: 0,
            };
            mending.put_back(&name, &record, &backups)?;
        }
    }
    let found = mending.found;
    sync_all(folder)?;
    Ok(found)
}

/// The files of the database that never change, as the newest backup of this life has them.
fn database_files(backups: &[Held], epoch: u64) -> BTreeMap<String, FileRecord> {
    let mut known = BTreeMap::new();
    let same_life = |held: &&Held| held.manifest.about.epoch == epoch;
    for held in backups.iter().filter(same_life) {
        let files = held.manifest.files.iter();
        for (name, file) in files.filter(|(name, _)| is_immutable(name)) {
            known.entry(name.clone()).or_insert(*file);
        }
    }
    known
}

/// The hashes that uploaded files have as their names.
fn media_files(folder: &Path) -> Result<BTreeSet<[u8; 32]>, BackupError> {
    let mut found = BTreeSet::new();
    for first in entries(&folder.join("media"))? {
        if !first.is_dir() || first.ends_with("unfinished") || first.ends_with("thumbnails") {
            continue;
        }
        for second in entries(&first)? {
            for path in entries(&second)? {
                let name = path.file_name().and_then(|name| name.to_str());
                found.extend(name.and_then(parse_hexadecimal));
            }
        }
    }
    Ok(found)
}

struct Mending<'a> {
    repository: &'a Repository,
    folder: &'a Path,
    progress: &'a mut dyn Progress,
    found: Mended,
}

impl Mending<'_> {
    /// Whether a file is there and has other bytes.
    fn is_damaged(&mut self, path: &Path, hash: &[u8; 32]) -> Result<bool, BackupError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            // It was not needed any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(BackupError::reading(path)(error)),
        };
        let length = file.metadata().map_err(BackupError::reading(path))?.len();
        self.progress.expect(length);
        self.found.compared += 1;
        // A disk that cannot read it any more has damaged it.
        let found = hash_of(&mut file, self.progress).ok();
        Ok(found != Some(*hash))
    }

    /// Puts a file back from the newest backup that has its bytes.
    fn put_back(
        &mut self,
        name: &str,
        record: &FileRecord,
        backups: &[Held],
    ) -> Result<(), BackupError> {
        let path = self.folder.join(name);
        for held in backups {
            if held.manifest.files.get(name).map(|file| file.hash) != Some(record.hash) {
                continue;
            }
            if self.copy(&path, &record.hash, held)? {
                self.found.put_back.push(name.to_owned());
                return Ok(());
            }
        }
        let said = format!("{name} ({})", hexadecimal(&record.hash));
        self.found.beyond.push(said);
        Ok(())
    }

    /// Copies the bytes of a backup in place of a file, if they are what they should be.
    fn copy(&mut self, path: &Path, hash: &[u8; 32], held: &Held) -> Result<bool, BackupError> {
        let above = path.parent().unwrap_or(self.folder);
        make_folder(above).map_err(BackupError::writing(above))?;
        let unfinished = path.with_extension("mended");
        let _ = fs::remove_file(&unfinished);
        let Some(mut source) = self.repository.open_object(hash, &held.manifest)? else {
            return Ok(false);
        };
        let mut target = create(&unfinished).map_err(BackupError::writing(&unfinished))?;
        let copied = copy_all(&mut source, &mut target, path, &unfinished);
        let is_whole = copied.is_ok()
            && File::open(&unfinished)
                .and_then(|mut file| hash_of(&mut file, self.progress))
                .is_ok_and(|found| found == *hash);
        let ended = match is_whole {
            true => target
                .sync_all()
                .and_then(|()| fs::rename(&unfinished, path)),
            false => fs::remove_file(&unfinished),
        };
        ended.map_err(BackupError::writing(path))?;
        Ok(is_whole)
    }
}

/// The SHA-256 of what is read to the end.
pub(crate) fn hash_of(file: &mut impl Read, progress: &mut dyn Progress) -> io::Result<[u8; 32]> {
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hasher.finalize().into());
        }
        hasher.update(piece.get(..read).unwrap_or_default());
        progress.done(read as u64);
    }
}
