//! `PUT /rooms/{roomId}/redact/{eventId}/{txnId}`

use serde_json::json;

use crate::server;

#[tokio::test]
async fn a_redacted_message_is_gone_everywhere() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let said = bob.say(&room, "a slip of the tongue").await;
    let before = alice.sync().await;
    let redaction = bob.redact(&room, &said).await;
    let gone = alice.event(&room, &said).await.ok();
    assert_eq!(gone["content"], json!({}));
    assert_eq!(gone["type"], "m.room.message");
    let because = &gone["unsigned"]["redacted_because"];
    assert_eq!(because["event_id"], redaction.as_str());
    assert_eq!(because["content"]["reason"], "a mistake");
    assert_eq!(because["sender"], bob.user_id.as_str());
    for path in [
        format!("v3/rooms/{room}/messages?dir=b&limit=50"),
        format!("v3/rooms/{room}/context/{said}"),
        "v3/sync".to_owned(),
    ] {
        let answer = alice.get(&path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.text.contains("a slip of the tongue"), "{path}");
    }
    let synced = alice.sync_since(&before).await;
    let event = harness::find_event(synced.timeline(&room), "m.room.redaction").unwrap();
    assert_eq!(event["event_id"], redaction.as_str());
    assert_eq!(event["redacts"], said.as_str());
}

#[tokio::test]
async fn only_the_sender_or_a_moderator_redacts() {
    let api = server();
    let (alice, bob, carol) = (
        api.register("alice").await,
        api.register("bob").await,
        api.register("carol").await,
    );
    let room = alice.room_with(&[&bob, &carol]).await;
    let said = bob.say(&room, "mine").await;
    let path = format!("v3/rooms/{room}/redact/{said}/1");
    carol
        .put(&path, json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    assert_eq!(
        alice.event(&room, &said).await.ok()["content"]["body"],
        "mine"
    );
    alice.put(&path, json!({})).await.ok();
    assert_eq!(carol.event(&room, &said).await.ok()["content"], json!({}));
}

#[tokio::test]
async fn a_transaction_id_redacts_once() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let said = alice.say(&room, "hello").await;
    let path = format!("v3/rooms/{room}/redact/{said}/once");
    let first = alice.put(&path, json!({})).await.ok();
    let second = alice.put(&path, json!({})).await.ok();
    assert_eq!(first["event_id"], second["event_id"]);
}

#[tokio::test]
async fn an_event_of_another_room_is_not_redacted() {
    let api = server();
    let (alice, mallory) = (api.register("alice").await, api.register("mallory").await);
    let room = alice.room_with(&[&mallory]).await;
    let said = alice.say(&room, "stays").await;
    let own = mallory.public_room().await;
    let answer = mallory
        .put(format!("v3/rooms/{own}/redact/{said}/1"), json!({}))
        .await;
    answer.refused_with(&[400, 403, 404]);
    assert_eq!(
        alice.event(&room, &said).await.ok()["content"]["body"],
        "stays"
    );
}

#[tokio::test]
async fn a_redaction_can_be_sent_before_its_event_is_known() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let nothing = format!("${}", "A".repeat(43));
    let answer = alice
        .put(format!("v3/rooms/{room}/redact/{nothing}/1"), json!({}))
        .await
        .ok();
    // It may be on another server, and come later.
    let redaction = alice
        .event(&room, answer["event_id"].as_str().unwrap())
        .await
        .ok();
    assert_eq!(redaction["content"]["redacts"], nothing);
}

#[tokio::test]
async fn redacted_state_loses_its_content() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let named = alice
        .set_state(&room, "m.room.name", "", json!({ "name": "a bad name" }))
        .await;
    alice.redact(&room, &named).await;
    assert_eq!(alice.state(&room, "m.room.name", "").await.ok(), json!({}));
}

#[tokio::test]
async fn a_membership_survives_its_redaction() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let path = format!("v3/profile/{}/displayname", bob.user_id);
    bob.put(path, json!({ "displayname": "Rude Name" }))
        .await
        .ok();
    let room = alice.room_with(&[&bob]).await;
    let path = format!(
        "v3/rooms/{room}/state/m.room.member/{}?format=event",
        bob.user_id
    );
    let event = alice.get(path).await.ok();
    alice
        .redact(&room, event["event_id"].as_str().unwrap())
        .await;
    let member = alice.state(&room, "m.room.member", &bob.user_id).await.ok();
    assert_eq!(member["membership"], "join");
    assert!(member["displayname"].is_null());
    bob.say(&room, "still here").await;
}

#[tokio::test]
async fn a_redaction_of_a_redacted_event_changes_nothing() {
    let alice = server().register("alice").await;
    let room = alice.public_room().await;
    let said = alice.say(&room, "hello").await;
    let first = alice.redact(&room, &said).await;
    alice.redact(&room, &said).await;
    let event = alice.event(&room, &said).await.ok();
    assert_eq!(
        event["unsigned"]["redacted_because"]["event_id"],
        first.as_str()
    );
}
