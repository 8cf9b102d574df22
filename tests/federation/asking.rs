//! People of one server ask about people and rooms of another.

use harness::signing::DeviceKeys;
use serde_json::json;

use harness::neighbours::World;

#[tokio::test]
async fn profiles_of_another_server_can_be_read() {
    let world = World::of(&["a.test", "b.test"]);
    let (a, b) = (world.start("a.test"), world.start("b.test"));
    let bob = b.api.register("bob").await;
    let profile = format!("v3/profile/{}", bob.user_id);
    bob.put(
        format!("{profile}/displayname"),
        json!({ "displayname": "Böb" }),
    )
    .await
    .ok();
    // Asking needs no account, here as there.
    let found = a.api.get(&profile).await.ok();
    assert_eq!(found, b.api.get(&profile).await.ok());
    assert_eq!(found["displayname"], "Böb");
    let field = a.api.get(format!("{profile}/displayname")).await.ok();
    assert_eq!(field, json!({ "displayname": "Böb" }));
    a.api
        .get(format!("{profile}/avatar_url"))
        .await
        .refused(404, "M_NOT_FOUND");
    a.api
        .get("v3/profile/@nobody:b.test")
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn aliases_and_directories_of_another_server_can_be_read() {
    let world = World::of(&["a.test", "b.test"]);
    let (a, b) = (world.start("a.test"), world.start("b.test"));
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let room = bob
        .create_room(json!({
            "room_alias_name": "lounge", "name": "Lounge", "visibility": "public",
            "preset": "public_chat",
        }))
        .await;
    let found = a.api.get("v3/directory/room/%23lounge:b.test").await.ok();
    assert_eq!(found, json!({ "room_id": room, "servers": ["b.test"] }));
    a.api
        .get("v3/directory/room/%23nothing:b.test")
        .await
        .refused(404, "M_NOT_FOUND");

    let there = a.api.get("v3/publicRooms?server=b.test").await.ok();
    assert_eq!(there["chunk"][0]["room_id"], room, "{there}");
    assert_eq!(there["chunk"][0]["name"], "Lounge");
    assert_eq!(there["total_room_count_estimate"], 1);
    let search = |term: &str| json!({ "filter": { "generic_search_term": term } });
    for (term, count) in [("loun", 1), ("kitchen", 0)] {
        let path = "v3/publicRooms?server=b.test";
        let found = alice.post(path, search(term)).await.ok();
        assert_eq!(found["chunk"].as_array().unwrap().len(), count, "{term}");
    }
    let here = a.api.get("v3/publicRooms").await.ok();
    assert_eq!(here["chunk"], json!([]));
}

#[tokio::test]
async fn keys_of_another_server_can_be_had() {
    let world = World::of(&["a.test", "b.test", "gone.test"]);
    let (a, b) = (world.start("a.test"), world.start("b.test"));
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let keys = DeviceKeys::of(&bob);
    keys.upload(&bob, 1).await;
    let gone = "@carol:gone.test";
    let query = json!({ "device_keys": {
        &bob.user_id: [], &alice.user_id: [], gone: [], "@nobody:b.test": [],
    } });
    let found = alice.post("v3/keys/query", query.clone()).await.ok();
    let device = &found["device_keys"][&bob.user_id][&bob.device_id];
    assert_eq!(device["keys"], keys.object["keys"], "{found}");
    assert_eq!(device["signatures"], keys.object["signatures"]);
    assert!(
        device["unsigned"].is_null(),
        "names of devices are their owner's"
    );
    assert!(found["device_keys"][&alice.user_id].is_object());
    assert!(found["device_keys"]["@nobody:b.test"].is_null());
    let failures = found["failures"].as_object().unwrap();
    assert_eq!(failures.keys().collect::<Vec<_>>(), ["gone.test"]);

    let claim = json!({ "one_time_keys": {
        &bob.user_id: { &bob.device_id: "signed_curve25519" },
        gone: { "X": "signed_curve25519" },
    } });
    let claimed = alice.post("v3/keys/claim", claim.clone()).await.ok();
    let of_bob = &claimed["one_time_keys"][&bob.user_id][&bob.device_id];
    assert!(of_bob["signed_curve25519:one0"].is_object(), "{claimed}");
    assert!(claimed["failures"]["gone.test"].is_object(), "{claimed}");
    // There was one.
    let claimed = alice.post("v3/keys/claim", claim).await.ok();
    let of_bob = &claimed["one_time_keys"][&bob.user_id][&bob.device_id];
    assert!(of_bob.is_null(), "{claimed}");
}
