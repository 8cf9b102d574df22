//! Who asks, and whether that is so.

use harness::signing::Key;
use reqwest::Method;
use serde_json::json;

use crate::peer::{Behaviour, Peer, now};
use harness::neighbours::World;

const PROFILE: &str = "/_matrix/federation/v1/query/profile?user_id=%40alice%3Aa.test";
const QUERY: &str = "/_matrix/federation/v1/user/keys/query";

#[tokio::test]
async fn signed_requests_are_answered() {
    let world = World::of(&["a.test", "peer.test"]);
    let a = world.start("a.test");
    let alice = a.api.register_as("alice").await;
    let name = format!("v3/profile/{}/displayname", alice.user_id);
    alice
        .put(name, json!({ "displayname": "Alice" }))
        .await
        .ok();
    let peer = Peer::start(&world, "peer.test").await;
    let profile = peer.get(&a.door, "a.test", PROFILE).await.ok();
    assert_eq!(profile, json!({ "displayname": "Alice" }));
    let field = format!("{PROFILE}&field=avatar_url");
    assert_eq!(peer.get(&a.door, "a.test", &field).await.ok(), json!({}));
    let path = format!("/_matrix/federation/v1/user/devices/{}", alice.user_id);
    let devices = peer.get(&a.door, "a.test", &path).await.ok();
    assert_eq!(devices["devices"], json!([]), "no keys yet");
    let keys = harness::signing::DeviceKeys::of(&alice);
    keys.upload(&alice, 0).await;
    let later = peer.get(&a.door, "a.test", &path).await.ok();
    assert_eq!(later["user_id"], alice.user_id);
    assert_eq!(later["devices"][0]["device_id"], alice.device_id);
    assert_eq!(later["devices"][0]["keys"]["keys"], keys.object["keys"]);
    let grows = |answer: &serde_json::Value| answer["stream_id"].as_u64().unwrap();
    assert!(grows(&later) > grows(&devices), "{devices} {later}");
    for missing in [
        "/_matrix/federation/v1/user/devices/@nobody:a.test",
        "/_matrix/federation/v1/user/devices/@x:peer.test",
    ] {
        peer.get(&a.door, "a.test", missing)
            .await
            .refused(404, "M_NOT_FOUND");
    }
    let content = json!({ "device_keys": { &alice.user_id: [] }, "é": [1.5, -0.25e-3] });
    let found = peer.post(&a.door, "a.test", QUERY, content).await.ok();
    assert!(found["device_keys"][&alice.user_id].is_object(), "{found}");
    // The keys were fetched once for all of it.
    assert_eq!(peer.key_fetches(), 1);
}

#[tokio::test]
async fn what_is_not_signed_rightly_is_refused() {
    let world = World::of(&["a.test", "peer.test"]);
    let a = world.start("a.test");
    a.api.register_as("alice").await;
    let peer = Peer::start(&world, "peer.test").await;
    let send = async |authorization: &str, method: Method, uri: &str, body: &str| {
        let request = a.door.request(method, uri).body(body.to_owned());
        a.door
            .send_request(request.header("Authorization", authorization))
            .await
    };
    let content = json!({ "device_keys": {} });
    let right = peer.authorization("a.test", "POST", QUERY, Some(&content));
    let body = content.to_string();
    send(&right, Method::POST, QUERY, &body).await.ok();
    let forged = right.replace("sig=\"", "sig=\"AAAA");
    let elsewhere = peer.authorization("b.test", "POST", QUERY, Some(&content));
    let other_key = right.replace("ed25519:1", "ed25519:2");
    let unknown = right.replace("peer.test", "unknown.invalid");
    let own = right.replace("peer.test", "a.test");
    let empty = peer.authorization("a.test", "POST", QUERY, None);
    for (what, authorization, sent) in [
        ("nothing", "", body.as_str()),
        ("a token", "Bearer abc", &body),
        ("a forged signature", &forged, &body),
        ("for another server", &elsewhere, &body),
        ("an unknown key", &other_key, &body),
        ("an unknown server", &unknown, &body),
        (
            "other content",
            &right,
            "{\"device_keys\":{\"@alice:a.test\":[]}}",
        ),
        ("no content", &right, ""),
        ("content that was not signed", &empty, &body),
        (
            "a key twice",
            &right,
            "{\"device_keys\":{},\"device_keys\":{}}",
        ),
    ] {
        let answer = send(authorization, Method::POST, QUERY, sent).await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        assert_eq!(
            answer.body["errcode"], "M_UNAUTHORIZED",
            "{what}: {answer:?}"
        );
    }
    send(&own, Method::POST, QUERY, &body)
        .await
        .refused(403, "M_FORBIDDEN");
    // Signed for another path or method.
    let get = peer.authorization("a.test", "GET", PROFILE, None);
    send(&get, Method::GET, PROFILE, "").await.ok();
    let other = PROFILE.replace("alice", "bob");
    for uri in [other.as_str(), &format!("{PROFILE}&x=1")] {
        send(&get, Method::GET, uri, "")
            .await
            .refused(401, "M_UNAUTHORIZED");
    }
}

#[tokio::test]
async fn keys_must_be_their_servers_and_in_time() {
    let world = World::of(&[
        "a.test",
        "late.test",
        "liar.test",
        "other.test",
        "silent.test",
    ]);
    let a = world.start("a.test");
    a.api.register_as("alice").await;
    let late = Peer::start(&world, "late.test").await;
    late.publish(late.document(now() - 1_000));
    let liar = Peer::start(&world, "liar.test").await;
    let mut document = liar.document(now() + 3_600_000);
    Key::new().sign(&mut document, "liar.test", "1");
    liar.publish(document);
    let other = Peer::start(&world, "other.test").await;
    other.publish(liar.document(now() + 3_600_000));
    let silent = Peer::start(&world, "silent.test").await;
    silent.on("/_matrix/key/v2/server", Behaviour::Silence);
    for (peer, expected) in [
        (&late, "valid up to"),
        (&liar, "not valid"),
        (&other, "it is not about other.test"),
        (&silent, "no answer in time"),
    ] {
        let answer = peer.get(&a.door, "a.test", PROFILE).await;
        let error = answer.body["error"].as_str().unwrap_or_default().to_owned();
        answer.refused(401, "M_UNAUTHORIZED");
        assert!(error.contains(expected), "{}: {error}", peer.name);
        // Remembered: nobody has a server asked again and again.
        peer.get(&a.door, "a.test", PROFILE)
            .await
            .refused(401, "M_UNAUTHORIZED");
        assert_eq!(peer.key_fetches(), 1, "{}", peer.name);
    }
}

#[tokio::test]
async fn the_configuration_says_who_is_spoken_to_and_by_which_keys() {
    let world = World::of(&["a.test", "bad.test", "pinned.test"]);
    let bad = Peer::start(&world, "bad.test").await;
    let pinned = Peer::start(&world, "pinned.test").await;
    let more = format!(
        "denied_servers = [\"bad.*\"]\npinned_keys = {{ \"pinned.test\" = [\"ed25519:1 {}\"] }}",
        pinned.key.public()
    );
    let a = world.start_with("a.test", &more);
    a.api.register_as("alice").await;
    bad.get(&a.door, "a.test", PROFILE)
        .await
        .refused(403, "M_FORBIDDEN");
    a.api
        .get("v3/profile/@x:bad.test")
        .await
        .refused(403, "M_FORBIDDEN");
    assert_eq!(bad.asked(), [""; 0]);
    pinned.get(&a.door, "a.test", PROFILE).await.ok();
    assert_eq!(pinned.asked(), [""; 0], "no key is ever fetched");
}

#[tokio::test]
async fn the_door_says_what_it_is() {
    let world = World::of(&["a.test", "b.test"]);
    let mut config = world.config("a.test", "");
    config.more += "\n[well_known]\nserver = \"matrix.a.test:443\"\n";
    let server = harness::Server::with(config);
    let door = harness::Api::new(&server.urls()[2]);
    let version = door.get("/_matrix/federation/v1/version").await.ok();
    assert_eq!(version["server"]["name"], "Cairn", "{version}");
    let delegate = door.get("/.well-known/matrix/server").await.ok();
    assert_eq!(delegate, json!({ "m.server": "matrix.a.test:443" }));
    for path in [
        "/_matrix/federation/v1/nothing",
        "/_matrix/federation/v1",
        "/_matrix/key/v1",
    ] {
        door.get(path).await.refused(404, "M_UNRECOGNIZED");
    }
    // Other doors are not behind this one, nor is this one behind those.
    door.get("/_matrix/client/versions")
        .await
        .refused(404, "M_UNRECOGNIZED");
    let path = "/_matrix/federation/v1/version";
    server.api().get(path).await.refused(404, "M_UNRECOGNIZED");

    let off = world.start_with("b.test", "enabled = false");
    off.door.get(path).await.refused(404, "M_UNRECOGNIZED");
    off.api
        .get("v3/profile/@x:a.test")
        .await
        .refused(403, "M_FORBIDDEN");
    off.door
        .get("/.well-known/matrix/server")
        .await
        .refused(404, "M_UNRECOGNIZED");
}
