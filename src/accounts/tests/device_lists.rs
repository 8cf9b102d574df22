//! Who shares a room with somebody learns of changed devices, from one row.

use std::collections::BTreeMap;

use model::{
    RoomSerial,
    tables::{CHANGE_BY_USER, DEVICE_CHANGE_BY_ROOM},
};
use store::Read as _;

use super::{
    house::{House, Key, PASSWORD},
    keys::{device_keys, raw},
};
use crate::{device_list_position, devices_changed};

#[tokio::test]
async fn a_change_is_told_to_each_room_once() {
    let house = House::open();
    let alice = house.person("alice", "PHONE").await;
    let rooms = [RoomSerial(901), RoomSerial(902)];
    for room in rooms {
        house.join(alice.user, room).await;
    }
    let start = house.position();
    let keys = raw(&device_keys(&alice, &Key::of_device("PHONE")));
    house
        .accounts
        .upload_keys(&alice, Some(keys), BTreeMap::new(), BTreeMap::new())
        .await
        .unwrap();
    let uploaded = house.position();
    // Neither signing in nor being seen changes what others see.
    house.login("alice", "LAPTOP", PASSWORD).await.unwrap();
    house.accounts.saw(&alice, "10.0.0.1", None).await.unwrap();
    let snapshot = house.accounts.store().snapshot();
    assert_eq!(
        device_list_position(&snapshot, alice.user).unwrap(),
        Some(uploaded)
    );

    let name = Some("Phone".to_owned());
    let operator = audit::Act::operator();
    let rename =
        house
            .accounts
            .set_device_display_name(&operator, alice.user, &alice.device_id, name);
    rename.await.unwrap();
    house
        .accounts
        .remove_devices(
            &audit::Act::operator(),
            alice.user,
            vec!["LAPTOP".into(), "NONE".into()],
        )
        .await
        .unwrap();
    let snapshot = house.accounts.store().snapshot();
    let end = snapshot.position();
    for room in rooms {
        assert_eq!(
            devices_changed(&snapshot, room, start, end).unwrap(),
            [alice.user]
        );
        assert_eq!(
            devices_changed(&snapshot, room, start, uploaded).unwrap(),
            []
        );
        assert_eq!(devices_changed(&snapshot, room, end, end).unwrap(), []);
        assert_eq!(snapshot.scan(&DEVICE_CHANGE_BY_ROOM, &(room,)).count(), 1);
    }
    // The push rules of the registration, and one row for the devices.
    assert_eq!(snapshot.scan(&CHANGE_BY_USER, &(alice.user,)).count(), 2);
}
