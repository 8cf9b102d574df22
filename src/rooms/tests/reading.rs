//! Timelines, contexts and members.

use model::Membership;
use ruma_client_api::filter::RoomEventFilter;
use ruma_common::api::Direction;
use serde_json::{Value, json};

use super::{TestRoom, bodies, parsed, request};
use crate::{ContextRequest, EventFilter, MembershipFilter, PageRequest, PlaceToken};

fn filter(value: Value) -> EventFilter {
    let filter: RoomEventFilter = serde_json::from_value(value).unwrap();
    EventFilter::from(&filter)
}

async fn room_with_messages(count: usize) -> TestRoom {
    let room = TestRoom::with(["alice", "bob"]).await;
    for number in 0..count {
        room.say("alice", &number.to_string()).await.unwrap();
    }
    room
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_overlap() {
    let room = room_with_messages(20).await;
    let whole = room.timeline("bob", Direction::Forward, 1000);
    assert!(whole.len() > 20);
    for limit in [1, 3, 7, 26, 27, 28] {
        assert_eq!(room.timeline("bob", Direction::Forward, limit), whole);
        let mut back = room.timeline("bob", Direction::Backward, limit);
        back.reverse();
        assert_eq!(back, whole, "limit {limit}");
    }
}

#[tokio::test]
async fn a_page_can_be_turned_around_and_stops_where_asked() {
    let room = room_with_messages(10).await;
    let mut back = request(Direction::Backward, 4);
    let page = room.page("bob", &back).unwrap();
    assert_eq!(bodies(&page.chunk), ["9", "8", "7", "6"]);
    let forward = PageRequest {
        from: page.end,
        ..request(Direction::Forward, 2)
    };
    assert_eq!(
        bodies(&room.page("bob", &forward).unwrap().chunk),
        ["6", "7"]
    );
    back.from = page.end;
    back.to = room
        .page(
            "bob",
            &PageRequest {
                limit: 2,
                ..back.clone()
            },
        )
        .unwrap()
        .end;
    back.limit = 100;
    let rest = room.page("bob", &back).unwrap();
    assert_eq!(bodies(&rest.chunk), ["5", "4"]);
    assert_eq!(rest.end, None);
}

#[tokio::test]
async fn a_position_of_the_log_is_a_place_too() {
    let room = room_with_messages(3).await;
    let position = room.rooms.store().snapshot().position();
    room.say("alice", "later").await.unwrap();
    let view = room.rooms.store().snapshot();
    let serial = crate::room_serial(&view, room.room_id.as_str())
        .unwrap()
        .unwrap();
    let place = PlaceToken::at_position(&view, serial, position).unwrap();
    let forward = PageRequest {
        from: Some(place),
        ..request(Direction::Forward, 10)
    };
    assert_eq!(
        bodies(&room.page("bob", &forward).unwrap().chunk),
        ["later"]
    );
}

#[tokio::test]
async fn filters_choose_events() {
    let room = TestRoom::with(["alice", "bob"]).await;
    room.say("alice", "plain").await.unwrap();
    room.send(
        "alice",
        json!({ "msgtype": "m.image", "body": "image", "url": "mxc://cairn.test/1" }),
    )
    .await
    .unwrap();
    room.say("bob", "answer").await.unwrap();
    let chosen = |value| {
        let request = PageRequest {
            filter: filter(value),
            ..request(Direction::Forward, 100)
        };
        bodies(&room.page("bob", &request).unwrap().chunk)
    };
    let message = json!({ "types": ["m.room.message"] });
    assert_eq!(chosen(message), ["plain", "image", "answer"]);
    assert_eq!(chosen(json!({ "contains_url": true })), ["image"]);
    assert_eq!(
        chosen(json!({ "contains_url": false })),
        ["plain", "answer"]
    );
    assert_eq!(
        chosen(json!({ "senders": ["@bob:cairn.test"] })),
        ["answer"]
    );
    assert_eq!(
        chosen(json!({ "not_senders": ["@bob:cairn.test"] })),
        ["plain", "image"]
    );
    assert!(chosen(json!({ "not_types": ["m.room.*"] })).is_empty());
    assert!(chosen(json!({ "rooms": [] })).is_empty());
}

#[tokio::test]
async fn lazy_members_are_those_who_spoke() {
    let room = TestRoom::with(["alice", "bob", "carol"]).await;
    room.say("carol", "hello").await.unwrap();
    let request = PageRequest {
        lazy_load_members: true,
        ..request(Direction::Backward, 1)
    };
    let page = room.page("bob", &request).unwrap();
    let keys: Vec<Value> = page
        .state
        .iter()
        .map(|json| parsed(json)["state_key"].clone())
        .collect();
    assert_eq!(keys, ["@carol:cairn.test"]);
}

#[tokio::test]
async fn a_context_stands_around_its_event() {
    let room = room_with_messages(9).await;
    let middle = room.timeline("bob", Direction::Backward, 100)[4].clone();
    let middle = ruma_common::EventId::parse(middle).unwrap();
    let view = room.rooms.store().snapshot();
    let viewer = room.who("bob").viewer();
    let mut request = ContextRequest {
        limit: 4,
        filter: filter(json!({ "not_types": ["m.room.member"] })),
        lazy_load_members: false,
    };
    let context = |request: &ContextRequest| {
        room.rooms
            .context(&view, &room.room_id, viewer, &middle, request)
            .unwrap()
    };
    let found = context(&request);
    assert_eq!(parsed(&found.event)["content"]["body"], "4");
    assert_eq!(bodies(&found.events_before), ["3", "2"]);
    assert_eq!(bodies(&found.events_after), ["5", "6"]);
    assert!(!found.state.concat().contains("m.room.member\""));
    let older = PageRequest {
        from: Some(found.start),
        ..super::request(Direction::Backward, 1)
    };
    assert_eq!(bodies(&room.page("bob", &older).unwrap().chunk), ["1"]);
    let newer = PageRequest {
        from: Some(found.end),
        ..super::request(Direction::Forward, 1)
    };
    assert_eq!(bodies(&room.page("bob", &newer).unwrap().chunk), ["7"]);
    request.limit = 0;
    request.filter = EventFilter::default();
    request.lazy_load_members = true;
    let alone = context(&request);
    assert!(alone.events_before.is_empty() && alone.events_after.is_empty());
    let members = alone
        .state
        .iter()
        .filter(|json| parsed(json)["type"] == "m.room.member");
    assert_eq!(members.count(), 1);
}

#[tokio::test]
async fn members_are_listed_as_asked() {
    let mut room = TestRoom::with(["alice", "bob", "carol"]).await;
    room.arrive("dave").await;
    let before = room
        .page("alice", &request(Direction::Backward, 1))
        .unwrap()
        .start;
    room.kick("alice", "carol").await.unwrap();
    room.invite("alice", "dave").await.unwrap();
    let view = room.rooms.store().snapshot();
    let viewer = room.who("bob").viewer();
    let members = |at, membership, not_membership| {
        let filter = MembershipFilter {
            membership,
            not_membership,
        };
        let members = room.rooms.members(&view, &room.room_id, viewer, at, filter);
        let mut keys: Vec<String> = members
            .unwrap()
            .iter()
            .map(|json| parsed(json)["state_key"].as_str().unwrap()[1..2].to_owned())
            .collect();
        keys.sort();
        keys.concat()
    };
    assert_eq!(members(None, None, None), "abcd");
    assert_eq!(members(None, Some(Membership::Join), None), "ab");
    assert_eq!(members(None, None, Some(Membership::Join)), "cd");
    assert_eq!(
        members(None, Some(Membership::Join), Some(Membership::Leave)),
        "abd"
    );
    assert_eq!(members(Some(before), Some(Membership::Join), None), "abc");
}

#[tokio::test]
async fn the_invited_see_stripped_state() {
    let mut room = TestRoom::with(["alice"]).await;
    room.arrive("bob").await;
    room.set("alice", "m.room.name", "", json!({ "name": "ours" }))
        .await
        .unwrap();
    room.invite("alice", "bob").await.unwrap();
    let view = room.rooms.store().snapshot();
    let reader = room
        .rooms
        .reader(&view, &room.room_id, room.who("bob").viewer())
        .unwrap();
    let key = (room.who("bob").user, reader.room);
    let record = store::Read::get(&view, &model::tables::MEMBERSHIP_BY_USER, &key)
        .unwrap()
        .unwrap();
    let events = crate::stripped_state(&reader, record.event).unwrap();
    let types: Vec<Value> = events
        .iter()
        .map(|json| parsed(json)["type"].clone())
        .collect();
    assert!(types.contains(&json!("m.room.create")) && types.contains(&json!("m.room.name")));
    let last = parsed(events.last().unwrap());
    assert_eq!(last["content"]["membership"], "invite");
    assert_eq!(last["state_key"], "@bob:cairn.test");
    assert!(last.get("event_id").is_none());
}
