//! Copies of the database, and what begins from one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use runtime::Random;

use super::{COPY_BY_POSITION, VALUE_BY_POSITION, open, runtime};
use crate::{
    Consumer, Position, Read as _, Store, StoreError, StoreOptions, begin_epoch, inspect, trim,
};

async fn put(store: &Store, value: u64) -> Position {
    store
        .commit(move |_, position, batch| {
            batch.put(&VALUE_BY_POSITION, &position, &value);
            batch.put(&COPY_BY_POSITION, &position, &value);
            batch.log(vec![1]);
            Ok::<_, StoreError>(position)
        })
        .await
        .unwrap()
}

#[test]
fn a_copy_has_whole_commits_and_all_that_were_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir_in(folder.path()).unwrap();
    runtime().block_on(async {
        let store = open(folder.path()).unwrap();
        let (ends, acknowledged) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let (store, ends, known) = (store.clone(), ends.clone(), acknowledged.clone());
                #[expect(clippy::disallowed_methods, reason = "a test")]
                tokio::spawn(async move {
                    while !ends.load(Ordering::Acquire) {
                        let position = put(&store, 7).await;
                        known.fetch_max(position.0, Ordering::AcqRel);
                    }
                })
            })
            .collect();
        for round in 0..5_u32 {
            while acknowledged.load(Ordering::Acquire) < u64::from(round + 1) * 20 {
                tokio::task::yield_now().await;
            }
            let least = acknowledged.load(Ordering::Acquire);
            let data = copies.path().join(round.to_string());
            std::fs::create_dir(&data).unwrap();
            store.checkpoint(&data.join("database")).await.unwrap();

            let notes = tempfile::tempdir().unwrap();
            let said = inspect(&data.join("database"), notes.path()).unwrap();
            assert_eq!(said.identity, "council.example");
            assert_eq!(said.epoch, store.epoch());
            let copy = open(&data).unwrap();
            let position = copy.snapshot().position();
            assert_eq!(said.position, position);
            assert!(position.0 >= least, "{position:?} {least}");
            for table in [&VALUE_BY_POSITION, &COPY_BY_POSITION] {
                let view = copy.snapshot();
                let rows: Vec<u64> = view.scan(table, &()).map(|row| row.unwrap().0.0).collect();
                assert_eq!(rows, (1..=position.0).collect::<Vec<_>>());
            }
            // Two rows of values, one of the log each; and the store's own.
            assert!(copy.check(|_| ()).unwrap() >= 3 * position.0);
        }
        ends.store(true, Ordering::Release);
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

#[test]
fn a_copy_of_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(inspect(&folder.path().join("database"), folder.path()).is_err());
}

#[test]
fn a_damaged_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    runtime().block_on(async {
        let store = open(folder.path()).unwrap();
        for value in 0..200 {
            put(&store, value).await;
        }
        store.checkpoint(&copy.join("database")).await.unwrap();
    });
    let mut damaged = 0;
    for file in std::fs::read_dir(copy.join("database")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "sst") {
            // A hard link: the copy must not share what is damaged here.
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[20] ^= 0xff;
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0);
    let found = open(&copy).map_or_else(
        |error| error.to_string(),
        |store| store.check(|_| ()).unwrap_err().to_string(),
    );
    assert!(
        found.contains("orruption") && found.contains(".sst"),
        "{found}"
    );
}

#[test]
fn a_new_life_begins_far_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let (before, serial, last) = runtime.block_on(async {
        let store = open(folder.path()).unwrap();
        let consumer = Consumer::open(&store, "reader").await.unwrap();
        drop(consumer);
        let last = put(&store, 1).await;
        (store.epoch(), store.next_serial(), last)
    });
    let options = StoreOptions::default();
    let random = Random::system();
    let wrong = begin_epoch(folder.path(), "other.example", &options, &random);
    assert!(wrong.is_err());
    assert_eq!(
        begin_epoch(folder.path(), "council.example", &options, &random).unwrap(),
        last
    );
    runtime.block_on(async {
        let store = open(folder.path()).unwrap();
        assert_ne!(store.epoch(), before);
        assert!(store.next_serial() > serial + (1 << 31));
        let mut consumer = Consumer::open(&store, "reader").await.unwrap();
        let next = put(&store, 2).await;
        assert!(next.0 > last.0 + (1 << 31));
        let seen: Vec<Position> = consumer
            .next(10)
            .unwrap()
            .iter()
            .map(|record| record.position)
            .collect();
        assert_eq!(seen, [last, next]);
        consumer.advance(next).await.unwrap();
        put(&store, 3).await;
        // Takes a moment, not one step for each number between the two.
        assert_eq!(trim(&store, u64::MAX).await.unwrap(), next);
    });
}
