//! The first sync: everything as it is.

use harness::{event_ids, find_event};
use serde_json::{Value, json};

use crate::server;

#[tokio::test]
async fn a_new_user_has_an_empty_world() {
    let alice = server().register("alice").await;
    let synced = alice.sync().await;
    assert!(!synced.next_batch().is_empty());
    for part in ["join", "invite", "leave", "knock"] {
        let rooms = &synced.0["rooms"][part];
        assert!(rooms.is_null() || rooms == &json!({}), "{part}: {rooms}");
    }
    assert!(synced.to_device().is_empty());
    assert!(synced.0["device_one_time_keys_count"].is_object());
    assert_eq!(synced.0["device_unused_fallback_key_types"], json!([]));
}

#[tokio::test]
async fn a_room_comes_with_its_timeline_and_the_state_before_it() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let name = alice
        .set_state(&room, "m.room.name", "", json!({ "name": "early" }))
        .await;
    let mut said = Vec::new();
    for number in 0..15 {
        said.push(alice.say(&room, &format!("number {number}")).await);
    }
    let synced = bob.sync().await;
    let timeline = synced.timeline(&room);
    assert_eq!(event_ids(timeline), said[5..], "ten by default");
    assert_eq!(synced.joined(&room)["timeline"]["limited"], true);
    assert!(synced.joined(&room)["timeline"]["prev_batch"].is_string());
    assert!(
        timeline.iter().all(|event| event["room_id"].is_null()),
        "the room is known"
    );
    let state = synced.state(&room);
    assert!(event_ids(state).contains(&name.as_str()));
    for kind in [
        "m.room.create",
        "m.room.power_levels",
        "m.room.join_rules",
        "m.room.member",
    ] {
        assert!(find_event(state, kind).is_some(), "{kind}");
    }
    assert_eq!(
        state
            .iter()
            .filter(|event| event["type"] == "m.room.member")
            .count(),
        2
    );
}

#[tokio::test]
async fn state_within_the_timeline_is_not_repeated() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let name = alice
        .set_state(&room, "m.room.name", "", json!({ "name": "n" }))
        .await;
    let synced = alice.sync().await;
    assert!(event_ids(synced.timeline(&room)).contains(&name.as_str()));
    let all: Vec<&str> = event_ids(synced.state(&room))
        .into_iter()
        .chain(event_ids(synced.timeline(&room)))
        .collect();
    let mut once = all.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(all.len(), once.len(), "{all:?}");
    assert_eq!(synced.joined(&room)["timeline"]["limited"], false);
}

#[tokio::test]
async fn the_state_is_that_before_the_timeline() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let old = alice
        .set_state(&room, "m.room.topic", "", json!({ "topic": "old" }))
        .await;
    for number in 0..3 {
        alice.say(&room, &format!("number {number}")).await;
    }
    let new = alice
        .set_state(&room, "m.room.topic", "", json!({ "topic": "new" }))
        .await;
    let filter = json!({ "room": { "timeline": { "limit": 2 } } });
    let synced = alice.sync_filtered(&filter, "").await;
    assert!(
        event_ids(synced.state(&room)).contains(&old.as_str()),
        "{:?}",
        synced.state(&room)
    );
    assert!(event_ids(synced.timeline(&room)).contains(&new.as_str()));
}

#[tokio::test]
async fn a_room_without_a_name_is_summed_up() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice.room_with(&[&bob]).await;
    alice.invite(&room, &carol).await;
    let filter = json!({ "room": { "state": { "lazy_load_members": true } } });
    let synced = bob.sync_filtered(&filter, "").await;
    let summary = &synced.joined(&room)["summary"];
    assert_eq!(summary["m.joined_member_count"], 2, "{summary}");
    assert_eq!(summary["m.invited_member_count"], 1, "{summary}");
    let mut heroes: Vec<&str> = summary["m.heroes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    heroes.sort_unstable();
    let mut expected = [alice.user_id.as_str(), carol.user_id.as_str()];
    expected.sort_unstable();
    assert_eq!(heroes, expected, "not oneself");
}

#[tokio::test]
async fn a_left_room_shows_only_where_it_is_asked_for() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    bob.leave(&room).await;
    let after = alice.say(&room, "after").await;
    let synced = bob.sync().await;
    assert!(synced.joined(&room).is_null());
    assert!(synced.left(&room).is_null());
    let filter = json!({ "room": { "include_leave": true } });
    let synced = bob.sync_filtered(&filter, "").await;
    let left = synced.left(&room);
    let timeline = left["timeline"]["events"].as_array().unwrap();
    let last = timeline.last().unwrap();
    assert_eq!(last["content"]["membership"], "leave");
    assert!(!event_ids(timeline).contains(&after.as_str()));
}

/// A client that begins anew would not learn otherwise that somebody put the user out.
#[tokio::test]
async fn a_room_that_one_was_put_out_of_shows_at_once() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let banned = alice.room_with(&[&bob]).await;
    let kicked = alice.room_with(&[&bob]).await;
    let left = alice.room_with(&[&bob]).await;
    alice.act_on("ban", &banned, &bob).await.ok();
    alice.act_on("kick", &kicked, &bob).await.ok();
    bob.leave(&left).await;
    for room in [&banned, &kicked] {
        alice.say(room, "after").await;
    }
    let first = bob.sync().await;
    let since = first.next_batch();
    let nothing = bob.sync_with(&format!("timeout=0&since={since}")).await;
    assert!(nothing.left(&banned).is_null(), "told once");
    let query = format!("timeout=0&since={since}&full_state=true");
    let again = bob.sync_with(&query).await;
    for (room, membership) in [(&banned, "ban"), (&kicked, "leave")] {
        let events = first.left(room)["timeline"]["events"].as_array().unwrap();
        let last = events.last().unwrap();
        assert_eq!(last["content"]["membership"], membership, "{last}");
        assert_eq!(last["state_key"], bob.user_id.as_str());
        let state = again.left(room)["state"]["events"].as_array().unwrap();
        assert!(!state.is_empty(), "the whole state");
    }
    for synced in [&first, &again] {
        assert!(synced.left(&left).is_null(), "left by oneself");
    }
    // Whoever is let in again is in, and whoever forgets a room is done with it.
    alice.act_on("unban", &banned, &bob).await.ok();
    alice.invite(&banned, &bob).await;
    bob.post(format!("v3/rooms/{kicked}/forget"), json!({}))
        .await
        .ok();
    let synced = bob.sync().await;
    assert!(!synced.invited(&banned).is_null());
    assert!(synced.left(&banned).is_null());
    assert!(synced.left(&kicked).is_null());
}

#[tokio::test]
async fn an_invitation_that_was_taken_back_shows_only_where_it_is_asked_for() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.create_room(json!({ "name": "Inside" })).await;
    alice.invite(&room, &bob).await;
    alice.act_on("kick", &room, &bob).await.ok();
    assert!(bob.sync().await.left(&room).is_null());
    let filter = json!({ "room": { "include_leave": true } });
    let synced = bob.sync_filtered(&filter, "").await;
    let timeline = synced.left(&room)["timeline"]["events"].as_array().unwrap();
    assert_eq!(timeline.len(), 1, "{timeline:?}");
    assert_eq!(timeline[0]["content"]["membership"], "leave");
    bob.post(format!("v3/rooms/{room}/forget"), json!({}))
        .await
        .ok();
    assert!(bob.sync_filtered(&filter, "").await.left(&room).is_null());
}

#[tokio::test]
async fn forty_rooms_come_at_once() {
    let alice = server().register("alice").await;
    let mut rooms = Vec::new();
    for _ in 0..40 {
        rooms.push(alice.public_room().await);
    }
    let synced = alice.sync().await;
    assert_eq!(synced.0["rooms"]["join"].as_object().unwrap().len(), 40);
    for room in &rooms {
        assert!(!synced.timeline(room).is_empty());
    }
}
