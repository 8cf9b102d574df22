//! `POST /register`, `GET /register/available` and invitation tokens.

use harness::{Config, PASSWORD, Registration, Server};
use serde_json::{Value, json};

use crate::server;

fn request(name: &str) -> Value {
    json!({
        "username": name,
        "password": PASSWORD,
        "auth": { "type": "m.login.dummy" },
    })
}

#[tokio::test]
async fn a_newcomer_registers_and_is_signed_in() {
    let api = server();
    let mut body = request("newcomer");
    body["device_id"] = json!("PHONE");
    body["initial_device_display_name"] = json!("my phone");
    let answer = api.post("v3/register", body).await.ok();
    assert_eq!(answer["user_id"], "@newcomer:localhost");
    assert_eq!(answer["device_id"], "PHONE");
    assert!(
        answer["refresh_token"].is_null(),
        "no refresh token was asked for"
    );
    let newcomer = api.user_of(answer);
    let whoami = newcomer.get("v3/account/whoami").await.ok();
    assert_eq!(whoami["user_id"], "@newcomer:localhost");
    assert_eq!(whoami["device_id"], "PHONE");
    assert_ne!(whoami["is_guest"], true);
    let device = newcomer.get("v3/devices/PHONE").await.ok();
    assert_eq!(device["display_name"], "my phone");
}

#[tokio::test]
async fn registration_without_a_step_of_authentication_names_the_steps() {
    let api = server();
    let body = json!({ "username": "stepwise", "password": PASSWORD });
    let challenge = api.post("v3/register", body).await.asks_for_auth();
    let flows = challenge["flows"].as_array().unwrap();
    assert!(
        flows.contains(&json!({ "stages": ["m.login.dummy"] })),
        "{flows:?}"
    );
    let mut body = request("stepwise");
    body["auth"]["session"] = challenge["session"].clone();
    api.post("v3/register", body).await.ok();
}

#[tokio::test]
async fn a_name_is_given_once() {
    let api = server();
    api.post("v3/register", request("given-once")).await.ok();
    api.post("v3/register", request("given-once"))
        .await
        .refused(400, "M_USER_IN_USE");
    let early = json!({ "username": "given-once", "password": PASSWORD });
    api.post("v3/register", early)
        .await
        .refused(400, "M_USER_IN_USE");
    api.get("v3/register/available?username=given-once")
        .await
        .refused(400, "M_USER_IN_USE");
    let free = api
        .get("v3/register/available?username=given-twice")
        .await
        .ok();
    assert_eq!(free["available"], true);
}

#[tokio::test]
async fn twenty_at_once_for_one_name_give_one_user() {
    let api = server();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let api = api.clone();
        waiting.spawn(async move { api.post("v3/register", request("contested")).await });
    }
    let answers = waiting.join_all().await;
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1);
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 200 || answer.status == 400)
    );
}

#[tokio::test]
async fn names_that_no_user_may_have_are_refused() {
    let api = server();
    let long = "a".repeat(260);
    for name in [
        "white space",
        "ümlaut",
        "with:colon",
        "@sign",
        long.as_str(),
        "",
    ] {
        let answer = api.post("v3/register", request(name)).await;
        answer.refused(400, "M_INVALID_USERNAME");
        let path = format!("v3/register/available?username={}", harness::escape(name));
        api.get(path).await.refused(400, "M_INVALID_USERNAME");
    }
}

#[tokio::test]
async fn capital_letters_are_refused_or_made_small() {
    let answer = server().post("v3/register", request("CAPITALS")).await;
    if answer.status == 200 {
        assert_eq!(answer.ok()["user_id"], "@capitals:localhost");
    } else {
        answer.refused(400, "M_INVALID_USERNAME");
    }
}

#[tokio::test]
async fn a_registration_without_a_name_gets_one() {
    let api = server();
    let body = json!({ "password": PASSWORD, "auth": { "type": "m.login.dummy" } });
    let answer = api.post("v3/register", body).await.ok();
    assert!(answer["user_id"].as_str().unwrap().ends_with(":localhost"));
}

#[tokio::test]
async fn a_registration_may_go_without_signing_in() {
    let api = server();
    let mut body = request("later");
    body["inhibit_login"] = json!(true);
    let answer = api.post("v3/register", body).await.ok();
    assert_eq!(answer["user_id"], "@later:localhost");
    assert!(answer["access_token"].is_null());
    assert!(answer["device_id"].is_null());
    api.login("later").await;
}

#[tokio::test]
async fn guests_are_not_taken() {
    let answer = server().post("v3/register?kind=guest", json!({})).await;
    answer.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn an_application_service_must_say_so_by_its_token() {
    let body = json!({ "type": "m.login.application_service", "username": "bridge" });
    let answer = server().post("v3/register", body).await;
    assert!((400..=403).contains(&answer.status), "{answer:?}");
}

#[tokio::test]
async fn an_invitation_lets_one_person_in() {
    let server = Server::with(Config {
        registration: Registration::Invite,
        ..Config::default()
    });
    let api = server.api();
    let token = server.invitation();
    let validity = format!("v1/register/m.login.registration_token/validity?token={token}");
    assert_eq!(api.get(&validity).await.ok()["valid"], true);

    let body = json!({ "username": "invited", "password": PASSWORD });
    let challenge = api.post("v3/register", body.clone()).await.asks_for_auth();
    let flows = challenge["flows"].as_array().unwrap();
    assert!(flows.iter().all(|flow| {
        flow["stages"]
            .as_array()
            .unwrap()
            .contains(&json!("m.login.registration_token"))
    }));
    let with = |kind: &str, token: &str| {
        let mut body = body.clone();
        body["auth"] = json!({ "type": kind, "token": token, "session": challenge["session"] });
        body
    };
    api.post("v3/register", with("m.login.dummy", ""))
        .await
        .asks_for_auth();
    let wrong = api
        .post("v3/register", with("m.login.registration_token", "wrong"))
        .await;
    let wrong = wrong.asks_for_auth();
    assert!(wrong["errcode"].is_string(), "{wrong}");
    let answer = api
        .post("v3/register", with("m.login.registration_token", &token))
        .await
        .ok();
    assert_eq!(answer["user_id"], "@invited:localhost");

    assert_eq!(api.get(&validity).await.ok()["valid"], false);
    let body = json!({ "username": "second", "password": PASSWORD });
    let challenge = api.post("v3/register", body.clone()).await.asks_for_auth();
    let mut body = body;
    body["auth"] = json!({
        "type": "m.login.registration_token", "token": token, "session": challenge["session"],
    });
    api.post("v3/register", body).await.asks_for_auth();
}

#[tokio::test]
async fn an_unknown_invitation_is_not_valid() {
    let server = Server::with(Config {
        registration: Registration::Invite,
        ..Config::default()
    });
    let path = "v1/register/m.login.registration_token/validity?token=nothing";
    assert_eq!(server.api().get(path).await.ok()["valid"], false);
}

#[tokio::test]
async fn a_closed_server_takes_nobody() {
    let server = Server::with(Config {
        registration: Registration::Closed,
        ..Config::default()
    });
    let api = server.api();
    api.post("v3/register", request("anybody"))
        .await
        .refused(403, "M_FORBIDDEN");
    let body = json!({ "username": "anybody", "password": PASSWORD });
    api.post("v3/register", body)
        .await
        .refused(403, "M_FORBIDDEN");
}
