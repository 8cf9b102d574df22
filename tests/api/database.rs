//! `cairn database`: what an operator learns about the database and does with it.

use harness::Server;
use serde_json::Value;

const MESSAGES: u64 = 40;
const LENGTH: usize = 5_000;

fn number(shown: &Value, name: &str) -> u64 {
    shown[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} in {shown}"))
}

#[tokio::test]
async fn the_largest_event_has_65536_bytes_of_canonical_json() {
    let server = Server::start();
    let alice = server.api().register_as("alice").await;
    let room = alice.public_room().await;
    // Two digits of depth, like all events of this test that follow.
    for _ in 0..10 {
        alice.say(&room, "deeper").await;
    }
    let bytes = || number(&server.cairn_json(&["database", "show"]), "canonical_bytes");
    let send = async |length: usize| {
        let content = serde_json::json!({ "x": "x".repeat(length) });
        alice.try_send_event(&room, "m.test", content).await
    };
    let before = bytes();
    send(1_000).await.ok();
    let around = usize::try_from(bytes() - before).unwrap() - 1_000;
    send(65_536 - around + 1).await.refused(413, "M_TOO_LARGE");
    let before = bytes();
    send(65_536 - around).await.ok();
    assert_eq!(bytes() - before, 65_536);
}

#[tokio::test]
async fn an_operator_sees_what_events_take_and_compacts_them() {
    let mut server = Server::start();
    let alice = server.api().register_as("alice").await;
    let room = alice.public_room().await;
    let before = server.cairn_json(&["database", "show"]);
    let mut last = String::new();
    for _ in 0..MESSAGES {
        last = alice.say(&room, &"x".repeat(LENGTH)).await;
    }
    let shown = server.cairn_json(&["database", "show"]);
    let grown = |name: &str| number(&shown, name) - number(&before, name);
    assert_eq!(grown("events"), MESSAGES);
    let text = MESSAGES * LENGTH as u64;
    // An event without its text: ids, hashes, a signature.
    let most = text + MESSAGES * 1_500;
    assert!((text..most).contains(&grown("canonical_bytes")), "{shown}");

    let compacted = server.cairn_json(&["database", "compact"]);
    assert_eq!(number(&compacted, "events"), number(&shown, "events"));
    assert!(number(&compacted, "disk_bytes_before") > 0, "{compacted}");
    let families = compacted["families"].as_object().unwrap();
    let sorted: u64 = families.values().filter_map(Value::as_u64).sum();
    assert!(families["events"].as_u64().unwrap() > 0, "{compacted}");
    assert!(number(&compacted, "disk_bytes") >= sorted, "{compacted}");
    let seen = alice.event(&room, &last).await.ok();
    assert_eq!(seen["content"]["body"].as_str().unwrap().len(), LENGTH);
    alice.say(&room, "after the compaction").await;

    // The same words for people; a stopped server's database is opened by the command.
    server.stop();
    for (verb, word) in [("show", "Events"), ("compact", "before")] {
        let told = server.cairn(&["database", verb]);
        assert!(told.status.success(), "{told:?}");
        let words = String::from_utf8_lossy(&told.stdout);
        assert!(words.contains(word) && words.contains("MiB"), "{words}");
    }
    server.restart();
    let alice = server.api().login("alice").await;
    let seen = alice.event(&room, &last).await.ok();
    assert_eq!(seen["content"]["body"].as_str().unwrap().len(), LENGTH);
}
