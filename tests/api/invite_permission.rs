//! Who does not want to be invited.

use harness::User;
use serde_json::{Value, json};

use crate::server;

async fn set(user: &User, event_type: &str, content: Value) {
    let path = format!("v3/user/{}/account_data/{event_type}", user.user_id);
    user.put(path, content).await.ok();
}

const STABLE: &str = "m.invite_permission_config";
const FILTERS: &str = "org.matrix.msc4155.invite_permission_config";

#[tokio::test]
async fn who_blocks_invitations_gets_none() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.create_room(json!({})).await;
    let earlier = alice.create_room(json!({ "invite": [bob.user_id] })).await;
    assert!(bob.sync().await.invited(&earlier).is_object());
    set(&bob, STABLE, json!({ "default_action": "block" })).await;
    alice
        .act_on("invite", &room, &bob)
        .await
        .refused(403, "M_INVITE_BLOCKED");
    alice
        .try_set_state(
            &room,
            "m.room.member",
            &bob.user_id,
            json!({ "membership": "invite" }),
        )
        .await
        .refused(403, "M_INVITE_BLOCKED");
    alice
        .post("v3/createRoom", json!({ "invite": [bob.user_id] }))
        .await
        .refused(403, "M_INVITE_BLOCKED");
    // Those that were there already are not told.
    assert!(bob.sync().await.invited(&earlier).is_null());
    set(&bob, STABLE, json!({})).await;
    assert!(bob.sync().await.invited(&earlier).is_object());
    alice.invite(&room, &bob).await;
    let synced = bob.sync().await;
    assert!(synced.invited(&room).is_object());
}

#[tokio::test]
async fn filters_tell_people_apart() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let levels = json!({ "invite": 0 });
    let wish = json!({ "preset": "public_chat", "power_level_content_override": levels });
    let room = alice.create_room(wish).await;
    carol.join(&room).await;
    set(
        &bob,
        FILTERS,
        json!({ "enabled": true, "blocked_users": [alice.user_id] }),
    )
    .await;
    alice
        .act_on("invite", &room, &bob)
        .await
        .refused(403, "M_INVITE_BLOCKED");
    carol.invite(&room, &bob).await;
    assert!(bob.sync().await.invited(&room).is_object());
    bob.leave(&room).await;
    // Ignored: the inviter sees no difference, the invited nothing.
    set(
        &bob,
        FILTERS,
        json!({ "ignored_servers": ["*"], "allowed_users": [carol.user_id] }),
    )
    .await;
    alice.invite(&room, &bob).await;
    assert!(bob.sync().await.invited(&room).is_null());
    bob.leave(&room).await;
    carol.invite(&room, &bob).await;
    assert!(bob.sync().await.invited(&room).is_object());
}
