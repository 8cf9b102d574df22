//! The operator's rules for rooms, protective markings, and ban lists.

use audit::{Act, Verb};
use model::BanListRecord;
use ruma_common::{OwnedUserId, UserId};
use serde_json::json;

use super::{TestRoom, content, id, state};
use crate::{
    AppendError, CreateRoom, Encryption, MARKING, MadeBy, Marking, Preset, RoomKind, RoomRule,
    RoomsOptions, WantedMarking, marking_of, room_serial,
};

fn refusal<T>(result: Result<T, AppendError>) -> String {
    match result {
        Err(AppendError::Ruled(text) | AppendError::InvalidRoomState(text)) => text,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it was not refused"),
    }
}

fn rule(kinds: &[RoomKind], change: impl FnOnce(&mut RoomRule)) -> RoomsOptions {
    let mut rule = RoomRule {
        kinds: kinds.to_vec(),
        ..RoomRule::default()
    };
    change(&mut rule);
    RoomsOptions {
        rules: vec![rule],
        ..RoomsOptions::default()
    }
}

async fn house(options: RoomsOptions) -> TestRoom {
    let mut room = TestRoom::server(["alice", "bob", "carol"]).await;
    room.configure(options);
    room
}

fn public() -> CreateRoom {
    CreateRoom {
        preset: Some(Preset::PublicChat),
        ..CreateRoom::default()
    }
}

fn direct(invite: &[OwnedUserId]) -> CreateRoom {
    CreateRoom {
        is_direct: true,
        invite: invite.to_vec(),
        ..CreateRoom::default()
    }
}

#[tokio::test]
async fn only_those_make_rooms_who_may() {
    let nobody = rule(&[RoomKind::Public], |rule| rule.made_by = MadeBy::Nobody);
    let mut room = house(nobody).await;
    let why = refusal(room.create("alice", public()).await);
    assert_eq!(why, "on this server, public rooms are not made");
    room.create("alice", CreateRoom::default()).await.unwrap();
    let mut room = house(rule(&[], |rule| rule.made_by = MadeBy::Roles)).await;
    refusal(room.create("alice", CreateRoom::default()).await);
}

#[tokio::test]
async fn direct_chats_have_two_members() {
    let two = rule(&[RoomKind::Direct], |rule| rule.members_max = 2);
    let mut room = house(two).await;
    let three = direct(&[id("bob"), id("carol")]);
    refusal(room.create("alice", three).await);
    room.create("alice", direct(&[id("bob")])).await.unwrap();
    let why = refusal(room.invite("alice", "carol").await);
    assert_eq!(why, "on this server, direct chats have at most 2 members");
    room.join("bob").await.unwrap();
    refusal(room.invite("bob", "carol").await);
    // Another kind of room has no such rule.
    room.create("alice", CreateRoom::default()).await.unwrap();
    for name in ["bob", "carol"] {
        room.invite("alice", name).await.unwrap();
    }
}

#[tokio::test]
async fn rooms_without_federation_take_nobody_of_other_servers() {
    let mut room = house(rule(&[], |rule| rule.federation = false)).await;
    let stranger: OwnedUserId = "@eve:other.test".try_into().unwrap();
    refusal(room.create("alice", direct(&[stranger])).await);
    let open = CreateRoom {
        creation_content: content(json!({ "m.federate": true })),
        ..CreateRoom::default()
    };
    refusal(room.create("alice", open).await);
    room.create("alice", CreateRoom::default()).await.unwrap();
    let create = room.state("alice", "m.room.create", "").unwrap();
    assert_eq!(create["m.federate"], false);
}

#[tokio::test]
async fn names_encryption_and_openness_are_kept_to() {
    let options = rule(&[], |rule| {
        rule.name_required = true;
        rule.public = false;
        rule.encryption = Encryption::Required;
    });
    let mut room = house(options).await;
    refusal(room.create("alice", public()).await);
    let why = refusal(room.create("alice", CreateRoom::default()).await);
    assert_eq!(why, "on this server, private rooms must have a name");
    let named = CreateRoom {
        name: Some("Roads".to_owned()),
        ..CreateRoom::default()
    };
    room.create("alice", named).await.unwrap();
    assert!(room.state("alice", "m.room.encryption", "").is_some());
    let mut set = Vec::new();
    for (event_type, value) in [
        ("m.room.name", json!({ "name": " " })),
        ("m.room.join_rules", json!({ "join_rule": "public" })),
        (
            "m.room.history_visibility",
            json!({ "history_visibility": "world_readable" }),
        ),
    ] {
        set.push(refusal(room.set("alice", event_type, "", value).await));
    }
    assert_eq!(set.len(), 3);
    let publish = room
        .rooms
        .set_published(room.who("alice"), &room.room_id, true);
    refusal(publish.await);
    let plain = rule(&[], |rule| rule.encryption = Encryption::Forbidden);
    let mut room = house(plain).await;
    room.create("alice", CreateRoom::default()).await.unwrap();
    let algorithm = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    refusal(room.set("alice", "m.room.encryption", "", algorithm).await);
}

fn markings() -> RoomsOptions {
    let official = Marking {
        name: "OFFICIAL".to_owned(),
        ..Marking::default()
    };
    let sensitive = Marking {
        name: "OFFICIAL-SENSITIVE".to_owned(),
        federation: false,
        external_members: false,
        public: false,
        encryption: Encryption::Required,
    };
    RoomsOptions {
        markings: vec![official, sensitive],
        default_marking: "OFFICIAL".to_owned(),
        ..RoomsOptions::default()
    }
}

fn marking(name: &str) -> serde_json::Value {
    json!({ "marking": name })
}

fn shown(room: &TestRoom) -> Option<String> {
    let view = room.rooms.store().snapshot();
    let serial = room_serial(&view, room.room_id.as_str()).unwrap().unwrap();
    marking_of(&view, serial).unwrap()
}

#[tokio::test]
async fn a_marking_says_what_it_means_and_is_not_lowered() {
    let mut room = house(markings()).await;
    room.create("alice", CreateRoom::default()).await.unwrap();
    assert_eq!(shown(&room).as_deref(), Some("OFFICIAL"));
    let why = room.set("alice", MARKING, "", marking("SECRET")).await;
    assert!(
        why.unwrap_err()
            .to_string()
            .contains("there are OFFICIAL, ")
    );
    let why = room.set("alice", MARKING, "", marking("OFFICIAL-SENSITIVE"));
    assert!(refusal(why.await).contains("encrypt the room before"));
    let algorithm = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    room.set("alice", "m.room.encryption", "", algorithm)
        .await
        .unwrap();
    room.set("alice", MARKING, "", marking("OFFICIAL-SENSITIVE"))
        .await
        .unwrap();
    let content = room.state("alice", MARKING, "").unwrap();
    assert_eq!(
        content,
        json!({
            "marking": "OFFICIAL-SENSITIVE", "federation": false, "external_members": false,
            "public": false, "encryption": "required",
        })
    );
    let why = refusal(room.set("alice", MARKING, "", marking("OFFICIAL")).await);
    assert!(why.starts_with("only administrators"), "{why}");
    let open = json!({ "join_rule": "public" });
    refusal(room.set("alice", "m.room.join_rules", "", open).await);
    // Other servers are kept out as by an access control list.
    let view = room.rooms.store().snapshot();
    let serial = room_serial(&view, room.room_id.as_str()).unwrap().unwrap();
    let other = ruma_common::server_name!("other.test");
    assert!(!crate::acl_allows(&view, serial, other).unwrap());
    // An administrator may lower it.
    let lower = WantedMarking {
        marking: "OFFICIAL".to_owned(),
        puts_out: false,
        reason: Some("a mistake".to_owned()),
    };
    let deed = Act::operator().did(Verb::RoomMarked);
    let host = room.who("alice").clone();
    room.rooms.mark(serial, &host, lower, deed).await.unwrap();
    assert_eq!(shown(&room).as_deref(), Some("OFFICIAL"));
    let view = room.rooms.store().snapshot();
    assert!(crate::acl_allows(&view, serial, other).unwrap());
}

#[tokio::test]
async fn a_room_begins_with_what_its_marking_wants() {
    let mut room = house(markings()).await;
    let mut wish = CreateRoom {
        initial_state: vec![state(MARKING, "", marking("OFFICIAL-SENSITIVE"))],
        ..CreateRoom::default()
    };
    room.create("alice", wish.clone()).await.unwrap();
    assert_eq!(shown(&room).as_deref(), Some("OFFICIAL-SENSITIVE"));
    assert!(room.state("alice", "m.room.encryption", "").is_some());
    let create = room.state("alice", "m.room.create", "").unwrap();
    assert_eq!(create["m.federate"], false);
    wish.preset = Some(Preset::PublicChat);
    refusal(room.create("alice", wish).await);
    let unknown = CreateRoom {
        initial_state: vec![state(MARKING, "", marking("TOP"))],
        ..CreateRoom::default()
    };
    assert!(room.create("alice", unknown).await.is_err());
}

#[tokio::test]
async fn a_marking_that_the_configuration_forgot_goes_on_with_its_room() {
    for version in ["11", "12"] {
        let mut room = house(markings()).await;
        let wish = CreateRoom {
            initial_state: vec![state(MARKING, "", marking("OFFICIAL-SENSITIVE"))],
            ..CreateRoom::default()
        };
        room.create("alice", wish).await.unwrap();
        let before = room.state("alice", MARKING, "").unwrap();
        room.configure(RoomsOptions::default());
        let who = room.who("alice");
        let new = room.rooms.upgrade(who, &room.room_id, version, Vec::new());
        room.room_id = new.await.unwrap();
        assert_eq!(room.state("alice", MARKING, "").unwrap(), before);
        // It still says what it means, and nobody gets it anew.
        let view = room.rooms.store().snapshot();
        let serial = room_serial(&view, room.room_id.as_str()).unwrap().unwrap();
        let other = ruma_common::server_name!("other.test");
        assert!(!crate::acl_allows(&view, serial, other).unwrap());
        let again = marking("OFFICIAL-SENSITIVE");
        assert!(room.set("alice", MARKING, "", again).await.is_err());
    }
}

#[tokio::test]
async fn whom_a_ban_list_names_cannot_come_in_or_be_invited() {
    let mut room = house(RoomsOptions::default()).await;
    let list = room.create("alice", public()).await.unwrap();
    for (event_type, key, value) in [
        (
            "m.policy.rule.user",
            "a",
            json!({ "entity": "@bob:*", "recommendation": "m.ban", "reason": "spam" }),
        ),
        (
            "m.policy.rule.user",
            "b",
            json!({ "entity": "@carol:cairn.test", "recommendation": "m.other" }),
        ),
        (
            "org.matrix.mjolnir.rule.server",
            "c",
            json!({ "entity": "*.evil.test", "recommendation": "org.matrix.mjolnir.ban" }),
        ),
    ] {
        room.set("alice", event_type, key, value).await.unwrap();
    }
    room.create("alice", public()).await.unwrap();
    let target = room.room_id.clone();
    let view = room.rooms.store().snapshot();
    let serial = room_serial(&view, list.as_str()).unwrap().unwrap();
    let record = || BanListRecord { by: None, at: 0 };
    let deed = || Act::operator().did(Verb::BanListChanged);
    let heed = room.rooms.set_ban_list(serial, Some(record()), deed());
    assert!(!heed.await.unwrap());
    let why = refusal(room.join("bob").await);
    assert_eq!(
        why,
        "a ban list that this server heeds names @bob:cairn.test: spam"
    );
    refusal(room.invite("alice", "bob").await);
    room.join("carol").await.unwrap();
    let evil = ruma_common::server_name!("a.evil.test");
    assert!(room.rooms.ban_lists().is_unwanted_server(evil));
    let stranger = UserId::parse("@x:a.evil.test").unwrap();
    assert!(room.rooms.unwanted_user(&stranger).unwrap().is_some());
    // A rule that is taken back holds no more, at once.
    room.room_id = list;
    room.set("alice", "m.policy.rule.user", "a", json!({}))
        .await
        .unwrap();
    room.room_id = target;
    room.join("bob").await.unwrap();
    let ignore = room.rooms.set_ban_list(serial, None, deed());
    assert!(ignore.await.unwrap());
    assert!(!room.rooms.ban_lists().is_unwanted_server(evil));
}
