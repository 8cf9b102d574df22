//! `use_state_after`: the state at the end of the timeline instead of before it.

use harness::{event_ids, find_event};
use serde_json::json;

use crate::server;

#[tokio::test]
async fn the_state_after_holds_what_the_timeline_changed() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let first = alice.sync().await;
    let topic = alice
        .set_state(&room, "m.room.topic", "", json!({ "topic": "t" }))
        .await;
    let said = alice.say(&room, "hello").await;
    let query = format!(
        "timeout=0&use_state_after=true&since={}",
        first.next_batch()
    );
    let synced = alice.sync_with(&query).await;
    let joined = synced.joined(&room);
    assert_eq!(
        event_ids(synced.timeline(&room)),
        [topic.as_str(), said.as_str()]
    );
    let after = joined["state_after"]["events"].as_array().unwrap();
    assert_eq!(event_ids(after), [topic.as_str()]);
    assert!(joined["state"].is_null(), "one or the other: {joined}");
}

#[tokio::test]
async fn the_state_after_of_a_first_sync_is_the_current_state() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    alice
        .set_state(&room, "m.room.topic", "", json!({ "topic": "old" }))
        .await;
    let new = alice
        .set_state(&room, "m.room.topic", "", json!({ "topic": "new" }))
        .await;
    let synced = alice.sync_with("timeout=0&use_state_after=true").await;
    let after = synced.joined(&room)["state_after"]["events"]
        .as_array()
        .unwrap();
    let topics: Vec<_> = after
        .iter()
        .filter(|event| event["type"] == "m.room.topic")
        .collect();
    assert_eq!(topics.len(), 1);
    assert_eq!(topics[0]["event_id"], new.as_str());
    assert!(find_event(after, "m.room.create").is_some());
}

#[tokio::test]
async fn without_the_wish_there_is_no_state_after() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let synced = alice.sync().await;
    assert!(synced.joined(&room)["state_after"].is_null());
}

#[tokio::test]
async fn a_left_room_has_it_too() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let first = bob.sync().await;
    bob.leave(&room).await;
    let query = format!(
        "timeout=0&use_state_after=true&since={}",
        first.next_batch()
    );
    let synced = bob.sync_with(&query).await;
    let after = synced.left(&room)["state_after"]["events"]
        .as_array()
        .unwrap();
    let own = find_event(after, "m.room.member").unwrap();
    assert_eq!(own["content"]["membership"], "leave");
}
