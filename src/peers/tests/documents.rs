//! What servers publish of their keys.

use ruma_common::CanonicalJsonObject;
use runtime::{Clock, Timestamp};
use serde_json::{Value, json};

use super::{NOW, name, open, peers, signing_key};
use crate::{FederationOptions, keys::Document, rotate};

const DAY: u64 = 86_400_000;

fn object(value: &Value) -> CanonicalJsonObject {
    graph::canonical(value.to_string().as_bytes(), 20).unwrap()
}

/// A document of `a.test` with the key of seed 5, changed and then signed.
fn document(change: impl FnOnce(&mut Value)) -> CanonicalJsonObject {
    let key = signing_key(5);
    let mut value = json!({
        "server_name": "a.test",
        "verify_keys": { "ed25519:k5": { "key": key.public_base64() } },
        "old_verify_keys": {
            "ed25519:old": { "key": signing_key(4).public_base64(), "expired_ts": 1_000 }
        },
        "valid_until_ts": NOW.0 + DAY,
    });
    change(&mut value);
    let mut object = object(&value);
    key.sign_json(&name("a.test"), &mut object).unwrap();
    object
}

fn check(object: CanonicalJsonObject) -> Result<Document, String> {
    Document::check(&name("a.test"), object, NOW)
}

#[test]
fn keys_count_up_to_their_time() {
    let checked = check(document(|_| {})).unwrap();
    let until = |id: &str| checked.keys[id].valid_until;
    assert_eq!(until("ed25519:k5"), NOW.0 + DAY);
    assert_eq!(until("ed25519:old"), 1_000);
    assert_eq!(checked.keys.len(), 2);
    // Nobody's key counts for longer than seven days without being seen.
    let checked = check(document(|value| {
        value["valid_until_ts"] = json!(NOW.0 + 30 * DAY)
    }));
    assert_eq!(
        checked.unwrap().keys["ed25519:k5"].valid_until,
        NOW.0 + 7 * DAY
    );
    let checked = check(document(|value| value["valid_until_ts"] = json!(1)));
    assert_eq!(checked.unwrap().keys["ed25519:k5"].valid_until, 1);
    let other = check(document(|value| {
        value["verify_keys"]["dilithium:1"] = json!({ "key": "AAAA" });
    }));
    assert_eq!(
        other.unwrap().keys.len(),
        2,
        "other algorithms are passed over"
    );
    assert!(check(document(|value| value["old_verify_keys"] = json!({}))).is_ok());
}

#[test]
fn what_is_wrong_is_refused() {
    for (what, change) in [
        (
            "not about",
            (|value| value["server_name"] = json!("b.test")) as fn(&mut Value),
        ),
        ("valid_until_ts", |value| {
            value["valid_until_ts"] = json!("soon")
        }),
        ("verify_keys", |value| value["verify_keys"] = json!([])),
        ("none of its keys", |value| value["verify_keys"] = json!({})),
        ("not valid", |value| {
            let other = signing_key(6).public_base64();
            value["verify_keys"]["ed25519:k5"] = json!({ "key": other });
        }),
        ("more than", |value| {
            for number in 0..100 {
                let key = signing_key(5).public_base64();
                value["verify_keys"][format!("ed25519:n{number}")] = json!({ "key": key });
            }
        }),
    ] {
        let refused = check(document(change)).unwrap_err();
        assert!(refused.contains(what), "{what}: {refused}");
    }
    // Changed after it was signed.
    let mut changed = document(|_| {});
    changed.extend(object(&json!({ "valid_until_ts": NOW.0 + 2 * DAY })));
    assert!(check(changed).unwrap_err().contains("not valid"));
}

#[tokio::test]
async fn our_own_is_like_that_and_keeps_what_was() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(NOW);
    let store = open(folder.path(), &clock);
    // The key of seed 9 was used before; that of seed 1 stands there because a rotation
    // was cut off half-way.
    for (seed, at) in [(9, NOW.0 - DAY), (1, NOW.0)] {
        rotate(&store, &signing_key(seed), Timestamp(at))
            .await
            .unwrap();
    }
    let peers = peers(store, clock, FederationOptions::default());
    let own = peers.own_document().unwrap();
    let checked = Document::check(&name("own.test"), own, NOW).unwrap();
    let ids: Vec<_> = checked.keys.keys().map(String::as_str).collect();
    assert_eq!(ids, ["ed25519:k1", "ed25519:k9"]);
    assert_eq!(checked.keys["ed25519:k9"].valid_until, NOW.0 - DAY);
    assert_eq!(checked.keys["ed25519:k1"].valid_until, NOW.0 + 2 * DAY);
    let own = name("own.test");
    let old = signing_key(9).public_base64();
    let found = peers.key(&own, "ed25519:k9", Timestamp(NOW.0 - DAY)).await;
    assert_eq!(found.unwrap(), old);
    assert!(peers.key(&own, "ed25519:k9", NOW).await.is_err());
    let current = peers.key(&own, "ed25519:k1", NOW).await.unwrap();
    assert_eq!(current, signing_key(1).public_base64());
}
