//! `PUT /sendToDevice/{eventType}/{txnId}`: handed over once, and surely.

use harness::{Synced, User};
use serde_json::{Value, json};

use crate::server;

async fn send(from: &User, transaction: &str, to: &User, device: &str, content: Value) {
    let body = json!({ "messages": { &to.user_id: { device: content } } });
    from.put(format!("v3/sendToDevice/m.test/{transaction}"), body)
        .await
        .ok();
}

fn numbers(synced: &Synced) -> Vec<i64> {
    synced
        .to_device()
        .iter()
        .map(|event| event["content"]["n"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_message_reaches_its_device_alone() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let phone = bob.another_device().await;
    send(&alice, "one", &bob, &phone.device_id, json!({ "n": 1 })).await;
    let synced = phone.sync().await;
    assert_eq!(synced.to_device().len(), 1);
    let event = &synced.to_device()[0];
    assert_eq!(event["sender"], alice.user_id.as_str());
    assert_eq!(event["type"], "m.test");
    assert_eq!(event["content"], json!({ "n": 1 }));
    assert!(bob.sync().await.to_device().is_empty());
    assert!(alice.sync().await.to_device().is_empty());
}

#[tokio::test]
async fn a_message_to_all_reaches_every_device() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let phone = bob.another_device().await;
    send(&alice, "all", &bob, "*", json!({ "n": 1 })).await;
    for device in [&bob, &phone] {
        assert_eq!(numbers(&device.sync().await), [1]);
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again_and_no_more_once_it_arrived() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let start = bob.sync().await;
    send(&alice, "a", &bob, &bob.device_id, json!({ "n": 1 })).await;
    let first = bob.sync_since(&start).await;
    assert_eq!(numbers(&first), [1]);
    // The answer was lost: the same question gets it again, and what came since.
    send(&alice, "b", &bob, &bob.device_id, json!({ "n": 2 })).await;
    let again = bob.sync_since(&start).await;
    assert_eq!(numbers(&again), [1, 2]);
    // It arrived: never again.
    let next = bob.sync_since(&again).await;
    assert!(next.to_device().is_empty());
    // And soon not even for a device that begins anew.
    harness::eventually("the messages are gone", 10, async || {
        bob.sync().await.to_device().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_first_sync_that_was_repeated_loses_nothing() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    send(&alice, "a", &bob, &bob.device_id, json!({ "n": 1 })).await;
    assert_eq!(numbers(&bob.sync().await), [1]);
    let again = bob.sync().await;
    assert_eq!(numbers(&again), [1]);
    assert!(bob.sync_since(&again).await.to_device().is_empty());
}

#[tokio::test]
async fn a_transaction_is_delivered_once() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    for number in [1, 1, 2] {
        send(&alice, "same", &bob, &bob.device_id, json!({ "n": number })).await;
    }
    let phone = alice.another_device().await;
    send(&phone, "same", &bob, &bob.device_id, json!({ "n": 3 })).await;
    assert_eq!(numbers(&bob.sync().await), [1, 3]);
}

#[tokio::test]
async fn messages_come_in_order_and_in_bounded_portions() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    for number in 0..250 {
        send(
            &alice,
            &format!("t{number}"),
            &bob,
            &bob.device_id,
            json!({ "n": number }),
        )
        .await;
    }
    let mut all = Vec::new();
    let mut synced = bob.sync().await;
    for _ in 0..20 {
        let portion = numbers(&synced);
        assert!(portion.len() <= 250);
        if portion.is_empty() {
            break;
        }
        all.extend(portion);
        synced = bob.sync_since(&synced).await;
    }
    assert_eq!(all, (0..250).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_waiting_sync_wakes() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let start = bob.sync().await;
    let path = format!("timeout=20000&since={}", start.next_batch());
    let waiting = tokio::spawn({
        let bob = bob.clone();
        async move { bob.sync_with(&path).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let sent = std::time::Instant::now();
    send(&alice, "w", &bob, &bob.device_id, json!({ "n": 1 })).await;
    assert_eq!(numbers(&waiting.await.unwrap()), [1]);
    assert!(sent.elapsed() < std::time::Duration::from_secs(5));
}

#[tokio::test]
async fn nobody_and_nothing_are_skipped() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let body = json!({ "messages": {
        "@nobody-at-all:localhost": { "*": { "n": 1 } },
        &bob.user_id: { "NOTHING": { "n": 2 }, &bob.device_id: { "n": 3 } },
    } });
    alice.put("v3/sendToDevice/m.test/mixed", body).await.ok();
    assert_eq!(numbers(&bob.sync().await), [3]);
}

#[tokio::test]
async fn broken_messages_are_refused() {
    let alice = server().register("alice").await;
    let path = "v3/sendToDevice/m.test/broken";
    for body in [
        json!({}),
        json!({ "messages": [] }),
        json!({ "messages": { "nobody": { "*": {} } } }),
    ] {
        alice.put(path, body).await.refused_with(&[400]);
    }
    alice
        .raw(reqwest::Method::PUT, path, "{")
        .await
        .refused(400, "M_NOT_JSON");
    // Refused, so the transaction id is still free.
    let body = json!({ "messages": { &alice.user_id: { "*": { "n": 1 } } } });
    alice.put(path, body).await.ok();
    assert_eq!(numbers(&alice.sync().await), [1]);
}

#[tokio::test]
async fn a_device_that_signed_out_leaves_no_messages_behind() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let phone = bob.another_device().await;
    send(&alice, "old", &bob, &phone.device_id, json!({ "n": 1 })).await;
    phone.post("v3/logout", json!({})).await.ok();
    let more = json!({ "device_id": phone.device_id });
    let again = api
        .try_login(&bob.user_id, harness::PASSWORD, more)
        .await
        .ok();
    let again = api.user_of(again);
    assert!(again.sync().await.to_device().is_empty());
}
