//! What a built event looks like, and what is too large or too wrong to be one.

use std::collections::BTreeMap;

use graph::{
    Draft, Event, MAX_AUTH_EVENTS, MAX_EVENT_BYTES, MAX_KEY_BYTES, MAX_PREV_EVENTS, Parents,
    Reason, Version, build,
};
use ruma_common::{CanonicalJsonObject, OwnedEventId, RoomId, ServerName, serde::Base64};
use ruma_signatures::{Verified, verify_event};
use serde_json::json;

use crate::room::{ALICE, BOB, DAVE, Room, draft, key, object};

const PARENT: &str = "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn parents(depth: u64) -> Parents {
    Parents {
        prev_events: vec![OwnedEventId::try_from(PARENT).unwrap()],
        depth,
    }
}

/// Builds an event that follows another, in a room where everything else is right.
fn try_build(version: Version, draft: Draft, parents: Parents) -> Result<Event, Reason> {
    let room = RoomId::parse("!room:a.example").unwrap();
    build(
        version,
        Some(&room),
        draft,
        parents,
        &[],
        &key(),
        &ServerName::parse("a.example").unwrap(),
    )
}

#[test]
fn signature_hash_and_id_are_what_other_servers_compute() {
    let keys = BTreeMap::from([(
        key().key_id().to_owned(),
        Base64::parse(key().public_base64()).unwrap(),
    )]);
    let keys = BTreeMap::from([("a.example".to_owned(), keys)]);
    for version in Version::KNOWN {
        let mut room = Room::empty(version);
        let events = [
            room.create(json!({})).unwrap(),
            room.join(ALICE).unwrap(),
            room.say(ALICE, "grüß \"Gott\"\u{1}").unwrap(),
        ];
        for event in &events {
            let object: CanonicalJsonObject = serde_json::from_str(event.json()).unwrap();
            assert_eq!(
                serde_json::to_string(&object).unwrap(),
                event.json(),
                "{version}: canonical"
            );
            assert_eq!(
                verify_event(&keys, &object, version.rules()).unwrap(),
                Verified::All,
                "{version}"
            );
            let hash = ruma_signatures::reference_hash(&object, version.rules()).unwrap();
            let is_chosen = version.has_chosen_event_ids();
            if is_chosen {
                let server = event.event_id().server_name();
                assert_eq!(server.unwrap(), "a.example", "{version}");
            } else {
                assert_eq!(event.event_id().as_str(), format!("${hash}"), "{version}");
            }
            assert_eq!(object.contains_key("event_id"), is_chosen, "{version}");
            assert!(!object.contains_key("unsigned"), "{version}");
        }
        let [create, join, message] = events;
        let named = create.json().contains("\"room_id\"");
        assert_eq!(named, !version.room_id_is_create_event(), "{version}");
        if version.room_id_is_create_event() {
            assert_eq!(
                create.room_id().as_str()[1..],
                create.event_id().as_str()[1..]
            );
        }
        assert_eq!(join.room_id(), create.room_id());
        assert_eq!(join.prev_events(), [create.event_id()]);
        assert_eq!(
            join.auth_events().contains(&create.event_id().to_owned()),
            named,
            "{version}"
        );
        assert_eq!(
            (message.depth(), message.origin_server_ts()),
            (3, 1_700_000_000_000)
        );
    }
}

#[test]
fn an_event_may_have_65536_bytes_and_no_more() {
    for version in Version::KNOWN {
        let with = |length: usize| {
            let draft = draft(
                ALICE,
                "m.room.message",
                None,
                json!({"body": "x".repeat(length)}),
            );
            try_build(version, draft, parents(5))
        };
        let rest = with(0).unwrap().json().len();
        let full = MAX_EVENT_BYTES - rest;
        assert_eq!(with(full).unwrap().json().len(), 65_536);
        for larger in [full + 1, full + 300, 70_000, 200_000] {
            let refused = with(larger).map(|event| event.json().len());
            assert_eq!(
                refused,
                Err(Reason::TooLarge {
                    what: "the event",
                    limit: 65_536
                }),
                "{version} {larger}"
            );
        }
    }
}

#[test]
fn keys_may_have_255_bytes_and_no_more() {
    let with = |event_type: &str, state_key: &str| {
        let draft = draft(ALICE, event_type, Some(state_key), json!({}));
        try_build(Version::V12, draft, parents(5)).map(drop)
    };
    // Bytes count, not characters.
    let full = format!("x{}", "ü".repeat(127));
    assert_eq!(full.len(), MAX_KEY_BYTES);
    assert_eq!(with(&full, &full), Ok(()));
    let longer = "y".repeat(256);
    assert_eq!(
        with(&longer, ""),
        Err(Reason::TooLarge {
            what: "type",
            limit: 255
        })
    );
    assert_eq!(
        with("x", &longer),
        Err(Reason::TooLarge {
            what: "state_key",
            limit: 255
        })
    );
}

#[test]
fn depth_ends_at_2_to_the_53() {
    let most = (1 << 53) - 1;
    for (depth, expected) in [(7, 7), (most, most), (most + 1, most), (u64::MAX, most)] {
        let draft = draft(ALICE, "m.room.message", None, json!({}));
        assert_eq!(
            try_build(Version::V12, draft, parents(depth))
                .unwrap()
                .depth(),
            expected
        );
    }
    let mut late = draft(ALICE, "m.room.message", None, json!({}));
    late.origin_server_ts = most + 1;
    assert!(matches!(
        try_build(Version::V12, late, parents(5)),
        Err(Reason::BadFormat(_))
    ));
}

#[test]
fn a_redaction_names_its_target_where_the_version_wants_it() {
    let target = OwnedEventId::try_from("$target").unwrap();
    for version in Version::KNOWN {
        let mut redaction = draft(ALICE, "m.room.redaction", None, json!({"reason": "spam"}));
        redaction.redacts = Some(target.clone());
        let event = try_build(version, redaction, parents(5)).unwrap();
        assert_eq!(event.redacts(), Some(&*target), "{version}");
        assert_eq!(
            event.content().get().contains("$target"),
            version.redacts_in_content(),
            "{version}"
        );
        assert_eq!(
            event.json().contains("\"redacts\":\"$target\",\"room_id\""),
            !version.redacts_in_content(),
            "{version}"
        );
        let mut other = draft(ALICE, "m.room.message", None, json!({}));
        other.redacts = Some(target.clone());
        assert!(
            matches!(
                try_build(version, other, parents(5)),
                Err(Reason::BadFormat(_))
            ),
            "{version}"
        );
        let lookalike = draft(ALICE, "m.room.message", None, json!({"redacts": "$target"}));
        assert_eq!(
            try_build(version, lookalike, parents(5)).unwrap().redacts(),
            None,
            "{version}"
        );
        let no_id = draft(ALICE, "m.room.redaction", None, json!({"redacts": 5}));
        assert_eq!(
            try_build(version, no_id, parents(5)).unwrap().redacts(),
            None,
            "{version}"
        );
    }
}

#[test]
fn a_draft_that_contradicts_itself_is_refused() {
    let server = ServerName::parse("a.example").unwrap();
    let room = RoomId::parse("!room:a.example").unwrap();
    let message = || draft(ALICE, "m.room.message", None, json!({}));
    let create = |version: &str| {
        draft(
            ALICE,
            "m.room.create",
            Some(""),
            json!({"room_version": version, "creator": ALICE}),
        )
    };
    let beginning = || Parents {
        prev_events: vec![],
        depth: 1,
    };
    let many = |count: usize| vec![OwnedEventId::try_from(PARENT).unwrap(); count];
    let refused = |version, room: Option<&RoomId>, draft, parents, auth_events: &[OwnedEventId]| {
        matches!(
            build(version, room, draft, parents, auth_events, &key(), &server),
            Err(Reason::BadFormat(_))
        )
    };
    assert!(
        refused(Version::V12, None, message(), parents(2), &[]),
        "no room"
    );
    assert!(
        refused(Version::V12, Some(&room), message(), beginning(), &[]),
        "no parents"
    );
    assert!(
        refused(Version::V12, Some(&room), create("12"), beginning(), &[]),
        "a room id too many"
    );
    assert!(
        refused(Version::V11, None, create("11"), beginning(), &[]),
        "a room id too few"
    );
    assert!(
        refused(Version::V12, None, create("11"), beginning(), &[]),
        "another version"
    );
    assert!(
        refused(Version::V12, None, create("12"), parents(2), &[]),
        "a create event with parents"
    );
    assert!(
        refused(Version::V12, None, create("12"), beginning(), &many(1)),
        "a create event with auth events"
    );
    assert!(
        refused(
            Version::V12,
            None,
            Draft {
                state_key: None,
                ..create("12")
            },
            beginning(),
            &[]
        ),
        "no state"
    );
    let crowd = Parents {
        prev_events: many(MAX_PREV_EVENTS + 1),
        depth: 5,
    };
    assert!(
        refused(Version::V12, Some(&room), message(), crowd, &[]),
        "too many parents"
    );
    assert!(
        refused(
            Version::V12,
            Some(&room),
            message(),
            parents(2),
            &many(MAX_AUTH_EVENTS + 1)
        ),
        "too many auth events"
    );
    let foreign = draft(DAVE, "m.room.message", None, json!({}));
    assert!(
        refused(Version::V12, Some(&room), foreign, parents(2), &[]),
        "another server's user"
    );
    assert!(!refused(Version::V12, None, create("12"), beginning(), &[]));
}

#[test]
fn rooms_of_every_version_are_created() {
    for version in Version::KNOWN {
        let room = ruma_common::RoomId::parse("!room:a.example").unwrap();
        let room = (!version.room_id_is_create_event()).then_some(&*room);
        let mut draft = draft(ALICE, "m.room.create", Some(""), json!({}));
        version.complete_create_content(&mut draft.content, &draft.sender);
        let parents = Parents {
            prev_events: Vec::new(),
            depth: 1,
        };
        let server = draft.sender.server_name().to_owned();
        let created = build(version, room, draft, parents, &[], &key(), &server).map(drop);
        assert_eq!(created, Ok(()), "{version}");
    }
}

#[test]
fn names_of_room_versions() {
    for version in Version::KNOWN {
        assert_eq!(Version::parse(version.as_str()), Ok(version));
        assert_eq!(Version::from_number(version.number()), Some(version));
        assert_eq!(version.id().as_str(), version.as_str());
        assert_eq!(Version::try_from(&version.id()), Ok(version));
        assert_eq!(version.is_stable(), !version.has_owned_state());
    }
    assert_eq!(Version::from_number(0), None);
    for unknown in ["", "0", "13", "06", "org.example"] {
        assert_eq!(
            Version::parse(unknown),
            Err(Reason::UnsupportedVersion(unknown.to_owned()))
        );
    }
    let mut content = object(json!({"creator": BOB, "room_version": 5, "type": "m.space"}));
    Version::V12.complete_create_content(&mut content, &crate::room::user(ALICE));
    assert_eq!(
        content,
        object(json!({"room_version": "12", "type": "m.space"}))
    );
}
