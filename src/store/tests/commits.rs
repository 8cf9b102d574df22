//! Order, atomicity, publication.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use proptest::prelude::*;

use super::{COPY_BY_POSITION, THING, VALUE_BY_POSITION, open, runtime};
use crate::{Position, Read, Scope, Snapshot, Store, StoreError};

#[derive(Clone, Debug)]
enum Act {
    Commit(u64),
    CommitLater(u64),
    Write(u64),
    Refuse,
}

fn acts() -> impl Strategy<Value = Vec<Vec<Act>>> {
    let act = prop_oneof![
        any::<u64>().prop_map(Act::Commit),
        any::<u64>().prop_map(Act::CommitLater),
        any::<u64>().prop_map(Act::Write),
        Just(Act::Refuse),
    ];
    prop::collection::vec(prop::collection::vec(act, 0..12), 1..6)
}

#[derive(Debug)]
enum Failure {
    Refused,
    Store,
}

impl From<StoreError> for Failure {
    fn from(_: StoreError) -> Self {
        Failure::Store
    }
}

/// Every position up to the snapshot's has its row in both tables, with the same
/// value, and none beyond has.
fn check(snapshot: &Snapshot) {
    let rows: Vec<_> = snapshot
        .scan(&VALUE_BY_POSITION, &())
        .map(Result::unwrap)
        .collect();
    let copies: Vec<_> = snapshot
        .scan(&COPY_BY_POSITION, &())
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows, copies, "half a batch");
    let counted = snapshot.count(&VALUE_BY_POSITION, &()).unwrap();
    assert_eq!(counted, rows.len());
    let positions: Vec<u64> = rows.iter().map(|(position, _)| position.0).collect();
    let expected: Vec<u64> = (1..=snapshot.position().0).collect();
    assert_eq!(positions, expected, "a hole, or a row too many");
}

async fn act(store: &Store, act: Act) {
    match act {
        Act::Commit(value) => {
            let position = store
                .commit(move |_, position, batch| {
                    batch.put(&VALUE_BY_POSITION, &position, &value);
                    batch.put(&COPY_BY_POSITION, &position, &value);
                    Ok::<_, StoreError>(position)
                })
                .await
                .unwrap();
            let snapshot = store.snapshot();
            assert!(snapshot.position() >= position, "acknowledged, not shown");
            assert_eq!(
                snapshot.get(&VALUE_BY_POSITION, &position).unwrap(),
                Some(value)
            );
        }
        Act::CommitLater(value) => store
            .commit_later(move |_, position, batch| {
                batch.put(&VALUE_BY_POSITION, &position, &value);
                batch.put(&COPY_BY_POSITION, &position, &value);
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap(),
        Act::Write(value) => {
            let (answer, written) = tokio::sync::oneshot::channel();
            store
                .start_writing(move |writing| {
                    let commit = writing.write(|_, position, batch| {
                        batch.put(&VALUE_BY_POSITION, &position, &value);
                        batch.put(&COPY_BY_POSITION, &position, &value);
                        Ok::<_, StoreError>(position)
                    });
                    let _ = answer.send(commit);
                })
                .unwrap();
            let (position, written) = written.await.unwrap().unwrap();
            let latest = store.latest().get(&VALUE_BY_POSITION, &position).unwrap();
            assert_eq!(latest, Some(value), "written, not seen by writers");
            written.durable().await.unwrap();
            assert!(store.snapshot().position() >= position);
        }
        Act::Refuse => {
            let refused = store
                .commit(|_, position, batch| {
                    batch.put(&VALUE_BY_POSITION, &position, &0);
                    Err::<(), _>(Failure::Refused)
                })
                .await;
            assert!(matches!(refused, Err(Failure::Refused)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Under any interleaving of committers and readers positions appear in order,
    /// without holes, whole batches only.
    #[test]
    fn positions_appear_in_order(committers in acts()) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime();
        runtime.block_on(async {
            let store = open(folder.path()).unwrap();
            let done = Arc::new(AtomicBool::new(false));
            let reader = {
                let (store, done) = (store.clone(), done.clone());
                std::thread::Builder::new().spawn(move || {
                    let mut last = Position(0);
                    while !done.load(Ordering::Acquire) {
                        let snapshot = store.snapshot();
                        assert!(snapshot.position() >= last, "went back");
                        last = snapshot.position();
                        check(&snapshot);
                    }
                }).unwrap()
            };
            let mut tasks = tokio::task::JoinSet::new();
            for committer in committers {
                let store = store.clone();
                tasks.spawn(async move {
                    for one in committer {
                        act(&store, one).await;
                    }
                });
            }
            while let Some(task) = tasks.join_next().await {
                task.unwrap();
            }
            done.store(true, Ordering::Release);
            reader.join().unwrap();
        });
        // What was committed is there after the store has closed, later ones too.
        let store = open_again(folder.path());
        check(&store.snapshot());
    }
}

/// Opens a store whose threads may still be about to end.
fn open_again(folder: &std::path::Path) -> Store {
    for _ in 0..500 {
        match open(folder) {
            Err(crate::OpenError::InUse { .. }) => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            opened => return opened.unwrap(),
        }
    }
    panic!("the store was not closed within five seconds");
}

#[test]
fn a_thing_is_given_out_once() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = open(folder.path()).unwrap();
        store
            .commit(|_, _, batch| {
                (0..40).for_each(|thing| batch.put(&THING, &thing, &()));
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
        let taken = Arc::new(AtomicU64::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (store, taken) = (store.clone(), taken.clone());
            tasks.spawn(async move {
                let got = store
                    .commit(|latest, _, batch| {
                        let first = latest.scan(&THING, &()).next().transpose()?;
                        if let Some((thing, ())) = first {
                            batch.delete(&THING, &thing);
                        }
                        Ok::<_, StoreError>(first.map(|(thing, ())| thing))
                    })
                    .await
                    .unwrap();
                if let Some(thing) = got {
                    let bit = 1 << thing;
                    assert_eq!(taken.fetch_or(bit, Ordering::AcqRel) & bit, 0, "twice");
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        assert_eq!(taken.load(Ordering::Acquire), (1 << 40) - 1);
    });
}

#[test]
fn who_watches_is_woken_after_publication() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = open(folder.path()).unwrap();
        let scope = Scope { kind: 1, serial: 7 };
        let mut watch = store.watch(&[scope]);
        let before = store.snapshot().position();
        assert!(!store.changed_since(scope, before));
        let waiter = {
            let store = store.clone();
            tokio::task::JoinSet::from_iter([async move {
                watch.changed().await;
                store.snapshot().position()
            }])
        };
        let position = store
            .commit(move |_, position, batch| {
                batch.put(&VALUE_BY_POSITION, &position, &1);
                batch.wake(scope);
                Ok::<_, StoreError>(position)
            })
            .await
            .unwrap();
        let seen = waiter.join_all().await;
        assert_eq!(seen, [position]);
        assert!(store.changed_since(scope, before));
        assert!(!store.changed_since(scope, position));
        assert!(!store.changed_since(Scope { kind: 2, serial: 7 }, before));
    });
}

#[test]
fn a_panicking_closure_harms_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = open(folder.path()).unwrap();
        let outcome = store
            .commit(|_, _, _| -> Result<(), StoreError> { panic!("a fault in a closure") })
            .await;
        assert!(outcome.is_err());
        act(&store, Act::Commit(5)).await;
    });
}

#[test]
fn a_walker_finds_at_each_place_what_a_scan_finds() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        const ROWS: crate::Table<(u8, u64), u64> =
            crate::Table::new(903, crate::Family::Scan, "ROWS");
        const NEXT: crate::Table<(u8, u64), u64> =
            crate::Table::new(904, crate::Family::Scan, "NEXT");
        let store = open(folder.path()).unwrap();
        let write = store.commit(|_, _, batch| {
            for number in 0..30 {
                let key = (u8::try_from(number % 7).unwrap(), number);
                batch.put(&ROWS, &key, &(number * 2));
            }
            // Nobody walks on into the next table.
            batch.put(&NEXT, &(6, 1), &0);
            batch.delete(&ROWS, &(3, 3));
            Ok::<_, StoreError>(())
        });
        write.await.unwrap();
        let view = store.snapshot();
        let mut walker = view.walker(&ROWS);
        for place in [5_u8, 0, 9, 3, 3, 6] {
            let scanned = view.scan(&ROWS, &(place,));
            let scanned: Vec<((u8, u64), u64)> = scanned.map(Result::unwrap).collect();
            assert_eq!(walker.under(&(place,)).unwrap(), scanned, "{place}");
            assert_eq!(scanned.is_empty(), place == 9);
        }
    });
}
