//! Events of other servers: what is accepted, what is left of it, and why the rest is refused.

use graph::{
    Draft, Event, MAX_EVENT_BYTES, MAX_RECEIVED_BYTES, Parents, Reason, Received,
    RequiredSignature, SignatureError, SigningKey, Unchecked, VerifyKey, Version, build, redact,
};
use ruma_common::{CanonicalJsonObject, OwnedEventId, RoomId, ServerName};
use serde_json::{Value, json};

use crate::room::{ALICE, BOB, DAVE, believed, draft, key, object};

const TIME: u64 = 1_700_000_000_000;

/// Everybody's key is that of the tests, and valid for ever.
fn known(_: &ServerName, key_id: &str, _: u64) -> Option<VerifyKey> {
    (key_id == "ed25519:test").then(|| VerifyKey {
        public_key: key().public_base64(),
        valid_until: u64::MAX,
    })
}

fn read(event: &Value, version: Version) -> Result<Unchecked, Reason> {
    Unchecked::read(&serde_json::to_vec(event).unwrap(), version)
}

fn check(event: &Value, version: Version) -> Result<Received, SignatureError> {
    read(event, version).unwrap().check(known)
}

fn room_id(version: Version) -> &'static str {
    if version.room_id_is_create_event() {
        "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"
    } else {
        "!room:a.example"
    }
}

fn built(version: Version, draft: Draft) -> Event {
    let id = |name: &str| {
        let id = if version.has_chosen_event_ids() {
            format!("${name}:a.example")
        } else {
            format!("${name}")
        };
        OwnedEventId::try_from(id).unwrap()
    };
    let parents = Parents {
        prev_events: vec![id("before"), id("beside")],
        depth: 7,
    };
    let server = draft.sender.server_name().to_owned();
    let room = RoomId::parse(room_id(version)).unwrap();
    build(
        version,
        Some(&room),
        draft,
        parents,
        &[id("allows")],
        &key(),
        &server,
    )
    .unwrap()
}

fn message(version: Version) -> Value {
    let content = json!({"msgtype": "m.text", "body": "hello"});
    let event = built(version, draft(ALICE, "m.room.message", None, content));
    serde_json::from_str(event.json()).unwrap()
}

fn member(version: Version, sender: &str, target: &str, content: Value) -> Value {
    let event = built(
        version,
        draft(sender, "m.room.member", Some(target), content),
    );
    serde_json::from_str(event.json()).unwrap()
}

/// Signs again what was changed after `built`, in the name of more servers.
fn signed_by(version: Version, mut event: Value, servers: &[&str]) -> Value {
    for field in ["signatures", "hashes"] {
        event.as_object_mut().unwrap().remove(field);
    }
    let mut event: CanonicalJsonObject = object(event);
    let pair = ruma_signatures::Ed25519KeyPair::from_der(&der(), "test".to_owned()).unwrap();
    for server in servers {
        let rules = &version.rules().redaction;
        ruma_signatures::hash_and_sign_event(server, &pair, &mut event, rules).unwrap();
    }
    serde_json::to_value(event).unwrap()
}

/// The key of the tests as PKCS#8.
fn der() -> Vec<u8> {
    let mut document = vec![
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    document.extend([7; 32]);
    document
}

#[test]
fn what_a_server_built_is_what_another_reads() {
    for version in Version::KNOWN {
        let content = json!({"msgtype": "m.text", "body": "h\u{e9}llo"});
        let event = built(version, draft(ALICE, "m.room.message", None, content));
        let mut sent: Value = serde_json::from_str(event.json()).unwrap();
        sent["unsigned"] = json!({"age": 5, "anything": {"at": "all"}});
        let received = check(&sent, version).unwrap();
        assert!(!received.redacted);
        let received = received.event;
        assert_eq!(received.json(), event.json());
        assert_eq!(received.event_id(), event.event_id());
        assert_eq!(received.room_id(), event.room_id());
        assert_eq!(received.prev_events(), event.prev_events());
        assert_eq!(received.auth_events().len(), 1);
        assert_eq!((received.depth(), received.rejected()), (7, false));
        let id = received.event_id().as_str();
        assert_eq!(id.contains(':'), version <= Version::V2);
        assert_eq!(redact(&received).unwrap().event_id(), event.event_id());
    }
}

#[test]
fn the_example_of_the_specification() {
    let event = json!({
        "auth_events": [], "content": {}, "depth": 3,
        "hashes": {"sha256": "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"},
        "origin": "domain", "origin_server_ts": 1_000_000, "prev_events": [],
        "room_id": "!x:domain", "sender": "@a:domain",
        "signatures": {"domain": {
            "ed25519:1": "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"
        }},
        "type": "X", "unsigned": {"age_ts": 1_000_000}
    });
    let key = SigningKey::parse("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap();
    let lookup = |server: &ServerName, key_id: &str, time: u64| {
        assert_eq!(
            (server.as_str(), key_id, time),
            ("domain", "ed25519:1", 1_000_000)
        );
        Some(VerifyKey {
            public_key: key.public_base64(),
            valid_until: 1_000_000,
        })
    };
    for version in [Version::V3, Version::V4, Version::V6, Version::V10] {
        let received = read(&event, version).unwrap().check(lookup).unwrap();
        assert!(!received.redacted);
    }
    // Version 11 redacts `origin`, which is signed here.
    let later = read(&event, Version::V11).unwrap().check(lookup);
    assert!(matches!(later, Err(SignatureError::Invalid { .. })));
}

#[test]
fn changed_content_leaves_the_redacted_event() {
    for version in Version::KNOWN {
        let whole = message(version);
        let mut changed = whole.clone();
        changed["content"]["body"] = json!("something else");
        changed["extra"] = json!(1);
        let received = check(&changed, version).unwrap();
        assert!(received.redacted);
        let kept = check(&whole, version).unwrap().event;
        assert_eq!(received.event.json(), redact(&kept).unwrap().json());
        assert_eq!(received.event.event_id(), kept.event_id());
        assert_eq!(received.event.content().get(), "{}");
        // A redacted copy is the same.
        let copy: Value = serde_json::from_str(received.event.json()).unwrap();
        assert_eq!(
            check(&copy, version).unwrap().event.json(),
            received.event.json()
        );
    }
}

#[test]
fn changed_fields_that_are_signed_are_refused() {
    for version in Version::KNOWN {
        for (field, value) in [
            ("type", json!("m.room.other")),
            ("depth", json!(8)),
            ("origin_server_ts", json!(TIME + 1)),
            ("state_key", json!("")),
            (
                "hashes",
                json!({"sha256": "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"}),
            ),
        ] {
            let mut changed = message(version);
            changed[field] = value;
            let refused = check(&changed, version).unwrap_err();
            assert!(
                matches!(refused, SignatureError::Invalid { .. }),
                "{field}: {refused}"
            );
        }
    }
}

#[test]
fn whatever_byte_is_changed_the_event_is_the_same_redacted_or_refused() {
    let unsigned = |json: &str| {
        let mut event: Value = serde_json::from_str(json).unwrap();
        event.as_object_mut().unwrap().remove("signatures");
        event
    };
    for version in [Version::V2, Version::V4, Version::V6, Version::V12] {
        let whole = check(&message(version), version).unwrap().event;
        let redacted = redact(&whole).unwrap();
        let mut outcomes = [0; 3];
        for index in 0..whole.json().len() {
            for byte in [b'"', b'0', b'A', b' ', b'}', 0xff] {
                let mut bytes = whole.json().as_bytes().to_vec();
                bytes[index] = byte;
                let checked = Unchecked::read(&bytes, version).map(|event| event.check(known));
                let Ok(Ok(received)) = checked else {
                    outcomes[2] += 1;
                    continue;
                };
                let expected = if received.redacted { &redacted } else { &whole };
                outcomes[usize::from(received.redacted)] += 1;
                assert_eq!(unsigned(received.event.json()), unsigned(expected.json()));
                assert_eq!(received.event.event_id(), whole.event_id());
            }
        }
        assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
    }
}

#[test]
fn who_must_sign_and_with_what() {
    let unsigned = |version| {
        let mut event = message(version);
        event["signatures"] =
            json!({"a.example": {"rsa:1": "AAAA"}, "z.example": {"ed25519:1": "AAAA"}});
        event
    };
    let refused = check(&unsigned(Version::V10), Version::V10).unwrap_err();
    assert!(matches!(refused, SignatureError::NotSigned { server } if server == "a.example"));

    let mut event = message(Version::V10);
    event["signatures"]["a.example"]["ed25519:policy_server"] = json!("AAAA");
    let required = read(&event, Version::V10).unwrap().required_signatures();
    let server = ServerName::parse("a.example").unwrap();
    let key_ids = vec![
        "ed25519:policy_server".to_owned(),
        "ed25519:test".to_owned(),
    ];
    assert_eq!(
        required,
        [RequiredSignature {
            server: server.clone(),
            key_ids: key_ids.clone()
        }]
    );
    // A signature with an unknown key does not matter beside a good one.
    assert!(check(&event, Version::V10).is_ok());
    let refused = read(&event, Version::V10)
        .unwrap()
        .check(|_, _, _| None)
        .unwrap_err();
    assert_eq!(refused, SignatureError::UnknownKeys { server, key_ids });
    // A wrong one with a known key does.
    let refused = read(&event, Version::V10)
        .unwrap()
        .check(|server, _, time| known(server, "ed25519:test", time));
    assert!(
        matches!(refused, Err(SignatureError::Invalid { key_id, .. }) if key_id.ends_with("policy_server"))
    );
}

#[test]
fn keys_are_valid_only_as_long_as_they_say_since_version_5() {
    let until = |valid_until: u64| {
        move |server: &ServerName, key_id: &str, time: u64| {
            let key = known(server, key_id, time)?;
            Some(VerifyKey { valid_until, ..key })
        }
    };
    for version in Version::KNOWN {
        let event = message(version);
        assert!(read(&event, version).unwrap().check(until(TIME)).is_ok());
        let late = read(&event, version).unwrap().check(until(TIME - 1));
        if version < Version::V5 {
            assert!(late.is_ok());
        } else {
            let expected = SignatureError::ExpiredKeys {
                server: ServerName::parse("a.example").unwrap(),
                valid_until: TIME - 1,
            };
            assert_eq!(late.unwrap_err(), expected);
        }
    }
}

fn signers(event: &Value, version: Version) -> Vec<String> {
    let required = read(event, version).unwrap().required_signatures();
    required
        .into_iter()
        .map(|it| it.server.to_string())
        .collect()
}

#[test]
fn the_server_that_let_somebody_join_must_sign_too() {
    let content = json!({"membership": "join", "join_authorised_via_users_server": "@x:c.example"});
    let join = |version: Version| {
        let mut event = member(version, BOB, BOB, json!({"membership": "join"}));
        event["content"] = content.clone();
        event
    };
    for version in Version::KNOWN {
        let alone = signed_by(version, join(version), &["a.example"]);
        let both = signed_by(version, join(version), &["a.example", "c.example"]);
        assert!(check(&both, version).is_ok());
        if version >= Version::V8 {
            assert_eq!(signers(&alone, version), ["a.example", "c.example"]);
            let refused = check(&alone, version).unwrap_err();
            assert!(
                matches!(refused, SignatureError::NotSigned { server } if server == "c.example")
            );
        } else {
            assert_eq!(signers(&alone, version), ["a.example"]);
            assert!(check(&alone, version).is_ok());
        }
    }
    let mut odd = join(Version::V10);
    odd["content"]["join_authorised_via_users_server"] = json!(5);
    assert!(matches!(
        read(&odd, Version::V10),
        Err(Reason::BadFormat(_))
    ));
}

#[test]
fn the_server_that_chose_an_id_must_sign_too() {
    for version in [Version::V1, Version::V2] {
        let mut event = message(version);
        event["event_id"] = json!("$other:c.example");
        let alone = signed_by(version, event.clone(), &["a.example"]);
        assert_eq!(signers(&alone, version), ["a.example", "c.example"]);
        assert!(matches!(
            check(&alone, version),
            Err(SignatureError::NotSigned { .. })
        ));
        let both = signed_by(version, event.clone(), &["a.example", "c.example"]);
        let received = check(&both, version).unwrap();
        assert_eq!(received.event.event_id(), "$other:c.example");
        event["event_id"] = json!("$nobody");
        assert!(matches!(read(&event, version), Err(Reason::BadFormat(_))));
    }
}

#[test]
fn anybody_may_send_the_invitation_of_a_third_party_unless_it_was_changed() {
    let content = json!({
        "membership": "invite",
        "third_party_invite": {"signed": {"mxid": DAVE, "token": "t", "signatures": {}}},
    });
    for version in [Version::V6, Version::V10, Version::V12] {
        let mut event = member(version, ALICE, DAVE, content.clone());
        event["signatures"] = json!({});
        assert!(signers(&event, version).is_empty());
        assert!(!check(&event, version).unwrap().redacted);
        event["content"]["third_party_invite"]["display_name"] = json!("changed");
        let refused = check(&event, version);
        if version < Version::V11 {
            // Redacted it would be any invitation.
            assert!(matches!(refused, Err(SignatureError::NotSigned { .. })));
        } else {
            assert!(refused.unwrap().redacted);
        }
    }
}

#[test]
fn exactly_the_largest_event_is_accepted() {
    for version in [Version::V5, Version::V12] {
        let of_size = |size: usize| {
            let mut event = message(version);
            let empty = serde_json::to_string(&event).unwrap().len() - "hello".len();
            event["content"]["body"] = json!("x".repeat(size - empty));
            event["unsigned"] = json!({"not": "counted"});
            read(&event, version)
        };
        assert!(of_size(MAX_EVENT_BYTES).is_ok());
        let refused = of_size(MAX_EVENT_BYTES + 1).unwrap_err();
        assert!(matches!(
            refused,
            Reason::TooLarge {
                what: "the event",
                limit: MAX_EVENT_BYTES
            }
        ));
    }
    let refused = Unchecked::read(&vec![b' '; MAX_RECEIVED_BYTES + 1], Version::V12);
    assert!(matches!(refused, Err(Reason::TooLarge { .. })));
}

/// The versions whose events are canonical JSON.
fn canonical() -> impl Iterator<Item = Version> {
    let versions = Version::KNOWN.into_iter();
    versions.filter(|version| version.has_canonical_json())
}

#[test]
fn fields_of_the_wrong_form_are_refused() {
    let long = "x".repeat(256);
    let many = |count: usize| json!(vec!["$event"; count]);
    for version in canonical() {
        for (field, value) in [
            ("type", json!(5)),
            ("type", json!(long)),
            ("state_key", json!(null)),
            ("state_key", json!(long)),
            ("sender", json!("nobody")),
            ("sender", json!(format!("@{long}:a.example"))),
            ("room_id", json!("room")),
            ("room_id", json!(null)),
            ("depth", json!(-1)),
            ("depth", json!("7")),
            ("depth", json!(9_007_199_254_740_992_u64)),
            ("origin_server_ts", json!(-1)),
            ("origin_server_ts", json!(1.5)),
            ("content", json!([])),
            ("hashes", json!({})),
            ("hashes", json!({"sha256": 5})),
            ("signatures", json!([])),
            ("signatures", json!({"a.example": "x"})),
            ("prev_events", json!("$event")),
            ("prev_events", json!([5])),
            ("prev_events", json!(["event"])),
            ("prev_events", json!([["$event", {"sha256": ""}]])),
            ("prev_events", many(21)),
            ("auth_events", many(11)),
            ("auth_events", json!([format!("${long}")])),
        ] {
            let mut event = message(version);
            event[field] = value.clone();
            let refused = read(&event, version).map(drop).unwrap_err();
            let expected = matches!(refused, Reason::BadFormat(_) | Reason::TooLarge { .. });
            assert!(expected, "{version} {field} {value}: {refused:?}");
        }
        for field in [
            "type",
            "sender",
            "room_id",
            "depth",
            "origin_server_ts",
            "content",
            "hashes",
            "signatures",
            "prev_events",
            "auth_events",
        ] {
            let mut event = message(version);
            event.as_object_mut().unwrap().remove(field);
            assert!(
                matches!(read(&event, version), Err(Reason::BadFormat(_))),
                "{field}"
            );
        }
        let mut largest = message(version);
        largest["prev_events"] = many(20);
        largest["auth_events"] = many(10);
        largest["depth"] = json!(9_007_199_254_740_991_u64);
        assert!(read(&largest, version).is_ok());
    }
    for wrong in [
        json!(["$event:a.example"]),
        json!([["$event:a.example"]]),
        json!([["$event:a.example", ""]]),
    ] {
        let mut event = message(Version::V2);
        event["auth_events"] = wrong;
        assert!(matches!(
            read(&event, Version::V2),
            Err(Reason::BadFormat(_))
        ));
    }
    assert!(matches!(
        Unchecked::read(b"{", Version::V1),
        Err(Reason::NotJson(_))
    ));
    assert!(matches!(
        Unchecked::read(b"[]", Version::V1),
        Err(Reason::BadFormat(_))
    ));
}

#[test]
fn room_ids_are_of_the_rooms_version() {
    for version in Version::KNOWN {
        let mut event = message(version);
        event["room_id"] = json!(room_id(match version {
            Version::V12 => Version::V11,
            _ => Version::V12,
        }));
        assert!(matches!(read(&event, version), Err(Reason::BadFormat(_))));
    }
    let create = json!({
        "type": "m.room.create", "state_key": "", "sender": ALICE, "content": {"room_version": "12"},
        "prev_events": [], "auth_events": [], "depth": 1, "origin_server_ts": TIME,
    });
    let create = signed_by(Version::V12, create, &["a.example"]);
    let received = check(&create, Version::V12).unwrap().event;
    assert_eq!(
        received.room_id().as_str()[1..],
        received.event_id().as_str()[1..]
    );
    let mut with_room = create;
    with_room["room_id"] = json!(room_id(Version::V12));
    assert!(matches!(
        read(&with_room, Version::V12),
        Err(Reason::BadFormat(_))
    ));
}

#[test]
fn old_rooms_have_numbers_of_any_kind() {
    // The content hash and the ids are those of Synapse 1.163.0.
    let text = |signatures: &str| {
        format!(
            r#"{{"auth_events":["$a"], "content":{{"ban":5.07e1,"kick":1E22,"redact":12345678901234567890123,"invite":-0,
                "users":{{"@alice:a.example":1.0}}}}, "depth":3,
            "hashes":{{"sha256":"xFNnVsdvi2gFRTT1n0eoMpTrrJXJxxXlAhCFfiPT1wI"}}, "origin_server_ts":1700000000000,
            "prev_events":["$b"], "room_id":"!room:a.example", "sender":"@alice:a.example", "signatures":{signatures},
            "state_key":"", "type":"m.room.power_levels"}}"#
        )
    };
    for (version, id) in [
        (Version::V3, "$M7I7wN9heG+TUjLU6E/2s+74rZdb58yNkhKoP1IniSI"),
        (Version::V4, "$M7I7wN9heG-TUjLU6E_2s-74rZdb58yNkhKoP1IniSI"),
        (Version::V5, "$M7I7wN9heG-TUjLU6E_2s-74rZdb58yNkhKoP1IniSI"),
    ] {
        let unsigned = Unchecked::read(text("{}").as_bytes(), version).unwrap();
        assert_eq!(unsigned.event_id(), id);
        let redacted = redact(&believed(&unsigned, version)).unwrap();
        let kept = r#"{"ban":50.7,"kick":1e+22,"redact":12345678901234567890123,"users":{"@alice:a.example":1.0}}"#;
        assert_eq!(redacted.content().get(), kept);

        let signed = redacted.json().replace(r#""signatures":{},"#, "");
        let pair = ruma_signatures::Ed25519KeyPair::from_der(&der(), "test".to_owned()).unwrap();
        let signature = ruma_signatures::KeyPair::sign(&pair, signed.as_bytes()).base64();
        let signatures = format!(r#"{{"a.example":{{"ed25519:test":"{signature}"}}}}"#);
        let received = Unchecked::read(text(&signatures).as_bytes(), version).unwrap();
        let received = received.check(known).unwrap();
        assert!(!received.redacted);
        assert!(received.event.content().get().contains(r#""invite":0,"#));
    }
    for version in canonical() {
        let refused = Unchecked::read(text("{}").as_bytes(), version);
        assert!(matches!(refused, Err(Reason::BadFormat(_))));
    }
}

#[test]
fn long_names_of_few_characters_are_let_in_where_rooms_have_them() {
    let long = "💥".repeat(70);
    for version in Version::KNOWN {
        for field in ["type", "state_key"] {
            let mut event = message(version);
            event[field] = json!(long);
            let is_read = read(&event, version).is_ok();
            assert_eq!(is_read, version < Version::V11, "{version} {field}");
        }
    }
}
