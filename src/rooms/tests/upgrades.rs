//! Rooms that replace others.

use graph::{Reason, Version};
use ruma_common::{OwnedRoomId, RoomAliasId};
use serde_json::{Value, json};

use super::{TestRoom, content, id, is_forbidden, state};
use crate::{
    AppendError, CreateRoom, NewEvent, Preset, aliases, is_published, predecessor, resolve_alias,
    room_serial,
};

const ALIAS: &str = "#council:cairn.test";

impl TestRoom {
    async fn upgrade(
        &mut self,
        name: &str,
        version: &str,
        creators: &[&str],
    ) -> Result<OwnedRoomId, AppendError> {
        let creators = creators.iter().map(|name| id(name)).collect();
        let who = self.who(name);
        self.rooms
            .upgrade(who, &self.room_id, version, creators)
            .await
    }
}

/// A published room with an alias and all the state that is to be taken along.
async fn council(version: &str) -> TestRoom {
    let mut room = TestRoom::server(["alice", "bob", "carol"]).await;
    let wish = CreateRoom {
        version: Some(version.to_owned()),
        preset: Some(Preset::PublicChat),
        published: true,
        name: Some("Council".to_owned()),
        topic: Some("Roads".to_owned()),
        room_alias_name: Some("council".to_owned()),
        creation_content: content(json!({ "m.federate": false, "org.example.x": 1 })),
        initial_state: initial_state(),
        ..CreateRoom::default()
    };
    room.create("alice", wish).await.unwrap();
    room.join("bob").await.unwrap();
    room.rooms
        .ban(
            room.who("alice"),
            &room.room_id,
            &id("carol"),
            Some("noise".to_owned()),
        )
        .await
        .unwrap();
    room
}

fn initial_state() -> Vec<NewEvent> {
    vec![
        state(
            "m.room.history_visibility",
            "",
            json!({ "history_visibility": "joined" }),
        ),
        state(
            "m.room.encryption",
            "",
            json!({ "algorithm": "m.megolm.v1.aes-sha2" }),
        ),
        state(
            "m.room.server_acl",
            "",
            json!({ "allow": ["*"], "deny": ["evil.test"] }),
        ),
        state(
            "m.room.avatar",
            "",
            json!({ "url": "mxc://cairn.test/abc" }),
        ),
        state("m.room.pinned_events", "", json!({ "pinned": ["$x"] })),
        state("org.example.desk", "3", json!({ "a": 1 })),
    ]
}

#[tokio::test]
async fn every_version_can_be_replaced_by_every_other() {
    for from in Version::KNOWN {
        for to in Version::KNOWN {
            let mut room = council(from.as_str()).await;
            let old = room.room_id.clone();
            let new = room.upgrade("alice", to.as_str(), &[]).await.unwrap();
            assert_ne!(old, new);
            let tombstone = room.state("alice", "m.room.tombstone", "").unwrap();
            assert_eq!(
                tombstone["replacement_room"],
                new.as_str(),
                "{from} to {to}"
            );
            room.room_id = new;
            let read = |event_type: &str| room.state("alice", event_type, "");
            let create = read("m.room.create").unwrap();
            assert_eq!(create["room_version"], to.as_str());
            assert_eq!(create["predecessor"]["room_id"], old.as_str());
            let names_event = create["predecessor"]["event_id"].is_string();
            assert_eq!(names_event, to != Version::V12, "{create}");
            assert_eq!(create["m.federate"], false);
            assert_eq!(create["org.example.x"], Value::Null);
            for event in initial_state() {
                let key = event.state_key.unwrap();
                let moved = room.state("alice", &event.event_type, &key);
                let stays = ["m.room.pinned_events", "org.example.desk"];
                let expected = (!stays.contains(&event.event_type.as_str()))
                    .then(|| serde_json::to_value(&event.content).unwrap());
                assert_eq!(moved, expected, "{} from {from} to {to}", event.event_type);
            }
            assert_eq!(read("m.room.name"), Some(json!({ "name": "Council" })));
            assert_eq!(read("m.room.topic").unwrap()["topic"], "Roads");
            assert_eq!(read("m.room.join_rules").unwrap()["join_rule"], "public");
            let levels = read("m.room.power_levels").unwrap();
            let own = &levels["users"]["@alice:cairn.test"];
            assert_eq!(
                own.is_null(),
                to == Version::V12,
                "{from} to {to}: {levels}"
            );
            // Whoever made it can still do everything there.
            room.set("alice", "m.room.server_acl", "", json!({ "allow": ["*"] }))
                .await
                .unwrap();
            room.join("bob").await.unwrap();
            room.say("bob", "on we go").await.unwrap();
            assert!(is_forbidden(room.join("carol").await), "{from} to {to}");
        }
    }
}

#[tokio::test]
async fn names_and_places_move() {
    let mut room = council("11").await;
    let old = room.room_id.clone();
    let second = RoomAliasId::parse("#second:cairn.test").unwrap();
    room.rooms
        .put_alias(room.who("bob"), &second, &old)
        .await
        .unwrap();
    room.set(
        "alice",
        "m.room.canonical_alias",
        "",
        json!({ "alias": ALIAS, "alt_aliases": ["#second:cairn.test"] }),
    )
    .await
    .unwrap();
    let new = room.upgrade("alice", "12", &[]).await.unwrap();
    let view = room.rooms.store().snapshot();
    for alias in [ALIAS, "#second:cairn.test"] {
        let alias = RoomAliasId::parse(alias).unwrap();
        assert_eq!(resolve_alias(&view, &alias).unwrap(), new, "{alias}");
    }
    let alice = room.who("alice").user;
    assert!(aliases(&view, &old, alice).unwrap().is_empty());
    assert_eq!(aliases(&view, &new, alice).unwrap().len(), 2);
    assert!(!is_published(&view, &old).unwrap());
    assert!(is_published(&view, &new).unwrap());
    let left = room.state("alice", "m.room.canonical_alias", "").unwrap();
    assert_eq!(left, json!({}));
    let (of_old, of_new) = (
        room_serial(&view, old.as_str()).unwrap().unwrap(),
        room_serial(&view, new.as_str()).unwrap().unwrap(),
    );
    assert_eq!(predecessor(&view, of_new).unwrap(), Some(of_old));
    assert_eq!(predecessor(&view, of_old).unwrap(), None);
    room.room_id = new;
    let moved = room.state("alice", "m.room.canonical_alias", "").unwrap();
    assert_eq!(
        moved,
        json!({ "alias": ALIAS, "alt_aliases": ["#second:cairn.test"] })
    );
    let ban = room.state("alice", "m.room.member", id("carol").as_str());
    assert_eq!(ban, Some(json!({ "membership": "ban", "reason": "noise" })));
}

#[tokio::test]
async fn only_moderators_speak_in_the_old_room() {
    let mut room = council("11").await;
    let mut levels = room.state("alice", "m.room.power_levels", "").unwrap();
    levels["users"]["@bob:cairn.test"] = json!(50);
    levels["events"]["m.reaction"] = json!(0);
    room.set("alice", "m.room.power_levels", "", levels)
        .await
        .unwrap();
    room.arrive("dave").await;
    room.join("dave").await.unwrap();
    room.upgrade("alice", "12", &[]).await.unwrap();
    let levels = room.state("alice", "m.room.power_levels", "").unwrap();
    assert_eq!(
        (&levels["events_default"], &levels["invite"]),
        (&json!(50), &json!(50))
    );
    assert_eq!(levels["events"]["m.reaction"], 50);
    assert_eq!(levels["events"]["m.room.server_acl"], 100);
    assert!(is_forbidden(room.say("dave", "still here").await));
    room.say("bob", "this way please").await.unwrap();
}

#[tokio::test]
async fn creators_are_named_anew() {
    let mut room = council("11").await;
    let mut levels = room.state("alice", "m.room.power_levels", "").unwrap();
    levels["users"]["@bob:cairn.test"] = json!(100);
    room.set("alice", "m.room.power_levels", "", levels)
        .await
        .unwrap();
    room.room_id = room
        .upgrade("bob", "12", &["alice", "alice"])
        .await
        .unwrap();
    let create = room.state("bob", "m.room.create", "").unwrap();
    assert_eq!(create["additional_creators"], json!(["@alice:cairn.test"]));
    let levels = room.state("bob", "m.room.power_levels", "").unwrap();
    assert_eq!(levels["users"], json!({}));
    // Not taken along, and of no meaning to older versions.
    room.join("alice").await.unwrap();
    let twelfth = room.room_id.clone();
    room.room_id = room.upgrade("alice", "12", &[]).await.unwrap();
    let create = room.state("alice", "m.room.create", "").unwrap();
    assert_eq!(create["additional_creators"], Value::Null);
    room.room_id = twelfth;
    room.room_id = room.upgrade("bob", "11", &["alice"]).await.unwrap();
    let create = room.state("bob", "m.room.create", "").unwrap();
    assert_eq!(create["additional_creators"], Value::Null);
    let levels = room.state("bob", "m.room.power_levels", "").unwrap();
    let users = json!({ "@alice:cairn.test": 100, "@bob:cairn.test": 100 });
    assert_eq!(levels["users"], users);
}

#[tokio::test]
async fn restricted_rooms_stay_restricted_and_spaces_keep_their_children() {
    let mut room = TestRoom::with(["alice"]).await;
    let club = room.room_id.clone();
    let rules = json!({
        "join_rule": "restricted",
        "allow": [{ "type": "m.room_membership", "room_id": club }],
    });
    let wish = CreateRoom {
        version: Some("10".to_owned()),
        creation_content: content(json!({ "type": "m.space" })),
        initial_state: vec![
            state("m.room.join_rules", "", rules.clone()),
            state(
                "m.space.child",
                club.as_str(),
                json!({ "via": ["cairn.test"], "order": "a" }),
            ),
            state("m.space.child", "!gone:cairn.test", json!({})),
        ],
        ..CreateRoom::default()
    };
    room.create("alice", wish).await.unwrap();
    room.room_id = room.upgrade("alice", "12", &[]).await.unwrap();
    assert_eq!(room.state("alice", "m.room.join_rules", ""), Some(rules));
    assert_eq!(
        room.state("alice", "m.room.create", "").unwrap()["type"],
        "m.space"
    );
    let child = room.state("alice", "m.space.child", club.as_str());
    assert_eq!(child, Some(json!({ "via": ["cairn.test"], "order": "a" })));
    assert_eq!(
        room.state("alice", "m.space.child", "!gone:cairn.test"),
        None
    );
}

#[tokio::test]
async fn a_room_of_an_older_version_can_still_be_joined() {
    for (rule, version, expected) in [
        ("knock_restricted", "11", "knock_restricted"),
        ("knock_restricted", "9", "restricted"),
        ("knock_restricted", "7", "knock"),
        ("restricted", "8", "restricted"),
        ("restricted", "7", "invite"),
        ("knock", "7", "knock"),
        ("knock", "6", "invite"),
    ] {
        let mut room = TestRoom::server(["alice", "bob"]).await;
        let rules = json!({ "join_rule": rule, "allow": [] });
        let wish = CreateRoom {
            initial_state: vec![state("m.room.join_rules", "", rules)],
            ..CreateRoom::default()
        };
        room.create("alice", wish).await.unwrap();
        room.room_id = room.upgrade("alice", version, &[]).await.unwrap();
        let rules = room.state("alice", "m.room.join_rules", "").unwrap();
        assert_eq!(rules["join_rule"], expected, "{rule} in {version}");
        room.invite("alice", "bob").await.unwrap();
        room.join("bob").await.unwrap();
    }
}

#[tokio::test]
async fn redacted_state_is_taken_along_as_it_is() {
    let mut room = TestRoom::with(["alice"]).await;
    let name = room
        .set("alice", "m.room.name", "", json!({ "name": "secret" }))
        .await
        .unwrap();
    room.redact("alice", &name).await;
    room.room_id = room.upgrade("alice", "12", &[]).await.unwrap();
    assert_eq!(room.state("alice", "m.room.name", ""), None);
}

#[tokio::test]
async fn levels_in_text_become_numbers() {
    let mut room = TestRoom::server(["alice", "bob"]).await;
    let wish = CreateRoom {
        version: Some("9".to_owned()),
        power_level_content_override: content(json!({
            "users": { "@alice:cairn.test": "100", "@bob:cairn.test": "42" },
        })),
        ..CreateRoom::default()
    };
    room.create("alice", wish).await.unwrap();
    room.room_id = room.upgrade("alice", "11", &[]).await.unwrap();
    let levels = room.state("alice", "m.room.power_levels", "").unwrap();
    let expected = json!({ "@alice:cairn.test": 100, "@bob:cairn.test": 42 });
    assert_eq!(levels["users"], expected);
}

#[tokio::test]
async fn nothing_happens_where_it_may_not() {
    let mut room = council("11").await;
    room.arrive("dave").await;
    let before = room.timeline("alice", ruma_common::api::Direction::Forward, 100);
    assert!(is_forbidden(room.upgrade("bob", "12", &[]).await));
    let stranger = room.upgrade("dave", "12", &[]).await;
    assert!(matches!(stranger, Err(AppendError::UnknownRoom)));
    let unknown = room.upgrade("alice", "99", &[]).await;
    assert!(matches!(
        unknown,
        Err(AppendError::Refused(Reason::UnsupportedVersion(_)))
    ));
    let after = room.timeline("alice", ruma_common::api::Direction::Forward, 100);
    assert_eq!(before, after);
    let view = room.rooms.store().snapshot();
    let alias = RoomAliasId::parse(ALIAS).unwrap();
    assert_eq!(resolve_alias(&view, &alias).unwrap(), room.room_id);
    assert!(is_published(&view, &room.room_id).unwrap());
    // The room's lock was let go.
    room.say("bob", "still here").await.unwrap();
}

#[tokio::test]
async fn who_may_end_the_room_need_not_have_all_power_in_it() {
    let mut room = council("11").await;
    let mut levels = room.state("alice", "m.room.power_levels", "").unwrap();
    levels["events"]["m.room.tombstone"] = json!(0);
    room.set("alice", "m.room.power_levels", "", levels)
        .await
        .unwrap();
    let old = room.room_id.clone();
    let new = room.upgrade("bob", "11", &[]).await.unwrap();
    // What bob may not change stays.
    let kept = room.state("alice", "m.room.power_levels", "").unwrap();
    assert_eq!(kept["events_default"], 0);
    let kept = room.state("alice", "m.room.canonical_alias", "").unwrap();
    assert_eq!(kept["alias"], ALIAS);
    room.room_id = new;
    let levels = room.state("bob", "m.room.power_levels", "").unwrap();
    assert_eq!(levels["users"], json!({ "@alice:cairn.test": 100 }));
    room.join("alice").await.unwrap();
    assert!(is_forbidden(
        room.set("bob", "m.room.name", "", json!({ "name": "mine" }))
            .await
    ));
    assert_ne!(old, room.room_id);
}
