//! `POST /keys/signatures/upload`: signatures are checked, kept and shown.

use harness::signing::{CrossSigning, DeviceKeys, Key};
use harness::{Api, User};
use serde_json::{Value, json};

use crate::server;

const PATH: &str = "v3/keys/signatures/upload";

async fn ready(api: &Api, name: &str) -> (User, DeviceKeys, CrossSigning) {
    let user = api.register(name).await;
    let device = DeviceKeys::of(&user);
    device.upload(&user, 0).await;
    let keys = CrossSigning::of(&user);
    user.post("v3/keys/device_signing/upload", keys.upload.clone())
        .await
        .ok();
    (user, device, keys)
}

async fn query(user: &User, of: &User) -> Value {
    let body = json!({ "device_keys": { &of.user_id: [] } });
    user.post("v3/keys/query", body).await.ok()
}

fn key_id(key: &Key) -> String {
    format!("ed25519:{}", key.public())
}

#[tokio::test]
async fn a_device_signed_by_its_owner_is_shown_so_to_all() {
    let api = server();
    let (alice, device, keys) = ready(&api, "alice").await;
    let bob = api.register("bob").await;
    let mut signed = device.object.clone();
    signed.as_object_mut().unwrap().remove("signatures");
    keys.self_signing
        .sign(&mut signed, &alice.user_id, &keys.self_signing.public());
    let body = json!({ &alice.user_id: { &alice.device_id: signed } });
    let answer = alice.post(PATH, body).await.ok();
    assert!(
        answer["failures"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty),
        "{answer}"
    );
    for reader in [&alice, &bob] {
        let found = query(reader, &alice).await;
        let signatures =
            &found["device_keys"][&alice.user_id][&alice.device_id]["signatures"][&alice.user_id];
        assert!(
            signatures[key_id(&keys.self_signing)].is_string(),
            "{found}"
        );
        assert!(
            signatures[format!("ed25519:{}", alice.device_id)].is_string(),
            "the own one stays"
        );
    }
}

#[tokio::test]
async fn a_master_key_signed_by_a_device_is_shown() {
    let (alice, device, keys) = ready(&server(), "alice").await;
    let mut master = keys.upload["master_key"].clone();
    device
        .key
        .sign(&mut master, &alice.user_id, &alice.device_id);
    let body = json!({ &alice.user_id: { keys.master.public(): master } });
    alice.post(PATH, body).await.ok();
    let found = query(&alice, &alice).await;
    let signatures = &found["master_keys"][&alice.user_id]["signatures"][&alice.user_id];
    assert!(
        signatures[format!("ed25519:{}", alice.device_id)].is_string(),
        "{found}"
    );
}

#[tokio::test]
async fn whom_i_verified_is_shown_to_me_alone() {
    let api = server();
    let (alice, _, alices) = ready(&api, "alice").await;
    let (bob, _, bobs) = ready(&api, "bob").await;
    let carol = api.register("carol").await;
    let mut master = bobs.upload["master_key"].clone();
    alices
        .user_signing
        .sign(&mut master, &alice.user_id, &alices.user_signing.public());
    let body = json!({ &bob.user_id: { bobs.master.public(): master } });
    let answer = alice.post(PATH, body).await.ok();
    assert!(
        answer["failures"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty),
        "{answer}"
    );
    let mine = query(&alice, &bob).await;
    let name = key_id(&alices.user_signing);
    assert!(
        mine["master_keys"][&bob.user_id]["signatures"][&alice.user_id][&name].is_string(),
        "{mine}"
    );
    for other in [&bob, &carol] {
        let theirs = query(other, &bob).await;
        assert!(!theirs.to_string().contains(&name), "{theirs}");
    }
}

#[tokio::test]
async fn a_false_signature_fails_and_is_not_kept() {
    let (alice, device, keys) = ready(&server(), "alice").await;
    let mut forged = device.object.clone();
    forged.as_object_mut().unwrap().remove("signatures");
    Key::new().sign(&mut forged, &alice.user_id, &keys.self_signing.public());
    let body = json!({ &alice.user_id: { &alice.device_id: forged } });
    let answer = alice.post(PATH, body).await.ok();
    let failure = &answer["failures"][&alice.user_id][&alice.device_id];
    assert_eq!(failure["errcode"], "M_INVALID_SIGNATURE", "{answer}");
    let found = query(&alice, &alice).await;
    assert!(
        !found["device_keys"]
            .to_string()
            .contains(&key_id(&keys.self_signing)),
        "{found}"
    );
}

#[tokio::test]
async fn a_signature_on_other_content_fails() {
    let (alice, device, keys) = ready(&server(), "alice").await;
    let mut altered = device.object.clone();
    altered.as_object_mut().unwrap().remove("signatures");
    altered["algorithms"] = json!(["m.other"]);
    keys.self_signing
        .sign(&mut altered, &alice.user_id, &keys.self_signing.public());
    let body = json!({ &alice.user_id: { &alice.device_id: altered } });
    let answer = alice.post(PATH, body).await.ok();
    assert!(
        answer["failures"][&alice.user_id][&alice.device_id].is_object(),
        "{answer}"
    );
    let found = query(&alice, &alice).await;
    let device = &found["device_keys"][&alice.user_id][&alice.device_id];
    assert_ne!(device["algorithms"], json!(["m.other"]));
}

#[tokio::test]
async fn nobody_signs_for_another() {
    let api = server();
    let (alice, device, _) = ready(&api, "alice").await;
    let (mallory, _, mallorys) = ready(&api, "mallory").await;
    let mut signed = device.object.clone();
    mallorys
        .self_signing
        .sign(&mut signed, &alice.user_id, &mallorys.self_signing.public());
    let body = json!({ &alice.user_id: { &alice.device_id: signed } });
    let answer = mallory.post(PATH, body).await;
    if answer.status == 200 {
        let failures = &answer.body["failures"][&alice.user_id];
        assert!(failures.is_object(), "{answer:?}");
    }
    let found = query(&alice, &alice).await;
    assert!(
        !found.to_string().contains(&key_id(&mallorys.self_signing)),
        "{found}"
    );
}

#[tokio::test]
async fn an_unknown_device_cannot_be_signed() {
    let (alice, device, keys) = ready(&server(), "alice").await;
    let mut unknown = device.object.clone();
    unknown["device_id"] = json!("NOTHING");
    unknown.as_object_mut().unwrap().remove("signatures");
    keys.self_signing
        .sign(&mut unknown, &alice.user_id, &keys.self_signing.public());
    let body = json!({ &alice.user_id: { "NOTHING": unknown } });
    let answer = alice.post(PATH, body).await.ok();
    assert!(
        answer["failures"][&alice.user_id]["NOTHING"].is_object(),
        "{answer}"
    );
}

#[tokio::test]
async fn a_new_signature_is_news() {
    let api = server();
    let (alice, device, keys) = ready(&api, "alice").await;
    let bob = api.register("bob").await;
    alice.room_with(&[&bob]).await;
    let before = bob.sync().await;
    let mut signed = device.object.clone();
    signed.as_object_mut().unwrap().remove("signatures");
    keys.self_signing
        .sign(&mut signed, &alice.user_id, &keys.self_signing.public());
    let body = json!({ &alice.user_id: { &alice.device_id: signed } });
    alice.post(PATH, body).await.ok();
    bob.sync_until(&before, "the signature", |synced| {
        synced
            .changed()
            .contains(&alice.user_id.as_str())
            .then_some(())
    })
    .await;
}
