//! What a look-up reads of a large database.

use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};

use super::open_with;
use crate::{Family, Read as _, Store, StoreError, StoreOptions, Table};

const ROW: Table<u64, ()> = Table::new(907, Family::Index, "ROW");
/// So many rows that what says which of them are in a file has half a megabyte.
const ROWS: u64 = 400_000;
/// The rows of one commit.
const STEP: u64 = 20_000;

/// Looks rows up that are far from each other, and returns the bytes that were read from files.
fn read_bytes(store: &Store) -> u64 {
    let latest = store.latest();
    let mut counted = PerfContext::default();
    set_perf_stats(PerfStatsLevel::EnableCount);
    counted.reset();
    for number in [7, ROWS / 2, ROWS - 7] {
        assert_eq!(latest.get(&ROW, &number).unwrap(), Some(()));
    }
    assert_eq!(latest.get(&ROW, &ROWS).unwrap(), None);
    counted.metric(PerfMetric::BlockReadByte)
}

#[tokio::test]
async fn a_look_up_reads_little_and_the_next_one_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        // Small, as the database is: a part of it holds no such half a megabyte.
        cache_bytes: 4 << 20,
        ..StoreOptions::default()
    };
    let open = || open_with(folder.path(), "council.example", &options).unwrap();
    let store = open();
    for step in 0..ROWS / STEP {
        let written = store.commit(move |_, _, batch| {
            for number in step * STEP..(step + 1) * STEP {
                batch.put(&ROW, &number, &());
            }
            Ok::<_, StoreError>(())
        });
        written.await.unwrap();
    }
    store.compact().await.unwrap();
    drop(store);
    let store = open();
    let first = read_bytes(&store);
    assert!((1..256 << 10).contains(&first), "{first} bytes");
    assert_eq!(read_bytes(&store), 0);
}
