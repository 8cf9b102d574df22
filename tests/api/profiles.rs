//! Profiles: display name, avatar, custom fields.

use serde_json::{Value, json};

use crate::server;

fn field(user: &harness::User, name: &str) -> String {
    format!("v3/profile/{}/{name}", user.user_id)
}

#[tokio::test]
async fn a_profile_is_set_and_read() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let avatar = "mxc://localhost/abcdef";
    alice
        .put(
            field(&alice, "displayname"),
            json!({ "displayname": "Alice" }),
        )
        .await
        .ok();
    alice
        .put(field(&alice, "avatar_url"), json!({ "avatar_url": avatar }))
        .await
        .ok();
    alice
        .put(
            field(&alice, "org.example.desk"),
            json!({ "org.example.desk": [3, "b"] }),
        )
        .await
        .ok();
    let profile = bob.get(format!("v3/profile/{}", alice.user_id)).await.ok();
    let expected =
        json!({ "displayname": "Alice", "avatar_url": avatar, "org.example.desk": [3, "b"] });
    assert_eq!(profile, expected);
    let name = bob.get(field(&alice, "displayname")).await.ok();
    assert_eq!(name, json!({ "displayname": "Alice" }));
    let desk = bob.get(field(&alice, "org.example.desk")).await.ok();
    assert_eq!(desk, json!({ "org.example.desk": [3, "b"] }));
}

#[tokio::test]
async fn a_field_can_be_taken_away() {
    let alice = server().register("alice").await;
    alice
        .put(
            field(&alice, "displayname"),
            json!({ "displayname": "Alice" }),
        )
        .await
        .ok();
    alice
        .delete(field(&alice, "displayname"), Value::Null)
        .await
        .ok();
    alice
        .get(field(&alice, "displayname"))
        .await
        .refused(404, "M_NOT_FOUND");
    alice
        .delete(field(&alice, "displayname"), Value::Null)
        .await
        .ok();
}

#[tokio::test]
async fn nobody_writes_anothers_profile() {
    let api = server();
    let (alice, mallory) = (api.register("alice").await, api.register("mallory").await);
    let body = json!({ "displayname": "a fool" });
    mallory
        .put(field(&alice, "displayname"), body)
        .await
        .refused(403, "M_FORBIDDEN");
    mallory
        .delete(field(&alice, "displayname"), Value::Null)
        .await
        .refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn an_unknown_user_has_no_profile() {
    let alice = server().register("alice").await;
    alice
        .get("v3/profile/@nobody-at-all:localhost")
        .await
        .refused(404, "M_NOT_FOUND");
    let path = "v3/profile/@nobody-at-all:localhost/displayname";
    alice.get(path).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_field_that_is_not_what_it_must_be_is_refused() {
    let alice = server().register("alice").await;
    let missing = alice.put(field(&alice, "displayname"), json!({})).await;
    assert_eq!(missing.status, 400, "{missing:?}");
    let wrong = alice
        .put(field(&alice, "displayname"), json!({ "displayname": 5 }))
        .await;
    assert_eq!(wrong.status, 400, "{wrong:?}");
    let other = alice
        .put(
            field(&alice, "displayname"),
            json!({ "avatar_url": "mxc://a/b" }),
        )
        .await;
    assert_eq!(other.status, 400, "{other:?}");
}

#[tokio::test]
async fn a_profile_does_not_grow_without_end() {
    let alice = server().register("alice").await;
    let name = "k".repeat(256);
    let answer = alice
        .put(field(&alice, &name), json!({ name.clone(): 1 }))
        .await;
    answer.refused(400, "M_KEY_TOO_LARGE");
    let large = "x".repeat(70_000);
    let answer = alice
        .put(
            field(&alice, "org.example.large"),
            json!({ "org.example.large": large }),
        )
        .await;
    answer.refused(400, "M_PROFILE_TOO_LARGE");
    let part = "x".repeat(40_000);
    alice
        .put(
            field(&alice, "org.example.a"),
            json!({ "org.example.a": part }),
        )
        .await
        .ok();
    let answer = alice
        .put(
            field(&alice, "org.example.b"),
            json!({ "org.example.b": part }),
        )
        .await;
    answer.refused(400, "M_PROFILE_TOO_LARGE");
}

#[tokio::test]
async fn a_new_name_reaches_the_rooms() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let before = bob.sync().await;
    alice
        .put(
            field(&alice, "displayname"),
            json!({ "displayname": "Alice" }),
        )
        .await
        .ok();
    let (event, _) = bob
        .sync_until(&before, "the new name", |synced| {
            synced
                .timeline(&room)
                .iter()
                .find(|event| event["type"] == "m.room.member")
                .cloned()
        })
        .await;
    assert_eq!(event["state_key"], alice.user_id.as_str());
    assert_eq!(event["content"]["displayname"], "Alice");
    assert_eq!(event["content"]["membership"], "join");
    let members = bob
        .get(format!("v3/rooms/{room}/joined_members"))
        .await
        .ok();
    assert_eq!(members["joined"][&alice.user_id]["display_name"], "Alice");
}

#[tokio::test]
async fn who_joins_brings_the_profile_along() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    bob.put(field(&bob, "displayname"), json!({ "displayname": "Bob" }))
        .await
        .ok();
    let room = alice.room_with(&[&bob]).await;
    let member = alice.state(&room, "m.room.member", &bob.user_id).await.ok();
    assert_eq!(member["displayname"], "Bob");
}
