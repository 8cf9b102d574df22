//! People of one server come into rooms of another, are invited to them, knock and go.

use harness::{Synced, User, escape, eventually};
use serde_json::{Value, json};

use harness::neighbours::{Neighbour, World};

async fn two() -> (World, Neighbour, Neighbour) {
    let world = World::of(&["a.test", "b.test"]);
    let (a, b) = (world.start("a.test"), world.start("b.test"));
    (world, a, b)
}

/// `POST /join/{room}?via={server}`
async fn try_join(user: &User, room: &str, via: &str) -> harness::Answer {
    let path = format!("v3/join/{}?via={via}", escape(room));
    user.post(path, json!({})).await
}

async fn membership(seen_by: &User, room: &str, whose: &str) -> Value {
    let answer = seen_by.state(room, "m.room.member", whose).await;
    answer.body["membership"].clone()
}

/// Waits until somebody is told of a membership.
async fn comes_to(seen_by: &User, room: &str, whose: &str, expected: &str) {
    eventually(&format!("{whose}: {expected}"), 15, async || {
        (membership(seen_by, room, whose).await == expected).then_some(())
    })
    .await;
}

async fn invited(user: &User, room: &str) -> Value {
    eventually("an invitation", 15, async || {
        let synced = user.sync().await;
        let found = synced.invited(room).clone();
        (!found.is_null()).then_some(found)
    })
    .await
}

/// Waits until somebody who wants all members is told of a room: they come after the join.
async fn joined(user: &User, room: &str) -> Synced {
    eventually("the room", 15, async || {
        let synced = user.sync().await;
        (!synced.joined(room).is_null()).then_some(synced)
    })
    .await
}

#[tokio::test]
async fn a_room_of_another_server_is_joined_by_id_and_by_alias() {
    let (_world, a, b) = two().await;
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let carl = b.api.register("carl").await;
    for version in ["6", "10", "11", "12"] {
        let name = format!("lounge-{version}");
        let room = alice
            .create_room(json!({
                "room_version": version, "preset": "public_chat", "name": "Lounge",
                "room_alias_name": name,
            }))
            .await;
        try_join(&bob, &room, "a.test").await.ok();
        let state = bob
            .get(format!("v3/rooms/{}/state", escape(&room)))
            .await
            .ok();
        let names: Vec<&str> = state
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["type"].as_str().unwrap())
            .collect();
        for expected in ["m.room.create", "m.room.power_levels", "m.room.name"] {
            assert!(names.contains(&expected), "{version}: {names:?}");
        }
        assert_eq!(membership(&bob, &room, &alice.user_id).await, "join");
        assert_eq!(membership(&alice, &room, &bob.user_id).await, "join");
        let synced = joined(&bob, &room).await;
        assert_eq!(synced.joined(&room)["summary"]["m.joined_member_count"], 2);

        // The next one of the same server needs nobody else.
        let joined = carl
            .post(format!("v3/join/%23{name}:a.test"), json!({}))
            .await
            .ok();
        assert_eq!(joined["room_id"], room);
        assert_eq!(membership(&bob, &room, &carl.user_id).await, "join");
    }
}

#[tokio::test]
async fn whoever_may_not_come_in_is_told_why() {
    let (_world, a, b) = two().await;
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let private = alice.create_room(json!({ "preset": "private_chat" })).await;
    try_join(&bob, &private, "a.test")
        .await
        .refused(403, "M_FORBIDDEN");
    let at_home = alice
        .create_room(json!({
            "preset": "public_chat", "creation_content": { "m.federate": false },
        }))
        .await;
    try_join(&bob, &at_home, "a.test")
        .await
        .refused(403, "M_FORBIDDEN");
    let shut = alice.public_room().await;
    let acl = json!({ "allow": ["*"], "deny": ["b.test"] });
    alice.set_state(&shut, "m.room.server_acl", "", acl).await;
    try_join(&bob, &shut, "a.test")
        .await
        .refused(403, "M_FORBIDDEN");
    let banned = alice.public_room().await;
    alice.act_on("ban", &banned, &bob).await.ok();
    try_join(&bob, &banned, "a.test")
        .await
        .refused(403, "M_FORBIDDEN");
    try_join(&bob, "!nothing:a.test", "a.test")
        .await
        .refused(404, "M_NOT_FOUND");
    // Nobody knows where this is.
    bob.post(
        "v3/join/!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        json!({}),
    )
    .await
    .refused(404, "M_NOT_FOUND");
    try_join(&bob, &banned, "nobody.test")
        .await
        .refused(502, "M_UNKNOWN");
}

#[tokio::test]
async fn an_invitation_is_taken_and_refused_across_servers() {
    let (_world, a, b) = two().await;
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    for version in ["6", "12"] {
        let room = alice
            .create_room(json!({ "room_version": version, "name": "Office" }))
            .await;
        alice.invite(&room, &bob).await;
        assert_eq!(membership(&alice, &room, &bob.user_id).await, "invite");
        let shown = invited(&bob, &room).await;
        let events = shown["invite_state"]["events"].as_array().unwrap();
        let event = |kind: &str| events.iter().find(|event| event["type"] == kind);
        assert_eq!(event("m.room.name").unwrap()["content"]["name"], "Office");
        assert!(event("m.room.create").unwrap().get("hashes").is_none());
        let own = events.last().unwrap();
        assert_eq!(own["state_key"], bob.user_id, "{events:?}");
        assert_eq!(own["content"]["membership"], "invite");

        // The one who invites need not be named.
        bob.join(&room).await;
        assert_eq!(membership(&alice, &room, &bob.user_id).await, "join");
        let synced = joined(&bob, &room).await;
        assert!(synced.invited(&room).is_null());

        let refused = alice.create_room(json!({ "room_version": version })).await;
        alice.invite(&refused, &bob).await;
        let before = bob.sync().await;
        assert!(!before.invited(&refused).is_null());
        bob.leave(&refused).await;
        assert_eq!(membership(&alice, &refused, &bob.user_id).await, "leave");
        let after = bob.sync_since(&before).await;
        assert!(!after.left(&refused).is_null(), "{:?}", after.0);
        assert!(bob.sync().await.invited(&refused).is_null());
    }
}

#[tokio::test]
async fn people_of_another_server_are_invited_when_a_room_is_made() {
    let (_world, a, b) = two().await;
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let room = alice
        .create_room(json!({
            "preset": "trusted_private_chat", "is_direct": true, "invite": [bob.user_id],
        }))
        .await;
    let shown = invited(&bob, &room).await;
    let events = shown["invite_state"]["events"].as_array().unwrap();
    assert_eq!(events.last().unwrap()["content"]["is_direct"], true);
    bob.join(&room).await;
    assert_eq!(membership(&alice, &room, &bob.user_id).await, "join");
}

#[tokio::test]
async fn an_invitation_of_a_server_that_is_gone_can_be_refused() {
    let (_world, mut a, b) = two().await;
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let room = alice.create_room(json!({})).await;
    alice.invite(&room, &bob).await;
    let before = bob.sync().await;
    assert!(!before.invited(&room).is_null());
    a.server.kill9();
    bob.leave(&room).await;
    let after = bob.sync_since(&before).await;
    assert!(!after.left(&room).is_null());
    assert!(bob.sync().await.invited(&room).is_null());
}

#[tokio::test]
async fn who_takes_no_invitations_gets_none() {
    let (_world, a, b) = two().await;
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let room = alice.create_room(json!({})).await;
    bob.put(
        format!(
            "v3/user/{}/account_data/m.invite_permission_config",
            bob.user_id
        ),
        json!({ "default_action": "block" }),
    )
    .await
    .ok();
    alice
        .act_on("invite", &room, &bob)
        .await
        .refused(403, "M_INVITE_BLOCKED");
    let nobody = json!({ "user_id": "@nobody:b.test" });
    alice
        .post(format!("v3/rooms/{room}/invite"), nobody)
        .await
        .refused(403, "M_FORBIDDEN");
    assert_eq!(membership(&alice, &room, &bob.user_id).await, Value::Null);
}

#[tokio::test]
async fn a_knock_is_heard_across_servers() {
    let (_world, a, b) = two().await;
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let rules = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let room = alice
        .create_room(json!({ "name": "Council", "initial_state": rules }))
        .await;
    let knock = format!("v3/knock/{}?via=a.test", escape(&room));
    bob.post(&knock, json!({ "reason": "please" })).await.ok();
    let member = alice.state(&room, "m.room.member", &bob.user_id).await.ok();
    assert_eq!(member["membership"], "knock");
    assert_eq!(member["reason"], "please");
    let synced = bob.sync().await;
    let shown = &synced.0["rooms"]["knock"][&room]["knock_state"]["events"];
    let names = shown.as_array().unwrap().iter();
    let mut names = names.map(|event| event["content"]["name"].as_str());
    assert!(names.any(|name| name == Some("Council")), "{shown}");

    // Taken back, and knocked again.
    bob.leave(&room).await;
    assert_eq!(membership(&alice, &room, &bob.user_id).await, "leave");
    bob.post(&knock, json!({})).await.ok();
    alice.invite(&room, &bob).await;
    invited(&bob, &room).await;
    bob.join(&room).await;
    assert_eq!(membership(&alice, &room, &bob.user_id).await, "join");
}

#[tokio::test]
async fn members_of_one_room_come_into_another_across_servers() {
    let (_world, a, b) = two().await;
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let carl = b.api.register("carl").await;
    for version in ["8", "12"] {
        let club = alice.public_room().await;
        let allow = json!([{ "type": "m.room_membership", "room_id": club }]);
        let rules = json!({ "join_rule": "restricted", "allow": allow });
        let initial = json!([{ "type": "m.room.join_rules", "content": rules }]);
        let room = alice
            .create_room(json!({ "room_version": version, "initial_state": initial }))
            .await;
        try_join(&bob, &room, "a.test")
            .await
            .refused(403, "M_FORBIDDEN");
        try_join(&bob, &club, "a.test").await.ok();
        try_join(&bob, &room, "a.test").await.ok();
        let member = alice.state(&room, "m.room.member", &bob.user_id).await.ok();
        assert_eq!(member["membership"], "join");
        assert_eq!(member["join_authorised_via_users_server"], alice.user_id);

        // Nobody of carl's own server, which is in the room, could let him in.
        try_join(&carl, &room, "a.test")
            .await
            .refused(403, "M_FORBIDDEN");
        try_join(&carl, &club, "a.test").await.ok();
        try_join(&carl, &room, "a.test").await.ok();
        assert_eq!(membership(&bob, &room, &carl.user_id).await, "join");
        comes_to(&alice, &room, &carl.user_id, "join").await;
    }
}

#[tokio::test]
async fn whoever_has_left_can_come_back() {
    let (_world, a, b) = two().await;
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let room = alice.public_room().await;
    try_join(&bob, &room, "a.test").await.ok();
    bob.leave(&room).await;
    assert_eq!(membership(&bob, &room, &bob.user_id).await, "leave");
    comes_to(&alice, &room, &bob.user_id, "leave").await;
    // What happens meanwhile is not told to b.test.
    let topic = json!({ "topic": "meanwhile" });
    alice.set_state(&room, "m.room.topic", "", topic).await;
    try_join(&bob, &room, "a.test").await.ok();
    let topic = bob.state(&room, "m.room.topic", "").await.ok();
    assert_eq!(topic["topic"], "meanwhile");
    assert_eq!(membership(&alice, &room, &bob.user_id).await, "join");

    alice.act_on("kick", &room, &bob).await.ok();
    comes_to(&bob, &room, &bob.user_id, "leave").await;
    try_join(&bob, &room, "a.test").await.ok();
    assert_eq!(membership(&alice, &room, &bob.user_id).await, "join");
}
