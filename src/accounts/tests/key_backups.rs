//! Key backups: what is counted, what a change rests on, what goes with a version.

use model::tables::{BACKED_UP_KEY_BY_VERSION, KEY_BACKUP_BY_USER, KEY_BACKUPS_BY_USER};
use serde_json::{Value, json, value::RawValue};
use store::Read as _;
use tokio::task::JoinSet;

use super::house::House;
use crate::{
    Accounts, BackupScope, BackupState, KeyBackupError, Session, backed_up_key, key_backup,
};

const FORM: &str =
    r#"{"algorithm":"m.megolm_backup.v1.curve25519-aes-sha2","auth_data":{"public_key":"k"}}"#;

fn key(index: u64, mark: &str) -> Box<RawValue> {
    let key = json!({
        "first_message_index": index,
        "forwarded_count": 0,
        "is_verified": false,
        "session_data": { "ciphertext": mark },
    });
    serde_json::value::to_raw_value(&key).unwrap()
}

fn of_room(room: &str, sessions: std::ops::Range<u64>) -> Vec<(String, String, Box<RawValue>)> {
    sessions
        .map(|number| (room.to_owned(), format!("s{number}"), key(number, "x")))
        .collect()
}

async fn put(
    accounts: &Accounts,
    alice: &Session,
    version: &str,
    keys: Vec<(String, String, Box<RawValue>)>,
) -> BackupState {
    accounts
        .put_backed_up_keys(alice.user, version, keys)
        .await
        .unwrap()
}

/// The pieces of all keys, put together.
async fn read_all(accounts: &Accounts, alice: &Session, version: &str) -> (usize, Value) {
    let mut next = Some(
        accounts
            .backed_up_keys(alice.user, version, None)
            .await
            .unwrap(),
    );
    let (mut pieces, mut text) = (0, String::new());
    while let Some(keys) = next.take() {
        if let Some((piece, rest)) = keys.piece().await.unwrap() {
            pieces += 1;
            text.push_str(&piece);
            next = Some(rest);
        }
    }
    (pieces, serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn the_counts_are_those_of_the_rows() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let accounts = &house.accounts;
    let version = accounts.create_key_backup(alice.user, FORM).await.unwrap();
    let mut keys = of_room("!a:a.test", 0..20);
    keys.extend(of_room("!b:a.test", 0..5));
    let state = put(accounts, &alice, &version, keys.clone()).await;
    assert_eq!(state.count, 25);
    // The same again, and worse ones, change nothing.
    assert_eq!(put(accounts, &alice, &version, keys).await, state);
    let worse = vec![("!a:a.test".to_owned(), "s3".to_owned(), key(9, "worse"))];
    assert_eq!(put(accounts, &alice, &version, worse).await, state);
    let better = vec![(
        "!a:a.test".to_owned(),
        "s3".to_owned(),
        key(1, "a better one"),
    )];
    let after = put(accounts, &alice, &version, better).await;
    assert!(after.count == 25 && after.etag != state.etag);

    for (scope, left) in [
        (
            BackupScope::Session("!a:a.test".to_owned(), "s3".to_owned()),
            24,
        ),
        (
            BackupScope::Session("!a:a.test".to_owned(), "none".to_owned()),
            24,
        ),
        (BackupScope::Room("!b:a.test".to_owned()), 19),
        (BackupScope::Room("!none:a.test".to_owned()), 19),
    ] {
        let deleted = accounts
            .delete_backed_up_keys(alice.user, &version, scope.clone())
            .await
            .unwrap();
        let snapshot = accounts.store().snapshot();
        let rows: Vec<_> = snapshot
            .scan(&BACKED_UP_KEY_BY_VERSION, &(alice.user,))
            .map(Result::unwrap)
            .collect();
        let all = snapshot
            .get(&KEY_BACKUPS_BY_USER, &alice.user)
            .unwrap()
            .unwrap();
        let one = snapshot
            .get(&KEY_BACKUP_BY_USER, &(alice.user, 1))
            .unwrap()
            .unwrap();
        let bytes: usize = rows
            .iter()
            .map(|((_, _, room, session), key)| room.len() + session.len() + key.session_data.len())
            .sum();
        assert_eq!(
            (deleted.count, rows.len()),
            (left, usize::try_from(left).unwrap())
        );
        assert_eq!((all.keys, one.keys), (left, left), "{scope:?}");
        assert_eq!(
            (all.bytes, one.bytes),
            (bytes as u64, bytes as u64),
            "{scope:?}"
        );
    }
    let none = accounts
        .delete_backed_up_keys(alice.user, &version, BackupScope::All)
        .await
        .unwrap();
    assert_eq!(none.count, 0);
    let snapshot = accounts.store().snapshot();
    let all = snapshot
        .get(&KEY_BACKUPS_BY_USER, &alice.user)
        .unwrap()
        .unwrap();
    assert_eq!((all.keys, all.bytes), (0, 0));
}

#[tokio::test]
async fn devices_that_write_at_once_lose_nothing() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let accounts = &house.accounts;
    let version = accounts.create_key_backup(alice.user, FORM).await.unwrap();
    let mut writing = JoinSet::new();
    for device in 0..6 {
        let (accounts, alice, version) = (accounts.clone(), alice.clone(), version.clone());
        writing.spawn(async move {
            // All of them bring one session in common, each a better one.
            let mut keys = of_room(&format!("!{device}:a.test"), 0..10);
            let shared = key(10 - device, "shared");
            keys.push(("!shared:a.test".to_owned(), "s".to_owned(), shared));
            loop {
                match accounts
                    .put_backed_up_keys(alice.user, &version, keys.clone())
                    .await
                {
                    Ok(_) => return,
                    Err(KeyBackupError::Contended) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    writing.join_all().await;
    let snapshot = accounts.store().snapshot();
    let backup = key_backup(&snapshot, alice.user, None).unwrap();
    assert_eq!(backup.count, 61);
    let shared = backed_up_key(&snapshot, alice.user, &version, "!shared:a.test", "s").unwrap();
    assert!(
        shared.get().contains(r#""first_message_index":5"#),
        "{shared}"
    );
}

#[tokio::test]
async fn a_large_backup_is_read_in_pieces() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let accounts = &house.accounts;
    let version = accounts.create_key_backup(alice.user, FORM).await.unwrap();
    assert_eq!(
        read_all(accounts, &alice, &version).await,
        (1, json!({ "rooms": {} }))
    );
    for room in ["!a:a.test", "!bb:a.test", "!c:a.test"] {
        put(accounts, &alice, &version, of_room(room, 0..900)).await;
    }
    let (pieces, all) = read_all(accounts, &alice, &version).await;
    assert!(pieces >= 3, "{pieces}");
    let rooms = all["rooms"].as_object().unwrap();
    assert_eq!(rooms.len(), 3);
    for (room, backup) in rooms {
        let sessions = backup["sessions"].as_object().unwrap();
        assert_eq!(sessions.len(), 900, "{room}");
        assert_eq!(sessions["s7"]["first_message_index"], 7);
        assert_eq!(sessions["s7"]["session_data"]["ciphertext"], "x");
    }
    // The keys of another version are not read, nor those of another user.
    let bob = house.person("bob", "PHONE").await;
    let other = accounts.create_key_backup(bob.user, FORM).await.unwrap();
    assert_eq!(
        read_all(accounts, &bob, &other).await.1,
        json!({ "rooms": {} })
    );
}

#[tokio::test]
async fn a_deleted_version_takes_its_keys_along() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let accounts = &house.accounts;
    let first = accounts.create_key_backup(alice.user, FORM).await.unwrap();
    put(accounts, &alice, &first, of_room("!a:a.test", 0..10)).await;
    let second = accounts.create_key_backup(alice.user, FORM).await.unwrap();
    let refused = accounts.put_backed_up_keys(alice.user, &first, of_room("!a:a.test", 0..1));
    assert!(
        matches!(refused.await, Err(KeyBackupError::WrongVersion { current }) if current == second)
    );
    accounts
        .delete_key_backup(alice.user, &first)
        .await
        .unwrap();
    accounts
        .delete_key_backup(alice.user, &first)
        .await
        .unwrap();
    let never = accounts.delete_key_backup(alice.user, "3").await;
    assert!(matches!(never, Err(KeyBackupError::NotFound)));
    let snapshot = accounts.store().snapshot();
    assert_eq!(
        snapshot
            .scan(&BACKED_UP_KEY_BY_VERSION, &(alice.user,))
            .count(),
        0
    );
    let all = snapshot
        .get(&KEY_BACKUPS_BY_USER, &alice.user)
        .unwrap()
        .unwrap();
    assert_eq!((all.newest, all.keys, all.bytes), (2, 0, 0));
    // A version is never given out again, and the one before is the newest again.
    let third = accounts.create_key_backup(alice.user, FORM).await.unwrap();
    accounts
        .delete_key_backup(alice.user, &third)
        .await
        .unwrap();
    let snapshot = accounts.store().snapshot();
    assert_eq!(
        key_backup(&snapshot, alice.user, None).unwrap().version,
        second
    );
    assert_eq!(
        put(accounts, &alice, &second, of_room("!a:a.test", 0..2))
            .await
            .count,
        2
    );
    assert_eq!(
        accounts.create_key_backup(alice.user, FORM).await.unwrap(),
        "4"
    );
}

#[tokio::test]
async fn a_person_has_at_most_a_hundred_backups() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let accounts = &house.accounts;
    for _ in 0..100 {
        accounts.create_key_backup(alice.user, FORM).await.unwrap();
    }
    let more = accounts.create_key_backup(alice.user, FORM).await;
    assert!(matches!(more, Err(KeyBackupError::TooMany)));
    accounts.delete_key_backup(alice.user, "7").await.unwrap();
    assert_eq!(
        accounts.create_key_backup(alice.user, FORM).await.unwrap(),
        "101"
    );
}

#[tokio::test]
async fn a_closed_account_leaves_no_backup() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let bob = house.person("bob", "PHONE").await;
    let accounts = &house.accounts;
    for person in [&alice, &bob] {
        let version = accounts.create_key_backup(person.user, FORM).await.unwrap();
        put(accounts, person, &version, of_room("!a:a.test", 0..3)).await;
    }
    accounts
        .deactivate(&audit::Act::operator(), alice.user, false)
        .await
        .unwrap();
    let snapshot = accounts.store().snapshot();
    let rows = |user| snapshot.scan(&BACKED_UP_KEY_BY_VERSION, &(user,)).count();
    assert_eq!((rows(alice.user), rows(bob.user)), (0, 3));
    assert!(key_backup(&snapshot, alice.user, None).is_err());
    let again = accounts.create_key_backup(alice.user, FORM).await;
    assert!(matches!(again, Err(KeyBackupError::NotFound)));
}
