//! Rooms that were there before the register of groups are put into it.

use model::tables::{REGISTER_PROGRESS, RULE_BY_ROOM, STAY_BY_ROOM};
use ruma_common::OwnedRoomId;
use runtime::Tasks;
use serde_json::json;
use store::{Read, StoreError};

use super::TestRoom;
use crate::{
    CreateRoom, PersonStay, Preset, RegisterPart, RoomThen, register_of_person, register_of_room,
};

const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];

/// What the register says of these rooms at these moments, and of everybody.
fn told(
    room: &TestRoom,
    rooms: &[OwnedRoomId],
    moments: &[u64],
) -> (Vec<RoomThen>, Vec<Vec<PersonStay>>) {
    let view = room.rooms.store().snapshot();
    let then = rooms.iter().flat_map(|room_id| {
        let at = |at: &u64| {
            register_of_room(&view, room_id.as_str(), *at, &RegisterPart::ALL)
                .unwrap()
                .0
        };
        moments.iter().map(at).collect::<Vec<_>>()
    });
    let people = PEOPLE.iter().map(|name| {
        let user_id = super::id(name);
        register_of_person(&view, user_id.as_str(), &RegisterPart::ALL)
            .unwrap()
            .0
    });
    (then.collect(), people.collect())
}

/// Takes the register out of the database, as if there had never been one.
async fn forget(room: &TestRoom) {
    let forget = |_: &_, _, batch: &mut store::Batch| {
        batch.delete_prefix(&STAY_BY_ROOM, &());
        batch.delete_prefix(&RULE_BY_ROOM, &());
        batch.delete(&REGISTER_PROGRESS, &());
        Ok::<_, StoreError>(())
    };
    room.rooms.store().commit(forget).await.unwrap();
}

/// Lets the task do all of its work, and waits until it is published.
async fn complete(room: &TestRoom) {
    let tasks = Tasks::new();
    room.rooms.complete_register(tasks.stop()).await.unwrap();
    let nothing = |_: &_, _, _: &mut _| Ok::<_, StoreError>(());
    room.rooms.store().commit(nothing).await.unwrap();
}

#[tokio::test]
async fn the_register_of_old_rooms_is_what_it_would_have_been() {
    let mut room = TestRoom::server(PEOPLE).await;
    let (mut rooms, mut moments) = (Vec::new(), Vec::new());
    for version in ["11", "12"] {
        let wish = CreateRoom {
            version: Some(version.to_owned()),
            preset: Some(Preset::PrivateChat),
            name: Some(format!("Room {version}")),
            ..CreateRoom::default()
        };
        rooms.push(room.create("alice", wish).await.unwrap());
        let mut step = |room: &TestRoom| {
            room.clock.advance(1_000);
            moments.push(room.clock.now().0);
            room.clock.advance(1_000);
        };
        step(&room);
        for name in ["bob", "carol"] {
            room.invite("alice", name).await.unwrap();
            step(&room);
            room.join(name).await.unwrap();
            step(&room);
        }
        let mut levels = room.state("alice", "m.room.power_levels", "").unwrap();
        levels["users"]["@bob:cairn.test"] = 50.into();
        room.set("alice", "m.room.power_levels", "", levels)
            .await
            .unwrap();
        step(&room);
        room.set("alice", "m.room.name", "", json!({ "name": "Other" }))
            .await
            .unwrap();
        room.kick("bob", "carol").await.unwrap();
        step(&room);
        room.ban("alice", "carol").await.unwrap();
        room.leave("bob").await.unwrap();
        step(&room);
    }
    let before = told(&room, &rooms, &moments);
    assert!(before.0.iter().any(|then| then.members.len() == 3));
    forget(&room).await;
    let nothing = told(&room, &rooms, &moments);
    assert!(nothing.0.iter().all(|then| then.members.is_empty()));
    assert_ne!(nothing, before);

    // A server that stops at once has only noted how far it is to go.
    let tasks = Tasks::new();
    let stop = tasks.stop();
    tasks.shutdown(std::time::Duration::from_secs(1)).await;
    room.rooms.complete_register(stop).await.unwrap();
    assert_eq!(told(&room, &rooms, &moments), nothing);
    // What happens until it goes on is in the register as always.
    room.restart();
    room.room_id = rooms[0].clone();
    room.clock.advance(1_000);
    room.invite("alice", "bob").await.unwrap();
    room.join("bob").await.unwrap();
    complete(&room).await;
    let after = told(&room, &rooms, &moments);
    assert_eq!(after.0, before.0);
    for (before, after) in before.1.iter().zip(&after.1) {
        assert_eq!(before[..], after[..before.len()]);
    }
    let bob = &after.1[1];
    assert_eq!(bob.len(), before.1[1].len() + 1, "{bob:?}");
    // Doing it again changes nothing.
    let view = room.rooms.store().snapshot();
    let rows = view.scan(&STAY_BY_ROOM, &()).count();
    complete(&room).await;
    let view = room.rooms.store().snapshot();
    assert_eq!(view.scan(&STAY_BY_ROOM, &()).count(), rows);
}
