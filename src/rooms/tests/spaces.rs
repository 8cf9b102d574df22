//! What people may learn of rooms that they are not in, and events by time.

use model::UserSerial;
use ruma_common::{OwnedRoomId, RoomId, api::Direction};
use serde_json::{Value, json};

use super::{TestRoom, content, parsed, state};
use crate::{CreateRoom, HierarchyRequest, NewEvent, OtherRooms, Preset, ReadError};

fn wish() -> HierarchyRequest {
    HierarchyRequest {
        suggested_only: false,
        max_depth: None,
        limit: 50,
        from: None,
    }
}

fn child(room_id: &RoomId, more: Value) -> NewEvent {
    let mut value = json!({ "via": ["cairn.test"] });
    value
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    state("m.space.child", room_id.as_str(), value)
}

async fn space(room: &mut TestRoom, children: Vec<NewEvent>) -> OwnedRoomId {
    let wish = CreateRoom {
        preset: Some(Preset::PublicChat),
        creation_content: content(json!({ "type": "m.space" })),
        initial_state: children,
        ..CreateRoom::default()
    };
    room.create("alice", wish).await.unwrap()
}

impl TestRoom {
    fn user(&self, name: &str) -> UserSerial {
        self.who(name).user
    }

    /// Nobody tells of a space that is not known here.
    fn others(&self, space: &RoomId) -> OtherRooms {
        OtherRooms::from([(space.to_owned(), None)])
    }

    fn hierarchy(
        &self,
        name: &str,
        space: &RoomId,
        request: &HierarchyRequest,
    ) -> Result<(Vec<Value>, Option<String>), ReadError> {
        let view = self.rooms.store().snapshot();
        let page =
            self.rooms
                .hierarchy(&view, space, self.user(name), request, &self.others(space))?;
        Ok((
            page.rooms.iter().map(|json| parsed(json)).collect(),
            page.next,
        ))
    }

    fn tree(&self, name: &str, space: &RoomId, request: &HierarchyRequest) -> Vec<String> {
        let (rooms, _) = self.hierarchy(name, space, request).unwrap();
        let ids = rooms.iter().map(|room| room["room_id"].as_str().unwrap());
        ids.map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn a_space_is_walked_depth_first_and_each_sees_what_is_theirs() {
    let mut room = TestRoom::server(["alice", "bob"]).await;
    let public = CreateRoom {
        preset: Some(Preset::PublicChat),
        name: Some("Open".to_owned()),
        ..CreateRoom::default()
    };
    let open = room.create("alice", public).await.unwrap();
    let private = room.create("alice", CreateRoom::default()).await.unwrap();
    let unknown = OwnedRoomId::try_from("!unknown:cairn.test").unwrap();
    let inner = space(&mut room, vec![child(&open, json!({}))]).await;
    let children = vec![
        child(&private, json!({ "order": "b" })),
        child(&inner, json!({ "order": "a", "suggested": true })),
        child(&unknown, json!({ "order": "c" })),
        state("m.space.child", "!removed:cairn.test", json!({})),
    ];
    let outer = space(&mut room, children).await;
    // A loop, which ends.
    room.room_id = inner.clone();
    room.set(
        "alice",
        "m.space.child",
        outer.as_str(),
        json!({ "via": ["cairn.test"] }),
    )
    .await
    .unwrap();
    let ids =
        |rooms: &[&OwnedRoomId]| -> Vec<String> { rooms.iter().map(ToString::to_string).collect() };
    assert_eq!(
        room.tree("alice", &outer, &wish()),
        ids(&[&outer, &inner, &open, &private])
    );
    assert_eq!(
        room.tree("bob", &outer, &wish()),
        ids(&[&outer, &inner, &open])
    );
    let mut shallow = wish();
    shallow.max_depth = Some(1);
    assert_eq!(
        room.tree("alice", &outer, &shallow),
        ids(&[&outer, &inner, &private])
    );
    shallow.max_depth = Some(0);
    assert_eq!(room.tree("alice", &outer, &shallow), ids(&[&outer]));
    let mut suggested = wish();
    suggested.suggested_only = true;
    assert_eq!(
        room.tree("alice", &outer, &suggested),
        ids(&[&outer, &inner])
    );
    let (rooms, _) = room.hierarchy("bob", &outer, &wish()).unwrap();
    let children = rooms[0]["children_state"].as_array().unwrap();
    assert_eq!(children.len(), 3, "{children:?}");
    assert_eq!(children[0]["state_key"], inner.as_str());
    assert!(children[0]["origin_server_ts"].is_u64());
    assert_eq!(rooms[0]["room_type"], "m.space");
    assert_eq!(rooms[2]["name"], "Open");
    assert_eq!(rooms[2]["children_state"], json!([]));
    assert_eq!(rooms[2]["num_joined_members"], 1);
    let refused = room.hierarchy("bob", &private, &wish());
    assert!(matches!(refused, Err(ReadError::Forbidden(_))));
    assert!(matches!(
        room.hierarchy("bob", &unknown, &wish()),
        Err(ReadError::Forbidden(_))
    ));
}

#[tokio::test]
async fn a_space_is_paged_and_its_tokens_keep_their_question() {
    let mut room = TestRoom::server(["alice"]).await;
    let mut children = Vec::new();
    for _ in 0..5 {
        let id = room.create("alice", CreateRoom::default()).await.unwrap();
        children.push(child(&id, json!({})));
    }
    let outer = space(&mut room, children).await;
    let whole = room.tree("alice", &outer, &wish());
    assert_eq!(whole.len(), 6);
    let mut request = wish();
    request.limit = 4;
    let (first, next) = room.hierarchy("alice", &outer, &request).unwrap();
    request.from = next;
    assert!(request.from.is_some());
    let (second, end) = room.hierarchy("alice", &outer, &request).unwrap();
    assert_eq!(end, None);
    let ids: Vec<_> = first
        .iter()
        .chain(&second)
        .map(|room| room["room_id"].clone())
        .collect();
    assert_eq!(json!(ids), json!(whole));
    request.max_depth = Some(1);
    for from in [request.from.clone(), Some("nonsense".to_owned())] {
        request.from = from;
        let result = room.hierarchy("alice", &outer, &request);
        assert!(matches!(result, Err(ReadError::Invalid(_))));
    }
}

#[tokio::test]
async fn a_room_is_summed_up_for_those_who_may_come_in() {
    let mut room = TestRoom::with(["alice", "bob"]).await;
    let club = room.room_id.clone();
    room.arrive("carol").await;
    let allow = json!([{ "type": "m.room_membership", "room_id": club }]);
    let cases = [
        (json!({ "join_rule": "public" }), true, true),
        (json!({ "join_rule": "knock" }), true, true),
        (json!({ "join_rule": "invite" }), false, false),
        (json!({ "join_rule": "private" }), false, false),
        (
            json!({ "join_rule": "restricted", "allow": allow }),
            true,
            false,
        ),
        (
            json!({ "join_rule": "knock_restricted", "allow": allow }),
            true,
            true,
        ),
    ];
    for (rules, for_bob, for_carol) in cases {
        let wish = CreateRoom {
            name: Some("Council".to_owned()),
            initial_state: vec![state("m.room.join_rules", "", rules.clone())],
            ..CreateRoom::default()
        };
        room.create("alice", wish).await.unwrap();
        let summary = |name: &str| {
            let view = room.rooms.store().snapshot();
            let target = (&*room.room_id).into();
            room.rooms.room_summary(&view, target, room.user(name))
        };
        let own = parsed(&summary("alice").unwrap());
        assert_eq!(
            (&own["membership"], &own["name"]),
            (&json!("join"), &json!("Council"))
        );
        assert_eq!(own["join_rule"], rules["join_rule"]);
        assert_eq!(own["room_version"], "12");
        let allowed = if allow == rules["allow"] {
            json!([club])
        } else {
            Value::Null
        };
        assert_eq!(own["allowed_room_ids"], allowed);
        for (name, may) in [("bob", for_bob), ("carol", for_carol)] {
            match summary(name) {
                Ok(json) => {
                    assert!(may, "{rules} for {name}");
                    assert_eq!(parsed(&json)["membership"], "leave");
                }
                Err(error) => {
                    assert!(matches!(error, ReadError::NotFound(_)));
                    assert!(!may, "{rules} for {name}");
                }
            }
        }
    }
    room.room_id = club;
    room.ban("alice", "bob").await.unwrap();
    let view = room.rooms.store().snapshot();
    let target = (&*room.room_id).into();
    assert!(
        room.rooms
            .room_summary(&view, target, room.user("bob"))
            .is_err()
    );
}

#[tokio::test]
async fn events_are_found_by_their_time() {
    let mut room = TestRoom::with(["alice"]).await;
    room.arrive("bob").await;
    let begun = room.clock.now().0;
    let mut events = Vec::new();
    for number in 0..20 {
        room.clock.advance(1000);
        events.push(room.say("alice", &number.to_string()).await.unwrap());
    }
    let find = |name: &str, time: u64, direction| {
        let view = room.rooms.store().snapshot();
        let viewer = room.who(name).viewer();
        room.rooms
            .event_at_time(&view, &room.room_id, viewer, time, direction)
    };
    for (index, event) in events.iter().enumerate() {
        let at = begun + 1000 * (index as u64 + 1);
        for (time, direction) in [
            (at, Direction::Forward),
            (at - 999, Direction::Forward),
            (at, Direction::Backward),
            (at + 999, Direction::Backward),
        ] {
            let found = find("alice", time, direction).unwrap();
            assert_eq!(
                (found.event_id.as_str(), found.sent_at),
                (event.as_str(), at)
            );
        }
    }
    let after = find("alice", begun + 100_000, Direction::Forward);
    assert!(matches!(after, Err(ReadError::NotFound(_))));
    let before = find("alice", begun - 1, Direction::Backward);
    assert!(matches!(before, Err(ReadError::NotFound(_))));
    // What was brought over from elsewhere stands behind events that are newer than it.
    let mut old = room.who("alice").clone();
    old.sent_at = Some(begun - 1_000_000);
    let message = content(json!({ "msgtype": "m.text", "body": "imported" }));
    let serial = crate::room_serial(&room.rooms.store().snapshot(), room.room_id.as_str());
    let imported = room
        .rooms
        .append(
            serial.unwrap().unwrap(),
            &old,
            vec![NewEvent::message("m.room.message", message)],
        )
        .await
        .unwrap();
    let view = room.rooms.store().snapshot();
    let viewer = room.who("alice").viewer();
    let (room_id, back) = (&room.room_id, Direction::Backward);
    let before = room
        .rooms
        .event_at_time(&view, room_id, viewer, begun - 1, back);
    assert_eq!(before.unwrap().event_id, imported[0].event_id.as_str());
    let stranger = find("bob", begun, Direction::Forward);
    assert!(matches!(stranger, Err(ReadError::Forbidden(_))));
}
