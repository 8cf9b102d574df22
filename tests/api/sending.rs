//! `PUT /rooms/{roomId}/send/{eventType}/{txnId}`

use harness::Synced;
use serde_json::{Value, json};

use crate::server;

#[tokio::test]
async fn a_message_arrives_as_it_was_sent() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let before = bob.sync().await;
    let content = json!({
        "msgtype": "m.text", "body": "grüß Gott \u{1F600} \u{0000}", "org.example.more": [1, null],
    });
    let id = alice
        .send_event(&room, "m.room.message", content.clone())
        .await;
    let (event, _) = bob
        .sync_until(&before, "the message", |synced| {
            synced.timeline(&room).first().cloned()
        })
        .await;
    assert_eq!(event["event_id"], id.as_str());
    assert_eq!(event["content"], content);
    assert_eq!(event["sender"], alice.user_id.as_str());
    assert!(event["unsigned"]["transaction_id"].is_null(), "not bob's");
    assert!(event["unsigned"]["age"].is_i64(), "{event}");
    assert_eq!(bob.event(&room, &id).await.ok()["content"], content);
}

#[tokio::test]
async fn a_transaction_id_is_taken_once_per_device() {
    let api = server();
    let alice = api.register("alice").await;
    let other = alice.another_device().await;
    let room = alice.room_with(&[&other]).await;
    let path = format!("v3/rooms/{room}/send/m.room.message/once");
    let body = |text: &str| json!({ "msgtype": "m.text", "body": text });
    let first = alice.put(&path, body("one")).await.ok()["event_id"].clone();
    let again = alice.put(&path, body("two")).await.ok()["event_id"].clone();
    assert_eq!(first, again);
    let event = alice.event(&room, first.as_str().unwrap()).await.ok();
    assert_eq!(event["content"]["body"], "one");
    let theirs = other.put(&path, body("three")).await.ok()["event_id"].clone();
    assert_ne!(first, theirs, "another device counts for itself");
    let redact = format!("v3/rooms/{room}/redact/{}/once", first.as_str().unwrap());
    let redaction = alice.put(redact, json!({})).await.ok()["event_id"].clone();
    assert_ne!(first, redaction, "another endpoint is another request");
}

#[tokio::test]
async fn who_repeats_a_transaction_need_not_say_what_again() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let path = format!("v3/rooms/{room}/send/m.room.message/once");
    let again = async || alice.raw(reqwest::Method::PUT, &path, "").await;
    again().await.refused(400, "M_NOT_JSON");
    let body = json!({ "msgtype": "m.text", "body": "one" });
    let first = alice.put(&path, body).await.ok();
    assert_eq!(again().await.ok(), first);
    let other = format!("v3/rooms/{room}/send/m.other/once");
    let other = alice.raw(reqwest::Method::PUT, &other, "").await;
    other.refused(400, "M_NOT_JSON");
    let anonymous = alice.anonymous();
    let anonymous = anonymous.raw(reqwest::Method::PUT, &path, "").await;
    anonymous.refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn twenty_repeats_at_once_make_one_event() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let before = alice.sync().await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (alice, path) = (alice.clone(), format!("v3/rooms/{room}/send/m.test/same"));
        waiting.spawn(async move { alice.put(path, json!({})).await.ok()["event_id"].to_string() });
    }
    let mut ids = waiting.join_all().await;
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(alice.sync_since(&before).await.timeline(&room).len(), 1);
}

#[tokio::test]
async fn the_sending_device_finds_its_transaction_id() {
    let alice = server().register("alice").await;
    let other = alice.another_device().await;
    let room = alice.public_room().await;
    let (before, other_before) = (alice.sync().await, other.sync().await);
    let path = format!("v3/rooms/{room}/send/m.test/mine");
    let id = alice.put(path, json!({})).await.ok()["event_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let own = |synced: &Synced| synced.timeline(&room)[0]["unsigned"]["transaction_id"].clone();
    assert_eq!(own(&alice.sync_since(&before).await), "mine");
    assert_eq!(own(&other.sync_since(&other_before).await), Value::Null);
    let event = alice.event(&room, &id).await.ok();
    assert_eq!(event["unsigned"]["transaction_id"], "mine");
    let page = alice
        .get(format!("v3/rooms/{room}/messages?dir=b&limit=1"))
        .await
        .ok();
    assert_eq!(page["chunk"][0]["unsigned"]["transaction_id"], "mine");
}

#[tokio::test]
async fn an_outsider_cannot_speak() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.public_room().await;
    bob.try_send_event(&room, "m.test", json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    let answer = bob
        .try_send_event("!nothing:localhost", "m.test", json!({}))
        .await;
    assert!(answer.status == 403 || answer.status == 404, "{answer:?}");
}

#[tokio::test]
async fn an_event_that_is_too_large_is_refused() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let content = |size: usize| json!({ "msgtype": "m.text", "body": "x".repeat(size) });
    let answer = alice
        .try_send_event(&room, "m.room.message", content(66_000))
        .await;
    answer.refused(413, "M_TOO_LARGE");
    alice
        .send_event(&room, "m.room.message", content(60_000))
        .await;
}

#[tokio::test]
async fn names_and_keys_that_are_too_long_are_refused() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let long = "k".repeat(256);
    let answer = alice.try_send_event(&room, &long, json!({})).await;
    answer.refused(413, "M_TOO_LARGE");
    let answer = alice
        .try_set_state(&room, "org.example", &long, json!({}))
        .await;
    answer.refused(413, "M_TOO_LARGE");
    // Bytes count, not letters.
    let answer = alice
        .try_set_state(&room, "org.example", &"ä".repeat(128), json!({}))
        .await;
    answer.refused(413, "M_TOO_LARGE");
    let fits = "k".repeat(255);
    alice
        .set_state(&room, "org.example", &fits, json!({}))
        .await;
    alice.send_event(&room, &fits, json!({})).await;
}

#[tokio::test]
async fn the_content_is_an_object() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    for content in [json!([]), json!("text"), json!(1), json!(null)] {
        alice
            .try_send_event(&room, "m.test", content)
            .await
            .refused(400, "M_BAD_JSON");
    }
    let path = format!("v3/rooms/{room}/send/m.test/broken");
    alice
        .raw(reqwest::Method::PUT, path, "{\"a\":")
        .await
        .refused(400, "M_NOT_JSON");
}

#[tokio::test]
async fn a_create_event_is_sent_once_per_room() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let answer = alice
        .try_set_state(&room, "m.room.create", "", json!({}))
        .await;
    assert!(answer.status == 400 || answer.status == 403, "{answer:?}");
}

#[tokio::test]
async fn a_second_like_reaction_is_refused() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let said = alice.say(&room, "hello").await;
    let content = |key: &str| json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": said, "key": key } });
    alice.send_event(&room, "m.reaction", content("+")).await;
    let again = alice
        .try_send_event(&room, "m.reaction", content("+"))
        .await;
    again.refused(400, "M_DUPLICATE_ANNOTATION");
    alice.send_event(&room, "m.reaction", content("-")).await;
}

#[tokio::test]
async fn what_a_hundred_senders_were_told_is_there() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let before = alice.sync().await;
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..100 {
        let (alice, room) = (alice.clone(), room.clone());
        waiting.spawn(async move { alice.say(&room, &format!("number {number}")).await });
    }
    let mut sent = waiting.join_all().await;
    let filter = json!({ "room": { "timeline": { "limit": 100 } } });
    let synced = alice.sync_filtered(&filter, before.next_batch()).await;
    let mut seen: Vec<String> = harness::event_ids(synced.timeline(&room))
        .into_iter()
        .map(str::to_owned)
        .collect();
    sent.sort();
    seen.sort();
    assert_eq!(sent, seen);
}
