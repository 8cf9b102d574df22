//! Threads: their list, their receipts, what of them is unread.

use harness::{Synced, User, event_ids};
use serde_json::{Value, json};

use crate::{relations::related, server};

async fn reply(user: &User, room: &str, root: &str, text: &str) -> String {
    let content = related("m.thread", root, text);
    user.send_event(room, "m.room.message", content).await
}

async fn read(user: &User, room: &str, event: &str, thread: Value) -> harness::Answer {
    let body = match thread {
        Value::Null => json!({}),
        thread => json!({ "thread_id": thread }),
    };
    user.post(format!("v3/rooms/{room}/receipt/m.read/{event}"), body)
        .await
}

async fn synced(user: &User) -> Synced {
    let timeline = json!({ "unread_thread_notifications": true });
    let filter = json!({ "room": { "timeline": timeline } });
    user.sync_filtered(&filter, "").await
}

/// What is unread in the main timeline and in a thread.
async fn unread(user: &User, room: &str, root: &str) -> (u64, u64) {
    let synced = synced(user).await;
    let joined = synced.joined(room);
    let count = |value: &Value| value["notification_count"].as_u64().unwrap_or(0);
    (
        count(&joined["unread_notifications"]),
        count(&joined["unread_thread_notifications"][root]),
    )
}

#[tokio::test]
async fn threads_are_listed_newest_first() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice.room_with(&[&bob, &carol]).await;
    let mut roots = Vec::new();
    for number in 0..3 {
        let root = alice.say(&room, &format!("root {number}")).await;
        reply(&alice, &room, &root, "first").await;
        roots.push(root);
    }
    alice.say(&room, "no thread").await;
    reply(&bob, &room, &roots[0], "again").await;
    let list = async |user: &User, query: &str| {
        let answer = user
            .get(format!("v1/rooms/{room}/threads{query}"))
            .await
            .ok();
        let ids: Vec<String> = event_ids(answer["chunk"].as_array().unwrap())
            .iter()
            .map(ToString::to_string)
            .collect();
        (ids, answer["next_batch"].as_str().map(str::to_owned))
    };
    let expected = [roots[0].clone(), roots[2].clone(), roots[1].clone()];
    assert_eq!(list(&carol, "").await, (expected.to_vec(), None));
    let (first, next) = list(&carol, "?limit=2").await;
    assert_eq!(first, expected[..2]);
    let rest = list(&carol, &format!("?limit=2&from={}", next.unwrap())).await;
    assert_eq!(rest, (vec![expected[2].clone()], None));
    assert_eq!(
        list(&bob, "?include=participated").await.0,
        [roots[0].clone()]
    );
    assert_eq!(list(&alice, "?include=participated").await.0.len(), 3);
    assert!(list(&carol, "?include=participated").await.0.is_empty());
    for wrong in ["from=nonsense", "limit=0", "include=some"] {
        let answer = carol.get(format!("v1/rooms/{room}/threads?{wrong}")).await;
        answer.refused(400, "M_INVALID_PARAM");
    }
    let stranger = api.register("stranger").await;
    for room in [room.as_str(), "!nothing:localhost"] {
        let answer = stranger.get(format!("v1/rooms/{room}/threads")).await;
        answer.refused(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn a_thread_hidden_from_somebody_is_not_listed() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let root = alice.say(&room, "root").await;
    bob.leave(&room).await;
    reply(&alice, &room, &root, "said-late").await;
    let answer = bob.get(format!("v1/rooms/{room}/threads")).await;
    assert!(!answer.text.contains("said-late"), "{answer:?}");
    assert_eq!(answer.ok()["chunk"], json!([]));
}

#[tokio::test]
async fn no_thread_begins_within_another() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let root = alice.say(&room, "root").await;
    let inner = reply(&alice, &room, &root, "inner").await;
    let content = related("m.thread", &inner, "nested");
    alice
        .try_send_event(&room, "m.room.message", content)
        .await
        .refused(400, "M_UNKNOWN");
    let thread = &alice.event(&room, &root).await.ok()["unsigned"]["m.relations"]["m.thread"];
    assert_eq!(thread["count"], 1);
}

#[tokio::test]
async fn each_thread_has_its_own_counts_and_receipts() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let root = alice.say(&room, "root").await;
    let main = alice.say(&room, "beside it").await;
    let first = reply(&alice, &room, &root, "first").await;
    let second = reply(&alice, &room, &root, "second").await;
    assert_eq!(unread(&bob, &room, &root).await, (2, 2));
    // Clients that know no threads are told of all together.
    let whole = bob.sync().await;
    let counts = &whole.joined(&room)["unread_notifications"];
    assert_eq!(counts["notification_count"], 4, "{counts}");
    assert!(whole.joined(&room)["unread_thread_notifications"].is_null());
    read(&bob, &room, &main, json!("main")).await.ok();
    assert_eq!(unread(&bob, &room, &root).await, (0, 2));
    read(&bob, &room, &first, json!(root)).await.ok();
    assert_eq!(unread(&bob, &room, &root).await, (0, 1));
    read(&bob, &room, &second, Value::Null).await.ok();
    assert_eq!(unread(&bob, &room, &root).await, (0, 0));
    for (event, thread) in [
        (&first, json!("main")),
        (&main, json!(root)),
        (&first, json!(main)),
    ] {
        read(&bob, &room, event, thread)
            .await
            .refused(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn what_relates_to_a_reply_is_in_its_thread() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let root = alice.say(&room, "root").await;
    let inner = reply(&alice, &room, &root, "inner").await;
    let content = related("m.reference", &inner, "about it");
    let about = alice.send_event(&room, "m.room.message", content).await;
    let content = related("m.reference", &about, "about that");
    let deeper = alice.send_event(&room, "m.room.message", content).await;
    let content = related("m.reference", &root, "about the root");
    let beside = alice.send_event(&room, "m.room.message", content).await;
    assert_eq!(unread(&bob, &room, &root).await, (2, 3));
    read(&bob, &room, &deeper, json!("main"))
        .await
        .refused(400, "M_INVALID_PARAM");
    read(&bob, &room, &deeper, json!(root)).await.ok();
    assert_eq!(unread(&bob, &room, &root).await, (2, 0));
    read(&bob, &room, &beside, json!("main")).await.ok();
    assert_eq!(unread(&bob, &room, &root).await, (0, 0));
}
