//! Rooms that replace others take their place in the spaces around them.

use harness::User;
use serde_json::{Value, json};

use crate::server;

const CHILD: &str = "m.space.child";
const PARENT: &str = "m.space.parent";

async fn space(user: &User) -> String {
    let options = json!({
        "preset": "public_chat", "creation_content": { "type": "m.space" },
    });
    user.create_room(options).await
}

async fn upgrade(user: &User, room: &str) -> String {
    let body = json!({ "new_version": "12" });
    let answer = user.post(format!("v3/rooms/{room}/upgrade"), body).await;
    answer.ok()["replacement_room"].as_str().unwrap().to_owned()
}

async fn link(user: &User, room: &str, kind: &str, other: &str, more: Value) {
    let mut content = json!({ "via": ["elsewhere.test"] });
    for (name, value) in more.as_object().unwrap() {
        content[name] = value.clone();
    }
    user.set_state(room, kind, other, content).await;
}

/// The rooms of a space, as its hierarchy shows them.
async fn tree(user: &User, space: &str) -> Vec<String> {
    let tree = user.get(format!("v1/rooms/{space}/hierarchy")).await.ok();
    let rooms = tree["rooms"].as_array().unwrap().iter();
    rooms
        .map(|room| room["room_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_replaced_room_stays_in_its_spaces() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let (outer, other) = (space(&alice).await, space(&bob).await);
    alice.join(&other).await;
    let old = alice.public_room().await;
    let order = json!({ "order": "a", "suggested": true });
    link(&alice, &outer, CHILD, &old, order).await;
    link(&bob, &other, CHILD, &old, json!({})).await;
    link(&alice, &old, PARENT, &outer, json!({ "canonical": true })).await;
    // A link that was taken away stays away.
    let gone = space(&alice).await;
    alice.set_state(&old, PARENT, &gone, json!({})).await;
    let new = upgrade(&alice, &old).await;

    let moved = alice.state(&outer, CHILD, &new).await.ok();
    let expected = json!({ "via": ["localhost"], "order": "a", "suggested": true });
    assert_eq!(moved, expected);
    assert_eq!(alice.state(&outer, CHILD, &old).await.ok(), json!({}));
    assert_eq!(tree(&alice, &outer).await, [outer.clone(), new.clone()]);
    let parent = alice.state(&new, PARENT, &outer).await.ok();
    assert_eq!(
        parent,
        json!({ "via": ["elsewhere.test"], "canonical": true })
    );
    alice
        .state(&new, PARENT, &gone)
        .await
        .refused(404, "M_NOT_FOUND");
    // What alice has no power over stays as it was.
    bob.state(&other, CHILD, &new)
        .await
        .refused(404, "M_NOT_FOUND");
    let kept = bob.state(&other, CHILD, &old).await.ok();
    assert_eq!(kept, json!({ "via": ["elsewhere.test"] }));
}

#[tokio::test]
async fn a_replaced_space_stays_the_parent_of_its_rooms() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let old = space(&alice).await;
    let (mine, theirs) = (alice.public_room().await, bob.public_room().await);
    alice.join(&theirs).await;
    for (user, room) in [(&alice, &mine), (&bob, &theirs)] {
        link(&alice, &old, CHILD, room, json!({})).await;
        link(user, room, PARENT, &old, json!({ "canonical": true })).await;
    }
    let new = upgrade(&alice, &old).await;
    let mut found = tree(&alice, &new).await;
    found.sort();
    let mut expected = [new.clone(), mine.clone(), theirs.clone()];
    expected.sort();
    assert_eq!(found, expected);
    let parent = alice.state(&mine, PARENT, &new).await.ok();
    assert_eq!(parent, json!({ "via": ["localhost"], "canonical": true }));
    assert_eq!(alice.state(&mine, PARENT, &old).await.ok(), json!({}));
    bob.state(&theirs, PARENT, &new)
        .await
        .refused(404, "M_NOT_FOUND");
}
