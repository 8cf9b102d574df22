//! A closed federation: who is kept out is kept out everywhere, and nobody at home is.

use harness::{User, escape, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use crate::peer::{Behaviour, Peer, now};
use crate::visitors::{Visitor, sign};
use harness::neighbours::World;

/// Everything that a server can ask without being in a room, with a body where it needs one.
const REQUESTS: [(&str, &str, Option<&str>); 14] = [
    ("GET", "v1/query/profile?user_id=%40alice%3Aa.test", None),
    (
        "GET",
        "v1/query/directory?room_alias=%23hall%3Aa.test",
        None,
    ),
    ("GET", "v1/publicRooms", None),
    ("GET", "v1/make_join/ROOM/%40x%3Abad.test?ver=11", None),
    ("GET", "v1/make_knock/ROOM/%40x%3Abad.test?ver=11", None),
    ("GET", "v1/state/ROOM?event_id=%24x", None),
    ("GET", "v1/backfill/ROOM?v=%24x&limit=1", None),
    ("GET", "v1/hierarchy/ROOM", None),
    ("GET", "v1/user/devices/%40alice%3Aa.test", None),
    ("GET", "v1/media/download/FILE", None),
    ("GET", "v1/media/thumbnail/FILE?width=10&height=10", None),
    (
        "POST",
        "v1/user/keys/query",
        Some(r#"{"device_keys":{"@alice:a.test":[]}}"#),
    ),
    (
        "PUT",
        "v2/invite/ROOM/%24x",
        Some(r#"{"room_version":"11","event":{},"invite_room_state":[]}"#),
    ),
    (
        "PUT",
        "v1/send/1",
        Some(r#"{"origin":"bad.test","origin_server_ts":1,"pdus":[],"edus":[]}"#),
    ),
];

async fn upload(user: &User) -> String {
    let request = user
        .request(Method::POST, "/_matrix/media/v3/upload?filename=note.txt")
        .header("Content-Type", "text/plain")
        .body("a note");
    let answer = user.send_request(request).await.ok();
    let uri = answer["content_uri"].as_str().unwrap();
    uri.strip_prefix("mxc://").unwrap().to_owned()
}

async fn hall(alice: &User) -> String {
    let options = json!({
        "preset": "public_chat", "room_alias_name": "hall", "visibility": "public",
    });
    alice.create_room(options).await
}

#[tokio::test]
async fn who_is_denied_is_answered_nothing_and_asked_nothing() {
    let world = World::of(&["a.test", "bad.test", "b.test"]);
    let bad = Peer::start(&world, "bad.test").await;
    let b = Peer::start(&world, "b.test").await;
    let more = "allowed_servers = [\"*.test\"]\ndenied_servers = [\"ba?.*\"]\n\
        key_servers = [\"b.test\"]";
    let a = world.start_with("a.test", more);
    let alice = a.api.register_as("alice").await;
    let (room, file) = (hall(&alice).await, upload(&alice).await);
    let (_, file) = file.split_once('/').unwrap();
    for (method, path, body) in REQUESTS {
        let path = path.replace("ROOM", &escape(&room)).replace("FILE", file);
        let uri = format!("/_matrix/federation/{path}");
        let answer = match body {
            None => bad.get(&a.door, "a.test", &uri).await,
            Some(body) => {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let body: Value = serde_json::from_str(body).unwrap();
                bad.send(&a.door, "a.test", method, &uri, body).await
            }
        };
        answer.refused(403, "M_FORBIDDEN");
    }
    assert_eq!(bad.asked(), [""; 0], "not even its key is fetched");

    // Nor does anybody here reach it.
    let there = "!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let refused = async |method: Method, path: String, body: Value| {
        let request = alice.request(method, &path).json(&body);
        let answer = alice.send_request(request).await;
        assert!(
            matches!(answer.status, 403 | 404 | 502),
            "{path}: {answer:?}"
        );
    };
    for path in [
        format!("v3/join/{there}?via=bad.test"),
        "v3/join/%23hall%3Abad.test".to_owned(),
        format!("v3/knock/{there}?via=bad.test&server_name=bad.test"),
        "v3/publicRooms?server=bad.test".to_owned(),
    ] {
        refused(Method::POST, path, json!({})).await;
    }
    let who = json!({ "user_id": "@x:bad.test" });
    refused(
        Method::POST,
        format!("v3/rooms/{}/invite", escape(&room)),
        who,
    )
    .await;
    for path in [
        "v3/profile/@x:bad.test",
        "v3/directory/room/%23hall%3Abad.test",
        "v1/media/download/bad.test/file",
        "v1/media/thumbnail/bad.test/file?width=10&height=10",
    ] {
        refused(Method::GET, path.to_owned(), json!({})).await;
    }
    let wanted = json!({ "device_keys": { "@x:bad.test": [] } });
    let found = alice.post("v3/keys/query", wanted).await.ok();
    assert_eq!(found["device_keys"]["@x:bad.test"], json!(null), "{found}");
    alice
        .put(
            "v3/sendToDevice/m.x/1",
            json!({ "messages": { "@x:bad.test": { "*": {} } } }),
        )
        .await
        .ok();
    // A room is made without those who cannot be invited.
    alice
        .create_room(json!({ "invite": ["@x:bad.test"] }))
        .await;
    assert_eq!(bad.asked(), [""; 0]);
    assert_eq!(b.asked(), [""; 0], "nor is anybody asked about it");
}

#[tokio::test]
async fn events_of_denied_servers_are_not_verified_by_way_of_others() {
    let world = World::of(&["a.test", "bad.test", "b.test"]);
    let bad = Peer::start(&world, "bad.test").await;
    let b = Peer::start(&world, "b.test").await;
    b.on_transactions(200, json!({ "pdus": {} }));
    let more = "denied_servers = [\"bad.test\"]\nkey_servers = [\"b.test\"]";
    let a = world.start_with("a.test", more);
    // It would tell.
    let document = bad.document(now() + 3_600_000);
    b.on(
        "/_matrix/key/v2/query",
        Behaviour::Json(200, json!({ "server_keys": [document] })),
    );
    let alice = a.api.register_as("alice").await;
    let room = hall(&alice).await;
    let mut bob = Visitor::join(&b, (&a.door, "a.test"), "@bob:b.test", &room).await;
    let last = bob.last.clone();
    let content = json!({ "membership": "join" });
    let (_, mut event) = bob.event("m.room.member", Some("@x:bad.test"), content);
    event["sender"] = json!("@x:bad.test");
    for field in ["hashes", "signatures"] {
        event.as_object_mut().unwrap().remove(field);
    }
    sign(&bad, &mut event);
    bob.last = last;
    let (good, said) = bob.event("m.room.message", None, json!({ "body": "good" }));
    let answer = bob
        .transact("t", json!([event, said]), json!([]))
        .await
        .ok();
    assert_eq!(answer["pdus"][&good], json!({}), "{answer}");
    alice
        .state(&escape(&room), "m.room.member", "@x:bad.test")
        .await
        .refused(404, "M_NOT_FOUND");
    assert_eq!(bad.asked(), [""; 0]);
    let asked = b.asked();
    let about_keys: Vec<_> = asked
        .iter()
        .filter(|path| path.contains("key/v2/query"))
        .collect();
    assert_eq!(about_keys, [""; 0], "{asked:?}");
}

#[tokio::test]
async fn a_room_goes_on_between_the_events_of_denied_servers() {
    let world = World::of(&["a.test", "bad.test", "c.test"]);
    let (bad, c) = (world.start("bad.test"), world.start("c.test"));
    let a = world.start_with("a.test", "denied_servers = [\"bad.test\"]");
    let alice = a.api.register_as("alice").await;
    let (bob, carol) = (bad.api.register("bob").await, c.api.register("carol").await);
    let room = carol.public_room().await;
    let join = json!({ "reason": "here" });
    let path = format!("v3/join/{}?via=c.test", escape(&room));
    // One of the denied server is there before, and one comes after.
    bob.post(&path, join.clone()).await.ok();
    alice.post(&path, join.clone()).await.ok();
    let late = bad.api.register("late").await;
    late.post(&path, join).await.ok();
    let room_id = escape(&room);
    let mut heard = alice.sync().await;
    for round in 0..30 {
        let (own, other) = (format!("carol {round}"), format!("bob {round}"));
        // Each is told directly after the one of the denied server.
        let said = [&bob, &late][round % 2].say(&room_id, &other).await;
        eventually("carol reads it", 10, async || {
            (carol.event(&room_id, &said).await.status == 200).then_some(())
        })
        .await;
        carol.say(&room_id, &own).await;
        (_, heard) = alice
            .sync_until(&heard, &own, |synced| {
                let timeline = synced.timeline(&room).iter();
                let mut bodies = timeline.map(|event| event["content"]["body"].as_str());
                bodies.any(|body| body == Some(&own)).then_some(())
            })
            .await;
    }
    let said = alice.say(&room_id, "and alice").await;
    eventually("carol reads alice", 10, async || {
        (carol.event(&room_id, &said).await.status == 200).then_some(())
    })
    .await;
    let page = alice
        .get(format!("v3/rooms/{room_id}/messages?dir=b&limit=200"))
        .await
        .ok();
    let senders: Vec<&str> = page["chunk"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["type"] == "m.room.message")
        .map(|event| event["sender"].as_str().unwrap())
        .collect();
    assert_eq!(senders.len(), 31, "{senders:?}");
    assert!(!senders.iter().any(|sender| sender.ends_with("bad.test")));
    let members = alice
        .get(format!("v3/rooms/{room_id}/joined_members"))
        .await;
    let members = members.ok()["joined"].as_object().unwrap().clone();
    let members: Vec<&String> = members.keys().collect();
    assert_eq!(members, [&alice.user_id, &carol.user_id]);
    // None of the thirty was left behind as an end of the room.
    a.server.cairn_json(&["user", "promote", "alice"]);
    let ends = format!("/_synapse/admin/v1/rooms/{room_id}/forward_extremities");
    assert_eq!(alice.get(ends).await.ok()["count"], 1);
}

#[tokio::test]
async fn a_blocked_server_is_spoken_to_no_more_until_it_is_unblocked() {
    let world = World::of(&["a.test", "b.test"]);
    let mut a = world.start("a.test");
    let b = world.start_with("b.test", "retry_delay_max = 1");
    let (mut alice, bob) = (
        a.api.register_as("alice").await,
        b.api.register_as("bob").await,
    );
    let room = alice.public_room().await;
    let path = format!("v3/join/{}?via=a.test", escape(&room));
    bob.post(&path, json!({})).await.ok();
    let room_id = escape(&room);
    let reads = async |user: &User, event: &str| {
        eventually("it is read there", 20, async || {
            (user.event(&room_id, event).await.status == 200).then_some(())
        })
        .await;
    };
    reads(&bob, &alice.say(&room_id, "before").await).await;

    a.server
        .cairn_json(&["federation", "block", "B.test", "--reason", "spam"]);
    for path in ["v3/profile/@bob:b.test", "v3/publicRooms?server=b.test"] {
        let answer = alice.get(path).await;
        assert!(matches!(answer.status, 403 | 404 | 502), "{answer:?}");
        assert!(answer.text.contains("blocked"), "{answer:?}");
    }
    let shut_out = bob.say(&room_id, "from the blocked").await;
    let kept_in = alice.say(&room_id, "to the blocked").await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    // It is so after a restart too.
    a.restart();
    alice.api = a.server.api().with_token(&alice.access_token);
    alice
        .event(&room_id, &shut_out)
        .await
        .refused(404, "M_NOT_FOUND");
    bob.event(&room_id, &kept_in)
        .await
        .refused(404, "M_NOT_FOUND");
    let status = a.server.cairn_json(&["federation", "status"]);
    assert_eq!(status["blocked"][0]["server"], "b.test", "{status}");
    assert_eq!(status["blocked"][0]["reason"], "spam");
    assert_eq!(status["waiting"], json!([]));

    a.server
        .cairn_json(&["federation", "unblock", "b.test", "--reason", "a mistake"]);
    let after = alice.say(&room_id, "after").await;
    reads(&bob, &after).await;
    reads(&bob, &kept_in).await;
    reads(&alice, &shut_out).await;
    let told = a.server.cairn_json(&["audit", "show"]);
    let told = told["entries"].as_array().unwrap().iter();
    let told: Vec<(&str, &str)> = told
        .filter_map(|entry| Some((entry["verb"].as_str()?, entry["reason"].as_str()?)))
        .filter(|(verb, _)| verb.starts_with("federation."))
        .collect();
    assert!(told.contains(&("federation.blocked", "spam")), "{told:?}");
    assert!(
        told.contains(&("federation.unblocked", "a mistake")),
        "{told:?}"
    );
}

#[tokio::test]
async fn of_several_servers_only_those_are_asked_that_may_be() {
    let world = World::of(&["a.test", "bad.test", "b.test"]);
    let bad = Peer::start(&world, "bad.test").await;
    let b = world.start("b.test");
    let a = world.start_with("a.test", "denied_servers = [\"bad.test\"]");
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let room = bob.public_room().await;
    let path = format!("v3/join/{}?via=bad.test&via=b.test", escape(&room));
    alice.post(path, json!({})).await.ok();
    assert_eq!(bad.asked(), [""; 0]);
}

#[tokio::test]
async fn at_home_nothing_is_denied() {
    let world = World::of(&["a.test", "b.test"]);
    let more = "allowed_servers = [\"nobody.test\"]\ndenied_servers = [\"*\"]";
    let a = world.start_with("a.test", more);
    let (alice, bob) = (
        a.api.register_as("alice").await,
        a.api.register_as("bob").await,
    );
    let (room, file) = (hall(&alice).await, upload(&alice).await);
    let since = bob.sync().await;
    bob.post("v3/join/%23hall%3Aa.test?via=a.test", json!({}))
        .await
        .ok();
    let private = alice.create_room(json!({ "invite": [bob.user_id] })).await;
    bob.join(&private).await;
    alice.say(&escape(&room), "hello").await;
    let messages = json!({ "messages": { &bob.user_id: { "*": { "n": 1 } } } });
    alice.put("v3/sendToDevice/m.x/1", messages).await.ok();
    bob.sync_until(&since, "what was said", |synced| {
        let timeline = synced.timeline(&room).iter();
        let mut bodies = timeline.map(|event| &event["content"]["body"]);
        let is_there = bodies.any(|body| body == "hello") && !synced.to_device().is_empty();
        is_there.then_some(())
    })
    .await;
    let path = format!("v1/media/download/{file}");
    let got = bob.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(got.text().await.unwrap(), "a note");
    for path in [
        "v3/profile/@alice:a.test",
        "v3/directory/room/%23hall%3Aa.test",
        "v3/publicRooms?server=a.test",
        "v3/publicRooms",
    ] {
        bob.get(path).await.ok();
    }
    let wanted = json!({ "device_keys": { &alice.user_id: [] } });
    let found = bob.post("v3/keys/query", wanted).await.ok();
    let failures = found["failures"].as_object();
    assert!(
        failures.is_none_or(|failures| failures.is_empty()),
        "{found}"
    );
    // And the others are told that they are kept out.
    let peer = Peer::start(&world, "b.test").await;
    let profile = "/_matrix/federation/v1/query/profile?user_id=%40alice%3Aa.test";
    peer.get(&a.door, "a.test", profile)
        .await
        .refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_room_that_must_not_federate_stays_at_home() {
    let world = World::of(&["a.test", "b.test"]);
    let a = world.start("a.test");
    let b = Peer::start(&world, "b.test").await;
    let alice = a.api.register_as("alice").await;
    let options = json!({
        "preset": "public_chat", "visibility": "public", "name": "At home",
        "creation_content": { "m.federate": false },
    });
    let room = alice.create_room(options).await;
    let refused = alice
        .post(
            format!("v3/rooms/{}/invite", escape(&room)),
            json!({ "user_id": "@x:b.test" }),
        )
        .await;
    refused.refused(403, "M_FORBIDDEN");
    assert_eq!(b.asked(), [""; 0]);
    for path in ["make_join", "make_knock"] {
        let uri = format!(
            "/_matrix/federation/v1/{path}/{}/%40x%3Ab.test?ver=11&ver=12",
            escape(&room)
        );
        let answer = b.get(&a.door, "a.test", &uri).await;
        assert!(matches!(answer.status, 403 | 404), "{path}: {answer:?}");
    }
    // Whoever cannot come in is not shown it in the list either.
    let rooms = b.get(&a.door, "a.test", "/_matrix/federation/v1/publicRooms");
    let rooms = rooms.await.ok();
    assert_eq!(rooms["chunk"], json!([]), "{rooms}");
    let own = alice.get("v3/publicRooms").await.ok();
    assert_eq!(own["chunk"][0]["room_id"], room.as_str(), "{own}");
    assert_eq!(b.transactions(), [], "nothing of it is sent");
    // Not even to whoever is banned there.
    alice
        .post(
            format!("v3/rooms/{}/ban", escape(&room)),
            json!({ "user_id": "@x:b.test" }),
        )
        .await
        .ok();
    alice.say(&escape(&room), "among ourselves").await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(b.transactions(), []);
}
