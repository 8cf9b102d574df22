//! What services are told whose users talk encrypted (MSC4203, MSC3202).

use harness::signing::DeviceKeys;
use harness::{AppService, User};
use serde_json::{Value, json};

use super::Scene;
use super::telling::bridged;

/// A line of the registration file.
const ENCRYPTS: &str = "org.matrix.msc3202: true";
const MESSAGES: &str = "de.sorunome.msc2409.to_device";
const LISTS: &str = "org.matrix.msc3202.device_lists";
const COUNTS: &str = "org.matrix.msc3202.device_one_time_keys_count";
const UNUSED: &str = "org.matrix.msc3202.device_unused_fallback_key_types";

async fn send(from: &User, to: &User, number: u64) {
    let path = format!("v3/sendToDevice/m.room.encrypted/{number}");
    let messages = json!({ &to.user_id: { &to.device_id: { "n": number } } });
    from.put(path, json!({ "messages": messages })).await.ok();
}

/// A message as a service gets it.
fn told(from: &User, to: &User, number: u64) -> Value {
    json!({
        "type": "m.room.encrypted", "sender": from.user_id, "content": { "n": number },
        "to_user_id": to.user_id, "to_device_id": to.device_id,
    })
}

/// All messages to devices that a service has taken.
fn messages(service: &AppService) -> Vec<Value> {
    let lists = service.told(MESSAGES);
    let lists = lists.iter().filter_map(Value::as_array);
    lists.flatten().cloned().collect()
}

async fn waiting(user: &User) -> usize {
    user.sync().await.to_device().len()
}

#[tokio::test]
async fn messages_and_counts_of_keys_come_with_transactions() {
    let scene = Scene::new("irc", ENCRYPTS).await;
    let service = &scene.service;
    let (alice, bob, _room) = bridged(&scene).await;
    let keys = DeviceKeys::of(&bob);
    keys.upload(&bob, 2).await;
    let fallback = json!({ "signed_curve25519:f": keys.fallback_key() });
    bob.post("v3/keys/upload", json!({ "fallback_keys": fallback }))
        .await
        .ok();

    send(&alice, &bob, 1).await;
    let one = service.until_told(MESSAGES, |_| true).await;
    assert_eq!(one, json!([told(&alice, &bob, 1)]));
    let count =
        |count: u64| json!({ &bob.user_id: { &bob.device_id: { "signed_curve25519": count } } });
    let unused = |kinds: Value| json!({ &bob.user_id: { &bob.device_id: kinds } });
    assert_eq!(service.told(COUNTS), [count(2)]);
    assert_eq!(service.told(UNUSED), [unused(json!(["signed_curve25519"]))]);
    // It is the service's: the device's own sync has nothing more.
    assert_eq!(waiting(&bob).await, 0);

    let claim = json!({ "one_time_keys": {
        &bob.user_id: { &bob.device_id: "signed_curve25519" },
    } });
    for left in [1, 0] {
        alice.post("v3/keys/claim", claim.clone()).await.ok();
        service
            .until_told(COUNTS, |told| *told == count(left))
            .await;
    }
    alice.post("v3/keys/claim", claim).await.ok();
    service
        .until_told(UNUSED, |told| *told == unused(json!([])))
        .await;

    // What is not taken comes again, once.
    service.refuses(Some(503));
    send(&alice, &bob, 2).await;
    harness::eventually("an attempt", 20, async || {
        let attempts = service.attempts();
        let last = attempts.last().unwrap();
        (last.body.get(MESSAGES).is_some() && last.status == 503).then_some(())
    })
    .await;
    assert_eq!(waiting(&bob).await, 0);
    service.refuses(None);
    send(&alice, &bob, 3).await;
    harness::eventually("the last message", 60, async || {
        messages(service)
            .contains(&told(&alice, &bob, 3))
            .then_some(())
    })
    .await;
    let expected: Vec<Value> = (1..=3).map(|number| told(&alice, &bob, number)).collect();
    assert_eq!(messages(service), expected);
}

#[tokio::test]
async fn device_lists_of_those_in_view_come_with_transactions() {
    let scene = Scene::new("irc", ENCRYPTS).await;
    let service = &scene.service;
    let (alice, bob, _room) = bridged(&scene).await;
    let carol = scene.server.api().register_as("carol").await;
    DeviceKeys::of(&carol).upload(&carol, 0).await;
    DeviceKeys::of(&alice).upload(&alice, 0).await;
    let has = |user: &User| {
        let user_id = user.user_id.clone();
        move |told: &Value| {
            told["changed"]
                .as_array()
                .unwrap()
                .contains(&json!(user_id))
        }
    };
    service.until_told(LISTS, has(&alice)).await;
    DeviceKeys::of(&bob).upload(&bob, 0).await;
    service.until_told(LISTS, has(&bob)).await;
    let all = Value::from(service.told(LISTS));
    assert!(!all.to_string().contains(&carol.user_id), "{all}");
}

#[tokio::test]
async fn only_who_asks_is_told_and_only_what_is_its_own_is_taken() {
    // Not asked for: the device gets it.
    let scene = Scene::new("irc", "receive_ephemeral: true").await;
    let (alice, bob, room) = bridged(&scene).await;
    DeviceKeys::of(&alice).upload(&alice, 0).await;
    send(&alice, &bob, 1).await;
    let said = alice.say(&room, "later").await;
    scene.service.event_of(&said).await;
    assert_eq!(waiting(&bob).await, 1);
    for name in [MESSAGES, LISTS, COUNTS, UNUSED] {
        assert!(scene.service.told(name).is_empty(), "{name}");
    }

    // A user whom the service does not have for itself alone: both get it.
    let service = AppService::start("log").await;
    let namespace = "  users: [{ exclusive: false, regex: '@dora:.*' }]";
    let text = service.registration(namespace, ENCRYPTS);
    let scene = Scene::with(service, &text, "");
    let alice = scene.server.api().register_as("alice").await;
    let dora = scene.server.api().register_as("dora").await;
    send(&alice, &dora, 1).await;
    let one = scene.service.until_told(MESSAGES, |_| true).await;
    assert_eq!(one, json!([told(&alice, &dora, 1)]));
    assert_eq!(waiting(&dora).await, 1);
}
