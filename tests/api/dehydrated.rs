//! Dehydrated devices (MSC3814): one more device of a person, for whom messages wait.

use harness::User;
use harness::signing::{CrossSigning, DeviceKeys};
use reqwest::Method;
use serde_json::{Value, json};

use crate::server;

const PATH: &str = "unstable/org.matrix.msc3814.v1/dehydrated_device";

/// The keys of a device that nobody is signed in on.
fn keys_of(user: &User, device_id: &str) -> DeviceKeys {
    let device = User {
        device_id: device_id.to_owned(),
        ..user.clone()
    };
    DeviceKeys::of(&device)
}

fn body(device_id: &str, keys: &DeviceKeys, mark: &str) -> Value {
    let mut device_keys = keys.object.clone();
    device_keys["dehydrated"] = json!(true);
    json!({
        "device_id": device_id,
        "initial_device_display_name": "Dehydrated device",
        "device_data": {
            "algorithm": "org.matrix.msc3814.v2", "device_pickle": mark, "nonce": "n",
        },
        "device_keys": keys.signed(device_keys),
        "one_time_keys": { "signed_curve25519:one": keys.one_time_key() },
        "fallback_keys": { "signed_curve25519:fall": keys.fallback_key() },
    })
}

async fn dehydrate(user: &User, device_id: &str, mark: &str) {
    let keys = keys_of(user, device_id);
    let made = user.put(PATH, body(device_id, &keys, mark)).await.ok();
    assert_eq!(made["device_id"], device_id);
}

async fn send(from: &User, to: &User, device: &str, number: u64) {
    let messages = json!({ "messages": { &to.user_id: { device: { "n": number } } } });
    let path = format!("v3/sendToDevice/m.test/{}-{number}", to.localpart());
    from.put(path, messages).await.ok();
}

#[tokio::test]
async fn it_is_stored_and_read_by_any_device_of_its_owner() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    alice.get(PATH).await.refused(404, "M_NOT_FOUND");
    // Device ids of clients are keys in base64.
    let id = format!("a/+{}", alice.localpart());
    dehydrate(&alice, &id, "pickle").await;
    let phone = alice.another_device().await;
    let found = phone.get(PATH).await.ok();
    let data = json!({
        "algorithm": "org.matrix.msc3814.v2", "device_pickle": "pickle", "nonce": "n",
    });
    assert_eq!(found, json!({ "device_id": id, "device_data": data }));
    bob.get(PATH).await.refused(404, "M_NOT_FOUND");
    alice
        .anonymous()
        .get(PATH)
        .await
        .refused(401, "M_MISSING_TOKEN");
    let features = api.get("versions").await.ok()["unstable_features"].clone();
    assert_eq!(features["org.matrix.msc3814"], true);
}

#[tokio::test]
async fn it_is_in_the_list_with_its_keys_and_others_hear_of_it() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    alice.room_with(&[&bob]).await;
    let before = bob.sync().await;
    dehydrate(&alice, "DRY", "p").await;
    bob.sync_until(&before, "alice's new device", |synced| {
        synced
            .changed()
            .contains(&alice.user_id.as_str())
            .then_some(())
    })
    .await;
    let asked = json!({ "device_keys": { &alice.user_id: [] } });
    let found = bob.post("v3/keys/query", asked.clone()).await.ok();
    let shown = &found["device_keys"][&alice.user_id]["DRY"];
    assert_eq!(shown["dehydrated"], true, "{found}");
    assert_eq!(
        shown["unsigned"]["device_display_name"],
        "Dehydrated device"
    );
    let devices = alice.get("v3/devices").await.ok();
    let ids: Vec<&str> = devices["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| device["device_id"].as_str().unwrap())
        .collect();
    assert!(
        ids.contains(&"DRY") && ids.contains(&alice.device_id.as_str()),
        "{ids:?}"
    );
    let claim = json!({ "one_time_keys": { &alice.user_id: { "DRY": "signed_curve25519" } } });
    for expected in ["one", "fall", "fall"] {
        let claimed = bob.post("v3/keys/claim", claim.clone()).await.ok();
        let key = &claimed["one_time_keys"][&alice.user_id]["DRY"];
        assert!(
            key[format!("signed_curve25519:{expected}")].is_object(),
            "{claimed}"
        );
    }

    let before = bob.sync().await;
    dehydrate(&alice, "DRIER", "p").await;
    assert_eq!(
        bob.sync_since(&before).await.changed(),
        [alice.user_id.as_str()]
    );
    let found = bob.post("v3/keys/query", asked).await.ok();
    let devices = found["device_keys"][&alice.user_id].as_object().unwrap();
    assert_eq!(
        devices.keys().collect::<Vec<_>>(),
        ["DRIER"],
        "it took the other's place"
    );
}

#[tokio::test]
async fn the_signature_of_its_owner_is_shown() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let cross = CrossSigning::of(&alice);
    alice
        .post("v3/keys/device_signing/upload", cross.upload.clone())
        .await
        .ok();
    let keys = keys_of(&alice, "DRY");
    let mut body = body("DRY", &keys, "p");
    let public = cross.self_signing.public();
    cross
        .self_signing
        .sign(&mut body["device_keys"], &alice.user_id, &public);
    alice.put(PATH, body.clone()).await.ok();
    let asked = json!({ "device_keys": { &alice.user_id: ["DRY"] } });
    let found = bob.post("v3/keys/query", asked).await.ok();
    let shown = &found["device_keys"][&alice.user_id]["DRY"]["signatures"];
    assert_eq!(*shown, body["device_keys"]["signatures"]);
}

#[tokio::test]
async fn its_messages_are_read_in_both_ways_page_by_page() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    dehydrate(&alice, "DRY", "p").await;
    for number in 0..105 {
        send(&bob, &alice, "*", number).await;
    }
    let phone = alice.another_device().await;
    let numbers = |page: &Value| -> Vec<u64> {
        let events = page["events"].as_array().unwrap();
        let number = |event: &Value| {
            assert_eq!(event["sender"], bob.user_id.as_str());
            assert_eq!(event["type"], "m.test");
            event["content"]["n"].as_u64().unwrap()
        };
        events.iter().map(number).collect()
    };
    // Nothing is deleted by reading: twice, and each way.
    for _ in 0..2 {
        let (mut got, mut body, mut pages) = (Vec::new(), json!({}), 0);
        loop {
            let page = phone.post(format!("{PATH}/DRY/events"), body).await.ok();
            if numbers(&page).is_empty() {
                assert!(page["next_batch"].is_null(), "{page}");
                break;
            }
            pages += 1;
            got.extend(numbers(&page));
            body = json!({ "next_batch": page["next_batch"] });
        }
        assert_eq!((got, pages), ((0..105).collect(), 2));
        let (mut got, mut query) = (Vec::new(), String::new());
        loop {
            let page = phone.get(format!("{PATH}/DRY/events{query}")).await.ok();
            got.extend(numbers(&page));
            match page["next_batch"].as_str() {
                Some(next) => query = format!("?from={next}"),
                None => break,
            }
        }
        assert_eq!(got, (0..105).collect::<Vec<_>>());
    }
    // The other devices got theirs by themselves.
    assert!(!alice.sync().await.to_device().is_empty());
    for (user, device) in [
        (&alice, alice.device_id.as_str()),
        (&bob, "DRY"),
        (&alice, "NONE"),
    ] {
        let path = format!("{PATH}/{device}/events");
        user.post(&path, json!({}))
            .await
            .refused(403, "M_FORBIDDEN");
        user.get(&path).await.refused(403, "M_FORBIDDEN");
    }
    let path = format!("{PATH}/DRY/events");
    phone
        .post(&path, json!({ "next_batch": "nonsense" }))
        .await
        .refused(400, "M_INVALID_PARAM");
    phone
        .get(format!("{path}?from=nonsense"))
        .await
        .refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn it_is_deleted_like_any_device_and_without_a_password() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    alice.room_with(&[&bob]).await;
    dehydrate(&alice, "DRY", "p").await;
    let before = bob.sync().await;
    let deleted = alice.delete(PATH, json!({})).await.ok();
    assert_eq!(deleted["device_id"], "DRY");
    assert_eq!(
        bob.sync_since(&before).await.changed(),
        [alice.user_id.as_str()]
    );
    alice.get(PATH).await.refused(404, "M_NOT_FOUND");
    alice
        .delete(PATH, Value::Null)
        .await
        .refused(404, "M_NOT_FOUND");
    alice
        .get("v3/devices/DRY")
        .await
        .refused(404, "M_NOT_FOUND");

    dehydrate(&alice, "DRY", "p").await;
    alice
        .with_password(Method::DELETE, "v3/devices/DRY", json!({}))
        .await
        .ok();
    alice.get(PATH).await.refused(404, "M_NOT_FOUND");
    dehydrate(&alice, "DRY", "p").await;
    alice.post("v3/logout/all", json!({})).await.ok();
    let again = api.login(&alice.user_id).await;
    again.get(PATH).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn what_is_no_dehydrated_device_is_refused() {
    let alice = server().register("alice").await;
    let keys = keys_of(&alice, "DRY");
    let good = body("DRY", &keys, "p");
    for part in ["device_id", "device_data", "device_keys"] {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(part);
        alice.put(PATH, without).await.refused(400, "M_BAD_JSON");
    }
    let mut nothing = good.clone();
    nothing["device_data"] = json!({ "device_pickle": "p" });
    alice.put(PATH, nothing).await.refused(400, "M_BAD_JSON");
    let mut large = good.clone();
    large["device_data"]["device_pickle"] = json!("x".repeat(140_000));
    alice.put(PATH, large).await.refused(413, "M_TOO_LARGE");
    let mut changed = good.clone();
    changed["device_keys"]["algorithms"] = json!([]);
    alice
        .put(PATH, changed)
        .await
        .refused(400, "M_INVALID_SIGNATURE");
    let mut misnamed = good.clone();
    misnamed["device_id"] = json!("OTHER");
    alice
        .put(PATH, misnamed)
        .await
        .refused(400, "M_INVALID_PARAM");
    let own = keys_of(&alice, &alice.device_id);
    let taken = body(&alice.device_id, &own, "p");
    alice.put(PATH, taken).await.refused(400, "M_INVALID_PARAM");
    alice.get(PATH).await.refused(404, "M_NOT_FOUND");
}
