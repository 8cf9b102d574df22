//! What clients asked before `/sync`.

use serde_json::{Value, json};

use crate::server;

fn room<'a>(answer: &'a Value, id: &str) -> Option<&'a Value> {
    let rooms = answer["rooms"].as_array().expect("rooms");
    rooms.iter().find(|room| room["room_id"] == id)
}

#[tokio::test]
async fn an_initial_sync_gives_everything_and_events_go_on_from_there() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let shared = alice.room_with(&[&bob]).await;
    for number in 0..5 {
        alice.say(&shared, &format!("number {number}")).await;
    }
    let invited = alice.create_room(json!({ "invite": [bob.user_id] })).await;
    let left = alice.room_with(&[&bob]).await;
    bob.leave(&left).await;
    bob.put(
        format!("v3/user/{}/account_data/org.example.own", bob.user_id),
        json!({ "a": 1 }),
    )
    .await
    .ok();
    let now = bob.get("v3/initialSync?limit=3").await.ok();
    let joined = room(&now, &shared).expect("the shared room");
    assert_eq!(joined["membership"], "join");
    let chunk = joined["messages"]["chunk"].as_array().unwrap();
    assert_eq!(chunk.len(), 3);
    assert_eq!(chunk[2]["content"]["body"], "number 4");
    assert_eq!(chunk[2]["room_id"], shared.as_str());
    let state = joined["state"].as_array().unwrap();
    assert!(state.iter().any(|event| event["type"] == "m.room.create"));
    assert_eq!(joined["visibility"], "private");
    let invitation = room(&now, &invited).expect("the invitation");
    assert_eq!(invitation["membership"], "invite");
    assert_eq!(invitation["invite"]["state_key"], bob.user_id.as_str());
    assert!(room(&now, &left).is_none());
    let archived = bob.get("v3/initialSync?archived=true").await.ok();
    assert_eq!(room(&archived, &left).unwrap()["membership"], "leave");
    let data = now["account_data"].as_array().unwrap();
    assert!(data.iter().any(|event| event["type"] == "org.example.own"));
    assert!(now["presence"].is_array());
    let end = now["end"].as_str().unwrap();
    let path = format!("v3/events?from={end}&timeout=10000");
    let waits = bob.get(&path);
    let says = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        alice.say(&shared, "news").await
    };
    let (events, said) = tokio::join!(waits, says);
    let mut events = events.ok();
    assert_eq!(events["start"], end);
    // Somebody's presence may come first.
    for _ in 0..5 {
        let chunk = events["chunk"].as_array().unwrap();
        if let Some(event) = chunk
            .iter()
            .find(|event| event["event_id"] == said.as_str())
        {
            assert_eq!(event["room_id"], shared.as_str());
            return;
        }
        let end = events["end"].as_str().unwrap().to_owned();
        events = bob
            .get(format!("v3/events?from={end}&timeout=2000"))
            .await
            .ok();
    }
    panic!("the event did not come: {events}");
}

#[tokio::test]
async fn an_event_is_found_wherever_it_is_by_those_who_may_see_it() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.public_room().await;
    let said = alice.say(&room, "here").await;
    let event = alice.get(format!("v3/events/{said}")).await.ok();
    assert_eq!(event["event_id"], said.as_str());
    assert_eq!(event["room_id"], room.as_str());
    bob.get(format!("v3/events/{said}"))
        .await
        .refused(404, "M_NOT_FOUND");
    bob.get("v3/events/$unknown")
        .await
        .refused(404, "M_NOT_FOUND");
    alice
        .get("v3/events?from=nonsense")
        .await
        .refused_with(&[400]);
    alice
        .get("v3/initialSync?limit=x")
        .await
        .refused_with(&[400]);
    for path in ["v3/initialSync", "v3/events", "v3/events/$x"] {
        let refused = api.anonymous().get(path).await;
        refused.refused(401, "M_MISSING_TOKEN");
    }
}

#[tokio::test]
async fn a_room_is_synced_as_its_member_or_former_member_sees_it() {
    let api = server();
    let (alice, bob) = (api.register("alice").await, api.register("bob").await);
    let room = alice.room_with(&[&bob]).await;
    let path = format!("v3/rooms/{room}/initialSync");
    alice
        .put(
            format!("v3/directory/list/room/{room}"),
            json!({ "visibility": "public" }),
        )
        .await
        .ok();
    alice
        .put(
            format!(
                "v3/user/{}/rooms/{room}/account_data/org.example",
                alice.user_id
            ),
            json!({ "b": 2 }),
        )
        .await
        .ok();
    let now = alice.get(&path).await.ok();
    assert_eq!(now["membership"], "join");
    assert_eq!(now["visibility"], "public");
    assert_eq!(now["account_data"][0]["content"], json!({ "b": 2 }));
    bob.leave(&room).await;
    let late = alice.say(&room, "too late for bob").await;
    let then = bob.get(&path).await.ok();
    assert_eq!(then["membership"], "leave");
    assert!(!then.to_string().contains(&late));
    let carol = api.register("carol").await;
    carol.get(&path).await.refused(403, "M_FORBIDDEN");
    carol
        .get("v3/rooms/!unknown:localhost/initialSync")
        .await
        .refused(403, "M_FORBIDDEN");
}
