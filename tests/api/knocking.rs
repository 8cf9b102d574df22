//! Knocking, in every version that knows it.

use harness::{Answer, User, find_event};
use serde_json::{Value, json};

use crate::server;

async fn room(alice: &User, version: &str, rules: Value) -> String {
    let state = json!([{ "type": "m.room.join_rules", "content": rules }]);
    let options = json!({ "room_version": version, "name": "Council", "initial_state": state });
    alice.create_room(options).await
}

async fn knock(user: &User, room: &str) -> Answer {
    user.post(format!("v3/knock/{room}"), json!({ "reason": "please" }))
        .await
}

async fn membership(alice: &User, room: &str, user: &User) -> Value {
    let member = alice.state(room, "m.room.member", &user.user_id).await.ok();
    member["membership"].clone()
}

#[tokio::test]
async fn a_knock_an_invitation_and_a_join_in_every_version() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    for version in ["7", "8", "9", "10", "11", "12"] {
        let room = room(&alice, version, json!({ "join_rule": "knock" })).await;
        let before = bob.sync().await;
        assert_eq!(knock(&bob, &room).await.ok()["room_id"], room.as_str());
        knock(&bob, &room).await.ok();
        let synced = bob.sync_since(&before).await;
        let knocked = &synced.0["rooms"]["knock"][&room]["knock_state"]["events"];
        let events = knocked.as_array().unwrap();
        assert_eq!(
            find_event(events, "m.room.name").unwrap()["content"]["name"],
            "Council"
        );
        let create = find_event(events, "m.room.create").unwrap();
        assert_eq!(create["content"]["room_version"], version);
        for event in events {
            let keys = event.as_object().unwrap().keys();
            let allowed = ["type", "sender", "state_key", "content"];
            // MSC4311.
            let dated = event["type"] == "m.room.create";
            let mut keys = keys.filter(|key| !dated || *key != "origin_server_ts");
            assert!(keys.all(|key| allowed.contains(&key.as_str())), "{event}");
        }
        bob.post(format!("v3/rooms/{room}/join"), json!({}))
            .await
            .refused(403, "M_FORBIDDEN");
        let messages = bob.get(format!("v3/rooms/{room}/messages?dir=b")).await;
        messages.refused(403, "M_FORBIDDEN");
        alice.invite(&room, &bob).await;
        let invited = bob.sync_since(&synced).await;
        assert!(!invited.invited(&room).is_null(), "{version}");
        bob.join(&room).await;
        assert_eq!(membership(&alice, &room, &bob).await, "join");
        knock(&bob, &room).await.refused(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn a_knock_is_taken_back_or_refused() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = room(&alice, "12", json!({ "join_rule": "knock" })).await;
    knock(&bob, &room).await.ok();
    let before = bob.sync().await;
    bob.leave(&room).await;
    assert_eq!(membership(&alice, &room, &bob).await, "leave");
    let synced = bob.sync_since(&before).await;
    assert!(synced.0["rooms"]["knock"][&room].is_null());
    assert!(!synced.left(&room).is_null(), "{:?}", synced.0);
    knock(&bob, &room).await.ok();
    alice.act_on("kick", &room, &bob).await.ok();
    assert_eq!(membership(&alice, &room, &bob).await, "leave");
    knock(&bob, &room).await.ok();
    alice.act_on("ban", &room, &bob).await.ok();
    knock(&bob, &room).await.refused(403, "M_FORBIDDEN");
    alice.act_on("unban", &room, &bob).await.ok();
    knock(&bob, &room).await.ok();
}

#[tokio::test]
async fn only_who_may_invite_answers_a_knock() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = room(&alice, "12", json!({ "join_rule": "knock" })).await;
    let levels = alice.state(&room, "m.room.power_levels", "").await.ok();
    let mut levels = levels.clone();
    levels["invite"] = json!(50);
    alice
        .set_state(&room, "m.room.power_levels", "", levels)
        .await;
    alice.invite(&room, &carol).await;
    carol.join(&room).await;
    knock(&bob, &room).await.ok();
    carol
        .act_on("invite", &room, &bob)
        .await
        .refused(403, "M_FORBIDDEN");
    alice.invite(&room, &bob).await;
    bob.join(&room).await;
}

#[tokio::test]
async fn where_nobody_may_knock() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    for (version, rules) in [
        ("6", json!({ "join_rule": "knock" })),
        ("9", json!({ "join_rule": "knock_restricted", "allow": [] })),
        ("12", json!({ "join_rule": "invite" })),
        ("12", json!({ "join_rule": "public" })),
        ("12", json!({ "join_rule": "restricted", "allow": [] })),
    ] {
        let room = room(&alice, version, rules.clone()).await;
        let answer = knock(&bob, &room).await;
        assert_eq!(answer.status, 403, "{version} {rules}: {answer:?}");
        answer.refused(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn the_rule_may_change_while_somebody_knocks() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = room(&alice, "12", json!({ "join_rule": "knock" })).await;
    knock(&bob, &room).await.ok();
    let rule = async |rule: &str| {
        let content = json!({ "join_rule": rule });
        alice
            .set_state(&room, "m.room.join_rules", "", content)
            .await
    };
    rule("invite").await;
    bob.post(format!("v3/rooms/{room}/join"), json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    // The knock still stands and can be taken back.
    bob.leave(&room).await;
    knock(&bob, &room).await.refused(403, "M_FORBIDDEN");
    rule("knock").await;
    knock(&bob, &room).await.ok();
    rule("public").await;
    bob.join(&room).await;
    assert_eq!(membership(&alice, &room, &bob).await, "join");
}
