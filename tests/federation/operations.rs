//! The server-server API as a whole: every operation is there, and how requests go out.

use harness::neighbours::World;
use reqwest::Method;
use serde_json::{Value, json};

use crate::peer::{Behaviour, Peer};

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    /// Who signs the request.
    Server,
    /// Everybody.
    Anybody,
}

use Asker::{Anybody, Server};

/// The operations of the specification, 1.17, but for `/.well-known/matrix/server`, which is
/// not behind this door alone; `POST /_matrix/policy/v1/sign`, which is for policy servers;
/// and queries of no kind that it names.
const OPERATIONS: [(&str, &str, Asker); 33] = [
    ("GET", "federation/v1/backfill/R?v=%24x&limit=1", Server),
    ("POST", "federation/v1/get_missing_events/R", Server),
    ("GET", "federation/v1/media/download/m", Server),
    (
        "GET",
        "federation/v1/media/thumbnail/m?width=1&height=1",
        Server,
    ),
    ("GET", "federation/v1/event_auth/R/E", Server),
    ("GET", "federation/v1/state/R?event_id=%24x", Server),
    ("GET", "federation/v1/state_ids/R?event_id=%24x", Server),
    ("GET", "federation/v1/event/E", Server),
    (
        "GET",
        "federation/v1/timestamp_to_event/R?ts=1&dir=f",
        Server,
    ),
    ("PUT", "federation/v1/invite/R/E", Server),
    ("PUT", "federation/v2/invite/R/E", Server),
    ("GET", "federation/v1/make_join/R/U?ver=11", Server),
    ("PUT", "federation/v2/send_join/R/E", Server),
    ("GET", "key/v2/query/a.test", Anybody),
    ("POST", "key/v2/query", Anybody),
    ("GET", "key/v2/server", Anybody),
    ("GET", "federation/v1/make_knock/R/U?ver=11", Server),
    ("PUT", "federation/v1/send_knock/R/E", Server),
    ("GET", "federation/v1/make_leave/R/U", Server),
    ("PUT", "federation/v2/send_leave/R/E", Server),
    (
        "GET",
        "federation/v1/openid/userinfo?access_token=x",
        Anybody,
    ),
    ("GET", "federation/v1/publicRooms", Server),
    ("POST", "federation/v1/publicRooms", Server),
    (
        "GET",
        "federation/v1/query/directory?room_alias=%23x%3Aa.test",
        Server,
    ),
    (
        "GET",
        "federation/v1/query/profile?user_id=%40x%3Aa.test",
        Server,
    ),
    ("GET", "federation/v1/hierarchy/R", Server),
    ("PUT", "federation/v1/exchange_third_party_invite/R", Server),
    ("PUT", "federation/v1/3pid/onbind", Anybody),
    ("PUT", "federation/v1/send/1", Server),
    ("GET", "federation/v1/user/devices/U", Server),
    ("POST", "federation/v1/user/keys/claim", Server),
    ("POST", "federation/v1/user/keys/query", Server),
    ("GET", "federation/v1/version", Anybody),
];

#[tokio::test]
async fn every_operation_is_there_for_those_who_may_ask() {
    let world = World::of(&["a.test", "b.test"]);
    let a = world.start("a.test");
    let peer = Peer::start(&world, "b.test").await;
    for (method, path, asker) in OPERATIONS {
        let uri = format!("/_matrix/{path}")
            .replace("/R", "/%21x%3Aa.test")
            .replace("/E", "/%24x")
            .replace("/U", "/%40x%3Ab.test");
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = a.door.request(method.clone(), &uri).json(&json!({}));
        let unsigned = a.door.send_request(request).await;
        let is_refused = unsigned.body["errcode"] == "M_UNAUTHORIZED";
        assert_eq!(is_refused, asker == Server, "{uri}: {unsigned:?}");
        let answer = match method {
            Method::GET => peer.get(&a.door, "a.test", &uri).await,
            _ => peer.send(&a.door, "a.test", method, &uri, json!({})).await,
        };
        let errcode = &answer.body["errcode"];
        assert_ne!(errcode, "M_UNRECOGNIZED", "{uri}");
        assert_ne!(errcode, "M_UNAUTHORIZED", "{uri}");
        assert!(answer.status < 500, "{uri}: {answer:?}");
    }
    for uri in [
        "/_matrix/federation/v1/query/anything?x=1",
        "/_matrix/federation/v3/send_join/%21x%3Aa.test/%24x",
    ] {
        peer.get(&a.door, "a.test", uri)
            .await
            .refused(404, "M_UNRECOGNIZED");
    }
}

const PROFILE: &str = "/_matrix/federation/v1/query/profile";

#[tokio::test]
async fn a_server_is_called_by_its_name_wherever_it_is() {
    let world = World::of(&["a.test", "b.test"]);
    let a = world.start("a.test");
    let peer = Peer::start(&world, "b.test").await;
    peer.on(PROFILE, Behaviour::Json(200, json!({ "displayname": "B" })));
    let profile: Value = a.api.get("v3/profile/@x:b.test").await.ok();
    assert_eq!(profile["displayname"], "B");
    // To whom the certificate must belong, and who is asked.
    let called = peer.called();
    let expected = ("b.test".to_owned(), "b.test".to_owned());
    assert!(!called.is_empty());
    assert!(called.iter().all(|it| *it == expected), "{called:?}");
}

#[tokio::test]
async fn requests_to_a_server_share_a_connection() {
    // One of them speaks HTTP/2, the other HTTP/1.1 alone.
    let mut world = World::of(&["a.test", "b.test", "old.test"]);
    let links = [world.link("b.test").await, world.link("old.test").await];
    let (a, b) = (world.start("a.test"), world.start("b.test"));
    let old = Peer::start(&world, "old.test").await;
    old.on(PROFILE, Behaviour::Json(200, json!({ "displayname": "O" })));
    b.api.register_as("bob").await;
    // A connection of HTTP/1.1 is free again a moment after the answer: a question that comes at
    // once may need another.
    for (user, link, most) in [("@bob:b.test", &links[0], 1), ("@x:old.test", &links[1], 5)] {
        for number in 0..20 {
            // Each is a question of its own.
            let path = format!("v3/profile/{user}?n={number}");
            a.api.get(path).await.ok();
        }
        let made = link.connections();
        assert!((1..=most).contains(&made), "{user}: {made}");
    }
    // Many at the same time need no more, where the other side takes them so.
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let api = a.api.clone();
        asking.spawn(async move { api.get("v3/profile/@bob:b.test").await.ok() });
    }
    assert_eq!(asking.join_all().await.len(), 20);
    assert_eq!(links[0].connections(), 1);
}
