//! Messages, state and redactions.

use graph::{Reason, Version};
use model::tables;
use serde_json::json;
use store::Read as _;

use super::{TestRoom, is_forbidden};
use crate::{AppendError, CreateRoom, Preset};

#[tokio::test]
async fn a_repeated_transaction_makes_one_event() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let message = json!({ "msgtype": "m.text", "body": "once" });
    let first = room.send_as("alice", message.clone(), "1").await.unwrap();
    let again = room.send_as("alice", message.clone(), "1").await.unwrap();
    assert_eq!(first, again);
    let of_bob = room.send_as("bob", message.clone(), "1").await.unwrap();
    assert_ne!(first, of_bob);
    let redacted = room
        .rooms
        .redact(room.who("alice"), &room.room_id, &first, "1", None)
        .await
        .unwrap();
    assert_ne!(first, redacted);
    let seen = room.event("alice", &first).unwrap();
    assert_eq!(seen["unsigned"]["transaction_id"], "1");
    let seen = room.event("bob", &first).unwrap();
    assert!(seen["unsigned"]["transaction_id"].is_null());
}

#[tokio::test]
async fn the_volume_is_that_of_all_events() {
    let room = TestRoom::with(["alice"]).await;
    let before = crate::volume(&room.rooms.store().snapshot()).unwrap();
    let event = room.say("alice", &"ä".repeat(100)).await.unwrap();
    let view = room.rooms.store().snapshot();
    let after = crate::volume(&view).unwrap();
    assert!(before.events > 1);
    assert_eq!(after.events, before.events + 1);
    let serial = view.get(&tables::EVENT_BY_ID, &event.to_string()).unwrap();
    let stored = view.get(&tables::EVENT_BY_SERIAL, &serial.unwrap());
    let length = stored.unwrap().unwrap().json.len() as u64;
    assert!(length > 200);
    assert_eq!(after.canonical_bytes, before.canonical_bytes + length);
}

#[tokio::test]
async fn bad_content_is_refused() {
    let room = TestRoom::with(["alice"]).await;
    let send = async |json: &str| {
        let who = room.who("alice");
        let sent = room
            .rooms
            .send(who, &room.room_id, "m.room.message", "1", json.as_bytes())
            .await;
        sent.unwrap_err()
    };
    assert!(matches!(
        send("{").await,
        AppendError::Refused(Reason::NotJson(_))
    ));
    assert!(matches!(
        send("[]").await,
        AppendError::Refused(Reason::BadFormat(_))
    ));
    assert!(matches!(
        send("{\"a\":1.5}").await,
        AppendError::Refused(Reason::BadFormat(_))
    ));
    let large = json!({ "body": "x".repeat(65_536) }).to_string();
    assert!(matches!(
        send(&large).await,
        AppendError::Refused(Reason::TooLarge { .. })
    ));
    let long = "x".repeat(256);
    let refused = room.set("alice", &long, "", json!({})).await.unwrap_err();
    assert!(matches!(
        refused,
        AppendError::Refused(Reason::TooLarge { .. })
    ));
    let create = room.set("alice", "m.room.create", "", json!({})).await;
    assert!(matches!(create, Err(AppendError::Refused(_))));
}

#[tokio::test]
async fn strangers_and_the_powerless_are_refused() {
    let mut room = TestRoom::with(["alice", "bob"]).await;
    room.arrive("carol").await;
    assert!(is_forbidden(room.say("carol", "hello").await));
    assert!(is_forbidden(
        room.set("bob", "m.room.name", "", json!({ "name": "mine" }))
            .await
    ));
    room.set("alice", "m.room.name", "", json!({ "name": "ours" }))
        .await
        .unwrap();
    let elsewhere = "!elsewhere:cairn.test".try_into().unwrap();
    let here = std::mem::replace(&mut room.room_id, elsewhere);
    assert!(matches!(
        room.say("alice", "hello").await,
        Err(AppendError::UnknownRoom)
    ));
    room.room_id = here;
    room.say("alice", "still works").await.unwrap();
}

#[tokio::test]
async fn the_same_state_again_makes_no_event() {
    let room = TestRoom::with(["alice"]).await;
    let name = json!({ "name": "ours" });
    let first = room
        .set("alice", "m.room.name", "", name.clone())
        .await
        .unwrap();
    assert_eq!(
        room.set("alice", "m.room.name", "", name).await.unwrap(),
        first
    );
    let other = room
        .set("alice", "m.room.name", "", json!({ "name": "mine" }))
        .await
        .unwrap();
    let seen = room.event("alice", &other).unwrap();
    assert_eq!(seen["unsigned"]["prev_content"]["name"], "ours");
    assert_eq!(seen["unsigned"]["replaces_state"], first.as_str());
}

#[tokio::test]
async fn power_levels_decide_who_speaks() {
    let room = TestRoom::with(["alice", "bob"]).await;
    let levels = room.state("alice", "m.room.power_levels", "").unwrap();
    let mut quiet = levels.clone();
    quiet["events_default"] = json!(50);
    room.set("alice", "m.room.power_levels", "", quiet.clone())
        .await
        .unwrap();
    assert!(is_forbidden(room.say("bob", "hello").await));
    room.say("alice", "quiet please").await.unwrap();
    quiet["users"]["@bob:cairn.test"] = json!(50);
    room.set("alice", "m.room.power_levels", "", quiet.clone())
        .await
        .unwrap();
    room.say("bob", "hello").await.unwrap();
    quiet["users"]["@bob:cairn.test"] = json!(100);
    assert!(is_forbidden(
        room.set("bob", "m.room.power_levels", "", quiet).await
    ));
}

#[tokio::test]
async fn redaction_takes_the_content_away() {
    for version in Version::KNOWN {
        let mut room = TestRoom::server(["alice", "bob", "carol"]).await;
        let wish = CreateRoom {
            version: Some(version.as_str().to_owned()),
            preset: Some(Preset::PublicChat),
            ..CreateRoom::default()
        };
        room.create("alice", wish).await.unwrap();
        room.join("bob").await.unwrap();
        room.join("carol").await.unwrap();
        let secret = room.say("bob", "secret").await.unwrap();
        let redact = async |name, reason: &str| {
            let who = room.who(name);
            let transaction_id = room.rooms.store().next_serial().to_string();
            let reason = Some(reason.to_owned());
            room.rooms
                .redact(who, &room.room_id, &secret, &transaction_id, reason)
                .await
        };
        assert!(is_forbidden(redact("carol", "not mine").await));
        let redaction = redact("bob", "my mistake").await.unwrap();
        redact("alice", "again").await.unwrap();
        let seen = room.event("carol", &secret).unwrap();
        assert_eq!(seen["content"], json!({}));
        let because = &seen["unsigned"]["redacted_because"];
        assert_eq!(because["event_id"], redaction.as_str());
        assert_eq!(because["content"]["reason"], "my mistake");
        assert_eq!(because["redacts"], secret.as_str());
        let page = room
            .page(
                "carol",
                &super::request(ruma_common::api::Direction::Backward, 50),
            )
            .unwrap();
        assert!(!page.chunk.concat().contains("secret"), "in {version}");
    }
}

#[tokio::test]
async fn a_redaction_sent_as_an_event_redacts() {
    let mut room = TestRoom::with(["alice"]).await;
    let secret = room.say("alice", "secret").await.unwrap();
    let send = async |room: &TestRoom, content: serde_json::Value| {
        let json = content.to_string();
        let transaction_id = room.rooms.store().next_serial().to_string();
        room.rooms
            .send(
                room.who("alice"),
                &room.room_id,
                "m.room.redaction",
                &transaction_id,
                json.as_bytes(),
            )
            .await
    };
    assert!(send(&room, json!({})).await.is_err());
    // What is not here yet may come: the redaction waits for it.
    send(&room, json!({ "redacts": "$unknown" })).await.unwrap();
    send(&room, json!({ "redacts": secret })).await.unwrap();
    assert_eq!(room.event("alice", &secret).unwrap()["content"], json!({}));
    // An event of another room is not here.
    let other = room.say("alice", "another").await.unwrap();
    room.create("alice", CreateRoom::default()).await.unwrap();
    let elsewhere = send(&room, json!({ "redacts": other })).await;
    assert!(matches!(elsewhere, Err(AppendError::UnknownTarget)));
}
