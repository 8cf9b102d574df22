//! Consumers of the log, and trimming.

use super::{THING, open, runtime};
use crate::{Consumer, Position, Read as _, Store, StoreError, trim};

async fn say(store: &Store, text: &str) -> Position {
    let entry = text.as_bytes().to_vec();
    store
        .commit(move |_, position, batch| {
            batch.log(entry);
            Ok::<_, StoreError>(position)
        })
        .await
        .unwrap()
}

fn texts(consumer: &Consumer) -> Vec<String> {
    let records = consumer.next(100).unwrap();
    records
        .into_iter()
        .flat_map(|record| record.entries)
        .map(|entry| String::from_utf8(entry).unwrap())
        .collect()
}

#[test]
fn a_consumer_sees_everything_once_it_exists_and_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    runtime.block_on(async {
        let store = open(folder.path()).unwrap();
        say(&store, "before").await;
        let mut consumer = Consumer::open(&store, "archive").await.unwrap();
        let first = say(&store, "one").await;
        say(&store, "two").await;
        assert_eq!(texts(&consumer), ["one", "two"]);
        assert_eq!(texts(&consumer), ["one", "two"], "read is not done");
        consumer.advance(first).await.unwrap();
    });
    runtime.block_on(async {
        let store = open(folder.path()).unwrap();
        let consumer = Consumer::open(&store, "archive").await.unwrap();
        assert_eq!(texts(&consumer), ["two"]);
    });
}

#[test]
fn the_log_is_trimmed_behind_the_slowest_consumer() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = open(folder.path()).unwrap();
        let mut slow = Consumer::open(&store, "slow").await.unwrap();
        let mut fast = Consumer::open(&store, "fast").await.unwrap();
        let one = say(&store, "one").await;
        let two = say(&store, "two").await;
        let three = say(&store, "three").await;
        slow.advance(one).await.unwrap();
        fast.advance(three).await.unwrap();
        // A commit that is waited for publishes what was written before it.
        say(&store, "four").await;
        assert_eq!(trim(&store, u64::MAX).await.unwrap(), one);
        assert_eq!(texts(&slow), ["two", "three", "four"]);
        slow.advance(two).await.unwrap();
        say(&store, "five").await;
        assert_eq!(
            trim(&store, 0).await.unwrap(),
            one,
            "too young to be trimmed"
        );
        assert_eq!(trim(&store, u64::MAX).await.unwrap(), two);
        say(&store, "six").await;
        let late = Consumer::restart(&store, "late", Position(0))
            .await
            .unwrap();
        assert!(matches!(late.next(1), Err(StoreError::Trimmed(0))));
    });
}

#[test]
fn a_consumer_waits_and_stores_its_rows_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    runtime.block_on(async {
        let store = open(folder.path()).unwrap();
        let mut consumer = Consumer::open(&store, "push").await.unwrap();
        let one = say(&store, "one").await;
        consumer.changed().await;
        assert_eq!(texts(&consumer), ["one"]);
        consumer.pass(one);
        assert!(texts(&consumer).is_empty(), "passed over");
        let two = say(&store, "two").await;
        consumer.changed().await;
        let refused = consumer
            .advance_with(two, |_, _| Err(StoreError::Busy))
            .await;
        assert!(refused.is_err());
        assert_eq!(texts(&consumer), ["two"], "not done");
        consumer
            .advance_with(two, |_, batch| {
                batch.put(&THING, &7, &());
                Ok(())
            })
            .await
            .unwrap();
        say(&store, "three").await;
    });
    runtime.block_on(async {
        let store = open(folder.path()).unwrap();
        let consumer = Consumer::open(&store, "push").await.unwrap();
        assert_eq!(texts(&consumer), ["three"]);
        assert!(store.snapshot().contains(&THING, &7).unwrap());
    });
}
