//! How rooms move between joined, invited, left and knocked.

use harness::find_event;
use serde_json::{Value, json};

use crate::server;

#[tokio::test]
async fn an_invitation_comes_with_the_create_event() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let first = bob.sync().await;
    let options = json!({
        "name": "The council", "invite": [bob.user_id], "creation_content": { "type": "m.space" },
    });
    let room = alice.create_room(options).await;
    for synced in [bob.sync_since(&first).await, bob.sync().await] {
        let events = synced.invited(&room)["invite_state"]["events"]
            .as_array()
            .unwrap();
        let create = find_event(events, "m.room.create").expect("the create event");
        assert_eq!(create["content"]["type"], "m.space");
        assert_eq!(create["content"]["room_version"], "12");
        assert_eq!(create["state_key"], "");
        let own = find_event(events, "m.room.member").unwrap();
        assert_eq!(own["state_key"], bob.user_id.as_str());
        assert!(synced.joined(&room).is_null());
    }
    let after = bob.sync().await;
    assert!(
        bob.sync_since(&after).await.invited(&room).is_null(),
        "told once"
    );
}

#[tokio::test]
async fn a_joined_room_comes_whole_and_leaves_the_invitations() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice
        .create_room(json!({ "invite": [bob.user_id], "name": "n" }))
        .await;
    alice.say(&room, "before").await;
    let invited = bob.sync().await;
    bob.join(&room).await;
    let synced = bob.sync_since(&invited).await;
    assert!(synced.invited(&room).is_null());
    let all: Vec<&Value> = synced
        .state(&room)
        .iter()
        .chain(synced.timeline(&room))
        .collect();
    for kind in ["m.room.create", "m.room.name", "m.room.power_levels"] {
        assert!(all.iter().any(|event| event["type"] == kind), "{kind}");
    }
    let own = all
        .iter()
        .rev()
        .find(|event| event["state_key"] == bob.user_id.as_str())
        .unwrap();
    assert_eq!(own["content"]["membership"], "join");
}

#[tokio::test]
async fn a_left_room_is_told_once_with_its_end() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let first = bob.sync().await;
    let last = alice.say(&room, "last words").await;
    bob.leave(&room).await;
    alice.say(&room, "behind the door").await;
    let synced = bob.sync_since(&first).await;
    assert!(synced.joined(&room).is_null());
    let timeline = synced.left(&room)["timeline"]["events"].as_array().unwrap();
    assert_eq!(timeline.len(), 2, "{timeline:?}");
    assert_eq!(timeline[0]["event_id"], last.as_str());
    assert_eq!(timeline[1]["content"]["membership"], "leave");
    assert!(bob.sync_since(&synced).await.left(&room).is_null());
}

#[tokio::test]
async fn the_kicked_learn_by_whom_and_why() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let first = bob.sync().await;
    let body = json!({ "user_id": bob.user_id, "reason": "enough" });
    alice.post(format!("v3/rooms/{room}/kick"), body).await.ok();
    let synced = bob.sync_since(&first).await;
    let timeline = synced.left(&room)["timeline"]["events"].as_array().unwrap();
    let kick = timeline.last().unwrap();
    assert_eq!(kick["sender"], alice.user_id.as_str());
    assert_eq!(kick["content"]["reason"], "enough");
}

#[tokio::test]
async fn leaving_and_coming_back_between_two_syncs_is_joined() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let first = bob.sync().await;
    bob.leave(&room).await;
    let missed = alice.say(&room, "while away").await;
    bob.join(&room).await;
    let back = alice.say(&room, "welcome back").await;
    let synced = bob.sync_since(&first).await;
    assert!(synced.left(&room).is_null());
    let ids = harness::event_ids(synced.timeline(&room));
    assert!(ids.contains(&back.as_str()));
    // Shared history: what was said meanwhile is readable for a member.
    bob.event(&room, &missed).await.ok();
}

#[tokio::test]
async fn a_turned_down_invitation_is_told_to_all_ones_devices() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let phone = bob.another_device().await;
    let room = alice.create_room(json!({ "invite": [bob.user_id] })).await;
    let (bobs, phones) = (bob.sync().await, phone.sync().await);
    phone.leave(&room).await;
    for (device, since) in [(&bob, &bobs), (&phone, &phones)] {
        let synced = device.sync_since(since).await;
        assert!(!synced.left(&room).is_null(), "{:?}", synced.0);
        assert!(synced.invited(&room).is_null());
    }
}

#[tokio::test]
async fn an_invitation_taken_back_leaves() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice
        .create_room(json!({ "invite": [bob.user_id], "name": "secret-plan" }))
        .await;
    let invited = bob.sync().await;
    alice.act_on("kick", &room, &bob).await.ok();
    alice
        .set_state(&room, "m.room.topic", "", json!({ "topic": "after-him" }))
        .await;
    let synced = bob.sync_since(&invited).await;
    assert!(!synced.left(&room).is_null(), "{:?}", synced.0);
    assert!(!synced.0.to_string().contains("after-him"));
    assert!(bob.sync().await.invited(&room).is_null());
}

#[tokio::test]
async fn a_knock_is_seen_by_those_who_can_answer_it() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let rule = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let room = alice.create_room(json!({ "initial_state": rule })).await;
    let (alices, bobs) = (alice.sync().await, bob.sync().await);
    bob.post(format!("v3/knock/{room}"), json!({})).await.ok();
    let synced = alice.sync_since(&alices).await;
    let knock = find_event(synced.timeline(&room), "m.room.member").unwrap();
    assert_eq!(knock["content"]["membership"], "knock");
    let synced = bob.sync_since(&bobs).await;
    assert!(
        synced.0["rooms"]["knock"][&room].is_object(),
        "{:?}",
        synced.0
    );
    alice.say(&room, "who is there").await;
    let next = bob.sync_since(&synced).await;
    assert!(!next.0.to_string().contains("who is there"));
    alice.act_on("kick", &room, &bob).await.ok();
    let refused = bob.sync_since(&synced).await;
    assert!(!refused.left(&room).is_null(), "{:?}", refused.0);
}

#[tokio::test]
async fn a_knock_taken_back_is_over() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let rule = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let room = alice.create_room(json!({ "initial_state": rule })).await;
    bob.post(format!("v3/knock/{room}"), json!({})).await.ok();
    bob.leave(&room).await;
    let synced = bob.sync().await;
    assert!(synced.0["rooms"]["knock"][&room].is_null());
    let member = alice.state(&room, "m.room.member", &bob.user_id).await.ok();
    assert_eq!(member["membership"], "leave");
}

#[tokio::test]
async fn a_new_member_is_counted() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.public_room().await;
    let first = alice.sync().await;
    bob.join(&room).await;
    let synced = alice.sync_since(&first).await;
    let summary = &synced.joined(&room)["summary"];
    assert_eq!(summary["m.joined_member_count"], 2, "{summary}");
    assert_eq!(summary["m.heroes"], json!([bob.user_id]), "{summary}");
}
