//! Services that fail, are slow or go away, and a server that is killed: nothing is lost,
//! nothing changes its order, and what is sent again is the same.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness::{AppService, Asked, User, eventually};
use serde_json::{Value, json};

use super::{Scene, config};

/// A room with a user of the service, which was told so.
async fn bridged(scene: &Scene) -> (User, String) {
    let alice = scene.server.api().register_as("alice").await;
    let room = alice.public_room().await;
    let bob = scene.service.user(&scene.server, "bob").await;
    bob.join(&room).await;
    let joined = |event: &Value| event["state_key"] == bob.user_id.as_str();
    scene.service.event("the join", joined).await;
    (alice, room)
}

/// The same person on connections of after a kill.
fn anew(scene: &Scene, user: &User) -> User {
    scene.server.api().user_of(json!({
        "access_token": user.access_token, "user_id": user.user_id, "device_id": user.device_id,
    }))
}

async fn say(alice: &User, room: &str, texts: std::ops::Range<u32>) -> Vec<String> {
    let mut events = Vec::new();
    for number in texts {
        events.push(alice.say(room, &number.to_string()).await);
    }
    events
}

/// The ids of the messages that were taken, each once, in the order of their first time.
fn messages(service: &AppService) -> Vec<String> {
    let mut seen = Vec::new();
    for event in service.events() {
        let id = event["event_id"].as_str().unwrap().to_owned();
        if event["type"] == "m.room.message" && !seen.contains(&id) {
            seen.push(id);
        }
    }
    seen
}

async fn until_told(service: &AppService, events: &[String]) {
    service.event_of(events.last().unwrap()).await;
    assert_eq!(messages(service), events);
}

/// Every attempt with an id brought the same bytes.
fn nothing_changed(attempts: &[Asked]) {
    let mut bodies = BTreeMap::new();
    for asked in attempts {
        let id = asked.transaction_id().unwrap();
        let known = bodies.entry(id).or_insert(&asked.raw);
        assert_eq!(*known, &asked.raw, "the transaction {id} has changed");
    }
}

#[tokio::test]
async fn a_service_that_fails_gets_the_same_again() {
    let scene = Scene::new("irc", "").await;
    let service = &scene.service;
    let (alice, room) = bridged(&scene).await;
    service.refuses(Some(500));
    let mut events = say(&alice, &room, 0..2).await;
    let before = service.attempts().len();
    eventually("a second attempt", 20, async || {
        (service
            .attempts()
            .iter()
            .filter(|asked| asked.status == 500)
            .count()
            >= 2)
            .then_some(())
    })
    .await;
    events.extend(say(&alice, &room, 2..5).await);
    let refused: Vec<_> = service
        .attempts()
        .into_iter()
        .filter(|asked| asked.status == 500)
        .collect();
    // Nothing else is tried before the first is taken.
    let first = refused[0].transaction_id().unwrap().to_owned();
    assert!(
        refused
            .iter()
            .all(|asked| asked.transaction_id() == Some(&*first))
    );
    assert!(before > 0);
    service.refuses(None);
    until_told(service, &events).await;
    nothing_changed(&service.attempts());
}

#[tokio::test]
async fn a_service_that_shows_up_is_told_at_once() {
    let scene = Scene::new("irc", "").await;
    let service = &scene.service;
    let (alice, room) = bridged(&scene).await;
    service.refuses(Some(503));
    let events = say(&alice, &room, 0..1).await;
    eventually("four attempts", 30, async || {
        (service
            .attempts()
            .iter()
            .filter(|asked| asked.status == 503)
            .count()
            >= 4)
            .then_some(())
    })
    .await;
    service.refuses(None);
    // The next attempt would be some seconds away.
    let begun = Instant::now();
    scene
        .api
        .post("v1/appservice/irc/ping", json!({}))
        .await
        .ok();
    until_told(service, &events).await;
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_service_that_restarts_misses_nothing() {
    let scene = Scene::new("irc", "").await;
    let (alice, room) = bridged(&scene).await;
    let mut events = say(&alice, &room, 0..3).await;
    until_told(&scene.service, &events).await;
    let Scene {
        service,
        server: _server,
        ..
    } = scene;
    let address = service.address();
    drop(service);
    events = say(&alice, &room, 3..8).await;
    let service = AppService::start_at("irc", address).await;
    until_told(&service, &events).await;
}

#[tokio::test]
async fn a_server_that_is_killed_goes_on_where_it_was() {
    let mut scene = Scene::new("irc", "").await;
    let (alice, room) = bridged(&scene).await;
    scene.service.refuses(Some(500));
    let mut events = say(&alice, &room, 0..3).await;
    eventually("an attempt", 20, async || {
        scene
            .service
            .attempts()
            .iter()
            .any(|asked| asked.status == 500)
            .then_some(())
    })
    .await;
    events.extend(say(&alice, &room, 3..6).await);
    scene.server.kill9();
    let refused: Vec<_> = scene
        .service
        .attempts()
        .into_iter()
        .filter(|asked| asked.status == 500)
        .collect();
    let pending = refused.last().unwrap();
    scene.service.refuses(None);
    scene.server.restart();
    let alice = anew(&scene, &alice);
    events.extend(say(&alice, &room, 6..8).await);
    until_told(&scene.service, &events).await;
    let attempts = scene.service.attempts();
    nothing_changed(&attempts);
    // What was on its way came again as it was, before anything else.
    let first = attempts
        .iter()
        .skip_while(|asked| asked.transaction_id() != pending.transaction_id());
    let again = first.clone().find(|asked| asked.status == 200).unwrap();
    assert_eq!(again.transaction_id(), pending.transaction_id());
    assert_eq!(again.raw, pending.raw);
}

#[tokio::test]
async fn killed_again_and_again_the_server_tells_everything_in_order() {
    let mut scene = Scene::new("irc", "").await;
    let (mut alice, room) = bridged(&scene).await;
    let mut events = Vec::new();
    for round in 0..4 {
        // The kill comes while transactions are made, sent, confirmed.
        events.extend(say(&alice, &room, round * 6..round * 6 + 6).await);
        if round % 2 == 0 {
            scene.service.takes(Duration::from_millis(200));
        } else {
            scene.service.takes(Duration::ZERO);
        }
        scene.server.kill9();
        scene.server.restart();
        alice = anew(&scene, &alice);
    }
    scene.service.takes(Duration::ZERO);
    events.extend(say(&alice, &room, 100..101).await);
    until_told(&scene.service, &events).await;
    nothing_changed(&scene.service.attempts());
}

#[tokio::test]
async fn a_slow_service_delays_nobody_and_gets_many_at_once() {
    let scene = Scene::new("irc", "").await;
    let (alice, room) = bridged(&scene).await;
    let before = scene.service.attempts().len();
    scene.service.takes(Duration::from_secs(3));
    let begun = Instant::now();
    let events = say(&alice, &room, 0..10).await;
    assert!(begun.elapsed() < Duration::from_secs(20));
    until_told(&scene.service, &events).await;
    // One by one they would be ten.
    let attempts = scene.service.attempts().len() - before;
    assert!(attempts <= 5, "{attempts} transactions");
}

#[tokio::test]
async fn one_service_does_not_wait_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let (dead, alive) = (
        AppService::start("dead").await,
        AppService::start("alive").await,
    );
    for service in [&dead, &alive] {
        service.register_in(folder.path(), &service.usual_registration(""));
    }
    let server = harness::Server::with(config(&folder, ""));
    let alice = server.api().register_as("alice").await;
    let room = alice.public_room().await;
    for service in [&dead, &alive] {
        service.user(&server, "bob").await.join(&room).await;
    }
    dead.refuses(Some(500));
    let events = say(&alice, &room, 0..3).await;
    alive.event_of(&events[2]).await;
    assert_eq!(messages(&alive), events);
    assert!(messages(&dead).is_empty());
    dead.refuses(None);
    until_told(&dead, &events).await;
}
