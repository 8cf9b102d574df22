//! Limits on rates and on what waits.

use harness::{Config, PASSWORD, Server, User};
use serde_json::json;

fn limited() -> Server {
    Server::with(Config {
        limits: true,
        ..Config::default()
    })
}

/// Repeats a request until it is refused for its rate; panics if that never happens.
async fn until_limited(what: &str, mut request: impl AsyncFnMut(usize) -> harness::Answer) {
    for number in 0..2_000 {
        let answer = request(number).await;
        if answer.status == 429 {
            let retry_after = answer.header("Retry-After").parse::<u64>();
            let error = answer.refused(429, "M_LIMIT_EXCEEDED");
            assert!(
                error["retry_after_ms"]
                    .as_u64()
                    .is_some_and(|wait| wait > 0),
                "{error}"
            );
            assert!(retry_after.is_ok(), "Retry-After");
            return;
        }
    }
    panic!("{what} was never limited");
}

#[tokio::test]
async fn failed_sign_ins_are_limited_and_others_are_not_locked_out() {
    let server = limited();
    let api = server.api();
    let (alice, bob): (User, User) = (api.register_as("alice").await, api.register_as("bob").await);
    until_limited("guessing", async |_| {
        api.try_login(&alice.user_id, "wrong", json!({})).await
    })
    .await;
    let answer = api.try_login(&alice.user_id, PASSWORD, json!({})).await;
    assert!([200, 429].contains(&answer.status), "{answer:?}");
    // Who is signed in is not disturbed.
    alice.get("v3/account/whoami").await.ok();
    bob.get("v3/account/whoami").await.ok();
}

#[tokio::test]
async fn sending_is_limited_per_account() {
    let server = limited();
    let api = server.api();
    let (alice, bob) = (api.register_as("alice").await, api.register_as("bob").await);
    let room = alice.room_with(&[&bob]).await;
    until_limited("sending", async |number| {
        alice
            .try_send_event(&room, "m.test", json!({ "n": number }))
            .await
    })
    .await;
    bob.say(&room, "I may").await;
}

#[tokio::test]
async fn strangers_are_limited_per_address_and_users_are_not_disturbed() {
    let server = limited();
    let api = server.api();
    let alice = api.register_as("alice").await;
    until_limited("asking", async |number| {
        let path = format!("v3/register/available?username=user{number}");
        api.get(path).await
    })
    .await;
    alice.get("v3/account/whoami").await.ok();
}

#[tokio::test]
async fn a_refused_request_did_nothing_and_the_wait_is_true() {
    let server = limited();
    let api = server.api();
    let alice = api.register_as("alice").await;
    let room = alice.public_room().await;
    let mut taken = 0;
    let refused = loop {
        let answer = alice
            .try_send_event(&room, "m.test", json!({ "n": taken }))
            .await;
        if answer.status == 429 {
            break answer;
        }
        answer.ok();
        taken += 1;
        assert!(taken < 2_000, "never limited");
    };
    let wait = refused.body["retry_after_ms"].as_u64().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(wait + 100)).await;
    let filter = harness::escape(&json!({ "types": ["m.test"] }).to_string());
    let path = format!("v3/rooms/{room}/messages?dir=b&limit=1000&filter={filter}");
    alice
        .try_send_event(&room, "m.test", json!({ "n": "after" }))
        .await
        .ok();
    let answer = alice.get(path).await;
    if answer.status == 200 {
        let page = answer.ok();
        assert!(page["chunk"].as_array().unwrap().len() <= taken + 1);
    }
}

#[tokio::test]
async fn waiting_syncs_of_one_device_are_limited() {
    let server = Server::start();
    let api = server.api();
    let alice = api.register_as("alice").await;
    let first = alice.sync().await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (alice, since) = (alice.clone(), first.next_batch().to_owned());
        waiting.spawn(async move {
            alice
                .get(format!("v3/sync?timeout=4000&since={since}"))
                .await
                .status
        });
    }
    // However they are refused or let go, the server goes on.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    alice.get("v3/account/whoami").await.ok();
    for status in waiting.join_all().await {
        assert!([200, 429].contains(&status), "{status}");
    }
}

#[tokio::test]
async fn a_sync_too_many_ends_the_oldest_of_its_device() {
    let server = Server::start();
    let alice = server.api().register_as("alice").await;
    let other = alice.another_device().await;
    let wait = |user: &User, since: &str| {
        let (user, since) = (user.clone(), since.to_owned());
        tokio::spawn(async move {
            let path = format!("v3/sync?timeout=60000&since={since}");
            user.get(path).await.ok()
        })
    };
    let pause = || tokio::time::sleep(std::time::Duration::from_millis(300));
    let since = other.sync().await.next_batch().to_owned();
    let undisturbed = wait(&other, &since);
    let since = alice.sync().await.next_batch().to_owned();
    let oldest = wait(&alice, &since);
    pause().await;
    // As many as may wait by default.
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(wait(&alice, &since));
    }
    pause().await;
    assert!(!oldest.is_finished());
    others.push(wait(&alice, &since));
    let within = std::time::Duration::from_secs(10);
    let answer = tokio::time::timeout(within, oldest).await;
    let answer = answer.expect("still waiting").unwrap();
    assert!(answer["next_batch"].is_string(), "{answer}");
    assert!(answer["rooms"].is_null(), "{answer}");
    pause().await;
    others.push(undisturbed);
    assert!(others.iter().all(|waiting| !waiting.is_finished()));
    for waiting in others {
        waiting.abort();
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_address_counts_for_itself() {
    let server = Server::with(Config {
        limits: true,
        listener: "trusted_proxies = [\"127.0.0.0/8\"]".into(),
        ..Config::default()
    });
    let api = server.api();
    let ask = async |address: &str| {
        let request = api
            .request(
                reqwest::Method::GET,
                "v3/register/available?username=anybody",
            )
            .header("X-Forwarded-For", address);
        api.send_request(request).await
    };
    until_limited("asking", async |_| ask("192.0.2.1").await).await;
    ask("192.0.2.2").await.ok();
    // What a client adds itself in front does not count.
    ask("192.0.2.77, 192.0.2.1")
        .await
        .refused(429, "M_LIMIT_EXCEEDED");
}

#[tokio::test]
async fn without_a_trusted_proxy_nobody_says_another_address() {
    let server = limited();
    let api = server.api();
    until_limited("asking", async |number| {
        let request = api
            .request(
                reqwest::Method::GET,
                "v3/register/available?username=anybody",
            )
            .header("X-Forwarded-For", format!("192.0.2.{}", number % 250));
        api.send_request(request).await
    })
    .await;
}
