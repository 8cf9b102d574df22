//! Backups of small folders.

mod sealed;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use runtime::Timestamp;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::{
    About, BackupError, KEY, Layout, Made, Making, Manifest, NoProgress, Repository, Unpacked,
    making::media_name, unpack_backup, unpack_stream,
};

/// A data folder, a folder of backups and a place to lay them out.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let place = Self { root };
        for (name, text) in [
            ("database/CURRENT", "MANIFEST-000001\n"),
            ("database/MANIFEST-000001", "one"),
            ("database/000004.log", "log"),
            ("database/000005.sst", "sorted"),
            ("database/LOCK", ""),
            ("database/LOG", "notes"),
            (KEY, "the key"),
            ("media/unfinished/x", "half"),
            ("media/thumbnails/aa/y", "small"),
        ] {
            place.write(name, text);
        }
        place.upload("a picture");
        place
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn backups(&self) -> PathBuf {
        self.root.path().join("backups")
    }

    fn target(&self) -> PathBuf {
        self.root.path().join("into")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn upload(&self, text: &str) -> String {
        let name = media_name(&Sha256::digest(text.as_bytes()).into());
        self.write(&name, text);
        name
    }

    fn fill(&self, mut making: Making<'_>, second: u64) -> Result<Made, BackupError> {
        making.add_media(&self.data().join("media"))?;
        making.add_database(&self.data().join("database"))?;
        making.add_media(&self.data().join("media"))?;
        making.add_file(KEY, &self.data().join(KEY))?;
        making.finish(about(second))
    }

    fn back_up(&self, second: u64) -> Made {
        let repository = Repository::create(&self.backups(), "a.test", None).unwrap();
        let mut progress = NoProgress;
        let making = Making::into_folder(repository, &mut progress).unwrap();
        self.fill(making, second).unwrap()
    }

    fn layout(&self) -> Layout {
        let _ = fs::remove_dir_all(self.target());
        Layout {
            into: self.target(),
            with_media: true,
            may_link: false,
        }
    }

    fn lay_out(&self, name: Option<&str>) -> Result<Unpacked, BackupError> {
        let repository = Repository::open(&self.backups())?;
        let held = repository.backup(name)?;
        unpack_backup(&repository, &held.manifest, &self.layout(), &mut NoProgress)
    }

    /// All bytes in the folder of backups that no list names.
    fn objects(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for folder in fs::read_dir(self.backups().join("objects")).unwrap() {
            for file in fs::read_dir(folder.unwrap().path()).unwrap() {
                found.push(file.unwrap().path());
            }
        }
        found
    }

    fn object(&self, text: &str) -> PathBuf {
        let hash: String = Sha256::digest(text.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let objects = self.objects();
        objects
            .into_iter()
            .find(|path| path.ends_with(&hash))
            .unwrap()
    }
}

fn about(second: u64) -> About {
    About {
        server_name: "a.test".to_owned(),
        made_at: Timestamp(second * 1_000),
        version: "1.2.3".to_owned(),
        position: 40 + second,
        epoch: 7,
        configuration: "/etc/cairn/a file.toml".to_owned(),
        names: None,
    }
}

#[test]
fn what_went_in_comes_out() {
    let place = Place::new();
    let made = place.back_up(1);
    assert_eq!((made.files, made.copied_files), (6, 6), "{made:?}");
    let unpacked = place.lay_out(None).unwrap();
    assert_eq!(unpacked.key, b"the key");
    assert_eq!(unpacked.manifest.about, about(1));
    assert!(!place.target().join(KEY).exists(), "the key comes last");
    for name in [
        "database/CURRENT",
        "database/000004.log",
        "database/000005.sst",
    ] {
        let (before, after) = (place.data().join(name), place.target().join(name));
        assert_eq!(
            fs::read(before).unwrap(),
            fs::read(after).unwrap(),
            "{name}"
        );
    }
    let picture = media_name(&Sha256::digest(b"a picture").into());
    assert_eq!(
        fs::read(place.target().join(picture)).unwrap(),
        b"a picture"
    );
    for name in ["database/LOG", "media/unfinished", "media/thumbnails"] {
        assert!(!place.target().join(name).exists(), "{name}");
    }
    for private in [place.target(), place.backups().join("objects")] {
        let mode = fs::metadata(&private).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{private:?}");
    }
}

#[test]
fn a_later_backup_copies_what_is_new_and_leaves_the_earlier_whole() {
    let place = Place::new();
    place.back_up(1);
    place.write("database/000009.sst", "more");
    place.write("database/CURRENT", "MANIFEST-000002\n");
    place.write("database/MANIFEST-000002", "two");
    fs::remove_file(place.data().join("database/MANIFEST-000001")).unwrap();
    place.upload("a film");
    let made = place.back_up(2);
    // The log and the key may have changed as well, and are read again.
    assert_eq!((made.files, made.copied_files), (8, 6), "{made:?}");
    let names = Repository::open(&place.backups()).unwrap().names().unwrap();
    assert_eq!(names.len(), 2);
    assert!(
        names[0].starts_with("000001-1970-01-01T00-00-01"),
        "{names:?}"
    );
    let first = place.lay_out(Some(&names[0])).unwrap();
    assert_eq!(first.manifest.about.position, 41);
    assert!(place.target().join("database/MANIFEST-000001").exists());
    assert!(!place.target().join("database/000009.sst").exists());
    place.lay_out(Some(&names[1])).unwrap();
    assert!(place.target().join("database/000009.sst").exists());
    assert!(place.lay_out(Some("000003-x")).is_err());
}

#[test]
fn a_sorted_file_of_the_same_name_that_was_made_anew_is_copied() {
    let place = Place::new();
    place.back_up(1);
    let path = place.data().join("database/000005.sst");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "SORTED").unwrap();
    place.back_up(2);
    place.lay_out(None).unwrap();
    assert_eq!(
        fs::read(place.target().join("database/000005.sst")).unwrap(),
        b"SORTED"
    );
}

#[test]
fn what_breaks_off_changes_nothing() {
    let place = Place::new();
    place.back_up(1);
    place.upload("a film");
    place.write("database/000009.sst", "more");
    {
        let repository = Repository::create(&place.backups(), "a.test", None).unwrap();
        let mut progress = NoProgress;
        let mut making = Making::into_folder(repository, &mut progress).unwrap();
        making.add_media(&place.data().join("media")).unwrap();
        making.add_database(&place.data().join("database")).unwrap();
    }
    assert!(
        fs::read_dir(place.backups().join("unfinished"))
            .unwrap()
            .count()
            > 0
    );
    let names = Repository::open(&place.backups()).unwrap().names().unwrap();
    assert_eq!(names.len(), 1);
    place.lay_out(None).unwrap();
    // What it had written is neither trusted nor left.
    place.back_up(2);
    assert_eq!(
        fs::read_dir(place.backups().join("unfinished"))
            .unwrap()
            .count(),
        0
    );
    place.lay_out(None).unwrap();
}

#[test]
fn old_backups_go_with_what_only_they_need() {
    let place = Place::new();
    place.back_up(1);
    let film = place.upload("a film");
    place.back_up(2);
    fs::remove_file(place.data().join(film)).unwrap();
    place.upload("a song");
    place.back_up(3);
    let repository = Repository::create(&place.backups(), "a.test", None).unwrap();
    assert_eq!(repository.prune(5).unwrap(), (Vec::new(), 0));
    assert_eq!(place.objects().len(), 8);
    let (removed, freed) = repository.prune(1).unwrap();
    assert_eq!((removed.len(), freed), (2, "a film".len() as u64));
    drop(repository);
    let unpacked = place.lay_out(None).unwrap();
    assert!(unpacked.damaged.is_empty());
    assert_eq!(unpacked.manifest.about, about(3));
}

#[test]
fn each_damaged_byte_is_found() {
    let place = Place::new();
    place.back_up(1);
    for (text, fatal) in [
        ("a picture", false),
        ("sorted", true),
        ("the key", true),
        ("log", true),
    ] {
        let object = place.object(text);
        let whole = fs::read(&object).unwrap();
        let mut flipped = whole.clone();
        flipped[1] ^= 1;
        for damaged in [Some(flipped), Some(whole[1..].to_vec()), None] {
            match &damaged {
                Some(bytes) => fs::write(&object, bytes).unwrap(),
                None => fs::remove_file(&object).unwrap(),
            }
            match place.lay_out(None) {
                Ok(unpacked) => {
                    assert!(!fatal, "{text}");
                    assert_eq!(unpacked.damaged.len(), 1, "{unpacked:?}");
                    let name = unpacked.damaged[0].split(' ').next().unwrap();
                    assert!(
                        !place.target().join(name).exists(),
                        "better none than a wrong one"
                    );
                }
                Err(error) => assert!(fatal && matches!(error, BackupError::Damaged(_)), "{error}"),
            }
        }
        fs::write(&object, whole).unwrap();
    }
    place.lay_out(None).unwrap();
    let list = fs::read_dir(place.backups().join("backups"))
        .unwrap()
        .next();
    let list = list.unwrap().unwrap().path();
    let text = fs::read_to_string(&list).unwrap();
    for other in [
        text.replace("position 41", "position 42"),
        text[..text.len() - 10].to_owned(),
        text.lines().take(8).collect::<Vec<_>>().join("\n"),
        String::new(),
    ] {
        fs::write(&list, other).unwrap();
        let error = place.lay_out(None).unwrap_err();
        assert!(matches!(error, BackupError::Manifest(_)), "{error}");
    }
}

#[test]
fn a_file_that_is_damaged_on_the_server_is_named_and_replaces_no_good_one() {
    let place = Place::new();
    place.back_up(1);
    let picture = media_name(&Sha256::digest(b"a picture").into());
    place.write(&picture, "A picture");
    let film = place.upload("a film");
    place.write(&film, "a filn");
    let made = place.back_up(2);
    assert_eq!(
        made.damaged,
        [place.data().join(&film).display().to_string()]
    );
    place.lay_out(None).unwrap();
    assert_eq!(
        fs::read(place.target().join(picture)).unwrap(),
        b"a picture"
    );
}

#[test]
fn only_an_empty_folder_is_filled() {
    let place = Place::new();
    place.back_up(1);
    let layout = place.layout();
    fs::create_dir_all(place.target()).unwrap();
    fs::write(place.target().join("cherished"), "").unwrap();
    let repository = Repository::open(&place.backups()).unwrap();
    let manifest = repository.backup(None).unwrap().manifest;
    let error = unpack_backup(&repository, &manifest, &layout, &mut NoProgress).unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty(_)), "{error}");
    assert_eq!(fs::read_dir(place.target()).unwrap().count(), 1);
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let place = Place::new();
    for folder in [place.data(), place.backups()] {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("letter"), "").unwrap();
        let error = Repository::create(&folder, "a.test", None).err().unwrap();
        assert!(matches!(error, BackupError::Foreign(_)), "{error}");
    }
    fs::remove_file(place.backups().join("letter")).unwrap();
    place.back_up(1);
    let error = Repository::create(&place.backups(), "b.test", None)
        .err()
        .unwrap();
    assert!(matches!(error, BackupError::OtherServer { .. }), "{error}");
    let held = Repository::create(&place.backups(), "a.test", None).unwrap();
    let error = Repository::create(&place.backups(), "a.test", None)
        .err()
        .unwrap();
    assert!(matches!(error, BackupError::InUse(_)), "{error}");
    drop(held);
}

#[test]
fn a_rehearsal_shares_what_never_changes() {
    let place = Place::new();
    place.back_up(1);
    let repository = Repository::open(&place.backups()).unwrap();
    let manifest = repository.backup(None).unwrap().manifest;
    let layout = Layout {
        into: repository.scratch().unwrap(),
        with_media: false,
        may_link: true,
    };
    unpack_backup(&repository, &manifest, &layout, &mut NoProgress).unwrap();
    let links = |name: &str| fs::metadata(layout.into.join(name)).unwrap().nlink();
    assert_eq!(links("database/000005.sst"), 2);
    assert_eq!(links("database/CURRENT"), 1);
    assert!(!layout.into.join("media").exists());
}

/// A writer that others see.
#[derive(Clone, Default)]
struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stream_holds_the_same_and_shows_where_it_was_cut() {
    let place = Place::new();
    let stream = Shared::default();
    let mut progress = NoProgress;
    let making = Making::into_stream(Box::new(stream.clone()), None, &mut progress).unwrap();
    let made = place.fill(making, 1).unwrap();
    assert_eq!((made.files, made.name.as_str()), (6, ""));
    let bytes = stream.0.lock().unwrap().clone();
    let unpacked = unpack_stream(&bytes[..], &place.layout(), &mut NoProgress).unwrap();
    assert_eq!(unpacked.key, b"the key");
    assert_eq!(unpacked.manifest.about, about(1));
    let picture = media_name(&Sha256::digest(b"a picture").into());
    assert_eq!(
        fs::read(place.target().join(picture)).unwrap(),
        b"a picture"
    );
    for end in [0, 100, 512, 3_000, bytes.len() / 2] {
        let cut = unpack_stream(&bytes[..end], &place.layout(), &mut NoProgress);
        assert!(cut.is_err(), "{end}");
    }
    let mut flipped = bytes.clone();
    let place_of_key = bytes
        .windows(7)
        .position(|text| text == b"the key")
        .unwrap();
    flipped[place_of_key] ^= 1;
    let error = unpack_stream(&flipped[..], &place.layout(), &mut NoProgress).unwrap_err();
    assert!(matches!(error, BackupError::Damaged(_)), "{error}");
}

#[test]
fn an_archive_writes_nowhere_else() {
    let place = Place::new();
    for name in [
        "../escaped",
        "/tmp/escaped",
        "database/../../escaped",
        "elsewhere/x",
        "media",
    ] {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o600);
        // `set_path` refuses some of these names, so they are written as bytes.
        let field = &mut header.as_old_mut().name;
        field[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.append(&header, &b"x"[..]).unwrap();
        let bytes = archive.into_inner().unwrap();
        let error = unpack_stream(&bytes[..], &place.layout(), &mut NoProgress).unwrap_err();
        assert!(matches!(error, BackupError::Stray(_)), "{name}: {error}");
        assert!(!place.root.path().join("escaped").exists());
    }
    let linked = {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        archive
            .append_link(&mut header, "database/link", Path::new("/etc"))
            .unwrap();
        archive.into_inner().unwrap()
    };
    let error = unpack_stream(&linked[..], &place.layout(), &mut NoProgress).unwrap_err();
    assert!(matches!(error, BackupError::Stray(_)), "{error}");
}

#[test]
fn a_list_reads_as_it_was_written() {
    let place = Place::new();
    place.back_up(1);
    let repository = Repository::open(&place.backups()).unwrap();
    let manifest = repository.backup(None).unwrap().manifest;
    assert_eq!(Manifest::parse(&manifest.to_text()).unwrap(), manifest);
    for name in ["../x", "/x", "a/./b", "", "a//b", "a/"] {
        let mut other = manifest.clone();
        let file = *other.files.values().next().unwrap();
        other.files.insert(name.to_owned(), file);
        assert!(Manifest::parse(&other.to_text()).is_err(), "{name}");
    }
}
