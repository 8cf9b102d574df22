//! What holds for every endpoint: CORS, errors of form, tokens, request ids.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::server;

#[tokio::test]
async fn a_browser_may_ask_before_every_request() {
    let api = server();
    for path in [
        "/_matrix/client/versions",
        "/_matrix/client/v3/sync",
        "/_matrix/client/v3/rooms/!a:localhost/send/m.room.message/1",
        "/.well-known/matrix/client",
    ] {
        let answer = api.send_request(api.request(Method::OPTIONS, path)).await;
        assert!(answer.status == 200 || answer.status == 204, "{answer:?}");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), "*", "{path}");
        let methods = answer.header("Access-Control-Allow-Methods");
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
            assert!(methods.contains(method), "{path}: {methods}");
        }
        let headers = answer.header("Access-Control-Allow-Headers").to_lowercase();
        for header in ["x-requested-with", "content-type", "authorization"] {
            assert!(headers.contains(header), "{path}: {headers}");
        }
    }
}

#[tokio::test]
async fn answers_and_errors_alike_are_open_to_browsers() {
    let api = server();
    for path in ["v3/account/whoami", "versions", "v3/no_such_thing"] {
        let answer = api.get(path).await;
        assert_eq!(
            answer.header("Access-Control-Allow-Origin"),
            "*",
            "{answer:?}"
        );
        assert!(
            answer
                .header("Content-Type")
                .starts_with("application/json"),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn every_answer_has_its_own_request_id() {
    let api = server();
    let first = api.get("versions").await;
    let second = api.get("v3/account/whoami").await;
    assert!(
        !first.header("X-Request-Id").is_empty(),
        "{:?}",
        first.headers
    );
    assert_ne!(first.header("X-Request-Id"), second.header("X-Request-Id"));
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let alice = server().register("alice").await;
    for body in ["{", "{\"name\": }", "{} trailing"] {
        alice
            .raw(Method::POST, "v3/createRoom", body)
            .await
            .refused(400, "M_NOT_JSON");
    }
    let broken = vec![b'{', b'"', 0xff, 0xfe, b'"', b':', b'1', b'}'];
    alice
        .raw(Method::POST, "v3/createRoom", broken)
        .await
        .refused(400, "M_NOT_JSON");
}

#[tokio::test]
async fn json_of_the_wrong_shape_is_refused() {
    let alice = server().register("alice").await;
    for body in [
        json!([]),
        json!("text"),
        json!({ "preset": 5 }),
        json!({ "invite": "x" }),
    ] {
        alice
            .post("v3/createRoom", body)
            .await
            .refused(400, "M_BAD_JSON");
    }
    let joined = alice.get("v3/joined_rooms").await.ok();
    assert_eq!(
        joined["joined_rooms"],
        json!([]),
        "something happened nevertheless"
    );
}

#[tokio::test]
async fn json_that_is_too_deep_is_refused() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    // The object around the arrays counts.
    for depth in [99, 100, 2_000, 100_000] {
        let body = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        for path in [
            format!("v3/rooms/{room}/send/m.room.message/deep{depth}"),
            format!("v3/user/{}/account_data/m.test{depth}", alice.user_id),
        ] {
            let answer = alice.raw(Method::PUT, path, body.clone()).await;
            if depth < 100 {
                answer.ok();
            } else {
                answer.refused(400, "M_BAD_JSON");
            }
        }
    }
    alice.say(&room, "still here").await;
}

#[tokio::test]
async fn numbers_that_canonical_json_does_not_know_are_refused() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    for (number, text) in ["1.5", "9007199254740992", "-9007199254740992", "1e400"]
        .iter()
        .enumerate()
    {
        let path = format!("v3/rooms/{room}/send/m.test/n{number}");
        let answer = alice
            .raw(Method::PUT, path, format!("{{\"n\":{text}}}"))
            .await;
        assert_eq!(answer.status, 400, "{text}: {answer:?}");
    }
    alice
        .send_event(&room, "m.test", json!({ "n": 9_007_199_254_740_991_i64 }))
        .await;
}

/// Sends bytes over a connection of their own and takes what comes back.
async fn over_tcp(url: &str, head: String, body: &[u8]) -> String {
    let address = url.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server may answer and close before it has taken everything.
    let _ = stream.write_all(body).await;
    let mut answer = vec![0; 16 * 1024];
    let reading = stream.read(&mut answer);
    let within = std::time::Duration::from_secs(20);
    let length = tokio::time::timeout(within, reading)
        .await
        .expect("an answer")
        .unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let alice = server().register("alice").await;
    let head = format!(
        "POST /_matrix/client/v3/createRoom HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 500000000\r\n\r\n",
        alice.access_token
    );
    let answer = over_tcp(alice.url(), head, b"{").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("M_TOO_LARGE"), "{answer}");
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_off_too() {
    let alice = server().register("alice").await;
    let head = format!(
        "PUT /_matrix/client/v3/user/{}/account_data/big HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        alice.user_id, alice.access_token
    );
    let mut body = b"7\r\n{\"a\": \"\r\n".to_vec();
    let chunk = vec![b'a'; 1 << 16];
    for _ in 0..1024 {
        body.extend_from_slice(b"10000\r\n");
        body.extend_from_slice(&chunk);
        body.extend_from_slice(b"\r\n");
    }
    let answer = over_tcp(alice.url(), head, &body).await;
    // A connection that is cut while we write may lose the answer; what must not
    // happen is that it is taken.
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
        "{answer}"
    );
    let path = format!("v3/user/{}/account_data/big", alice.user_id);
    alice.get(path).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn an_unknown_endpoint_is_unrecognized() {
    let alice = server().register("alice").await;
    for path in [
        "/_matrix/client/v3/no_such_thing",
        "/_matrix/client/v9/sync",
        "/_matrix/nothing",
    ] {
        alice.get(path).await.refused(404, "M_UNRECOGNIZED");
        alice
            .anonymous()
            .get(path)
            .await
            .refused(404, "M_UNRECOGNIZED");
        alice
            .post(path, json!({}))
            .await
            .refused(404, "M_UNRECOGNIZED");
    }
}

#[tokio::test]
async fn a_wrong_method_is_unrecognized() {
    let alice = server().register("alice").await;
    alice
        .delete("v3/sync", Value::Null)
        .await
        .refused(405, "M_UNRECOGNIZED");
    alice
        .get("v3/createRoom")
        .await
        .refused(405, "M_UNRECOGNIZED");
    alice
        .anonymous()
        .post("versions", json!({}))
        .await
        .refused(405, "M_UNRECOGNIZED");
}

#[tokio::test]
async fn who_calls_without_a_token_is_told_so() {
    let api = server();
    let room = "!room:localhost";
    for path in [
        "v3/account/whoami".to_owned(),
        "v3/sync".to_owned(),
        "v3/devices".to_owned(),
        "v3/joined_rooms".to_owned(),
        "v3/capabilities".to_owned(),
        format!("v3/rooms/{room}/messages?dir=b"),
        format!("v3/rooms/{room}/state"),
        format!("v3/rooms/{room}/members"),
        "v3/user/@a:localhost/account_data/m.test".to_owned(),
    ] {
        api.get(&path).await.refused(401, "M_MISSING_TOKEN");
        let answer = api.with_token("no-such-token").get(&path).await;
        let error = answer.refused(401, "M_UNKNOWN_TOKEN");
        assert_ne!(error["soft_logout"], true, "{path}");
    }
    api.post("v3/createRoom", json!({}))
        .await
        .refused(401, "M_MISSING_TOKEN");
    api.post("v3/keys/query", json!({ "device_keys": {} }))
        .await
        .refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn a_token_of_another_kind_is_no_token() {
    let api = server();
    let request = api
        .request(Method::GET, "v3/account/whoami")
        .header("Authorization", "Basic YTpi");
    let answer = api.send_request(request).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    let request = api
        .request(Method::GET, "v3/account/whoami")
        .header("Authorization", "Bearer");
    let answer = api.send_request(request).await;
    assert_eq!(answer.status, 401, "{answer:?}");
}

#[tokio::test]
async fn who_has_no_token_learns_nothing_about_the_body() {
    let answer = server().raw(Method::POST, "v3/createRoom", "{").await;
    assert_eq!(answer.status, 401, "{answer:?}");
}

#[tokio::test]
async fn broken_ids_in_a_path_are_refused() {
    let alice = server().register("alice").await;
    let long = "a".repeat(300);
    for path in [
        "v3/rooms/nonsense/messages?dir=b".to_owned(),
        "v3/rooms/%FF%FE/messages?dir=b".to_owned(),
        format!("v3/rooms/!{long}:localhost/state"),
        "v3/rooms/%00/members".to_owned(),
        "v3/profile/nobody".to_owned(),
        "v3/profile/@%F0%28%8C%28:localhost".to_owned(),
        format!("v3/profile/@{long}:localhost"),
        "v3/rooms/!a:localhost/event/nonsense".to_owned(),
    ] {
        let answer = alice.get(&path).await;
        assert!((400..=404).contains(&answer.status), "{answer:?}");
        assert!(answer.body["errcode"].is_string(), "{answer:?}");
    }
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    let alice = server().register("alice").await;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "nonsense",
    ] {
        let request = alice
            .request(Method::POST, "v3/createRoom")
            .header("Content-Type", kind)
            .body("{}");
        alice.send_request(request).await.ok();
    }
    alice
        .send_request(alice.request(Method::POST, "v3/createRoom").body("{}"))
        .await
        .ok();
}

#[tokio::test]
async fn a_query_that_is_not_what_it_must_be_is_refused() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    for path in [
        format!("v3/rooms/{room}/messages"),
        format!("v3/rooms/{room}/messages?dir=x"),
        format!("v3/rooms/{room}/messages?dir=b&limit=many"),
        format!("v3/rooms/{room}/messages?dir=b&from=nonsense"),
        "v3/sync?timeout=soon".to_owned(),
        "v3/sync?since=nonsense".to_owned(),
        "v3/sync?filter=%7B%22room%22%3A5%7D".to_owned(),
        "v3/sync?filter=%7Bbroken".to_owned(),
    ] {
        let answer = alice.get(&path).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body["errcode"].is_string(), "{answer:?}");
    }
}

#[tokio::test]
async fn the_metrics_are_served_where_they_are_asked_for() {
    let answer = server().get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.contains("# HELP"), "{}", answer.text);
    assert!(answer.text.contains("# TYPE"), "{}", answer.text);
}
