//! Writing backups into a folder of them: bytes first, their names last.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{Repository, Seal, named, number_of};
use crate::{
    BackupError, Manifest, Sealed,
    folders::{create, make_folder, sync_disk},
    making::copy_all,
    manifest::hexadecimal,
};

/// How many written files, and how many of their bytes, wait for one sync of the disk.
const FILES_AT_ONCE: usize = 512;
const BYTES_AT_ONCE: u64 = 256 << 20;

impl Repository {
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

    /// Writes what the folder is, for whoever finds it.
    pub(super) fn write_readme(&self, server_name: &str) -> Result<(), BackupError> {
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
