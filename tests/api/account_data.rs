//! Account data and tags: global and per room.

use serde_json::{Value, json};

use crate::server;

#[tokio::test]
async fn account_data_is_stored_and_read() {
    let alice = server().register("alice").await;
    let path = format!("v3/user/{}/account_data/org.example.test", alice.user_id);
    alice.get(&path).await.refused(404, "M_NOT_FOUND");
    alice
        .put(&path, json!({ "a": [1, { "b": null }] }))
        .await
        .ok();
    assert_eq!(
        alice.get(&path).await.ok(),
        json!({ "a": [1, { "b": null }] })
    );
    alice.put(&path, json!({ "a": 2 })).await.ok();
    assert_eq!(alice.get(&path).await.ok(), json!({ "a": 2 }));
    let other = alice.another_device().await;
    assert_eq!(other.get(&path).await.ok(), json!({ "a": 2 }));
}

#[tokio::test]
async fn account_data_of_a_room_is_apart() {
    let alice = server().register("alice").await;
    let (room, elsewhere) = (alice.public_room().await, alice.public_room().await);
    let path = |room: &str| {
        format!(
            "v3/user/{}/rooms/{room}/account_data/org.example.test",
            alice.user_id
        )
    };
    alice.put(path(&room), json!({ "here": true })).await.ok();
    assert_eq!(alice.get(path(&room)).await.ok(), json!({ "here": true }));
    alice
        .get(path(&elsewhere))
        .await
        .refused(404, "M_NOT_FOUND");
    let global = format!("v3/user/{}/account_data/org.example.test", alice.user_id);
    alice.get(global).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn account_data_comes_with_the_sync() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let before = alice.sync().await;
    let global = format!("v3/user/{}/account_data/org.example.test", alice.user_id);
    alice.put(&global, json!({ "n": 1 })).await.ok();
    let local = format!(
        "v3/user/{}/rooms/{room}/account_data/org.example.test",
        alice.user_id
    );
    alice.put(&local, json!({ "n": 2 })).await.ok();
    for synced in [alice.sync_since(&before).await, alice.sync().await] {
        assert_eq!(
            synced.account_data("org.example.test").unwrap()["content"],
            json!({ "n": 1 })
        );
        let events = synced.joined(&room)["account_data"]["events"]
            .as_array()
            .unwrap();
        let event = harness::find_event(events, "org.example.test").unwrap();
        assert_eq!(event["content"], json!({ "n": 2 }));
    }
    let after = alice.sync().await;
    let quiet = alice.sync_since(&after).await;
    assert!(quiet.account_data("org.example.test").is_none());
}

#[tokio::test]
async fn nobody_reads_or_writes_anothers_account_data() {
    let api = server();
    let (alice, mallory) = (api.register("alice").await, api.register("mallory").await);
    let room = alice.room_with(&[&mallory]).await;
    for path in [
        format!("v3/user/{}/account_data/m.test", alice.user_id),
        format!("v3/user/{}/rooms/{room}/account_data/m.test", alice.user_id),
    ] {
        alice.put(&path, json!({ "secret": 1 })).await.ok();
        mallory.get(&path).await.refused(403, "M_FORBIDDEN");
        mallory
            .put(&path, json!({}))
            .await
            .refused(403, "M_FORBIDDEN");
        assert_eq!(alice.get(&path).await.ok(), json!({ "secret": 1 }));
    }
}

#[tokio::test]
async fn what_the_server_keeps_itself_cannot_be_set() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    for path in [
        format!("v3/user/{}/account_data/m.push_rules", alice.user_id),
        format!("v3/user/{}/account_data/m.fully_read", alice.user_id),
        format!(
            "v3/user/{}/rooms/{room}/account_data/m.fully_read",
            alice.user_id
        ),
    ] {
        alice.put(path, json!({})).await.refused(405, "M_BAD_JSON");
    }
}

#[tokio::test]
async fn account_data_is_an_object_of_a_known_room() {
    let alice = server().register("alice").await;
    let path = format!("v3/user/{}/account_data/m.test", alice.user_id);
    alice
        .put(&path, json!([1]))
        .await
        .refused(400, "M_BAD_JSON");
    alice
        .raw(reqwest::Method::PUT, &path, "{")
        .await
        .refused(400, "M_NOT_JSON");
    let path = format!(
        "v3/user/{}/rooms/nonsense/account_data/m.test",
        alice.user_id
    );
    alice
        .put(path, json!({}))
        .await
        .refused(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn tags_are_put_listed_and_taken_away() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let tags = format!("v3/user/{}/rooms/{room}/tags", alice.user_id);
    assert_eq!(alice.get(&tags).await.ok()["tags"], json!({}));
    alice
        .put(format!("{tags}/m.favourite"), json!({ "order": 0.5 }))
        .await
        .ok();
    alice.put(format!("{tags}/u.work"), json!({})).await.ok();
    let listed = alice.get(&tags).await.ok();
    assert_eq!(
        listed["tags"],
        json!({ "m.favourite": { "order": 0.5 }, "u.work": {} })
    );
    let synced = alice.sync().await;
    let events = synced.joined(&room)["account_data"]["events"]
        .as_array()
        .unwrap();
    let event = harness::find_event(events, "m.tag").unwrap();
    assert_eq!(event["content"], listed);
    alice
        .delete(format!("{tags}/u.work"), Value::Null)
        .await
        .ok();
    assert!(alice.get(&tags).await.ok()["tags"]["u.work"].is_null());
}

#[tokio::test]
async fn tags_are_ones_own() {
    let api = server();
    let (alice, mallory) = (api.register("alice").await, api.register("mallory").await);
    let room = alice.room_with(&[&mallory]).await;
    let tags = format!("v3/user/{}/rooms/{room}/tags", alice.user_id);
    mallory.get(&tags).await.refused(403, "M_FORBIDDEN");
    mallory
        .put(format!("{tags}/u.x"), json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    mallory
        .delete(format!("{tags}/u.x"), Value::Null)
        .await
        .refused(403, "M_FORBIDDEN");
}
