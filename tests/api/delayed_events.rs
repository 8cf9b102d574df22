//! Events that are sent later (MSC4140).

use std::time::Duration;

use harness::{Answer, Config, Server, User};
use serde_json::{Value, json};

use crate::server;

const PREFIX: &str = "unstable/org.matrix.msc4140";
/// Longer than any test lasts.
const LATER: u64 = 3_600_000;

async fn put(user: &User, room: &str, transaction: &str, body: Value) -> Answer {
    let path = format!("{PREFIX}/rooms/{room}/delayed_event/m.room.message/{transaction}");
    user.put(path, body).await
}

fn message(text: &str, delay: u64) -> Value {
    json!({ "delay_ms": delay, "content": { "msgtype": "m.text", "body": text } })
}

fn id_of(answer: Answer) -> String {
    answer.ok()["delay_id"].as_str().unwrap().to_owned()
}

async fn schedule(user: &User, room: &str, text: &str, delay: u64) -> String {
    id_of(put(user, room, text, message(text, delay)).await)
}

/// Schedules state at the endpoint that would set it now.
async fn schedule_state(user: &User, room: &str, key: &str, delay: u64) -> String {
    let path =
        format!("v3/rooms/{room}/state/org.example.call/{key}?org.matrix.msc4140.delay={delay}");
    id_of(user.put(path, json!({ "left": true })).await)
}

async fn act(user: &harness::Api, delay_id: &str, action: &str) -> Answer {
    let path = format!("{PREFIX}/delayed_events/{delay_id}/{action}");
    user.post(path, json!({})).await
}

async fn list(user: &User) -> Vec<Value> {
    let answer = user.get(format!("{PREFIX}/delayed_events")).await.ok();
    answer["delayed_events"].as_array().unwrap().clone()
}

async fn one(user: &User, delay_id: &str) -> Value {
    user.get(format!("{PREFIX}/delayed_events/{delay_id}"))
        .await
        .ok()
}

/// Waits until a delayed event has ended, and returns what is known of it then.
async fn ended(user: &User, delay_id: &str) -> Value {
    for _ in 0..200 {
        let event = one(user, delay_id).await;
        if event.get("finalised_ts").is_some() {
            return event;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the delayed event {delay_id} waits too long");
}

#[tokio::test]
async fn a_delayed_event_is_sent_in_its_time_and_tells_its_sender_its_id() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let delay_id = schedule(&alice, &room, "later", 800).await;
    let waiting = list(&alice).await;
    assert_eq!(waiting.len(), 1);
    let event = &waiting[0];
    assert_eq!(event["delay_id"], delay_id.as_str());
    assert_eq!(event["room_id"], room.as_str());
    assert_eq!(event["type"], "m.room.message");
    assert_eq!(event["content"]["body"], "later");
    assert_eq!(
        (&event["delay_ms"], &event["delay"]),
        (&json!(800), &json!(800))
    );
    assert_eq!(event["running_since"], event["scheduled_at"]);
    assert!(event.get("state_key").is_none() && event.get("finalised_ts").is_none());
    assert!(list(&bob).await.is_empty(), "others are told nothing");

    let event = ended(&alice, &delay_id).await;
    let (sent, due) = (
        event["finalised_ts"].as_u64().unwrap(),
        event["scheduled_at"].as_u64().unwrap() + 800,
    );
    assert!(sent >= due, "sent {} ms early", due.saturating_sub(sent));
    assert!(list(&alice).await.is_empty());
    let event_id = event["event_id"].as_str().unwrap();
    let own = alice.event(&room, event_id).await.ok();
    assert_eq!(own["content"]["body"], "later");
    let told = "org.matrix.msc4140.delay_id";
    assert_eq!(own["unsigned"][told], delay_id.as_str());
    let others = bob.event(&room, event_id).await.ok();
    assert!(others["unsigned"].get(told).is_none(), "{others}");
    let synced = alice.sync().await;
    let last = synced.timeline(&room).last().unwrap();
    assert_eq!(last["unsigned"][told], delay_id.as_str());
}

#[tokio::test]
async fn the_same_transaction_schedules_once() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let first = schedule(&alice, &room, "once", LATER).await;
    assert_eq!(schedule(&alice, &room, "once", LATER).await, first);
    assert_ne!(schedule(&alice, &room, "twice", LATER).await, first);
    assert_eq!(list(&alice).await.len(), 2);
    // The earlier text of the proposal, at the endpoint that would send it.
    let path = format!("v3/rooms/{room}/send/m.room.message/t1?org.matrix.msc4140.delay={LATER}");
    let body = json!({ "msgtype": "m.text", "body": "old" });
    let old = id_of(alice.put(&path, body.clone()).await);
    assert_eq!(id_of(alice.put(&path, body).await), old);
    assert_eq!(id_of(alice.raw(reqwest::Method::PUT, &path, "").await), old);
    assert_eq!(list(&alice).await.len(), 3);
}

#[tokio::test]
async fn a_delayed_event_is_sent_cancelled_and_restarted_on_demand() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let (send, cancel, restart) = (
        schedule(&alice, &room, "send", LATER).await,
        schedule(&alice, &room, "cancel", LATER).await,
        schedule(&alice, &room, "restart", LATER).await,
    );
    act(&alice, &send, "send").await.ok();
    act(&alice, &send, "send").await.ok();
    let sent = one(&alice, &send).await;
    let event_id = sent["event_id"].as_str().unwrap();
    assert_eq!(
        alice.event(&room, event_id).await.ok()["content"]["body"],
        "send"
    );
    for action in ["cancel", "restart"] {
        act(&alice, &send, action).await.refused(409, "M_UNKNOWN");
    }

    act(&alice, &cancel, "cancel").await.ok();
    act(&alice, &cancel, "cancel").await.ok();
    for action in ["send", "restart"] {
        act(&alice, &cancel, action).await.refused(409, "M_UNKNOWN");
    }
    let cancelled = one(&alice, &cancel).await;
    assert!(cancelled.get("event_id").is_none() && cancelled.get("error").is_none());

    let before = one(&alice, &restart).await["scheduled_at"]
        .as_u64()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    // The earlier text has the action in the body.
    let path = format!("{PREFIX}/delayed_events/{restart}");
    alice.post(&path, json!({ "action": "restart" })).await.ok();
    assert!(
        one(&alice, &restart).await["scheduled_at"]
            .as_u64()
            .unwrap()
            > before
    );
    alice
        .post(&path, json!({ "action": "dance" }))
        .await
        .refused(400, "M_INVALID_PARAM");
    alice
        .post(&path, json!({}))
        .await
        .refused(400, "M_BAD_JSON");
    act(&alice, &restart, "dance")
        .await
        .refused(404, "M_UNRECOGNIZED");
    assert_eq!(list(&alice).await.len(), 1);
}

#[tokio::test]
async fn the_delay_id_is_the_key_and_other_users_do_not_have_it() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let delay_id = schedule(&alice, &room, "mine", LATER).await;
    for action in ["send", "cancel", "restart"] {
        act(&bob, &delay_id, action)
            .await
            .refused(404, "M_NOT_FOUND");
        act(&alice, "unknown", action)
            .await
            .refused(404, "M_NOT_FOUND");
    }
    bob.get(format!("{PREFIX}/delayed_events/{delay_id}"))
        .await
        .refused(404, "M_NOT_FOUND");
    // Whoever was given the id needs no account: the server of a call, for instance.
    act(&api.anonymous(), &delay_id, "restart").await.ok();
    act(&api.anonymous(), &delay_id, "send").await.ok();
    assert!(one(&alice, &delay_id).await["event_id"].is_string());
    api.anonymous()
        .get(format!("{PREFIX}/delayed_events"))
        .await
        .refused(401, "M_MISSING_TOKEN");
    let wrong = api.with_token("wrong");
    act(&wrong, &delay_id, "cancel")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn what_cannot_be_scheduled_is_refused() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.public_room().await;
    for (body, status, errcode) in [
        (
            json!({ "delay_ms": 0, "content": {} }),
            400,
            "M_INVALID_PARAM",
        ),
        (json!({ "delay_ms": -5, "content": {} }), 400, "M_BAD_JSON"),
        (json!({ "content": {} }), 400, "M_BAD_JSON"),
        (json!({ "delay_ms": 5 }), 400, "M_BAD_JSON"),
        (json!({ "delay_ms": 5, "content": [] }), 400, "M_BAD_JSON"),
        (
            json!({ "delay_ms": 5, "content": { "body": "x".repeat(70_000) } }),
            413,
            "M_TOO_LARGE",
        ),
        (message("x", 86_400_001), 403, "M_FORBIDDEN"),
    ] {
        put(&alice, &room, "t", body).await.refused(status, errcode);
    }
    let told = put(&alice, &room, "t", message("x", 86_400_001)).await;
    assert_eq!(told.body["org.matrix.msc4140.max_delay"], 86_400_000);
    put(&bob, &room, "t", message("x", LATER))
        .await
        .refused(403, "M_FORBIDDEN");
    put(&alice, "!nowhere:localhost", "t", message("x", LATER))
        .await
        .refused(403, "M_FORBIDDEN");
    let path = format!("v3/rooms/{room}/send/m.room.message/t?org.matrix.msc4140.delay=soon");
    alice
        .put(path, json!({}))
        .await
        .refused(400, "M_INVALID_PARAM");
    assert!(list(&alice).await.is_empty());
}

#[tokio::test]
async fn the_room_decides_when_the_event_is_sent() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let topic = json!({ "delay_ms": 900, "state_key": "", "content": { "topic": "mine" } });
    let path = format!("{PREFIX}/rooms/{room}/delayed_event/m.room.topic/t");
    let delay_id = id_of(bob.put(path, topic).await);
    // It stays scheduled where it is only tried early.
    act(&bob, &delay_id, "send")
        .await
        .refused(403, "M_FORBIDDEN");
    assert_eq!(list(&bob).await.len(), 1);
    let failed = ended(&bob, &delay_id).await;
    assert_eq!(failed["error"]["errcode"], "M_FORBIDDEN");
    assert!(failed["error"]["error"].is_string());
    assert!(failed.get("event_id").is_none());
    act(&bob, &delay_id, "cancel").await.ok();
}

#[tokio::test]
async fn state_that_somebody_else_sets_meanwhile_stays() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    // In rooms of version 12 the creator stands above the levels.
    let levels = json!({ "users": { &bob.user_id: 100 } });
    alice
        .set_state(&room, "m.room.power_levels", "", levels)
        .await;

    let own = schedule_state(&alice, &room, "own", 1_000).await;
    let others = schedule_state(&alice, &room, "others", 1_000).await;
    let content = json!({ "left": false });
    alice
        .set_state(&room, "org.example.call", "own", content.clone())
        .await;
    bob.set_state(&room, "org.example.call", "others", content)
        .await;
    let waiting: Vec<_> = list(&alice).await;
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(waiting[0]["state_key"], "own");
    act(&alice, &others, "send").await.refused(409, "M_UNKNOWN");
    act(&alice, &others, "restart")
        .await
        .refused(409, "M_UNKNOWN");

    assert!(ended(&alice, &own).await["event_id"].is_string());
    assert!(ended(&alice, &others).await.get("event_id").is_none());
    let state = async |key: &str| alice.state(&room, "org.example.call", key).await.ok();
    assert_eq!(state("own").await["left"], true);
    assert_eq!(state("others").await["left"], false);
}

#[tokio::test]
async fn delayed_events_survive_a_crash_and_are_sent_once() {
    let mut server = Server::start();
    let alice = server.api().register("alice").await;
    let room = alice.public_room().await;
    let due = schedule(&alice, &room, "due while nobody runs", 700).await;
    let far = schedule(&alice, &room, "far", LATER).await;
    server.kill9();
    tokio::time::sleep(Duration::from_millis(900)).await;
    server.restart();
    let token = alice.access_token;
    let alice = server.api().with_token(&token);
    let get = async |id: &str| {
        alice
            .get(format!("{PREFIX}/delayed_events/{id}"))
            .await
            .ok()
    };
    let mut tries = 0;
    while get(&due).await.get("event_id").is_none() {
        tries += 1;
        assert!(tries < 200, "the event that was due is not sent");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(get(&far).await.get("finalised_ts").is_none());
    server.kill9();
    server.restart();
    let alice = server.api().with_token(&token);
    let messages = alice
        .get(format!("v3/rooms/{room}/messages?dir=b&limit=50"))
        .await
        .ok();
    let sent = messages["chunk"].as_array().unwrap().iter();
    let sent = sent.filter(|event| event["content"]["body"] == "due while nobody runs");
    assert_eq!(sent.count(), 1);
    act(&alice, &far, "cancel").await.ok();
}

#[tokio::test]
async fn a_user_has_only_so_many_and_the_server_says_how_many() {
    let config = Config {
        more: "[rooms]\ndelayed_events_per_user = 2\ndelayed_events_max_delay = 60\n".into(),
        ..Config::default()
    };
    let server = Server::with(config);
    let alice = server.api().register("alice").await;
    let room = alice.public_room().await;
    let capabilities = alice.get("v3/capabilities").await.ok();
    assert_eq!(
        capabilities["capabilities"]["org.matrix.msc4140.delayed_events"],
        json!({ "max_delay_ms": 60_000, "max_scheduled": 2 })
    );
    let versions = alice.get("versions").await.ok();
    assert_eq!(versions["unstable_features"]["org.matrix.msc4140"], true);
    let first = schedule(&alice, &room, "1", 30_000).await;
    schedule(&alice, &room, "2", 50_000).await;
    let refused = put(&alice, &room, "3", message("3", 50_000)).await;
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((20..=30).contains(&wait), "{wait}");
    refused.refused(429, "M_LIMIT_EXCEEDED");
    act(&alice, &first, "cancel").await.ok();
    schedule(&alice, &room, "3", 50_000).await;
    // An event that was scheduled once is not counted again.
    schedule(&alice, &room, "3", 50_000).await;
}

#[tokio::test]
async fn a_server_can_be_without_delayed_events() {
    let config = Config {
        more: "[rooms]\ndelayed_events_per_user = 0\n".into(),
        ..Config::default()
    };
    let server = Server::with(config);
    let alice = server.api().register("alice").await;
    let room = alice.public_room().await;
    put(&alice, &room, "t", message("x", 5))
        .await
        .refused(403, "M_FORBIDDEN");
}
