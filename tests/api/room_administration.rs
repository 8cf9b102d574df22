//! What administrators read of rooms that they are not in.

use harness::{Server, User, escape};
use serde_json::{Value, json};

const V1: &str = "/_synapse/admin/v1";

async fn house() -> (Server, User, User) {
    let server = Server::start();
    let api = server.api();
    let boss = api.register_as("boss").await;
    let anna = api.register_as("anna").await;
    server.cairn_json(&["user", "promote", "boss"]);
    (server, boss, anna)
}

fn bodies(events: &Value) -> Vec<&str> {
    let events = events.as_array().unwrap().iter();
    events
        .filter_map(|event| event["content"]["body"].as_str())
        .collect()
}

#[tokio::test]
async fn messages_are_read_and_that_is_told() {
    let (server, boss, anna) = house().await;
    let room = anna.create_room(json!({ "name": "Plans" })).await;
    let mut said = Vec::new();
    for number in 0..5 {
        said.push(anna.say(&room, &number.to_string()).await);
    }
    anna.redact(&room, &said[1]).await;
    let path = format!("{V1}/rooms/{room}/messages");
    let page = boss.get(format!("{path}?dir=b&limit=3")).await.ok();
    assert_eq!(bodies(&page["chunk"]), ["4", "3"], "{page}");
    let end = page["end"].as_str().unwrap();
    let page = boss
        .get(format!("{path}?dir=b&limit=100&from={end}"))
        .await
        .ok();
    assert_eq!(bodies(&page["chunk"]), ["2", "0"]);
    assert!(page["end"].is_null());
    let filter = escape(r#"{"types":["m.room.name"]}"#);
    let page = boss
        .get(format!("{path}?limit=100&filter={filter}"))
        .await
        .ok();
    assert_eq!(page["chunk"].as_array().unwrap().len(), 1);
    let context = boss
        .get(format!(
            "{V1}/rooms/{room}/context/{}?limit=2",
            escape(&said[2])
        ))
        .await
        .ok();
    assert_eq!(context["event"]["content"]["body"], "2");
    assert_eq!(bodies(&context["events_after"]), ["3"]);
    let first = boss
        .get(format!("{V1}/rooms/{room}/timestamp_to_event?ts=0&dir=f"))
        .await
        .ok();
    let create = boss
        .get(format!(
            "{V1}/fetch_event/{}",
            escape(first["event_id"].as_str().unwrap())
        ))
        .await
        .ok();
    assert_eq!(create["event"]["type"], "m.room.create");
    let ends = boss
        .get(format!("{V1}/rooms/{room}/forward_extremities"))
        .await
        .ok();
    assert_eq!(ends["count"], 1);
    server.cairn_json(&["user", "promote", "anna", "--role", "moderator"]);
    for path in ["messages", "timestamp_to_event?ts=0"] {
        anna.get(format!("{V1}/rooms/{room}/{path}"))
            .await
            .refused(403, "M_FORBIDDEN");
    }
    boss.get(format!("{path}?from=nonsense"))
        .await
        .refused(400, "M_INVALID_PARAM");
    let told = server.cairn_json(&["audit", "show", "--room", &room, "--verb", "room.read"]);
    assert_eq!(told["entries"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_space_is_gone_through() {
    let (_server, boss, anna) = house().await;
    let space = |name: &str| json!({ "name": name, "creation_content": { "type": "m.space" } });
    let top = anna.create_room(space("Top")).await;
    let inner = anna.create_room(space("Inner")).await;
    let room = anna.create_room(json!({ "name": "Leaf" })).await;
    let via = json!({ "via": ["localhost"] });
    for (parent, child) in [(&top, &inner), (&inner, &room), (&inner, &top)] {
        anna.set_state(parent, "m.space.child", child, via.clone())
            .await;
    }
    let path = format!("{V1}/rooms/{top}/hierarchy");
    let ids = |page: &Value| -> Vec<String> {
        let rooms = page["rooms"].as_array().unwrap().iter();
        rooms
            .map(|room| room["room_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = boss.get(&path).await.ok();
    assert_eq!(ids(&all), [top.clone(), inner.clone(), room.clone()]);
    assert_eq!(
        all["rooms"][0]["children_state"][0]["state_key"],
        inner.as_str()
    );
    let flat = boss.get(format!("{path}?max_depth=1")).await.ok();
    assert_eq!(ids(&flat), [top.clone(), inner.clone()]);
    let page = boss.get(format!("{path}?limit=2")).await.ok();
    let next = page["next_batch"].as_str().unwrap();
    let rest = boss.get(format!("{path}?from={next}")).await.ok();
    assert_eq!(ids(&rest), [room]);
    let sizes = boss
        .get(format!("{V1}/statistics/database/rooms"))
        .await
        .ok();
    assert_eq!(sizes["rooms"].as_array().unwrap().len(), 3);
    assert!(sizes["rooms"][0]["estimated_size"].as_u64().unwrap() > 1_000);
}
