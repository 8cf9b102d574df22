//! Looking for people of other servers by name.

use harness::neighbours::World;
use harness::{User, escape, eventually};
use serde_json::{Value, json};

/// The ids and names of those who are found.
async fn search(user: &User, term: &str) -> Vec<(String, Value)> {
    let body = json!({ "search_term": term });
    let found = user.post("v3/user_directory/search", body).await.ok();
    assert_eq!(found["limited"], false, "{found}");
    let results = found["results"].as_array().unwrap().iter();
    let id = |found: &Value| found["user_id"].as_str().unwrap().to_owned();
    results
        .map(|found| (id(found), found["display_name"].clone()))
        .collect()
}

#[tokio::test]
async fn people_of_other_servers_are_found_where_one_may_know_of_them() {
    let world = World::of(&["a.test", "b.test"]);
    let (a, b) = (world.start("a.test"), world.start("b.test"));
    let (alice, carol) = (
        a.api.register_as("alice").await,
        a.api.register_as("carol").await,
    );
    let bob = b.api.register_as("robert").await;
    let name = format!("v3/profile/{}/displayname", bob.user_id);
    bob.put(name, json!({ "displayname": "Bob Meier" }))
        .await
        .ok();
    let room = alice.create_room(json!({})).await;
    assert_eq!(search(&alice, "meier").await, []);
    alice.invite(&escape(&room), &bob).await;
    assert_eq!(search(&alice, "meier").await, [], "invited is not joined");
    let path = format!("v3/join/{}?via=a.test", escape(&room));
    bob.post(path, json!({})).await.ok();
    let expected = [(bob.user_id.clone(), json!("Bob Meier"))];
    for term in ["meier", "BOB", "rob", "@robert:b.test", "@rob:b"] {
        assert_eq!(search(&alice, term).await, expected, "{term}");
    }
    assert_eq!(search(&alice, "@robert:a.test").await, []);
    // Bob finds her, too, and whoever is not in the room finds nobody of another server.
    let found = search(&bob, "alice").await;
    assert_eq!(found[0].0, alice.user_id, "{found:?}");
    assert_eq!(search(&carol, "meier").await, []);

    // The list of rooms is there for all.
    let path = format!("v3/directory/list/room/{}", escape(&room));
    alice
        .put(&path, json!({ "visibility": "public" }))
        .await
        .ok();
    assert_eq!(search(&carol, "meier").await, expected);
    bob.leave(&escape(&room)).await;
    eventually("he is gone", 15, async || {
        search(&alice, "meier").await.is_empty().then_some(())
    })
    .await;
    assert_eq!(search(&carol, "meier").await, []);
}
