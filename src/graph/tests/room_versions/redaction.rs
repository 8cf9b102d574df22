//! What redaction leaves, and who may do it.

use graph::{Draft, Reason, Version, may_redact, redact, redaction_applies};
use ruma_common::{CanonicalJsonObject, EventId};
use serde_json::{Value, json};

use crate::room::{ALICE, BOB, CAROL, DAVE, Room, draft, object, user};

fn content_after(
    room: &mut Room,
    event_type: &str,
    state_key: &str,
    content: Value,
) -> CanonicalJsonObject {
    let event = room.set(ALICE, event_type, state_key, content).unwrap();
    let redacted = redact(&event).unwrap();
    assert_eq!(redacted.event_id(), event.event_id());
    assert_eq!(redacted.state_key(), event.state_key());
    assert_eq!(redacted.prev_events(), event.prev_events());
    // Hashes and signatures are still those of the whole event, so that its id is too.
    let object: CanonicalJsonObject = serde_json::from_str(redacted.json()).unwrap();
    let hash = ruma_signatures::reference_hash(&object, room.version.rules()).unwrap();
    if !room.version.has_chosen_event_ids() {
        assert_eq!(event.event_id().as_str(), format!("${hash}"));
    }
    assert_eq!(redact(&redacted).unwrap().json(), redacted.json());
    redacted.content_as().unwrap()
}

#[test]
fn what_remains_of_each_type() {
    for version in Version::KNOWN {
        let mut room = Room::new(version);
        let mut check = |event_type: &str, state_key: &str, before: Value, after: Value| {
            let remains = content_after(&mut room, event_type, state_key, before);
            assert_eq!(remains, object(after), "{version} {event_type}");
        };
        check("m.room.name", "", json!({"name": "secret"}), json!({}));
        let aliases = json!({"aliases": ["#a:a.example"]});
        let kept = if version >= Version::V6 {
            json!({})
        } else {
            aliases.clone()
        };
        check("m.room.aliases", "a.example", aliases, kept);
        check(
            "m.room.history_visibility",
            "",
            json!({"history_visibility": "shared", "x": 1}),
            json!({"history_visibility": "shared"}),
        );
        let rule = json!({"join_rule": "public", "allow": [], "x": 1});
        let kept = if version >= Version::V8 {
            json!({"join_rule": "public", "allow": []})
        } else {
            json!({"join_rule": "public"})
        };
        check("m.room.join_rules", "", rule, kept);
        let levels = json!({"ban": 50, "invite": 1, "notifications": {"room": 50}, "x": 1});
        let kept = if version >= Version::V11 {
            json!({"ban": 50, "invite": 1})
        } else {
            json!({"ban": 50})
        };
        check("m.room.power_levels", "", levels, kept);
    }
}

#[test]
fn what_remains_of_a_member() {
    for version in Version::KNOWN {
        let mut room = Room::new(version);
        let before = json!({"membership": "join", "displayname": "Alice", "join_authorised_via_users_server": ALICE});
        let kept = match version >= Version::V9 {
            true => json!({"membership": "join", "join_authorised_via_users_server": ALICE}),
            false => json!({"membership": "join"}),
        };
        room.join_rule("public");
        assert_eq!(
            content_after(&mut room, "m.room.member", ALICE, before),
            object(kept),
            "{version}"
        );
    }
}

#[test]
fn what_remains_of_create_and_redaction() {
    for version in Version::KNOWN {
        let mut room = Room::empty(version);
        let create = room.create(json!({"type": "m.space"})).unwrap();
        let remains: CanonicalJsonObject = redact(&create).unwrap().content_as().unwrap();
        let expected = match version >= Version::V11 {
            true => json!({"room_version": version.as_str(), "type": "m.space"}),
            false => json!({"creator": ALICE}),
        };
        assert_eq!(remains, object(expected), "{version}");
        assert_eq!(redact(&create).unwrap().room_id(), create.room_id());
        room.join(ALICE).unwrap();
        let redaction = room.send(redaction_of(ALICE, create.event_id())).unwrap();
        let redacted = redact(&redaction).unwrap();
        assert_eq!(
            redacted.redacts().is_some(),
            version.redacts_in_content(),
            "{version}"
        );
        assert!(!redacted.json().contains("reason"));
    }
}

fn redaction_of(sender: &str, target: &EventId) -> Draft {
    Draft {
        redacts: Some(target.to_owned()),
        ..draft(
            sender,
            "m.room.redaction",
            None,
            json!({"reason": "because"}),
        )
    }
}

#[test]
fn who_may_redact() {
    for version in Version::KNOWN {
        let mut room = Room::public(version);
        for who in [BOB, CAROL, DAVE] {
            room.join(who).unwrap();
        }
        room.levels(json!({"users": {CAROL: 50}})).unwrap();
        let by_bob = room.say(BOB, "hello").unwrap();
        let by_dave = room.say(DAVE, "hello").unwrap();
        let levels = room.power_levels();
        let mut applies = |sender: &str, target| {
            match room.send(redaction_of(sender, graph::Event::event_id(target))) {
                Ok(redaction) => redaction_applies(&redaction, target, &levels),
                // The rules themselves keep it out.
                Err(Reason::Forbidden(_)) if version.has_chosen_event_ids() => false,
                Err(reason) => panic!("{version}: {reason}"),
            }
        };
        assert!(applies(ALICE, &by_dave), "{version}: power");
        assert!(applies(CAROL, &by_dave), "{version}: just enough power");
        assert!(applies(DAVE, &by_dave), "{version}: one's own");
        assert!(applies(BOB, &by_bob), "{version}: one's own");
        assert!(!applies(BOB, &by_dave), "{version}: another's");
        assert!(!applies(DAVE, &by_bob), "{version}: another's");
        let of_bob = room.send(redaction_of(BOB, by_bob.event_id())).unwrap();
        assert!(
            !redaction_applies(&of_bob, &by_dave, &levels),
            "{version}: not the target"
        );

        let local = room.say(ALICE, "hello").unwrap();
        // The rules would let this one pass, because it is the same server's business.
        assert!(redaction_applies(
            &room.send(redaction_of(BOB, local.event_id())).unwrap(),
            &local,
            &levels
        ));
        assert!(!may_redact(&user(BOB), &local, &levels), "{version}");
        assert!(may_redact(&user(BOB), &by_bob, &levels), "{version}");
        assert!(may_redact(&user(CAROL), &by_bob, &levels), "{version}");
    }
}
