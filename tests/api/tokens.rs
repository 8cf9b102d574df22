//! Refresh tokens and access tokens that expire.

use harness::{Config, PASSWORD, Server, User};
use serde_json::json;

use crate::server;

async fn with_refresh_token(api: &harness::Api) -> User {
    let alice = api.register("alice").await;
    let answer = api
        .try_login(&alice.user_id, PASSWORD, json!({ "refresh_token": true }))
        .await;
    let answer = answer.ok();
    assert!(
        answer["expires_in_ms"]
            .as_u64()
            .is_some_and(|lifetime| lifetime > 0),
        "{answer}"
    );
    api.user_of(answer)
}

async fn refresh(user: &User, token: &str) -> harness::Answer {
    user.anonymous()
        .post("v3/refresh", json!({ "refresh_token": token }))
        .await
}

#[tokio::test]
async fn a_refresh_token_gives_the_next_pair() {
    let alice = with_refresh_token(&server()).await;
    let first = alice.refresh_token.clone().expect("a refresh token");
    let pair = refresh(&alice, &first).await.ok();
    let access = pair["access_token"].as_str().unwrap();
    assert_ne!(access, alice.access_token);
    let second = pair["refresh_token"].as_str().unwrap();
    assert_ne!(second, first);
    let whoami = alice.with_token(access).get("v3/account/whoami").await.ok();
    assert_eq!(whoami["device_id"], alice.device_id.as_str());
    // The new pair has been used: the old one is gone.
    refresh(&alice, &first)
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    refresh(&alice, second).await.ok();
}

#[tokio::test]
async fn an_answer_that_was_lost_can_be_asked_for_again() {
    let alice = with_refresh_token(&server()).await;
    let first = alice.refresh_token.clone().unwrap();
    let lost = refresh(&alice, &first).await.ok();
    let again = refresh(&alice, &first).await.ok();
    let access = again["access_token"].as_str().unwrap();
    alice.with_token(access).get("v3/account/whoami").await.ok();
    assert_ne!(lost["access_token"], again["access_token"]);
}

#[tokio::test]
async fn an_unknown_refresh_token_is_refused() {
    let alice = server().register("alice").await;
    refresh(&alice, "nothing")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    refresh(&alice, &alice.access_token)
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    alice
        .anonymous()
        .post("v3/refresh", json!({}))
        .await
        .refused_with(&[400]);
}

#[tokio::test]
async fn a_refresh_token_is_no_access_token() {
    let alice = with_refresh_token(&server()).await;
    let token = alice.refresh_token.clone().unwrap();
    alice
        .with_token(&token)
        .get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn signing_out_ends_the_refresh_token_too() {
    let alice = with_refresh_token(&server()).await;
    alice.post("v3/logout", json!({})).await.ok();
    let token = alice.refresh_token.clone().unwrap();
    refresh(&alice, &token)
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn registration_gives_a_refresh_token_where_it_is_asked_for() {
    let api = server();
    let body = json!({
        "username": "refreshing", "password": PASSWORD, "refresh_token": true,
        "auth": { "type": "m.login.dummy" },
    });
    let answer = api.post("v3/register", body).await.ok();
    assert!(answer["refresh_token"].is_string());
    assert!(answer["expires_in_ms"].is_u64());
}

#[tokio::test]
async fn an_expired_token_says_that_the_session_goes_on() {
    let server = Server::with(Config {
        more: "[accounts]\naccess_token_lifetime = 1".into(),
        ..Config::default()
    });
    let alice = with_refresh_token(&server.api()).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    let error = alice
        .get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    assert_eq!(error["soft_logout"], true);
    let token = alice.refresh_token.clone().unwrap();
    let pair = refresh(&alice, &token).await.ok();
    let access = pair["access_token"].as_str().unwrap();
    alice.with_token(access).get("v3/account/whoami").await.ok();
}

#[tokio::test]
async fn a_token_without_a_refresh_token_does_not_expire() {
    let server = Server::with(Config {
        more: "[accounts]\naccess_token_lifetime = 1".into(),
        ..Config::default()
    });
    let alice = server.api().register("alice").await;
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    alice.get("v3/account/whoami").await.ok();
}
