//! To-device messages come once, in order, and stay until they are acknowledged.

use std::collections::BTreeMap;

use model::tables::{
    REMOTE_MESSAGE_BY_HASH, REMOTE_MESSAGE_BY_POSITION, TO_DEVICE_BY_DEVICE,
    TO_DEVICE_QUEUE_BY_DEVICE,
};
use ruma_client_api::to_device::send_event_to_device::v3::Messages;
use ruma_common::to_device::DeviceIdOrAllDevices;
use serde_json::{Value, json};
use store::{Position, Read as _};

use super::{
    house::{House, PASSWORD},
    keys::raw,
};
use crate::{Session, ToDeviceError, to_device};

fn message(to: &Session, device: DeviceIdOrAllDevices, content: &Value) -> Messages {
    BTreeMap::from([(to.user_id.clone(), BTreeMap::from([(device, raw(content))]))])
}

async fn send(house: &House, from: &Session, transaction: &str, messages: Messages) -> usize {
    let sent = house
        .accounts
        .send_to_devices(from, "m.test", transaction.into(), messages);
    sent.await.unwrap().queued
}

#[tokio::test]
async fn a_transaction_id_sends_once() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let bob = house.person("bob", "PHONE").await;
    let laptop = house.login("bob", "LAPTOP", PASSWORD).await.unwrap();
    let laptop = house.session(&laptop).await;
    let to_all = || message(&bob, DeviceIdOrAllDevices::AllDevices, &json!({ "n": 1 }));
    assert_eq!(send(&house, &alice, "t1", to_all()).await, 2);
    assert_eq!(send(&house, &alice, "t1", to_all()).await, 0);
    // Another device's id, and another type's, is another.
    assert_eq!(send(&house, &bob, "t1", to_all()).await, 2);
    let other = house
        .accounts
        .send_to_devices(&alice, "m.other", "t1".into(), to_all());
    assert_eq!(other.await.unwrap().queued, 2);

    let snapshot = house.accounts.store().snapshot();
    let (messages, _) = to_device(&snapshot, laptop.device, Position(0), 100).unwrap();
    let first: Value = serde_json::from_slice(&messages[0]).unwrap();
    let expected = json!({ "type": "m.test", "sender": alice.user_id, "content": { "n": 1 } });
    assert_eq!((messages.len(), first), (3, expected));

    let nobody = message(
        &bob,
        DeviceIdOrAllDevices::DeviceId("NONE".into()),
        &json!({}),
    );
    assert_eq!(send(&house, &alice, "t2", nobody).await, 0);
    let text = message(&bob, DeviceIdOrAllDevices::AllDevices, &json!("text"));
    let refused = house
        .accounts
        .send_to_devices(&alice, "m.test", "t3".into(), text)
        .await;
    assert!(matches!(refused, Err(ToDeviceError::NotAnObject)));
}

#[tokio::test]
async fn messages_stay_until_they_are_acknowledged() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let bob = house.person("bob", "PHONE").await;
    for number in 0..10 {
        let device = DeviceIdOrAllDevices::DeviceId(bob.device_id.clone());
        let messages = message(&bob, device, &json!({ "n": number }));
        send(&house, &alice, &format!("t{number}"), messages).await;
    }
    let read = |after: Position, limit: usize| {
        let snapshot = house.accounts.store().snapshot();
        let (messages, up_to) = to_device(&snapshot, bob.device, after, limit).unwrap();
        let numbers = messages.iter().map(|message| {
            let message: Value = serde_json::from_slice(message).unwrap();
            message["content"]["n"].as_u64().unwrap()
        });
        (numbers.collect::<Vec<_>>(), up_to)
    };
    let (first, up_to) = read(Position(0), 4);
    assert_eq!(first, [0, 1, 2, 3]);
    // Asked again without having acknowledged: the same.
    assert_eq!(read(Position(0), 4), (first, up_to));
    house.accounts.acknowledge(bob.device, up_to).await.unwrap();
    let (rest, end) = read(up_to, 100);
    assert_eq!(rest, [4, 5, 6, 7, 8, 9]);
    assert_eq!(end, house.position());
    let latest = house.accounts.store().latest();
    assert_eq!(latest.scan(&TO_DEVICE_BY_DEVICE, &(bob.device,)).count(), 6);
    house.accounts.acknowledge(bob.device, end).await.unwrap();
    house.accounts.acknowledge(bob.device, end).await.unwrap();
    assert_eq!(latest.scan(&TO_DEVICE_BY_DEVICE, &(bob.device,)).count(), 0);
    let left = latest.get(&TO_DEVICE_QUEUE_BY_DEVICE, &bob.device).unwrap();
    assert_eq!(left, Some(model::ToDeviceQueueRecord::default()));

    // A deleted device leaves no queue.
    let device = DeviceIdOrAllDevices::AllDevices;
    send(&house, &alice, "last", message(&bob, device, &json!({}))).await;
    house
        .accounts
        .logout(&audit::Act::operator(), &bob)
        .await
        .unwrap();
    assert_eq!(latest.scan(&TO_DEVICE_BY_DEVICE, &(bob.device,)).count(), 0);
}

#[tokio::test]
async fn a_message_of_another_server_is_taken_once() {
    let house = House::open();
    let bob = house.person("bob", "PHONE").await;
    house.login("bob", "LAPTOP", PASSWORD).await.unwrap();
    let receive = async |origin: &str, id: &str, user: &str, content: Value| {
        let content = json!({
            "sender": format!("@x:{origin}"), "type": "m.test", "message_id": id,
            "messages": { user: { "*": content } },
        });
        let origin = ruma_common::ServerName::parse(origin).unwrap();
        let content = serde_json::from_value(content).unwrap();
        house.accounts.receive_to_device(&origin, content).await
    };
    let bob_id = bob.user_id.as_str();
    let good = json!({ "n": 1 });
    assert_eq!(
        receive("b.test", "1", bob_id, good.clone()).await.unwrap(),
        2
    );
    assert_eq!(
        receive("b.test", "1", bob_id, good.clone()).await.unwrap(),
        0
    );
    // Another server's id is another.
    assert_eq!(
        receive("c.test", "1", bob_id, good.clone()).await.unwrap(),
        2
    );
    for stranger in ["@nobody:a.test", "@bob:c.test"] {
        assert_eq!(
            receive("b.test", "2", stranger, good.clone())
                .await
                .unwrap(),
            0
        );
    }
    let text = receive("b.test", "3", bob_id, json!("text")).await;
    assert!(matches!(text, Err(ToDeviceError::NotAnObject)));
    house.accounts.settled().await.unwrap();
    let latest = house.accounts.store().latest();
    assert_eq!(latest.scan(&REMOTE_MESSAGE_BY_HASH, &()).count(), 2);
    assert_eq!(latest.scan(&REMOTE_MESSAGE_BY_POSITION, &()).count(), 2);
    // Forgotten when nobody repeats it any more.
    house.clock.advance(8 * 24 * 3_600 * 1_000);
    assert_eq!(receive("b.test", "4", bob_id, good).await.unwrap(), 2);
    assert_eq!(latest.scan(&REMOTE_MESSAGE_BY_HASH, &()).count(), 1);
    assert_eq!(latest.scan(&REMOTE_MESSAGE_BY_POSITION, &()).count(), 1);
}
