//! A forgotten password.

use harness::{Answer, Api, PASSWORD};
use serde_json::{Value, json};

use crate::{ADD_TOKEN, Post, RESET_TOKEN, addresses, login, relay::link_of, stage, wish};

const NEW: &str = "entirely new words";

async fn reset(api: &Api, auth: Value, more: Value) -> Answer {
    let mut body = json!({ "new_password": NEW, "auth": auth });
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    api.anonymous().post("v3/account/password", body).await
}

#[tokio::test]
async fn who_has_the_address_sets_another_password() {
    let post = Post::start();
    let api = post.api();
    let alice = api.register("alice").await;
    post.give(&alice, "alice@example.org").await;
    let answer = api.post(RESET_TOKEN, wish("bob@example.org", 1)).await;
    answer.refused(400, "M_THREEPID_NOT_FOUND");
    let asked = api
        .post(RESET_TOKEN, wish("Alice@example.org", 1))
        .await
        .ok();
    let letter = post.relay.letter();
    assert_eq!(letter["to"], json!(["alice@example.org"]));
    let subject = format!("A new password for {}", alice.user_id);
    assert_eq!(letter["headers"]["subject"], subject.as_str());
    let link = link_of(&letter);
    let page = post.server.visitor().open(&link).await;
    page.shows(200, &[&alice.user_id, "Have you asked"]);

    let challenge = reset(&api, Value::Null, json!({})).await.asks_for_auth();
    assert_eq!(
        challenge["flows"],
        json!([{ "stages": ["m.login.email.identity"] }])
    );
    let answer = reset(&api, stage(&asked), json!({})).await;
    assert_eq!(answer.asks_for_auth()["errcode"], "M_UNAUTHORIZED");
    post.confirm(&link).await.shows(200, &["Confirmed"]);
    // Not with another secret, and not without the stage.
    let mut forged = stage(&asked);
    forged["threepid_creds"]["client_secret"] = "another".into();
    reset(&api, forged, json!({})).await.asks_for_auth();
    let dummy = json!({ "type": "m.login.dummy" });
    reset(&api, dummy, json!({})).await.asks_for_auth();
    let answer = reset(&api, stage(&asked), json!({ "new_password": "short" })).await;
    answer.refused(400, "M_WEAK_PASSWORD");
    alice.get("v3/account/whoami").await.ok();

    reset(&api, stage(&asked), json!({})).await.ok();
    alice
        .get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    login(&api, "alice@example.org", PASSWORD)
        .await
        .refused(403, "M_FORBIDDEN");
    login(&api, "alice@example.org", NEW).await.ok();
    // Once.
    reset(&api, stage(&asked), json!({})).await.asks_for_auth();
}

#[tokio::test]
async fn devices_may_stay() {
    let post = Post::start();
    let api = post.api();
    let alice = api.register("alice").await;
    post.give(&alice, "alice@example.org").await;
    let asked = api
        .post(RESET_TOKEN, wish("alice@example.org", 1))
        .await
        .ok();
    post.confirm(&post.relay.link()).await.shows(200, &[]);
    let stay = json!({ "logout_devices": false });
    reset(&api, stage(&asked), stay).await.ok();
    alice.get("v3/account/whoami").await.ok();
    login(&api, "alice@example.org", NEW).await.ok();
}

#[tokio::test]
async fn what_was_confirmed_for_something_else_sets_no_password() {
    let post = Post::start();
    let api = post.api();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    post.give(&alice, "alice@example.org").await;
    // An address that bob confirmed to add it.
    let asked = bob.post(ADD_TOKEN, wish("bob@example.org", 1)).await.ok();
    post.confirm(&post.relay.link()).await.shows(200, &[]);
    let answer = reset(&api, stage(&asked), json!({})).await;
    answer.refused(403, "M_FORBIDDEN");
    // One that was taken away meanwhile.
    let asked = api
        .post(RESET_TOKEN, wish("alice@example.org", 1))
        .await
        .ok();
    post.confirm(&post.relay.link()).await.shows(200, &[]);
    let gone = json!({ "medium": "email", "address": "alice@example.org" });
    alice.post("v3/account/3pid/delete", gone).await.ok();
    reset(&api, stage(&asked), json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    for person in [&alice, &bob] {
        api.try_login(&person.user_id, PASSWORD, json!({}))
            .await
            .ok();
        api.try_login(&person.user_id, NEW, json!({}))
            .await
            .refused(403, "M_FORBIDDEN");
    }
    assert!(addresses(&bob).await.is_empty());
}
