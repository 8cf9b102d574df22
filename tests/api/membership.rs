//! Joining, inviting, knocking, leaving, forgetting.

use harness::escape;
use serde_json::{Value, json};

use crate::server;

#[tokio::test]
async fn a_public_room_is_open_by_id_and_by_alias() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let name = alice.localpart();
    let options = json!({ "preset": "public_chat", "room_alias_name": name });
    let room = alice.create_room(options).await;
    let joined = bob
        .post(format!("v3/rooms/{room}/join"), json!({}))
        .await
        .ok();
    assert_eq!(joined["room_id"], room.as_str());
    let alias = escape(&format!("#{name}:localhost"));
    let joined = carol
        .post(
            format!("v3/join/{alias}"),
            json!({
                "reason": "curious", "org.council.floor": 3, "membership": "ban",
                "join_authorised_via_users_server": "@nobody:localhost",
            }),
        )
        .await
        .ok();
    assert_eq!(joined["room_id"], room.as_str());
    let member = alice
        .state(&room, "m.room.member", &carol.user_id)
        .await
        .ok();
    assert_eq!(member["reason"], "curious");
    // What a client says besides is kept, but for what is not its to say.
    assert_eq!(member["org.council.floor"], 3);
    assert_eq!(member["membership"], "join");
    assert!(member["join_authorised_via_users_server"].is_null());
    let members = carol
        .get(format!("v3/rooms/{room}/joined_members"))
        .await
        .ok();
    assert_eq!(members["joined"].as_object().unwrap().len(), 3);
    // Joining again changes nothing.
    bob.join(&room).await;
}

#[tokio::test]
async fn a_private_room_is_open_to_the_invited_only() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice.create_room(json!({})).await;
    let path = format!("v3/rooms/{room}/join");
    bob.post(&path, json!({})).await.refused(403, "M_FORBIDDEN");
    alice.invite(&room, &bob).await;
    bob.join(&room).await;
    carol
        .post(&path, json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    carol
        .act_on("invite", &room, &carol)
        .await
        .refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn an_unknown_room_or_alias_cannot_be_joined() {
    let alice = server().register("alice").await;
    let answer = alice
        .post("v3/rooms/!nothing:localhost/join", json!({}))
        .await;
    assert!(answer.status == 403 || answer.status == 404, "{answer:?}");
    let alias = escape("#nothing-at-all:localhost");
    alice
        .post(format!("v3/join/{alias}"), json!({}))
        .await
        .refused(404, "M_NOT_FOUND");
    let answer = alice.post("v3/join/nonsense", json!({})).await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[tokio::test]
async fn inviting_follows_the_rules() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let options = json!({ "power_level_content_override": { "invite": 50 } });
    let room = alice.create_room(options).await;
    alice.invite(&room, &bob).await;
    bob.join(&room).await;
    bob.act_on("invite", &room, &carol)
        .await
        .refused(403, "M_FORBIDDEN");
    alice
        .act_on("invite", &room, &bob)
        .await
        .refused(403, "M_FORBIDDEN");
    alice.act_on("ban", &room, &carol).await.ok();
    alice
        .act_on("invite", &room, &carol)
        .await
        .refused(403, "M_FORBIDDEN");
    let path = format!("v3/rooms/{room}/invite");
    let answer = alice.post(&path, json!({ "user_id": "nobody" })).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = alice.post(&path, json!({})).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    alice
        .raw(reqwest::Method::POST, &path, "{")
        .await
        .refused(400, "M_NOT_JSON");
}

#[tokio::test]
async fn the_invited_see_enough_to_decide() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice
        .create_room(json!({ "name": "The council", "topic": "Roads" }))
        .await;
    let body = json!({ "user_id": bob.user_id, "reason": "you know roads" });
    alice
        .post(format!("v3/rooms/{room}/invite"), body)
        .await
        .ok();
    let synced = bob.sync().await;
    let events = synced.invited(&room)["invite_state"]["events"]
        .as_array()
        .unwrap();
    let find = |kind: &str| harness::find_event(events, kind).unwrap_or(&Value::Null);
    assert_eq!(find("m.room.create")["content"]["room_version"], "12");
    assert_eq!(find("m.room.create")["sender"], alice.user_id.as_str());
    assert_eq!(find("m.room.name")["content"]["name"], "The council");
    assert_eq!(find("m.room.join_rules")["content"]["join_rule"], "invite");
    let member = find("m.room.member");
    let own = events
        .iter()
        .find(|event| event["state_key"] == bob.user_id.as_str())
        .unwrap();
    assert_eq!(own["content"]["membership"], "invite");
    assert_eq!(own["content"]["reason"], "you know roads");
    assert_eq!(own["sender"], alice.user_id.as_str());
    assert!(!member.is_null());
}

#[tokio::test]
async fn an_invitation_can_be_turned_down() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.create_room(json!({ "invite": [bob.user_id] })).await;
    let invited = bob.sync().await;
    bob.leave(&room).await;
    let member = alice.state(&room, "m.room.member", &bob.user_id).await.ok();
    assert_eq!(member["membership"], "leave");
    bob.post(format!("v3/rooms/{room}/join"), json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    let synced = bob.sync_since(&invited).await;
    assert!(synced.invited(&room).is_null());
    assert!(!synced.left(&room).is_null(), "{:?}", synced.0);
}

#[tokio::test]
async fn who_left_is_out_and_may_come_back() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let body = json!({ "reason": "no time" });
    bob.post(format!("v3/rooms/{room}/leave"), body).await.ok();
    let member = alice.state(&room, "m.room.member", &bob.user_id).await.ok();
    assert_eq!(
        (&member["membership"], &member["reason"]),
        (&json!("leave"), &json!("no time"))
    );
    bob.try_send_event(&room, "m.test", json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    assert_eq!(
        bob.get("v3/joined_rooms").await.ok()["joined_rooms"],
        json!([])
    );
    bob.join(&room).await;
    bob.say(&room, "back").await;
}

#[tokio::test]
async fn who_was_never_there_cannot_leave() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.public_room().await;
    let answer = bob.post(format!("v3/rooms/{room}/leave"), json!({})).await;
    assert!(answer.status == 403 || answer.status == 404, "{answer:?}");
    let answer = bob
        .post("v3/rooms/!nothing:localhost/leave", json!({}))
        .await;
    assert!(answer.status == 403 || answer.status == 404, "{answer:?}");
}

#[tokio::test]
async fn a_room_is_forgotten_only_after_leaving() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let said = bob.say(&room, "hello").await;
    let path = format!("v3/rooms/{room}/forget");
    bob.post(&path, json!({})).await.refused(400, "M_UNKNOWN");
    bob.leave(&room).await;
    bob.event(&room, &said).await.ok();
    bob.post(&path, json!({})).await.ok();
    let event = bob.event(&room, &said).await;
    assert!(event.status == 403 || event.status == 404, "{event:?}");
    let messages = bob.get(format!("v3/rooms/{room}/messages?dir=b")).await;
    messages.refused(403, "M_FORBIDDEN");
    let filter = json!({ "room": { "include_leave": true } });
    assert!(bob.sync_filtered(&filter, "").await.left(&room).is_null());
    bob.join(&room).await;
    bob.event(&room, &said).await.ok();
}

#[tokio::test]
async fn a_knock_is_answered_with_an_invitation() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let rule = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let room = alice
        .create_room(json!({ "initial_state": rule, "name": "Behind the door" }))
        .await;
    let body = json!({ "reason": "please" });
    let knock = bob.post(format!("v3/knock/{room}"), body).await.ok();
    assert_eq!(knock["room_id"], room.as_str());
    let member = alice.state(&room, "m.room.member", &bob.user_id).await.ok();
    assert_eq!(
        (&member["membership"], &member["reason"]),
        (&json!("knock"), &json!("please"))
    );
    let synced = bob.sync().await;
    let knocked = &synced.0["rooms"]["knock"][&room]["knock_state"]["events"];
    let events = knocked
        .as_array()
        .unwrap_or_else(|| panic!("{:?}", synced.0));
    assert!(harness::find_event(events, "m.room.create").is_some());
    let name = harness::find_event(events, "m.room.name").unwrap();
    assert_eq!(name["content"]["name"], "Behind the door");
    bob.post(format!("v3/rooms/{room}/join"), json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    alice.invite(&room, &bob).await;
    bob.join(&room).await;
}

#[tokio::test]
async fn a_knock_where_nobody_opens_is_refused() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.create_room(json!({})).await;
    bob.post(format!("v3/knock/{room}"), json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    let alias = escape("#nothing-at-all:localhost");
    bob.post(format!("v3/knock/{alias}"), json!({}))
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn joined_rooms_are_those_joined_now() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let (first, second) = (
        alice.room_with(&[&bob]).await,
        alice.room_with(&[&bob]).await,
    );
    alice.create_room(json!({ "invite": [bob.user_id] })).await;
    let rooms = async || {
        let answer = bob.get("v3/joined_rooms").await.ok();
        let mut rooms: Vec<String> =
            serde_json::from_value(answer["joined_rooms"].clone()).unwrap();
        rooms.sort();
        rooms
    };
    let mut both = vec![first.clone(), second.clone()];
    both.sort();
    assert_eq!(rooms().await, both);
    bob.leave(&first).await;
    assert_eq!(rooms().await, vec![second]);
}

#[tokio::test]
async fn the_last_one_who_leaves_ends_a_private_room_quietly() {
    let alice = server().register("alice").await;
    let room = alice.create_room(json!({})).await;
    alice.leave(&room).await;
    alice
        .post(format!("v3/rooms/{room}/join"), json!({}))
        .await
        .refused_with(&[403, 404]);
}

#[tokio::test]
async fn twenty_join_at_once() {
    let api = server();
    let alice = api.register("alice").await;
    let room = alice.public_room().await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (api, room) = (api.clone(), room.clone());
        waiting.spawn(async move { api.register("guest").await.join(&room).await });
    }
    waiting.join_all().await;
    let members = alice
        .get(format!("v3/rooms/{room}/joined_members"))
        .await
        .ok();
    assert_eq!(members["joined"].as_object().unwrap().len(), 21);
}
