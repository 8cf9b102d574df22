//! Registration with an address.

use harness::{Config, PASSWORD, Registration};
use serde_json::{Value, json};

use crate::{Post, REGISTER_TOKEN, addresses, stage, wish};

fn flows(challenge: &Value) -> Vec<Vec<String>> {
    let flows = challenge["flows"].as_array().unwrap().iter();
    let stages = |flow: &Value| {
        let stages = flow["stages"].as_array().unwrap().iter();
        stages
            .map(|stage| stage.as_str().unwrap().to_owned())
            .collect()
    };
    flows.map(stages).collect()
}

fn account(name: &str, auth: Value) -> Value {
    json!({ "username": name, "password": PASSWORD, "auth": auth })
}

#[tokio::test]
async fn newcomers_may_confirm_an_address() {
    let post = Post::start();
    let api = post.api();
    let challenge = api.post("v3/register", account("anna", Value::Null)).await;
    let challenge = challenge.asks_for_auth();
    assert_eq!(
        flows(&challenge),
        [
            vec!["m.login.dummy"],
            vec!["m.login.dummy", "m.login.email.identity"]
        ]
    );
    api.register_as("without").await;

    let asked = api
        .post(REGISTER_TOKEN, wish("anna@example.org", 1))
        .await
        .ok();
    let link = post.relay.link();
    let mut auth = stage(&asked);
    auth["session"] = challenge["session"].clone();
    // The client asks again until the person has confirmed.
    let answer = api.post("v3/register", account("anna", auth.clone())).await;
    assert_eq!(answer.asks_for_auth()["errcode"], "M_UNAUTHORIZED");
    post.confirm(&link).await.shows(200, &["Confirmed"]);
    let answer = api.post("v3/register", account("anna", auth)).await;
    assert_eq!(
        answer.asks_for_auth()["completed"],
        json!(["m.login.email.identity"])
    );
    let dummy = json!({ "type": "m.login.dummy", "session": challenge["session"] });
    let made = api.post("v3/register", account("anna", dummy)).await.ok();
    let anna = api.user_of(made);
    assert_eq!(addresses(&anna).await, ["anna@example.org"]);
    let answer = api.post(REGISTER_TOKEN, wish("anna@example.org", 1)).await;
    answer.refused(400, "M_THREEPID_IN_USE");
}

#[tokio::test]
async fn newcomers_must_where_the_operator_wants_it() {
    let post = Post::with(Config {
        registration: Registration::Invite,
        registration_more: "require_email = true".into(),
        ..Config::default()
    });
    let api = post.api();
    let challenge = api.post("v3/register", account("anna", Value::Null)).await;
    let challenge = challenge.asks_for_auth();
    let needed = ["m.login.registration_token", "m.login.email.identity"];
    assert_eq!(flows(&challenge), [needed]);
    let token = post.server.invitation();
    let asked = api
        .post(REGISTER_TOKEN, wish("anna@example.org", 1))
        .await
        .ok();
    post.confirm(&post.relay.link())
        .await
        .shows(200, &["Confirmed"]);
    let invited = json!({
        "type": "m.login.registration_token", "token": token, "session": challenge["session"],
    });
    let answer = api.post("v3/register", account("anna", invited)).await;
    answer.asks_for_auth();
    let mut auth = stage(&asked);
    auth["session"] = challenge["session"].clone();
    let made = api.post("v3/register", account("anna", auth)).await.ok();
    assert_eq!(addresses(&api.user_of(made)).await, ["anna@example.org"]);
}

#[tokio::test]
async fn nobody_confirms_an_address_where_nobody_can_register() {
    let post = Post::with(Config {
        registration: Registration::Closed,
        ..Config::default()
    });
    let answer = post
        .api()
        .post(REGISTER_TOKEN, wish("a@example.org", 1))
        .await;
    answer.refused(403, "M_THREEPID_DENIED");
    post.relay.is_quiet();
}
