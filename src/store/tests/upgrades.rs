//! Old databases are brought to the format of today.

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use rocksdb::WriteBatch;
use runtime::{Clock, Random};

use super::{VALUE_BY_POSITION, open, runtime};
use crate::{
    OpenError, Position, Read as _, Store, StoreError, StoreOptions, go_back,
    upgrade::{STEPS, Step, Work, format},
};

/// Rows of the old format.
const ROWS: u64 = 1_000;
/// Rows of one piece.
const PIECE: u64 = 100;

/// How many pieces the step may write before the power fails. One test at a time uses it.
static PIECES_LEFT: AtomicU32 = AtomicU32::new(u32::MAX);

/// In the new format each value is ten times what it was: done twice it would be wrong.
fn tenfold(work: &mut Work<'_>) -> Result<(), StoreError> {
    let family = work.database.family(VALUE_BY_POSITION.family)?;
    let done = work.cursor.clone().try_into().map_or(0, u64::from_be_bytes);
    let mut next = done + 1;
    while next <= ROWS {
        if PIECES_LEFT.fetch_sub(1, Ordering::SeqCst) == 0 {
            return Err(StoreError::Database("the power failed".to_owned()));
        }
        let mut rows = WriteBatch::default();
        for position in next..next + PIECE {
            let key = VALUE_BY_POSITION.key(&Position(position));
            let old = work.database.db.get_cf(family, &key)?.unwrap();
            let old = u64::from_be_bytes(old.try_into().unwrap());
            rows.put_cf(family, key, (old * 10).to_be_bytes());
        }
        next += PIECE;
        work.commit(rows, (next - 1).to_be_bytes().to_vec())?;
    }
    Ok(())
}

fn nothing(_: &mut Work<'_>) -> Result<(), StoreError> {
    Ok(())
}

const NEW: &[Step] = &[
    Step {
        about: "values are ten times what they were",
        run: tenfold,
    },
    Step {
        about: "nothing at all",
        run: nothing,
    },
];

fn open_new(folder: &Path) -> Result<Store, OpenError> {
    let (options, clock, random) = (StoreOptions::default(), Clock::system(), Random::system());
    Store::open_with(folder, "council.example", &options, &clock, &random, NEW)
}

#[test]
fn an_upgrade_that_breaks_off_goes_on_and_there_is_a_way_back() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    runtime.block_on(async {
        let store = open(folder.path()).unwrap();
        for value in 1..=ROWS {
            let put = store.commit_later(move |_, position, batch| {
                batch.put(&VALUE_BY_POSITION, &position, &value);
                Ok::<_, StoreError>(())
            });
            put.await.unwrap();
        }
        store
            .commit(|_, _, _| Ok::<_, StoreError>(()))
            .await
            .unwrap();
    });
    let kept = folder.path().join("database.format-1");
    // It breaks off three times: at once, and in the middle.
    for pieces in [0, 3, 5] {
        PIECES_LEFT.store(pieces, Ordering::SeqCst);
        let error = open_new(folder.path()).err().unwrap();
        assert!(error.to_string().contains("the power failed"), "{error}");
        assert!(kept.join("CURRENT").exists(), "the copy comes first");
        // It is neither the one nor the other now, and the old program says so.
        if pieces > 0 {
            let error = open(folder.path()).err().unwrap();
            assert!(matches!(error, OpenError::Newer { .. }), "{error}");
        }
    }
    PIECES_LEFT.store(u32::MAX, Ordering::SeqCst);
    let store = open_new(folder.path()).unwrap();
    for position in 1..=ROWS {
        let found = store
            .snapshot()
            .get(&VALUE_BY_POSITION, &Position(position));
        assert_eq!(found.unwrap(), Some(position * 10));
    }
    runtime.block_on(async {
        let put = store.commit(|_, position, batch| {
            batch.put(&VALUE_BY_POSITION, &position, &1);
            Ok::<_, StoreError>(())
        });
        put.await.unwrap();
    });
    drop(store);
    // Done once: not again.
    PIECES_LEFT.store(0, Ordering::SeqCst);
    drop(open_new(folder.path()).unwrap());

    // The old program refuses, and knows the way back.
    let error = open(folder.path()).err().unwrap();
    let OpenError::Newer { found, known, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((*found, *known), (3, format(STEPS)));
    assert!(
        error.to_string().contains("cairn database go-back"),
        "{error}"
    );
    let options = StoreOptions::default();
    let last = go_back(
        folder.path(),
        "council.example",
        &options,
        &Random::system(),
    )
    .unwrap();
    assert_eq!(last, Position(ROWS));
    let store = open(folder.path()).unwrap();
    for position in 1..=ROWS {
        let found = store
            .snapshot()
            .get(&VALUE_BY_POSITION, &Position(position));
        assert_eq!(found.unwrap(), Some(position));
    }
    drop(store);
    let again = go_back(
        folder.path(),
        "council.example",
        &options,
        &Random::system(),
    );
    assert!(
        matches!(again, Err(OpenError::NoWayBack { .. })),
        "{again:?}"
    );
}
