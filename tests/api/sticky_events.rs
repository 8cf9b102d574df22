//! Events that are sticky for a while (MSC4354).

use std::time::Duration;

use harness::{Answer, Server, Synced, User, event_ids};
use serde_json::{Value, json};

use crate::server;

const SECTION: &str = "msc4354_sticky";
const EXTENSION: &str = "org.matrix.msc4354.sticky_events";
const LEFT: &str = "msc4354_sticky_duration_ttl_ms";

async fn try_stick(user: &User, room: &str, transaction: &str, duration: &str) -> Answer {
    let query = format!("org.matrix.msc4354.sticky_duration_ms={duration}");
    let path = format!("v3/rooms/{room}/send/org.example.member/{transaction}?{query}");
    user.put(path, json!({ "msc4354_sticky_key": transaction }))
        .await
}

async fn stick(user: &User, room: &str, transaction: &str, duration: u64) -> String {
    let answer = try_stick(user, room, transaction, &duration.to_string()).await;
    answer.ok()["event_id"].as_str().unwrap().to_owned()
}

fn sticky_ids<'a>(synced: &'a Synced, room: &str) -> Vec<&'a str> {
    let events = synced.joined(room)[SECTION]["events"].as_array();
    events.map(|events| event_ids(events)).unwrap_or_default()
}

/// Says more than a timeline of the default length holds.
async fn talk(user: &User, room: &str) {
    for number in 0..25 {
        user.say(room, &format!("{number}")).await;
    }
}

#[tokio::test]
async fn a_sticky_event_says_for_how_long_it_is_one() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let before = bob.sync().await;
    let event_id = stick(&alice, &room, "a", 300_000).await;
    let synced = bob.sync_since(&before).await;
    let told = synced.timeline(&room).last().unwrap();
    assert_eq!(told["event_id"], event_id.as_str());
    assert_eq!(told[SECTION], json!({ "duration_ms": 300_000 }));
    let left = told["unsigned"][LEFT].as_u64().unwrap();
    assert!((200_000..=300_000).contains(&left), "{left}");
    assert!(
        sticky_ids(&synced, &room).is_empty(),
        "it is not told twice"
    );
    let event = bob.event(&room, &event_id).await.ok();
    assert_eq!(event[SECTION]["duration_ms"], 300_000);
    assert!(event["unsigned"][LEFT].is_u64());
    let plain = alice.say(&room, "not sticky").await;
    let plain = bob.event(&room, &plain).await.ok();
    assert!(plain.get(SECTION).is_none() && plain["unsigned"].get(LEFT).is_none());
}

#[tokio::test]
async fn a_sticky_event_is_told_beside_a_timeline_that_leaves_it_out() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice.room_with(&[&bob]).await;
    let before = bob.sync().await;
    let event_id = stick(&alice, &room, "a", 300_000).await;
    let short = stick(&alice, &room, "b", 1).await;
    talk(&alice, &room).await;
    let synced = bob.sync_since(&before).await;
    assert!(!event_ids(synced.timeline(&room)).contains(&event_id.as_str()));
    assert_eq!(sticky_ids(&synced, &room), [event_id.as_str()]);
    let told = &synced.joined(&room)[SECTION]["events"][0];
    assert!(
        told["unsigned"][LEFT].is_u64() && told.get("room_id").is_none(),
        "{told}"
    );
    // Once is enough.
    alice.say(&room, "more").await;
    let next = bob.sync_since(&synced).await;
    assert!(sticky_ids(&next, &room).is_empty());
    // A first sync, and whoever joins later, is told what is sticky still.
    assert_eq!(sticky_ids(&bob.sync().await, &room), [event_id.as_str()]);
    let outside = carol.sync().await;
    carol.join(&room).await;
    talk(&alice, &room).await;
    let inside = carol.sync_since(&outside).await;
    assert_eq!(sticky_ids(&inside, &room), [event_id.as_str()]);
    // What was redacted is an event like any other.
    alice.redact(&room, &event_id).await;
    assert!(sticky_ids(&bob.sync().await, &room).is_empty());
    let redacted = bob.event(&room, &event_id).await.ok();
    assert!(redacted.get(SECTION).is_none(), "{redacted}");
    drop(short);
}

#[tokio::test]
async fn history_visibility_hides_no_sticky_event_from_members() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.public_room().await;
    let visibility = json!({ "history_visibility": "joined" });
    alice
        .set_state(&room, "m.room.history_visibility", "", visibility)
        .await;
    let event_id = stick(&alice, &room, "a", 300_000).await;
    let outside = bob.sync().await;
    assert!(outside.joined(&room).is_null());
    bob.join(&room).await;
    assert_eq!(sticky_ids(&bob.sync().await, &room), [event_id.as_str()]);
    bob.event(&room, &event_id)
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_filter_of_the_timeline_does_not_hide_sticky_events() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let filter = json!({ "room": { "timeline": { "types": ["m.room.message"] } } });
    let before = bob.sync_filtered(&filter, "").await;
    let event_id = stick(&alice, &room, "a", 300_000).await;
    let synced = bob.sync_filtered(&filter, before.next_batch()).await;
    assert!(synced.timeline(&room).is_empty());
    assert_eq!(sticky_ids(&synced, &room), [event_id.as_str()]);
}

#[tokio::test]
async fn state_can_be_sticky_and_a_delayed_event_is_from_when_it_is_sent() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let sticky = "org.matrix.msc4354.sticky_duration_ms=60000";
    let path = format!("v3/rooms/{room}/state/org.example.member/a?{sticky}");
    let first = alice.put(&path, json!({})).await.ok();
    // The same words again are sticky anew.
    let second = alice.put(&path, json!({})).await.ok();
    assert_ne!(first["event_id"], second["event_id"]);
    let path = format!(
        "v3/rooms/{room}/send/org.example.member/t?{sticky}&org.matrix.msc4140.delay=3600000"
    );
    let delay_id = alice.put(&path, json!({})).await.ok()["delay_id"].clone();
    let path = format!(
        "unstable/org.matrix.msc4140/delayed_events/{}",
        delay_id.as_str().unwrap()
    );
    alice.post(format!("{path}/send"), json!({})).await.ok();
    let sent = alice.get(path).await.ok();
    let event = alice
        .event(&room, sent["event_id"].as_str().unwrap())
        .await
        .ok();
    assert_eq!(event[SECTION]["duration_ms"], 60_000);
    for wrong in ["-1", "3600001", "long"] {
        try_stick(&alice, &room, "w", wrong)
            .await
            .refused(400, "M_INVALID_PARAM");
    }
    stick(&alice, &room, "longest", 3_600_000).await;
}

async fn slide(user: &User, more: Value) -> Value {
    let mut wanted = json!({ "enabled": true });
    wanted
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let body = json!({ "extensions": { EXTENSION: wanted } });
    let path = "unstable/org.matrix.simplified_msc3575/sync?timeout=0";
    user.post(path, body).await.ok()["extensions"][EXTENSION].clone()
}

#[tokio::test]
async fn sliding_syncs_tell_sticky_events_by_a_token_of_their_own() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    assert!(slide(&bob, json!({})).await.is_null());
    let mut sent = Vec::new();
    for transaction in ["a", "b", "c"] {
        sent.push(stick(&alice, &room, transaction, 300_000).await);
    }
    let ids = |part: &Value| -> Vec<String> {
        let events = part["rooms"][&room]["events"].as_array().unwrap();
        event_ids(events).iter().map(ToString::to_string).collect()
    };
    let all = slide(&bob, json!({})).await;
    assert_eq!(ids(&all), sent);
    assert!(all["rooms"][&room]["events"][0]["unsigned"][LEFT].is_u64());
    let first = slide(&bob, json!({ "limit": 2 })).await;
    assert_eq!(ids(&first), sent[..2]);
    let rest = slide(&bob, json!({ "limit": 2, "since": first["next_batch"] })).await;
    assert_eq!(ids(&rest), sent[2..]);
    let nothing = slide(&bob, json!({ "since": rest["next_batch"] })).await;
    assert!(nothing.is_null(), "{nothing}");
    let outside = api.register("carol").await;
    assert!(slide(&outside, json!({})).await.is_null());
}

#[tokio::test]
async fn stickiness_survives_a_crash() {
    let mut server = Server::start();
    let alice = server.api().register("alice").await;
    let room = alice.public_room().await;
    let event_id = stick(&alice, &room, "a", 300_000).await;
    stick(&alice, &room, "b", 50).await;
    talk(&alice, &room).await;
    server.kill9();
    tokio::time::sleep(Duration::from_millis(60)).await;
    server.restart();
    let api = server.api().with_token(&alice.access_token);
    let synced = Synced(api.get("v3/sync").await.ok());
    assert_eq!(sticky_ids(&synced, &room), [event_id.as_str()]);
    let versions = api.get("versions").await.ok();
    assert_eq!(versions["unstable_features"]["org.matrix.msc4354"], true);
}
