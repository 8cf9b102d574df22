//! What is told of a room where events of another server are missing.

use std::sync::Arc;

use accounts::Session;
use graph::{AuthState, Draft, Event, Parents, Received, SigningKey, Version, build};
use model::tables;
use rooms::{Arrival, CreateRoom, Incoming, room_serial};
use ruma_common::{OwnedEventId, RoomId, owned_server_name, owned_user_id};
use serde_json::{Value, json};
use store::Read;

use super::house::House;

const VERSION: Version = Version::V11;

/// The state of a room.
fn state(house: &House, room_id: &RoomId) -> Vec<Arc<Event>> {
    let view = house.rooms.store().snapshot();
    let room = room_serial(&view, room_id.as_str()).unwrap().unwrap();
    let rows = view.scan(&tables::STATE_BY_ROOM, &(room,));
    rows.map(|row| {
        let stored = view.get(&tables::EVENT_BY_SERIAL, &row.unwrap().1);
        let stored = stored.unwrap().unwrap();
        let event_id = OwnedEventId::try_from(stored.event_id).unwrap();
        let json = stored.json.to_vec();
        let event = Event::from_stored(json, event_id, VERSION, room_id.to_owned(), false);
        Arc::new(event.unwrap())
    })
    .collect()
}

/// An event of a person of another server behind the given ones.
fn by_eve(
    house: &House,
    room_id: &RoomId,
    prev_events: Vec<OwnedEventId>,
    depth: u64,
    (event_type, state_key, content): (&str, Option<&str>, Value),
) -> Event {
    let draft = Draft {
        event_type: event_type.to_owned(),
        state_key: state_key.map(str::to_owned),
        content: serde_json::from_value(content).unwrap(),
        sender: owned_user_id!("@eve:b.test"),
        redacts: None,
        origin_server_ts: 1_700_000_000_000 + depth,
        sticky: None,
    };
    let auth: AuthState = state(house, room_id).into_iter().collect();
    let auth_events = auth.auth_events(VERSION, &draft).unwrap();
    let parents = Parents { prev_events, depth };
    let key = SigningKey::generate([9; 32], "b".to_owned()).unwrap();
    let server = owned_server_name!("b.test");
    build(
        VERSION,
        Some(room_id),
        draft,
        parents,
        &auth_events,
        &key,
        &server,
    )
    .unwrap()
}

async fn receive(house: &House, room_id: &RoomId, incoming: Incoming) {
    let view = house.rooms.store().snapshot();
    let room = room_serial(&view, room_id.as_str()).unwrap().unwrap();
    drop(view);
    let arrivals = house.rooms.receive(room, vec![incoming]).await.unwrap();
    assert!(
        matches!(arrivals[..], [Arrival::Accepted(_)]),
        "{arrivals:?}"
    );
}

fn incoming(event: Event) -> Incoming {
    Incoming::new(Received {
        event,
        redacted: false,
    })
}

fn said(text: &str) -> (&'static str, Option<&'static str>, Value) {
    ("m.room.message", None, json!({ "body": text }))
}

/// What a timeline says, and whether it is limited.
async fn told(
    house: &House,
    who: &Session,
    since: Option<&str>,
    room: &RoomId,
) -> (Vec<String>, bool) {
    let messages = json!({ "room": { "timeline": { "types": ["m.room.message"] } } });
    let answer = house.v3(who, since.map(str::to_owned), messages).await;
    let timeline = &answer["rooms"]["join"][room.as_str()]["timeline"];
    let events = timeline["events"].as_array().unwrap().iter();
    let body = |event: &Value| event["content"]["body"].as_str().unwrap().to_owned();
    (events.map(body).collect(), timeline["limited"] == true)
}

#[tokio::test]
async fn a_timeline_ends_at_a_gap_and_says_so() {
    let house = House::new();
    let alice = house.person("alice").await;
    let wish = CreateRoom {
        version: Some(VERSION.as_str().to_owned()),
        ..CreateRoom::default()
    };
    let room = house.room(&alice, wish).await;
    let last = house.say(&alice, &room, "first").await.unwrap();
    let join = json!({ "membership": "join" });
    let join = ("m.room.member", Some("@eve:b.test"), join);
    let join = by_eve(&house, &room, vec![last], 100, join);
    let joined = join.event_id().to_owned();
    receive(&house, &room, incoming(join)).await;
    let since = house.v3(&alice, None, json!({})).await;
    let since = since["next_batch"].as_str();
    house.say(&alice, &room, "hi").await.unwrap();

    let missing = by_eve(&house, &room, vec![joined], 101, said("missing"));
    let lost = missing.event_id().to_owned();
    let mut across = incoming(by_eve(
        &house,
        &room,
        vec![lost.clone()],
        102,
        said("across"),
    ));
    let ids = state(&house, &room)
        .iter()
        .map(|event| event.event_id().to_owned())
        .collect();
    across.prev_states.insert(lost, ids);
    receive(&house, &room, across).await;
    house.say(&alice, &room, "on").await.unwrap();

    let behind = (vec!["across".to_owned(), "on".to_owned()], true);
    assert_eq!(told(&house, &alice, since, &room).await, behind);
    assert_eq!(told(&house, &alice, None, &room).await, behind);

    // Who followed the room has missed it, also when others have filled the gap since.
    let mut filled = incoming(missing);
    filled.is_history = true;
    receive(&house, &room, filled).await;
    assert_eq!(told(&house, &alice, since, &room).await, behind);
    let all = ["first", "missing", "hi", "across", "on"];
    let (mut shown, limited) = told(&house, &alice, None, &room).await;
    assert!(!limited);
    shown.sort();
    let mut all = all.map(str::to_owned).to_vec();
    all.sort();
    assert_eq!(shown, all);
}
