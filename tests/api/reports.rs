//! Reports of rooms, events and people.

use harness::Server;
use serde_json::json;

#[tokio::test]
async fn reports_reach_the_administrators() {
    let mut server = Server::start();
    let api = server.api();
    let (alice, bob) = (api.register_as("alice").await, api.register_as("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let said = alice.say(&room, "something bad").await;
    let event = format!("v3/rooms/{room}/report/{said}");
    bob.post(&event, json!({ "reason": "it is bad", "score": -80 }))
        .await
        .ok();
    bob.post(&event, json!({})).await.ok();
    // One need not be in the room for this.
    let private = alice.create_room(json!({})).await;
    bob.post(
        format!("v3/rooms/{private}/report"),
        json!({ "reason": "" }),
    )
    .await
    .ok();
    bob.post(
        format!("v3/users/{}/report", alice.user_id),
        json!({ "reason": "she says bad things" }),
    )
    .await
    .ok();
    server.kill9();
    server.restart();
    let listed = server.cairn_json(&["reports"]);
    let reports = listed["reports"].as_array().unwrap();
    assert_eq!(reports.len(), 4, "{listed}");
    assert_eq!(reports[0]["user_id"], alice.user_id.as_str());
    assert_eq!(reports[0]["reason"], "she says bad things");
    assert_eq!(reports[0]["reporter"], bob.user_id.as_str());
    assert_eq!(reports[1]["room_id"], private.as_str());
    assert!(reports[1]["event_id"].is_null());
    assert_eq!(reports[2]["score"], json!(null));
    assert_eq!(reports[3]["event_id"], said.as_str());
    assert_eq!(reports[3]["room_id"], room.as_str());
    assert_eq!(reports[3]["score"], -80);
    assert!(reports[3]["at"].as_u64().unwrap() > 1_600_000_000_000);
    let log = std::fs::read_to_string(server.log_file()).unwrap();
    assert!(
        log.contains("an event was reported"),
        "the operator is told"
    );
    assert!(!log.contains("it is bad"), "the log holds no content");
    let text = server.cairn(&["reports"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("she says bad things"), "{text}");
}

#[tokio::test]
async fn what_one_may_not_see_one_cannot_report() {
    let api = crate::server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.public_room().await;
    let said = alice.say(&room, "x").await;
    let reason = json!({ "reason": "x" });
    let event = format!("v3/rooms/{room}/report/{said}");
    bob.post(&event, reason.clone())
        .await
        .refused(404, "M_NOT_FOUND");
    bob.join(&room).await;
    bob.post(&event, reason.clone()).await.ok();
    bob.post(&event, json!({ "reason": 1 }))
        .await
        .refused_with(&[400]);
    bob.post(&event, json!({ "reason": "x".repeat(5_000) }))
        .await
        .refused(400, "M_INVALID_PARAM");
    for (path, status, errcode) in [
        (
            format!("v3/rooms/{room}/report/$unknown"),
            404,
            "M_NOT_FOUND",
        ),
        (
            format!("v3/rooms/!no:localhost/report/{said}"),
            404,
            "M_NOT_FOUND",
        ),
        (
            "v3/rooms/!no:localhost/report".to_owned(),
            404,
            "M_NOT_FOUND",
        ),
        (
            "v3/users/@no:localhost/report".to_owned(),
            404,
            "M_NOT_FOUND",
        ),
    ] {
        bob.post(path, reason.clone())
            .await
            .refused(status, errcode);
    }
    bob.leave(&room).await;
    bob.post(&event, reason.clone())
        .await
        .refused(404, "M_NOT_FOUND");
    api.anonymous()
        .post(&event, reason)
        .await
        .refused(401, "M_MISSING_TOKEN");
}
