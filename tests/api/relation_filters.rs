//! Pages of a timeline by how events relate to others (MSC3874).

use harness::{User, escape};
use serde_json::{Value, json};

use crate::{relations::related, server};

async fn page(user: &User, room: &str, filter: &Value) -> Vec<String> {
    let filter = escape(&filter.to_string());
    let path = format!("v3/rooms/{room}/messages?dir=f&limit=100&filter={filter}");
    let answer = user.get(path).await.ok();
    let chunk = answer["chunk"].as_array().unwrap().iter();
    chunk
        .filter_map(|event| event["content"]["body"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn pages_leave_out_or_choose_relations() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let root = alice.say(&room, "root").await;
    for (kind, text) in [("m.thread", "reply"), ("m.reference", "reference")] {
        let content = related(kind, &root, text);
        alice.send_event(&room, "m.room.message", content).await;
    }
    alice.say(&room, "last").await;
    let (only, not) = (
        "org.matrix.msc3874.rel_types",
        "org.matrix.msc3874.not_rel_types",
    );
    for (filter, expected) in [
        (json!({}), &["root", "reply", "reference", "last"][..]),
        (json!({ not: ["m.thread"] }), &["root", "reference", "last"]),
        (json!({ only: ["m.thread"] }), &["reply"]),
        (
            json!({ only: ["m.thread", "m.reference"], not: ["m.thread"] }),
            &["reference"],
        ),
        (
            json!({ "types": ["m.room.create"], not: ["m.thread"] }),
            &[],
        ),
    ] {
        assert_eq!(page(&alice, &room, &filter).await, expected, "{filter}");
    }
    let filter = escape(&json!({ not: ["m.thread"] }).to_string());
    let path = format!("v3/rooms/{room}/context/{root}?limit=10&filter={filter}");
    let context = alice.get(path).await.ok();
    let after = context["events_after"].as_array().unwrap().iter();
    let bodies: Vec<_> = after
        .map(|event| event["content"]["body"].clone())
        .collect();
    assert_eq!(bodies, ["reference", "last"]);
    let wrong = escape(&json!({ not: "m.thread" }).to_string());
    alice
        .get(format!("v3/rooms/{room}/messages?dir=f&filter={wrong}"))
        .await
        .refused(400, "M_INVALID_PARAM");
    let versions = alice.get("versions").await.ok();
    assert_eq!(versions["unstable_features"]["org.matrix.msc3874"], true);
}
