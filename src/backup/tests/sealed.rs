//! Sealed backups, and files that are put back.

use super::*;
use crate::{Identity, Recipient, Seal, mend};

const SECRET: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

fn identity() -> Identity {
    Identity::parse(SECRET).unwrap()
}

fn recipient() -> Recipient {
    identity().recipients()[0]
}

fn seal() -> Option<Seal> {
    Some(Seal {
        recipient: recipient(),
        names: [3; 32],
    })
}

impl Place {
    fn back_up_sealed(&self, second: u64) -> Made {
        let repository = Repository::create(&self.backups(), "a.test", seal()).unwrap();
        let mut progress = NoProgress;
        let making = Making::into_folder(repository, &mut progress).unwrap();
        self.fill(making, second).unwrap()
    }

    fn open_sealed(&self) -> Repository {
        let repository = Repository::open(&self.backups()).unwrap();
        repository.with_identity(Some(identity()))
    }
}

#[test]
fn sealed_backups_are_whole_and_show_nothing() {
    let place = Place::new();
    let first = place.back_up_sealed(1);
    place.write("database/000006.sst", "more");
    let second = place.back_up_sealed(2);
    assert!(second.copied_files < first.copied_files, "{second:?}");
    assert_eq!(place.objects().len(), 7);

    // No byte of what is in it, and no hash of it, stands anywhere.
    let mut folders = vec![place.backups()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            let hash = crate::manifest::hexadecimal(&Sha256::digest(b"a picture").into());
            for known in ["a picture", "the key", "database/CURRENT", &hash] {
                let found = bytes
                    .windows(known.len())
                    .any(|part| part == known.as_bytes());
                assert!(!found, "{known} in {}", path.display());
                assert!(
                    !path.to_string_lossy().contains(known),
                    "{}",
                    path.display()
                );
            }
        }
    }
    let error = Repository::open(&place.backups()).unwrap().backup(None);
    assert!(matches!(error, Err(BackupError::Sealed(_))), "{error:?}");

    let repository = place.open_sealed();
    for name in [&first.name, &second.name] {
        let held = repository.backup(Some(name)).unwrap();
        let layout = place.layout();
        let unpacked = unpack_backup(&repository, &held.manifest, &layout, &mut NoProgress);
        assert_eq!(unpacked.unwrap().key, b"the key");
        let path = place.target().join("database/000005.sst");
        assert_eq!(fs::read(path).unwrap(), b"sorted");
    }
    drop(repository);

    // Old ones go, without a key.
    let repository = Repository::create(&place.backups(), "a.test", seal()).unwrap();
    fs::remove_file(place.data().join("database/000005.sst")).unwrap();
    drop(repository);
    place.back_up_sealed(3);
    let repository = Repository::create(&place.backups(), "a.test", seal()).unwrap();
    let (removed, freed) = repository.prune(1).unwrap();
    assert_eq!(removed.len(), 2);
    assert!(freed > 0);
    assert_eq!(place.objects().len(), 6);
    drop(repository);
    let repository = place.open_sealed();
    let held = repository.backup(None).unwrap();
    unpack_backup(
        &repository,
        &held.manifest,
        &place.layout(),
        &mut NoProgress,
    )
    .unwrap();
}

#[test]
fn a_folder_has_one_kind_of_backups() {
    let place = Place::new();
    place.back_up_sealed(1);
    let kind = |seal| Repository::create(&place.backups(), "a.test", seal).err();
    assert!(matches!(kind(None), Some(BackupError::OtherSeal { .. })));
    assert!(kind(seal()).is_none());
    let stranger = Seal {
        recipient: "age18v5vpyupeuchf9h7qfsa4d843szt65mwt4q4j65shjsskzssj56s9h60n2"
            .parse()
            .unwrap(),
        names: [3; 32],
    };
    assert!(matches!(
        kind(Some(stranger)),
        Some(BackupError::OtherSeal { .. })
    ));
    let error = Repository::create(&place.backups(), "b.test", seal()).err();
    assert!(
        matches!(error, Some(BackupError::OtherServer { .. })),
        "{error:?}"
    );

    let plain = Place::new();
    plain.back_up(1);
    let error = Repository::create(&plain.backups(), "a.test", seal()).err();
    assert!(
        matches!(error, Some(BackupError::OtherSeal { .. })),
        "{error:?}"
    );
}

#[test]
fn damage_to_what_is_sealed_is_found_and_named() {
    let place = Place::new();
    place.back_up_sealed(1);
    for object in place.objects() {
        let whole = fs::read(&object).unwrap();
        for place_of_damage in [5, whole.len() - 3] {
            let mut damaged = whole.clone();
            damaged[place_of_damage] ^= 1;
            fs::write(&object, damaged).unwrap();
            let repository = place.open_sealed();
            let held = repository.backup(None).unwrap();
            let layout = place.layout();
            let found = unpack_backup(&repository, &held.manifest, &layout, &mut NoProgress);
            match found {
                Ok(unpacked) => assert_eq!(unpacked.damaged.len(), 1),
                Err(BackupError::Damaged(names)) => assert_eq!(names.len(), 1, "{names:?}"),
                Err(error) => panic!("{error}"),
            }
        }
        fs::write(&object, whole).unwrap();
    }
}

#[test]
fn a_sealed_stream_is_opened_again() {
    let place = Place::new();
    let stream = Shared::default();
    let mut progress = NoProgress;
    let making =
        Making::into_stream(Box::new(stream.clone()), Some(&recipient()), &mut progress).unwrap();
    place.fill(making, 1).unwrap();
    let bytes = stream.0.lock().unwrap().clone();
    assert!(unpack_stream(&bytes[..], &place.layout(), &mut NoProgress).is_err());
    let opened = crate::Opened::new(&bytes[..], &identity()).unwrap();
    let unpacked = unpack_stream(opened, &place.layout(), &mut NoProgress).unwrap();
    assert_eq!(unpacked.key, b"the key");
}

#[test]
fn damaged_files_are_put_back_and_others_left_alone() {
    for is_sealed in [false, true] {
        let place = Place::new();
        let picture = place.upload("another picture");
        match is_sealed {
            true => place.back_up_sealed(1),
            false => place.back_up(1),
        };
        let lost = place.upload("in no backup");
        place.write("database/000007.sst", "newer");
        let repository = || match is_sealed {
            true => place.open_sealed(),
            false => Repository::open(&place.backups()).unwrap(),
        };
        let mended = |epoch, missing: &[String]| {
            mend(
                &repository(),
                &place.data(),
                epoch,
                missing,
                &mut NoProgress,
            )
            .unwrap()
        };
        let found = mended(7, &[]);
        assert!(
            found.put_back.is_empty() && found.beyond.is_empty(),
            "{found:?}"
        );

        place.write("database/000005.sst", "sOrted");
        place.write(&picture, "another pictur");
        place.write(&lost, "in no bAckup");
        // Of another life nothing is known but uploaded files.
        let found = mended(8, &[]);
        assert_eq!(found.put_back, std::slice::from_ref(&picture));
        assert_eq!(found.beyond.len(), 1);
        let found = mended(7, &[]);
        assert_eq!(found.put_back, ["database/000005.sst"]);
        assert!(found.beyond[0].starts_with(&lost), "{found:?}");
        let read = |name: &str| fs::read_to_string(place.data().join(name)).unwrap();
        assert_eq!(read("database/000005.sst"), "sorted");
        assert_eq!(read("database/000007.sst"), "newer");
        assert_eq!(read(&picture), "another picture");

        let gone = "database/000005.sst".to_owned();
        fs::remove_file(place.data().join(&gone)).unwrap();
        assert!(mended(7, &[]).put_back.is_empty(), "nobody asked for it");
        let unknown = "database/000009.sst".to_owned();
        let found = mended(7, &[gone.clone(), unknown.clone()]);
        assert_eq!(found.put_back, std::slice::from_ref(&gone));
        assert_eq!(found.beyond[0], unknown);
        assert_eq!(read(&gone), "sorted");
    }
}
