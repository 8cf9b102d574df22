//! What other services need of a client: OpenID tokens and TURN credentials.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use harness::{Config, Server};
use hmac::{Hmac, Mac as _};
use serde_json::json;
use sha1::Sha1;

use crate::server;

#[tokio::test]
async fn an_openid_token_is_for_oneself_and_opens_nothing_here() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let path = format!("v3/user/{}/openid/request_token", alice.user_id);
    let made = alice.post(&path, json!({})).await.ok();
    assert_eq!(made["token_type"], "Bearer");
    assert_eq!(made["matrix_server_name"], "localhost");
    assert_eq!(made["expires_in"], 3600);
    let token = made["access_token"].as_str().unwrap();
    assert!(token.len() >= 40, "{token}");
    let next = alice.post(&path, json!({})).await.ok();
    assert_ne!(made["access_token"], next["access_token"]);
    api.with_token(token)
        .get("v3/account/whoami")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    bob.post(&path, json!({})).await.refused(403, "M_FORBIDDEN");
    api.anonymous()
        .post(&path, json!({}))
        .await
        .refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn without_turn_servers_there_are_no_credentials() {
    let api = server();
    let alice = api.register("alice").await;
    assert_eq!(alice.get("v3/voip/turnServer").await.ok(), json!({}));
    api.anonymous()
        .get("v3/voip/turnServer")
        .await
        .refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn turn_credentials_are_what_the_turn_server_computes() {
    let uris = [
        "turn:turn.example.com:3478?transport=udp",
        "turns:turn.example.com",
    ];
    let server = Server::with(Config {
        more: format!("[turn]\nuris = {uris:?}\nshared_secret = \"north\"\nlifetime = 600"),
        ..Config::default()
    });
    let alice = server.api().register_as("alice").await;
    let made = alice.get("v3/voip/turnServer").await.ok();
    assert_eq!(made["uris"], json!(uris));
    assert_eq!(made["ttl"], 600);
    let username = made["username"].as_str().unwrap();
    let (end, user) = username.split_once(':').unwrap();
    assert_eq!(user, "@alice:localhost");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let left = end.parse::<u64>().unwrap() - now;
    assert!((590..=600).contains(&left), "{left}");
    let mut hmac = Hmac::<Sha1>::new_from_slice(b"north").unwrap();
    hmac.update(username.as_bytes());
    let expected = STANDARD.encode(hmac.finalize().into_bytes());
    assert_eq!(made["password"], expected.as_str());
}
