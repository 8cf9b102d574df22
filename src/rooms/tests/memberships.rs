//! Coming and going.

use ruma_common::UserId;
use serde_json::json;

use super::{TestRoom, id, is_forbidden, state};
use crate::{AppendError, CreateRoom, joined_rooms};

async fn private_room() -> TestRoom {
    let mut room = TestRoom::server(["alice", "bob", "carol"]).await;
    room.create("alice", CreateRoom::default()).await.unwrap();
    room
}

fn membership(room: &TestRoom, name: &str) -> String {
    let member = room.state("alice", "m.room.member", id(name).as_str());
    member.unwrap()["membership"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_is_invited_may_join_and_nobody_else() {
    let room = private_room().await;
    assert!(is_forbidden(room.join("bob").await));
    assert!(is_forbidden(room.invite("bob", "carol").await));
    room.invite("alice", "bob").await.unwrap();
    room.invite("alice", "bob").await.unwrap();
    assert_eq!(membership(&room, "bob"), "invite");
    assert!(is_forbidden(room.say("bob", "too early").await));
    room.join("bob").await.unwrap();
    assert_eq!(membership(&room, "bob"), "join");
    assert!(is_forbidden(room.invite("alice", "bob").await));
    let view = room.rooms.store().snapshot();
    let joined = joined_rooms(&view, room.who("bob").user).unwrap();
    assert_eq!(joined, [room.room_id.to_string()]);
}

#[tokio::test]
async fn joining_twice_makes_one_event() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let before = room.timeline("alice", ruma_common::api::Direction::Forward, 100);
    room.join("bob").await.unwrap();
    let after = room.timeline("alice", ruma_common::api::Direction::Forward, 100);
    assert_eq!(before, after);
}

#[tokio::test]
async fn invitations_can_be_refused_and_taken_back() {
    let room = private_room().await;
    room.invite("alice", "bob").await.unwrap();
    room.leave("bob").await.unwrap();
    assert!(is_forbidden(room.join("bob").await));
    room.invite("alice", "bob").await.unwrap();
    room.kick("alice", "bob").await.unwrap();
    assert!(is_forbidden(room.join("bob").await));
    assert_eq!(membership(&room, "bob"), "leave");
}

#[tokio::test]
async fn the_banned_stay_out_until_the_ban_is_lifted() {
    let room = TestRoom::with(["alice", "bob", "carol"]).await;
    assert!(is_forbidden(room.ban("bob", "carol").await));
    room.ban("alice", "bob").await.unwrap();
    assert!(is_forbidden(room.say("bob", "hello").await));
    assert!(is_forbidden(room.join("bob").await));
    assert!(is_forbidden(room.invite("alice", "bob").await));
    assert!(is_forbidden(room.leave("bob").await));
    assert!(is_forbidden(room.kick("alice", "bob").await));
    assert!(is_forbidden(room.unban("carol", "bob").await));
    room.unban("alice", "bob").await.unwrap();
    assert!(is_forbidden(room.unban("alice", "bob").await));
    room.join("bob").await.unwrap();
    room.say("bob", "hello").await.unwrap();
}

#[tokio::test]
async fn the_kicked_may_come_back() {
    let room = TestRoom::with(["alice", "bob", "carol"]).await;
    assert!(is_forbidden(room.kick("bob", "alice").await));
    room.kick("alice", "bob").await.unwrap();
    assert!(is_forbidden(room.kick("alice", "bob").await));
    assert!(is_forbidden(room.say("bob", "hello").await));
    room.join("bob").await.unwrap();
}

#[tokio::test]
async fn only_what_was_left_can_be_forgotten() {
    let room = TestRoom::with(["alice", "bob", "carol"]).await;
    let refused = |result| matches!(result, Err(AppendError::BadState(_)));
    assert!(refused(room.forget("bob").await));
    room.leave("bob").await.unwrap();
    room.leave("bob").await.unwrap();
    assert!(room.state("bob", "m.room.create", "").is_some());
    room.forget("bob").await.unwrap();
    room.forget("bob").await.unwrap();
    assert!(room.state("bob", "m.room.create", "").is_none());
    room.join("bob").await.unwrap();
    assert!(room.state("bob", "m.room.create", "").is_some());
    let elsewhere = ruma_common::RoomId::parse("!elsewhere:cairn.test").unwrap();
    assert!(refused(
        room.rooms.forget(room.who("bob"), &elsewhere).await
    ));
}

#[tokio::test]
async fn knocking_asks_for_an_invitation() {
    let room = private_room().await;
    let target = (&*room.room_id).into();
    let knock = async |name| {
        room.rooms
            .knock(room.who(name), target, Some("me too".to_owned()))
            .await
    };
    assert!(is_forbidden(knock("bob").await));
    room.set(
        "alice",
        "m.room.join_rules",
        "",
        json!({ "join_rule": "knock" }),
    )
    .await
    .unwrap();
    knock("bob").await.unwrap();
    let member = room
        .state("alice", "m.room.member", "@bob:cairn.test")
        .unwrap();
    assert_eq!(member, json!({ "membership": "knock", "reason": "me too" }));
    room.invite("alice", "bob").await.unwrap();
    room.join("bob").await.unwrap();
    knock("carol").await.unwrap();
    room.leave("carol").await.unwrap();
    assert_eq!(membership(&room, "carol"), "leave");
}

#[tokio::test]
async fn members_of_one_room_may_join_another() {
    for version in ["8", "9", "10", "11", "12"] {
        let mut room = TestRoom::with(["alice", "bob", "carol"]).await;
        room.leave("carol").await.unwrap();
        let club = room.room_id.clone();
        let rules = json!({
            "join_rule": "restricted",
            "allow": [{ "type": "m.room_membership", "room_id": club }],
        });
        let wish = CreateRoom {
            version: Some(version.to_owned()),
            initial_state: vec![state("m.room.join_rules", "", rules)],
            ..CreateRoom::default()
        };
        room.create("alice", wish).await.unwrap();
        room.join("bob").await.unwrap();
        let member = room
            .state("alice", "m.room.member", "@bob:cairn.test")
            .unwrap();
        assert_eq!(
            member["join_authorised_via_users_server"], "@alice:cairn.test",
            "in {version}"
        );
        assert!(is_forbidden(room.join("carol").await));
        room.invite("alice", "carol").await.unwrap();
        room.join("carol").await.unwrap();
    }
}

#[tokio::test]
async fn people_of_other_servers_cannot_be_invited_yet() {
    let room = private_room().await;
    let remote = UserId::parse("@bob:elsewhere.test").unwrap();
    let result = room
        .rooms
        .invite(room.who("alice"), &room.room_id, &remote, None)
        .await;
    assert!(matches!(result, Err(AppendError::Forbidden(_))));
}

#[tokio::test]
async fn memberships_through_state_follow_the_same_rules() {
    let room = private_room().await;
    let member = "m.room.member";
    let remote = room
        .set(
            "alice",
            member,
            "@bob:elsewhere.test",
            json!({ "membership": "invite" }),
        )
        .await;
    assert!(is_forbidden(remote));
    let nobody = room
        .set("alice", member, "bob", json!({ "membership": "invite" }))
        .await;
    assert!(matches!(nobody, Err(AppendError::Invalid(_))));
    let absent = room
        .set(
            "alice",
            member,
            "@bob:cairn.test",
            json!({ "membership": "leave" }),
        )
        .await;
    assert!(is_forbidden(absent));
    room.set(
        "alice",
        member,
        "@bob:cairn.test",
        json!({ "membership": "invite" }),
    )
    .await
    .unwrap();
    room.join("bob").await.unwrap();
    room.set(
        "bob",
        member,
        "@bob:cairn.test",
        json!({ "membership": "join", "displayname": "Bobby" }),
    )
    .await
    .unwrap();
    let view = room.rooms.store().snapshot();
    let viewer = room.who("alice").viewer();
    let joined = room
        .rooms
        .joined_members(&view, &room.room_id, viewer)
        .unwrap();
    assert_eq!(
        super::parsed(&joined),
        json!({ "@alice:cairn.test": {}, "@bob:cairn.test": { "display_name": "Bobby" } })
    );
}

#[tokio::test]
async fn leaving_everything_leaves_everything() {
    let room = TestRoom::with(["alice", "bob"]).await;
    room.rooms.leave_all(room.who("bob"), None).await.unwrap();
    assert_eq!(membership(&room, "bob"), "leave");
    let view = room.rooms.store().snapshot();
    assert!(
        joined_rooms(&view, room.who("bob").user)
            .unwrap()
            .is_empty()
    );
}
