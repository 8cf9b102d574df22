//! `/_synapse/admin/v1/register`: programs that know the shared secret make accounts.

use harness::{Answer, Api, Config, PASSWORD, Registration, Server, User};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::server;

const PATH: &str = "/_synapse/admin/v1/register";
const SECRET: &str = "a secret that programs share";

/// A server on which nobody but programs can register.
fn closed() -> Server {
    Server::with(Config {
        registration: Registration::Closed,
        registration_more: format!("shared_secret = \"{SECRET}\""),
        ..Config::default()
    })
}

/// A server on which people can register too, with its first administrator.
pub(crate) async fn with_administrator() -> (Server, User) {
    let server = Server::with(Config {
        registration_more: format!("shared_secret = \"{SECRET}\""),
        ..Config::default()
    });
    let api = server.api();
    let answer = register(&api, "administrator", "admin").await.ok();
    let administrator = api.user_of(answer);
    (server, administrator)
}

fn mac(secret: &str, fields: &[&str]) -> String {
    let mut hmac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    hmac.update(fields.join("\0").as_bytes());
    let code = hmac.finalize().into_bytes();
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn nonce(api: &Api) -> String {
    let answer = api.get(PATH).await.ok();
    answer["nonce"].as_str().expect("a nonce").to_owned()
}

/// A request whose code is right.
async fn request(api: &Api, name: &str, role: &str) -> Value {
    let nonce = nonce(api).await;
    let mac = mac(SECRET, &[&nonce, name, PASSWORD, role]);
    json!({
        "nonce": nonce,
        "username": name,
        "password": PASSWORD,
        "admin": role == "admin",
        "mac": mac,
    })
}

async fn register(api: &Api, name: &str, role: &str) -> Answer {
    let body = request(api, name, role).await;
    api.post(PATH, body).await
}

#[tokio::test]
async fn a_program_with_the_secret_makes_users_and_administrators() {
    let server = closed();
    let api = server.api();
    let answer = register(&api, "clerk", "notadmin").await.ok();
    assert_eq!(answer["user_id"], "@clerk:localhost");
    assert_eq!(answer["home_server"], "localhost");
    let clerk = api.user_of(answer);
    let whoami = clerk.get("v3/account/whoami").await.ok();
    assert_eq!(whoami["user_id"], "@clerk:localhost");
    assert_eq!(whoami["device_id"], clerk.device_id);
    api.login("clerk").await;
    register(&api, "boss", "admin").await.ok();
    for (name, administrator) in [("clerk", false), ("boss", true)] {
        let shown = server.cairn_json(&["user", "show", name]);
        assert_eq!(shown["administrator"], administrator, "{shown}");
    }
    // Nobody else can.
    let body = json!({ "username": "other", "password": PASSWORD });
    api.post("v3/register", body)
        .await
        .refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_program_may_choose_names_and_go_without_signing_in() {
    let server = closed();
    let api = server.api();
    let mut body = request(&api, "named", "notadmin").await;
    body["displayname"] = json!("The Named");
    body["device_id"] = json!("PHONE");
    body["initial_device_display_name"] = json!("a phone");
    let answer = api.post(PATH, body).await.ok();
    assert_eq!(answer["device_id"], "PHONE");
    let named = api.user_of(answer);
    let profile = named.get("v3/profile/@named:localhost").await.ok();
    assert_eq!(profile["displayname"], "The Named");
    let device = named.get("v3/devices/PHONE").await.ok();
    assert_eq!(device["display_name"], "a phone");

    let mut body = request(&api, "later", "notadmin").await;
    body["inhibit_login"] = json!(true);
    let answer = api.post(PATH, body).await.ok();
    assert_eq!(answer["user_id"], "@later:localhost");
    assert!(answer["access_token"].is_null() && answer["device_id"].is_null());
    api.login("later").await;

    let nonce = nonce(&api).await;
    let body = json!({
        "nonce": nonce,
        "username": "robot",
        "password": PASSWORD,
        "user_type": "bot",
        "mac": mac(SECRET, &[&nonce, "robot", PASSWORD, "notadmin", "bot"]),
    });
    api.post(PATH, body).await.ok();
}

#[tokio::test]
async fn a_wrong_code_makes_nobody_and_uses_the_nonce_up() {
    let server = closed();
    let api = server.api();
    let right = request(&api, "mallory", "notadmin").await;
    // The code for a plain user makes no administrator, and that for one name no other.
    for (key, value) in [
        ("admin", json!(true)),
        ("username", json!("alice")),
        ("password", json!("another password")),
        ("user_type", json!("bot")),
        ("mac", json!(mac("a guess", &["x"]))),
        ("mac", json!("")),
        ("mac", json!("zz")),
    ] {
        let mut wrong = request(&api, "mallory", "notadmin").await;
        wrong[key] = value;
        api.post(PATH, wrong).await.refused(403, "M_FORBIDDEN");
    }
    let mut wrong = right.clone();
    wrong["mac"] = json!(mac("a guess", &["x"]));
    api.post(PATH, wrong).await.refused(403, "M_FORBIDDEN");
    api.post(PATH, right).await.refused(400, "M_UNKNOWN");
    for name in ["mallory", "alice"] {
        let answer = api.try_login(name, PASSWORD, json!({})).await;
        answer.refused(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn a_nonce_works_once() {
    let server = closed();
    let api = server.api();
    let body = request(&api, "once", "notadmin").await;
    api.post(PATH, body.clone()).await.ok();
    api.post(PATH, body).await.refused(400, "M_UNKNOWN");
    let mut made_up = request(&api, "made-up", "notadmin").await;
    made_up["nonce"] = json!("made up");
    made_up["mac"] = json!(mac(SECRET, &["made up", "made-up", PASSWORD, "notadmin"]));
    api.post(PATH, made_up).await.refused(400, "M_UNKNOWN");
}

#[tokio::test]
async fn what_no_account_can_be_is_refused() {
    let server = closed();
    let api = server.api();
    register(&api, "taken", "notadmin").await.ok();
    let again = register(&api, "taken", "notadmin").await;
    again.refused(400, "M_USER_IN_USE");
    let unnamed = register(&api, "no name", "notadmin").await;
    unnamed.refused(400, "M_INVALID_USERNAME");

    let sent = async |fields: [&str; 2], user_type: Option<&str>| {
        let nonce = nonce(&api).await;
        let [name, password] = fields;
        let mut covered = vec![nonce.as_str(), name, password, "notadmin"];
        covered.extend(user_type);
        let body = json!({
            "nonce": nonce, "username": name, "password": password,
            "user_type": user_type, "mac": mac(SECRET, &covered),
        });
        api.post(PATH, body).await
    };
    sent(["weak", "short"], None)
        .await
        .refused(400, "M_WEAK_PASSWORD");
    // Several requests would have the same code.
    sent(["zero", "a password\0admin"], None)
        .await
        .refused(400, "M_INVALID_PARAM");
    sent(["strange", PASSWORD], Some("king"))
        .await
        .refused(400, "M_INVALID_PARAM");
    for missing in ["nonce", "username", "password", "mac"] {
        let mut body = request(&api, "missing", "notadmin").await;
        body.as_object_mut().unwrap().remove(missing);
        api.post(PATH, body).await.refused(400, "M_BAD_JSON");
    }
    api.put(PATH, json!({}))
        .await
        .refused(405, "M_UNRECOGNIZED");
}

#[tokio::test]
async fn without_a_secret_there_is_no_such_endpoint() {
    let api = server();
    api.get(PATH).await.refused(404, "M_UNRECOGNIZED");
    let body = json!({
        "nonce": "n", "username": "nobody", "password": PASSWORD,
        "mac": mac("", &["n", "nobody", PASSWORD, "notadmin"]),
    });
    api.post(PATH, body).await.refused(404, "M_UNRECOGNIZED");
}

#[tokio::test]
async fn a_listener_that_does_not_serve_administration_does_not_know_it() {
    let server = Server::with(Config {
        serves: vec!["client".into()],
        registration_more: format!("shared_secret = \"{SECRET}\""),
        ..Config::default()
    });
    server.api().get("versions").await.ok();
    server.api().get(PATH).await.refused(404, "M_UNRECOGNIZED");
}

#[tokio::test]
async fn guesses_are_limited() {
    let server = Server::with(Config {
        limits: true,
        registration_more: format!("shared_secret = \"{SECRET}\""),
        ..Config::default()
    });
    let api = server.api();
    let mut guesses = 0;
    let limited = loop {
        let mut wrong = request(&api, "guess", "notadmin").await;
        wrong["mac"] = json!(mac("a guess", &["x"]));
        let answer = api.post(PATH, wrong).await;
        if answer.status == 429 {
            break answer.refused(429, "M_LIMIT_EXCEEDED");
        }
        answer.refused(403, "M_FORBIDDEN");
        guesses += 1;
        assert!(guesses < 50, "guesses without an end");
    };
    assert!(guesses > 2, "{guesses}");
    assert!(limited["retry_after_ms"].as_u64().unwrap() > 0);
    // Who knows the secret has to wait as well.
    register(&api, "guess", "notadmin")
        .await
        .refused(429, "M_LIMIT_EXCEEDED");
}
