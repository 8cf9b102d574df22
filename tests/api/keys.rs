//! Device keys, one-time keys and fallback keys.

use harness::signing::DeviceKeys;
use harness::{Api, User};
use serde_json::{Value, json};

use crate::server;

async fn with_keys(api: &Api, name: &str, count: usize) -> (User, DeviceKeys) {
    let user = api.register(name).await;
    let keys = DeviceKeys::of(&user);
    keys.upload(&user, count).await;
    (user, keys)
}

/// Claims a key of this device; null when it has none left.
async fn claim(user: &User, of: &User) -> Value {
    let body = json!({ "one_time_keys": { &of.user_id: { &of.device_id: "signed_curve25519" } } });
    let claimed = user.post("v3/keys/claim", body).await.ok();
    claimed["one_time_keys"][&of.user_id][&of.device_id].clone()
}

async fn query(user: &User, of: &[&User]) -> Value {
    let asked: serde_json::Map<String, Value> = of
        .iter()
        .map(|user| (user.user_id.clone(), json!([])))
        .collect();
    user.post("v3/keys/query", json!({ "device_keys": asked }))
        .await
        .ok()
}

#[tokio::test]
async fn uploaded_device_keys_are_found() {
    let api = server();
    let (alice, keys) = with_keys(&api, "alice", 0).await;
    let bob = api.register("bob").await;
    let path = format!("v3/devices/{}", alice.device_id);
    alice
        .put(path, json!({ "display_name": "the laptop" }))
        .await
        .ok();
    let mut found =
        query(&bob, &[&alice]).await["device_keys"][&alice.user_id][&alice.device_id].clone();
    let unsigned = found
        .as_object_mut()
        .unwrap()
        .remove("unsigned")
        .unwrap_or_default();
    assert_eq!(found, keys.object);
    // The name is told, or it is not; it is never another.
    let name = &unsigned["device_display_name"];
    assert!(name.is_null() || name == "the laptop", "{unsigned}");
}

#[tokio::test]
async fn one_device_of_many_can_be_asked_for() {
    let api = server();
    let (alice, _) = with_keys(&api, "alice", 0).await;
    let phone = alice.another_device().await;
    DeviceKeys::of(&phone).upload(&phone, 0).await;
    let bob = api.register("bob").await;
    let all = query(&bob, &[&alice]).await;
    assert_eq!(
        all["device_keys"][&alice.user_id]
            .as_object()
            .unwrap()
            .len(),
        2
    );
    let body = json!({ "device_keys": { &alice.user_id: [phone.device_id, "NOTHING"] } });
    let one = bob.post("v3/keys/query", body).await.ok();
    let devices = one["device_keys"][&alice.user_id].as_object().unwrap();
    assert_eq!(devices.keys().collect::<Vec<_>>(), [&phone.device_id]);
}

#[tokio::test]
async fn a_device_without_keys_is_not_found() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let found = query(&bob, &[&alice]).await;
    let devices = &found["device_keys"][&alice.user_id];
    assert!(devices.is_null() || devices == &json!({}), "{found}");
    let body = json!({ "device_keys": { "@nobody-at-all:localhost": [] } });
    let found = bob.post("v3/keys/query", body).await.ok();
    let devices = &found["device_keys"]["@nobody-at-all:localhost"];
    assert!(devices.is_null() || devices == &json!({}), "{found}");
}

#[tokio::test]
async fn keys_of_somebody_else_are_not_taken() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let alices = DeviceKeys::of(&alice);
    let answer = bob
        .post("v3/keys/upload", json!({ "device_keys": alices.object }))
        .await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let phone = bob.another_device().await;
    let phones = DeviceKeys::of(&phone);
    let answer = bob
        .post("v3/keys/upload", json!({ "device_keys": phones.object }))
        .await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let found = query(&alice, &[&alice, &bob]).await.to_string();
    assert!(!found.contains("curve25519"), "{found}");
}

#[tokio::test]
async fn one_time_keys_are_counted_and_given_out_once() {
    let api = server();
    let (alice, _) = with_keys(&api, "alice", 3).await;
    let bob = api.register("bob").await;
    let counts = alice.post("v3/keys/upload", json!({})).await.ok();
    assert_eq!(counts["one_time_key_counts"]["signed_curve25519"], 3);
    let mut given = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let key = claim(&bob, &alice).await;
        let (name, key) = key.as_object().unwrap().iter().next().unwrap();
        assert!(
            key["key"].is_string() && key["signatures"].is_object(),
            "{key}"
        );
        assert!(given.insert(name.clone()), "{name} was given twice");
    }
    assert_eq!(claim(&bob, &alice).await, Value::Null);
    let counts = alice.post("v3/keys/upload", json!({})).await.ok();
    assert_eq!(
        counts["one_time_key_counts"]["signed_curve25519"]
            .as_u64()
            .unwrap_or(0),
        0
    );
    let synced = alice.sync().await;
    let count = synced.0["device_one_time_keys_count"]["signed_curve25519"].as_u64();
    assert_eq!(count, Some(0), "a client must learn that it has to upload");
}

#[tokio::test]
async fn twenty_who_claim_at_once_get_twenty_keys() {
    let api = server();
    let (alice, _) = with_keys(&api, "alice", 20).await;
    let bob = api.register("bob").await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (alice, bob) = (alice.clone(), bob.clone());
        waiting.spawn(async move { claim(&bob, &alice).await.to_string() });
    }
    let mut keys = waiting.join_all().await;
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 20);
}

#[tokio::test]
async fn the_oldest_key_goes_first() {
    let api = server();
    let (alice, keys) = with_keys(&api, "alice", 0).await;
    let bob = api.register("bob").await;
    for name in ["zz", "aa"] {
        let body = json!({ "one_time_keys": { format!("signed_curve25519:{name}"): keys.one_time_key() } });
        alice.post("v3/keys/upload", body).await.ok();
    }
    for name in ["zz", "aa"] {
        let key = claim(&bob, &alice).await;
        assert!(
            key[format!("signed_curve25519:{name}")].is_object(),
            "{key}"
        );
    }
}

#[tokio::test]
async fn a_key_id_is_not_used_for_two_keys() {
    let api = server();
    let (alice, keys) = with_keys(&api, "alice", 0).await;
    let first = keys.one_time_key();
    let body = |key: &Value| json!({ "one_time_keys": { "signed_curve25519:same": key } });
    alice.post("v3/keys/upload", body(&first)).await.ok();
    alice.post("v3/keys/upload", body(&first)).await.ok();
    let answer = alice
        .post("v3/keys/upload", body(&keys.one_time_key()))
        .await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let bob = api.register("bob").await;
    assert_eq!(
        claim(&bob, &alice).await["signed_curve25519:same"]["key"],
        first["key"]
    );
}

#[tokio::test]
async fn a_fallback_key_serves_again_and_again() {
    let api = server();
    let (alice, keys) = with_keys(&api, "alice", 1).await;
    let bob = api.register("bob").await;
    let unused = async || alice.sync().await.0["device_unused_fallback_key_types"].clone();
    assert_eq!(unused().await, json!([]));
    let body = json!({ "fallback_keys": { "signed_curve25519:fall": keys.fallback_key() } });
    alice.post("v3/keys/upload", body).await.ok();
    assert_eq!(unused().await, json!(["signed_curve25519"]));
    assert!(
        claim(&bob, &alice).await["signed_curve25519:one0"].is_object(),
        "one-time keys first"
    );
    assert_eq!(unused().await, json!(["signed_curve25519"]));
    for _ in 0..2 {
        let key = claim(&bob, &alice).await;
        assert_eq!(key["signed_curve25519:fall"]["fallback"], true, "{key}");
    }
    assert_eq!(unused().await, json!([]), "it has been used");
    let body = json!({ "fallback_keys": { "signed_curve25519:next": keys.fallback_key() } });
    alice.post("v3/keys/upload", body).await.ok();
    assert_eq!(unused().await, json!(["signed_curve25519"]));
    assert!(
        claim(&bob, &alice).await["signed_curve25519:next"].is_object(),
        "it replaces the old"
    );
}

#[tokio::test]
async fn a_claim_for_nobody_gives_nothing() {
    let api = server();
    let (alice, _) = with_keys(&api, "alice", 1).await;
    for (user, device, algorithm) in [
        ("@nobody-at-all:localhost", "X", "signed_curve25519"),
        (alice.user_id.as_str(), "NOTHING", "signed_curve25519"),
        (alice.user_id.as_str(), alice.device_id.as_str(), "nonsense"),
    ] {
        let body = json!({ "one_time_keys": { user: { device: algorithm } } });
        let claimed = alice.post("v3/keys/claim", body).await.ok();
        assert!(
            claimed["one_time_keys"][user][device].is_null(),
            "{claimed}"
        );
    }
    alice
        .post("v3/keys/claim", json!({}))
        .await
        .refused_with(&[400]);
    alice
        .post("v3/keys/query", json!({ "device_keys": [] }))
        .await
        .refused_with(&[400]);
}

#[tokio::test]
async fn a_deleted_device_takes_its_keys_along() {
    let api = server();
    let (alice, _) = with_keys(&api, "alice", 5).await;
    let phone = alice.another_device().await;
    DeviceKeys::of(&phone).upload(&phone, 5).await;
    let bob = api.register("bob").await;
    phone.post("v3/logout", json!({})).await.ok();
    assert_eq!(claim(&bob, &phone).await, Value::Null);
    let found = query(&bob, &[&alice]).await;
    let devices = found["device_keys"][&alice.user_id].as_object().unwrap();
    assert_eq!(devices.keys().collect::<Vec<_>>(), [&alice.device_id]);
}
