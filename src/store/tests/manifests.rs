//! Damage to RocksDB's list of files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{VALUE_BY_POSITION, open, runtime};
use crate::{OpenError, StoreError, manifest};

/// A store that was opened and closed a few times, with its list of files.
fn with_list(folder: &Path) -> PathBuf {
    for value in 0..3_u64 {
        runtime().block_on(async {
            let store = open(folder).unwrap();
            let put = store.commit(move |_, position, batch| {
                batch.put(&VALUE_BY_POSITION, &position, &value);
                Ok::<_, StoreError>(())
            });
            put.await.unwrap();
        });
    }
    let database = folder.join("database");
    let current = fs::read_to_string(database.join("CURRENT")).unwrap();
    database.join(current.trim_end())
}

#[test]
fn each_turned_bit_of_the_list_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let list = with_list(folder.path());
    let database = folder.path().join("database");
    let whole = fs::read(&list).unwrap();
    assert!(whole.len() > 500, "{} bytes", whole.len());
    manifest::must_be_sound(&database).unwrap();
    // Each bit of each header, and one of each other byte.
    let (mut bits, mut header) = (Vec::new(), 0);
    while header < whole.len() {
        bits.extend((header..header + 7).flat_map(|place| (0..8).map(move |bit| (place, bit))));
        let next =
            header + 7 + usize::from(u16::from_le_bytes([whole[header + 4], whole[header + 5]]));
        bits.extend((header + 7..next).map(|place| (place, place % 8)));
        header = next;
    }
    for (place, bit) in bits {
        let mut damaged = whole.clone();
        damaged[place] ^= 1 << bit;
        fs::write(&list, damaged).unwrap();
        let found = manifest::must_be_sound(&database);
        assert!(
            matches!(&found, Err(OpenError::ListDamaged { at, .. }) if *at <= place as u64),
            "bit {bit} of byte {place}: {found:?}"
        );
    }
    for (place, length) in [(0, 7), (whole.len() / 2, 512)] {
        let mut damaged = whole.clone();
        let end = whole.len().min(place + length);
        damaged[place..end].fill(0);
        fs::write(&list, damaged).unwrap();
        assert!(
            manifest::must_be_sound(&database).is_err(),
            "zeros at {place}"
        );
    }
}

#[test]
fn a_damaged_list_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let list = with_list(folder.path());
    let whole = fs::read(&list).unwrap();
    // The kind of the second record: RocksDB itself would never come to its end.
    let second = 7 + usize::from(u16::from_le_bytes([whole[4], whole[5]]));
    let mut damaged = whole.clone();
    damaged[second + 6] ^= 4;
    fs::write(&list, &damaged).unwrap();
    let error = open(folder.path()).err().unwrap().to_string();
    for part in [
        list.file_name().unwrap().to_str().unwrap(),
        &format!("at byte {second}"),
        "cairn backup restore",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert_eq!(fs::read(&list).unwrap(), damaged);
    fs::write(&list, &whole).unwrap();
    open(folder.path()).unwrap();
}

#[test]
fn what_a_power_cut_leaves_of_the_list_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let list = with_list(folder.path());
    let database = folder.path().join("database");
    let whole = fs::read(&list).unwrap();
    for length in 0..whole.len() {
        fs::write(&list, &whole[..length]).unwrap();
        let found = manifest::must_be_sound(&database);
        assert!(found.is_ok(), "cut at {length}: {found:?}");
    }
    for zeros in [1, 100, 40_000, 70_000] {
        let mut longer = whole.clone();
        longer.resize(whole.len() + zeros, 0);
        fs::write(&list, longer).unwrap();
        let found = manifest::must_be_sound(&database);
        assert!(found.is_ok(), "{zeros} zeros: {found:?}");
    }
    let mut longer = whole.clone();
    longer.extend_from_slice(&whole[..whole.len() / 2]);
    longer.truncate(whole.len() + 9);
    fs::write(&list, longer).unwrap();
    open(folder.path()).unwrap();
}
