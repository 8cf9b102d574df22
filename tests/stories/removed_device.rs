//! A device that was removed gets no new keys.

use harness::{Server, eventually};
use matrix_sdk::deserialized_responses::TimelineEventKind;
use matrix_sdk::ruma::RoomId;
use matrix_sdk::ruma::events::room::encrypted::OriginalSyncRoomEncryptedEvent;
use matrix_sdk::ruma::serde::Raw;
use serde_json::Value;

use crate::device::{Device, PATIENCE};

/// An event as the server holds it, undecrypted.
async fn as_stored(reader: &Device, room: &RoomId, event: &str) -> Value {
    reader
        .api()
        .get(format!("v3/rooms/{room}/event/{event}"))
        .await
        .ok()
}

/// Whether a device's own keys decrypt this event, without asking the server.
async fn can_read(device: &Device, room: &RoomId, event: &Value) -> bool {
    let raw = Raw::<OriginalSyncRoomEncryptedEvent>::from_json_string(event.to_string());
    let raw = raw.expect("an encrypted event");
    match device.room(room).decrypt_event(&raw, None).await {
        Ok(event) => matches!(event.kind, TimelineEventKind::Decrypted(_)),
        Err(_) => false,
    }
}

async fn remove_and_talk_on(remove: impl AsyncFnOnce(&Device, &Device)) {
    let server = Server::start();
    let url = server.url();
    let alice = Device::register(&url, "alice").await;
    let bob = Device::register(&url, "bob").await;
    let phone = Device::sign_in(&url, "bob").await;
    let room = alice.direct_room(&bob).await;
    bob.accept(&room).await;
    for device in [&alice, &bob, &phone] {
        device.sees_in(&room, &[&alice, &bob]).await;
    }
    let early = alice.say(&room, "for all three").await;
    for device in [&bob, &phone] {
        device.reads(&room, "for all three").await;
    }

    remove(&bob, &phone).await;
    let (user, device) = (bob.user_id(), phone.device_id());
    eventually(
        "alice learns that the phone is gone",
        PATIENCE,
        async || {
            let known = alice
                .client
                .encryption()
                .get_device(&user, &device)
                .await
                .ok()?;
            known.is_none().then_some(())
        },
    )
    .await;
    let late = alice.say(&room, "not for the phone").await;
    bob.reads(&room, "not for the phone").await;

    let early = as_stored(&bob, &room, early.as_str()).await;
    let late = as_stored(&bob, &room, late.as_str()).await;
    assert_eq!(late["type"], "m.room.encrypted");
    let session = |event: &Value| event["content"]["session_id"].as_str().map(str::to_owned);
    assert_ne!(
        session(&early),
        session(&late),
        "the session was not changed"
    );
    assert!(
        can_read(&phone, &room, &early).await,
        "what it had, it keeps"
    );
    assert!(
        !can_read(&phone, &room, &late).await,
        "the removed device reads on"
    );
    assert!(!phone.has_read(&room, "not for the phone"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_device_gets_no_new_keys() {
    remove_and_talk_on(async |bob, phone| {
        let devices = [phone.device_id()];
        let error = bob
            .client
            .delete_devices(&devices, None)
            .await
            .expect_err("no password given");
        let step = error
            .as_uiaa_response()
            .unwrap_or_else(|| panic!("{error}"));
        let password = bob.password(step.session.clone());
        bob.client
            .delete_devices(&devices, Some(password))
            .await
            .expect("the deletion");
        eventually(
            "the phone learns that it is signed out",
            PATIENCE,
            async || phone.is_signed_out().then_some(()),
        )
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_signed_out_gets_no_new_keys() {
    remove_and_talk_on(async |_, phone| {
        // Over the bare interface: a client that signs out forgets its keys, but a
        // stolen copy of its store does not.
        phone
            .api()
            .post("v3/logout", serde_json::json!({}))
            .await
            .ok();
    })
    .await;
}
