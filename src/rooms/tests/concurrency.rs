//! Many at once in one room.

use std::collections::HashSet;

use model::tables;
use serde_json::json;
use store::Read;
use tokio::task::JoinSet;

use super::{TestRoom, id};
use crate::{CreateRoom, EMPTY_STATE, Preset, room_serial};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_identical_requests_make_one_event() {
    let room = TestRoom::with(["alice"]).await;
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let (rooms, who) = (room.rooms.clone(), room.who("alice").clone());
        let room_id = room.room_id.clone();
        requests.spawn(async move {
            let content = json!({ "body": "once" }).to_string();
            rooms
                .send(&who, &room_id, "m.room.message", "same", content.as_bytes())
                .await
                .unwrap()
        });
    }
    let ids: HashSet<_> = requests.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_senders_make_one_chain() {
    let mut room = TestRoom::server(["alice"]).await;
    let wish = CreateRoom {
        preset: Some(Preset::PublicChat),
        ..CreateRoom::default()
    };
    room.create("alice", wish).await.unwrap();
    let mut senders = JoinSet::new();
    for number in 0..64 {
        let name = format!("user{number}");
        room.arrive(&name).await;
        let (rooms, who) = (room.rooms.clone(), room.who(&name).clone());
        let room_id = room.room_id.clone();
        senders.spawn(async move {
            rooms.join(&who, (&*room_id).into(), b"{}").await.unwrap();
            for count in 0..10 {
                let content = json!({ "body": count.to_string() }).to_string();
                let transaction_id = count.to_string();
                rooms
                    .send(
                        &who,
                        &room_id,
                        "m.room.message",
                        &transaction_id,
                        content.as_bytes(),
                    )
                    .await
                    .unwrap();
            }
        });
    }
    senders.join_all().await;
    let view = room.rooms.store().snapshot();
    let serial = room_serial(&view, room.room_id.as_str()).unwrap().unwrap();
    let viewer = room.who("alice").viewer();
    let reader = room.rooms.reader(&view, &room.room_id, viewer).unwrap();
    let mut before: Option<String> = None;
    let mut state = EMPTY_STATE;
    let mut position = 0;
    let mut count = 0;
    for (index, row) in view.scan(&tables::EVENT_BY_PLACE, &(serial,)).enumerate() {
        let ((_, depth, _), event) = row.unwrap();
        assert_eq!(depth, index as u64 + 1);
        let event = reader.load(event).unwrap().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&event.stored.json).unwrap();
        let parents: Vec<String> = before.into_iter().collect();
        assert_eq!(json["prev_events"], json!(parents));
        assert_eq!(event.meta.state_before, state);
        assert!(event.meta.position >= position);
        if let Some(state_key) = json["state_key"].as_str() {
            let mut maps = reader.maps();
            let event_type = json["type"].as_str().unwrap();
            state = maps
                .insert(state, event_type, state_key, event.serial)
                .unwrap();
        }
        before = Some(event.stored.event_id.clone());
        position = event.meta.position;
        count += 1;
    }
    assert_eq!(count, 64 * 11 + 5);
    let head = view.get(&tables::HEAD_BY_ROOM, &serial).unwrap().unwrap();
    assert_eq!((head.state, head.depth, head.joined), (state, count, 65));
    assert_eq!(head.extremities.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sender_who_goes_away_leaves_the_room_whole() {
    let room = TestRoom::with(["alice"]).await;
    for round in 0..200u64 {
        let (rooms, who) = (room.rooms.clone(), room.who("alice").clone());
        let room_id = room.room_id.clone();
        let mut gone = JoinSet::new();
        gone.spawn(async move {
            let id = format!("gone{round}");
            rooms
                .send(&who, &room_id, "m.room.message", &id, b"{}")
                .await
        });
        tokio::time::sleep(std::time::Duration::from_micros(round * 5)).await;
        drop(gone);
        room.say("alice", "here").await.unwrap();
    }
    let view = room.rooms.store().snapshot();
    let serial = room_serial(&view, room.room_id.as_str()).unwrap().unwrap();
    let places = view.scan(&tables::EVENT_BY_PLACE, &(serial,));
    for (index, row) in places.enumerate() {
        assert_eq!(row.unwrap().0.1, index as u64 + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_invitation_and_a_join_at_once_agree() {
    let room = TestRoom::with(["alice", "bob"]).await;
    for _ in 0..20 {
        room.kick("alice", "bob").await.unwrap();
        let (_, joined) = tokio::join!(room.invite("alice", "bob"), room.join("bob"));
        joined.unwrap();
        let member = room
            .state("alice", "m.room.member", id("bob").as_str())
            .unwrap();
        assert_eq!(member["membership"], "join");
    }
}
