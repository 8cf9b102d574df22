//! State maps against a plain map.

use std::collections::{BTreeMap, HashMap};

use model::{EventSerial, RoomSerial, StateRoot, tables::STATE_NODE_BY_HASH};
use proptest::prelude::*;
use runtime::{Clock, Random};
use store::{Snapshot, Store, StoreError, StoreOptions};
use tempfile::TempDir;

use crate::{EMPTY_STATE, StateMaps};

const ROOM: RoomSerial = RoomSerial(1);

type Plain = BTreeMap<(String, String), EventSerial>;

fn empty_store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions::default();
    let random = Random::seeded(1);
    let store = Store::open(folder.path(), "test", &options, &Clock::system(), &random).unwrap();
    (folder, store)
}

/// One change: a type, a state key, and what shall stand there.
fn operation() -> impl Strategy<Value = (u8, u8, Option<u64>)> {
    let value = prop_oneof![3 => (1u64..1000).prop_map(Some), 1 => Just(None)];
    (0u8..4, any::<u8>(), value)
}

fn names((kind, key): (u8, u8)) -> (String, String) {
    (format!("m.type.{kind}"), format!("key{key}"))
}

fn sorted(maps: &StateMaps<'_, Snapshot>, root: StateRoot) -> Plain {
    let all = maps.all(root).unwrap().into_iter();
    all.map(|(kind, key, event)| ((kind, key), event)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_state_map_agrees_with_a_plain_map(
        operations in proptest::collection::vec(operation(), 1..300),
    ) {
        let (_folder, store) = empty_store();
        let view = store.snapshot();
        let mut maps = StateMaps::new(&view, ROOM, store.secret());
        let mut plain = Plain::new();
        let mut root = EMPTY_STATE;
        for (kind, key, value) in operations {
            let (kind, key) = names((kind, key));
            let before = root;
            root = match value {
                Some(event) => {
                    plain.insert((kind.clone(), key.clone()), EventSerial(event));
                    maps.insert(root, &kind, &key, EventSerial(event)).unwrap()
                }
                None => {
                    plain.remove(&(kind.clone(), key.clone()));
                    maps.remove(root, &kind, &key).unwrap()
                }
            };
            prop_assert_eq!(maps.get(root, &kind, &key).unwrap(), value.map(EventSerial));
            let changed = maps.changed(before, root).unwrap();
            prop_assert!(changed.len() <= 1, "{:?}", changed);
        }
        prop_assert_eq!(&sorted(&maps, root), &plain);
        for kind in 0..4 {
            let (kind, _) = names((kind, 0));
            let found: BTreeMap<_, _> = maps.of_type(root, &kind).unwrap().into_iter().collect();
            let expected: BTreeMap<_, _> = plain
                .iter()
                .filter(|((of, _), _)| *of == kind)
                .map(|((_, key), event)| (key.clone(), *event))
                .collect();
            prop_assert_eq!(found, expected);
        }
        // Built anew in another order, an equal map has an equal root.
        let mut anew = EMPTY_STATE;
        for ((kind, key), event) in plain.iter().rev() {
            anew = maps.insert(anew, kind, key, *event).unwrap();
        }
        prop_assert_eq!(anew, root);
        for (kind, key) in plain.keys() {
            anew = maps.remove(anew, kind, key).unwrap();
        }
        prop_assert_eq!(anew, EMPTY_STATE);
    }

    #[test]
    fn the_changes_between_two_maps_are_found(
        first in proptest::collection::vec(operation(), 0..150),
        second in proptest::collection::vec(operation(), 0..150),
    ) {
        let (_folder, store) = empty_store();
        let view = store.snapshot();
        let mut maps = StateMaps::new(&view, ROOM, store.secret());
        let mut build = |operations: &[(u8, u8, Option<u64>)]| {
            let mut root = EMPTY_STATE;
            for (kind, key, value) in operations {
                let (kind, key) = names((*kind, *key));
                root = match value {
                    Some(event) => maps.insert(root, &kind, &key, EventSerial(*event)).unwrap(),
                    None => maps.remove(root, &kind, &key).unwrap(),
                };
            }
            root
        };
        let (from, to) = (build(&first), build(&second));
        let (before, after) = (sorted(&maps, from), sorted(&maps, to));
        let changed: HashMap<_, _> = maps
            .changed(from, to)
            .unwrap()
            .into_iter()
            .map(|(kind, key, event)| ((kind, key), event))
            .collect();
        let expected: HashMap<_, _> = after
            .into_iter()
            .filter(|(key, event)| before.get(key) != Some(event))
            .collect();
        prop_assert_eq!(changed, expected);
    }
}

#[tokio::test]
async fn a_large_map_is_stored_and_changed_in_small_steps() {
    let (_folder, store) = empty_store();
    let view = store.snapshot();
    let mut maps = StateMaps::new(&view, ROOM, store.secret());
    let mut root = EMPTY_STATE;
    let user = |number: u64| format!("@user{number}:cairn.test");
    for number in 0..12_000 {
        root = maps
            .insert(root, "m.room.member", &user(number), EventSerial(number))
            .unwrap();
    }
    let nodes = maps.into_fresh();
    store
        .commit(move |_, _, batch| {
            for (name, bytes) in nodes {
                batch.put(&STATE_NODE_BY_HASH, &(ROOM, name), &bytes);
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let view = store.snapshot();
    let mut maps = StateMaps::new(&view, ROOM, store.secret());
    assert_eq!(maps.all(root).unwrap().len(), 12_000);
    assert_eq!(
        maps.get(root, "m.room.member", &user(777)).unwrap(),
        Some(EventSerial(777))
    );
    let changed = maps
        .insert(root, "m.room.member", &user(777), EventSerial(99_999))
        .unwrap();
    let changes = maps.changed(root, changed).unwrap();
    assert_eq!(
        changes,
        [("m.room.member".to_owned(), user(777), EventSerial(99_999))]
    );
    let written: usize = maps.into_fresh().values().map(Vec::len).sum();
    assert!(written < 4_096, "{written} bytes for one change");
}
