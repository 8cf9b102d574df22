//! Memberships that two servers make together.

use graph::{
    Reason, SigningKey, Template, Unchecked, VerifyKey, Version, authorise_by_state, countersign,
    propose, template,
};
use ruma_common::{RoomId, ServerName};
use serde_json::{Value, json};

use crate::room::{ALICE, DAVE, Room, draft, key, user};

/// The server of Dave.
fn other() -> SigningKey {
    SigningKey::generate([9; 32], "other".to_owned()).unwrap()
}

fn name(name: &str) -> &ServerName {
    <&ServerName>::try_from(name).unwrap()
}

fn known(server: &ServerName, _: &str, _: u64) -> Option<VerifyKey> {
    let key = if server == "a.example" {
        key()
    } else {
        other()
    };
    Some(VerifyKey {
        public_key: key.public_base64(),
        valid_until: u64::MAX,
    })
}

fn join(content: Value) -> graph::Draft {
    draft(DAVE, "m.room.member", Some(DAVE), content)
}

fn proposed(room: &Room, template: Template) -> Result<graph::Event, Reason> {
    let mut wanted = join(json!({}));
    wanted.content = template.content;
    propose(
        room.version,
        room.id.as_deref().unwrap(),
        wanted,
        template.parents,
        &template.auth_events,
        &other(),
        name("b.example"),
    )
}

#[test]
fn a_draft_becomes_an_event_that_the_room_allows() {
    for version in Version::KNOWN {
        let room = Room::public(version);
        let (parents, state) = room.end(&join(json!({"membership": "join"})));
        let room_id = room.id.clone().unwrap();
        let content = json!({"membership": "join"});
        let json = template(version, &room_id, join(content), parents, &state).unwrap();
        let fields: Value = serde_json::from_str(&json).unwrap();
        assert!(fields.get("signatures").is_none() && fields.get("hashes").is_none());

        let read = Template::read(json.as_bytes(), &room_id, &user(DAVE), "join").unwrap();
        let event = proposed(&room, read).unwrap();
        let unchecked = Unchecked::read(event.json().as_bytes(), version).unwrap();
        assert_eq!(unchecked.event_id(), event.event_id());
        let received = unchecked.check(known).unwrap();
        assert!(!received.redacted);
        let allowed = authorise_by_state(&received.event, |event_type, state_key| {
            state.get(event_type, state_key).cloned()
        });
        assert_eq!(allowed, Ok(()), "version {version}");
    }
}

#[test]
fn nobody_is_drafted_who_may_not_come() {
    let room = Room::new(Version::V11);
    let (parents, state) = room.end(&join(json!({"membership": "join"})));
    let room_id = room.id.clone().unwrap();
    let content = json!({"membership": "join"});
    let refused = template(Version::V11, &room_id, join(content), parents, &state);
    assert!(matches!(refused, Err(Reason::Forbidden(_))), "{refused:?}");
}

#[test]
fn a_draft_of_something_else_is_refused() {
    let room_id = RoomId::parse("!room:a.example").unwrap();
    let good = json!({
        "type": "m.room.member", "room_id": room_id, "sender": DAVE, "state_key": DAVE,
        "depth": 7, "prev_events": ["$before"], "auth_events": ["$allows"],
        "content": { "membership": "join" },
    });
    let read =
        |event: &Value| Template::read(event.to_string().as_bytes(), &room_id, &user(DAVE), "join");
    assert_eq!(read(&good).unwrap().parents.depth, 7);
    for (field, wrong) in [
        ("type", json!("m.room.message")),
        ("room_id", json!("!other:a.example")),
        ("sender", json!(ALICE)),
        ("state_key", json!(ALICE)),
        ("prev_events", json!([])),
        ("prev_events", json!("$before")),
        ("prev_events", json!(vec!["$before"; 21])),
        ("auth_events", json!(vec!["$allows"; 11])),
        ("content", json!({ "membership": "ban" })),
        ("content", json!({ "membership": "join", "x": 1.5 })),
    ] {
        let mut event = good.clone();
        event[field] = wrong;
        assert!(read(&event).is_err(), "{event}");
    }
}

#[test]
fn an_event_of_two_servers_needs_both_signatures() {
    for version in [Version::V8, Version::V11] {
        let mut room = Room::new(version);
        room.join_rule("restricted");
        let content = json!({
            "membership": "join", "join_authorised_via_users_server": ALICE,
        });
        let (parents, state) = room.end(&join(content.clone()));
        let room_id = room.id.clone().unwrap();
        let json = template(version, &room_id, join(content), parents, &state).unwrap();
        let read = Template::read(json.as_bytes(), &room_id, &user(DAVE), "join").unwrap();
        let event = proposed(&room, read).unwrap();
        let alone = Unchecked::read(event.json().as_bytes(), version).unwrap();
        assert!(alone.check(known).is_err());

        let signed =
            countersign(event.json().as_bytes(), version, &key(), name("a.example")).unwrap();
        let both = Unchecked::read(signed.as_bytes(), version).unwrap();
        assert_eq!(both.event_id(), event.event_id());
        assert_eq!(both.keys_of(name("a.example")), ["ed25519:test"]);
        both.check_signature_of(&name("a.example").to_owned(), known)
            .unwrap();
        assert!(!both.check(known).unwrap().redacted);
    }
}

#[test]
fn countersigning_changes_nothing_else() {
    for version in [Version::V1, Version::V5, Version::V12] {
        let event = json!({
            "type": "m.room.member", "room_id": "!room:a.example", "sender": DAVE,
            "state_key": ALICE, "depth": 7, "prev_events": [], "auth_events": [],
            "event_id": "$x:b.example", "origin_server_ts": 1,
            "content": { "membership": "invite" }, "hashes": { "sha256": "x" },
            "signatures": { "b.example": { "ed25519:1": "x" } },
            "unsigned": { "age": 7 },
        });
        let signed = countersign(
            event.to_string().as_bytes(),
            version,
            &key(),
            name("a.example"),
        );
        let mut signed: Value = serde_json::from_str(&signed.unwrap()).unwrap();
        let own = signed["signatures"]
            .as_object_mut()
            .unwrap()
            .remove("a.example");
        assert!(own.unwrap()["ed25519:test"].is_string());
        let mut expected = event;
        expected.as_object_mut().unwrap().remove("unsigned");
        assert_eq!(signed, expected, "version {version}");
    }
    for wrong in [
        "7",
        "{\"signatures\":7}",
        "{\"signatures\":{\"a.example\":7}}",
    ] {
        assert!(countersign(wrong.as_bytes(), Version::V12, &key(), name("a.example")).is_err());
    }
}
