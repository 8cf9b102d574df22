//! Rooms that one has left, as `/sync` shows them.

use harness::{Synced, User, event_ids};
use serde_json::{Value, json};

use crate::server;

async fn archive(user: &User, since: &str) -> Synced {
    let timeline = json!({ "limit": 50 });
    let filter = json!({ "room": { "include_leave": true, "timeline": timeline } });
    user.sync_filtered(&filter, since).await
}

fn left_timeline<'a>(synced: &'a Synced, room: &str) -> Vec<&'a str> {
    event_ids(synced.left(room)["timeline"]["events"].as_array().unwrap())
}

/// Asserts that nothing said or set after the user had left is told.
fn tells_nothing_late(synced: &Synced) {
    let text = synced.0.to_string();
    for late in ["said-late", "named-late"] {
        assert!(!text.contains(late), "{text}");
    }
}

async fn go_on(user: &User, room: &str) {
    user.say(room, "said-late").await;
    user.set_state(room, "m.room.name", "", json!({ "name": "named-late" }))
        .await;
}

#[tokio::test]
async fn a_left_room_is_shown_as_it_was() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice
        .create_room(json!({ "preset": "public_chat", "name": "Council" }))
        .await;
    bob.join(&room).await;
    let said = alice.say(&room, "hello").await;
    let own = bob.say(&room, "goodbye").await;
    bob.leave(&room).await;
    go_on(&alice, &room).await;
    assert!(
        bob.sync().await.left(&room).is_null(),
        "nobody asked for it"
    );
    let synced = archive(&bob, "").await;
    tells_nothing_late(&synced);
    let timeline = left_timeline(&synced, &room);
    assert!(timeline.contains(&said.as_str()) && timeline.contains(&own.as_str()));
    let events = synced.left(&room)["timeline"]["events"].as_array().unwrap();
    let last = events.last().unwrap();
    assert_eq!(last["state_key"], bob.user_id.as_str());
    assert_eq!(last["content"]["membership"], "leave");
    let whole = synced.left(&room).to_string();
    assert!(whole.contains("Council"), "{whole}");
    // What was before is still there to be read.
    let from = synced.left(&room)["timeline"]["prev_batch"]
        .as_str()
        .unwrap();
    let page = bob
        .get(format!("v3/rooms/{room}/messages?dir=b&from={from}"))
        .await;
    page.ok();
    let path = format!("v3/rooms/{room}/forget");
    bob.post(path, json!({})).await.ok();
    assert!(archive(&bob, "").await.left(&room).is_null());
}

#[tokio::test]
async fn leaving_is_told_once() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let before = bob.sync().await;
    let said = alice.say(&room, "hello").await;
    bob.leave(&room).await;
    go_on(&alice, &room).await;
    let synced = bob.sync_since(&before).await;
    tells_nothing_late(&synced);
    assert_eq!(left_timeline(&synced, &room)[0], said);
    assert!(synced.joined(&room).is_null());
    let next = bob.sync_since(&synced).await;
    assert!(next.left(&room).is_null(), "{:?}", next.0);
}

#[tokio::test]
async fn a_ban_long_after_leaving_shows_nothing_of_between() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let before = bob.sync().await;
    bob.leave(&room).await;
    let gone = bob.sync_since(&before).await;
    go_on(&alice, &room).await;
    alice.act_on("ban", &room, &bob).await.ok();
    go_on(&alice, &room).await;
    for since in [gone.next_batch(), before.next_batch(), ""] {
        for full_state in ["", "&full_state=true"] {
            let filter = json!({ "room": { "include_leave": true } });
            let filter = harness::escape(&filter.to_string());
            let since = if since.is_empty() {
                String::new()
            } else {
                format!("&since={since}")
            };
            let query = format!("timeout=0&filter={filter}{since}{full_state}");
            let synced = bob.sync_with(&query).await;
            tells_nothing_late(&synced);
            let events = synced.left(&room)["timeline"]["events"].as_array().unwrap();
            let last = events.last().unwrap();
            assert_eq!(last["content"]["membership"], "ban", "{query}: {last}");
        }
    }
}

#[tokio::test]
async fn an_invitation_refused_after_leaving_shows_nothing_of_between() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    bob.leave(&room).await;
    let gone = bob.sync().await;
    go_on(&alice, &room).await;
    alice.invite(&room, &bob).await;
    let invited = bob.sync_since(&gone).await;
    assert!(!invited.invited(&room).is_null());
    alice.say(&room, "said-late").await;
    bob.leave(&room).await;
    for since in [gone.next_batch(), invited.next_batch(), ""] {
        let synced = archive(&bob, since).await;
        let timeline = synced.left(&room)["timeline"].to_string();
        assert!(!timeline.contains("said-late"), "{timeline}");
        let state = synced.left(&room)["state"].to_string();
        assert!(!state.contains("named-late"), "{state}");
    }
}

#[tokio::test]
async fn who_comes_back_gets_the_gap() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    bob.leave(&room).await;
    let gone = bob.sync().await;
    alice.say(&room, "said-late").await;
    bob.join(&room).await;
    let synced = bob.sync_since(&gone).await;
    let text = synced.joined(&room).to_string();
    assert!(text.contains("said-late"), "{text}");
    let kinds: Vec<&Value> = synced
        .timeline(&room)
        .iter()
        .map(|event| &event["type"])
        .collect();
    assert!(kinds.contains(&&json!("m.room.member")), "{kinds:?}");
}

#[tokio::test]
async fn a_left_room_without_a_timeline_tells_that_one_has_left() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let before = bob.sync().await;
    alice
        .set_state(&room, "test.state", "", json!({ "when": "before" }))
        .await;
    bob.leave(&room).await;
    alice
        .set_state(&room, "test.state", "", json!({ "when": "after" }))
        .await;
    let filter = json!({ "room": { "include_leave": true, "timeline": { "limit": 0 } } });
    for since in ["", before.next_batch()] {
        let synced = bob.sync_filtered(&filter, since).await;
        let state = synced.left(&room)["state"]["events"].as_array().unwrap();
        let of = |kind: &str, key: &str| {
            let mut events = state.iter().filter(|event| event["type"] == kind);
            events.find(|event| event["state_key"] == key).unwrap()["content"].clone()
        };
        assert_eq!(of("test.state", "")["when"], "before");
        assert_eq!(of("m.room.member", &bob.user_id)["membership"], "leave");
        let timeline = synced.left(&room)["timeline"]["events"].as_array();
        assert_eq!(timeline.unwrap().len(), 0);
    }
}
