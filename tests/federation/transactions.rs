//! What a server sends by itself, event or not.

use harness::{Synced, User};
use reqwest::Method;
use serde_json::{Value, json};

use crate::peer::{Peer, now};
use crate::visitors::Visitor;
use harness::neighbours::{Neighbour, World};

/// A message to devices of this server's users.
fn to_device(sender: &str, id: &str, messages: Value) -> Value {
    json!({ "edu_type": "m.direct_to_device", "content": {
        "sender": sender, "type": "org.example.x", "message_id": id, "messages": messages,
    } })
}

/// The messages that a device gets with its next sync.
async fn messages(user: &User, since: &mut Option<Synced>) -> Vec<Value> {
    let synced = match since {
        None => user.sync().await,
        Some(earlier) => user.sync_since(earlier).await,
    };
    let events = synced.to_device().to_vec();
    *since = Some(synced);
    events
}

fn contents(events: &[Value]) -> Vec<&Value> {
    events.iter().map(|event| &event["content"]).collect()
}

async fn world() -> (World, Neighbour, Peer) {
    let world = World::of(&["a.test", "b.test"]);
    let a = world.start("a.test");
    let peer = Peer::start(&world, "b.test").await;
    (world, a, peer)
}

#[tokio::test]
async fn a_transaction_is_taken_once() {
    let (_world, mut a, peer) = world().await;
    let mut alice = a.api.register("alice").await;
    let other = alice.another_device().await;
    let mut since = None;
    messages(&alice, &mut since).await;
    let everywhere = |id: &str, content: Value| {
        to_device("@x:b.test", id, json!({ &alice.user_id: { "*": content } }))
    };
    let edus = json!([
        everywhere("m1", json!({ "n": 1 })),
        everywhere("m2", json!({ "n": 2 }))
    ]);
    let first = peer.transact(&a.door, "a.test", "t1", (json!([]), edus.clone()));
    assert_eq!(first.await.ok(), json!({ "pdus": {} }));
    // Again, as it was and under another id.
    for id in ["t1", "t2"] {
        let again = peer.transact(&a.door, "a.test", id, (json!([]), edus.clone()));
        assert_eq!(again.await.ok(), json!({ "pdus": {} }));
    }
    let got = messages(&alice, &mut since).await;
    assert_eq!(contents(&got), [&json!({ "n": 1 }), &json!({ "n": 2 })]);
    assert_eq!(
        (&got[0]["sender"], &got[0]["type"]),
        (&json!("@x:b.test"), &json!("org.example.x"))
    );
    assert_eq!(messages(&other, &mut None).await.len(), 2);

    // Nor after a restart, which loses nothing.
    let edus = json!([
        everywhere("m2", json!({ "n": 2 })),
        everywhere("m3", json!({ "n": 3 }))
    ]);
    a.server.kill9();
    a.server.restart();
    a.door = harness::Api::new(&a.server.urls()[2]);
    alice.api = a.server.api().with_token(&alice.access_token);
    peer.transact(&a.door, "a.test", "t1", (json!([]), edus))
        .await
        .ok();
    let got = messages(&alice, &mut since).await;
    assert_eq!(contents(&got), [&json!({ "n": 3 })]);
}

#[tokio::test]
async fn what_is_wrong_in_a_transaction_spoils_nothing_else() {
    let (_world, a, peer) = world().await;
    let alice = a.api.register("alice").await;
    let mut since = None;
    messages(&alice, &mut since).await;
    let to_alice = |sender: &str, id: &str| {
        let device = json!({ &alice.device_id: { "id": id } });
        to_device(sender, id, json!({ &alice.user_id: device }))
    };
    let mut no_object = to_alice("@x:b.test", "text");
    no_object["content"]["messages"][&alice.user_id][&alice.device_id] = json!("text");
    let edus = json!([
        7,
        { "edu_type": "m.typing" },
        { "edu_type": "m.typing", "content": { "room_id": 1 } },
        { "edu_type": "m.typing", "content": {
            "room_id": "!nowhere:a.test", "user_id": "@x:b.test", "typing": true,
        } },
        { "edu_type": "m.receipt", "content": { "!nowhere:a.test": { "m.read": {
            "@x:b.test": { "data": { "ts": 1 }, "event_ids": ["$nothing"] },
        } } } },
        { "edu_type": "m.presence", "content": { "push": [7] } },
        { "edu_type": "m.device_list_update", "content": {
            "user_id": &alice.user_id, "device_id": "X", "stream_id": 1, "deleted": true,
        } },
        { "edu_type": "org.example.unknown", "content": {} },
        no_object,
        to_alice("@x:c.test", "another server's"),
        to_alice("@x:b.test", "good"),
        to_device("@x:b.test", "nobody", json!({ "@nobody:a.test": { "*": {} } })),
        to_device("@x:b.test", "elsewhere", json!({ "@y:c.test": { "*": {} } })),
    ]);
    peer.transact(&a.door, "a.test", "t", (json!([]), edus))
        .await
        .ok();
    let got = messages(&alice, &mut since).await;
    assert_eq!(contents(&got), [&json!({ "id": "good" })]);
}

#[tokio::test]
async fn transactions_have_limits() {
    let (_world, a, peer) = world().await;
    a.api.register("alice").await;
    let many = |count: usize| Value::from(vec![json!({ "edu_type": "x", "content": {} }); count]);
    for (pdus, edus, status) in [(0, 100, 200), (0, 101, 400), (51, 0, 400)] {
        let id = format!("{pdus}-{edus}");
        let answer = peer
            .transact(&a.door, "a.test", &id, (many(pdus), many(edus)))
            .await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let long = "x".repeat(256);
    let answer = peer
        .transact(&a.door, "a.test", &long, (json!([]), json!([])))
        .await;
    answer.refused(400, "M_INVALID_PARAM");
    // Another server's, signed by this one.
    let content = json!({
        "origin": "c.test", "origin_server_ts": now(), "pdus": [], "edus": [],
    });
    let uri = "/_matrix/federation/v1/send/t";
    let answer = peer
        .send(&a.door, "a.test", Method::PUT, uri, content)
        .await;
    answer.refused(400, "M_INVALID_PARAM");
    let unsigned = json!({ "origin": "b.test", "origin_server_ts": now(), "pdus": [] });
    a.door
        .put(uri, unsigned)
        .await
        .refused(401, "M_UNAUTHORIZED");
}

/// Lets every sync of a server's files fail, until it is killed.
async fn failing_disk(server: &harness::Server) -> std::process::Child {
    let pid = server.process_id().to_string();
    let tracer = std::process::Command::new("strace")
        .args(["-qq", "-f", "-o", "/dev/null", "-p", &pid])
        .args(["-e", "trace=fsync,fdatasync"])
        .args(["-e", "inject=fsync,fdatasync:error=EIO"])
        .spawn()
        .expect("strace, as `.ci/install-dependencies test` installs it");
    harness::eventually("all threads are traced", 30, async || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let mut threads = threads.map(|it| it.unwrap().path().join("status"));
        let is_traced = |path: std::path::PathBuf| {
            let status = std::fs::read_to_string(path).unwrap_or_default();
            !status.contains("TracerPid:\t0")
        };
        threads.all(is_traced).then_some(())
    })
    .await;
    tracer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_database_refuses_the_whole_transaction() {
    let (_world, mut a, peer) = world().await;
    peer.on_transactions(200, json!({ "pdus": {} }));
    let mut alice = a.api.register("alice").await;
    let room = alice.public_room().await;
    let (pdus, ids) = {
        let door = (&a.door, "a.test");
        let mut visitor = Visitor::join(&peer, door, "@x:b.test", &room).await;
        let text = |body: &str| json!({ "msgtype": "m.text", "body": body });
        let (one, first) = visitor.event("m.room.message", None, text("one"));
        let (two, second) = visitor.event("m.room.message", None, text("two"));
        (json!([first, second]), [one, two])
    };
    let device = json!({ &alice.user_id: { "*": { "n": 1 } } });
    let edus = json!([to_device("@x:b.test", "m1", device)]);
    let mut since = None;
    messages(&alice, &mut since).await;

    let mut tracer = failing_disk(&a.server).await;
    let content = (pdus.clone(), edus.clone());
    let refused = peer.transact(&a.door, "a.test", "t", content.clone()).await;
    assert!(refused.status >= 500, "{refused:?}");
    assert!(refused.body.get("pdus").is_none(), "{refused:?}");
    a.server.kill9();
    tracer.kill().ok();
    tracer.wait().unwrap();
    a.restart();
    alice.api = a.server.api().with_token(&alice.access_token);

    let taken = peer.transact(&a.door, "a.test", "t", content).await.ok();
    for id in &ids {
        assert_eq!(taken["pdus"][id], json!({}), "{taken}");
        alice.event(&room, id).await.ok();
    }
    let got = messages(&alice, &mut since).await;
    assert_eq!(contents(&got), [&json!({ "n": 1 })]);
}
