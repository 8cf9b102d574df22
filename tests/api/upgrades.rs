//! Rooms that replace others.

use harness::{Answer, User, escape, find_event};
use serde_json::{Value, json};

use crate::server;

async fn try_upgrade(user: &User, room: &str, body: Value) -> Answer {
    user.post(format!("v3/rooms/{room}/upgrade"), body).await
}

async fn upgrade(user: &User, room: &str, version: &str) -> String {
    let answer = try_upgrade(user, room, json!({ "new_version": version })).await;
    answer.ok()["replacement_room"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_room_is_replaced_with_all_that_belongs_to_it() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let name = alice.localpart();
    let options = json!({
        "preset": "public_chat", "room_version": "10", "visibility": "public",
        "name": "Council", "topic": "Roads", "room_alias_name": name,
    });
    let old = alice.create_room(options).await;
    bob.join(&old).await;
    let before = bob.sync().await;
    let new = upgrade(&alice, &old, "12").await;
    let synced = bob.sync_since(&before).await;
    let tombstone = find_event(synced.timeline(&old), "m.room.tombstone").unwrap();
    assert_eq!(tombstone["content"]["replacement_room"], new.as_str());
    let content = async |event_type: &str| alice.state(&new, event_type, "").await.ok();
    let create = content("m.room.create").await;
    assert_eq!(create["predecessor"]["room_id"], old.as_str());
    assert_eq!(create["room_version"], "12");
    assert_eq!(content("m.room.name").await["name"], "Council");
    assert_eq!(content("m.room.topic").await["topic"], "Roads");
    assert_eq!(content("m.room.join_rules").await["join_rule"], "public");
    let alias = format!("#{name}:localhost");
    assert_eq!(content("m.room.canonical_alias").await["alias"], alias);
    let found = bob
        .get(format!("v3/directory/room/{}", escape(&alias)))
        .await
        .ok();
    assert_eq!(found["room_id"], new.as_str());
    for (room, visibility) in [(&old, "private"), (&new, "public")] {
        let path = format!("v3/directory/list/room/{room}");
        assert_eq!(bob.get(path).await.ok()["visibility"], visibility);
    }
    bob.try_send_event(
        &old,
        "m.room.message",
        json!({ "msgtype": "m.text", "body": "x" }),
    )
    .await
    .refused(403, "M_FORBIDDEN");
    alice.say(&old, "this way please").await;
    bob.join(&new).await;
    bob.say(&new, "on we go").await;
}

#[tokio::test]
async fn creators_can_be_added() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let old = alice.room_with(&[&bob]).await;
    let body = json!({ "new_version": "12", "additional_creators": [bob.user_id] });
    let answer = try_upgrade(&alice, &old, body).await.ok();
    let new = answer["replacement_room"].as_str().unwrap();
    bob.join(new).await;
    let create = bob.state(new, "m.room.create", "").await.ok();
    assert_eq!(create["additional_creators"], json!([bob.user_id]));
    bob.set_state(new, "m.room.name", "", json!({ "name": "Bob's too" }))
        .await;
    let body = json!({ "new_version": "12", "additional_creators": ["nobody"] });
    let answer = try_upgrade(&alice, &old, body).await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[tokio::test]
async fn each_way_of_being_refused_has_its_code() {
    let api = server();
    let (alice, bob, stranger) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("stranger").await,
    );
    let room = alice.room_with(&[&bob]).await;
    let body = json!({ "new_version": "12" });
    for user in [&bob, &stranger] {
        try_upgrade(user, &room, body.clone())
            .await
            .refused(403, "M_FORBIDDEN");
    }
    try_upgrade(&alice, "!nothing:localhost", body)
        .await
        .refused(403, "M_FORBIDDEN");
    for version in ["0", "99", "nonsense"] {
        try_upgrade(&alice, &room, json!({ "new_version": version }))
            .await
            .refused(400, "M_UNSUPPORTED_ROOM_VERSION");
    }
    try_upgrade(&alice, &room, json!({}))
        .await
        .refused(400, "M_BAD_JSON");
    let path = format!("v3/rooms/{room}/upgrade");
    alice
        .raw(reqwest::Method::POST, &path, "{")
        .await
        .refused(400, "M_NOT_JSON");
    let anonymous = alice.anonymous().post(&path, json!({})).await;
    anonymous.refused(401, "M_MISSING_TOKEN");
    alice
        .state(&room, "m.room.tombstone", "")
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn what_each_has_set_for_the_room_comes_along() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let old = alice.room_with(&[&bob]).await;
    for user in [&alice, &bob] {
        let id = &user.user_id;
        let tag = format!("v3/user/{id}/rooms/{old}/tags/m.favourite");
        user.put(tag, json!({ "order": 0.25 })).await.ok();
        let direct = json!({ &alice.user_id: [old, "!other:localhost"] });
        user.put(format!("v3/user/{id}/account_data/m.direct"), direct)
            .await
            .ok();
        let quiet = json!({ "actions": [] });
        user.put(format!("v3/pushrules/global/room/{}", escape(&old)), quiet)
            .await
            .ok();
        let condition = json!({ "kind": "event_match", "key": "room_id", "pattern": old });
        let mute = json!({ "actions": [], "conditions": [condition] });
        user.put(
            format!("v3/pushrules/global/override/{}", escape(&old)),
            mute,
        )
        .await
        .ok();
    }
    let new = upgrade(&alice, &old, "12").await;
    bob.join(&new).await;
    for user in [&alice, &bob] {
        let id = &user.user_id;
        let tags = user
            .get(format!("v3/user/{id}/rooms/{new}/tags"))
            .await
            .ok();
        assert_eq!(tags["tags"]["m.favourite"]["order"], 0.25, "{id}");
        let path = format!("v3/user/{id}/account_data/m.direct");
        let direct = user.get(path).await.ok();
        let expected = json!([old, "!other:localhost", new]);
        assert_eq!(direct[&alice.user_id], expected, "{id}");
        let rule = format!("v3/pushrules/global/room/{}", escape(&new));
        assert_eq!(user.get(rule).await.ok()["actions"], json!([]));
        let rule = format!("v3/pushrules/global/override/{}", escape(&new));
        let rule = user.get(rule).await.ok();
        assert_eq!(rule["conditions"][0]["pattern"], new.as_str(), "{id}");
    }
    // What is changed after that stays changed.
    let rule = format!("v3/pushrules/global/room/{}", escape(&new));
    bob.delete(&rule, Value::Null).await.ok();
    bob.leave(&new).await;
    bob.join(&new).await;
    bob.get(&rule).await.refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_room_that_only_claims_to_replace_another_gets_nothing() {
    let api = server();
    let (alice, mallory) = (api.register("alice").await, api.register("mallory").await);
    let old = alice.public_room().await;
    let tag = format!("v3/user/{}/rooms/{old}/tags/m.favourite", alice.user_id);
    alice.put(tag, json!({})).await.ok();
    let creation = json!({ "predecessor": { "room_id": old } });
    let options = json!({ "preset": "public_chat", "creation_content": creation });
    let false_one = mallory.create_room(options).await;
    alice.join(&false_one).await;
    let path = format!("v3/user/{}/rooms/{false_one}/tags", alice.user_id);
    assert_eq!(alice.get(path).await.ok()["tags"], json!({}));
}

#[tokio::test]
async fn settings_go_along_where_a_client_upgrades_by_itself() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let old = alice.public_room().await;
    bob.join(&old).await;
    for person in [&alice, &bob] {
        person
            .put(
                format!("v3/pushrules/global/room/{old}"),
                json!({ "actions": [] }),
            )
            .await
            .ok();
    }
    let new = alice
        .create_room(json!({
            "preset": "public_chat", "creation_content": { "predecessor": { "room_id": old } },
        }))
        .await;
    let rule = format!("v3/pushrules/global/room/{new}");
    alice.get(&rule).await.refused(404, "M_NOT_FOUND");
    // Others' word alone makes nothing a successor.
    bob.try_set_state(
        &old,
        "m.room.tombstone",
        "",
        json!({ "replacement_room": new }),
    )
    .await
    .refused(403, "M_FORBIDDEN");
    alice.get(&rule).await.refused(404, "M_NOT_FOUND");
    alice
        .set_state(
            &old,
            "m.room.tombstone",
            "",
            json!({ "body": "moved", "replacement_room": new }),
        )
        .await;
    alice.get(&rule).await.ok();
    bob.get(&rule).await.refused(404, "M_NOT_FOUND");
    bob.join(&new).await;
    bob.get(&rule).await.ok();
}
