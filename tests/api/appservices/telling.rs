//! What services are told of, and in which form.

use std::time::Duration;

use harness::{AppService, User, escape};
use serde_json::{Value, json};

use super::Scene;

/// A public room of alice's with a user of the service in it.
pub(super) async fn bridged(scene: &Scene) -> (User, User, String) {
    let alice = scene.server.api().register_as("alice").await;
    let room = alice.public_room().await;
    let bob = scene.service.user(&scene.server, "bob").await;
    bob.join(&room).await;
    (alice, bob, room)
}

#[tokio::test]
async fn an_event_comes_as_clients_get_it() {
    let scene = Scene::new("irc", "").await;
    let service = &scene.service;
    let (alice, bob, room) = bridged(&scene).await;
    let said = alice.say(&room, "hello").await;
    let first = alice
        .set_state(&room, "m.room.topic", "", json!({ "topic": "a" }))
        .await;
    let second = alice
        .set_state(&room, "m.room.topic", "", json!({ "topic": "b" }))
        .await;

    let mut event = service.event_of(&said).await;
    let age = event["unsigned"]
        .as_object_mut()
        .unwrap()
        .remove("age")
        .unwrap();
    assert!(age.as_u64().unwrap() < 60_000);
    let sent_at = event["origin_server_ts"].as_u64().unwrap();
    let expected = json!({
        "type": "m.room.message", "sender": alice.user_id, "event_id": said, "room_id": room,
        "origin_server_ts": sent_at, "content": { "msgtype": "m.text", "body": "hello" },
        "unsigned": {},
    });
    assert_eq!(event, expected);
    let event = service.event_of(&second).await;
    assert_eq!(event["state_key"], "");
    assert_eq!(event["unsigned"]["prev_content"], json!({ "topic": "a" }));
    assert_eq!(event["unsigned"]["replaces_state"], first.as_str());

    // The join came before, and nothing of the time before the join.
    let events = service.events();
    assert_eq!(events[0]["type"], "m.room.member");
    assert_eq!(events[0]["state_key"], bob.user_id.as_str());
    let attempts = service.attempts();
    for asked in &attempts {
        assert_eq!(asked.method, "PUT");
        assert_eq!(asked.token.as_deref(), Some(&*service.hs_token()));
        assert!(asked.body.get("ephemeral").is_none());
    }
    let mut ids: Vec<_> = attempts
        .iter()
        .map(|asked| asked.transaction_id().unwrap())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), attempts.len(), "a transaction id came twice");
}

#[tokio::test]
async fn a_service_is_told_while_its_users_are_there() {
    let scene = Scene::new("irc", "").await;
    let service = &scene.service;
    let (alice, bob, room) = bridged(&scene).await;
    let elsewhere = alice.public_room().await;
    let strange = alice.say(&elsewhere, "not for the service").await;
    let during = alice.say(&room, "during").await;
    bob.leave(&room).await;
    let after = alice.say(&room, "after").await;
    bob.join(&room).await;
    let back = alice.say(&room, "back").await;

    service.event_of(&back).await;
    let events = service.events();
    let has = |id: &str| events.iter().any(|event| event["event_id"] == id);
    assert!(has(&during));
    assert!(!has(&after) && !has(&strange));
    let of_bob: Vec<_> = events
        .iter()
        .filter(|event| event["state_key"] == bob.user_id.as_str())
        .map(|event| event["content"]["membership"].clone())
        .collect();
    assert_eq!(of_bob, ["join", "leave", "join"]);
}

#[tokio::test]
async fn an_invitation_shows_the_room() {
    let scene = Scene::new("irc", "").await;
    let alice = scene.server.api().register_as("alice").await;
    let bob = scene.service.user(&scene.server, "bob").await;
    let room = alice
        .create_room(json!({ "name": "Tea", "preset": "private_chat" }))
        .await;
    alice.invite(&room, &bob).await;
    let is_it = |event: &Value| event["state_key"] == bob.user_id.as_str();
    let event = scene.service.event("the invitation", is_it).await;
    assert_eq!(event["content"]["membership"], "invite");
    let shown = event["unsigned"]["invite_room_state"].as_array().unwrap();
    let name = shown
        .iter()
        .find(|event| event["type"] == "m.room.name")
        .unwrap();
    assert_eq!(name["content"]["name"], "Tea");
    assert!(name.get("event_id").is_none());
}

#[tokio::test]
async fn rooms_and_aliases_are_told_of_whoever_is_there() {
    let service = AppService::start("log").await;
    let text = service.registration("  aliases: [{ exclusive: false, regex: '#tea' }]", "");
    let scene = Scene::with(service, &text, "");
    let alice = scene.server.api().register_as("alice").await;
    let room = alice.public_room().await;
    let before = alice.say(&room, "before").await;
    let alias = format!("v3/directory/room/{}", escape("#tea:localhost"));
    alice.put(&alias, json!({ "room_id": room })).await.ok();
    let named = alice.say(&room, "named").await;
    scene.service.event_of(&named).await;
    let known = |id: &str| {
        scene
            .service
            .events()
            .iter()
            .any(|event| event["event_id"] == id)
    };
    assert!(!known(&before));

    let service = AppService::start("spy").await;
    let text = service.registration("  rooms: [{ exclusive: false, regex: '!.*' }]", "");
    let scene = Scene::with(service, &text, "");
    let alice = scene.server.api().register_as("alice").await;
    let room = alice.public_room().await;
    let said = alice.say(&room, "anything").await;
    scene.service.event_of(&said).await;
    let events = scene.service.events();
    assert_eq!(events[0]["type"], "m.room.create");
    assert!(events.iter().all(|event| event["room_id"] == room.as_str()));
}

#[tokio::test]
async fn typing_and_receipts_are_for_those_who_ask() {
    let scene = Scene::new("irc", "receive_ephemeral: true").await;
    let service = &scene.service;
    let (alice, bob, room) = bridged(&scene).await;
    let said = alice.say(&room, "hello").await;
    let typing = |user: &User| format!("v3/rooms/{room}/typing/{}", escape(&user.user_id));
    let body = json!({ "typing": true, "timeout": 30_000 });
    alice.put(typing(&alice), body).await.ok();
    let told = |kind: &'static str, wanted: Box<dyn Fn(&Value) -> bool>| async move {
        harness::eventually(kind, 20, async || {
            let all = service.ephemeral();
            all.into_iter()
                .find(|event| event["type"] == kind && wanted(event))
        })
        .await
    };
    let expected =
        json!({ "type": "m.typing", "room_id": room, "content": { "user_ids": [alice.user_id] } });
    let event = told("m.typing", Box::new(|_| true)).await;
    assert_eq!(event, expected);
    alice
        .put(typing(&alice), json!({ "typing": false }))
        .await
        .ok();
    told(
        "m.typing",
        Box::new(|event| event["content"]["user_ids"] == json!([])),
    )
    .await;

    let receipt = |kind: &str| format!("v3/rooms/{room}/receipt/{kind}/{said}");
    // A private receipt of alice's is no business of the service; one of its user's is.
    alice.post(receipt("m.read.private"), json!({})).await.ok();
    bob.post(receipt("m.read.private"), json!({})).await.ok();
    let (pointer, name) = (
        format!("/content/{said}/m.read.private"),
        bob.user_id.clone(),
    );
    let is_bobs = move |event: &Value| {
        event
            .pointer(&pointer)
            .is_some_and(|users| users.get(&name).is_some())
    };
    told("m.receipt", Box::new(is_bobs)).await;
    alice.post(receipt("m.read"), json!({})).await.ok();
    let (pointer, name) = (format!("/content/{said}/m.read"), alice.user_id.clone());
    let is_alices = move |event: &Value| {
        event
            .pointer(&pointer)
            .is_some_and(|users| users.get(&name).is_some())
    };
    let event = told("m.receipt", Box::new(is_alices)).await;
    assert_eq!(event["room_id"], room.as_str());
    let all = Value::from(service.ephemeral());
    let private = format!("\"m.read.private\":{{\"{}\"", alice.user_id);
    assert!(!all.to_string().contains(&private), "{all}");
}

#[tokio::test]
async fn presence_is_for_those_who_ask_and_share_a_room() {
    let scene = Scene::new("irc", "receive_ephemeral: true").await;
    let service = &scene.service;
    let (alice, bob, _room) = bridged(&scene).await;
    let carol = scene.server.api().register_as("carol").await;
    let set = async |user: &User, status: &str| {
        let path = format!("v3/presence/{}/status", escape(&user.user_id));
        let body = json!({ "presence": "unavailable", "status_msg": status });
        user.put(path, body).await.ok();
    };
    let presence = async |sender: &str, status: &str| {
        harness::eventually("presence", 20, async || {
            let all = service.ephemeral();
            all.into_iter()
                .find(|event| event["sender"] == sender && event["content"]["status_msg"] == status)
        })
        .await
    };
    // Nobody of the service is where carol is.
    set(&carol, "alone").await;
    set(&alice, "tea").await;
    let event = presence(&alice.user_id, "tea").await;
    assert_eq!(event["type"], "m.presence");
    assert_eq!(event["content"]["presence"], "unavailable");
    assert!(event["content"]["last_active_ago"].is_u64() && event.get("room_id").is_none());
    // Its own users are its business wherever they are.
    set(&bob, "here").await;
    presence(&bob.user_id, "here").await;
    let all = Value::from(service.ephemeral());
    assert!(!all.to_string().contains(&carol.user_id), "{all}");
}

#[tokio::test]
async fn who_does_not_ask_is_told_events_alone() {
    let scene = Scene::new("irc", "").await;
    let (alice, _bob, room) = bridged(&scene).await;
    let said = alice.say(&room, "hello").await;
    let typing = format!("v3/rooms/{room}/typing/{}", escape(&alice.user_id));
    let body = json!({ "typing": true, "timeout": 30_000 });
    alice.put(typing, body).await.ok();
    let path = format!("v3/rooms/{room}/receipt/m.read/{said}");
    alice.post(path, json!({})).await.ok();
    let last = alice.say(&room, "later").await;
    scene.service.event_of(&last).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(scene.service.ephemeral().is_empty());
}
