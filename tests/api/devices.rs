//! The list of devices: reading, renaming, deleting.

use harness::PASSWORD;
use reqwest::Method;
use serde_json::json;

use crate::server;

#[tokio::test]
async fn a_user_sees_all_own_devices_and_nobody_elses() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let phone = alice.another_device().await;
    let list = alice.get("v3/devices").await.ok();
    let mut ids: Vec<&str> = list["devices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| device["device_id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    let mut expected = vec![alice.device_id.as_str(), phone.device_id.as_str()];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    let path = format!("v3/devices/{}", alice.device_id);
    bob.get(&path).await.refused(404, "M_NOT_FOUND");
    bob.put(&path, json!({ "display_name": "mine" }))
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_device_gets_a_name_and_was_last_seen() {
    let alice = server().register("alice").await;
    let path = format!("v3/devices/{}", alice.device_id);
    alice
        .put(&path, json!({ "display_name": "the laptop" }))
        .await
        .ok();
    let device = alice.get(&path).await.ok();
    assert_eq!(device["device_id"], alice.device_id.as_str());
    assert_eq!(device["display_name"], "the laptop");
    harness::eventually("the device was seen", 10, async || {
        let device = alice.get(&path).await.ok();
        (device["last_seen_ts"].as_u64()? > 1_600_000_000_000).then_some(())
    })
    .await;
    // Nothing given, nothing changed.
    alice.put(&path, json!({})).await.ok();
    assert_eq!(alice.get(&path).await.ok()["display_name"], "the laptop");
}

#[tokio::test]
async fn an_unknown_device_is_not_found() {
    let alice = server().register("alice").await;
    alice
        .get("v3/devices/NOTHING")
        .await
        .refused(404, "M_NOT_FOUND");
    let answer = alice
        .put("v3/devices/NOTHING", json!({ "display_name": "x" }))
        .await;
    answer.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn deleting_a_device_needs_the_password_and_ends_it() {
    let alice = server().register("alice").await;
    let phone = alice.another_device().await;
    let path = format!("v3/devices/{}", phone.device_id);
    let wrong = alice
        .with_this_password(Method::DELETE, &path, json!({}), "wrong")
        .await;
    assert_eq!(wrong.asks_for_auth()["errcode"], "M_FORBIDDEN");
    phone.get("v3/account/whoami").await.ok();
    alice
        .with_password(Method::DELETE, &path, json!({}))
        .await
        .ok();
    phone
        .get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    alice.get(&path).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn several_devices_are_deleted_at_once() {
    let alice = server().register("alice").await;
    let (phone, tablet) = (alice.another_device().await, alice.another_device().await);
    let body = json!({ "devices": [phone.device_id, tablet.device_id] });
    alice
        .with_password(Method::POST, "v3/delete_devices", body)
        .await
        .ok();
    for device in [&phone, &tablet] {
        device
            .get("v3/account/whoami")
            .await
            .refused(401, "M_UNKNOWN_TOKEN");
    }
    alice.get("v3/account/whoami").await.ok();
}

#[tokio::test]
async fn nobody_deletes_somebody_elses_device() {
    let api = server();
    let (alice, mallory) = (api.register("alice").await, api.register("mallory").await);
    let body = json!({ "devices": [alice.device_id] });
    mallory
        .with_password(Method::POST, "v3/delete_devices", body)
        .await;
    alice.get("v3/account/whoami").await.ok();
    let path = format!("v3/devices/{}", alice.device_id);
    let first = mallory.delete(&path, json!({})).await;
    if first.status == 401 {
        mallory
            .with_password(Method::DELETE, &path, json!({}))
            .await;
    }
    alice.get("v3/account/whoami").await.ok();
}

#[tokio::test]
async fn nobody_proves_to_be_somebody_else() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let phone = alice.another_device().await;
    let body = json!({ "auth": {
        "type": "m.login.password", "password": PASSWORD,
        "identifier": { "type": "m.id.user", "user": bob.user_id },
    } });
    let path = format!("v3/devices/{}", phone.device_id);
    alice.delete(&path, body).await.refused(403, "M_FORBIDDEN");
    alice.get(&path).await.ok();
}
