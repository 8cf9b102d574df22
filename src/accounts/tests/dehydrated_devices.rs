//! A dehydrated device is a device like others, but for its client.

use std::collections::BTreeMap;

use model::{
    UserSerial,
    tables::{DEHYDRATED_DEVICE_BY_USER, DEVICE_KEYS_BY_DEVICE, TO_DEVICE_BY_DEVICE},
};
use ruma_client_api::to_device::send_event_to_device::v3::Messages;
use ruma_common::{DeviceId, to_device::DeviceIdOrAllDevices};
use serde_json::{Value, json};
use store::Read as _;

use super::{
    house::{House, Key, PASSWORD},
    keys::{device_keys, raw},
};
use crate::{
    DehydratedDeviceError, NewDehydratedDevice, Session, UploadKeysError, dehydrated_device,
    dehydrated_events, device_list_position, devices,
};

/// A new device of alice's, with keys under that id.
fn draft(alice: &Session, device_id: &str, mark: &str) -> NewDehydratedDevice {
    let key = Key::of_device(device_id);
    let other = Session {
        device_id: device_id.into(),
        ..alice.clone()
    };
    let data = json!({ "algorithm": "org.matrix.msc3814.v2", "device_pickle": mark });
    NewDehydratedDevice {
        device_id: device_id.into(),
        display_name: Some("Dehydrated".to_owned()),
        device_data: serde_json::value::to_raw_value(&data).unwrap(),
        device_keys: raw(&device_keys(&other, &key)),
        one_time_keys: BTreeMap::new(),
        fallback_keys: BTreeMap::new(),
    }
}

async fn send(house: &House, from: &Session, transaction: &str, to: &Session) {
    let all = BTreeMap::from([(DeviceIdOrAllDevices::AllDevices, raw(&json!({ "n": 1 })))]);
    let messages: Messages = BTreeMap::from([(to.user_id.clone(), all)]);
    let sent = house
        .accounts
        .send_to_devices(from, "m.test", transaction.into(), messages);
    sent.await.unwrap();
}

fn device_ids(house: &House, user: UserSerial) -> Vec<String> {
    let snapshot = house.accounts.store().snapshot();
    let devices = devices(&snapshot, user).unwrap();
    devices
        .iter()
        .map(|device| device.device_id.to_string())
        .collect()
}

#[tokio::test]
async fn a_new_one_takes_the_place_of_the_one_before() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let bob = house.person("bob", "PHONE").await;
    let accounts = &house.accounts;
    accounts
        .put_dehydrated_device(&alice, draft(&alice, "FIRST", "one"))
        .await
        .unwrap();
    let announced = device_list_position(&accounts.store().snapshot(), alice.user).unwrap();
    assert_eq!(announced, Some(house.position()));
    send(&house, &bob, "t1", &alice).await;
    let snapshot = accounts.store().snapshot();
    let first = snapshot
        .get(&DEHYDRATED_DEVICE_BY_USER, &alice.user)
        .unwrap()
        .unwrap();
    assert_eq!(
        snapshot
            .scan(&TO_DEVICE_BY_DEVICE, &(first.device,))
            .count(),
        1
    );

    for (id, mark) in [("SECOND", "two"), ("SECOND", "three")] {
        accounts
            .put_dehydrated_device(&alice, draft(&alice, id, mark))
            .await
            .unwrap();
        assert_eq!(device_ids(&house, alice.user), ["PHONE", "SECOND"]);
        let snapshot = accounts.store().snapshot();
        let device = dehydrated_device(&snapshot, alice.user).unwrap();
        assert!(device.device_data.get().contains(mark));
        // The new one has none of the old one's messages.
        let page = dehydrated_events(&snapshot, alice.user, "SECOND".into(), None).unwrap();
        assert!(page.events.is_empty() && !page.has_more);
    }
    let snapshot = accounts.store().snapshot();
    assert!(
        !snapshot
            .contains(&DEVICE_KEYS_BY_DEVICE, &first.device)
            .unwrap()
    );
    assert_eq!(
        snapshot
            .scan(&TO_DEVICE_BY_DEVICE, &(first.device,))
            .count(),
        0
    );

    assert_eq!(
        accounts.delete_dehydrated_device(alice.user).await.unwrap(),
        "SECOND"
    );
    let gone = accounts.delete_dehydrated_device(alice.user).await;
    assert!(matches!(gone, Err(DehydratedDeviceError::NotFound)));
    assert_eq!(device_ids(&house, alice.user), ["PHONE"]);
}

#[tokio::test]
async fn its_messages_are_read_page_by_page_and_stay() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let bob = house.person("bob", "PHONE").await;
    let accounts = &house.accounts;
    accounts
        .put_dehydrated_device(&alice, draft(&alice, "DRY", "x"))
        .await
        .unwrap();
    for number in 0..230 {
        send(&house, &bob, &format!("t{number}"), &alice).await;
    }
    for _ in 0..2 {
        let snapshot = accounts.store().snapshot();
        let (mut from, mut sizes) = (None::<String>, Vec::new());
        loop {
            let id: &DeviceId = "DRY".into();
            let page = dehydrated_events(&snapshot, alice.user, id, from.as_deref()).unwrap();
            sizes.push(page.events.len());
            let first: Value = serde_json::from_slice(&page.events[0]).unwrap();
            assert_eq!(first["sender"], "@bob:a.test");
            if !page.has_more {
                let id: &DeviceId = "DRY".into();
                let next = page.next_batch;
                let end = dehydrated_events(&snapshot, alice.user, id, Some(&next)).unwrap();
                assert!(end.events.is_empty() && !end.has_more);
                break;
            }
            from = Some(page.next_batch);
        }
        assert_eq!(sizes, [100, 100, 30]);
    }
    let snapshot = accounts.store().snapshot();
    let other = dehydrated_events(&snapshot, alice.user, "PHONE".into(), None);
    assert!(matches!(other, Err(DehydratedDeviceError::NotDehydrated)));
    let others = dehydrated_events(&snapshot, bob.user, "DRY".into(), None);
    assert!(matches!(others, Err(DehydratedDeviceError::NotDehydrated)));
    let token = dehydrated_events(&snapshot, alice.user, "DRY".into(), Some("x"));
    assert!(matches!(token, Err(DehydratedDeviceError::InvalidToken)));
}

#[tokio::test]
async fn it_cannot_be_a_device_in_use_and_its_keys_are_checked() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let accounts = &house.accounts;
    let taken = accounts.put_dehydrated_device(&alice, draft(&alice, "PHONE", "x"));
    assert!(matches!(taken.await, Err(DehydratedDeviceError::IdInUse)));
    let mut forged = draft(&alice, "DRY", "x");
    forged.device_keys = draft(&alice, "OTHER", "x").device_keys;
    let forged = accounts.put_dehydrated_device(&alice, forged).await;
    assert!(matches!(
        forged,
        Err(DehydratedDeviceError::Keys(UploadKeysError::Invalid(_)))
    ));
    assert_eq!(device_ids(&house, alice.user), ["PHONE"]);
    assert!(dehydrated_device(&accounts.store().snapshot(), alice.user).is_err());
}

#[tokio::test]
async fn whoever_signs_in_with_it_makes_it_an_ordinary_one() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let accounts = &house.accounts;
    let put = async || {
        let new = draft(&alice, "DRY", "x");
        accounts.put_dehydrated_device(&alice, new).await.unwrap();
    };
    put().await;
    house.login("alice", "DRY", PASSWORD).await.unwrap();
    let none = || dehydrated_device(&accounts.store().snapshot(), alice.user).is_err();
    assert!(none());
    assert_eq!(device_ids(&house, alice.user), ["DRY", "PHONE"]);
    accounts
        .remove_devices(&audit::Act::operator(), alice.user, vec!["DRY".into()])
        .await
        .unwrap();
    put().await;
    assert!(!none());
    accounts
        .remove_devices(&audit::Act::operator(), alice.user, vec!["DRY".into()])
        .await
        .unwrap();
    assert!(none());
    put().await;
    accounts
        .logout_all(&audit::Act::operator(), &alice)
        .await
        .unwrap();
    assert!(none());
}
