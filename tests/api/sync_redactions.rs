//! Redactions that a client does not see: what they took away is told again.

use harness::{Synced, User, find_event};
use serde_json::{Value, json};

use crate::{
    server,
    sliding_sync::{Slid, begin, next},
};

const KIND: &str = "test.cairn.note";

/// The note in some state, by its key.
fn note<'a>(state: &'a [Value], key: &str) -> Option<&'a Value> {
    let is_it = |event: &&Value| event["type"] == KIND && event["state_key"] == key;
    state.iter().find(is_it)
}

/// One event of the timeline, and the notes.
fn asked() -> Value {
    json!({ "lists": { "all": {
        "ranges": [[0, 9]],
        "timeline_limit": 1,
        "required_state": [[KIND, "*"]],
    } } })
}

fn required<'a>(slid: &'a Slid, room: &str) -> &'a [Value] {
    let state = slid.room(room)["required_state"].as_array();
    state.map_or(&[], Vec::as_slice)
}

async fn sync_one(user: &User, earlier: &Synced, more: &str) -> Synced {
    let filter = json!({ "room": { "timeline": { "limit": 1 } } });
    let since = format!("{}{more}", earlier.next_batch());
    user.sync_filtered(&filter, &since).await
}

#[tokio::test]
async fn redacted_state_of_a_gap_is_told_again() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let text = json!({ "text": "a secret" });
    let kept = alice.set_state(&room, KIND, "kept", text.clone()).await;
    let taken = alice.set_state(&room, KIND, "taken", text.clone()).await;
    let old = alice.set_state(&room, KIND, "old", text.clone()).await;
    let new = alice
        .set_state(&room, KIND, "old", json!({ "text": "public" }))
        .await;
    let before = bob.sync().await;
    let slid = begin(&bob, &asked()).await;
    assert_eq!(required(&slid, &room).len(), 3);
    alice.redact(&room, &taken).await;
    alice.redact(&room, &old).await;
    for text in ["one", "two"] {
        alice.say(&room, text).await;
    }

    let told = next(&bob, &slid, 0, &asked()).await;
    assert_eq!(told.room(&room)["limited"], true);
    let state = required(&told, &room);
    let redacted = note(state, "taken").expect("the redacted state");
    assert_eq!(redacted["event_id"], taken.as_str());
    assert_eq!(redacted["content"], json!({}));
    assert!(redacted["unsigned"]["redacted_because"].is_object());
    // Neither what was not redacted, nor what is not the state any more.
    assert_eq!(state.len(), 1, "{state:?} {kept} {new}");

    for (more, section) in [("", "state"), ("&use_state_after=true", "state_after")] {
        let synced = sync_one(&bob, &before, more).await;
        assert_eq!(synced.joined(&room)["timeline"]["limited"], true);
        let state = synced.joined(&room)[section]["events"].as_array().unwrap();
        let redacted = note(state, "taken").expect(section);
        assert_eq!(redacted["event_id"], taken.as_str());
        assert_eq!(redacted["content"], json!({}));
        assert_eq!(note(state, "kept"), None, "{section}");
        assert_eq!(note(state, "old"), None, "{section}");
        // Once is enough.
        alice.say(&room, "three").await;
        let again = sync_one(&bob, &synced, more).await;
        let state = again.joined(&room)[section]["events"].as_array();
        assert!(state.is_none_or(Vec::is_empty), "{again:?}");
    }
    let again = next(&bob, &told, 0, &asked()).await;
    assert_eq!(required(&again, &room).len(), 0, "{:?}", again.0);
}

#[tokio::test]
async fn a_redaction_that_is_seen_says_enough() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let taken = alice
        .set_state(&room, KIND, "taken", json!({ "a": 1 }))
        .await;
    let before = bob.sync().await;
    let slid = begin(&bob, &asked()).await;
    alice.redact(&room, &taken).await;
    let told = next(&bob, &slid, 0, &asked()).await;
    assert_eq!(told.timeline(&room)[0]["type"], "m.room.redaction");
    assert_eq!(required(&told, &room).len(), 0, "{:?}", told.0);
    let synced = bob.sync_since(&before).await;
    assert!(find_event(synced.timeline(&room), "m.room.redaction").is_some());
    assert_eq!(note(synced.state(&room), "taken"), None);
    // One that the client has filtered out is as good as one in a gap.
    let filter = json!({ "room": { "timeline": { "not_types": ["m.room.redaction"] } } });
    let synced = bob.sync_filtered(&filter, before.next_batch()).await;
    let redacted = note(synced.state(&room), "taken").expect("the redacted state");
    assert_eq!(redacted["content"], json!({}));
}

#[tokio::test]
async fn what_relates_to_an_event_comes_with_it() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let said = alice.say(&room, "frist").await;
    let edit = json!({
        "msgtype": "m.text", "body": "* first",
        "m.new_content": { "msgtype": "m.text", "body": "first" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": said },
    });
    let edit = alice.send_event(&room, "m.room.message", edit).await;
    let reply = json!({
        "msgtype": "m.text", "body": "in a thread",
        "m.relates_to": { "rel_type": "m.thread", "event_id": said },
    });
    let reply = alice.send_event(&room, "m.room.message", reply).await;
    let mut body = asked();
    body["lists"]["all"]["timeline_limit"] = 10.into();
    let slid = begin(&bob, &body).await;
    let event = slid.timeline(&room).iter();
    let event = event
        .clone()
        .find(|event| event["event_id"] == said.as_str());
    let relations = &event.expect("the event")["unsigned"]["m.relations"];
    assert_eq!(relations["m.replace"]["event_id"], edit.as_str());
    assert_eq!(
        relations["m.thread"]["latest_event"]["event_id"],
        reply.as_str()
    );
    assert_eq!(relations["m.thread"]["count"], 1);
}
