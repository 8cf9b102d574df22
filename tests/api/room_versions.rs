//! The room versions, each with its own rules.

use serde_json::{Value, json};

use crate::server;

const VERSIONS: [&str; 12] = [
    "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12",
];

/// Those that have no knocking.
const BEFORE_KNOCKING: [&str; 6] = ["1", "2", "3", "4", "5", "6"];

#[tokio::test]
async fn a_conversation_works_in_every_version() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    for version in VERSIONS {
        let options = json!({ "preset": "public_chat", "room_version": version });
        let room = alice.create_room(options).await;
        let create = alice.state(&room, "m.room.create", "").await.ok();
        assert_eq!(create["room_version"], version);
        bob.join(&room).await;
        let said = bob.say(&room, "hello").await;
        assert_eq!(
            alice.event(&room, &said).await.ok()["content"]["body"],
            "hello"
        );
        let redaction = bob.redact(&room, &said).await;
        let gone = alice.event(&room, &said).await.ok();
        assert!(
            gone["content"]["body"].is_null(),
            "version {version}: {gone}"
        );
        assert_eq!(
            gone["unsigned"]["redacted_because"]["event_id"],
            redaction.as_str()
        );
        alice.act_on("kick", &room, &bob).await.ok();
        bob.try_send_event(&room, "m.test", json!({}))
            .await
            .refused(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn servers_choose_the_ids_of_events_up_to_version_2() {
    let alice = server().register("alice").await;
    for version in VERSIONS {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let (one, other) = (alice.say(&room, "a").await, alice.say(&room, "a").await);
        assert_ne!(one, other);
        for event_id in [one, other] {
            let is_chosen = event_id.ends_with(":localhost");
            assert_eq!(
                is_chosen,
                ["1", "2"].contains(&version),
                "version {version}: {event_id}"
            );
            let got = alice.event(&room, &event_id).await.ok();
            assert_eq!(got["event_id"], event_id.as_str());
        }
    }
}

#[tokio::test]
async fn room_ids_have_a_domain_up_to_version_11() {
    let alice = server().register("alice").await;
    for version in VERSIONS {
        let room = alice.create_room(json!({ "room_version": version })).await;
        assert_eq!(
            room.ends_with(":localhost"),
            version != "12",
            "version {version}: {room}"
        );
        let synced = alice.sync().await;
        let timeline = synced.timeline(&room);
        let create = harness::find_event(timeline, "m.room.create").unwrap();
        if version == "12" {
            assert_eq!(create["event_id"].as_str().unwrap()[1..], room[1..]);
        }
    }
}

#[tokio::test]
async fn the_creator_is_named_in_the_content_up_to_version_10() {
    let alice = server().register("alice").await;
    for version in VERSIONS {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let create = alice.state(&room, "m.room.create", "").await.ok();
        let named = create["creator"] == alice.user_id.as_str();
        assert_eq!(
            named,
            !["11", "12"].contains(&version),
            "version {version}: {create}"
        );
    }
}

#[tokio::test]
async fn levels_that_are_text_are_refused_from_version_10() {
    let alice = server().register("alice").await;
    for version in ["10", "11", "12"] {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let mut levels = alice.state(&room, "m.room.power_levels", "").await.ok();
        levels["invite"] = json!("50");
        let answer = alice
            .try_set_state(&room, "m.room.power_levels", "", levels)
            .await;
        answer.refused_with(&[400, 403]);
    }
}

#[tokio::test]
async fn knocking_begins_with_version_7() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    for version in VERSIONS {
        let rule = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
        let options = json!({ "room_version": version, "initial_state": rule });
        let answer = alice.post("v3/createRoom", options).await;
        if answer.status != 200 {
            assert!(BEFORE_KNOCKING.contains(&version), "{answer:?}");
            continue;
        }
        let room = answer.ok()["room_id"].as_str().unwrap().to_owned();
        let knock = bob.post(format!("v3/knock/{room}"), json!({})).await;
        assert_eq!(
            knock.status == 200,
            !BEFORE_KNOCKING.contains(&version),
            "version {version}: {knock:?}"
        );
    }
}

#[tokio::test]
async fn restricted_rooms_begin_with_version_8() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let club = alice.room_with(&[&bob]).await;
    for version in ["8", "9", "10", "11", "12"] {
        let rule = json!({
            "join_rule": "restricted",
            "allow": [{ "type": "m.room_membership", "room_id": club }],
        });
        let state = json!([{ "type": "m.room.join_rules", "content": rule }]);
        let options = json!({ "room_version": version, "initial_state": state });
        let room = alice.create_room(options).await;
        bob.join(&room).await;
        let member = alice.state(&room, "m.room.member", &bob.user_id).await.ok();
        assert_eq!(
            member["join_authorised_via_users_server"],
            alice.user_id.as_str()
        );
        let outside = carol.post(format!("v3/rooms/{room}/join"), json!({})).await;
        outside.refused(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn a_knock_on_a_restricted_room_begins_with_version_10() {
    let api = server();
    let (alice, carol) = (api.register("alice").await, api.register("carol").await);
    let club = alice.public_room().await;
    for version in ["10", "11", "12"] {
        let rule = json!({
            "join_rule": "knock_restricted",
            "allow": [{ "type": "m.room_membership", "room_id": club }],
        });
        let state = json!([{ "type": "m.room.join_rules", "content": rule }]);
        let options = json!({ "room_version": version, "initial_state": state });
        let room = alice.create_room(options).await;
        carol.post(format!("v3/knock/{room}"), json!({})).await.ok();
        let member = alice
            .state(&room, "m.room.member", &carol.user_id)
            .await
            .ok();
        assert_eq!(member["membership"], "knock");
    }
}

#[tokio::test]
async fn the_redacted_event_is_named_inside_the_content_from_version_11() {
    let alice = server().register("alice").await;
    for version in VERSIONS {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let said = alice.say(&room, "hello").await;
        let redaction = alice.redact(&room, &said).await;
        let event = alice.event(&room, &redaction).await.ok();
        // Clients find it in either place, whatever the version.
        assert_eq!(
            event["content"]["redacts"],
            said.as_str(),
            "version {version}: {event}"
        );
        assert_eq!(
            event["redacts"],
            said.as_str(),
            "version {version}: {event}"
        );
    }
}

#[tokio::test]
async fn what_a_redaction_leaves_of_a_create_event() {
    let alice = server().register("alice").await;
    for (version, stays) in [("10", false), ("11", true), ("12", true)] {
        let options =
            json!({ "room_version": version, "creation_content": { "org.example.k": 1 } });
        let room = alice.create_room(options).await;
        let synced = alice.sync().await;
        let create = harness::find_event(synced.timeline(&room), "m.room.create").unwrap();
        let id = create["event_id"].as_str().unwrap().to_owned();
        let path = format!("v3/rooms/{room}/redact/{id}/t{version}");
        let answer = alice.put(path, json!({})).await;
        if answer.status != 200 {
            continue; // A server may protect the create event.
        }
        let content = alice.state(&room, "m.room.create", "").await.ok();
        assert_eq!(
            content["org.example.k"] == 1,
            stays,
            "version {version}: {content}"
        );
    }
}

#[tokio::test]
async fn only_a_creator_stands_above_all_levels_in_version_12() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let mut levels = alice.state(&room, "m.room.power_levels", "").await.ok();
    levels["users"] = json!({ &bob.user_id: 100 });
    alice
        .set_state(&room, "m.room.power_levels", "", levels.clone())
        .await;
    bob.act_on("kick", &room, &alice)
        .await
        .refused(403, "M_FORBIDDEN");
    bob.act_on("ban", &room, &alice)
        .await
        .refused(403, "M_FORBIDDEN");
    alice.act_on("kick", &room, &bob).await.ok();
    levels["users"] = json!({ &alice.user_id: 100 });
    let answer: harness::Answer = alice
        .try_set_state(&room, "m.room.power_levels", "", levels)
        .await;
    assert!(answer.status == 400 || answer.status == 403, "{answer:?}");
}

#[tokio::test]
async fn events_come_in_the_clients_form_in_every_version() {
    let alice = server().register("alice").await;
    for version in VERSIONS {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let said = alice.say(&room, "hello").await;
        let event = alice.event(&room, &said).await.ok();
        assert_eq!(event["room_id"], room.as_str());
        assert_eq!(event["sender"], alice.user_id.as_str());
        assert_eq!(event["type"], "m.room.message");
        assert!(event["origin_server_ts"].is_u64());
        for hidden in [
            "auth_events",
            "prev_events",
            "hashes",
            "signatures",
            "depth",
            "origin",
        ] {
            assert_eq!(event[hidden], Value::Null, "version {version}: {hidden}");
        }
    }
}
