//! Requests in process: what is answered to what.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::Request;
use hyper::body::Frame;
use serde_json::json;

use super::house::house;
use crate::LimitsOptions;

const TYPING: &str = "/_matrix/client/v3/rooms/!r:example.org/typing/@alice:example.org";
const SEND: &str = "/_matrix/client/v3/rooms/!r:example.org/send/m.room.message/t1";

#[tokio::test]
async fn every_bad_request_gets_its_error() {
    let house = house(LimitsOptions {
        max_body_bytes: 1_000,
        max_upload_bytes: 2_000,
        max_json_depth: 10,
        ..LimitsOptions::default()
    })
    .await;
    let typing = r#"{"typing": true, "timeout": 1000}"#.to_owned();
    let deep = format!(
        r#"{{"typing":false,"a":{}{}}}"#,
        "[".repeat(10),
        "]".repeat(10)
    );
    let long = format!(r#"{{"typing":false,"a":"{}"}}"#, "a".repeat(1_000));
    let whoami = "/_matrix/client/v3/account/whoami";
    let state = "/_matrix/client/v3/rooms/!r:example.org/state/m.room.topic";
    let event_at = "/_matrix/client/v1/rooms/!r:example.org/timestamp_to_event";
    for (method, path, token, body, status, errcode) in [
        ("GET", whoami, "alice", "", 200, "none"),
        (
            "GET",
            "/_matrix/client/r0/account/whoami",
            "alice",
            "",
            200,
            "none",
        ),
        ("GET", whoami, "", "", 401, "M_MISSING_TOKEN"),
        ("GET", whoami, "nobody", "", 401, "M_UNKNOWN_TOKEN"),
        ("GET", whoami, "locked", "", 401, "M_USER_LOCKED"),
        (
            "GET",
            &format!("{whoami}?access_token={}", house.token("alice")),
            "",
            "",
            200,
            "none",
        ),
        // Paths and methods.
        (
            "GET",
            "/_matrix/client/v3/nothing",
            "",
            "",
            404,
            "M_UNRECOGNIZED",
        ),
        ("GET", "/", "", "", 404, "M_UNRECOGNIZED"),
        (
            "GET",
            "/_matrix/client/v4/account/whoami",
            "alice",
            "",
            404,
            "M_UNRECOGNIZED",
        ),
        ("POST", whoami, "alice", "", 405, "M_UNRECOGNIZED"),
        ("PATCH", whoami, "alice", "", 405, "M_UNRECOGNIZED"),
        ("FROBNICATE", whoami, "alice", "", 405, "M_UNRECOGNIZED"),
        (
            "GET",
            "/_matrix/client/v3/rooms/nonsense/state/a/b",
            "alice",
            "",
            400,
            "M_INVALID_PARAM",
        ),
        (
            "GET",
            "/_matrix/client/v3/rooms/%ff/state/a/b",
            "alice",
            "",
            400,
            "M_INVALID_PARAM",
        ),
        // Queries.
        (
            "GET",
            "/_matrix/client/v3/publicRooms?limit=5",
            "",
            "",
            200,
            "none",
        ),
        (
            "GET",
            "/_matrix/client/v3/publicRooms?limit=five",
            "",
            "",
            400,
            "M_INVALID_PARAM",
        ),
        (
            "GET",
            "/_matrix/client/v3/publicRooms?limit=-1",
            "",
            "",
            400,
            "M_INVALID_PARAM",
        ),
        ("GET", event_at, "", "", 400, "M_MISSING_PARAM"),
        (
            "GET",
            &format!("{event_at}?ts=1&dir=b"),
            "",
            "",
            404,
            "M_NOT_FOUND",
        ),
        // Bodies.
        ("PUT", TYPING, "alice", &typing, 200, "none"),
        ("PUT", TYPING, "alice", "", 400, "M_NOT_JSON"),
        ("PUT", TYPING, "alice", "{", 400, "M_NOT_JSON"),
        ("PUT", TYPING, "alice", "typing=true", 400, "M_NOT_JSON"),
        ("PUT", TYPING, "alice", "[]", 400, "M_BAD_JSON"),
        ("PUT", TYPING, "alice", "{}", 400, "M_BAD_JSON"),
        (
            "PUT",
            TYPING,
            "alice",
            r#"{"typing": "yes"}"#,
            400,
            "M_BAD_JSON",
        ),
        ("PUT", TYPING, "alice", &deep, 400, "M_BAD_JSON"),
        ("PUT", TYPING, "alice", &long, 413, "M_TOO_LARGE"),
        ("PUT", SEND, "alice", "", 400, "M_NOT_JSON"),
        ("PUT", SEND, "alice", "3", 400, "M_BAD_JSON"),
        ("PUT", SEND, "alice", r#"{"body":"hello"}"#, 200, "none"),
        (
            "POST",
            "/_matrix/client/v3/logout",
            "alice",
            "",
            200,
            "none",
        ),
        (
            "POST",
            "/_matrix/client/v3/logout",
            "alice",
            "{}",
            200,
            "none",
        ),
        (
            "POST",
            "/_matrix/client/v3/logout",
            "alice",
            "nonsense",
            400,
            "M_NOT_JSON",
        ),
        (
            "POST",
            "/_matrix/media/v3/upload",
            "alice",
            &long,
            200,
            "none",
        ),
        (
            "POST",
            "/_matrix/media/v3/upload",
            "alice",
            &long.repeat(2),
            413,
            "M_TOO_LARGE",
        ),
        // Who calls is asked before the body is looked at.
        ("PUT", TYPING, "", "{", 401, "M_MISSING_TOKEN"),
        ("PUT", TYPING, "boss", &typing, 403, "M_FORBIDDEN"),
        // Endpoints that ruma does not know.
        (
            "GET",
            "/_synapse/admin/v1/secret/7?limit=8",
            "boss",
            "",
            200,
            "none",
        ),
        (
            "GET",
            "/_synapse/admin/v1/secret/7?limit=8",
            "alice",
            "",
            403,
            "M_FORBIDDEN",
        ),
        (
            "GET",
            "/_synapse/admin/v1/secret/x?limit=8",
            "boss",
            "",
            400,
            "M_INVALID_PARAM",
        ),
        (
            "GET",
            "/_synapse/admin/v1/secret/7",
            "boss",
            "",
            400,
            "M_INVALID_PARAM",
        ),
        (
            "POST",
            "/_cairn/admin/v1/echo",
            "",
            r#"{"text": "hello"}"#,
            200,
            "none",
        ),
        ("POST", "/_cairn/admin/v1/echo", "", "", 400, "M_BAD_JSON"),
        (
            "POST",
            "/_cairn/admin/v1/echo",
            "",
            "hello",
            400,
            "M_NOT_JSON",
        ),
        (
            "GET",
            "/_cairn/admin/v1/local",
            "boss",
            "",
            404,
            "M_UNRECOGNIZED",
        ),
        // Our own mistakes.
        ("GET", "/_matrix/client/v3/panic", "", "", 500, "M_UNKNOWN"),
        (
            "POST",
            "/_matrix/client/v3/panic",
            "",
            "{}",
            500,
            "M_UNKNOWN",
        ),
        ("GET", state, "alice", "", 200, "none"),
    ] {
        let answer = house.ask(method, path, token, body.to_owned()).await;
        let found = (answer.status.as_u16(), answer.errcode());
        assert_eq!(
            found,
            (status, errcode.to_owned()),
            "{method} {path} {token} {body:.60}: {}",
            answer.body
        );
        if status >= 400 {
            assert_eq!(answer.header("content-type"), "application/json");
            assert!(answer.json()["error"].is_string(), "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn errors_carry_what_belongs_to_them() {
    let house = house(LimitsOptions::default()).await;
    let whoami = "/_matrix/client/v3/account/whoami";
    let unknown = house.ask("GET", whoami, "nobody", "").await;
    assert_eq!(unknown.json()["soft_logout"], json!(false));
    let expired = house.ask("GET", whoami, "expired", "").await;
    assert_eq!(expired.errcode(), "M_UNKNOWN_TOKEN");
    assert_eq!(expired.json()["soft_logout"], json!(true));
    let locked = house.ask("GET", whoami, "locked", "").await;
    assert_eq!(locked.json()["soft_logout"], json!(true));

    let wrong_method = house.ask("DELETE", whoami, "alice", "").await;
    assert_eq!(wrong_method.header("allow"), "GET,HEAD");

    let device = "/_matrix/client/v3/devices/DEVICE";
    let step = house.ask("DELETE", device, "alice", "").await;
    assert_eq!(step.status, 401);
    let mut body = step.json();
    let session = body["session"].take();
    assert!(session.is_string());
    assert_eq!(
        body,
        json!({"flows": [{"stages": ["m.login.password"]}], "params": {}, "session": null, "completed": []})
    );
    let wrong = json!({"auth": {
        "type": "m.login.password",
        "session": session,
        "identifier": {"type": "m.id.user", "user": "alice"},
        "password": "wrong",
    }});
    let step = house
        .ask("DELETE", device, "alice", wrong.to_string())
        .await;
    assert_eq!(
        (step.status.as_u16(), step.errcode()),
        (401, "M_FORBIDDEN".to_owned())
    );
    assert_eq!(step.json()["session"], session);
}

#[tokio::test]
async fn path_arguments_are_decoded_once() {
    let house = house(LimitsOptions::default()).await;
    let state = "/_matrix/client/v3/rooms/!r:example.org/state";
    for (path, event_type, state_key) in [
        ("m.room.topic/", "m.room.topic", ""),
        ("m.room.topic", "m.room.topic", ""),
        ("a%2Fb/c%252Fd", "a/b", "c%2Fd"),
        ("a/%40alice%3Aexample.org", "a", "@alice:example.org"),
        ("a/b+c", "a", "b+c"),
    ] {
        let answer = house
            .ask("GET", &format!("{state}/{path}"), "alice", "")
            .await;
        let expected = json!({"type": event_type, "state_key": state_key});
        assert_eq!(answer.json(), expected, "{path}");
    }
    // A room of version 12 has no server in its id.
    let path = "/_matrix/client/v3/rooms/%21abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ/state/a/b";
    assert_eq!(house.ask("GET", path, "alice", "").await.status, 200);
}

#[tokio::test]
async fn web_clients_may_read_everything_of_matrix() {
    let house = house(LimitsOptions::default()).await;
    for (method, path, token, status) in [
        ("OPTIONS", "/_matrix/client/v3/account/whoami", "", 204),
        ("OPTIONS", TYPING, "", 204),
        ("OPTIONS", "/_matrix/client/v3/nothing", "", 204),
        ("GET", "/_matrix/client/v3/account/whoami", "alice", 200),
        ("GET", "/_matrix/client/v3/account/whoami", "", 401),
        ("GET", "/_matrix/client/v3/nothing", "", 404),
        ("DELETE", "/_matrix/client/v3/account/whoami", "", 405),
        ("GET", "/_matrix/client/v3/panic", "", 500),
    ] {
        let answer = house.ask(method, path, token, "").await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(
            answer.header("access-control-allow-methods"),
            "GET, POST, PUT, DELETE, OPTIONS"
        );
        assert_eq!(
            answer.header("access-control-allow-headers"),
            "X-Requested-With, Content-Type, Authorization, If-Match, If-None-Match"
        );
    }
    let metrics = house.ask("GET", "/metrics", "", "").await;
    assert_eq!(metrics.status, 200);
    assert_eq!(metrics.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let house = house(LimitsOptions::default()).await;
    let path = "/_matrix/client/v3/account/whoami";
    let got = house.ask("GET", path, "alice", "").await;
    let head = house.ask("HEAD", path, "alice", "").await;
    assert_eq!(head.status, 200);
    assert_eq!(head.body, "");
    assert_eq!(head.header("content-length"), got.body.len().to_string());
    assert_eq!(house.ask("HEAD", path, "", "").await.status, 401);
}

#[tokio::test]
async fn rates_are_limited_by_account_and_by_address() {
    let house = house(LimitsOptions {
        requests_per_second_per_account: 2,
        burst_per_account: 2,
        requests_per_second_per_address: 1,
        burst_per_address: 3,
        ..LimitsOptions::default()
    })
    .await;
    let path = "/_matrix/client/v3/account/whoami";
    for _ in 0..2 {
        assert_eq!(house.ask("GET", path, "alice", "").await.status, 200);
    }
    let limited = house.ask("GET", path, "alice", "").await;
    assert_eq!(limited.status, 429);
    assert_eq!(limited.errcode(), "M_LIMIT_EXCEEDED");
    assert_eq!(limited.json()["retry_after_ms"], json!(500));
    assert_eq!(limited.header("retry-after"), "1");
    house.clock.advance(500);
    assert_eq!(house.ask("GET", path, "alice", "").await.status, 200);

    // Strangers share what their address has; the account has its own.
    assert_eq!(house.ask("GET", path, "", "").await.status, 401);
    assert_eq!(house.ask("GET", path, "guessed", "").await.status, 401);
    let rooms = "/_matrix/client/v3/publicRooms";
    assert_eq!(house.ask("GET", rooms, "", "").await.status, 200);
    assert_eq!(house.ask("GET", rooms, "", "").await.status, 429);
    assert_eq!(house.ask("GET", path, "guessed", "").await.status, 429);
    let elsewhere = Request::get(rooms).body(Body::empty()).unwrap();
    let elsewhere = house.ask_from("192.0.2.2".parse().unwrap(), elsewhere);
    assert_eq!(elsewhere.await.status, 200);

    house.limits.change(LimitsOptions {
        enabled: false,
        ..LimitsOptions::default()
    });
    for _ in 0..500 {
        assert_eq!(house.ask("GET", rooms, "", "").await.status, 200);
    }
}

#[tokio::test]
async fn the_origin_is_seen_through_trusted_proxies_only() {
    let house = house(LimitsOptions::default()).await;
    for (peer, expected) in [
        ("10.0.0.1", "198.51.100.4 Browser"),
        ("192.0.2.1", "192.0.2.1 Browser"),
    ] {
        let request = Request::get("/_matrix/client/v3/origin")
            .header("x-forwarded-for", "198.51.100.4")
            .header("user-agent", "Browser")
            .body(Body::empty())
            .unwrap();
        let answer = house.ask_from(peer.parse().unwrap(), request).await;
        assert_eq!(answer.body, expected);
    }
}

#[tokio::test]
async fn requests_have_ids_and_are_measured() {
    let house = house(LimitsOptions::default()).await;
    let first = house
        .ask("GET", "/_matrix/client/v3/account/whoami", "alice", "")
        .await;
    let second = house
        .ask("GET", "/_matrix/client/r0/account/whoami", "nobody", "")
        .await;
    house.ask("BREW", "/coffee", "", "").await;
    assert!(!first.header("x-request-id").is_empty());
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    let text = house.metrics.render();
    for line in [
        r#"cairn_http_requests_total{endpoint="/_matrix/client/v3/account/whoami",method="GET",status="200"} 1"#,
        r#"cairn_http_requests_total{endpoint="/_matrix/client/r0/account/whoami",method="GET",status="401"} 1"#,
        r#"cairn_http_requests_total{endpoint="unknown",method="other",status="404"} 1"#,
        "cairn_http_request_seconds_count 3",
        "cairn_http_requests_in_flight 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let served = house.ask("GET", "/metrics", "", "").await;
    assert!(served.body.contains("cairn_http_requests_total"));
}

/// A body that begins and never goes on.
struct Stuck(Option<Bytes>);

impl HttpBody for Stuck {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let house = house(LimitsOptions::default()).await;
    let body = Body::new(Stuck(Some(Bytes::from_static(b"{"))));
    let answer = house.ask("POST", "/_cairn/admin/v1/echo", "", body).await;
    assert_eq!(answer.status, 408);
    let body = Body::new(Stuck(Some(Bytes::from_static(b"half a picture"))));
    let answer = house
        .ask("POST", "/_matrix/media/v3/upload", "alice", body)
        .await;
    assert_eq!(answer.status, 408);
}
