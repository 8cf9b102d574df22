//! Memory is given back.

use super::open;
use crate::{
    Family, Read as _, Snapshot, Store, StoreError, Table,
    resting::{FEW, WORTH_WHILE},
};

const TEXT_BY_NUMBER: Table<u64, String> = Table::new(904, Family::Events, "TEXT_BY_NUMBER");
/// How many rows one commit has, and the bytes of each.
const ROWS: u64 = 128;
const BYTES: usize = 8 << 10;

async fn write(store: &Store, commit: u64) {
    let written = store.commit(move |_, _, batch| {
        for row in 0..ROWS {
            let text = format!("{commit} {row} ").repeat(BYTES / 8);
            batch.put(&TEXT_BY_NUMBER, &(commit * ROWS + row), &text);
        }
        Ok::<_, StoreError>(())
    });
    written.await.unwrap();
}

async fn keep_house(store: &Store) {
    let written = store.commit(|_, _, batch| {
        batch.put(&TEXT_BY_NUMBER, &0, &String::new());
        Ok::<_, StoreError>(())
    });
    written.await.unwrap();
}

async fn read_all(store: &Store, commits: u64) {
    let read = move |view: &Snapshot| -> Result<usize, StoreError> {
        let rows = view.scan(&TEXT_BY_NUMBER, &());
        Ok(rows.filter(Result::is_ok).count())
    };
    let count = store.read(read).await.unwrap();
    assert_eq!(count as u64, commits * ROWS);
}

#[tokio::test]
async fn memory_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let database = store.latest().database;
    for commit in 0..6 {
        write(&store, commit).await;
    }
    let last = store.rest(None).await.unwrap();
    assert!(database.rows_in_memory().unwrap() > WORTH_WHILE);
    // Much is written in between: that is no rest.
    for _ in 0..=FEW {
        keep_house(&store).await;
    }
    write(&store, 6).await;
    let last_of_all = store.rest(Some(last)).await.unwrap();
    assert_ne!(last, last_of_all);
    assert!(database.rows_in_memory().unwrap() > WORTH_WHILE);
    // Housekeeping goes on in one.
    keep_house(&store).await;
    store.rest(Some(last_of_all)).await.unwrap();
    assert!(database.rows_in_memory().unwrap() < WORTH_WHILE);

    read_all(&store, 7).await;
    let kept = database.cache.get_usage();
    assert!(kept > 4 << 20, "{kept}");
    for _ in 0..10 {
        store.rest(Some(last_of_all)).await.unwrap();
    }
    let rested = database.cache.get_usage();
    assert!(rested < kept / 4, "{rested} of {kept}");
    // What is read again is kept again.
    read_all(&store, 7).await;
    assert!(database.cache.get_usage() > 4 << 20);
}
