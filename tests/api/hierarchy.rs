//! Spaces, summaries of rooms, and events by their time.

use harness::{User, escape};
use serde_json::{Value, json};

use crate::server;

async fn space(user: &User, children: &[&str]) -> String {
    let children: Value = children
        .iter()
        .enumerate()
        .map(|(index, child)| {
            let order = index.to_string();
            let content = json!({ "via": ["localhost"], "suggested": true, "order": order });
            json!({ "type": "m.space.child", "state_key": child, "content": content })
        })
        .collect();
    let creation = json!({ "type": "m.space" });
    user.create_room(json!({
        "preset": "public_chat", "creation_content": creation, "initial_state": children,
    }))
    .await
}

fn room_ids(answer: &Value) -> Vec<&str> {
    let rooms = answer["rooms"].as_array().unwrap();
    let ids = rooms.iter().map(|room| room["room_id"].as_str().unwrap());
    ids.collect()
}

#[tokio::test]
async fn the_tree_of_a_space_shows_each_what_is_theirs() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let open = alice
        .create_room(json!({ "preset": "public_chat", "name": "Open" }))
        .await;
    let secret = alice.create_room(json!({ "name": "said-secretly" })).await;
    let inner = space(&alice, &[&open]).await;
    let outer = space(&alice, &[&inner, &secret, "!nothing:localhost"]).await;
    let path = format!("v1/rooms/{outer}/hierarchy");
    let whole = alice.get(&path).await.ok();
    assert_eq!(room_ids(&whole), [&outer, &inner, &open, &secret]);
    assert!(whole["next_batch"].is_null());
    let seen = bob.get(&path).await;
    assert!(!seen.text.contains("said-secretly"), "{seen:?}");
    let seen = seen.ok();
    assert_eq!(room_ids(&seen), [&outer, &inner, &open]);
    let children = seen["rooms"][0]["children_state"].as_array().unwrap();
    assert_eq!(children.len(), 3);
    assert_eq!(children[0]["content"]["via"], json!(["localhost"]));
    assert!(children[0]["origin_server_ts"].is_u64() && children[0]["sender"].is_string());
    let entry = &seen["rooms"][2];
    assert_eq!(
        (&entry["name"], &entry["join_rule"]),
        (&json!("Open"), &json!("public"))
    );
    assert_eq!(entry["num_joined_members"], 1);
    assert_eq!(
        (&entry["world_readable"], &entry["guest_can_join"]),
        (&json!(false), &json!(false))
    );
    let shallow = bob.get(format!("{path}?max_depth=1")).await.ok();
    assert_eq!(room_ids(&shallow), [&outer, &inner]);
    bob.get(format!("v1/rooms/{secret}/hierarchy"))
        .await
        .refused(403, "M_FORBIDDEN");
    bob.get("v1/rooms/!nothing:localhost/hierarchy")
        .await
        .refused(403, "M_FORBIDDEN");
    alice
        .anonymous()
        .get(&path)
        .await
        .refused(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn a_tree_comes_in_pages() {
    let alice = server().register("alice").await;
    let mut rooms = Vec::new();
    for _ in 0..4 {
        rooms.push(alice.public_room().await);
    }
    let ids: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let outer = space(&alice, &ids).await;
    let path = format!("v1/rooms/{outer}/hierarchy");
    let whole = alice.get(&path).await.ok();
    let mut found: Vec<String> = Vec::new();
    let mut from = String::new();
    loop {
        let page = alice.get(format!("{path}?limit=2{from}")).await.ok();
        found.extend(room_ids(&page).iter().map(ToString::to_string));
        match page["next_batch"].as_str() {
            Some(next) => from = format!("&from={next}"),
            None => break,
        }
    }
    assert_eq!(found, room_ids(&whole));
    assert_eq!(found.len(), 5);
    for wrong in [
        "limit=0".to_owned(),
        "from=nonsense".to_owned(),
        "max_depth=-1".to_owned(),
        format!("limit=2&max_depth=1{from}"),
        format!("limit=2&suggested_only=true{from}"),
    ] {
        let answer = alice.get(format!("{path}?{wrong}")).await;
        answer.refused(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn a_summary_is_for_those_who_may_come_in() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let name = alice.localpart();
    let encryption = json!({
        "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" },
    });
    let options = json!({
        "preset": "public_chat", "name": "Council", "topic": "Roads", "room_alias_name": name,
        "initial_state": [encryption],
    });
    let room = alice.create_room(options).await;
    let alias = format!("#{name}:localhost");
    for target in [&room, &alias] {
        let path = format!("v1/room_summary/{}", escape(target));
        let summary = bob.get(path).await.ok();
        assert_eq!(summary["room_id"], room.as_str());
        assert_eq!(
            (&summary["name"], &summary["topic"]),
            (&json!("Council"), &json!("Roads"))
        );
        assert_eq!(summary["canonical_alias"], alias);
        assert_eq!(summary["encryption"], "m.megolm.v1.aes-sha2");
        assert_eq!(
            (&summary["room_version"], &summary["membership"]),
            (&json!("12"), &json!("leave"))
        );
    }
    let secret = alice.create_room(json!({ "name": "said-secretly" })).await;
    let path = format!("v1/room_summary/{secret}");
    bob.get(&path).await.refused(404, "M_NOT_FOUND");
    alice.invite(&secret, &bob).await;
    let summary = bob.get(&path).await.ok();
    assert_eq!(summary["membership"], "invite");
    for unknown in ["!nothing:localhost", "#nothing-at-all:localhost"] {
        let path = format!("v1/room_summary/{}", escape(unknown));
        bob.get(path).await.refused(404, "M_NOT_FOUND");
    }
}

#[tokio::test]
async fn an_event_is_found_by_its_time() {
    let api = server();
    let (alice, stranger) = (api.register("alice").await, api.register("stranger").await);
    let room = alice.public_room().await;
    let first = alice.say(&room, "first").await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let second = alice.say(&room, "second").await;
    let sent_at = async |event: &str| {
        let event = alice.event(&room, event).await.ok();
        event["origin_server_ts"].as_u64().unwrap()
    };
    let (at_first, at_second) = (sent_at(&first).await, sent_at(&second).await);
    let path = format!("v1/rooms/{room}/timestamp_to_event");
    for (time, direction, event, at) in [
        (at_first, "f", &first, at_first),
        (at_first + 1, "f", &second, at_second),
        (at_second, "b", &second, at_second),
        (at_second - 1, "b", &first, at_first),
        (at_second + 1_000_000, "b", &second, at_second),
    ] {
        let query = format!("{path}?ts={time}&dir={direction}");
        let found = alice.get(&query).await.ok();
        assert_eq!(
            found,
            json!({ "event_id": event, "origin_server_ts": at }),
            "{query}"
        );
    }
    for (time, direction) in [(at_second + 1, "f"), (1000, "b")] {
        let query = format!("{path}?ts={time}&dir={direction}");
        alice.get(&query).await.refused(404, "M_NOT_FOUND");
    }
    let query = format!("{path}?ts={at_first}&dir=f");
    stranger.get(&query).await.refused(403, "M_FORBIDDEN");
    alice
        .get(format!("{path}?dir=f"))
        .await
        .refused(400, "M_MISSING_PARAM");
    for wrong in ["ts=x&dir=f", "ts=1&dir=x"] {
        let answer = alice.get(format!("{path}?{wrong}")).await;
        answer.refused(400, "M_INVALID_PARAM");
    }
}
