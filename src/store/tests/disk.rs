//! What the database takes on disk.

use super::{COPY_BY_POSITION, open, runtime};
use crate::{Family, Read as _, StoreError, Table};

/// Rows large enough to be seen on disk.
const TEXT_BY_NUMBER: Table<u64, String> = Table::new(903, Family::Events, "TEXT_BY_NUMBER");

#[test]
fn compaction_frees_what_was_deleted_and_keeps_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let events = |used: &crate::DiskUse| used.families[0].1;
    runtime().block_on(async {
        for number in 0..400_u64 {
            // No two rows are alike, so that little is compressed away.
            let text: String = (0..400_u64)
                .map(|place| {
                    format!(
                        "{:x}",
                        (number + 1) * (place + 7) * 0x9e37_79b9 % 0xffff_fffb
                    )
                })
                .collect();
            store
                .commit_later(move |_, position, batch| {
                    batch.put(&TEXT_BY_NUMBER, &number, &text);
                    batch.put(&COPY_BY_POSITION, &position, &number);
                    Ok::<_, StoreError>(())
                })
                .await
                .unwrap();
        }
        store.compact().await.unwrap();
        let full = store.disk_use().await.unwrap();
        assert_eq!(full.families[0].0, "events");
        assert_eq!(full.families.len(), Family::ALL.len());
        assert!(events(&full) > 100_000, "{full:?}");
        let sorted: u64 = full.families.iter().map(|(_, size)| size).sum();
        assert!(
            full.total >= sorted && full.total > full.write_ahead_log,
            "{full:?}"
        );

        store
            .commit(|_, _, batch| {
                for number in 1..400_u64 {
                    batch.delete(&TEXT_BY_NUMBER, &number);
                }
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
        store.compact().await.unwrap();
        let empty = store.disk_use().await.unwrap();
        assert!(events(&empty) < events(&full) / 10, "{full:?} {empty:?}");
    });
    let left: Vec<u64> = store
        .snapshot()
        .scan(&TEXT_BY_NUMBER, &())
        .map(|row| row.unwrap().0)
        .collect();
    assert_eq!(left, [0]);
    assert_eq!(store.snapshot().scan(&COPY_BY_POSITION, &()).count(), 400);
}

/// Rows whose values stand in files of their own.
const FILE_BY_NUMBER: Table<u64, Vec<u8>> = Table::new(904, Family::Files, "FILE_BY_NUMBER");

#[test]
fn the_bytes_of_deleted_files_are_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    runtime().block_on(async {
        let fill = async |numbers: std::ops::Range<u64>| {
            for number in numbers {
                let put = store.commit_later(move |_, _, batch| {
                    let mark = u8::try_from(number % 251).unwrap();
                    batch.put(&FILE_BY_NUMBER, &number, &vec![mark; 100_000]);
                    Ok::<_, StoreError>(())
                });
                put.await.unwrap();
            }
        };
        fill(0..1_000).await;
        store.compact().await.unwrap();
        let full = store.disk_use().await.unwrap().total;
        assert!(full > 90_000_000, "{full}");
        let delete = store.commit(|_, _, batch| {
            (10..1_000).for_each(|number| batch.delete(&FILE_BY_NUMBER, &number));
            Ok::<_, StoreError>(())
        });
        delete.await.unwrap();
        store.compact().await.unwrap();
        let less = store.disk_use().await.unwrap().total;
        assert!(less < full / 10, "{full} {less}");
        // In everyday life, too, when more has gone than is there; what was written last is
        // in the write-ahead log besides, and not sorted out yet.
        for _ in 0..5 {
            fill(0..1_000).await;
        }
        let mut again = u64::MAX;
        for _ in 0..200 {
            // What is gone is known when its keys have been sorted out.
            store.give_back().await.unwrap();
            again = store.disk_use().await.unwrap().total;
            if again < full * 3 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert!(again < full * 3, "{full} {again}");
    });
    let row = store.snapshot().get(&FILE_BY_NUMBER, &7).unwrap();
    assert_eq!(row, Some(vec![7; 100_000]));
}
