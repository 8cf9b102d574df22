//! A disk that is nearly full.

use runtime::{Clock, Random};

use super::{VALUE_BY_POSITION, runtime};
use crate::{Batch, Latest, Position, Read as _, Store, StoreError, StoreOptions};

/// A store that keeps so many bytes of the disk free.
fn with_reserve(folder: &std::path::Path, reserved_bytes: u64) -> Store {
    let options = StoreOptions {
        reserved_bytes,
        ..StoreOptions::default()
    };
    let (clock, random) = (Clock::system(), Random::system());
    Store::open(folder, "council.example", &options, &clock, &random).unwrap()
}

fn put(_: &Latest, position: Position, batch: &mut Batch) -> Result<Position, StoreError> {
    batch.put(&VALUE_BY_POSITION, &position, &7);
    Ok(position)
}

#[test]
fn what_is_new_is_refused_and_housekeeping_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let free = with_reserve(folder.path(), 0).space().free;
        let store = with_reserve(folder.path(), free + free / 2);
        assert!(store.space().is_short);
        let refused = store.commit(put).await;
        assert!(matches!(refused, Err(StoreError::DiskFull)), "{refused:?}");
        // Nothing of it is there, nor its number.
        let first = store.commit_from_reserve(put).await.unwrap();
        assert_eq!(first, Position(1));
        let later = store.commit_later(put).await.unwrap();
        assert_eq!(later, Position(2));
        // What writes nothing is not refused, and waits for what was written.
        store
            .commit(|_, _, _| Ok::<_, StoreError>(()))
            .await
            .unwrap();
        let read = store.read(|view| view.get(&VALUE_BY_POSITION, &Position(2)));
        assert_eq!(read.await.unwrap(), Some(7));
        // Sorting is put off, and taken up again.
        assert!(store.spare_disk(false).await.unwrap());
        drop(store);

        let store = with_reserve(folder.path(), free.saturating_mul(4));
        let refused = store.commit_later(put).await;
        assert!(matches!(refused, Err(StoreError::DiskFull)), "{refused:?}");
        drop(store);
        let store = with_reserve(folder.path(), 1 << 20);
        assert!(!store.spare_disk(true).await.unwrap());
        assert_eq!(store.commit(put).await.unwrap(), Position(3));
        assert!(!store.needs_restart());
    });
}
