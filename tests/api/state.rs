//! State events: setting and reading.

use serde_json::json;

use crate::server;

#[tokio::test]
async fn state_is_set_replaced_and_read() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let first = alice
        .set_state(&room, "org.example.desk", "3", json!({ "floor": 1 }))
        .await;
    let second = alice
        .set_state(&room, "org.example.desk", "3", json!({ "floor": 2 }))
        .await;
    assert_eq!(
        bob.state(&room, "org.example.desk", "3").await.ok(),
        json!({ "floor": 2 })
    );
    bob.state(&room, "org.example.desk", "")
        .await
        .refused(404, "M_NOT_FOUND");
    let event = bob.event(&room, &second).await.ok();
    assert_eq!(event["state_key"], "3");
    assert_eq!(event["unsigned"]["replaces_state"], first.as_str());
    assert_eq!(event["unsigned"]["prev_content"], json!({ "floor": 1 }));
}

#[tokio::test]
async fn an_empty_state_key_may_be_left_out() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    for path in [
        format!("v3/rooms/{room}/state/org.example.a"),
        format!("v3/rooms/{room}/state/org.example.b/"),
    ] {
        alice.put(&path, json!({ "set": true })).await.ok();
        assert_eq!(alice.get(&path).await.ok(), json!({ "set": true }));
    }
    assert_eq!(
        alice.state(&room, "org.example.a", "").await.ok(),
        json!({ "set": true })
    );
}

#[tokio::test]
async fn the_whole_event_can_be_asked_for() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let id = alice
        .set_state(&room, "m.room.name", "", json!({ "name": "n" }))
        .await;
    let event = alice
        .get(format!("v3/rooms/{room}/state/m.room.name/?format=event"))
        .await
        .ok();
    assert_eq!(event["event_id"], id.as_str());
    assert_eq!(event["content"]["name"], "n");
    assert_eq!(event["sender"], alice.user_id.as_str());
    let path = format!("v3/rooms/{room}/state/m.room.name/?format=content");
    assert_eq!(alice.get(path).await.ok(), json!({ "name": "n" }));
}

#[tokio::test]
async fn the_whole_state_is_listed() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let events = bob.get(format!("v3/rooms/{room}/state")).await.ok();
    let events = events.as_array().unwrap();
    let mut kinds: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    kinds.retain(|kind| *kind != "m.room.guest_access");
    kinds.sort_unstable();
    let expected = [
        "m.room.create",
        "m.room.history_visibility",
        "m.room.join_rules",
        "m.room.member",
        "m.room.member",
        "m.room.power_levels",
    ];
    assert_eq!(kinds, expected);
    assert!(events.iter().all(|event| event["room_id"] == room.as_str()));
    assert!(events.iter().all(|event| event["event_id"].is_string()));
}

#[tokio::test]
async fn a_state_key_is_any_text() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    for key in ["a/b", "ümlaut \u{1F600}", "%2F", "?x=1#y", "."] {
        alice
            .set_state(&room, "org.example.key", key, json!({ "key": key }))
            .await;
        assert_eq!(
            alice.state(&room, "org.example.key", key).await.ok()["key"],
            key
        );
    }
}

#[tokio::test]
async fn a_state_key_of_another_user_is_protected() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let options = json!({
        "preset": "public_chat", "power_level_content_override": { "state_default": 0 },
    });
    let room = alice.create_room(options).await;
    bob.join(&room).await;
    bob.set_state(&room, "org.example.own", &bob.user_id, json!({}))
        .await;
    let answer = bob
        .try_set_state(&room, "org.example.own", &alice.user_id, json!({}))
        .await;
    answer.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn setting_the_same_state_again_may_give_the_same_event() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    alice
        .set_state(&room, "m.room.name", "", json!({ "name": "n" }))
        .await;
    alice
        .set_state(&room, "m.room.name", "", json!({ "name": "n" }))
        .await;
    assert_eq!(
        alice.state(&room, "m.room.name", "").await.ok(),
        json!({ "name": "n" })
    );
}

#[tokio::test]
async fn broken_state_is_refused() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let wrong = alice
        .try_set_state(&room, "m.room.power_levels", "", json!({ "ban": [] }))
        .await;
    assert!(wrong.status == 400 || wrong.status == 403, "{wrong:?}");
    let answer = alice
        .try_set_state(&room, "m.room.name", "", json!([]))
        .await;
    answer.refused(400, "M_BAD_JSON");
    alice
        .state(&room, "m.room.name", "")
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn an_outsider_sees_no_state() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.public_room().await;
    bob.state(&room, "m.room.join_rules", "")
        .await
        .refused(403, "M_FORBIDDEN");
    bob.get(format!("v3/rooms/{room}/state"))
        .await
        .refused(403, "M_FORBIDDEN");
    bob.get(format!("v3/rooms/{room}/members"))
        .await
        .refused(403, "M_FORBIDDEN");
    bob.get(format!("v3/rooms/{room}/joined_members"))
        .await
        .refused(403, "M_FORBIDDEN");
    let answer = bob
        .try_set_state(&room, "m.room.name", "", json!({ "name": "x" }))
        .await;
    answer.refused(403, "M_FORBIDDEN");
    for path in [
        "v3/rooms/!nothing:localhost/state",
        "v3/rooms/!nothing:localhost/members",
    ] {
        let answer = bob.get(path).await;
        assert!(answer.status == 403 || answer.status == 404, "{answer:?}");
    }
}

#[tokio::test]
async fn who_left_sees_the_state_of_that_moment() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    alice
        .set_state(&room, "m.room.name", "", json!({ "name": "before" }))
        .await;
    bob.leave(&room).await;
    alice
        .set_state(&room, "m.room.name", "", json!({ "name": "after" }))
        .await;
    assert_eq!(
        bob.state(&room, "m.room.name", "").await.ok()["name"],
        "before"
    );
    let events = bob.get(format!("v3/rooms/{room}/state")).await.ok();
    let name = harness::find_event(events.as_array().unwrap(), "m.room.name").unwrap();
    assert_eq!(name["content"]["name"], "before");
    let members = bob.get(format!("v3/rooms/{room}/joined_members")).await;
    members.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_canonical_alias_must_point_here() {
    let alice = server().register("alice").await;
    let (room, elsewhere) = (alice.public_room().await, alice.public_room().await);
    let alias = format!("#{}-canonical:localhost", alice.localpart());
    let content = json!({ "alias": alias });
    let answer = alice
        .try_set_state(&room, "m.room.canonical_alias", "", content.clone())
        .await;
    answer.refused(400, "M_BAD_ALIAS");
    let path = format!("v3/directory/room/{}", harness::escape(&alias));
    alice.put(&path, json!({ "room_id": elsewhere })).await.ok();
    let answer = alice
        .try_set_state(&room, "m.room.canonical_alias", "", content.clone())
        .await;
    answer.refused(400, "M_BAD_ALIAS");
    alice
        .set_state(&elsewhere, "m.room.canonical_alias", "", content)
        .await;
    let broken = json!({ "alias": "nonsense" });
    let answer = alice
        .try_set_state(&elsewhere, "m.room.canonical_alias", "", broken)
        .await;
    assert_eq!(answer.status, 400, "{answer:?}");
}
