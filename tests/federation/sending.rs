//! What a server sends by itself: transactions to a peer that a test plays.

use harness::signing::is_signed;
use harness::{User, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use crate::peer::{Peer, Transaction};
use harness::neighbours::{Neighbour, World};

/// Sends a message to a device of somebody at the peer.
async fn send_to_device(user: &User, transaction: &str, content: Value) {
    let path = format!("v3/sendToDevice/m.test/{transaction}");
    let messages = json!({ "messages": { "@x:peer.test": { "D": content } } });
    user.put(path, messages).await.ok();
}

/// Whether a transaction was signed by the server that it names, with the key that this
/// server publishes.
async fn is_signed_by(a: &Neighbour, transaction: &Transaction) -> bool {
    let request = a.door.request(Method::GET, "/_matrix/key/v2/server");
    let document = a.door.send_request(request).await.ok();
    let part = |name: &str| {
        let (_, rest) = transaction
            .authorization
            .split_once(&format!("{name}=\""))
            .unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let object = json!({
        "method": "PUT",
        "uri": transaction.uri,
        "origin": part("origin"),
        "destination": part("destination"),
        "content": transaction.body,
    });
    let public = document["verify_keys"][part("key")]["key"]
        .as_str()
        .unwrap();
    part("origin") == "a.test" && is_signed(&object, public, &part("sig"))
}

fn waiting(a: &Neighbour, server: &str) -> Option<Value> {
    let status = a.server.cairn_json(&["federation", "status"]);
    let waiting = status["waiting"].as_array().unwrap().iter();
    let mut waiting = waiting.filter(|waiting| waiting["server"] == server);
    waiting.next().cloned()
}

// The command is waited for without letting others run: they need a thread of their own.
#[tokio::test(flavor = "multi_thread")]
async fn messages_outlive_crashes_until_their_server_is_there() {
    let world = World::of(&["a.test", "peer.test"]);
    let mut a = world.start("a.test");
    let alice = a.api.register_as("alice").await;
    send_to_device(&alice, "1", json!({ "n": 1.5 })).await;
    a.server.kill9();
    a.restart();
    send_to_device(&alice, "1", json!({ "n": 1.5 })).await;
    let waits = eventually("it waits", 30, async || {
        waiting(&a, "peer.test").filter(|waiting| waiting["has_transaction"] == true)
    });
    assert_eq!(waits.await["others"], 0);
    let told = a.server.cairn(&["federation", "status"]);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(text.contains("For peer.test wait 0 events"), "{text}");

    let peer = Peer::start(&world, "peer.test").await;
    peer.on_transactions(500, json!({}));
    a.server.cairn_json(&["federation", "retry", "peer.test"]);
    let first = peer.until_transactions(1).await.remove(0);
    assert!(is_signed_by(&a, &first).await, "{first:?}");
    assert_eq!(first.body["origin"], "a.test");
    assert_eq!(first.body["pdus"], json!([]));
    let edus = first.body["edus"].as_array().unwrap();
    let content = &edus[0]["content"];
    assert_eq!(
        (edus.len(), &edus[0]["edu_type"]),
        (1, &json!("m.direct_to_device"))
    );
    assert_eq!(content["sender"], alice.user_id);
    assert_eq!(
        content["messages"],
        json!({ "@x:peer.test": { "D": { "n": 1.5 } } })
    );
    a.server.kill9();
    peer.on_transactions(200, json!({ "pdus": {} }));
    a.restart();
    // Heard from, it is tried at once.
    let profile = "/_matrix/federation/v1/query/profile?user_id=%40alice%3Aa.test";
    let heard = peer.get(&a.door, "a.test", profile).await;
    assert_eq!(heard.status, 200, "{heard:?}");
    let last = eventually("the same again", 30, async || {
        let transactions = peer.transactions();
        waiting(&a, "peer.test")
            .is_none()
            .then(|| transactions.last().unwrap().clone())
    });
    let last = last.await;
    assert_eq!((&last.uri, &last.body), (&first.uri, &first.body));
}

// As above.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_kept_out_is_told_and_what_waits_can_be_forgotten() {
    let world = World::of(&["a.test", "peer.test"]);
    let a = world.start("a.test");
    let peer = Peer::start(&world, "peer.test").await;
    peer.on_transactions(200, json!({ "pdus": { "$x": { "error": "no" } } }));
    let alice = a.api.register_as("alice").await;
    let room = alice.create_room(json!({ "preset": "public_chat" })).await;
    let ban = json!({ "user_id": "@bad:peer.test", "reason": "spam" });
    alice.post(format!("v3/rooms/{room}/ban"), ban).await.ok();
    let transaction = peer.until_transactions(1).await.remove(0);
    assert!(is_signed_by(&a, &transaction).await, "{transaction:?}");
    let pdu = &transaction.body["pdus"][0];
    assert_eq!(pdu["room_id"], room.as_str());
    assert_eq!(pdu["state_key"], "@bad:peer.test");
    assert_eq!(
        pdu["content"],
        json!({ "membership": "ban", "reason": "spam" })
    );
    assert!(pdu["auth_events"].is_array() && pdu["prev_events"].is_array());
    assert!(
        pdu.get("event_id").is_none() && pdu.get("unsigned").is_none(),
        "{pdu}"
    );

    peer.on_transactions(503, json!({}));
    send_to_device(&alice, "1", json!({})).await;
    eventually("it waits", 30, async || waiting(&a, "peer.test")).await;
    let forgotten = a.server.cairn(&["federation", "forget", "peer.test"]);
    let text = String::from_utf8_lossy(&forgotten.stdout).into_owned();
    assert!(forgotten.status.success(), "{text}");
    assert_eq!(waiting(&a, "peer.test"), None);
    peer.on_transactions(200, json!({ "pdus": {} }));
    send_to_device(&alice, "2", json!({ "second": true })).await;
    a.server.cairn_json(&["federation", "retry", "peer.test"]);
    let arrived = eventually("the second message", 30, async || {
        let transactions = peer.transactions();
        let last = transactions.last().unwrap().body.to_string();
        last.contains("second").then_some(transactions)
    });
    let of = |transaction: &Transaction| transaction.body.to_string().contains("\"D\":{}");
    let arrived = arrived.await;
    assert!(!of(arrived.last().unwrap()), "{arrived:?}");
    let told = a.server.cairn(&["federation", "retry", "no name"]);
    assert_eq!(told.status.code(), Some(1));
}
