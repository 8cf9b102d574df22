//! Backups of room keys: every endpoint, the merge rules, and who may not read them.

use harness::{User, escape};
use reqwest::Method;
use serde_json::{Value, json};

use crate::server;

const ALGORITHM: &str = "m.megolm_backup.v1.curve25519-aes-sha2";
const ROOM: &str = "!room:localhost";
const OTHER: &str = "!other:localhost";

fn form(public_key: &str) -> Value {
    json!({
        "algorithm": ALGORITHM,
        "auth_data": {
            "public_key": public_key,
            "signatures": { "@a:localhost": { "ed25519:X": "anything" } },
            "org.example.kept": [1, null],
        },
    })
}

/// A new backup; returns its version.
async fn backup(user: &User) -> String {
    let made = user.post("v3/room_keys/version", form("one")).await.ok();
    made["version"].as_str().unwrap().to_owned()
}

fn key(is_verified: bool, index: u64, forwarded: u64, mark: &str) -> Value {
    json!({
        "first_message_index": index,
        "forwarded_count": forwarded,
        "is_verified": is_verified,
        "session_data": { "ephemeral": "e", "ciphertext": mark, "mac": "m", "more": { "kept": 1 } },
    })
}

/// The path of keys in a backup; `place` begins with a slash or is empty.
fn keys(place: &str, version: &str) -> String {
    format!("v3/room_keys/keys{place}?version={version}")
}

fn of_room(room: &str) -> String {
    format!("/{}", escape(room))
}

fn of_session(room: &str, session: &str) -> String {
    format!("/{}/{}", escape(room), escape(session))
}

#[tokio::test]
async fn a_backup_is_made_read_and_changed() {
    let alice = server().register("alice").await;
    alice
        .get("v3/room_keys/version")
        .await
        .refused(404, "M_NOT_FOUND");
    let version = backup(&alice).await;
    for path in [
        "v3/room_keys/version".to_owned(),
        format!("v3/room_keys/version/{version}"),
        "unstable/room_keys/version".to_owned(),
    ] {
        let found = alice.get(&path).await.ok();
        assert_eq!(found["algorithm"], ALGORITHM);
        assert_eq!(found["auth_data"], form("one")["auth_data"]);
        assert_eq!(found["version"], version.as_str());
        assert_eq!(found["count"], 0);
        assert!(found["etag"].is_string(), "{found}");
    }
    let path = format!("v3/room_keys/version/{version}");
    alice.put(&path, form("two")).await.ok();
    let mut named = form("three");
    named["version"] = json!(version);
    alice.put(&path, named).await.ok();
    let found = alice.get(&path).await.ok();
    assert_eq!(found["auth_data"]["public_key"], "three");
    // Another device of the same person sees it, another person does not.
    let phone = alice.another_device().await;
    assert_eq!(phone.get(&path).await.ok(), found);
    let bob = server().register("bob").await;
    bob.get(&path).await.refused(404, "M_NOT_FOUND");
    bob.get("v3/room_keys/version")
        .await
        .refused(404, "M_NOT_FOUND");
    alice
        .anonymous()
        .get(&path)
        .await
        .refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn what_is_no_backup_is_refused() {
    let alice = server().register("alice").await;
    for body in [
        json!({ "algorithm": ALGORITHM }),
        json!({ "auth_data": {} }),
        json!({ "algorithm": ALGORITHM, "auth_data": [] }),
        json!({ "algorithm": ALGORITHM, "auth_data": "text" }),
        json!({ "algorithm": 1, "auth_data": {} }),
    ] {
        let answer = alice.post("v3/room_keys/version", body).await;
        answer.refused(400, "M_BAD_JSON");
    }
    let empty = json!({ "algorithm": "", "auth_data": {} });
    let answer = alice.post("v3/room_keys/version", empty).await;
    answer.refused(400, "M_INVALID_PARAM");
    let long = json!({ "algorithm": ALGORITHM, "auth_data": { "a": "x".repeat(70_000) } });
    let answer = alice.post("v3/room_keys/version", long).await;
    answer.refused(413, "M_TOO_LARGE");
    alice
        .get("v3/room_keys/version")
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn the_algorithm_of_a_backup_never_changes() {
    let alice = server().register("alice").await;
    let version = backup(&alice).await;
    let path = format!("v3/room_keys/version/{version}");
    let mut other = form("two");
    other["algorithm"] = json!("org.example.other");
    alice
        .put(&path, other)
        .await
        .refused(400, "M_INVALID_PARAM");
    let mut misnamed = form("two");
    misnamed["version"] = json!("77");
    alice
        .put(&path, misnamed)
        .await
        .refused(400, "M_INVALID_PARAM");
    let found = alice.get(&path).await.ok();
    assert_eq!(found["auth_data"]["public_key"], "one");
    for unknown in ["77", "0", "nonsense", "01"] {
        let path = format!("v3/room_keys/version/{unknown}");
        alice
            .put(&path, form("two"))
            .await
            .refused(404, "M_NOT_FOUND");
        alice.get(&path).await.refused(404, "M_NOT_FOUND");
        alice
            .delete(&path, Value::Null)
            .await
            .refused(404, "M_NOT_FOUND");
    }
}

#[tokio::test]
async fn keys_are_stored_and_read_at_every_level() {
    let alice = server().register("alice").await;
    let version = backup(&alice).await;
    let stored = [
        key(false, 1, 0, "a"),
        key(true, 2, 1, "b"),
        key(false, 3, 2, "c"),
        key(false, 4, 3, "d"),
    ];
    let all = json!({ "rooms": {
        ROOM: { "sessions": { "one": stored[0], "two/+=": stored[1] } },
        OTHER: { "sessions": { "one": stored[2] } },
    }});
    let answer = alice.put(keys("", &version), all).await.ok();
    assert_eq!(answer["count"], 3);
    let more = json!({ "sessions": { "four": stored[3] } });
    let of_other = keys(&of_room(OTHER), &version);
    let second = alice.put(&of_other, more).await.ok();
    assert_eq!(second["count"], 4);
    assert_ne!(second["etag"], answer["etag"]);
    let five = keys(&of_session(ROOM, "five"), &version);
    let third = alice.put(&five, key(false, 5, 0, "e")).await.ok();
    assert_eq!(third["count"], 5);

    let info = alice.get("v3/room_keys/version").await.ok();
    assert_eq!(
        (&info["count"], &info["etag"]),
        (&third["count"], &third["etag"])
    );
    let whole = alice.get(keys("", &version)).await.ok();
    assert_eq!(
        whole,
        json!({ "rooms": {
            ROOM: { "sessions": {
                "one": stored[0], "two/+=": stored[1], "five": key(false, 5, 0, "e"),
            }},
            OTHER: { "sessions": { "one": stored[2], "four": stored[3] } },
        }})
    );
    let room = alice.get(&of_other).await.ok();
    assert_eq!(room, whole["rooms"][OTHER]);
    let one = alice
        .get(keys(&of_session(ROOM, "two/+="), &version))
        .await
        .ok();
    assert_eq!(one, stored[1]);
    // A later device gets the same, and nobody else anything.
    let phone = alice.another_device().await;
    assert_eq!(phone.get(keys("", &version)).await.ok(), whole);
    let bob = server().register("bob").await;
    for place in [String::new(), of_room(ROOM), of_session(ROOM, "one")] {
        let path = keys(&place, &version);
        bob.get(&path).await.refused(404, "M_NOT_FOUND");
        bob.delete(&path, Value::Null)
            .await
            .refused(404, "M_NOT_FOUND");
    }
    assert_eq!(alice.get(keys("", &version)).await.ok(), whole);
}

#[tokio::test]
async fn what_is_not_there_is_empty_or_not_found() {
    let alice = server().register("alice").await;
    let version = backup(&alice).await;
    assert_eq!(
        alice.get(keys("", &version)).await.ok(),
        json!({ "rooms": {} })
    );
    let room = alice.get(keys(&of_room(ROOM), &version)).await.ok();
    assert_eq!(room, json!({ "sessions": {} }));
    let none = alice.get(keys(&of_session(ROOM, "none"), &version)).await;
    none.refused(404, "M_NOT_FOUND");
    for place in [String::new(), of_room(ROOM), of_session(ROOM, "one")] {
        for unknown in ["77", "nonsense"] {
            let path = keys(&place, unknown);
            alice.get(&path).await.refused(404, "M_NOT_FOUND");
            alice
                .delete(&path, Value::Null)
                .await
                .refused(404, "M_NOT_FOUND");
        }
        let without = format!("v3/room_keys/keys{place}");
        alice.get(&without).await.refused(400, "M_MISSING_PARAM");
    }
}

#[tokio::test]
async fn of_two_keys_the_better_is_kept() {
    let alice = server().register("alice").await;
    let version = backup(&alice).await;
    let path = keys(&of_session(ROOM, "one"), &version);
    let mut kept = Value::Null;
    let mut etag = Value::Null;
    for (is_verified, index, forwarded, is_better) in [
        (false, 9, 9, true),
        (false, 9, 9, false),
        (false, 10, 0, false),
        (false, 9, 8, true),
        (false, 8, 20, true),
        (true, 50, 50, true),
        (false, 0, 0, false),
        (true, 50, 51, false),
        (true, 50, 49, true),
        (true, 49, 90, true),
    ] {
        let mark = format!("{is_verified} {index} {forwarded}");
        let new = key(is_verified, index, forwarded, &mark);
        let answer = alice.put(&path, new.clone()).await.ok();
        assert_eq!(answer["count"], 1);
        assert_eq!(answer["etag"] != etag, is_better, "{mark}");
        etag = answer["etag"].clone();
        if is_better {
            kept = new;
        }
        assert_eq!(alice.get(&path).await.ok(), kept, "{mark}");
    }
}

#[tokio::test]
async fn only_the_newest_backup_takes_keys() {
    let alice = server().register("alice").await;
    let none = alice.put(keys("", "1"), json!({ "rooms": {} })).await;
    none.refused(404, "M_NOT_FOUND");
    let old = backup(&alice).await;
    let path = keys(&of_session(ROOM, "one"), &old);
    alice.put(&path, key(false, 1, 0, "old")).await.ok();
    let new = backup(&alice).await;
    assert_ne!(old, new);
    for (place, body) in [
        (String::new(), json!({ "rooms": {} })),
        (
            of_room(ROOM),
            json!({ "sessions": { "two": key(false, 1, 0, "x") } }),
        ),
        (of_session(ROOM, "two"), key(false, 1, 0, "x")),
    ] {
        let answer = alice.put(keys(&place, &old), body.clone()).await;
        let refusal = answer.refused(403, "M_WRONG_ROOM_KEYS_VERSION");
        assert_eq!(refusal["current_version"], new.as_str());
        let unknown = alice.put(keys(&place, "77"), body).await;
        unknown.refused(404, "M_NOT_FOUND");
    }
    // The old one can still be read, and emptied.
    assert_eq!(alice.get(&path).await.ok(), key(false, 1, 0, "old"));
    let latest = alice.get("v3/room_keys/version").await.ok();
    assert_eq!(latest["version"], new.as_str());
    assert_eq!(latest["count"], 0);
}

#[tokio::test]
async fn keys_are_deleted_at_every_level() {
    let alice = server().register("alice").await;
    let version = backup(&alice).await;
    let sessions = json!({ "one": key(false, 1, 0, "a"), "two": key(false, 1, 0, "b") });
    let rooms = json!({ "rooms": {
        ROOM: { "sessions": sessions },
        OTHER: { "sessions": sessions },
        "!third:localhost": { "sessions": sessions },
    }});
    let mut etags = vec![alice.put(keys("", &version), rooms).await.ok()["etag"].clone()];
    for (place, left) in [
        (of_session(ROOM, "one"), 5),
        (of_room(OTHER), 3),
        (String::new(), 0),
    ] {
        let deleted = alice.delete(keys(&place, &version), Value::Null).await.ok();
        assert_eq!(deleted["count"], left, "{place}");
        assert!(!etags.contains(&deleted["etag"]), "{place}");
        etags.push(deleted["etag"].clone());
        // What is gone can be deleted again, which changes nothing.
        let again = alice.delete(keys(&place, &version), Value::Null).await.ok();
        assert_eq!(again, deleted);
        if left == 5 {
            let gone = alice.get(keys(&place, &version)).await;
            gone.refused(404, "M_NOT_FOUND");
        }
    }
    assert_eq!(
        alice.get(keys("", &version)).await.ok(),
        json!({ "rooms": {} })
    );
}

#[tokio::test]
async fn a_deleted_backup_is_gone_with_its_keys() {
    let alice = server().register("alice").await;
    let first = backup(&alice).await;
    let second = backup(&alice).await;
    let place = of_session(ROOM, "one");
    alice
        .put(keys(&place, &second), key(false, 1, 0, "x"))
        .await
        .ok();
    let path = format!("v3/room_keys/version/{second}");
    alice.delete(&path, Value::Null).await.ok();
    alice.delete(&path, Value::Null).await.ok();
    alice.get(&path).await.refused(404, "M_NOT_FOUND");
    for answer in [
        alice.get(keys("", &second)).await,
        alice.get(keys(&place, &second)).await,
        alice
            .put(keys(&place, &second), key(false, 1, 0, "x"))
            .await,
    ] {
        answer.refused(404, "M_NOT_FOUND");
    }
    // The one before it is the newest again.
    let latest = alice.get("v3/room_keys/version").await.ok();
    assert_eq!(latest["version"], first.as_str());
    alice
        .put(keys(&place, &first), key(false, 1, 0, "y"))
        .await
        .ok();
    let third = backup(&alice).await;
    assert!(![&first, &second].contains(&&third));
}

#[tokio::test]
async fn what_is_no_key_is_refused_and_nothing_is_stored() {
    let alice = server().register("alice").await;
    let version = backup(&alice).await;
    let mut bad = Vec::new();
    for part in [
        "first_message_index",
        "forwarded_count",
        "is_verified",
        "session_data",
    ] {
        let mut without = key(false, 1, 0, "x");
        without.as_object_mut().unwrap().remove(part);
        bad.push(without);
        let mut wrong = key(false, 1, 0, "x");
        wrong[part] = json!("wrong");
        bad.push(wrong);
    }
    for bad in bad {
        let sessions = json!({ "good": key(false, 1, 0, "x"), "worse": bad });
        let rooms = json!({ "rooms": { ROOM: { "sessions": sessions } } });
        for (place, body) in [
            (String::new(), rooms),
            (of_room(ROOM), json!({ "sessions": sessions })),
            (of_session(ROOM, "one"), bad.clone()),
        ] {
            let answer = alice.put(keys(&place, &version), body).await;
            answer.refused(400, "M_BAD_JSON");
        }
    }
    let answer = alice.put(keys("", &version), json!({})).await;
    answer.refused(400, "M_BAD_JSON");
    let nowhere = json!({ "rooms": { "nonsense": { "sessions": {} } } });
    alice
        .put(keys("", &version), nowhere)
        .await
        .refused_with(&[400]);
    let large = key(false, 1, 0, &"x".repeat(40_000));
    let answer = alice
        .put(keys(&of_session(ROOM, "one"), &version), large)
        .await;
    answer.refused(413, "M_TOO_LARGE");
    let long = of_session(ROOM, &"s".repeat(300));
    let answer = alice
        .put(keys(&long, &version), key(false, 1, 0, "x"))
        .await;
    answer.refused(400, "M_INVALID_PARAM");
    assert_eq!(
        alice.get(keys("", &version)).await.ok(),
        json!({ "rooms": {} })
    );
}

#[tokio::test]
async fn hundreds_of_keys_come_at_once_and_thousands_are_read() {
    let alice = server().register("alice").await;
    let version = backup(&alice).await;
    for room in 0..4 {
        let sessions: serde_json::Map<String, Value> = (0..800)
            .map(|number| {
                (
                    format!("s{number}"),
                    key(false, number, 0, &"x".repeat(400)),
                )
            })
            .collect();
        let rooms = json!({ "rooms": { format!("!{room}:localhost"): { "sessions": sessions } } });
        let answer = alice.put(keys("", &version), rooms).await.ok();
        assert_eq!(answer["count"], (room + 1) * 800);
    }
    let whole = alice.get(keys("", &version)).await.ok();
    let rooms = whole["rooms"].as_object().unwrap();
    assert_eq!(rooms.len(), 4);
    for backup in rooms.values() {
        let sessions = backup["sessions"].as_object().unwrap();
        assert_eq!(sessions.len(), 800);
        assert_eq!(sessions["s799"]["first_message_index"], 799);
    }
    let deleted = alice.delete(keys("", &version), Value::Null).await.ok();
    assert_eq!(deleted["count"], 0);
}

#[tokio::test]
async fn a_closed_account_has_no_backup_to_read() {
    let alice = server().register("alice").await;
    let version = backup(&alice).await;
    let place = of_session(ROOM, "one");
    alice
        .put(keys(&place, &version), key(false, 1, 0, "x"))
        .await
        .ok();
    alice
        .with_password(Method::POST, "v3/account/deactivate", json!({}))
        .await
        .ok();
    alice
        .get(keys("", &version))
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
}
