//! Rooms that members of other rooms may join.

use harness::{Answer, User};
use serde_json::{Value, json};

use crate::server;

fn allow(rooms: &[&str]) -> Value {
    let conditions = rooms
        .iter()
        .map(|room| json!({ "type": "m.room_membership", "room_id": room }));
    conditions.collect()
}

async fn restricted(alice: &User, version: &str, rule: &str, allow: Value, more: Value) -> String {
    let rules = json!({ "join_rule": rule, "allow": allow });
    let mut options = json!({
        "room_version": version,
        "initial_state": [{ "type": "m.room.join_rules", "content": rules }],
    });
    let more = more.as_object().unwrap().clone();
    options.as_object_mut().unwrap().extend(more);
    alice.create_room(options).await
}

async fn try_join(user: &User, room: &str) -> Answer {
    user.post(format!("v3/rooms/{room}/join"), json!({})).await
}

async fn authorised_by(user: &User, room: &str, who: &User) -> Value {
    let member = user.state(room, "m.room.member", &who.user_id).await.ok();
    member["join_authorised_via_users_server"].clone()
}

#[tokio::test]
async fn members_of_a_named_room_come_in_and_others_do_not() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let club = alice.room_with(&[&bob]).await;
    for (version, rule) in [
        ("8", "restricted"),
        ("9", "restricted"),
        ("10", "restricted"),
        ("10", "knock_restricted"),
        ("11", "knock_restricted"),
        ("12", "restricted"),
        ("12", "knock_restricted"),
    ] {
        let room = restricted(&alice, version, rule, allow(&[&club]), json!({})).await;
        try_join(&carol, &room).await.refused(403, "M_FORBIDDEN");
        bob.join(&room).await;
        let by = authorised_by(&alice, &room, &bob).await;
        assert_eq!(by, alice.user_id.as_str(), "{version} {rule}");
        // A new profile does not repeat how one came in.
        let path = format!("v3/profile/{}/displayname", bob.user_id);
        bob.put(path, json!({ "displayname": format!("Bob {room}") }))
            .await
            .ok();
        assert_eq!(authorised_by(&alice, &room, &bob).await, Value::Null);
        let knock = carol.post(format!("v3/knock/{room}"), json!({})).await;
        if rule == "knock_restricted" {
            knock.ok();
        } else {
            knock.refused(403, "M_FORBIDDEN");
        }
        alice.invite(&room, &carol).await;
        carol.join(&room).await;
        assert_eq!(authorised_by(&alice, &room, &carol).await, Value::Null);
    }
}

#[tokio::test]
async fn versions_that_do_not_know_the_rule_let_nobody_in() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let club = alice.room_with(&[&bob]).await;
    for (version, rule) in [("7", "restricted"), ("9", "knock_restricted")] {
        let room = restricted(&alice, version, rule, allow(&[&club]), json!({})).await;
        try_join(&bob, &room).await.refused(403, "M_FORBIDDEN");
        // Their rules know public rooms, and invitations to those of rules they know.
        alice.invite(&room, &bob).await;
        try_join(&bob, &room).await.refused(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn each_way_of_being_refused_has_its_code() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let club = alice.room_with(&[&bob]).await;
    let unknown = allow(&["!nothing:localhost"]);
    for (allow, status, errcode) in [
        (json!([]), 403, "M_FORBIDDEN"),
        (
            json!([{ "type": "org.example.other" }, 7]),
            403,
            "M_FORBIDDEN",
        ),
        (unknown, 400, "M_UNABLE_TO_AUTHORISE_JOIN"),
    ] {
        let room = restricted(&alice, "12", "restricted", allow, json!({})).await;
        try_join(&bob, &room).await.refused(status, errcode);
    }
    // One room that is known is enough, and one that the user has left is not.
    let rooms = allow(&["!nothing:localhost", &club]);
    let room = restricted(&alice, "12", "restricted", rooms, json!({})).await;
    bob.leave(&club).await;
    try_join(&bob, &room).await.refused(403, "M_FORBIDDEN");
    bob.join(&club).await;
    bob.join(&room).await;
    alice.act_on("ban", &room, &bob).await.ok();
    try_join(&bob, &room).await.refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn somebody_with_the_power_to_invite_must_be_there() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let club = alice.room_with(&[&bob, &carol]).await;
    let levels = json!({ "power_level_content_override": {
        "invite": 50, "users": { &alice.user_id: 100, &carol.user_id: 50 },
    } });
    let room = restricted(&alice, "11", "restricted", allow(&[&club]), levels).await;
    carol.join(&room).await;
    alice.leave(&room).await;
    bob.join(&room).await;
    assert_eq!(
        authorised_by(&carol, &room, &bob).await,
        carol.user_id.as_str()
    );
    bob.leave(&room).await;
    carol.leave(&room).await;
    try_join(&bob, &room)
        .await
        .refused(400, "M_UNABLE_TO_GRANT_JOIN");
}

#[tokio::test]
async fn a_client_cannot_name_who_lets_it_in() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let club = alice.public_room().await;
    let room = restricted(&alice, "12", "restricted", allow(&[&club]), json!({})).await;
    let content = json!({
        "membership": "join", "join_authorised_via_users_server": alice.user_id,
    });
    bob.try_set_state(&room, "m.room.member", &bob.user_id, content)
        .await
        .refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn the_rule_may_change() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let club = alice.room_with(&[&bob]).await;
    let room = restricted(&alice, "12", "restricted", allow(&[]), json!({})).await;
    try_join(&bob, &room).await.refused(403, "M_FORBIDDEN");
    let rule = async |content: Value| {
        alice
            .set_state(&room, "m.room.join_rules", "", content)
            .await
    };
    rule(json!({ "join_rule": "restricted", "allow": allow(&[&club]) })).await;
    bob.join(&room).await;
    bob.leave(&room).await;
    rule(json!({ "join_rule": "invite", "allow": allow(&[&club]) })).await;
    try_join(&bob, &room).await.refused(403, "M_FORBIDDEN");
    rule(json!({ "join_rule": "public" })).await;
    bob.join(&room).await;
    assert_eq!(authorised_by(&alice, &room, &bob).await, Value::Null);
}
