//! Opening data folders, right and wrong ones.

use std::os::unix::fs::PermissionsExt;

use super::{VALUE_BY_POSITION, open, open_as, runtime};
use crate::{
    OpenError, Position, Read, StoreError,
    database::{META_BY_NAME, meta},
    upgrade::{STEPS, format},
};

#[test]
fn two_stores_never_open_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::InUse { .. })));
    drop(first);
    open(folder.path()).unwrap();
}

#[test]
fn a_server_keeps_its_name() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let error = open_as(folder.path(), "other.example").err().unwrap();
    assert!(matches!(error, OpenError::OtherServer { .. }), "{error}");
    assert!(error.to_string().contains("council.example"));
    open(folder.path()).unwrap();
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = open(folder.path()).unwrap();
        store
            .commit(|_, _, batch| {
                let newer = (format(STEPS) + 1).to_be_bytes().to_vec();
                batch.put(&META_BY_NAME, &meta::FORMAT, &newer);
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
    });
    let error = open(folder.path()).err().unwrap();
    assert!(matches!(error, OpenError::Newer { .. }), "{error}");
}

#[test]
fn a_foreign_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("database");
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let foreign = rocksdb::DB::open_cf(&options, &path, ["default", "theirs"]).unwrap();
    foreign.put("key", "value").unwrap();
    drop(foreign);
    let error = open(folder.path()).err().unwrap();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    let foreign = rocksdb::DB::open_cf(&options, &path, ["default", "theirs"]).unwrap();
    assert_eq!(foreign.get("key").unwrap().unwrap(), b"value");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = open(&file.join("data")).err().unwrap();
    assert!(error.to_string().contains("file/data"), "{error}");
}

#[test]
fn the_folder_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _store = open(&data).unwrap();
    let mode = std::fs::metadata(&data).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn positions_serials_and_epoch_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let mut epoch = None;
    let mut serials = Vec::new();
    for round in 1..=3 {
        let store = open(folder.path()).unwrap();
        assert_eq!(*epoch.get_or_insert(store.epoch()), store.epoch());
        let serial = store.next_serial();
        serials.push(serial);
        let position = runtime.block_on(async {
            store
                .commit(move |_, position, batch| {
                    batch.put(&VALUE_BY_POSITION, &position, &serial);
                    Ok::<_, StoreError>(position)
                })
                .await
                .unwrap()
        });
        assert_eq!(position, Position(round));
        let rows = store.snapshot().scan(&VALUE_BY_POSITION, &()).count();
        assert_eq!(rows as u64, round);
    }
    serials.dedup();
    assert_eq!(serials.len(), 3, "{serials:?}");
}

/// A store with ten values, all of them in its log.
fn with_values(folder: &std::path::Path) -> std::path::PathBuf {
    runtime().block_on(async {
        let store = open(folder).unwrap();
        for value in 0..10_u64 {
            let put = store.commit(move |_, position, batch| {
                batch.put(&VALUE_BY_POSITION, &position, &value);
                Ok::<_, StoreError>(())
            });
            put.await.unwrap();
        }
    });
    let entries = std::fs::read_dir(folder.join("database")).unwrap();
    let logs = entries.map(|entry| entry.unwrap().path()).filter(|path| {
        path.extension().is_some_and(|ending| ending == "log")
            && std::fs::metadata(path).unwrap().len() > 0
    });
    logs.max().unwrap()
}

/// The places of the headers of a log, which is shorter than a block.
fn headers(bytes: &[u8]) -> Vec<usize> {
    let (mut places, mut place) = (Vec::new(), 0);
    while let Some(header) = bytes.get(place..place + 7) {
        places.push(place);
        place += 7 + usize::from(u16::from_le_bytes([header[4], header[5]]));
    }
    places
}

#[test]
fn no_torn_end_keeps_a_store_from_opening() {
    for kind in (0..=16).chain(128..=135).chain([255]) {
        let folder = tempfile::tempdir().unwrap();
        let log = with_values(folder.path());
        let mut bytes = std::fs::read(&log).unwrap();
        bytes.extend_from_slice(&[1, 2, 3, 4, 5, 0, kind, 8, 9, 10, 11, 12, 13, 14, 15]);
        std::fs::write(&log, bytes).unwrap();
        let store = open(folder.path()).unwrap();
        let last = store.snapshot().get(&VALUE_BY_POSITION, &Position(10));
        assert_eq!(last.unwrap(), Some(9), "a record of kind {kind}");
    }
}

#[test]
fn each_flipped_bit_of_a_header_is_found_and_changes_nothing() {
    for bit in 0..7 * 8 {
        let folder = tempfile::tempdir().unwrap();
        let log = with_values(folder.path());
        let mut bytes = std::fs::read(&log).unwrap();
        let place = headers(&bytes)[5];
        bytes[place + bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&log, &bytes).unwrap();
        let error = open(folder.path()).err();
        assert!(
            matches!(error, Some(OpenError::Lost { .. })),
            "bit {bit}: {error:?}"
        );
        assert_eq!(std::fs::read(&log).unwrap(), bytes, "bit {bit}");
        // Both ways out are open.
        let (options, random) = (crate::StoreOptions::default(), ::runtime::Random::system());
        let last = crate::accept_loss(folder.path(), "council.example", &options, &random);
        assert!(last.unwrap() < Position(10), "bit {bit}");
        open(folder.path()).unwrap();
    }
}
