//! What can be uploaded, by whom, and how much.

use harness::{Config, Server, escape};
use reqwest::Method;
use serde_json::json;

use super::{download, fetch, place, put, try_upload, upload};
use crate::server;

#[tokio::test]
async fn a_file_is_uploaded_and_comes_back() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    for length in [0, 1, 10_000, 262_144, 1_000_000] {
        let bytes = super::noise(length as u64, length);
        let place = upload(&alice, "application/pdf", bytes.clone()).await;
        let (server_name, media_id) = place.split_once('/').unwrap();
        assert_eq!(server_name, "localhost");
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        assert!(
            media_id.len() >= 20 && media_id.chars().all(allowed),
            "{media_id}"
        );
        let fetched = download(&bob, &place).await;
        assert_eq!(fetched.status, 200);
        assert_eq!(fetched.header("content-type"), "application/pdf");
        assert_eq!(fetched.header("content-length"), length.to_string());
        assert_eq!(fetched.bytes, bytes);
    }
}

#[tokio::test]
async fn uploads_need_an_account() {
    let api = server();
    let alice = api.register("alice").await;
    try_upload(&api, "", "image/png", "a")
        .await
        .refused(401, "M_MISSING_TOKEN");
    try_upload(&api.with_token("guessed"), "", "image/png", "a")
        .await
        .refused(401, "M_UNKNOWN_TOKEN");
    let create = "/_matrix/media/v1/create";
    api.post(create, json!({}))
        .await
        .refused(401, "M_MISSING_TOKEN");
    let announced = place(&alice.post(create, json!({})).await.ok());
    let path = format!("/_matrix/media/v3/upload/{announced}");
    let anonymous = api.request(Method::PUT, &path).body("a");
    api.send_request(anonymous)
        .await
        .refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn a_file_without_a_type_is_of_no_known_type() {
    let alice = server().register("alice").await;
    let place = upload(&alice, "", "a").await;
    let fetched = download(&alice, &place).await;
    assert_eq!(fetched.header("content-type"), "application/octet-stream");
    assert_eq!(fetched.header("content-disposition"), "attachment");
}

#[tokio::test]
async fn names_and_types_that_are_too_long_are_refused() {
    let alice = server().register("alice").await;
    let long = format!("?filename={}", "x".repeat(1_025));
    try_upload(&alice, &long, "image/png", "a")
        .await
        .refused(400, "M_INVALID_PARAM");
    let long = format!("image/{}", "x".repeat(250));
    try_upload(&alice, "", &long, "a")
        .await
        .refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn an_upload_may_be_announced() {
    let api = server();
    let (alice, mallory) = (api.register("alice").await, api.register("mallory").await);
    let create = "/_matrix/media/v1/create";
    let announced = alice.post(create, json!({})).await.ok();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64;
    let expires_at = announced["unused_expires_at"].as_u64().unwrap();
    assert!(
        (now + 86_000_000..now + 86_800_000).contains(&expires_at),
        "{announced}"
    );
    let place = place(&announced);

    let path = format!("v1/media/download/{place}?timeout_ms=0");
    fetch(&mallory, &path)
        .await
        .refused(504, "M_NOT_YET_UPLOADED");
    let path = format!("v1/media/thumbnail/{place}?timeout_ms=0&width=32&height=32");
    fetch(&mallory, &path)
        .await
        .refused(504, "M_NOT_YET_UPLOADED");
    put(&mallory, &place, b"not mine")
        .await
        .refused(403, "M_FORBIDDEN");

    // Whoever waits gets it.
    let waiting = tokio::spawn({
        let (mallory, place) = (mallory.clone(), place.clone());
        async move { download(&mallory, &place).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    assert_eq!(put(&alice, &place, b"here").await.ok(), json!({}));
    assert_eq!(waiting.await.unwrap().bytes, b"here");

    put(&alice, &place, b"again")
        .await
        .refused(409, "M_CANNOT_OVERWRITE_MEDIA");
    put(&mallory, &place, b"again")
        .await
        .refused(403, "M_FORBIDDEN");
    assert_eq!(download(&mallory, &place).await.bytes, b"here");
}

#[tokio::test]
async fn only_what_was_announced_here_can_be_uploaded_later() {
    let alice = server().register("alice").await;
    let uploaded = upload(&alice, "image/png", "a").await;
    put(&alice, &uploaded, b"b")
        .await
        .refused(409, "M_CANNOT_OVERWRITE_MEDIA");
    for unknown in [
        "localhost/unknown",
        "elsewhere.example/unknown",
        "localhost/..%2f..%2fetc%2fpasswd",
    ] {
        put(&alice, unknown, b"b").await.refused(404, "M_NOT_FOUND");
    }
    put(&alice, "not%20a%20name/abc", b"b")
        .await
        .refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn announced_uploads_are_limited() {
    let server = Server::with(Config {
        more: "[media]\nmax_pending_per_user = 3\n".into(),
        ..Config::default()
    });
    let api = server.api();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let create =
        async |user: &harness::User| user.post("/_matrix/media/v1/create", json!({})).await;
    let first = place(&create(&alice).await.ok());
    for _ in 0..2 {
        create(&alice).await.ok();
    }
    let refused = create(&alice).await.refused(429, "M_LIMIT_EXCEEDED");
    assert!(refused["retry_after_ms"].as_u64().unwrap() > 0);
    create(&bob).await.ok();
    put(&alice, &first, b"a").await.ok();
    create(&alice).await.ok();
}

#[tokio::test]
async fn an_announced_upload_that_never_comes_is_forgotten() {
    let server = Server::with(Config {
        more: "[media]\npending_lifetime = 1\n".into(),
        ..Config::default()
    });
    let alice = server.api().register("alice").await;
    let place = place(&alice.post("/_matrix/media/v1/create", json!({})).await.ok());
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    put(&alice, &place, b"late")
        .await
        .refused(404, "M_NOT_FOUND");
    download(&alice, &place).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn each_person_has_a_quota() {
    let server = Server::with(Config {
        more: "[media]\nmax_bytes_per_user = 1000000\nmax_files_per_user = 3\n".into(),
        ..Config::default()
    });
    let api = server.api();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let send = async |user: &harness::User, length: usize| {
        try_upload(user, "", "image/png", super::noise(length as u64, length)).await
    };
    send(&alice, 600_000).await.ok();
    send(&alice, 400_001).await.refused(403, "M_FORBIDDEN");
    send(&alice, 300_000).await.ok();
    send(&alice, 100_000).await.ok();
    send(&alice, 0).await.refused(403, "M_FORBIDDEN");
    send(&bob, 400_001).await.ok();
    assert_eq!(
        super::contents(&server).len(),
        4,
        "refused bytes are not kept"
    );
    assert!(super::files(&server, "unfinished").is_empty());
}

#[tokio::test]
async fn a_file_may_be_for_a_room_that_one_is_in() {
    let api = server();
    let (alice, mallory) = (api.register("alice").await, api.register("mallory").await);
    let room = alice.create_room(json!({})).await;
    let query = format!("?cairn.room_id={}", escape(&room));
    try_upload(&alice, &query, "image/png", "a").await.ok();
    try_upload(&mallory, &query, "image/png", "a")
        .await
        .refused(403, "M_FORBIDDEN");
    try_upload(&alice, "?cairn.room_id=nonsense", "image/png", "a")
        .await
        .refused(400, "M_INVALID_PARAM");
    let unknown = "?cairn.room_id=%21unknown%3Alocalhost";
    try_upload(&alice, unknown, "image/png", "a")
        .await
        .refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn clients_are_told_how_much_they_may_upload() {
    let api = server();
    let alice = api.register("alice").await;
    for path in ["v1/media/config", "/_matrix/media/v3/config"] {
        let config = alice.get(path).await.ok();
        assert_eq!(config["m.upload.size"], 104_857_600, "{path}");
        api.get(path).await.refused(401, "M_MISSING_TOKEN");
    }
}

#[tokio::test]
async fn the_files_of_a_deactivated_user_stay() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let place = upload(&alice, "image/png", "mine").await;
    alice
        .with_password(Method::POST, "v3/account/deactivate", json!({}))
        .await
        .ok();
    assert_eq!(download(&bob, &place).await.bytes, b"mine");
}
