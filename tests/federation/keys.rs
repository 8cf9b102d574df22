//! Signing keys: published, replaced, told by a third server.

use serde_json::{Value, json};

use crate::peer::{Behaviour, Peer, now};
use harness::neighbours::World;

fn ids(keys: &Value) -> Vec<&str> {
    keys.as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn a_replaced_key_stays_published() {
    let world = World::of(&["a.test"]);
    let mut a = world.start("a.test");
    let before = a.door.get("/_matrix/key/v2/server").await.ok();
    assert_eq!(before["server_name"], "a.test");
    assert!(before["valid_until_ts"].as_u64().unwrap() > now());
    let old_ids = ids(&before["verify_keys"]);
    assert_eq!(old_ids.len(), 1);
    assert_eq!(ids(&before["signatures"]["a.test"]), old_ids);
    // A running server holds its key.
    let refused = a.server.cairn(&["federation", "rotate-key"]);
    assert_eq!(refused.status.code(), Some(1));
    a.server.stop();
    let rotated = a.server.cairn_json(&["federation", "rotate-key"]);
    assert_eq!(rotated["old_key_id"], old_ids[0]);
    a.server.restart();
    let door = harness::Api::new(&a.server.urls()[2]);
    let after = door.get("/_matrix/key/v2/server/ed25519:any").await.ok();
    assert_eq!(
        ids(&after["verify_keys"]),
        [rotated["new_key_id"].as_str().unwrap()]
    );
    let old = &after["old_verify_keys"][old_ids[0]];
    assert_eq!(old["key"], before["verify_keys"][old_ids[0]]["key"]);
    assert!(old["expired_ts"].as_u64().unwrap() <= now());
}

#[tokio::test]
async fn a_server_tells_the_keys_of_another() {
    let world = World::of(&["a.test", "b.test", "gone.test"]);
    let a = world.start("a.test");
    let b = Peer::start(&world, "b.test").await;
    let path = "/_matrix/key/v2/query";
    let told = a.door.get(format!("{path}/b.test")).await.ok();
    let documents = told["server_keys"].as_array().unwrap();
    assert_eq!(documents.len(), 1);
    let (document, own) = (&documents[0], b.document(0));
    assert_eq!(document["verify_keys"], own["verify_keys"]);
    assert!(document["signatures"]["a.test"].is_object(), "{told}");
    assert!(document["signatures"]["b.test"].is_object());
    // Kept: nothing is asked again, even when that server is silent now.
    b.on("/_matrix/key/v2/server", Behaviour::Silence);
    let wanted = json!({ "server_keys": { "b.test": {}, "gone.test": {}, "a.test": {} } });
    let told = a.door.post(path, wanted).await.ok();
    let names = told["server_keys"].as_array().unwrap().iter();
    let mut names: Vec<&str> = names
        .map(|one| one["server_name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["a.test", "b.test"]);
    assert_eq!(b.key_fetches(), 1);
    let none = a.door.get(format!("{path}/gone.test")).await.ok();
    assert_eq!(none, json!({ "server_keys": [] }));
}

#[tokio::test]
async fn a_trusted_key_server_stands_in() {
    let world = World::of(&["a.test", "notary.test", "b.test", "c.test"]);
    let a = world.start_with("a.test", "key_servers = [\"notary.test\"]");
    let notary = Peer::start(&world, "notary.test").await;
    let b = Peer::start(&world, "b.test").await;
    let c = Peer::start(&world, "c.test").await;
    for peer in [&b, &c] {
        peer.on("/_matrix/key/v2/server", Behaviour::Json(404, json!({})));
    }
    // Without the key server's signature it could be anybody's word.
    let of_b = b.document(now() + 3_600_000);
    let mut of_c = c.document(now() + 3_600_000);
    notary.key.sign(&mut of_c, "notary.test", "1");
    let told = json!({ "server_keys": [of_b, of_c] });
    let path = "/_matrix/key/v2/query";
    notary.on(path, Behaviour::Json(200, told));
    let uri = "/_matrix/federation/v1/query/profile?user_id=%40x%3Aa.test";
    b.get(&a.door, "a.test", uri)
        .await
        .refused(401, "M_UNAUTHORIZED");
    c.get(&a.door, "a.test", uri)
        .await
        .refused(404, "M_NOT_FOUND");
    let asked = notary.asked();
    assert_eq!(
        asked.iter().filter(|asked| *asked == path).count(),
        2,
        "{asked:?}"
    );
}
