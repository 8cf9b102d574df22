//! Signing in with a token of another device, and ways to sign in that there are not.

use harness::{Config, Registration, Server};
use reqwest::Method;
use serde_json::json;

use crate::server;

#[tokio::test]
async fn a_device_lets_another_one_in() {
    let api = server();
    let alice = api.register("alice").await;
    let flows = api.get("v3/login").await.ok();
    let token_flow = json!({ "type": "m.login.token", "get_login_token": true });
    assert!(
        flows["flows"].as_array().unwrap().contains(&token_flow),
        "{flows}"
    );
    let able = alice.get("v3/capabilities").await.ok();
    assert_eq!(able["capabilities"]["m.get_login_token"]["enabled"], true);
    alice
        .post("v1/login/get_token", json!({}))
        .await
        .asks_for_auth();
    let made = alice
        .with_password(Method::POST, "v1/login/get_token", json!({}))
        .await
        .ok();
    assert_eq!(made["expires_in_ms"], 120_000);
    let token = &made["login_token"];
    let login = async |token: &serde_json::Value| {
        let body = json!({
            "type": "m.login.token", "token": token,
            "initial_device_display_name": "the other", "device_id": "OTHER",
        });
        api.anonymous().post("v3/login", body).await
    };
    let other = api.user_of(login(token).await.ok());
    assert_eq!(other.user_id, alice.user_id);
    assert_eq!(other.device_id, "OTHER");
    let devices = alice.get("v3/devices").await.ok();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 2);
    // Once only.
    login(token).await.refused(403, "M_FORBIDDEN");
    login(&json!("nonsense")).await.refused(403, "M_FORBIDDEN");
    api.anonymous()
        .post("v3/login", json!({ "type": "m.login.token" }))
        .await
        .refused(400, "M_MISSING_PARAM");
    api.anonymous()
        .post("v1/login/get_token", json!({}))
        .await
        .refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn without_an_identity_provider_there_is_no_single_sign_on() {
    let api = server();
    for path in [
        "v3/login/sso/redirect?redirectUrl=https%3A%2F%2Fa.test",
        "v3/login/sso/redirect/some?redirectUrl=https%3A%2F%2Fa.test",
        "v1/auth_metadata",
    ] {
        api.get(path).await.refused(404, "M_UNRECOGNIZED");
    }
    let policy_server = api.get("/.well-known/matrix/policy_server").await;
    policy_server.refused_with(&[404]);
}

#[tokio::test]
async fn newcomers_accept_the_policies() {
    for (registration, stage) in [
        (Registration::Open, "m.login.dummy"),
        (Registration::Invite, "m.login.registration_token"),
    ] {
        let server = Server::with(Config {
            registration,
            registration_more: "policies = { privacy_policy = \"https://a.test/privacy\" }\n\
                policies_version = \"2\""
                .into(),
            ..Config::default()
        });
        let api = server.api();
        let body = json!({ "username": "alice", "password": harness::PASSWORD });
        let challenge = api.post("v3/register", body.clone()).await.asks_for_auth();
        assert_eq!(
            challenge["flows"],
            json!([{ "stages": [stage, "m.login.terms"] }])
        );
        assert_eq!(
            challenge["params"]["m.login.terms"]["policies"],
            json!({ "privacy_policy": {
                "version": "2",
                "en": { "name": "privacy policy", "url": "https://a.test/privacy" },
            } })
        );
        let mut first = body.clone();
        first["auth"] = json!({ "type": stage, "session": challenge["session"] });
        if registration == Registration::Invite {
            first["auth"]["token"] = server.invitation().into();
        }
        let next = api.post("v3/register", first).await.asks_for_auth();
        assert_eq!(next["completed"], json!([stage]));
        let mut last = body.clone();
        last["auth"] = json!({ "type": "m.login.terms", "session": challenge["session"] });
        let made = api.post("v3/register", last).await.ok();
        assert_eq!(made["user_id"], "@alice:localhost");
    }
}
