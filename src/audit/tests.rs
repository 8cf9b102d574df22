//! The trail as a whole, on a temporary store.

use std::time::{Duration, Instant};

use graph::SigningKey;
use model::{
    AuditHeadRecord,
    tables::{AUDIT_BY_NAME, AUDIT_BY_NUMBER, AUDIT_HEAD},
};
use runtime::{Clock, Random};
use serde_json::json;
use store::{Read as _, Store, StoreError, StoreOptions, Table};
use tempfile::TempDir;

use crate::{
    Act, Broken, Deed, FileError, Filter, Verb, check_file, find, head, hexadecimal, lines_after,
    record, statement, verify,
};

/// The stored bytes themselves.
const ROWS: Table<u64, Vec<u8>> = Table::new(
    AUDIT_BY_NUMBER.number,
    AUDIT_BY_NUMBER.family,
    AUDIT_BY_NUMBER.name,
);
const HEAD: Table<(), Vec<u8>> = Table::new(AUDIT_HEAD.number, AUDIT_HEAD.family, AUDIT_HEAD.name);

struct House {
    store: Store,
    _folder: TempDir,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, random) = (Clock::system(), Random::system());
        let options = StoreOptions::default();
        let store = Store::open(folder.path(), "a.test", &options, &clock, &random).unwrap();
        Self {
            store,
            _folder: folder,
        }
    }

    async fn write(&self, at: u64, deeds: Vec<Deed>) {
        self.store
            .commit(move |latest, _, batch| record(latest, batch, at, &deeds))
            .await
            .unwrap();
    }

    /// Three entries in two commits.
    async fn with_three() -> Self {
        let house = Self::new();
        let boss = Act::person("@boss:a.test", Some("192.0.2.7".to_owned()));
        let lock = boss.clone().because(Some("left the council".to_owned()));
        let locked = lock.did(Verb::LockChanged).on("@anna:a.test");
        let locked = locked.before(json!(false)).after(json!(true));
        house.write(1_000, vec![locked]).await;
        let joined = Act::person("@anna:a.test", None)
            .did(Verb::MembershipChanged)
            .on("@anna:a.test")
            .within("!r:a.test")
            .after(json!("join"));
        let made = Act::operator().did(Verb::PersonCreated).on("@otto:a.test");
        house.write(2_000, vec![joined, made]).await;
        house
    }

    fn broken(&self) -> Option<Broken> {
        verify(&self.store.latest(), None).unwrap().broken
    }

    async fn put<K, V>(&self, table: Table<K, V>, key: K, value: V)
    where
        K: store::Key + Send + 'static,
        V: store::Value + Send + 'static,
    {
        self.store
            .commit(move |_, _, batch| {
                batch.put(&table, &key, &value);
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn entries_are_chained_and_found() {
    let house = House::with_three().await;
    let view = house.store.snapshot();
    let all = find(&view, &Filter::default(), None, 10).unwrap();
    let numbers: Vec<u64> = all.entries.iter().map(|entry| entry.number).collect();
    assert_eq!((numbers, all.next), (vec![3, 2, 1], None));
    let (last, first) = (&all.entries[0], &all.entries[2]);
    assert_eq!(last.previous, all.entries[1].hash);
    assert_eq!(first.previous, "0".repeat(64));
    assert_eq!(
        (
            first.by.as_str(),
            first.from.as_deref(),
            first.at,
            first.reason.as_deref()
        ),
        (
            "@boss:a.test",
            Some("192.0.2.7"),
            1_000,
            Some("left the council")
        )
    );
    assert_eq!((&first.before, &first.after), (&json!(false), &json!(true)));
    let numbers = |filter: Filter| -> Vec<u64> {
        let found = find(&view, &filter, None, 10).unwrap();
        found.entries.iter().map(|entry| entry.number).collect()
    };
    let text = |text: &str| Some(text.to_owned());
    let by = |by: &str| Filter {
        by: text(by),
        ..Filter::default()
    };
    let on = |on: &str| Filter {
        on: text(on),
        ..Filter::default()
    };
    let verb = |verb: &str| Filter {
        verb: text(verb),
        ..Filter::default()
    };
    assert_eq!(numbers(by("operator")), [3]);
    assert_eq!(numbers(by("@anna:a.test")), [2]);
    assert_eq!(numbers(on("@anna:a.test")), [2, 1]);
    assert_eq!(
        numbers(Filter {
            room: text("!r:a.test"),
            ..Filter::default()
        }),
        [2]
    );
    assert_eq!(numbers(verb("person")), [3, 1]);
    assert_eq!(numbers(verb("person.lock")), [1]);
    assert_eq!(numbers(verb("pers")), [0; 0]);
    assert_eq!(
        numbers(Filter {
            since: Some(2_000),
            ..Filter::default()
        }),
        [3, 2]
    );
    assert_eq!(
        numbers(Filter {
            until: Some(2_000),
            ..Filter::default()
        }),
        [1]
    );
    let page = find(&view, &Filter::default(), None, 2).unwrap();
    assert_eq!(page.next, Some(2));
    let rest = find(&view, &Filter::default(), page.next, 2).unwrap();
    assert_eq!((rest.entries[0].number, rest.next), (1, None));
}

#[tokio::test]
async fn one_changed_byte_anywhere_is_named() {
    let house = House::with_three().await;
    assert_eq!(house.broken(), None);
    for number in 1..=3 {
        let row = house.store.latest().get(&ROWS, &number).unwrap().unwrap();
        for place in 0..row.len() {
            let mut changed = row.clone();
            changed[place] ^= 1;
            house.put(ROWS, number, changed).await;
            let broken = house
                .broken()
                .unwrap_or_else(|| panic!("byte {place} of {number}"));
            assert_eq!(broken.number, number, "byte {place}: {}", broken.reason);
        }
        house.put(ROWS, number, row).await;
        assert_eq!(house.broken(), None);
    }
    let row = house.store.latest().get(&HEAD, &()).unwrap().unwrap();
    for place in 0..row.len() {
        let mut changed = row.clone();
        changed[place] ^= 1;
        house.put(HEAD, (), changed).await;
        assert!(house.broken().is_some(), "byte {place} of the end");
    }
    house.put(HEAD, (), row).await;
    assert_eq!(house.broken(), None);
}

#[tokio::test]
async fn what_is_taken_out_or_put_in_is_named() {
    let house = House::with_three().await;
    let delete = |number: u64| {
        house.store.commit(move |_, _, batch| {
            batch.delete(&ROWS, &number);
            Ok::<_, StoreError>(())
        })
    };
    for number in 1..=3 {
        let row = house.store.latest().get(&ROWS, &number).unwrap().unwrap();
        delete(number).await.unwrap();
        let broken = house.broken().unwrap();
        assert_eq!(
            (broken.number, broken.reason),
            (number, "the entry is missing")
        );
        house.put(ROWS, number, row).await;
    }
    let row = house.store.latest().get(&ROWS, &3).unwrap().unwrap();
    house.put(ROWS, 4, row).await;
    assert_eq!(house.broken().unwrap().number, 4);
    delete(4).await.unwrap();
    // The index, by which entries could be hidden.
    let name = ("@otto:a.test".to_owned(), 3);
    let taken = name.clone();
    let hide = house.store.commit(move |_, _, batch| {
        batch.delete(&AUDIT_BY_NAME, &taken);
        Ok::<_, StoreError>(())
    });
    hide.await.unwrap();
    assert_eq!(house.broken().unwrap().number, 3);
    house.put(AUDIT_BY_NAME, name, ()).await;
    house
        .put(AUDIT_BY_NAME, ("@otto:a.test".to_owned(), 1), ())
        .await;
    assert_eq!(house.broken().unwrap().number, 1);
}

#[tokio::test]
async fn a_hash_noted_elsewhere_proves_what_came_before() {
    let house = House::with_three().await;
    let view = house.store.snapshot();
    let second = crate::line(&view, 2).unwrap().unwrap();
    let hash = crate::parse_hash(&second.hash).unwrap();
    assert_eq!(verify(&view, Some((2, hash))).unwrap().broken, None);
    // Somebody writes the whole trail anew, with another second entry.
    let other = House::new();
    let forged = Act::operator().did(Verb::PersonCreated).on("@x:a.test");
    other
        .write(1_000, vec![forged.clone(), forged.clone(), forged])
        .await;
    let view = other.store.snapshot();
    assert_eq!(verify(&view, None).unwrap().broken, None);
    let broken = verify(&view, Some((2, hash))).unwrap().broken.unwrap();
    assert_eq!(broken.number, 2);
    let missing = verify(&view, Some((9, hash))).unwrap().broken.unwrap();
    assert_eq!(missing.number, 9);
}

#[tokio::test]
async fn a_signed_copy_is_checked_without_the_database() {
    let house = House::with_three().await;
    let view = house.store.snapshot();
    let key = SigningKey::generate([7; 32], "k".to_owned()).unwrap();
    let server = "a.test".try_into().unwrap();
    let lines = lines_after(&view, 0, 10).unwrap();
    let mut lines: Vec<String> = lines
        .into_iter()
        .map(|(_, line)| String::from_utf8(line).unwrap())
        .collect();
    let end = head(&view).unwrap();
    lines.push(statement(&end, server, 5, &key).unwrap());
    let check = |lines: &[String], key: &SigningKey| {
        let lines = lines.iter().cloned().map(Ok);
        check_file(lines, &key.public_base64())
    };
    let good = check(&lines, &key).unwrap();
    assert_eq!(
        (good.head, good.at, good.server.as_str()),
        (end, 5, "a.test")
    );
    assert_eq!(good.key_id, "ed25519:k");
    let other = SigningKey::generate([8; 32], "k".to_owned()).unwrap();
    assert!(matches!(
        check(&lines, &other),
        Err(FileError::Signature(_))
    ));
    let mut changed = lines.clone();
    changed[0] = changed[0].replace("@anna", "@otto");
    assert!(matches!(
        check(&changed, &key),
        Err(FileError::Chain { number: 2 })
    ));
    let mut changed = lines.clone();
    changed[2] = changed[2].replace("@otto", "@anna");
    assert!(matches!(
        check(&changed, &key),
        Err(FileError::OtherEnd { .. })
    ));
    let mut shorter = lines.clone();
    shorter.remove(2);
    assert!(matches!(
        check(&shorter, &key),
        Err(FileError::OtherEnd {
            signed: 3,
            found: 2
        })
    ));
    let mut claimed = lines.clone();
    claimed[3] = claimed[3].replace("\"at\":5", "\"at\":6");
    assert!(matches!(
        check(&claimed, &key),
        Err(FileError::Signature(_))
    ));
    assert!(matches!(
        check(&lines[..3], &key),
        Err(FileError::NoStatement)
    ));
}

#[tokio::test]
async fn texts_are_bounded() {
    let house = House::new();
    let act = Act::person("@a:a.test", None).because(Some("ü".repeat(5_000)));
    let deed = act
        .did(Verb::PowerChanged)
        .after(json!({ "x": "y".repeat(100_000) }));
    house.write(1, vec![deed]).await;
    let entry = crate::line(&house.store.snapshot(), 1).unwrap().unwrap();
    assert!(entry.reason.unwrap().len() <= 1_000);
    assert_eq!(entry.after, json!({ "omitted_bytes": 100_008 }));
    assert_eq!(house.broken(), None);
}

#[tokio::test]
async fn a_hundred_thousand_entries_are_verified_in_two_seconds() {
    let house = House::new();
    for part in 0..100_u64 {
        let deeds = (0..1_000).map(|number| {
            Act::person(
                format!("@boss{}:a.test", number % 7),
                Some("192.0.2.7".to_owned()),
            )
            .because(Some("as agreed with the works council".to_owned()))
            .did(Verb::MembershipChanged)
            .on(format!("@person{number}:a.test"))
            .within(format!("!room{part}:a.test"))
            .before(json!("invite"))
            .after(json!("join"))
        });
        house.write(part, deeds.collect()).await;
    }
    let view = house.store.snapshot();
    let begun = Instant::now();
    let verified = verify(&view, None).unwrap();
    let took = begun.elapsed();
    assert_eq!(verified.broken, None);
    let end: AuditHeadRecord = head(&view).unwrap();
    assert_eq!((end.entries, end), (100_000, verified.head));
    println!("verified up to {} in {took:?}", hexadecimal(&end.hash));
    // Without optimisation, as tests are built, it takes some times as long.
    let most = if cfg!(debug_assertions) { 10 } else { 2 };
    assert!(took < Duration::from_secs(most), "{took:?}");
    let begun = Instant::now();
    let on = Some("@person5:a.test".to_owned());
    let found = find(
        &view,
        &Filter {
            on,
            ..Filter::default()
        },
        None,
        50,
    )
    .unwrap();
    assert_eq!(found.entries.len(), 50);
    assert!(
        begun.elapsed() < Duration::from_millis(100),
        "{:?}",
        begun.elapsed()
    );
}
