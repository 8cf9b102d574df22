//! `/_synapse/admin/v1/send_server_notice`: what the server says to its users.

use harness::User;
use serde_json::{Value, json};

use crate::shared_secret::with_administrator;

const PATH: &str = "/_synapse/admin/v1/send_server_notice";

fn notice(to: &User, body: &str) -> Value {
    json!({ "user_id": to.user_id, "content": { "msgtype": "m.text", "body": body } })
}

/// The room of the one invitation that a user has.
async fn invitation(user: &User) -> String {
    let synced = user.sync().await;
    let invited = synced.0["rooms"]["invite"]
        .as_object()
        .expect("invitations");
    assert_eq!(invited.len(), 1, "{invited:?}");
    let (room, invitation) = invited.iter().next().unwrap();
    let state = invitation["invite_state"]["events"].as_array().unwrap();
    assert!(
        state
            .iter()
            .all(|event| event["sender"] == "@_server:localhost"),
        "{state:?}"
    );
    room.clone()
}

#[tokio::test]
async fn the_server_speaks_to_a_user_in_one_room() {
    let (server, admin) = with_administrator().await;
    let api = server.api();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    // Only administrators let it speak.
    api.post(PATH, notice(&bob, "mine"))
        .await
        .refused(401, "M_MISSING_TOKEN");
    alice
        .post(PATH, notice(&bob, "mine"))
        .await
        .refused(403, "M_FORBIDDEN");
    assert!(bob.sync().await.0["rooms"]["invite"].is_null());

    let sent = admin
        .post(PATH, notice(&alice, "The office is closed."))
        .await
        .ok();
    let room = invitation(&alice).await;
    alice
        .post(&format!("v3/rooms/{room}/leave"), json!({}))
        .await
        .refused(403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM");
    alice.join(&room).await;
    let event_id = sent["event_id"].as_str().unwrap();
    let read = alice
        .get(&format!("v3/rooms/{room}/event/{event_id}"))
        .await
        .ok();
    assert_eq!(read["content"]["body"], "The office is closed.");
    assert_eq!(read["sender"], "@_server:localhost");
    let tags = alice
        .get(&format!("v3/user/{}/rooms/{room}/tags", alice.user_id))
        .await
        .ok();
    assert!(tags["tags"]["m.server_notice"].is_object(), "{tags}");
    // Nobody answers there.
    alice
        .put(
            &format!("v3/rooms/{room}/send/m.room.message/1"),
            json!({ "msgtype": "m.text", "body": "When does it open?" }),
        )
        .await
        .refused(403, "M_FORBIDDEN");
    // Who has left is invited to the same room.
    alice.leave(&room).await;
    admin
        .post(PATH, notice(&alice, "It is open again."))
        .await
        .ok();
    assert_eq!(invitation(&alice).await, room);
    // Others have rooms of their own.
    admin.post(PATH, notice(&bob, "Welcome.")).await.ok();
    assert_ne!(invitation(&bob).await, room);
}

#[tokio::test]
async fn a_notice_with_a_transaction_id_is_sent_once() {
    let (server, admin) = with_administrator().await;
    let alice = server.api().register("alice").await;
    let path = format!("{PATH}/once");
    let first = admin.put(&path, notice(&alice, "hello")).await.ok();
    let again = admin.put(&path, notice(&alice, "hello")).await.ok();
    assert_eq!(first["event_id"], again["event_id"]);
    let other = format!("{PATH}/twice");
    let other = admin.put(&other, notice(&alice, "hello")).await.ok();
    assert_ne!(first["event_id"], other["event_id"]);
}

#[tokio::test]
async fn a_notice_needs_somebody_to_read_it() {
    let (_server, admin) = with_administrator().await;
    for (body, status, code) in [
        (
            json!({ "user_id": "@nobody:localhost", "content": {} }),
            404,
            "M_NOT_FOUND",
        ),
        (
            json!({ "user_id": "@alice:elsewhere.test", "content": {} }),
            404,
            "M_NOT_FOUND",
        ),
        (
            json!({ "user_id": "@_server:localhost", "content": {} }),
            404,
            "M_NOT_FOUND",
        ),
        (json!({ "content": {} }), 400, "M_BAD_JSON"),
        (
            json!({ "user_id": admin.user_id, "content": [] }),
            400,
            "M_BAD_JSON",
        ),
    ] {
        admin.post(PATH, body).await.refused(status, code);
    }
}
