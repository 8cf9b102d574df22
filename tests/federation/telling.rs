//! What a peer tells of its people: what they do in rooms, and which devices they have.

use harness::signing::Key;
use harness::{Synced, User};
use serde_json::{Value, json};

use crate::peer::{Behaviour, Peer};
use crate::visitors::{Visitor, event_id, sign};
use harness::neighbours::World;

const BOB: &str = "@bob:b.test";
const DEVICES: &str = "/_matrix/federation/v1/user/devices/@bob:b.test";
const QUERY: &str = "/_matrix/federation/v1/user/keys/query";

fn edu(kind: &str, content: Value) -> Value {
    json!({ "edu_type": kind, "content": content })
}

fn typing(user_id: &str, room: &str, typing: bool) -> Value {
    let content = json!({ "room_id": room, "user_id": user_id, "typing": typing });
    edu("m.typing", content)
}

fn receipt(user_id: &str, room: &str, event: &str, data: Value) -> Value {
    let read = json!({ user_id: { "data": data, "event_ids": [event] } });
    edu("m.receipt", json!({ room: { "m.read": read } }))
}

async fn ephemeral(user: &User, since: &Synced, room: &str, kind: &str) -> (Value, Synced) {
    user.sync_until(since, kind, |synced| synced.ephemeral(room, kind).cloned())
        .await
}

#[tokio::test]
async fn people_of_other_servers_are_seen_in_rooms() {
    let world = World::of(&["a.test", "b.test"]);
    let a = world.start("a.test");
    let peer = Peer::start(&world, "b.test").await;
    peer.on_transactions(200, json!({ "pdus": {} }));
    let alice = a.api.register("alice").await;
    let room = alice.public_room().await;
    let other_room = alice.public_room().await;
    let first = alice.say(&room, "one").await;
    let elsewhere = alice.say(&other_room, "elsewhere").await;
    let bob = Visitor::join(&peer, (&a.door, "a.test"), BOB, &room).await;
    let since = alice.sync().await;

    let edus = json!([
        typing("@carol:b.test", &room, true),
        typing(&alice.user_id, &room, true),
        typing(BOB, &other_room, true),
        typing(BOB, &room, true),
    ]);
    bob.transact("typing", json!([]), edus).await.ok();
    let (told, since) = ephemeral(&alice, &since, &room, "m.typing").await;
    assert_eq!(told["content"], json!({ "user_ids": [BOB] }));
    assert!(since.ephemeral(&other_room, "m.typing").is_none());
    let edus = json!([typing(BOB, &room, false)]);
    bob.transact("silence", json!([]), edus).await.ok();
    let (told, since) = ephemeral(&alice, &since, &room, "m.typing").await;
    assert_eq!(told["content"], json!({ "user_ids": [] }));

    let edus = json!([
        receipt("@carol:b.test", &room, &first, json!({ "ts": 1 })),
        receipt(BOB, &room, &elsewhere, json!({ "ts": 2 })),
        receipt(BOB, &room, "$unknown", json!({ "ts": 3 })),
        receipt(BOB, &room, &first, json!({ "ts": 5, "thread_id": "main" })),
    ]);
    bob.transact("receipts", json!([]), edus).await.ok();
    let (told, _) = ephemeral(&alice, &since, &room, "m.receipt").await;
    let expected = json!({ &first: { "m.read": { BOB: { "ts": 5, "thread_id": "main" } } } });
    assert_eq!(told["content"], expected, "{told}");

    let presence = |user_id: &str| {
        let push = json!({
            "user_id": user_id, "presence": "online", "status_msg": "Hi",
            "last_active_ago": 5_000, "currently_active": true,
        });
        edu("m.presence", json!({ "push": [push] }))
    };
    let edus = json!([
        presence(BOB),
        presence("@nobody:b.test"),
        presence(&alice.user_id)
    ]);
    bob.transact("presence", json!([]), edus).await.ok();
    let seen = alice.get(format!("v3/presence/{BOB}/status")).await.ok();
    assert_eq!(
        (&seen["presence"], &seen["status_msg"]),
        (&json!("online"), &json!("Hi"))
    );
    assert_eq!(seen["currently_active"], true);
    assert!(seen["last_active_ago"].as_u64().unwrap() >= 5_000, "{seen}");
    let own = alice
        .get(format!("v3/presence/{}/status", alice.user_id))
        .await
        .ok();
    assert_ne!(own["status_msg"], "Hi");
}

#[tokio::test]
async fn events_and_receipts_of_one_transaction_belong_together() {
    let world = World::of(&["a.test", "b.test"]);
    let a = world.start("a.test");
    let peer = Peer::start(&world, "b.test").await;
    peer.on_transactions(200, json!({ "pdus": {} }));
    let alice = a.api.register("alice").await;
    let room = alice.public_room().await;
    let mut bob = Visitor::join(&peer, (&a.door, "a.test"), BOB, &room).await;
    let since = alice.sync().await;
    let text = |body: &str| json!({ "msgtype": "m.text", "body": body });
    let (first, good) = bob.event("m.room.message", None, text("good"));
    let (_, mut forged) = bob.event("m.room.message", None, text("forged"));
    forged["content"]["body"] = "changed".into();
    forged["signatures"] = json!({});
    let edus = json!([receipt(BOB, &room, &first, json!({ "ts": 9 }))]);
    let answer = bob.transact("t", json!([forged, 7, good]), edus).await.ok();
    assert_eq!(answer["pdus"][&first], json!({}), "{answer}");
    let (told, _) = ephemeral(&alice, &since, &room, "m.receipt").await;
    assert_eq!(told["content"][&first]["m.read"][BOB], json!({ "ts": 9 }));
    let synced = alice.sync().await;
    let messages = synced.timeline(&room).iter();
    let messages = messages.filter(|event| event["type"] == "m.room.message");
    let bodies: Vec<_> = messages.map(|event| &event["content"]["body"]).collect();
    assert_eq!(bodies, ["good"]);
}

#[tokio::test]
async fn what_came_with_one_event_is_not_asked_for_with_the_next() {
    let world = World::of(&["a.test", "b.test"]);
    let a = world.start("a.test");
    let peer = Peer::start(&world, "b.test").await;
    peer.on_transactions(200, json!({ "pdus": {} }));
    let alice = a.api.register("alice").await;
    let room = alice.public_room().await;
    let mut bob = Visitor::join(&peer, (&a.door, "a.test"), BOB, &room).await;
    let text = |body: &str| json!({ "msgtype": "m.text", "body": body });
    // Two that rest on what nobody tells, and one after them that is right.
    let mut pdus = Vec::new();
    let mut refused = Vec::new();
    for body in ["one", "two"] {
        let (_, mut event) = bob.event("m.room.message", None, text(body));
        let auth = event["auth_events"].as_array_mut().unwrap();
        auth.push(json!("$acSWRpSx47ttk3kcuqm5ckYdOlBPBTAcuZ9rZnVGXMI"));
        sign(&peer, &mut event);
        bob.last.0 = event_id(&event);
        refused.push(bob.last.0.clone());
        pdus.push(event);
    }
    let (good, event) = bob.event("m.room.message", None, text("three"));
    pdus.push(event);
    bob.transact("t", json!(pdus), json!([])).await.ok();
    alice.event(&room, &good).await.ok();
    for event in &refused {
        alice.event(&room, event).await.refused(404, "M_NOT_FOUND");
    }
    let asked = peer.asked();
    let is_between = |path: &&String| path.contains("get_missing_events");
    assert_eq!(asked.iter().find(is_between), None, "{asked:?}");
}

/// The keys of Bob's devices, as his server tells them.
fn keys_of(device_id: &str) -> Value {
    json!({
        "user_id": BOB, "device_id": device_id, "algorithms": ["m.megolm.v1.aes-sha2"],
        "keys": { format!("ed25519:{device_id}"): "AAAA" }, "signatures": {},
    })
}

/// What Bob's server answers to those who ask for his devices.
fn answers(peer: &Peer, stream_id: u64, devices: &[&str], more: &Value) {
    let list = devices
        .iter()
        .map(|id| json!({ "device_id": id, "keys": keys_of(id) }));
    let mut list = json!({
        "user_id": BOB, "stream_id": stream_id, "devices": list.collect::<Vec<_>>(),
    });
    list.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    peer.on(DEVICES, Behaviour::Json(200, list));
    let keys = devices.iter().map(|id| ((*id).to_owned(), keys_of(id)));
    let keys: Value = keys.collect::<serde_json::Map<_, _>>().into();
    let mut found = json!({ "device_keys": { BOB: keys } });
    for (name, plural) in [
        ("master_key", "master_keys"),
        ("self_signing_key", "self_signing_keys"),
    ] {
        if !more[name].is_null() {
            found[plural] = json!({ BOB: more[name] });
        }
    }
    peer.on(QUERY, Behaviour::Json(200, found));
}

/// The devices of Bob that a client is told of.
async fn devices(user: &User) -> Vec<String> {
    let found = user
        .post("v3/keys/query", json!({ "device_keys": { BOB: [] } }))
        .await
        .ok();
    let devices = found["device_keys"][BOB].as_object();
    devices
        .map(|devices| devices.keys().cloned().collect())
        .unwrap_or_default()
}

fn update(device_id: &str, stream_id: u64, earlier: &[u64], more: &Value) -> Value {
    let mut content = json!({
        "user_id": BOB, "device_id": device_id, "stream_id": stream_id, "prev_id": earlier,
    });
    content
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    edu("m.device_list_update", content)
}

async fn is_changed(user: &User, since: &Synced) -> Synced {
    let told = |synced: &Synced| synced.changed().contains(&BOB).then_some(());
    user.sync_until(since, "his devices changed", told).await.1
}

/// How often the peer was asked about its users.
fn questions(peer: &Peer) -> usize {
    let asked = peer.asked();
    asked.iter().filter(|path| path.contains("/user/")).count()
}

/// Waits until the list was fetched: no question is asked any more.
async fn settled(peer: &Peer, user: &User) {
    harness::eventually("the list is kept", 10, async || {
        let before = questions(peer);
        devices(user).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        (questions(peer) == before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn device_lists_of_other_servers_are_followed() {
    let world = World::of(&["a.test", "b.test"]);
    let mut a = world.start("a.test");
    let peer = Peer::start(&world, "b.test").await;
    peer.on_transactions(200, json!({ "pdus": {} }));
    let mut alice = a.api.register("alice").await;
    let room = alice.public_room().await;
    let since = alice.sync().await;
    answers(&peer, 5, &["ONE"], &json!({}));
    let bob = Visitor::join(&peer, (&a.door, "a.test"), BOB, &room).await;
    // He is new to her.
    let since = is_changed(&alice, &since).await;
    assert_eq!(devices(&alice).await, ["ONE"]);
    settled(&peer, &alice).await;

    // From now on his server need not be asked.
    peer.on(QUERY, Behaviour::Json(500, json!({})));
    peer.on(DEVICES, Behaviour::Json(500, json!({})));
    let two = json!({ "keys": keys_of("TWO"), "device_display_name": "Phone" });
    bob.transact("two", json!([]), json!([update("TWO", 6, &[5], &two)]))
        .await
        .ok();
    let since = is_changed(&alice, &since).await;
    let found = alice
        .post("v3/keys/query", json!({ "device_keys": { BOB: [] } }))
        .await
        .ok();
    let device = &found["device_keys"][BOB]["TWO"];
    assert_eq!(
        device["unsigned"],
        json!({ "device_display_name": "Phone" })
    );
    assert_eq!(devices(&alice).await, ["ONE", "TWO"]);
    let gone = json!({ "deleted": true });
    bob.transact("gone", json!([]), json!([update("ONE", 7, &[6], &gone)]))
        .await
        .ok();
    let since = is_changed(&alice, &since).await;
    assert_eq!(devices(&alice).await, ["TWO"]);
    // A restart forgets nothing.
    a.server.restart();
    a.door = harness::Api::new(&a.server.urls()[2]);
    alice.api = a.server.api().with_token(&alice.access_token);
    assert_eq!(devices(&alice).await, ["TWO"]);

    // One update got lost: the list is fetched again, as soon as his server answers.
    answers(&peer, 9, &["TWO", "THREE"], &json!({}));
    let bob = (&peer, &a.door);
    let edus = json!([update(
        "THREE",
        9,
        &[8],
        &json!({ "keys": keys_of("THREE") })
    )]);
    bob.0
        .transact(bob.1, "a.test", "lost", (json!([]), edus))
        .await
        .ok();
    let since = is_changed(&alice, &since).await;
    assert_eq!(devices(&alice).await, ["THREE", "TWO"]);
    settled(&peer, &alice).await;

    // Who leaves is forgotten.
    alice.leave(&room).await;
    let told = |synced: &Synced| synced.left_users().contains(&BOB).then_some(());
    alice.sync_until(&since, "he is out of view", told).await;
    let before = questions(&peer);
    assert_eq!(devices(&alice).await, ["THREE", "TWO"]);
    assert!(questions(&peer) > before, "his server is asked again");
}

#[tokio::test]
async fn people_of_other_servers_can_be_verified() {
    let world = World::of(&["a.test", "b.test"]);
    let a = world.start("a.test");
    let peer = Peer::start(&world, "b.test").await;
    peer.on_transactions(200, json!({ "pdus": {} }));
    let alice = a.api.register("alice").await;
    let cross_signing = harness::signing::CrossSigning::of(&alice);
    let upload = cross_signing.upload.clone();
    alice
        .post("v3/keys/device_signing/upload", upload)
        .await
        .ok();
    let (master, own) = (Key::new(), Key::new());
    let object = |usage: &str, key: &Key| {
        let public = key.public();
        json!({
            "user_id": BOB, "usage": [usage], "keys": { format!("ed25519:{public}"): public },
        })
    };
    let mut signed = object("self_signing", &own);
    master.sign(&mut signed, BOB, &master.public());
    let keys = json!({ "master_key": object("master", &master), "self_signing_key": signed });
    answers(&peer, 1, &["ONE"], &keys);
    let room = alice.public_room().await;
    let bob = Visitor::join(&peer, (&a.door, "a.test"), BOB, &room).await;

    let mut verified = object("master", &master);
    let user_signing = &cross_signing.user_signing;
    user_signing.sign(&mut verified, &alice.user_id, &user_signing.public());
    let signatures = json!({ BOB: { master.public(): verified } });
    let since = alice.sync().await;
    let answer = alice
        .post("v3/keys/signatures/upload", signatures)
        .await
        .ok();
    assert_eq!(answer["failures"], json!({}), "{answer}");
    let since = is_changed(&alice, &since).await;
    let query = json!({ "device_keys": { BOB: [] } });
    let found = alice.post("v3/keys/query", query.clone()).await.ok();
    assert_eq!(
        found["master_keys"][BOB]["signatures"], verified["signatures"],
        "{found}"
    );
    assert_eq!(found["self_signing_keys"][BOB], signed);
    // It is hers alone to see.
    let carol = a.api.register("carol").await;
    let seen = carol.post("v3/keys/query", query.clone()).await.ok();
    assert!(seen["master_keys"][BOB]["signatures"].is_null(), "{seen}");

    // Another master key is another person, for all that anybody knows.
    let other = Key::new();
    let content = json!({ "user_id": BOB, "master_key": object("master", &other) });
    let edus = json!([edu("m.signing_key_update", content)]);
    bob.transact("keys", json!([]), edus).await.ok();
    is_changed(&alice, &since).await;
    let found = alice.post("v3/keys/query", query).await.ok();
    assert_eq!(
        found["master_keys"][BOB],
        object("master", &other),
        "{found}"
    );
    assert!(found["self_signing_keys"][BOB].is_null(), "{found}");
}
