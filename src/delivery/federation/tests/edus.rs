//! What is sent besides events.

use std::{collections::BTreeMap, time::Duration};

use rooms::ReceiptKind;
use ruma_client_api::to_device::send_event_to_device::v3::Messages;
use ruma_common::{
    EventId,
    presence::PresenceState,
    serde::{Base64, Raw, base64::Standard},
    to_device::DeviceIdOrAllDevices,
};

use super::*;

/// The next EDU of a type that comes to a server, and those on the way there.
async fn next_edu(house: &House, server: &str, edu_type: &str) -> Value {
    loop {
        let received = house.neighbours.next(server).await;
        let edus = received.body["edus"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let found = edus.iter().find(|edu| edu["edu_type"] == edu_type);
        if let Some(edu) = found {
            return edu["content"].clone();
        }
    }
}

async fn shared() -> House {
    let house = House::new(&["b.test", "c.test"]).await;
    house.members(&house.room, "b.test", 1).await;
    house
}

#[tokio::test]
async fn messages_to_devices_wait_until_they_are_taken() {
    let mut house = shared().await;
    house.neighbours.answer("b.test", 502, "{}");
    let content = Raw::from_json(serde_json::value::to_raw_value(&json!({ "n": 1.5 })).unwrap());
    let device = DeviceIdOrAllDevices::DeviceId("D".into());
    let messages: Messages =
        BTreeMap::from([(user("@x:b.test"), BTreeMap::from([(device, content)]))]);
    let (accounts, alice) = (house.accounts.clone(), house.alice.clone());
    let send = |transaction: &'static str| {
        let messages = messages.clone();
        accounts.send_to_devices(&alice, "m.test", transaction.into(), messages)
    };
    let sent = send("t").await.unwrap();
    assert_eq!(sent.queued, 1);
    // Before anything runs it is there, once.
    assert_eq!(send("t").await.unwrap().queued, 0);
    assert_eq!(house.waiting("b.test").unwrap().others, 1);
    house.start().await;
    let first = house.neighbours.next("b.test").await;
    house.until_counted("failed", 1).await;
    house.stop().await;
    house.clock.advance(10_000);
    house.neighbours.answer("b.test", 200, "{}");
    house.start().await;
    let again = house.neighbours.next("b.test").await;
    assert_eq!(again, first);
    let edu = &again.body["edus"][0];
    assert_eq!(edu["edu_type"], "m.direct_to_device");
    assert_eq!(edu["content"]["sender"], "@alice:a.test");
    assert_eq!(edu["content"]["type"], "m.test");
    assert_eq!(
        edu["content"]["messages"],
        json!({ "@x:b.test": { "D": { "n": 1.5 } } })
    );
    assert!(edu["content"]["message_id"].is_string());
    house.until_settled("b.test").await;
    // While it runs, it goes at once.
    send("u").await.unwrap();
    let next = next_edu(&house, "b.test", "m.direct_to_device").await;
    assert_ne!(next["message_id"], edu["content"]["message_id"]);
    house.stop().await;
}

#[tokio::test]
async fn typing_and_reading_are_told_to_those_in_the_room() {
    let mut house = shared().await;
    let room = house.room.clone();
    let message = house.say(&room, "hello").await;
    house.start().await;
    // The follower of typing must be there first.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let bob = sender(&house.bob);
    let types = |types| house.rooms.set_typing(&bob, &room, types, None);
    types(true).await.unwrap();
    let expected = json!({ "room_id": room, "user_id": "@bob:a.test", "typing": true });
    assert_eq!(next_edu(&house, "b.test", "m.typing").await, expected);
    types(false).await.unwrap();
    let ended = next_edu(&house, "b.test", "m.typing").await;
    assert_eq!(ended["typing"], false);

    let event = <&EventId>::try_from(message.as_str()).unwrap();
    let reads = |kind, thread: Option<&str>| {
        let thread = thread.map(str::to_owned);
        house.rooms.set_receipt(&bob, &room, kind, event, thread)
    };
    reads(ReceiptKind::ReadPrivate, None).await.unwrap();
    reads(ReceiptKind::Read, Some("main")).await.unwrap();
    let receipt = next_edu(&house, "b.test", "m.receipt").await;
    let expected = json!({
        "event_ids": [message],
        "data": { "ts": house.clock.now().0, "thread_id": "main" },
    });
    assert_eq!(receipt[room.as_str()]["m.read"]["@bob:a.test"], expected);
    assert_eq!(receipt[room.as_str()].as_object().unwrap().len(), 1);
    reads(ReceiptKind::Read, None).await.unwrap();
    let receipt = next_edu(&house, "b.test", "m.receipt").await;
    let data = &receipt[room.as_str()]["m.read"]["@bob:a.test"]["data"];
    assert!(data.get("thread_id").is_none(), "{receipt}");
    assert_eq!(house.neighbours.take("c.test"), None);
    house.stop().await;
}

#[tokio::test]
async fn who_does_not_answer_is_not_told_later_who_typed() {
    let mut house = shared().await;
    let room = house.room.clone();
    house.neighbours.answer("b.test", 503, "{}");
    house.start().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let bob = sender(&house.bob);
    house
        .rooms
        .set_typing(&bob, &room, true, None)
        .await
        .unwrap();
    house.until_counted("failed", 1).await;
    house
        .rooms
        .set_typing(&bob, &room, false, None)
        .await
        .unwrap();
    let dropped = || {
        let dropped = house.counted("cairn_federation_ephemeral_dropped_total");
        (dropped >= 2).then_some(())
    };
    eventually("both are dropped", dropped).await;
    house.neighbours.answer("b.test", 200, "{}");
    house.clock.advance(2_000);
    house.say(&room, "hello").await;
    house.neighbours.next("b.test").await;
    let next = house.neighbours.next("b.test").await;
    assert_eq!(bodies(&next.body), ["hello"]);
    assert!(next.body.get("edus").is_none(), "{next:?}");
    house.stop().await;
}

#[tokio::test]
async fn presence_is_told_to_those_who_share_a_room() {
    let mut house = shared().await;
    house.start().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let bob = sender(&house.bob);
    let status = Some("here".to_owned());
    let online = house
        .rooms
        .set_presence(&bob, PresenceState::Online, status);
    online.await.unwrap();
    let presence = next_edu(&house, "b.test", "m.presence").await;
    let expected = json!({
        "user_id": "@bob:a.test",
        "presence": "online",
        "status_msg": "here",
        "last_active_ago": 0,
        "currently_active": true,
    });
    assert_eq!(presence["push"], json!([expected]));
    assert_eq!(house.neighbours.take("c.test"), None);
    house.stop().await;
}

/// The keys of a session's device, without a signature.
fn device_keys(session: &Session, seed: u8) -> Value {
    let device = &session.device_id;
    let key = Base64::<Standard, _>::new(vec![seed; 32]).encode();
    json!({
        "user_id": session.user_id,
        "device_id": device,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": { format!("ed25519:{device}"): key },
        "signatures": {},
    })
}

async fn upload(house: &House, session: &Session, seed: u8) {
    let keys = serde_json::value::to_raw_value(&device_keys(session, seed)).unwrap();
    let keys = Some(Raw::from_json(keys));
    let uploaded = house
        .accounts
        .upload_keys(session, keys, BTreeMap::new(), BTreeMap::new());
    uploaded.await.unwrap();
}

#[tokio::test]
async fn changes_of_devices_are_told_in_a_chain() {
    let mut house = shared().await;
    house.start().await;
    upload(&house, &house.alice, 1).await;
    let first = next_edu(&house, "b.test", "m.device_list_update").await;
    assert_eq!(first["user_id"], "@alice:a.test");
    assert_eq!(first["device_id"], "PHONE");
    assert_eq!(first["prev_id"], json!([]));
    let key = |edu: &Value| edu["keys"]["keys"]["ed25519:PHONE"].clone();
    assert_eq!(
        key(&first),
        device_keys(&house.alice, 1)["keys"]["ed25519:PHONE"]
    );
    assert!(first.get("deleted").is_none());

    upload(&house, &house.alice, 2).await;
    let second = next_edu(&house, "b.test", "m.device_list_update").await;
    assert_eq!(second["prev_id"], json!([first["stream_id"]]));
    assert_eq!(
        key(&second),
        device_keys(&house.alice, 2)["keys"]["ed25519:PHONE"]
    );
    let view = house.store.snapshot();
    let published = accounts::published_devices(&view, &house.alice.user_id, false);
    let published = published.unwrap().unwrap();
    assert_eq!(second["stream_id"], published.stream_id);

    // The name of a device is nobody else's business.
    let id = house.alice.device_id.clone();
    let operator = audit::Act::operator();
    let named = house.accounts.set_device_display_name(
        &operator,
        house.alice.user,
        &id,
        Some("mine".to_owned()),
    );
    named.await.unwrap();
    let operator = audit::Act::operator();
    let gone = house
        .accounts
        .remove_devices(&operator, house.alice.user, vec![id]);
    gone.await.unwrap();
    let third = next_edu(&house, "b.test", "m.device_list_update").await;
    assert_eq!(third["prev_id"], json!([second["stream_id"]]));
    assert_eq!(third["deleted"], true);
    assert!(third.get("keys").is_none());
    assert!(!third.to_string().contains("mine"));
    house.until_settled("b.test").await;
    assert_eq!(house.neighbours.take("c.test"), None);
    house.stop().await;
}

#[tokio::test]
async fn new_signing_keys_are_told() {
    let mut house = shared().await;
    house.start().await;
    let public = Base64::<Standard, _>::new(vec![3; 32]).encode();
    let key = json!({
        "user_id": house.alice.user_id,
        "usage": ["master"],
        "keys": { format!("ed25519:{public}"): public },
    });
    let upload = accounts::CrossSigningUpload {
        master_key: Some(Raw::from_json(
            serde_json::value::to_raw_value(&key).unwrap(),
        )),
        ..accounts::CrossSigningUpload::default()
    };
    let uploaded = house
        .accounts
        .upload_cross_signing_keys(&house.alice, &upload, true);
    uploaded.await.unwrap();
    let told = next_edu(&house, "b.test", "m.signing_key_update").await;
    assert_eq!(told["user_id"], "@alice:a.test");
    assert_eq!(told["master_key"]["keys"], key["keys"]);
    assert!(told.get("self_signing_key").is_none());
    house.stop().await;
}

/// Bob comes into a new room in which b.test is.
async fn bob_joins_another(house: &House) {
    let wish = CreateRoom {
        preset: Some(Preset::PublicChat),
        ..CreateRoom::default()
    };
    let room = house.rooms.create(&house.alice(), wish).await.unwrap();
    house.members(&room, "b.test", 1).await;
    let target = <&RoomOrAliasId>::from(&*room);
    let bob = sender(&house.bob);
    house.rooms.join(&bob, target, b"{}").await.unwrap();
}

/// The next change of one of Bob's devices that comes to b.test.
async fn next_of_bob(house: &House) -> Value {
    loop {
        let received = house.neighbours.next("b.test").await;
        let edus = received.body["edus"].as_array().cloned();
        let found = edus.unwrap_or_default().into_iter().find(|edu| {
            edu["edu_type"] == "m.device_list_update" && edu["content"]["user_id"] == "@bob:a.test"
        });
        if let Some(edu) = found {
            return edu["content"].clone();
        }
    }
}

#[tokio::test]
async fn who_meets_a_server_by_joining_is_told_to_it_with_all_devices() {
    let mut house = House::new(&["b.test"]).await;
    house.start().await;
    bob_joins_another(&house).await;
    let told = next_of_bob(&house).await;
    assert_eq!(told["device_id"], "PHONE");
    assert_eq!(told["prev_id"], json!([]));
    assert!(told.get("deleted").is_none() && told.get("keys").is_none());
    // From then on it hears of changes: another room is no news.
    bob_joins_another(&house).await;
    upload(&house, &house.bob, 1).await;
    let next = next_of_bob(&house).await;
    assert!(next["keys"].is_object(), "{next}");
    house.stop().await;
}

#[tokio::test]
async fn names_of_devices_are_told_where_the_configuration_says_so() {
    let mut house = shared().await;
    let options = FederationOptions {
        device_names: true,
        ..FederationOptions::default()
    };
    house.start_with(options).await;
    upload(&house, &house.alice, 1).await;
    next_edu(&house, "b.test", "m.device_list_update").await;
    let id = house.alice.device_id.clone();
    let operator = audit::Act::operator();
    let named = house.accounts.set_device_display_name(
        &operator,
        house.alice.user,
        &id,
        Some("mine".to_owned()),
    );
    named.await.unwrap();
    let told = next_edu(&house, "b.test", "m.device_list_update").await;
    assert_eq!(told["device_display_name"], "mine");
    assert_eq!(told["keys"]["unsigned"]["device_display_name"], "mine");
    house.stop().await;
}

#[tokio::test]
async fn whom_a_room_shuts_out_is_not_told_what_is_done_there() {
    let mut house = shared().await;
    let room = house.room.clone();
    let message = house.say(&room, "hello").await;
    house.members(&room, "c.test", 1).await;
    let acl = json!({ "allow": ["*"], "deny": ["b.test"] }).to_string();
    let alice = house.alice();
    let set = house
        .rooms
        .set_state(&alice, &room, "m.room.server_acl", "", acl.as_bytes());
    set.await.unwrap();
    house.start().await;
    let event = <&EventId>::try_from(message.as_str()).unwrap();
    let bob = sender(&house.bob);
    let read = house
        .rooms
        .set_receipt(&bob, &room, ReceiptKind::Read, event, None);
    read.await.unwrap();
    next_edu(&house, "c.test", "m.receipt").await;
    // What comes after it has come shows that it did not.
    upload(&house, &house.alice, 1).await;
    loop {
        let received = house.neighbours.next("b.test").await;
        let edus = received.body["edus"].as_array().cloned();
        let kinds: Vec<Value> = edus
            .unwrap_or_default()
            .iter()
            .map(|edu| edu["edu_type"].clone())
            .collect();
        assert!(!kinds.contains(&json!("m.receipt")), "{kinds:?}");
        if kinds.contains(&json!("m.device_list_update")) {
            break;
        }
    }
    house.stop().await;
}
