//! Several receipts of one user at one event: none hides another.

use harness::{User, find_event};
use serde_json::{Value, json};

use crate::{
    server,
    sliding_sync::{begin, enabled, next, with},
};

async fn read(user: &User, room: &str, event: &str, thread: Option<&str>) {
    let body = thread.map_or(json!({}), |thread| json!({ "thread_id": thread }));
    let path = format!("v3/rooms/{room}/receipt/m.read/{event}");
    user.post(path, body).await.ok();
}

/// The thread ids of a user's receipts at an event, in order; empty for that of none.
fn threads<'a>(contents: impl Iterator<Item = &'a Value>, event: &str, user: &User) -> Vec<String> {
    let receipts = contents.map(|content| &content[event]["m.read"][&user.user_id]);
    let receipts = receipts.filter(|receipt| receipt.is_object());
    let thread = |receipt: &Value| receipt["thread_id"].as_str().unwrap_or_default().to_owned();
    let mut threads: Vec<String> = receipts.map(thread).collect();
    threads.sort();
    threads
}

#[tokio::test]
async fn all_receipts_at_one_event_are_told() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let root = alice.say(&room, "a thread begins").await;
    let before = alice.sync().await;
    let body = with("receipts", enabled());
    let first = begin(&alice, &body).await;
    read(&bob, &room, &root, Some("main")).await;
    read(&bob, &room, &root, Some(&root)).await;
    read(&bob, &room, &root, None).await;
    let mut expected = vec![String::new(), root.clone(), "main".to_owned()];
    expected.sort();

    // Several events of `/sync`, whether it begins or goes on.
    for synced in [alice.sync_since(&before).await, alice.sync().await] {
        let ephemeral = synced.joined(&room)["ephemeral"]["events"]
            .as_array()
            .unwrap();
        assert!(find_event(ephemeral, "m.receipt").is_some());
        let receipts = ephemeral
            .iter()
            .filter(|event| event["type"] == "m.receipt");
        let told = threads(receipts.map(|event| &event["content"]), &root, &bob);
        assert_eq!(told, expected, "{synced:?}");
    }
    // A sliding sync has one at a time, that of no thread first: the others come at once.
    for begun in [Some(first), None] {
        let mut slid = match begun {
            Some(first) => next(&alice, &first, 10_000, &body).await,
            None => begin(&alice, &body).await,
        };
        let mut contents = Vec::new();
        for _ in 0..3 {
            let event = &slid.extension("receipts")["rooms"][&room];
            assert_eq!(event["type"], "m.receipt", "{:?}", slid.0);
            contents.push(event["content"].clone());
            slid = next(&alice, &slid, 50, &body).await;
        }
        assert_eq!(
            contents[0][&root]["m.read"][&bob.user_id]["thread_id"],
            Value::Null
        );
        assert_eq!(threads(contents.iter(), &root, &bob), expected);
        assert!(slid.extension("receipts").is_null(), "{:?}", slid.0);
    }
}
