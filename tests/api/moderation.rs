//! Kicking, banning, unbanning and power levels.

use harness::{Api, User};
use serde_json::{Value, json};

use crate::server;

/// A public room of alice (creator), a moderator (50), bob and carol (0).
async fn room_of_four(api: &Api) -> (String, User, User, User, User) {
    let alice = api.register("alice").await;
    let moderator = api.register("moderator").await;
    let (bob, carol) = (api.register("bob").await, api.register("carol").await);
    let room = alice
        .create_room(json!({
            "preset": "public_chat",
            "power_level_content_override": { "users": { &moderator.user_id: 50 } },
        }))
        .await;
    for member in [&moderator, &bob, &carol] {
        member.join(&room).await;
    }
    (room, alice, moderator, bob, carol)
}

async fn membership(viewer: &User, room: &str, user: &User) -> Value {
    viewer
        .state(room, "m.room.member", &user.user_id)
        .await
        .ok()["membership"]
        .clone()
}

#[tokio::test]
async fn a_moderator_kicks_and_others_do_not() {
    let (room, alice, moderator, bob, carol) = room_of_four(&server()).await;
    bob.act_on("kick", &room, &carol)
        .await
        .refused(403, "M_FORBIDDEN");
    moderator
        .act_on("kick", &room, &alice)
        .await
        .refused(403, "M_FORBIDDEN");
    let body = json!({ "user_id": bob.user_id, "reason": "enough" });
    moderator
        .post(format!("v3/rooms/{room}/kick"), body)
        .await
        .ok();
    let member = alice.state(&room, "m.room.member", &bob.user_id).await.ok();
    assert_eq!(
        (&member["membership"], &member["reason"]),
        (&json!("leave"), &json!("enough"))
    );
    bob.join(&room).await;
}

#[tokio::test]
async fn who_is_not_there_cannot_be_kicked() {
    let api = server();
    let (room, alice, _, bob, _) = room_of_four(&api).await;
    let outsider = api.register("outsider").await;
    alice
        .act_on("kick", &room, &outsider)
        .await
        .refused(403, "M_FORBIDDEN");
    outsider
        .act_on("kick", &room, &bob)
        .await
        .refused(403, "M_FORBIDDEN");
    assert_eq!(membership(&alice, &room, &bob).await, "join");
}

#[tokio::test]
async fn the_banned_stay_out_until_they_are_unbanned() {
    let (room, alice, moderator, bob, carol) = room_of_four(&server()).await;
    bob.act_on("ban", &room, &carol)
        .await
        .refused(403, "M_FORBIDDEN");
    moderator.act_on("ban", &room, &bob).await.ok();
    assert_eq!(membership(&alice, &room, &bob).await, "ban");
    bob.post(format!("v3/rooms/{room}/join"), json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    bob.try_send_event(&room, "m.test", json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    alice
        .act_on("invite", &room, &bob)
        .await
        .refused(403, "M_FORBIDDEN");
    carol
        .act_on("unban", &room, &bob)
        .await
        .refused(403, "M_FORBIDDEN");
    moderator.act_on("unban", &room, &bob).await.ok();
    assert_eq!(membership(&alice, &room, &bob).await, "leave");
    bob.join(&room).await;
}

#[tokio::test]
async fn somebody_can_be_banned_who_was_never_there() {
    let api = server();
    let (room, alice, ..) = room_of_four(&api).await;
    let outsider = api.register("outsider").await;
    alice.act_on("ban", &room, &outsider).await.ok();
    outsider
        .post(format!("v3/rooms/{room}/join"), json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn only_the_banned_are_unbanned() {
    let (room, alice, _, bob, _) = room_of_four(&server()).await;
    alice
        .act_on("unban", &room, &bob)
        .await
        .refused(403, "M_FORBIDDEN");
    assert_eq!(membership(&alice, &room, &bob).await, "join");
}

#[tokio::test]
async fn nobody_raises_a_level_above_their_own() {
    let (room, alice, moderator, bob, _) = room_of_four(&server()).await;
    let levels = alice.state(&room, "m.room.power_levels", "").await.ok();
    let mut raised = levels.clone();
    raised["users"][&bob.user_id] = json!(75);
    let answer = moderator
        .try_set_state(&room, "m.room.power_levels", "", raised)
        .await;
    answer.refused(403, "M_FORBIDDEN");
    let mut lowered = levels.clone();
    lowered["users"][&moderator.user_id] = json!(0);
    let answer = bob
        .try_set_state(&room, "m.room.power_levels", "", lowered)
        .await;
    answer.refused(403, "M_FORBIDDEN");
    assert_eq!(
        alice.state(&room, "m.room.power_levels", "").await.ok(),
        levels
    );
}

#[tokio::test]
async fn levels_decide_who_sends_what() {
    let (room, alice, moderator, bob, _) = room_of_four(&server()).await;
    let name = json!({ "name": "new" });
    bob.try_set_state(&room, "m.room.name", "", name.clone())
        .await
        .refused(403, "M_FORBIDDEN");
    moderator.set_state(&room, "m.room.name", "", name).await;
    let mut levels = alice.state(&room, "m.room.power_levels", "").await.ok();
    levels["events_default"] = json!(50);
    levels["events"]["m.reaction"] = json!(0);
    alice
        .set_state(&room, "m.room.power_levels", "", levels)
        .await;
    bob.try_send_event(&room, "org.example.word", json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    bob.send_event(&room, "m.reaction", json!({})).await;
    moderator.say(&room, "quiet please").await;
}

#[tokio::test]
async fn membership_is_not_forged_through_state() {
    let (room, _, moderator, bob, carol) = room_of_four(&server()).await;
    let join = json!({ "membership": "join" });
    let answer = moderator
        .try_set_state(&room, "m.room.member", &bob.user_id, join)
        .await;
    answer.refused(403, "M_FORBIDDEN");
    let ban = json!({ "membership": "ban" });
    let answer = bob
        .try_set_state(&room, "m.room.member", &carol.user_id, ban.clone())
        .await;
    answer.refused(403, "M_FORBIDDEN");
    moderator
        .set_state(&room, "m.room.member", &bob.user_id, ban)
        .await;
    assert_eq!(membership(&carol, &room, &bob).await, "ban");
}
