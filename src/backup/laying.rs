//! Laying a backup out in a folder, with every byte compared with the list.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{
    BackupError, CONFIGURATION, FileRecord, KEY, Manifest, Progress, Repository,
    folders::{create, is_empty, make_folder, sync_disk},
    is_immutable,
    making::{MANIFEST, media_name},
    manifest::{hexadecimal, is_safe},
};

/// How many bytes are read at once.
const PIECE: usize = 1 << 20;
/// The longest signing key, in bytes.
const MAX_KEY: u64 = 64 << 10;
/// The longest manifest in an archive, in bytes: some ten million files.
const MAX_MANIFEST: u64 = 2 << 30;

/// What is laid out, and where.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The data folder, empty or not there yet.
    pub into: PathBuf,
    /// Whether uploaded files are written, or only checked.
    pub with_media: bool,
    /// Whether files that never change may be hard links to those of the backup.
    pub may_link: bool,
}

/// What was laid out: everything but the signing key, which comes last, as a data folder
/// without its key is none that a server starts on.
#[derive(Clone, Debug, Default)]
pub struct Unpacked {
    /// The backup's list.
    pub manifest: Manifest,
    /// The signing key's file.
    pub key: Vec<u8>,
    /// What is damaged and could be done without: uploaded files, by their hashes.
    pub damaged: Vec<String>,
}

/// Lays out a backup from a folder of backups.
///
/// # Errors
/// If the target is not empty, or something is damaged that a server needs.
pub fn unpack_backup(
    repository: &Repository,
    manifest: &Manifest,
    layout: &Layout,
    progress: &mut dyn Progress,
) -> Result<Unpacked, BackupError> {
    let mut laying = Laying::begin(layout, progress)?;
    laying.progress.begin("copying");
    laying.progress.expect(manifest.bytes());
    for (name, file) in &manifest.files {
        let names = manifest.about.names.as_ref();
        let object = repository.object(&file.hash, names);
        // What is sealed is of no use where it is.
        let link = Some(object.as_path()).filter(|_| names.is_none());
        if let Some(mut source) = repository.open_object(&file.hash, manifest)? {
            laying.take(name, &mut source, &object, link)?;
        }
    }
    laying.end(manifest.clone())
}

/// Lays out a backup from a tar archive.
///
/// # Errors
/// As [`unpack_backup`]; and if the archive holds anything else.
pub fn unpack_stream(
    stream: impl Read,
    layout: &Layout,
    progress: &mut dyn Progress,
) -> Result<Unpacked, BackupError> {
    let failed = |reason| BackupError::Stream {
        doing: "read",
        reason,
    };
    let mut laying = Laying::begin(layout, progress)?;
    laying.progress.begin("copying");
    let mut archive = tar::Archive::new(stream);
    let mut manifest = None;
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let path = entry.path().map_err(failed)?.into_owned();
        let name = path.to_string_lossy().into_owned();
        let stray = || BackupError::Stray(name.clone());
        if entry.header().entry_type() != tar::EntryType::Regular || manifest.is_some() {
            return Err(stray());
        }
        if name == MANIFEST {
            let mut text = String::new();
            let mut limited = (&mut entry).take(MAX_MANIFEST);
            limited.read_to_string(&mut text).map_err(failed)?;
            manifest = Some(Manifest::parse(&text)?);
        } else if is_safe(&name) {
            laying.progress.expect(entry.size());
            laying.take(&name, &mut entry, Path::new(&name), None)?;
        } else {
            return Err(stray());
        }
    }
    let cut_off = || BackupError::Manifest("it is missing: the archive ends early".to_owned());
    laying.end(manifest.ok_or_else(cut_off)?)
}

/// A backup that is being laid out.
struct Laying<'a> {
    layout: &'a Layout,
    progress: &'a mut dyn Progress,
    seen: BTreeMap<String, FileRecord>,
    key: Vec<u8>,
}

impl<'a> Laying<'a> {
    fn begin(layout: &'a Layout, progress: &'a mut dyn Progress) -> Result<Self, BackupError> {
        let into = &layout.into;
        if !is_empty(into)? {
            return Err(BackupError::NotEmpty(into.clone()));
        }
        make_folder(into).map_err(BackupError::writing(into))?;
        Ok(Self {
            layout,
            progress,
            seen: BTreeMap::new(),
            key: Vec::new(),
        })
    }

    /// Reads a file to its end, and writes it to its place if it has one.
    fn take(
        &mut self,
        name: &str,
        source: &mut impl Read,
        source_path: &Path,
        object: Option<&Path>,
    ) -> Result<(), BackupError> {
        let mut target = Target::of(name, self.layout, object)?;
        let (mut hasher, mut length) = (Sha256::new(), 0);
        let mut piece = vec![0; PIECE];
        loop {
            let read = match source.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                // Sealed bytes that were changed: what came so far is not the file.
                Err(error) if error.kind() == io::ErrorKind::InvalidData && object.is_none() => {
                    length = u64::MAX;
                    break;
                }
                Err(error) => return Err(BackupError::reading(source_path)(error)),
            };
            let bytes = piece.get(..read).unwrap_or_default();
            hasher.update(bytes);
            length += read as u64;
            match &mut target {
                Target::Nowhere => {}
                Target::File(path, file) => {
                    file.write_all(bytes)
                        .map_err(BackupError::writing(&*path))?;
                }
                Target::Memory if length <= MAX_KEY => self.key.extend_from_slice(bytes),
                Target::Memory => return Err(BackupError::Stray(name.to_owned())),
            }
            self.progress.done(read as u64);
        }
        let seen = FileRecord {
            hash: hasher.finalize().into(),
            length,
            modified: 0,
        };
        self.seen.insert(name.to_owned(), seen);
        Ok(())
    }

    /// Compares what came with what should have come.
    fn end(self, manifest: Manifest) -> Result<Unpacked, BackupError> {
        let (mut damaged, mut fatal) = (Vec::new(), Vec::new());
        for (name, file) in &manifest.files {
            let what = match self.seen.get(name) {
                None => "is missing",
                Some(seen) if seen.hash != file.hash || seen.length != file.length => "is damaged",
                Some(seen) if name.starts_with("media/") && *name != media_name(&seen.hash) => {
                    "is not what its name says"
                }
                Some(_) => continue,
            };
            let object = hexadecimal(&file.hash);
            let said = format!("{name} ({object}) {what}");
            if name.starts_with("media/") {
                // Better no file than a wrong one.
                let _ = fs::remove_file(self.layout.into.join(name));
                damaged.push(said);
            } else {
                fatal.push(said);
            }
        }
        let mut names = self.seen.keys();
        if let Some(stray) = names.find(|name| !manifest.files.contains_key(*name)) {
            return Err(BackupError::Stray(stray.clone()));
        }
        for (name, what) in [(KEY, "signing key"), ("database/CURRENT", "database")] {
            if !manifest.files.contains_key(name) {
                fatal.push(format!("it has no {what}"));
            }
        }
        if !fatal.is_empty() {
            return Err(BackupError::Damaged(fatal));
        }
        Ok(Unpacked {
            manifest,
            key: self.key,
            damaged,
        })
    }
}

/// Where a file's bytes go.
enum Target {
    Nowhere,
    Memory,
    File(PathBuf, File),
}

impl Target {
    fn of(name: &str, layout: &Layout, object: Option<&Path>) -> Result<Self, BackupError> {
        let is_configuration = name.strip_prefix(CONFIGURATION);
        let is_configuration = is_configuration.is_some_and(|rest| rest.starts_with('/'));
        if name == KEY {
            return Ok(Self::Memory);
        }
        if name.starts_with("media/") {
            if !layout.with_media {
                return Ok(Self::Nowhere);
            }
        } else if !name.starts_with("database/") && !name.starts_with("tls/") && !is_configuration {
            return Err(BackupError::Stray(name.to_owned()));
        }
        let path = layout.into.join(name);
        let above = path.parent().unwrap_or(&layout.into);
        make_folder(above).map_err(BackupError::writing(above))?;
        if let Some(object) = object.filter(|_| layout.may_link && is_immutable(name))
            && fs::hard_link(object, &path).is_ok()
        {
            return Ok(Self::Nowhere);
        }
        let file = create(&path).map_err(BackupError::writing(&path))?;
        Ok(Self::File(path, file))
    }
}

/// Gives everything below `folder` to whom the folder itself belongs, but for what lies deeper
/// than in the folder named `skipped`: who restores a server is root, who runs it is not.
///
/// # Errors
/// If that is not allowed.
pub fn give_to_owner(folder: &Path, skipped: Option<&str>) -> Result<(), BackupError> {
    use std::os::unix::fs::{MetadataExt as _, lchown};
    let owner = fs::metadata(folder).map_err(BackupError::reading(folder))?;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let is_last = skipped.is_some_and(|name| folder.ends_with(name));
        for path in crate::folders::entries(&folder)? {
            let found = fs::symlink_metadata(&path).map_err(BackupError::reading(&path))?;
            if (found.uid(), found.gid()) != (owner.uid(), owner.gid()) {
                lchown(&path, Some(owner.uid()), Some(owner.gid()))
                    .map_err(BackupError::writing(&path))?;
            }
            if found.is_dir() && !is_last {
                folders.push(path);
            }
        }
    }
    Ok(())
}

/// Waits until everything that was laid out in `folder` is on disk.
///
/// # Errors
/// If the disk refuses.
pub fn sync_all(folder: &Path) -> Result<(), BackupError> {
    sync_disk(folder)
}
