//! Room aliases.

use harness::{User, escape};
use serde_json::{Value, json};

use crate::server;

fn alias_of(user: &User, name: &str) -> String {
    format!("#{}-{name}:localhost", user.localpart())
}

fn path(alias: &str) -> String {
    format!("v3/directory/room/{}", escape(alias))
}

#[tokio::test]
async fn an_alias_leads_to_its_room_until_it_is_deleted() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let alias = alias_of(&alice, "town");
    alice.get(path(&alias)).await.refused(404, "M_NOT_FOUND");
    alice
        .put(path(&alias), json!({ "room_id": room }))
        .await
        .ok();
    let found = bob.get(path(&alias)).await.ok();
    assert_eq!(found["room_id"], room.as_str());
    assert_eq!(found["servers"], json!(["localhost"]));
    let listed = bob.get(format!("v3/rooms/{room}/aliases")).await.ok();
    assert_eq!(listed["aliases"], json!([alias]));
    alice.delete(path(&alias), Value::Null).await.ok();
    bob.get(path(&alias)).await.refused(404, "M_NOT_FOUND");
    alice
        .delete(path(&alias), Value::Null)
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn an_alias_is_found_without_an_account() {
    let api = server();
    let alice = api.register("alice").await;
    let room = alice.public_room().await;
    let alias = alias_of(&alice, "open");
    alice
        .put(path(&alias), json!({ "room_id": room }))
        .await
        .ok();
    let found = api.get(path(&alias)).await.ok();
    assert_eq!(found["room_id"], room.as_str());
}

#[tokio::test]
async fn an_alias_is_given_once() {
    let alice = server().register("alice").await;
    let (room, elsewhere) = (alice.public_room().await, alice.public_room().await);
    let alias = alias_of(&alice, "once");
    alice
        .put(path(&alias), json!({ "room_id": room }))
        .await
        .ok();
    let answer = alice
        .put(path(&alias), json!({ "room_id": elsewhere }))
        .await;
    answer.refused(409, "M_UNKNOWN");
    assert_eq!(alice.get(path(&alias)).await.ok()["room_id"], room.as_str());
}

#[tokio::test]
async fn an_alias_needs_a_form_a_server_and_a_room() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    for broken in [
        "nonsense",
        "#no-server",
        "!room:localhost",
        "#a\u{0}b:localhost",
    ] {
        alice
            .get(path(broken))
            .await
            .refused(400, "M_INVALID_PARAM");
        let answer = alice.put(path(broken), json!({ "room_id": room })).await;
        answer.refused(400, "M_INVALID_PARAM");
    }
    let foreign = alice
        .put(path("#a:elsewhere.example"), json!({ "room_id": room }))
        .await;
    assert!(
        foreign.status == 400 || foreign.status == 403,
        "{foreign:?}"
    );
    let alias = alias_of(&alice, "nowhere");
    let answer = alice
        .put(path(&alias), json!({ "room_id": "nonsense" }))
        .await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = alice.put(path(&alias), json!({})).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = alice
        .put(path(&alias), json!({ "room_id": "!nothing:localhost" }))
        .await;
    assert!((400..=404).contains(&answer.status), "{answer:?}");
    let long = format!("#{}:localhost", "a".repeat(300));
    let answer = alice.put(path(&long), json!({ "room_id": room })).await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[tokio::test]
async fn an_outsider_makes_and_deletes_no_alias() {
    let api = server();
    let (alice, mallory) = (api.register("alice").await, api.register("mallory").await);
    let room = alice.public_room().await;
    let answer = mallory
        .put(path(&alias_of(&mallory, "x")), json!({ "room_id": room }))
        .await;
    answer.refused(403, "M_FORBIDDEN");
    let alias = alias_of(&alice, "mine");
    alice
        .put(path(&alias), json!({ "room_id": room }))
        .await
        .ok();
    mallory
        .delete(path(&alias), Value::Null)
        .await
        .refused(403, "M_FORBIDDEN");
    api.get(path(&alias)).await.ok();
    mallory
        .get(format!("v3/rooms/{room}/aliases"))
        .await
        .refused(403, "M_FORBIDDEN");
    mallory.join(&room).await;
    mallory
        .delete(path(&alias), Value::Null)
        .await
        .refused(403, "M_FORBIDDEN");
    mallory
        .put(path(&alias_of(&mallory, "own")), json!({ "room_id": room }))
        .await
        .ok();
    mallory
        .delete(path(&alias_of(&mallory, "own")), Value::Null)
        .await
        .ok();
}

#[tokio::test]
async fn a_deleted_canonical_alias_leaves_the_state_too() {
    let alice = server().register("alice").await;
    let name = format!("{}-canonical", alice.localpart());
    let room = alice.create_room(json!({ "room_alias_name": name })).await;
    let alias = format!("#{name}:localhost");
    alice.delete(path(&alias), Value::Null).await.ok();
    let answer = alice.state(&room, "m.room.canonical_alias", "").await;
    assert_ne!(answer.body["alias"], alias.as_str(), "{answer:?}");
}

#[tokio::test]
async fn a_room_is_put_into_the_directory_by_its_people() {
    let api = server();
    let (alice, mallory) = (api.register("alice").await, api.register("mallory").await);
    let room = alice.public_room().await;
    let path = format!("v3/directory/list/room/{room}");
    assert_eq!(alice.get(&path).await.ok()["visibility"], "private");
    let public = json!({ "visibility": "public" });
    mallory
        .put(&path, public.clone())
        .await
        .refused(403, "M_FORBIDDEN");
    alice.put(&path, public).await.ok();
    assert_eq!(api.get(&path).await.ok()["visibility"], "public");
    alice
        .get("v3/directory/list/room/!nothing:localhost")
        .await
        .refused(404, "M_NOT_FOUND");
}
