//! People of another server come into rooms, and what their server is given.

use graph::{Draft, Event, Parents, Received, SigningKey, Template, Unchecked, VerifyKey, Version};
use model::Membership;
use ruma_common::{EventId, OwnedUserId, RoomId, ServerName, server_name};
use serde_json::{Value, json, value::RawValue};

use super::{TestRoom, content, id, is_forbidden, parsed};
use crate::{AppendError, Arrival, CreateRoom, Incoming, JoinAnswer, Outside, Preset, Rooms};

fn other() -> &'static ServerName {
    server_name!("other.test")
}

fn dave() -> OwnedUserId {
    OwnedUserId::try_from("@dave:other.test").unwrap()
}

fn other_key() -> SigningKey {
    SigningKey::generate([9; 32], "other".to_owned()).unwrap()
}

/// An event with all checks behind it.
fn checked(json: &str, version: Version) -> Received {
    let unchecked = Unchecked::read(json.as_bytes(), version).unwrap();
    let own = SigningKey::generate([7; 32], "a".to_owned()).unwrap();
    let key = |server: &ServerName, _: &str, _: u64| {
        let key = if server == other() {
            other_key().public_base64()
        } else {
            own.public_base64()
        };
        Some(VerifyKey {
            public_key: key,
            valid_until: u64::MAX,
        })
    };
    unchecked.check(key).unwrap()
}

fn received(event: &Event) -> Received {
    checked(event.json(), event.version())
}

/// What the other server makes of a template.
fn made(version: Version, room_id: &RoomId, template: &Template, by: &str, of: &str) -> Event {
    let draft = Draft {
        event_type: "m.room.member".to_owned(),
        state_key: Some(of.to_owned()),
        content: template.content.clone(),
        sender: OwnedUserId::try_from(by).unwrap(),
        redacts: None,
        origin_server_ts: 1_700_000_000_000,
        sticky: None,
    };
    let (parents, auth) = (template.parents.clone(), &template.auth_events);
    graph::propose(
        version,
        room_id,
        draft,
        parents,
        auth,
        &other_key(),
        other(),
    )
    .unwrap()
}

async fn drafted(room: &TestRoom, membership: Membership) -> Result<(Version, Event), AppendError> {
    let (room_id, who) = (&room.room_id, dave());
    let (version, json) = room
        .rooms
        .draft_membership(room_id, &who, membership, None)
        .await?;
    let template = Template::read(json.as_bytes(), room_id, &who, membership.name()).unwrap();
    let event = made(version, room_id, &template, who.as_str(), who.as_str());
    Ok((version, event))
}

async fn bring(room: &TestRoom, received: Received) -> Arrival {
    let part = room.rooms.part_of(&room.room_id).await.unwrap();
    let incoming = vec![Incoming::new(received)];
    let mut arrivals = room.rooms.receive(part.unwrap().0, incoming).await.unwrap();
    arrivals.pop().unwrap()
}

/// Dave comes in.
async fn enter(room: &TestRoom) -> Event {
    let (_, event) = drafted(room, Membership::Join).await.unwrap();
    let arrival = bring(room, received(&event)).await;
    assert!(matches!(arrival, Arrival::Accepted(_)), "{arrival:?}");
    event
}

fn answer(room: &TestRoom, event: &Event, omit_members: bool) -> JoinAnswer {
    let view = room.rooms.store().snapshot();
    room.rooms
        .join_answer(
            &view,
            &room.room_id,
            event.event_id(),
            other(),
            omit_members,
        )
        .unwrap()
}

fn types(events: &[String]) -> Vec<String> {
    let name = |json: &String| parsed(json)["type"].as_str().unwrap().to_owned();
    let mut types: Vec<String> = events.iter().map(name).collect();
    types.sort();
    types
}

#[tokio::test]
async fn a_draft_is_given_to_those_who_may_come() {
    let mut room = TestRoom::with(["alice"]).await;
    let (_, event) = drafted(&room, Membership::Join).await.unwrap();
    assert_eq!(event.sender(), dave());
    let known = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let ask = async |room: &TestRoom, versions| {
        room.rooms
            .draft_membership(&room.room_id, &dave(), Membership::Join, versions)
            .await
    };
    assert!(ask(&room, known(&["11", "12"])).await.is_ok());
    let incompatible = ask(&room, known(&["1", "2"])).await;
    assert!(matches!(
        incompatible,
        Err(AppendError::IncompatibleVersion(Version::V12))
    ));

    let acl = json!({ "allow": ["*"], "deny": ["other.*"] });
    room.set("alice", "m.room.server_acl", "", acl)
        .await
        .unwrap();
    assert!(is_forbidden(drafted(&room, Membership::Join).await));

    let wish = CreateRoom {
        preset: Some(Preset::PrivateChat),
        ..CreateRoom::default()
    };
    room.create("alice", wish).await.unwrap();
    assert!(is_forbidden(drafted(&room, Membership::Join).await));
    assert!(is_forbidden(drafted(&room, Membership::Leave).await));
    assert!(is_forbidden(drafted(&room, Membership::Knock).await));

    // Nobody of this server is in it any more.
    room.leave("alice").await.unwrap();
    let gone = drafted(&room, Membership::Join).await;
    assert!(matches!(gone, Err(AppendError::NotFound(_))));
}

#[tokio::test]
async fn who_comes_in_gets_the_room() {
    let room = TestRoom::with(["alice", "bob"]).await;
    room.leave("bob").await.unwrap();
    let event = enter(&room).await;
    assert_eq!(
        room.state("alice", "m.room.member", "@dave:other.test")
            .unwrap()["membership"],
        "join"
    );
    let whole = answer(&room, &event, false);
    assert_eq!(whole.servers, ["cairn.test"]);
    assert_eq!(parsed(&whole.event)["sender"], "@dave:other.test");
    let names = types(&whole.state);
    assert_eq!(names.iter().filter(|it| *it == "m.room.member").count(), 2);
    assert!(types(&whole.auth_chain).contains(&"m.room.create".to_owned()));

    let small = answer(&room, &event, true);
    let members = small
        .state
        .iter()
        .filter(|it| parsed(it)["type"] == "m.room.member");
    // One, because the room has no name.
    assert_eq!(members.count(), 1);
    let all = [small.state, small.auth_chain].concat();
    let mut ids: Vec<&String> = all.iter().collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all.len());
}

#[tokio::test]
async fn only_servers_in_the_room_are_given_its_graph() {
    let room = TestRoom::with(["alice"]).await;
    let said = room.say("alice", "hello").await.unwrap();
    let view = room.rooms.store().snapshot();
    let refused = room.rooms.served(&view, &room.room_id, other());
    assert!(refused.is_err());
    assert!(room.rooms.served_event(&view, &said, other()).is_err());
    enter(&room).await;
    let view = room.rooms.store().snapshot();
    assert!(room.rooms.served(&view, &room.room_id, other()).is_ok());
    let given = room.rooms.served_event(&view, &said, other()).unwrap();
    assert_eq!(parsed(&given)["content"]["body"], "hello");
    assert!(parsed(&given)["signatures"].is_object());

    let acl = json!({ "allow": ["*"], "deny": ["other.test"] });
    room.set("alice", "m.room.server_acl", "", acl)
        .await
        .unwrap();
    let view = room.rooms.store().snapshot();
    assert!(room.rooms.served_event(&view, &said, other()).is_err());
}

#[tokio::test]
async fn what_was_said_before_is_hidden_where_the_room_says_so() {
    for (rule, seen) in [("joined", false), ("invited", false), ("shared", true)] {
        let room = TestRoom::with(["alice"]).await;
        let rule = json!({ "history_visibility": rule });
        room.set("alice", "m.room.history_visibility", "", rule)
            .await
            .unwrap();
        let before = room.say("alice", "before").await.unwrap();
        enter(&room).await;
        let after = room.say("alice", "after").await.unwrap();
        let view = room.rooms.store().snapshot();
        let body = |event: &EventId| {
            let given = room.rooms.served_event(&view, event, other()).unwrap();
            parsed(&given)["content"]["body"].is_string()
        };
        assert_eq!(body(&before), seen);
        assert!(body(&after));
        let served = room.rooms.served(&view, &room.room_id, other()).unwrap();
        let page = served.backfill(std::slice::from_ref(&after), 100).unwrap();
        assert_eq!(parsed(&page[0])["content"]["body"], "after");
        let hidden = page.iter().any(|json| json.contains("\"before\""));
        assert_eq!(hidden, seen);
        // The graph is whole nevertheless.
        assert_eq!(parsed(page.last().unwrap())["type"], "m.room.create");
    }
}

#[tokio::test]
async fn gaps_are_filled() {
    let room = TestRoom::with(["alice"]).await;
    enter(&room).await;
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(room.say("alice", &number.to_string()).await.unwrap());
    }
    let view = room.rooms.store().snapshot();
    let served = room.rooms.served(&view, &room.room_id, other()).unwrap();
    let bodies = |events: Vec<String>| -> Vec<String> {
        let body = |json: &String| parsed(json)["content"]["body"].as_str().unwrap().to_owned();
        events.iter().map(body).collect()
    };
    let between = served
        .missing_events(&ids[20..21], &ids[25..26], 10, 0)
        .unwrap();
    assert_eq!(bodies(between), ["21", "22", "23", "24"]);
    let nearest = served
        .missing_events(&ids[0..1], &ids[25..26], 3, 0)
        .unwrap();
    assert_eq!(bodies(nearest), ["22", "23", "24"]);
    let most = served
        .missing_events(&ids[0..1], &ids[29..30], 1000, 0)
        .unwrap();
    assert_eq!(most.len(), 20);
    let page = served.backfill(&ids[10..11], 3).unwrap();
    assert_eq!(bodies(page), ["10", "9", "8"]);

    let found = served.state(&ids[0]).unwrap();
    let state = served.jsons(&found.state).unwrap();
    assert!(types(&state).contains(&"m.room.power_levels".to_owned()));
    let chain = served.jsons(&served.auth_chain(&ids[0]).unwrap()).unwrap();
    assert!(types(&chain).contains(&"m.room.create".to_owned()));
    assert!(served.state(&EventId::parse("$nothing").unwrap()).is_err());
}

/// A room of the other server, and an invitation of bob to it.
fn invitation(target: &str) -> (Outside, Template) {
    let room_id = RoomId::parse("!there:other.test").unwrap();
    let name = |name: &str| ruma_common::OwnedEventId::try_from(name).unwrap();
    let template = Template {
        parents: Parents {
            prev_events: vec![name("$before")],
            depth: 7,
        },
        auth_events: vec![name("$allows")],
        content: content(json!({ "membership": "invite" })),
    };
    let event = made(Version::V11, &room_id, &template, dave().as_str(), target);
    let state = json!({
        "type": "m.room.name", "state_key": "", "sender": dave(), "content": { "name": "There" },
        "depth": 3,
    });
    let outside = Outside {
        event,
        version: Version::V11,
        state: vec![RawValue::from_string(state.to_string()).unwrap()],
        servers: vec![other().to_owned()],
    };
    (outside, template)
}

fn membership(rooms: &Rooms, room: &TestRoom, name: &str) -> Option<Membership> {
    let view = rooms.store().snapshot();
    let stays = rooms.stays(&view, room.who(name).user).unwrap();
    stays.values().next().map(|record| record.membership)
}

#[tokio::test]
async fn an_invitation_from_outside_is_known_until_it_is_taken_back() {
    let room = TestRoom::server(["bob"]).await;
    let (rooms, bob) = (&room.rooms, room.who("bob").user);
    let (outside, template) = invitation(id("bob").as_str());
    let event_id = outside.event.event_id().to_owned();
    let room_id = outside.event.room_id().to_owned();
    rooms.set_outside(outside).await.unwrap();
    assert_eq!(membership(rooms, &room, "bob"), Some(Membership::Invite));
    let known = rooms.known_outside(bob, &room_id).await.unwrap().unwrap();
    assert_eq!(known.sender, dave());
    assert_eq!(known.servers, [other().to_owned()]);
    assert!(rooms.part_of(&room_id).await.unwrap().is_none());
    let view = rooms.store().snapshot();
    let reader = rooms
        .reader(&view, &room_id, room.who("bob").viewer())
        .unwrap();
    let member = rooms.outside_member_event(bob, &room_id).await.unwrap();
    assert_eq!(member.event_id(), event_id);
    let serial = reader
        .load_by_id(event_id.as_str())
        .unwrap()
        .unwrap()
        .serial;
    let shown = crate::stripped_state(&reader, serial).unwrap();
    assert_eq!(parsed(&shown[0])["content"]["name"], "There");
    assert_eq!(parsed(&shown[0])["depth"], Value::Null);
    assert_eq!(parsed(&shown[1])["content"]["membership"], "invite");

    // Whoever does not know the invitation cannot take it back.
    let mut back = template;
    back.content = content(json!({ "membership": "leave" }));
    let bob_id = id("bob");
    let leave_by = |by: &str, template: &Template| {
        let event = made(Version::V11, &room_id, template, by, bob_id.as_str());
        received(&event)
    };
    let leave = |template: &Template| leave_by(dave().as_str(), template);
    assert!(!rooms.receive_outside(leave(&back)).await.unwrap());
    assert_eq!(membership(rooms, &room, "bob"), Some(Membership::Invite));
    back.auth_events.push(event_id);
    // Nor can anybody else, of whom nobody here knows what they may do there.
    let other = leave_by("@eve:other.test", &back);
    assert!(!rooms.receive_outside(other).await.unwrap());
    assert_eq!(membership(rooms, &room, "bob"), Some(Membership::Invite));
    assert!(rooms.receive_outside(leave(&back)).await.unwrap());
    assert_eq!(membership(rooms, &room, "bob"), Some(Membership::Leave));
    assert!(rooms.known_outside(bob, &room_id).await.unwrap().is_none());
    // Nothing is left to be taken back.
    assert!(!rooms.receive_outside(leave(&back)).await.unwrap());
}

#[tokio::test]
async fn the_version_of_a_room_is_what_the_join_says() {
    let room = TestRoom::server(["bob"]).await;
    let (mut outside, _) = invitation(id("bob").as_str());
    let room_id = outside.event.room_id().to_owned();
    // Invitations of the first kind do not name the version.
    outside.version = Version::V1;
    room.rooms.set_outside(outside).await.unwrap();
    room.rooms.know_room(&room_id, Version::V2).await.unwrap();
    let known = room.rooms.known_version(&room_id).await.unwrap();
    assert_eq!(known, Some(Version::V2));
}

#[tokio::test]
async fn who_goes_alone_is_out() {
    let room = TestRoom::server(["bob"]).await;
    let (rooms, bob) = (&room.rooms, room.who("bob").user);
    let (outside, _) = invitation(id("bob").as_str());
    let room_id = outside.event.room_id().to_owned();
    rooms.set_outside(outside).await.unwrap();
    let before = rooms.outside_member_event(bob, &room_id).await.unwrap();
    let event = rooms.leave_alone(&id("bob"), &before).unwrap();
    let outside = Outside {
        version: event.version(),
        event,
        state: Vec::new(),
        servers: Vec::new(),
    };
    rooms.set_outside(outside).await.unwrap();
    assert_eq!(membership(rooms, &room, "bob"), Some(Membership::Leave));
    room.rooms.forget(room.who("bob"), &room_id).await.unwrap();
}

#[tokio::test]
async fn only_own_people_are_outside() {
    let room = TestRoom::server(["bob"]).await;
    let (outside, _) = invitation("@eve:elsewhere.test");
    let refused = room.rooms.set_outside(outside).await;
    assert!(matches!(refused, Err(AppendError::Invalid(_))));
}
