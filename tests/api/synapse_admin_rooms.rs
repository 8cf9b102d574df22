//! Rooms and the server itself by the endpoints that Synapse's tools ask.

use harness::{escape, eventually};
use serde_json::{Value, json};

use crate::administered::house;

const V1: &str = "/_synapse/admin/v1";

fn rooms(page: &Value) -> Vec<&str> {
    let rooms = page["rooms"].as_array().unwrap().iter();
    rooms
        .map(|room| room["room_id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn rooms_are_listed_searched_and_shown() {
    let (_server, boss, anna, otto) = house().await;
    let roads = anna
        .create_room(json!({
            "name": "Roads", "topic": "Tar", "preset": "public_chat", "visibility": "public",
            "room_alias_name": "roads", "room_version": "11",
        }))
        .await;
    otto.join(&roads).await;
    let attic = anna.create_room(json!({ "name": "Attic" })).await;
    let empty = otto.create_room(json!({ "name": "Empty" })).await;
    otto.leave(&empty).await;
    let all = boss.get(format!("{V1}/rooms")).await.ok();
    assert_eq!(rooms(&all), [&attic, &empty, &roads]);
    assert_eq!(
        (&all["total_rooms"], &all["offset"]),
        (&json!(3), &json!(0))
    );
    for (query, expected) in [
        ("order_by=joined_members", vec![&roads, &attic, &empty]),
        ("order_by=name&dir=b", vec![&roads, &empty, &attic]),
        ("order_by=state_events&limit=1", vec![&roads]),
        ("search_term=OAD", vec![&roads]),
        ("search_term=%23roads", vec![&roads]),
        ("public_rooms=true", vec![&roads]),
        ("empty_rooms=true", vec![&empty]),
        ("empty_rooms=false", vec![&attic, &roads]),
        ("limit=1&from=1", vec![&empty]),
    ] {
        let found = boss.get(format!("{V1}/rooms?{query}")).await.ok();
        assert_eq!(rooms(&found), expected, "{query}");
    }
    let page = boss.get(format!("{V1}/rooms?limit=1&from=1")).await.ok();
    assert_eq!(
        (&page["next_batch"], &page["prev_batch"]),
        (&json!(2), &json!(0))
    );
    let path = format!("{V1}/rooms/{roads}");
    let shown = boss.get(&path).await.ok();
    assert_eq!(
        json!([
            shown["name"],
            shown["topic"],
            shown["canonical_alias"],
            shown["joined_members"],
            shown["joined_local_members"],
            shown["joined_local_devices"],
            shown["creator"],
            shown["public"],
            shown["join_rules"],
            shown["version"],
            shown["tombstoned"],
            shown["federatable"],
        ]),
        json!([
            "Roads",
            "Tar",
            "#roads:localhost",
            2,
            2,
            2,
            anna.user_id,
            true,
            "public",
            "11",
            false,
            true
        ])
    );
    let members = boss.get(format!("{path}/members")).await.ok();
    assert_eq!(
        members,
        json!({ "members": [anna.user_id, otto.user_id], "total": 2 })
    );
    let state = boss
        .get(format!("{path}/state?type=m.room.name"))
        .await
        .ok();
    assert_eq!(state["state"][0]["content"]["name"], "Roads");
    boss.get(format!("{V1}/rooms/!none:localhost"))
        .await
        .refused(404, "M_NOT_FOUND");
    anna.get(&path).await.refused(403, "M_FORBIDDEN");
    let joined = boss
        .get(format!("{V1}/users/{}/joined_rooms", otto.user_id))
        .await
        .ok();
    assert_eq!(joined, json!({ "joined_rooms": [roads], "total": 1 }));
    let all = boss
        .get(format!("{V1}/users/{}/memberships", otto.user_id))
        .await
        .ok();
    assert_eq!(
        all["memberships"],
        json!({ (roads.clone()): "join", (empty.clone()): "leave" })
    );
    let count = format!(
        "{V1}/users/{}/cumulative_joined_room_count?from_ts=0",
        otto.user_id
    );
    assert_eq!(
        boss.get(count).await.ok()["cumulative_joined_room_count"],
        2
    );
}

#[tokio::test]
async fn an_abandoned_room_is_taken_over_and_people_are_brought_in() {
    let (server, boss, anna, otto) = house().await;
    let room = anna.room_with(&[&otto]).await;
    let path = format!("{V1}/rooms/{room}/make_room_admin");
    boss.post(&path, json!({})).await.ok();
    boss.join(&room).await;
    let levels = boss.state(&room, "m.room.power_levels", "").await.ok();
    assert!(
        levels["users"][&boss.user_id].as_i64().unwrap() >= 100,
        "{levels}"
    );
    boss.set_state(&room, "m.room.name", "", json!({ "name": "Taken" }))
        .await;
    // Nobody is left who may: who could gives it away, without staying.
    let other = anna.room_with(&[&otto]).await;
    anna.leave(&other).await;
    let path = format!("{V1}/rooms/{other}/make_room_admin");
    boss.post(&path, json!({ "user_id": otto.user_id }))
        .await
        .ok();
    let levels = otto.state(&other, "m.room.power_levels", "").await.ok();
    assert_eq!(levels["users"][&otto.user_id], 100, "{levels}");
    let member = otto
        .state(&other, "m.room.member", &anna.user_id)
        .await
        .ok();
    assert_eq!(member["membership"], "leave");
    // Where nobody of this server is, or ever could, nothing can be given.
    otto.leave(&other).await;
    let gone = format!("{V1}/rooms/!none:localhost/make_room_admin");
    boss.post(&gone, json!({}))
        .await
        .refused(404, "M_NOT_FOUND");
    // Into a room that one only comes into by invitation.
    let private = anna.create_room(json!({})).await;
    let joined = boss
        .post(
            format!("{V1}/join/{private}"),
            json!({ "user_id": otto.user_id }),
        )
        .await
        .ok();
    assert_eq!(joined["room_id"], private.as_str());
    otto.say(&private, "here I am").await;
    let told = server.cairn_json(&["audit", "show", "--by", "boss", "--verb", "room"]);
    let told = told["entries"].to_string();
    for verb in ["room.taken_over", "room.member_added"] {
        assert!(told.contains(verb), "{verb}: {told}");
    }
    let sent = format!("{V1}/users/{}/sent_invite_count?from_ts=0", anna.user_id);
    let counted = async || {
        let answer = boss.get(&sent).await.ok();
        (answer["invite_count"] == 2).then_some(())
    };
    eventually("the invitations are counted", 10, counted).await;
}

#[tokio::test]
async fn nobody_comes_into_a_blocked_room() {
    let (server, boss, anna, otto) = house().await;
    let room = anna.public_room().await;
    let path = format!("{V1}/rooms/{room}/block");
    assert_eq!(boss.get(&path).await.ok(), json!({ "block": false }));
    assert_eq!(
        boss.put(&path, json!({ "block": true })).await.ok(),
        json!({ "block": true })
    );
    let shown = boss.get(&path).await.ok();
    assert_eq!(shown, json!({ "block": true, "user_id": boss.user_id }));
    let join = format!("v3/join/{}", escape(&room));
    otto.post(&join, json!({}))
        .await
        .refused(403, "M_FORBIDDEN");
    // Also one that nobody here has heard of.
    let unknown = format!("{V1}/rooms/!unknown:example.org/block");
    boss.put(&unknown, json!({ "block": true })).await.ok();
    // Who is in it stays.
    anna.say(&room, "still here").await;
    boss.put(&path, json!({ "block": false })).await.ok();
    otto.join(&room).await;
    let told = server.cairn_json(&["audit", "show", "--room", &room, "--verb", "room.blocked"]);
    assert_eq!(told["entries"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn reading_what_people_wrote_is_told() {
    let (server, boss, anna, _) = house().await;
    let room = anna.create_room(json!({})).await;
    let said = anna.say(&room, "a secret").await;
    let path = format!("{V1}/fetch_event/{}", escape(&said));
    let event = boss.get(&path).await.ok();
    assert_eq!(event["event"]["content"]["body"], "a secret");
    server.cairn_json(&["user", "promote", "anna", "--role", "moderator"]);
    anna.get(&path).await.refused(403, "M_FORBIDDEN");
    let told = server.cairn_json(&["audit", "show", "--on", &said]);
    assert_eq!(told["entries"][0]["verb"], "room.event_read");
    assert_eq!(told["entries"][0]["room"], room.as_str());
    boss.get(format!("{V1}/fetch_event/$none"))
        .await
        .refused(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn the_server_says_what_it_is_and_with_whom_it_speaks() {
    let (_server, boss, anna, _) = house().await;
    let version = boss.get(format!("{V1}/server_version")).await.ok();
    assert!(
        version["server_version"]
            .as_str()
            .unwrap()
            .starts_with("Cairn ")
    );
    let none = boss.get(format!("{V1}/federation/destinations")).await.ok();
    assert_eq!(none, json!({ "destinations": [], "total": 0 }));
    boss.get(format!("{V1}/federation/destinations/example.org"))
        .await
        .refused(404, "M_NOT_FOUND");
    let usage = boss.get(format!("{V1}/statistics/users/media")).await.ok();
    assert_eq!(usage, json!({ "users": [], "total": 0 }));
    let request = anna
        .request(reqwest::Method::POST, "/_matrix/media/v3/upload")
        .header("Content-Type", "image/png")
        .body(vec![7; 1_000]);
    anna.send_request(request).await.ok();
    let usage = boss.get(format!("{V1}/statistics/users/media")).await.ok();
    assert_eq!(
        json!([
            usage["users"][0]["user_id"],
            usage["users"][0]["media_length"],
            usage["total"]
        ]),
        json!([anna.user_id, 1_000, 1])
    );
    let status = boss
        .get(format!("{V1}/background_updates/status"))
        .await
        .ok();
    assert_eq!(status["enabled"], true);
    anna.get(format!("{V1}/server_version"))
        .await
        .refused(403, "M_FORBIDDEN");
}
