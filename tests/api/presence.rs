//! Who is there.

use harness::{Config, Server, Synced, User};
use serde_json::{Value, json};

use crate::server;

fn status(user: &User) -> String {
    format!("v3/presence/{}/status", user.user_id)
}

fn shown<'a>(synced: &'a Synced, user: &User) -> Option<&'a Value> {
    let events = synced.0["presence"]["events"].as_array()?;
    let event = events
        .iter()
        .find(|event| event["sender"] == user.user_id.as_str())?;
    assert_eq!(event["type"], "m.presence");
    Some(&event["content"])
}

#[tokio::test]
async fn presence_is_set_and_told_to_those_who_share_a_room() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice.room_with(&[&bob]).await;
    let before = bob.sync().await;
    alice
        .put(
            status(&alice),
            json!({ "presence": "online", "status_msg": "at the helm" }),
        )
        .await
        .ok();
    let (content, after) = bob
        .sync_until(&before, "alice's presence", |synced| {
            shown(synced, &alice).cloned()
        })
        .await;
    assert_eq!(content["presence"], "online");
    assert_eq!(content["status_msg"], "at the helm");
    assert_eq!(content["currently_active"], true);
    assert!(content["last_active_ago"].as_u64().unwrap() < 10_000);
    let got = bob.get(status(&alice)).await.ok();
    assert_eq!(got["status_msg"], "at the helm");
    assert_eq!(got["presence"], "online");
    // Told once only.
    assert!(shown(&bob.sync_since(&after).await, &alice).is_none());
    // Those who are outside learn nothing, not even who there is.
    carol.get(status(&alice)).await.refused(403, "M_FORBIDDEN");
    carol
        .get("v3/presence/@nobody:localhost/status")
        .await
        .refused(403, "M_FORBIDDEN");
    assert!(shown(&carol.sync().await, &alice).is_none());
    // Who comes in is told, and is seen.
    let outside = carol.sync().await;
    let inside = bob.sync_since(&after).await;
    carol.join(&room).await;
    carol
        .sync_until(&outside, "alice's presence", |synced| {
            shown(synced, &alice).cloned()
        })
        .await;
    bob.sync_until(&inside, "carol's presence", |synced| {
        shown(synced, &carol).cloned()
    })
    .await;
    alice
        .put(status(&alice), json!({ "presence": "offline" }))
        .await
        .ok();
    let got = bob.get(status(&alice)).await.ok();
    assert_eq!(got["presence"], "offline");
    assert!(got.get("status_msg").is_none(), "{got}");
}

#[tokio::test]
async fn a_sync_says_how_one_wants_to_be_shown() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    alice.room_with(&[&bob]).await;
    let is = async |expected: &str| {
        let got = alice.get(status(&bob)).await.ok();
        assert_eq!(got["presence"], expected);
    };
    is("offline").await;
    bob.sync_with("timeout=0&set_presence=offline").await;
    is("offline").await;
    bob.sync_with("timeout=0&set_presence=unavailable").await;
    is("unavailable").await;
    // Doing something is being there.
    let room = bob.public_room().await;
    bob.say(&room, "hello").await;
    is("online").await;
    let synced = alice
        .sync_filtered(&json!({ "presence": { "types": [] } }), "")
        .await;
    assert!(synced.0.get("presence").is_none());
    let synced = alice
        .sync_filtered(
            &json!({ "presence": { "not_senders": [alice.user_id] } }),
            "",
        )
        .await;
    assert!(shown(&synced, &bob).is_some());
    assert!(shown(&synced, &alice).is_none());
}

#[tokio::test]
async fn devices_say_that_nobody_is_there_and_that_somebody_is_back() {
    let server = Server::with(Config {
        more: "[rooms]\npresence_idle_after = 3600\npresence_offline_after = 3600".into(),
        ..Config::default()
    });
    let api = server.api();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    alice.room_with(&[&bob]).await;
    let is = async |expected: &str| {
        let got = alice.get(status(&bob)).await.ok();
        assert_eq!(got["presence"], expected);
    };
    bob.sync().await;
    is("online").await;
    bob.sync_with("timeout=0&set_presence=unavailable").await;
    is("unavailable").await;
    bob.sync().await;
    is("online").await;
    // One of two devices is in use.
    let phone = bob.another_device().await;
    phone.sync().await;
    bob.sync_with("timeout=0&set_presence=unavailable").await;
    is("online").await;
    phone.sync_with("timeout=0&set_presence=unavailable").await;
    is("unavailable").await;
    // Whoever says so themselves is idle, whatever they have open.
    phone.sync().await;
    is("online").await;
    let idle = json!({ "presence": "unavailable" });
    bob.put(status(&bob), idle).await.ok();
    phone.sync().await;
    is("unavailable").await;
}

#[tokio::test]
async fn who_does_nothing_is_away_and_then_gone() {
    let server = Server::with(Config {
        more: "[rooms]\npresence_idle_after = 1\npresence_offline_after = 4".into(),
        ..Config::default()
    });
    let api = server.api();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    alice.room_with(&[&bob]).await;
    let before = alice.sync().await;
    bob.sync().await;
    let mut seen = Vec::new();
    alice
        .sync_until(&before, "bob goes", |synced| {
            if let Some(content) = shown(synced, &bob) {
                let state = content["presence"].as_str().unwrap().to_owned();
                if seen.last() != Some(&state) {
                    seen.push(state);
                }
            }
            (seen.last().map(String::as_str) == Some("offline")).then_some(())
        })
        .await;
    assert_eq!(seen, ["online", "unavailable", "offline"]);
}

#[tokio::test]
async fn presence_can_be_switched_off() {
    let server = Server::with(Config {
        more: "[rooms]\npresence = false".into(),
        ..Config::default()
    });
    let api = server.api();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    alice.room_with(&[&bob]).await;
    bob.put(status(&bob), json!({ "presence": "online" }))
        .await
        .ok();
    assert_eq!(
        alice.get(status(&bob)).await.ok(),
        json!({ "presence": "offline" })
    );
    assert!(alice.sync().await.0.get("presence").is_none());
}

#[tokio::test]
async fn wrong_presence_is_refused() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let body = json!({ "presence": "online" });
    bob.put(status(&alice), body.clone())
        .await
        .refused(403, "M_FORBIDDEN");
    for wrong in [
        json!({}),
        json!({ "presence": "asleep" }),
        json!({ "presence": "online", "status_msg": "x".repeat(2_000) }),
    ] {
        alice.put(status(&alice), wrong).await.refused_with(&[400]);
    }
    api.anonymous()
        .get(status(&alice))
        .await
        .refused(401, "M_MISSING_TOKEN");
}
