//! Who sees what of a room's past.

use serde_json::json;

use super::{TestRoom, state};
use crate::{AppendError, CreateRoom, Preset};

/// A public room whose history is for those that `setting` says.
async fn room_with_history(setting: &str) -> TestRoom {
    let mut room = TestRoom::server(["alice", "bob", "carol", "dave", "erin"]).await;
    let rule = json!({ "history_visibility": setting });
    let wish = CreateRoom {
        preset: Some(Preset::PublicChat),
        initial_state: vec![state("m.room.history_visibility", "", rule)],
        ..CreateRoom::default()
    };
    room.create("alice", wish).await.unwrap();
    room
}

#[tokio::test]
async fn history_is_for_those_that_the_setting_names() {
    // Seen by one who came and went: what was said before, while invited, while joined,
    // after leaving, while banned. Then by one who came only later: the same five.
    let table = [
        ("joined", [false, false, true, false, false], [false; 5]),
        ("invited", [false, true, true, false, false], [false; 5]),
        ("shared", [true, true, true, false, false], [true; 5]),
        ("world_readable", [true; 5], [true; 5]),
    ];
    for (setting, of_bob, of_late) in table {
        let room = room_with_history(setting).await;
        let say = async |text| room.say("alice", text).await.unwrap();
        let mut events = vec![say("before").await];
        room.invite("alice", "bob").await.unwrap();
        room.invite("alice", "dave").await.unwrap();
        events.push(say("invited").await);
        room.join("bob").await.unwrap();
        events.push(say("joined").await);
        room.leave("bob").await.unwrap();
        events.push(say("left").await);
        room.ban("alice", "bob").await.unwrap();
        events.push(say("banned").await);
        room.join("erin").await.unwrap();
        let open = setting == "world_readable";
        for (index, event) in events.iter().enumerate() {
            assert!(room.sees("alice", event), "alice, {index} of {setting}");
            assert_eq!(
                room.sees("bob", event),
                of_bob[index],
                "bob, {index} of {setting}"
            );
            assert_eq!(
                room.sees("erin", event),
                of_late[index],
                "erin, {index} of {setting}"
            );
            assert_eq!(room.sees("dave", event), open, "dave, {index} of {setting}");
            assert_eq!(
                room.sees("carol", event),
                open,
                "carol, {index} of {setting}"
            );
        }
    }
}

#[tokio::test]
async fn every_event_keeps_the_setting_of_its_time() {
    let room = room_with_history("joined").await;
    let hidden = room.say("alice", "hidden").await.unwrap();
    room.set(
        "alice",
        "m.room.history_visibility",
        "",
        json!({ "history_visibility": "shared" }),
    )
    .await
    .unwrap();
    let shared = room.say("alice", "shared").await.unwrap();
    room.set(
        "alice",
        "m.room.history_visibility",
        "",
        json!({ "history_visibility": "joined" }),
    )
    .await
    .unwrap();
    let hidden_again = room.say("alice", "hidden again").await.unwrap();
    room.join("bob").await.unwrap();
    assert!(!room.sees("bob", &hidden));
    assert!(room.sees("bob", &shared));
    assert!(!room.sees("bob", &hidden_again));
}

#[tokio::test]
async fn who_came_twice_sees_both_stays() {
    let room = room_with_history("joined").await;
    room.join("bob").await.unwrap();
    let first = room.say("alice", "first stay").await.unwrap();
    room.kick("alice", "bob").await.unwrap();
    let between = room.say("alice", "between").await.unwrap();
    room.join("bob").await.unwrap();
    let second = room.say("alice", "second stay").await.unwrap();
    assert!(room.sees("bob", &first));
    assert!(!room.sees("bob", &between));
    assert!(room.sees("bob", &second));
}

#[tokio::test]
async fn who_has_left_sees_the_state_of_then() {
    let room = room_with_history("shared").await;
    room.set("alice", "m.room.name", "", json!({ "name": "then" }))
        .await
        .unwrap();
    room.join("bob").await.unwrap();
    room.leave("bob").await.unwrap();
    room.set("alice", "m.room.name", "", json!({ "name": "now" }))
        .await
        .unwrap();
    room.join("carol").await.unwrap();
    room.invite("alice", "bob").await.unwrap();
    assert_eq!(
        room.state("alice", "m.room.name", "").unwrap()["name"],
        "now"
    );
    assert_eq!(
        room.state("bob", "m.room.name", "").unwrap()["name"],
        "then"
    );
    assert!(
        room.state("bob", "m.room.member", "@carol:cairn.test")
            .is_none()
    );
    let own = room
        .state("bob", "m.room.member", "@bob:cairn.test")
        .unwrap();
    assert_eq!(own["membership"], "leave");
    assert!(room.state("dave", "m.room.name", "").is_none());
    let view = room.rooms.store().snapshot();
    let viewer = room.who("bob").viewer();
    let all = room
        .rooms
        .state(&view, &room.room_id, viewer)
        .unwrap()
        .concat();
    assert!(all.contains("then") && !all.contains("now") && !all.contains("carol"));
    let filter = crate::MembershipFilter::default();
    let members = room
        .rooms
        .members(&view, &room.room_id, viewer, None, filter)
        .unwrap();
    assert_eq!(members.len(), 2);
    assert!(
        room.rooms
            .joined_members(&view, &room.room_id, viewer)
            .is_err()
    );
}

#[tokio::test]
async fn the_world_reads_an_open_room_and_speaks_in_none() {
    let room = room_with_history("world_readable").await;
    assert!(room.state("carol", "m.room.create", "").is_some());
    assert!(super::is_forbidden(room.say("carol", "hello").await));
    let view = room.rooms.store().snapshot();
    assert!(crate::aliases(&view, &room.room_id, room.who("carol").user).is_ok());
    let typing = room
        .rooms
        .set_typing(room.who("carol"), &room.room_id, true, None)
        .await;
    assert!(matches!(typing, Err(AppendError::Forbidden(_))));
}

#[tokio::test]
async fn an_unknown_room_looks_like_a_closed_one() {
    let room = room_with_history("shared").await;
    let view = room.rooms.store().snapshot();
    let viewer = room.who("carol").viewer();
    let elsewhere = ruma_common::RoomId::parse("!elsewhere:cairn.test").unwrap();
    let closed = room.rooms.state(&view, &room.room_id, viewer).unwrap_err();
    let unknown = room.rooms.state(&view, &elsewhere, viewer).unwrap_err();
    assert_eq!(closed.to_string(), unknown.to_string());
}
