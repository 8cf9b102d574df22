//! Servers that do harm, and how little.

use std::time::{Duration, Instant};

use harness::signing::DeviceKeys;
use serde_json::json;

use crate::peer::{Behaviour, Peer};
use harness::neighbours::World;

const PROFILE: &str = "/_matrix/federation/v1/query/profile";
const QUERY: &str = "/_matrix/federation/v1/user/keys/query";

#[tokio::test]
async fn bad_answers_are_no_answers() {
    let names = [
        "a.test", "p1.test", "p2.test", "p3.test", "p4.test", "p5.test", "p6.test",
    ];
    let world = World::of(&names);
    let a = world.start("a.test");
    let deep = format!(
        "{{\"displayname\":{}{}}}",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let head = format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n", deep.len());
    for (name, behaviour) in names[1..].iter().zip([
        Behaviour::Endless,
        Behaviour::Bytes((head + &deep).into_bytes()),
        Behaviour::Bytes(b"SSH-2.0-x\r\n\r\n".to_vec()),
        Behaviour::Json(200, json!([1])),
        Behaviour::Redirect(format!("https://p5.test{PROFILE}")),
        Behaviour::Json(
            500,
            json!({ "errcode": "M_UNKNOWN", "error": "x".repeat(100_000) }),
        ),
    ]) {
        let peer = Peer::start(&world, name).await;
        peer.on(PROFILE, behaviour);
        let begun = Instant::now();
        let answer = a.api.get(format!("v3/profile/@x:{name}")).await;
        assert!(answer.text.len() < 1_000, "{name}: {}", answer.text);
        answer.refused(502, "M_UNKNOWN");
        assert!(begun.elapsed() < Duration::from_secs(10), "{name}");
        assert_eq!(peer.asked().len(), 1, "{name}: {:?}", peer.asked());
    }
}

#[tokio::test]
async fn a_silent_server_delays_no_other() {
    let world = World::of(&["a.test", "b.test", "silent.test"]);
    let (a, b) = (world.start("a.test"), world.start("b.test"));
    let silent = Peer::start(&world, "silent.test").await;
    silent.on(QUERY, Behaviour::Silence);
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    DeviceKeys::of(&bob).upload(&bob, 0).await;
    let query = json!({
        "timeout": 2_000,
        "device_keys": { &bob.user_id: [], "@x:silent.test": [] },
    });
    let begun = Instant::now();
    let found = alice.post("v3/keys/query", query).await.ok();
    assert!(found["device_keys"][&bob.user_id][&bob.device_id].is_object());
    assert!(found["failures"]["silent.test"].is_object(), "{found}");
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(8),
        "{took:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_is_left_alone_until_it_is_heard_from() {
    let world = World::of(&["a.test", "b.test"]);
    let mut a = world.start("a.test");
    let peer = Peer::start(&world, "b.test").await;
    peer.on(PROFILE, Behaviour::Json(503, json!({})));
    let path = "v3/profile/@x:b.test";
    // So often that the next wait is long enough for the rest.
    for _ in 0..5 {
        let before = peer.asked().len();
        harness::eventually("it is tried again", 30, async || {
            a.api.get(path).await.refused(502, "M_UNKNOWN");
            (peer.asked().len() > before).then_some(())
        })
        .await;
    }
    let asked = peer.asked().len();
    let answer = a.api.get(path).await;
    assert!(answer.text.contains("it is tried again at"), "{answer:?}");
    answer.refused(502, "M_UNKNOWN");
    let status = a.server.cairn_json(&["federation", "status"]);
    assert_eq!(status["failing"][0]["server"], "b.test", "{status}");
    assert_eq!(status["failing"][0]["failures"], 5);
    // A restart does not bring it back.
    a.server.restart();
    a.api = a.server.api();
    a.api.get(path).await.refused(502, "M_UNKNOWN");
    assert_eq!(peer.asked().len(), asked);
    // Itself does.
    let door = harness::Api::new(&a.server.urls()[2]);
    let uri = "/_matrix/federation/v1/query/profile?user_id=%40x%3Aa.test";
    peer.get(&door, "a.test", uri)
        .await
        .refused(404, "M_NOT_FOUND");
    peer.on(PROFILE, Behaviour::Json(200, json!({ "displayname": "X" })));
    let profile = a.api.get(path).await.ok();
    assert_eq!(profile["displayname"], "X");
    let status = a.server.cairn_json(&["federation", "status"]);
    assert_eq!(status["failing"], json!([]));
}
