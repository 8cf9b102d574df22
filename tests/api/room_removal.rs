//! Rooms are closed and deleted, history is removed, what somebody said is redacted.

use std::time::Duration;

use harness::{Server, Synced, User, escape, eventually};
use serde_json::{Value, json};

const V1: &str = "/_synapse/admin/v1";
const V2: &str = "/_synapse/admin/v2";

/// A server with an administrator and two others.
async fn house() -> (Server, User, User, User) {
    let server = Server::start();
    let api = server.api();
    let boss = api.register_as("boss").await;
    let (anna, otto) = (api.register_as("anna").await, api.register_as("otto").await);
    server.cairn_json(&["user", "promote", "boss"]);
    (server, boss, anna, otto)
}

fn verbs(server: &Server, room: &str) -> Vec<String> {
    let told = server.cairn_json(&["audit", "show", "--room", room, "--limit", "1000"]);
    let entries = told["entries"].as_array().unwrap().iter();
    entries
        .map(|entry| entry["verb"].as_str().unwrap().to_owned())
        .collect()
}

fn bodies(page: &Value) -> Vec<&str> {
    let chunk = page["chunk"].as_array().unwrap().iter();
    chunk
        .filter_map(|event| event["content"]["body"].as_str())
        .collect()
}

#[tokio::test]
async fn a_room_is_closed_and_opened_again() {
    let (server, _boss, anna, otto) = house().await;
    let room = anna.public_room().await;
    anna.say(&room, "before").await;
    let closed = ["room", "close", &room, "--reason", "over"];
    assert_eq!(server.cairn_json(&closed)["was_closed"], false);
    let said = json!({ "msgtype": "m.text", "body": "after" });
    let refused = anna.try_send_event(&room, "m.room.message", said).await;
    let refused = refused.refused(403, "M_FORBIDDEN");
    let why = refused["error"].as_str().unwrap();
    assert!(why.contains("closed") && why.contains("over"), "{why}");
    let join = format!("v3/join/{}", escape(&room));
    otto.post(&join, json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    let page = anna
        .get(format!("v3/rooms/{room}/messages?dir=b"))
        .await
        .ok();
    assert_eq!(bodies(&page), ["before"]);
    // A second administrator closes it again: nothing more happens.
    assert_eq!(server.cairn_json(&closed)["was_closed"], true);
    server.cairn_json(&["room", "reopen", &room, "--reason", "a mistake"]);
    otto.join(&room).await;
    otto.say(&room, "again").await;
    let told = verbs(&server, &room);
    let closings = told.iter().filter(|verb| *verb == "room.closed");
    assert_eq!(closings.count(), 2, "{told:?}");
    // With everybody out, nothing of it is lost.
    let emptied = ["room", "close", &room, "--empty", "--reason", "over"];
    assert_eq!(server.cairn_json(&emptied)["state"], "done");
    let shown = server.cairn_json(&["room", "show", &room]);
    assert_eq!(
        json!([shown["joined_members"], shown["closed"]]),
        json!([0, true])
    );
}

#[tokio::test]
async fn of_a_deleted_room_only_the_record_is_left() {
    let (server, boss, anna, otto) = house().await;
    let room = anna
        .create_room(json!({
            "preset": "public_chat", "name": "Roads", "room_alias_name": "roads",
            "visibility": "public",
        }))
        .await;
    otto.join(&room).await;
    let said = otto.say(&room, "a word to be found").await;
    anna.redact(&room, &anna.say(&room, "oops").await).await;
    let before: Synced = otto.sync().await;
    assert!(before.joined(&room).is_object());
    let moderator = server.cairn(&["room", "delete", &room, "--confirm", "another"]);
    assert!(!moderator.status.success());
    let body = json!({ "block": true, "message": "gone", "new_room_user_id": boss.user_id });
    let begun = boss.delete(format!("{V2}/rooms/{room}"), body).await.ok();
    let id = begun["delete_id"].as_str().unwrap();
    let path = format!("{V2}/rooms/delete_status/{id}");
    let done = async || {
        let status = boss.get(&path).await.ok();
        (status["status"] == "complete").then_some(status)
    };
    let status = eventually("the room is gone", 20, done).await;
    let down = &status["shutdown_room"];
    assert_eq!(down["local_aliases"], json!(["#roads:localhost"]));
    let mut out: Vec<&str> = Vec::new();
    out.extend(
        down["kicked_users"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str),
    );
    out.sort_unstable();
    assert_eq!(out, [anna.user_id.as_str(), otto.user_id.as_str()]);
    let by_room = boss
        .get(format!("{V2}/rooms/{room}/delete_status"))
        .await
        .ok();
    assert_eq!(by_room["results"][0]["delete_id"], id);

    // Who was in it learns that they are out, and is in the room that says why.
    let after = otto.sync_since(&before).await;
    let left = after.left(&room);
    assert!(left.is_object(), "{left}");
    let new_room = down["new_room_id"].as_str().unwrap();
    let page = otto
        .get(format!("v3/rooms/{new_room}/messages?dir=b"))
        .await
        .ok();
    assert_eq!(bodies(&page), ["gone"]);
    // Nobody finds it, and nobody comes in.
    for path in [
        format!("v3/rooms/{room}/messages?dir=b"),
        format!("v3/rooms/{room}/state"),
        format!("v3/rooms/{room}/event/{}", escape(&said)),
    ] {
        let status = otto.get(&path).await.status;
        assert!([403, 404].contains(&status), "{path}: {status}");
    }
    otto.get("v3/directory/room/%23roads:localhost")
        .await
        .refused(404, "M_NOT_FOUND");
    let join = format!("v3/join/{}", escape(&room));
    otto.post(&join, json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    boss.get(format!("{V1}/rooms/{room}"))
        .await
        .refused(404, "M_NOT_FOUND");
    boss.get(format!("{V1}/fetch_event/{}", escape(&said)))
        .await
        .refused(404, "M_NOT_FOUND");
    let first = anna.sync().await;
    assert!(first.left(&room).is_null() && first.joined(&room).is_null());
    let search = json!({ "search_categories": { "room_events": { "search_term": "word" } } });
    let found = otto.post("v3/search", search).await.ok();
    assert_eq!(found["search_categories"]["room_events"]["count"], 0);
    // The register and the audit trail tell of it.
    let told = verbs(&server, &room);
    for verb in [
        "room.created",
        "room.membership",
        "room.removed",
        "room.purged",
    ] {
        assert!(told.iter().any(|it| it == verb), "{verb}: {told:?}");
    }
    let stays = server.cairn_json(&["register", "person", "otto"]);
    let stays = stays["stays"].to_string();
    assert!(stays.contains(&room) && stays.contains("Roads"), "{stays}");
    assert_eq!(server.cairn_json(&["audit", "verify"])["ok"], true);
}

#[tokio::test]
async fn a_deletion_that_is_killed_goes_on() {
    let (mut server, _boss, anna, otto) = house().await;
    let room = anna.room_with(&[&otto]).await;
    let kept = anna.room_with(&[&otto]).await;
    anna.say(&kept, "stays").await;
    let mut saying = tokio::task::JoinSet::new();
    for speaker in 0..25 {
        let (anna, room) = (anna.clone(), room.clone());
        saying.spawn(async move {
            for number in 0..40 {
                anna.say(&room, &format!("{speaker}-{number}")).await;
            }
        });
    }
    while let Some(said) = saying.join_next().await {
        said.unwrap();
    }
    server.stop();
    // Begun while no server runs, done by the one that is killed again and again.
    let begun = server.cairn_json(&["room", "delete", &room, "--confirm", &room]);
    let id = begun["id"].as_str().unwrap().to_owned();
    let mut kills = 0;
    let ended = loop {
        server.restart();
        tokio::time::sleep(Duration::from_millis(5 + 3 * kills)).await;
        let status = server.cairn_json(&["room", "purge-status", &id]);
        if status["state"] == "done" {
            break status;
        }
        assert_ne!(status["state"], "failed", "{status}");
        server.kill9();
        kills += 1;
        assert!(kills < 200, "{status}");
    };
    assert!(ended["done"].as_u64().unwrap() >= 1_000, "{ended}");
    let rooms = server.cairn_json(&["room", "list"]);
    assert_eq!(rooms["total"], 1, "{rooms}");
    let synced = anna.sync().await;
    assert!(synced.joined(&room).is_null());
    assert!(synced.joined(&kept).is_object());
    let events = server.cairn_json(&["database", "show"])["events"].clone();
    assert!(events.as_u64().unwrap() < 60, "{events}");
    // Deleting it again is refused in words: it is not there.
    let again = server.cairn(&["room", "delete", &room, "--confirm", &room]);
    assert!(!again.status.success());
}

#[tokio::test]
async fn history_is_removed_and_what_somebody_said_redacted() {
    let (server, boss, anna, otto) = house().await;
    let room = anna.room_with(&[&otto]).await;
    let mut said = Vec::new();
    for number in 0..12 {
        said.push(otto.say(&room, &number.to_string()).await);
    }
    let path = format!("{V1}/purge_history/{room}/{}", escape(&said[6]));
    boss.post(&path, json!({ "delete_local_events": true }))
        .await
        .ok();
    let shrunk = async || {
        let page = anna
            .get(format!("v3/rooms/{room}/messages?dir=b&limit=100"))
            .await
            .ok();
        (bodies(&page).len() == 6).then_some(())
    };
    eventually("history is shorter", 10, shrunk).await;
    otto.event(&room, &said[5])
        .await
        .refused(404, "M_NOT_FOUND");
    otto.event(&room, &said[6]).await.ok();
    let unknown = format!("{V1}/purge_history/{room}/$none");
    boss.post(&unknown, json!({}))
        .await
        .refused(404, "M_NOT_FOUND");
    anna.post(&path, json!({}))
        .await
        .refused(403, "M_FORBIDDEN");

    let path = format!("{V1}/user/{}/redact", otto.user_id);
    let begun = boss
        .post(&path, json!({ "rooms": [], "reason": "spam", "limit": 3 }))
        .await
        .ok();
    let status = format!(
        "{V1}/user/redact_status/{}",
        begun["redact_id"].as_str().unwrap()
    );
    let redacted = async || {
        let status = boss.get(&status).await.ok();
        (status["status"] == "complete").then_some(status)
    };
    let status = eventually("three are redacted", 10, redacted).await;
    assert_eq!(status["failed_redactions"], json!({}));
    let page = anna
        .get(format!("v3/rooms/{room}/messages?dir=b&limit=100"))
        .await
        .ok();
    assert_eq!(bodies(&page), ["8", "7", "6"]);
    let all = ["moderation", "redact", "otto", "--reason", "spam"];
    assert_eq!(server.cairn_json(&all)["state"], "done");
    let page = anna
        .get(format!("v3/rooms/{room}/messages?dir=b&limit=100"))
        .await
        .ok();
    assert_eq!(bodies(&page), Vec::<&str>::new());
    let tasks = boss.get(format!("{V1}/scheduled_tasks")).await.ok();
    assert_eq!(tasks["scheduled_tasks"].as_array().unwrap().len(), 3);
    let told = server.cairn_json(&["audit", "show", "--verb", "room.redacted"]);
    assert_eq!(told["entries"][0]["on"], otto.user_id.as_str());
    assert_eq!(told["entries"][0]["reason"], "spam");
}

#[tokio::test]
async fn two_administrators_who_begin_the_same_have_begun_it_once() {
    let (server, boss, anna, _) = house().await;
    server.cairn_json(&["user", "promote", "anna"]);
    let room = boss.public_room().await;
    for number in 0..50 {
        boss.say(&room, &number.to_string()).await;
    }
    let path = format!("{V2}/rooms/{room}");
    let (one, other) = tokio::join!(boss.delete(&path, json!({})), anna.delete(&path, json!({})));
    let begun = [one.status, other.status];
    let taken = begun.iter().filter(|status| **status == 200).count();
    assert_eq!(taken, 1, "{begun:?}");
    let gone = async || {
        let rooms = boss.get(format!("{V1}/rooms")).await.ok();
        (rooms["total_rooms"] == 0).then_some(())
    };
    eventually("the room is gone", 20, gone).await;
    let told = verbs(&server, &room);
    assert_eq!(
        told.iter().filter(|verb| *verb == "room.removed").count(),
        1
    );
    assert_eq!(told.iter().filter(|verb| *verb == "room.purged").count(), 1);
}
