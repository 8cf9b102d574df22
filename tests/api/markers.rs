//! Receipts, read markers, unread counts and typing.

use harness::{Api, Synced, User};
use serde_json::{Value, json};

use crate::server;

async fn pair(api: &Api) -> (String, User, User) {
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    (room, alice, bob)
}

async fn receipt(user: &User, room: &str, kind: &str, event: &str, body: Value) -> harness::Answer {
    user.post(format!("v3/rooms/{room}/receipt/{kind}/{event}"), body)
        .await
}

fn count(synced: &Synced, room: &str) -> u64 {
    synced.joined(room)["unread_notifications"]["notification_count"]
        .as_u64()
        .unwrap_or(0)
}

#[tokio::test]
async fn a_receipt_reaches_the_others() {
    let (room, alice, bob) = pair(&server()).await;
    let said = alice.say(&room, "hello").await;
    let before = alice.sync().await;
    receipt(&bob, &room, "m.read", &said, json!({})).await.ok();
    let (content, _) = alice
        .sync_until(&before, "bob's receipt", |synced| {
            Some(synced.ephemeral(&room, "m.receipt")?["content"].clone())
        })
        .await;
    let mark = &content[&said]["m.read"][&bob.user_id];
    assert!(
        mark["ts"].as_u64().unwrap() > 1_600_000_000_000,
        "{content}"
    );
    let first = alice.sync().await;
    let content = &first.ephemeral(&room, "m.receipt").unwrap()["content"];
    assert!(content[&said]["m.read"][&bob.user_id].is_object());
}

#[tokio::test]
async fn a_newer_receipt_replaces_the_older() {
    let (room, alice, bob) = pair(&server()).await;
    let (one, two) = (alice.say(&room, "one").await, alice.say(&room, "two").await);
    receipt(&bob, &room, "m.read", &one, json!({})).await.ok();
    receipt(&bob, &room, "m.read", &two, json!({})).await.ok();
    let synced = alice.sync().await;
    let content = &synced.ephemeral(&room, "m.receipt").unwrap()["content"];
    assert!(
        content[&two]["m.read"][&bob.user_id].is_object(),
        "{content}"
    );
    assert!(content[&one]["m.read"][&bob.user_id].is_null(), "{content}");
}

#[tokio::test]
async fn receipts_of_threads_stand_apart() {
    let (room, alice, bob) = pair(&server()).await;
    let root = alice.say(&room, "root").await;
    receipt(&bob, &room, "m.read", &root, json!({ "thread_id": "main" }))
        .await
        .ok();
    let relation = json!({ "rel_type": "m.thread", "event_id": root });
    let content = json!({ "msgtype": "m.text", "body": "in it", "m.relates_to": relation });
    let inner = alice.send_event(&room, "m.room.message", content).await;
    receipt(&bob, &room, "m.read", &inner, json!({ "thread_id": root }))
        .await
        .ok();
    let synced = alice.sync().await;
    let content = &synced.ephemeral(&room, "m.receipt").unwrap()["content"];
    assert_eq!(
        content[&root]["m.read"][&bob.user_id]["thread_id"], "main",
        "{content}"
    );
    assert_eq!(
        content[&inner]["m.read"][&bob.user_id]["thread_id"],
        root.as_str(),
        "{content}"
    );
    let wrong = receipt(&bob, &room, "m.read", &inner, json!({ "thread_id": "" })).await;
    assert_eq!(wrong.status, 400, "{wrong:?}");
    let wrong = receipt(
        &bob,
        &room,
        "m.fully_read",
        &inner,
        json!({ "thread_id": "main" }),
    )
    .await;
    assert_eq!(wrong.status, 400, "{wrong:?}");
}

#[tokio::test]
async fn a_private_receipt_stays_with_its_user() {
    let (room, alice, bob) = pair(&server()).await;
    let said = alice.say(&room, "hello").await;
    let phone = bob.another_device().await;
    let (before, phone_before) = (alice.sync().await, phone.sync().await);
    receipt(&bob, &room, "m.read.private", &said, json!({}))
        .await
        .ok();
    let (content, _) = phone
        .sync_until(&phone_before, "one's own receipt", |synced| {
            Some(synced.ephemeral(&room, "m.receipt")?["content"].clone())
        })
        .await;
    assert!(content[&said]["m.read.private"][&bob.user_id].is_object());
    let quiet = alice.sync_since(&before).await;
    assert!(
        !quiet.0.to_string().contains("m.read.private"),
        "{:?}",
        quiet.0
    );
    assert!(!alice.sync().await.0.to_string().contains("m.read.private"));
    assert_eq!(count(&bob.sync().await, &room), 0, "it counts as read");
}

#[tokio::test]
async fn receipts_are_checked() {
    let api = server();
    let (room, alice, bob) = pair(&api).await;
    let said = alice.say(&room, "hello").await;
    receipt(&bob, &room, "m.nonsense", &said, json!({}))
        .await
        .refused(400, "M_INVALID_PARAM");
    let outsider = api.register("outsider").await;
    let answer = receipt(&outsider, &room, "m.read", &said, json!({})).await;
    answer.refused(403, "M_FORBIDDEN");
    let elsewhere = bob.public_room().await;
    let answer = receipt(&bob, &elsewhere, "m.read", &said, json!({})).await;
    assert!((400..=404).contains(&answer.status), "{answer:?}");
    let path = format!("v3/rooms/{room}/receipt/m.read/{said}");
    bob.raw(reqwest::Method::POST, path, "{")
        .await
        .refused(400, "M_NOT_JSON");
}

#[tokio::test]
async fn the_fully_read_marker_is_account_data() {
    let (room, alice, bob) = pair(&server()).await;
    let said = alice.say(&room, "hello").await;
    let before = alice.sync().await;
    let body = json!({ "m.fully_read": said, "m.read": said });
    bob.post(format!("v3/rooms/{room}/read_markers"), body)
        .await
        .ok();
    let path = format!(
        "v3/user/{}/rooms/{room}/account_data/m.fully_read",
        bob.user_id
    );
    assert_eq!(bob.get(path).await.ok()["event_id"], said.as_str());
    let synced = alice.sync_since(&before).await;
    let content = &synced.ephemeral(&room, "m.receipt").unwrap()["content"];
    assert!(content[&said]["m.read"][&bob.user_id].is_object());
    assert!(
        !synced.0.to_string().contains("m.fully_read"),
        "alice sees bob's marker"
    );

    let newer = alice.say(&room, "newer").await;
    receipt(&bob, &room, "m.fully_read", &newer, json!({}))
        .await
        .ok();
    let synced = bob.sync().await;
    let events = synced.joined(&room)["account_data"]["events"]
        .as_array()
        .unwrap();
    let marker = harness::find_event(events, "m.fully_read").unwrap();
    assert_eq!(marker["content"]["event_id"], newer.as_str());
}

#[tokio::test]
async fn a_marker_stands_in_its_own_room() {
    let api = server();
    let (room, alice, bob) = pair(&api).await;
    let elsewhere = bob.public_room().await;
    let said = alice.say(&room, "hello").await;
    let path = format!("v3/rooms/{elsewhere}/read_markers");
    let answer = bob.post(path, json!({ "m.fully_read": said })).await;
    assert!((400..=404).contains(&answer.status), "{answer:?}");
    let outsider = api.register("outsider").await;
    let path = format!("v3/rooms/{room}/read_markers");
    outsider
        .post(path, json!({ "m.read": said }))
        .await
        .refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn unread_messages_are_counted_until_they_are_read() {
    let (room, alice, bob) = pair(&server()).await;
    assert_eq!(count(&bob.sync().await, &room), 0);
    let mut last = String::new();
    for number in 0..3 {
        last = alice.say(&room, &format!("number {number}")).await;
    }
    let synced = bob.sync().await;
    assert_eq!(count(&synced, &room), 3);
    assert_eq!(
        count(&alice.sync().await, &room),
        0,
        "one's own do not count"
    );
    receipt(&bob, &room, "m.read", &last, json!({})).await.ok();
    let (_, after) = bob
        .sync_until(&synced, "the count", |synced| {
            synced.joined(&room)["unread_notifications"]
                .is_object()
                .then_some(())
        })
        .await;
    assert_eq!(count(&after, &room), 0);
    alice.say(&room, "again").await;
    assert_eq!(count(&bob.sync().await, &room), 1);
    // Who answers has read what was before.
    bob.say(&room, "an answer").await;
    assert_eq!(count(&bob.sync().await, &room), 0);
}

#[tokio::test]
async fn who_is_mentioned_is_told_louder() {
    let (room, alice, bob) = pair(&server()).await;
    let content = json!({
        "msgtype": "m.text", "body": "you there?", "m.mentions": { "user_ids": [bob.user_id] },
    });
    alice.send_event(&room, "m.room.message", content).await;
    let synced = bob.sync().await;
    assert_eq!(
        synced.joined(&room)["unread_notifications"]["highlight_count"],
        1
    );
    assert_eq!(count(&synced, &room), 1);
}

#[tokio::test]
async fn who_types_is_seen_until_it_stops() {
    let (room, alice, bob) = pair(&server()).await;
    let path = format!("v3/rooms/{room}/typing/{}", bob.user_id);
    let before = alice.sync().await;
    bob.put(&path, json!({ "typing": true, "timeout": 30_000 }))
        .await
        .ok();
    let typing = |expected: Value| {
        let room = room.clone();
        move |synced: &Synced| {
            let event = synced.ephemeral(&room, "m.typing")?;
            (event["content"]["user_ids"] == expected).then_some(())
        }
    };
    let (_, seen) = alice
        .sync_until(&before, "bob types", typing(json!([bob.user_id])))
        .await;
    bob.put(&path, json!({ "typing": false })).await.ok();
    let (_, seen) = alice
        .sync_until(&seen, "bob stops", typing(json!([])))
        .await;
    bob.put(&path, json!({ "typing": true, "timeout": 500 }))
        .await
        .ok();
    let (_, seen) = alice
        .sync_until(&seen, "bob types", typing(json!([bob.user_id])))
        .await;
    alice
        .sync_until(&seen, "the time is over", typing(json!([])))
        .await;
}

#[tokio::test]
async fn one_types_for_oneself_and_where_one_is() {
    let api = server();
    let (room, alice, bob) = pair(&api).await;
    let body = json!({ "typing": true, "timeout": 1_000 });
    let others = format!("v3/rooms/{room}/typing/{}", alice.user_id);
    bob.put(&others, body.clone())
        .await
        .refused(403, "M_FORBIDDEN");
    let outsider = api.register("outsider").await;
    let own = format!("v3/rooms/{room}/typing/{}", outsider.user_id);
    outsider.put(&own, body).await.refused(403, "M_FORBIDDEN");
}
