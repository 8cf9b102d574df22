//! Removing old backups.

use std::{
    collections::BTreeSet,
    fs::{self, File},
};

use crate::{BackupError, Repository, folders::entries, manifest::parse_hexadecimal};

impl Repository {
    /// Removes all backups but the newest `keep`, and the bytes that none of those needs.
    /// Returns the names of the removed ones and how many bytes that freed. If the list of one
    /// that is kept cannot be read, nothing is removed.
    ///
    /// # Errors
    /// If something cannot be read or removed.
    pub fn prune(&self, keep: usize) -> Result<(Vec<String>, u64), BackupError> {
        let mut names = self.names()?;
        let kept = names.split_off(names.len().saturating_sub(keep.max(1)));
        let is_sealed = self.marker()?.is_some();
        let mut needed = BTreeSet::new();
        for name in &kept {
            needed.extend(self.needed_by(name, is_sealed)?);
        }
        let backups = self.folder().join("backups");
        for name in &names {
            let path = backups.join(name);
            fs::remove_file(&path).map_err(BackupError::writing(&path))?;
            if is_sealed {
                let list = self.folder().join("needed").join(name);
                fs::remove_file(&list).map_err(BackupError::writing(&list))?;
            }
        }
        File::open(&backups)
            .and_then(|folder| folder.sync_all())
            .map_err(BackupError::writing(&backups))?;
        let mut freed = 0;
        for folder in entries(&self.folder().join("objects"))? {
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

    /// The names of the objects that a backup needs.
    fn needed_by(&self, name: &str, is_sealed: bool) -> Result<Vec<[u8; 32]>, BackupError> {
        if !is_sealed {
            let files = self.backup(Some(name))?.manifest.files;
            return Ok(files.values().map(|file| file.hash).collect());
        }
        let path = self.folder().join("needed").join(name);
        let text = fs::read_to_string(&path).map_err(BackupError::reading(&path))?;
        let damaged = || BackupError::Manifest(path.display().to_string());
        let names = text.lines().map(parse_hexadecimal);
        names.collect::<Option<Vec<_>>>().ok_or_else(damaged)
    }
}
