//! Making rooms.

use graph::{Reason, Version};
use serde_json::json;

use super::{TestRoom, content, id, state};
use crate::{AppendError, CreateRoom, Preset, is_published};

#[tokio::test]
async fn every_version_and_preset_begins_as_the_spec_says() {
    for version in Version::KNOWN {
        for (preset, join_rule, guest_access) in [
            (Preset::PrivateChat, "invite", "can_join"),
            (Preset::TrustedPrivateChat, "invite", "can_join"),
            (Preset::PublicChat, "public", "forbidden"),
        ] {
            let mut room = TestRoom::server(["alice", "bob"]).await;
            let wish = CreateRoom {
                version: Some(version.as_str().to_owned()),
                preset: Some(preset),
                invite: vec![id("bob")],
                ..CreateRoom::default()
            };
            let room_id = room.create("alice", wish).await.unwrap();
            assert_eq!(
                room_id.server_name().is_none(),
                version == Version::V12,
                "{room_id} in {version}"
            );
            let read = |event_type| room.state("alice", event_type, "").unwrap();
            assert_eq!(read("m.room.join_rules")["join_rule"], join_rule);
            // That guests are forbidden goes without saying.
            let guests = room.state("alice", "m.room.guest_access", "");
            let expected = (guest_access != "forbidden").then_some(guest_access);
            assert_eq!(
                guests.as_ref().and_then(|it| it["guest_access"].as_str()),
                expected
            );
            assert_eq!(
                read("m.room.history_visibility")["history_visibility"],
                "shared"
            );
            let create = read("m.room.create");
            assert_eq!(create["room_version"], version.as_str());
            assert_eq!(
                create["creator"].as_str(),
                (version < Version::V11).then_some("@alice:cairn.test")
            );
            let trusted = preset == Preset::TrustedPrivateChat;
            let levels = read("m.room.power_levels");
            if version == Version::V12 {
                assert_eq!(levels["users"], json!({}));
                assert_eq!(levels["events"]["m.room.tombstone"], 150);
                let more = create["additional_creators"].as_array();
                assert_eq!(more, trusted.then_some(&vec![json!("@bob:cairn.test")]));
            } else {
                assert_eq!(levels["users"]["@alice:cairn.test"], 100);
                assert_eq!(levels["users"]["@bob:cairn.test"] == 100, trusted);
            }
            let bob = room
                .state("alice", "m.room.member", "@bob:cairn.test")
                .unwrap();
            assert_eq!(bob["membership"], "invite");
            room.join("bob").await.unwrap();
            room.say("bob", "hello").await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_events_come_in_the_order_of_the_spec() {
    let mut room = TestRoom::server(["alice", "bob"]).await;
    let wish = CreateRoom {
        published: true,
        name: Some("The Grand Duke Pub".to_owned()),
        topic: Some("All about happy hour".to_owned()),
        creation_content: content(
            json!({ "m.federate": false, "room_version": "1", "creator": 4 }),
        ),
        initial_state: vec![
            state("m.room.join_rules", "", json!({ "join_rule": "invite" })),
            state(
                "m.room.encryption",
                "",
                json!({ "algorithm": "m.megolm.v1.aes-sha2" }),
            ),
            state("m.room.name", "", json!({ "name": "overwritten" })),
        ],
        invite: vec![id("bob"), id("bob")],
        is_direct: true,
        room_alias_name: Some("thepub".to_owned()),
        power_level_content_override: content(json!({ "events_default": 10 })),
        ..CreateRoom::default()
    };
    let room_id = room.create("alice", wish).await.unwrap();
    let timeline = room
        .page(
            "alice",
            &super::request(ruma_common::api::Direction::Forward, 100),
        )
        .unwrap();
    let types: Vec<String> = timeline
        .chunk
        .iter()
        .map(|json| super::parsed(json)["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        types,
        [
            "m.room.create",
            "m.room.member",
            "m.room.power_levels",
            "m.room.canonical_alias",
            "m.room.history_visibility",
            "m.room.join_rules",
            "m.room.encryption",
            "m.room.name",
            "m.room.topic",
            "m.room.member",
        ]
    );
    let read = |event_type| room.state("alice", event_type, "").unwrap();
    assert_eq!(
        read("m.room.create"),
        json!({ "m.federate": false, "room_version": "12" })
    );
    assert_eq!(
        read("m.room.canonical_alias"),
        json!({ "alias": "#thepub:cairn.test" })
    );
    assert_eq!(read("m.room.name"), json!({ "name": "The Grand Duke Pub" }));
    assert_eq!(read("m.room.topic")["topic"], "All about happy hour");
    assert_eq!(
        read("m.room.topic")["m.topic"]["m.text"][0]["body"],
        "All about happy hour"
    );
    assert_eq!(read("m.room.power_levels")["events_default"], 10);
    assert_eq!(read("m.room.power_levels")["state_default"], 50);
    let bob = room
        .state("alice", "m.room.member", "@bob:cairn.test")
        .unwrap();
    assert_eq!(bob["is_direct"], true);
    let view = room.rooms.store().snapshot();
    assert!(is_published(&view, &room_id).unwrap());
}

#[tokio::test]
async fn a_room_that_contradicts_itself_is_not_made() {
    let mut room = TestRoom::server(["alice", "bob"]).await;
    let mut refused = async |wish| room.create("alice", wish).await.unwrap_err();
    let unknown = refused(CreateRoom {
        version: Some("99".to_owned()),
        ..CreateRoom::default()
    })
    .await;
    assert!(matches!(
        unknown,
        AppendError::Refused(Reason::UnsupportedVersion(_))
    ));
    let powerless = refused(CreateRoom {
        version: Some("11".to_owned()),
        name: Some("a name".to_owned()),
        power_level_content_override: content(json!({ "users": { "@alice:cairn.test": 0 } })),
        ..CreateRoom::default()
    })
    .await;
    assert!(
        matches!(powerless, AppendError::InvalidRoomState(_)),
        "{powerless:?}"
    );
    let listed = refused(CreateRoom {
        power_level_content_override: content(json!({ "users": { "@alice:cairn.test": 100 } })),
        ..CreateRoom::default()
    })
    .await;
    assert!(
        matches!(listed, AppendError::InvalidRoomState(_)),
        "{listed:?}"
    );
    let bad_name = refused(CreateRoom {
        room_alias_name: Some("a:b".to_owned()),
        ..CreateRoom::default()
    })
    .await;
    assert!(matches!(bad_name, AppendError::Invalid(_)));
    assert_eq!(
        crate::joined_rooms(&room.rooms.store().snapshot(), room.who("alice").user).unwrap(),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn an_alias_is_given_to_one_room_only() {
    let room = TestRoom::server(["alice"]).await;
    let wish = || CreateRoom {
        room_alias_name: Some("pub".to_owned()),
        ..CreateRoom::default()
    };
    let (one, other) = tokio::join!(
        room.rooms.create(room.who("alice"), wish()),
        room.rooms.create(room.who("alice"), wish())
    );
    assert_eq!(one.is_ok() as u8 + other.is_ok() as u8, 1);
    let refused = one.err().or(other.err()).unwrap();
    assert!(matches!(refused, AppendError::AliasTaken(_)));
}

#[tokio::test]
async fn rooms_made_at_the_same_time_differ() {
    let room = TestRoom::server(["alice"]).await;
    let wish = CreateRoom::default;
    let (one, other) = tokio::join!(
        room.rooms.create(room.who("alice"), wish()),
        room.rooms.create(room.who("alice"), wish())
    );
    assert_ne!(one.unwrap(), other.unwrap());
}
