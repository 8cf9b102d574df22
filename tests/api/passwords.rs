//! `POST /account/password`

use harness::PASSWORD;
use reqwest::Method;
use serde_json::json;

use crate::server;

const PATH: &str = "v3/account/password";

#[tokio::test]
async fn a_new_password_replaces_the_old_and_ends_the_other_devices() {
    let api = server();
    let alice = api.register("alice").await;
    let other = alice.another_device().await;
    let body = json!({ "new_password": "a new password" });
    alice.with_password(Method::POST, PATH, body).await.ok();
    alice.get("v3/account/whoami").await.ok();
    other
        .get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    api.try_login(&alice.user_id, PASSWORD, json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    api.try_login(&alice.user_id, "a new password", json!({}))
        .await
        .ok();
}

#[tokio::test]
async fn the_other_devices_may_stay() {
    let alice = server().register("alice").await;
    let other = alice.another_device().await;
    let body = json!({ "new_password": "a new password", "logout_devices": false });
    alice.with_password(Method::POST, PATH, body).await.ok();
    other.get("v3/account/whoami").await.ok();
}

#[tokio::test]
async fn the_old_password_must_be_known() {
    let api = server();
    let alice = api.register("alice").await;
    let body = json!({ "new_password": "stolen words" });
    let answer = alice
        .with_this_password(Method::POST, PATH, body, "wrong")
        .await;
    assert_eq!(answer.asks_for_auth()["errcode"], "M_FORBIDDEN");
    api.try_login(&alice.user_id, "stolen words", json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    api.try_login(&alice.user_id, PASSWORD, json!({}))
        .await
        .ok();
}

#[tokio::test]
async fn who_is_not_signed_in_changes_nothing() {
    let api = server();
    let alice = api.register("alice").await;
    let body = json!({ "new_password": "stolen words", "auth": {
        "type": "m.login.dummy",
        "identifier": { "type": "m.id.user", "user": alice.user_id },
    } });
    let answer = api.post(PATH, body).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    api.try_login(&alice.user_id, "stolen words", json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
}
