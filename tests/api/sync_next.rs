//! Later syncs: what changed, once, in order, without waiting longer than told.

use std::time::{Duration, Instant};

use harness::{event_ids, find_event};
use serde_json::json;

use crate::server;

#[tokio::test]
async fn only_what_is_new_comes() {
    let alice = server().register("alice").await;
    let (room, quiet) = (alice.public_room().await, alice.public_room().await);
    let first = alice.sync().await;
    let said = alice.say(&room, "hello").await;
    let second = alice.sync_since(&first).await;
    assert_eq!(event_ids(second.timeline(&room)), [said.as_str()]);
    assert_eq!(second.joined(&room)["timeline"]["limited"], false);
    assert!(second.state(&room).is_empty());
    assert!(second.joined(&quiet).is_null());
    let third = alice.sync_since(&second).await;
    assert!(third.joined(&room).is_null(), "{:?}", third.0);
}

#[tokio::test]
async fn the_same_token_gives_the_same_again() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let first = alice.sync().await;
    let said = alice.say(&room, "hello").await;
    for _ in 0..2 {
        let next = alice.sync_since(&first).await;
        assert_eq!(event_ids(next.timeline(&room)), [said.as_str()]);
    }
}

#[tokio::test]
async fn a_quiet_sync_waits_as_long_as_it_may() {
    let alice = server().register("alice").await;
    let first = alice.sync().await;
    let start = Instant::now();
    alice
        .sync_with(&format!("timeout=700&since={}", first.next_batch()))
        .await;
    let waited = start.elapsed();
    assert!(
        (Duration::from_millis(600)..Duration::from_secs(5)).contains(&waited),
        "{waited:?}"
    );
    let start = Instant::now();
    alice.sync_since(&first).await;
    assert!(
        start.elapsed() < Duration::from_millis(500),
        "without a timeout it does not wait"
    );
}

#[tokio::test]
async fn a_first_sync_does_not_wait() {
    let alice = server().register("alice").await;
    let start = Instant::now();
    alice.sync_with("timeout=20000").await;
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_waiting_sync_wakes_for_a_message_but_not_for_strangers() {
    let api = server();
    let (alice, bob, stranger) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("stranger").await,
    );
    let room = alice.room_with(&[&bob]).await;
    let strange = stranger.public_room().await;
    let first = bob.sync().await;
    let path = format!("timeout=20000&since={}", first.next_batch());
    let waiting = tokio::spawn({
        let bob = bob.clone();
        async move { bob.sync_with(&path).await }
    });
    stranger.say(&strange, "elsewhere").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!waiting.is_finished(), "woken for nothing");
    let start = Instant::now();
    let said = alice.say(&room, "wake up").await;
    let synced = waiting.await.unwrap();
    assert_eq!(event_ids(synced.timeline(&room)), [said.as_str()]);
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn many_devices_wait_and_all_wake() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let mut devices = Vec::new();
    for _ in 0..10 {
        devices.push(bob.another_device().await);
    }
    let mut waiting = tokio::task::JoinSet::new();
    for device in devices {
        let first = device.sync().await;
        let path = format!("timeout=20000&since={}", first.next_batch());
        waiting.spawn(async move { device.sync_with(&path).await });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let said = alice.say(&room, "to all").await;
    for synced in waiting.join_all().await {
        assert_eq!(event_ids(synced.timeline(&room)), [said.as_str()]);
    }
}

#[tokio::test]
async fn a_gap_is_said_and_can_be_filled() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let first = alice.sync().await;
    let topic = alice
        .set_state(&room, "m.room.topic", "", json!({ "topic": "t" }))
        .await;
    let mut said = Vec::new();
    for number in 0..14 {
        said.push(alice.say(&room, &format!("number {number}")).await);
    }
    let synced = alice.sync_since(&first).await;
    let timeline = &synced.joined(&room)["timeline"];
    assert_eq!(timeline["limited"], true);
    assert_eq!(event_ids(synced.timeline(&room)), said[4..]);
    assert_eq!(
        event_ids(synced.state(&room)),
        [topic.as_str()],
        "what changed in the gap"
    );
    let (from, to) = (timeline["prev_batch"].as_str().unwrap(), first.next_batch());
    let path = format!("v3/rooms/{room}/messages?dir=b&limit=100&from={from}&to={to}");
    let page = alice.get(path).await.ok();
    let gap = event_ids(page["chunk"].as_array().unwrap());
    let mut expected: Vec<&str> = said[..4].iter().rev().map(String::as_str).collect();
    expected.push(&topic);
    assert_eq!(gap, expected);
}

#[tokio::test]
async fn full_state_comes_when_it_is_asked_for() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let first = alice.sync().await;
    let query = format!("timeout=20000&full_state=true&since={}", first.next_batch());
    let start = Instant::now();
    let synced = alice.sync_with(&query).await;
    assert!(start.elapsed() < Duration::from_secs(5), "it does not wait");
    let state = synced.state(&room);
    for kind in [
        "m.room.create",
        "m.room.member",
        "m.room.power_levels",
        "m.room.join_rules",
    ] {
        assert!(find_event(state, kind).is_some(), "{kind}: {state:?}");
    }
    assert!(synced.timeline(&room).is_empty());
}

#[tokio::test]
async fn a_message_is_in_the_next_sync_of_its_sender() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let mut synced = alice.sync().await;
    for number in 0..20 {
        let said = alice.say(&room, &format!("number {number}")).await;
        synced = alice.sync_since(&synced).await;
        assert_eq!(event_ids(synced.timeline(&room)), [said.as_str()]);
    }
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_while_others_talk() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let first = bob.sync().await;
    let talking = tokio::spawn({
        let (alice, room) = (alice.clone(), room.clone());
        async move {
            let mut said = Vec::new();
            for round in 0..20 {
                let mut waiting = tokio::task::JoinSet::new();
                for number in 0..5 {
                    let (alice, room) = (alice.clone(), room.clone());
                    waiting
                        .spawn(async move { alice.say(&room, &format!("{round}.{number}")).await });
                }
                said.extend(waiting.join_all().await);
            }
            said
        }
    });
    let mut seen: Vec<String> = Vec::new();
    let filter = harness::escape(&json!({ "room": { "timeline": { "limit": 100 } } }).to_string());
    let mut since = first.next_batch().to_owned();
    for _ in 0..300 {
        if seen.len() >= 100 {
            break;
        }
        let query = format!("timeout=1000&since={since}&filter={filter}");
        let synced = bob.sync_with(&query).await;
        since = synced.next_batch().to_owned();
        seen.extend(
            event_ids(synced.timeline(&room))
                .into_iter()
                .map(str::to_owned),
        );
    }
    let mut said = talking.await.unwrap();
    said.sort();
    seen.sort();
    assert_eq!(seen, said);
}

#[tokio::test]
async fn a_token_of_another_user_shows_only_ones_own() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.create_room(json!({})).await;
    let first = alice.sync().await;
    alice.say(&room, "private words").await;
    let answer = bob
        .get(format!("v3/sync?timeout=0&since={}", first.next_batch()))
        .await;
    assert!(!answer.text.contains("private words"), "{answer:?}");
}

#[tokio::test]
async fn presence_may_be_named_and_is_checked() {
    let alice = server().register("alice").await;
    for presence in ["online", "offline", "unavailable"] {
        alice
            .sync_with(&format!("timeout=0&set_presence={presence}"))
            .await;
    }
}
