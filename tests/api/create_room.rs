//! `POST /createRoom` with each of its options.

use harness::escape;
use serde_json::{Value, json};

use crate::server;

#[tokio::test]
async fn a_room_without_options_is_private_and_of_the_default_version() {
    let alice = server().register("alice").await;
    let room = alice.create_room(json!({})).await;
    assert!(
        room.starts_with('!') && !room.contains(':'),
        "a version 12 id: {room}"
    );
    let create = alice.state(&room, "m.room.create", "").await.ok();
    assert_eq!(create["room_version"], "12");
    assert_eq!(
        alice.state(&room, "m.room.join_rules", "").await.ok()["join_rule"],
        "invite"
    );
    let visibility = alice
        .state(&room, "m.room.history_visibility", "")
        .await
        .ok();
    assert_eq!(visibility["history_visibility"], "shared");
    assert_eq!(
        alice.state(&room, "m.room.guest_access", "").await.ok()["guest_access"],
        "can_join"
    );
    let me = alice
        .state(&room, "m.room.member", &alice.user_id)
        .await
        .ok();
    assert_eq!(me["membership"], "join");
    alice
        .state(&room, "m.room.name", "")
        .await
        .refused(404, "M_NOT_FOUND");
    let joined = alice.get("v3/joined_rooms").await.ok();
    assert_eq!(joined["joined_rooms"], json!([room]));
}

#[tokio::test]
async fn the_presets_set_what_they_stand_for() {
    let alice = server().register("alice").await;
    for (preset, join_rule, guest_access) in [
        ("private_chat", "invite", "can_join"),
        ("trusted_private_chat", "invite", "can_join"),
        ("public_chat", "public", "forbidden"),
    ] {
        let room = alice.create_room(json!({ "preset": preset })).await;
        let rule = alice.state(&room, "m.room.join_rules", "").await.ok();
        assert_eq!(rule["join_rule"], join_rule, "{preset}");
        let visibility = alice
            .state(&room, "m.room.history_visibility", "")
            .await
            .ok();
        assert_eq!(visibility["history_visibility"], "shared", "{preset}");
        let guests = alice.state(&room, "m.room.guest_access", "").await;
        // Where nothing is said, guests are forbidden.
        let said = guests.body["guest_access"].as_str().unwrap_or("forbidden");
        assert_eq!(said, guest_access, "{preset}: {guests:?}");
    }
}

#[tokio::test]
async fn visibility_chooses_the_preset() {
    let alice = server().register("alice").await;
    for (visibility, join_rule) in [("public", "public"), ("private", "invite")] {
        let room = alice.create_room(json!({ "visibility": visibility })).await;
        let rule = alice.state(&room, "m.room.join_rules", "").await.ok();
        assert_eq!(rule["join_rule"], join_rule);
    }
}

#[tokio::test]
async fn a_trusted_chat_gives_everybody_the_same_power() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let options = |version: &str| {
        json!({
            "preset": "trusted_private_chat", "room_version": version, "invite": [bob.user_id],
        })
    };
    let room = alice.create_room(options("12")).await;
    let create = alice.state(&room, "m.room.create", "").await.ok();
    assert_eq!(create["additional_creators"], json!([bob.user_id]));
    bob.join(&room).await;
    let elsewhere = bob.public_room().await;
    let tombstone = json!({ "body": "moved", "replacement_room": elsewhere });
    bob.set_state(&room, "m.room.tombstone", "", tombstone)
        .await;

    let room = alice.create_room(options("11")).await;
    let levels = alice.state(&room, "m.room.power_levels", "").await.ok();
    assert_eq!(levels["users"][&bob.user_id], 100);
    assert_eq!(levels["users"][&alice.user_id], 100);
}

#[tokio::test]
async fn name_topic_and_further_state_are_set() {
    let alice = server().register("alice").await;
    let room = alice
        .create_room(json!({
            "name": "The council",
            "topic": "Roads and bridges",
            "initial_state": [
                { "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } },
                { "type": "org.example.desk", "state_key": "3", "content": { "floor": 2 } },
                { "type": "m.room.history_visibility", "state_key": "",
                  "content": { "history_visibility": "joined" } },
            ],
        }))
        .await;
    assert_eq!(
        alice.state(&room, "m.room.name", "").await.ok()["name"],
        "The council"
    );
    assert_eq!(
        alice.state(&room, "m.room.topic", "").await.ok()["topic"],
        "Roads and bridges"
    );
    let encryption = alice.state(&room, "m.room.encryption", "").await.ok();
    assert_eq!(encryption["algorithm"], "m.megolm.v1.aes-sha2");
    assert_eq!(
        alice.state(&room, "org.example.desk", "3").await.ok()["floor"],
        2
    );
    let visibility = alice
        .state(&room, "m.room.history_visibility", "")
        .await
        .ok();
    assert_eq!(
        visibility["history_visibility"], "joined",
        "the later state wins"
    );
}

#[tokio::test]
async fn the_name_stands_above_the_further_state() {
    let alice = server().register("alice").await;
    let room = alice
        .create_room(json!({
            "name": "from name",
            "initial_state": [{ "type": "m.room.name", "content": { "name": "from state" } }],
        }))
        .await;
    assert_eq!(
        alice.state(&room, "m.room.name", "").await.ok()["name"],
        "from name"
    );
}

#[tokio::test]
async fn the_create_event_takes_further_content() {
    let alice = server().register("alice").await;
    let content = json!({
        "type": "m.space", "m.federate": false, "org.example.k": 1, "creator": "@x:localhost",
        "room_version": "6",
    });
    let room = alice
        .create_room(json!({ "creation_content": content }))
        .await;
    let create = alice.state(&room, "m.room.create", "").await.ok();
    assert_eq!(create["type"], "m.space");
    assert_eq!(create["m.federate"], false);
    assert_eq!(create["org.example.k"], 1);
    assert_eq!(
        create["room_version"], "12",
        "the version has an option of its own"
    );
}

#[tokio::test]
async fn power_levels_are_overridden_one_by_one() {
    let alice = server().register("alice").await;
    let overrides = json!({ "events": { "m.room.topic": 0 }, "invite": 50, "users_default": 5 });
    let room = alice
        .create_room(json!({ "power_level_content_override": overrides }))
        .await;
    let levels = alice.state(&room, "m.room.power_levels", "").await.ok();
    assert_eq!(levels["events"]["m.room.topic"], 0);
    assert_eq!(levels["invite"], 50);
    assert_eq!(levels["users_default"], 5);
    assert_eq!(levels["state_default"], 50, "the rest stays: {levels}");
}

#[tokio::test]
async fn a_creator_cannot_be_named_in_the_levels_of_version_12() {
    let alice = server().register("alice").await;
    let room = alice.create_room(json!({})).await;
    let levels = alice.state(&room, "m.room.power_levels", "").await.ok();
    assert!(levels["users"][&alice.user_id].is_null(), "{levels}");
    assert!(
        levels["events"]["m.room.tombstone"].as_i64().unwrap() > 100,
        "{levels}"
    );
    let overrides = json!({ "users": { &alice.user_id: 100 } });
    let answer = alice
        .post(
            "v3/createRoom",
            json!({ "power_level_content_override": overrides }),
        )
        .await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[tokio::test]
async fn further_creators_are_checked() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let content = json!({ "additional_creators": [bob.user_id] });
    let room = alice
        .create_room(json!({ "creation_content": content, "preset": "public_chat" }))
        .await;
    bob.join(&room).await;
    bob.act_on("kick", &room, &alice)
        .await
        .refused(403, "M_FORBIDDEN");
    bob.set_state(&room, "m.room.name", "", json!({ "name": "mine too" }))
        .await;
    let content = json!({ "additional_creators": ["nobody"] });
    let answer = alice
        .post("v3/createRoom", json!({ "creation_content": content }))
        .await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[tokio::test]
async fn the_invited_are_invited() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice
        .create_room(json!({ "invite": [bob.user_id, carol.user_id], "is_direct": true }))
        .await;
    for guest in [&bob, &carol] {
        let member = alice
            .state(&room, "m.room.member", &guest.user_id)
            .await
            .ok();
        assert_eq!(member["membership"], "invite");
        assert_eq!(member["is_direct"], true);
        assert!(!guest.sync().await.invited(&room).is_null());
        guest.join(&room).await;
    }
}

#[tokio::test]
async fn an_alias_is_made_and_taken_once() {
    let alice = server().register("alice").await;
    let name = alice.localpart().to_owned();
    let room = alice.create_room(json!({ "room_alias_name": name })).await;
    let alias = format!("#{name}:localhost");
    let found = alice
        .get(format!("v3/directory/room/{}", escape(&alias)))
        .await
        .ok();
    assert_eq!(found["room_id"], room.as_str());
    assert_eq!(
        alice.state(&room, "m.room.canonical_alias", "").await.ok()["alias"],
        alias.as_str()
    );
    let again = alice
        .post("v3/createRoom", json!({ "room_alias_name": name }))
        .await;
    again.refused(400, "M_ROOM_IN_USE");
    let joined = alice.get("v3/joined_rooms").await.ok();
    assert_eq!(
        joined["joined_rooms"],
        json!([room]),
        "the second room was not made"
    );
    for broken in ["with:colon", "a\u{0}b"] {
        let answer = alice
            .post("v3/createRoom", json!({ "room_alias_name": broken }))
            .await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
}

#[tokio::test]
async fn an_unknown_room_version_is_refused() {
    let alice = server().register("alice").await;
    for version in ["999", "1x", "org.example.mine"] {
        let answer = alice
            .post("v3/createRoom", json!({ "room_version": version }))
            .await;
        answer.refused(400, "M_UNSUPPORTED_ROOM_VERSION");
    }
}

#[tokio::test]
async fn options_of_the_wrong_shape_make_no_room() {
    let alice = server().register("alice").await;
    let wrong: Vec<Value> = vec![
        json!({ "preset": "nonsense" }),
        json!({ "invite": ["nobody"] }),
        json!({ "initial_state": [{ "content": {} }] }),
        json!({ "name": 5 }),
        json!({ "power_level_content_override": { "ban": "high" } }),
        json!({ "topic": "x".repeat(70_000) }),
    ];
    for options in wrong {
        let answer = alice.post("v3/createRoom", options).await;
        assert!(answer.status == 400 || answer.status == 413, "{answer:?}");
    }
    assert_eq!(
        alice.get("v3/joined_rooms").await.ok()["joined_rooms"],
        json!([])
    );
}

#[tokio::test]
async fn a_list_of_too_many_invitations_is_refused_whole_or_taken_whole() {
    let alice = server().register("alice").await;
    let many: Vec<String> = (0..5_000)
        .map(|number| format!("@u{number}:localhost"))
        .collect();
    let answer = alice.post("v3/createRoom", json!({ "invite": many })).await;
    assert!((400..=413).contains(&answer.status), "{answer:?}");
    assert_eq!(
        alice.get("v3/joined_rooms").await.ok()["joined_rooms"],
        json!([])
    );
}
