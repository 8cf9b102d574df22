//! Secrets in account data (client-server API, "Secrets"), and history that is shared
//! by people (1.19, "Sharing keys between users"): the server only carries them.

use serde_json::{Value, json};

use crate::server;

#[tokio::test]
async fn secrets_come_back_as_they_were_on_every_device() {
    let alice = server().register("alice").await;
    let phone = alice.another_device().await;
    let before = phone.sync().await;
    let path = |name: &str| format!("v3/user/{}/account_data/{name}", alice.user_id);
    let key = json!({
        "algorithm": "m.secret_storage.v1.aes-hmac-sha2",
        "passphrase": { "algorithm": "m.pbkdf2", "salt": "s", "iterations": 500_000, "bits": 256 },
        "iv": "aXY", "mac": "bWFj",
    });
    let secret = json!({ "encrypted": { "abc": {
        "iv": "aXY", "ciphertext": "c".repeat(4_096), "mac": "bWFj",
    }}});
    let mut stored: Vec<(&str, Value)> = vec![
        ("m.secret_storage.default_key", json!({ "key": "abc" })),
        ("m.secret_storage.key.abc", key),
        ("m.key_backup", json!({ "enabled": true })),
    ];
    for name in [
        "m.cross_signing.master",
        "m.cross_signing.self_signing",
        "m.cross_signing.user_signing",
        "m.megolm_backup.v1",
        "org.matrix.msc3814",
    ] {
        stored.push((name, secret.clone()));
    }
    for (name, content) in &stored {
        alice.put(path(name), content.clone()).await.ok();
    }
    let news = phone.sync_since(&before).await;
    let new_device = alice.another_device().await;
    let first = new_device.sync().await;
    for (name, content) in &stored {
        assert_eq!(new_device.get(path(name)).await.ok(), *content);
        for synced in [&news, &first] {
            let event = synced.account_data(name).unwrap_or(&Value::Null);
            assert_eq!(event["content"], *content, "{name}");
        }
    }
    // Resetting them writes something else in their place: nothing is as good as deleted
    // (MSC3391), and the other devices are told.
    let master = "m.cross_signing.master";
    alice.put(path(master), json!({})).await.ok();
    phone.get(path(master)).await.refused(404, "M_NOT_FOUND");
    let after = phone.sync_since(&news).await;
    assert_eq!(after.account_data(master).unwrap()["content"], json!({}));
    // They are nobody else's to read.
    let bob = server().register("bob").await;
    bob.get(path("m.megolm_backup.v1"))
        .await
        .refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_key_bundle_is_a_message_to_devices_and_a_session_in_a_backup_is_opaque() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    // A bundle's file is media; its key travels in an encrypted message.
    let content = json!({
        "algorithm": "m.olm.v1.curve25519-aes-sha2",
        "sender_key": "k",
        "ciphertext": { "d": { "type": 0, "body": "x".repeat(30_000) } },
    });
    let messages = json!({ "messages": { &bob.user_id: { &bob.device_id: content } } });
    alice
        .put("v3/sendToDevice/m.room.encrypted/bundle", messages)
        .await
        .ok();
    let synced = bob.sync().await;
    assert_eq!(synced.to_device().len(), 1);
    assert_eq!(synced.to_device()[0]["content"], content);
    // Whether a session may be shared stands inside its encrypted data.
    let form = json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {} });
    let made = alice.post("v3/room_keys/version", form).await.ok();
    let version = made["version"].as_str().unwrap();
    let key = json!({
        "first_message_index": 0, "forwarded_count": 0, "is_verified": true,
        "session_data": { "ciphertext": "c", "org.example.new": { "shared_history": true } },
    });
    let path = format!("v3/room_keys/keys/!room:localhost/session?version={version}");
    alice.put(&path, key.clone()).await.ok();
    assert_eq!(alice.get(&path).await.ok(), key);
}
