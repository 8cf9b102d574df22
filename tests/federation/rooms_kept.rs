//! What administrators decide about rooms that other servers are in: markings, ban lists, deletion.

use harness::neighbours::{Neighbour, World};
use harness::{Answer, User, escape, eventually};
use serde_json::{Value, json};

const MARKINGS: &str = r#"
[rooms]
markings = [{ name = "OPEN" }, { name = "INSIDE", federation = false }]
"#;

async fn try_join(user: &User, room: &str, via: &str) -> Answer {
    let path = format!("v3/join/{}?via={via}", escape(room));
    user.post(path, json!({})).await
}

async fn membership(seen_by: &User, room: &str, whose: &str) -> Value {
    let answer = seen_by.state(room, "m.room.member", whose).await;
    answer.body["membership"].clone()
}

async fn comes_to(seen_by: &User, room: &str, whose: &str, expected: &str) {
    eventually(&format!("{whose}: {expected}"), 20, async || {
        (membership(seen_by, room, whose).await == expected).then_some(())
    })
    .await;
}

async fn two() -> (World, Neighbour, Neighbour, User, User) {
    let world = World::of(&["a.test", "b.test"]);
    let a = world.start_with("a.test", MARKINGS);
    let b = world.start("b.test");
    let alice = a.api.register("alice").await;
    let bob = b.api.register("bob").await;
    (world, a, b, alice, bob)
}

#[tokio::test]
async fn a_marking_puts_other_servers_out_and_keeps_them_out() {
    let (_world, a, _b, alice, bob) = two().await;
    let room = alice.create_room(json!({ "name": "Plans" })).await;
    let carl = a.api.register("carl").await;
    for other in [&bob, &carl] {
        alice.invite(&room, other).await;
    }
    carl.join(&room).await;
    eventually("bob is in it", 20, async || {
        let joined = try_join(&bob, &room, "a.test").await;
        (joined.status == 200).then_some(())
    })
    .await;
    comes_to(&alice, &room, &bob.user_id, "join").await;
    let inside = [
        "room",
        "mark",
        &room,
        "INSIDE",
        "--reason",
        "names of people",
    ];
    let refused = a.server.cairn(&inside);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && why.contains("1 people") && why.contains("b.test"),
        "{why}"
    );
    assert_eq!(membership(&alice, &room, &bob.user_id).await, "join");
    a.server.cairn_json(&[&inside[..], &["--put-out"]].concat());
    assert_eq!(membership(&alice, &room, &bob.user_id).await, "leave");
    // Their server hears of that, and of nothing more.
    comes_to(&bob, &room, &bob.user_id, "leave").await;
    alice.say(&room, "between us").await;
    carl.say(&room, "yes").await;
    try_join(&bob, &room, "a.test")
        .await
        .refused(403, "M_FORBIDDEN");
    alice
        .act_on("invite", &room, &bob)
        .await
        .refused(403, "M_FORBIDDEN");
    let seen = bob
        .get(format!(
            "v3/rooms/{}/messages?dir=b&limit=50",
            escape(&room)
        ))
        .await
        .body
        .to_string();
    assert!(!seen.contains("between us"), "{seen}");
}

#[tokio::test]
async fn servers_that_a_ban_list_names_are_not_spoken_to() {
    let (_world, a, _b, alice, bob) = two().await;
    let room = alice.public_room().await;
    try_join(&bob, &room, "a.test").await.ok();
    let list = alice.public_room().await;
    let rule = json!({ "entity": "b.test", "recommendation": "m.ban", "reason": "spam" });
    alice
        .set_state(&list, "m.policy.rule.server", "b", rule)
        .await;
    let heed = ["moderation", "lists", "subscribe", &list];
    a.server.cairn_json(&heed);
    let other = alice.public_room().await;
    let refused = try_join(&bob, &other, "a.test").await;
    assert_ne!(refused.status, 200);
    alice
        .act_on("invite", &other, &bob)
        .await
        .refused_with(&[400, 403, 502]);
    alice.say(&room, "not for them").await;
    a.server
        .cairn_json(&["moderation", "lists", "unsubscribe", &list]);
    try_join(&bob, &other, "a.test").await.ok();
    comes_to(&alice, &other, &bob.user_id, "join").await;
}

#[tokio::test]
async fn other_servers_hear_that_everybody_has_left_a_deleted_room() {
    let (_world, a, _b, alice, bob) = two().await;
    let room = alice.public_room().await;
    try_join(&bob, &room, "a.test").await.ok();
    comes_to(&alice, &room, &bob.user_id, "join").await;
    let deleted = a
        .server
        .cairn_json(&["room", "delete", &room, "--confirm", &room]);
    assert_eq!(deleted["state"], "done", "{deleted}");
    comes_to(&bob, &room, &alice.user_id, "leave").await;
    // It lives on there, and can be entered anew from there.
    bob.say(&room, "still here").await;
    try_join(&alice, &room, "b.test").await.ok();
    comes_to(&bob, &room, &alice.user_id, "join").await;
    alice.say(&room, "back").await;
}

#[tokio::test]
async fn where_no_room_federates_nobody_goes_into_rooms_elsewhere() {
    let world = World::of(&["a.test", "b.test"]);
    let rules = "[rooms]\nrules = [{ kinds = [\"direct\", \"private\"], federation = false },\n\
        { kinds = [\"public\", \"space\"], federation = false }]";
    let a = world.start_with("a.test", rules);
    let b = world.start("b.test");
    let (alice, bob) = (a.api.register("alice").await, b.api.register("bob").await);
    let room = bob.public_room().await;
    let refused = try_join(&alice, &room, "b.test").await;
    let refused = refused.refused(403, "M_FORBIDDEN");
    let why = refused["error"].as_str().unwrap();
    assert!(why.contains("no rooms of other servers"), "{why}");
    // An invitation says no more than that it can be refused.
    let private = bob.create_room(json!({ "invite": [alice.user_id] })).await;
    let invited = alice.sync().await;
    assert!(invited.0["rooms"]["invite"][&private].is_object());
    let answer = try_join(&alice, &private, "b.test").await;
    answer.refused(403, "M_FORBIDDEN");
    alice.leave(&escape(&private)).await;
    comes_to(&bob, &escape(&private), &alice.user_id, "leave").await;
}
