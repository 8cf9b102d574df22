//! An event that is written and read back is the same.

use graph::{Draft, Event, Parents, Reason, Version, build};
use proptest::prelude::*;
use ruma_common::{CanonicalJsonValue, OwnedEventId, RoomId, ServerName};

use crate::room::{Room, key, user};

fn value() -> impl Strategy<Value = CanonicalJsonValue> {
    let leaf = prop_oneof![
        Just(CanonicalJsonValue::Null),
        any::<bool>().prop_map(CanonicalJsonValue::Bool),
        any::<i32>().prop_map(|number| CanonicalJsonValue::Integer(number.into())),
        any::<String>().prop_map(CanonicalJsonValue::String),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(CanonicalJsonValue::Array),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(CanonicalJsonValue::Object),
        ]
    })
}

fn key_text() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("too long", |text| text.len() <= 255)
}

fn drafts() -> impl Strategy<Value = Draft> {
    (
        prop_oneof![
            Just("m.room.redaction".to_owned()),
            Just("m.room.topic".to_owned()),
            key_text()
        ],
        prop::option::of(key_text()),
        prop::collection::btree_map(any::<String>(), value(), 0..6),
        "[a-z0-9._=/+-]{1,30}",
        "[A-Za-z0-9_-]{1,43}",
        0_u64..(1 << 53),
    )
        .prop_map(
            |(event_type, state_key, content, name, target, origin_server_ts)| Draft {
                redacts: (event_type == "m.room.redaction")
                    .then(|| OwnedEventId::try_from(format!("${target}")).unwrap()),
                event_type,
                state_key,
                content,
                sender: user(&format!("@{name}:a.example")),
                origin_server_ts,
                sticky: None,
            },
        )
}

fn versions() -> impl Strategy<Value = Version> {
    prop::sample::select(Version::KNOWN.to_vec())
}

fn same(one: &Event, other: &Event) {
    assert_eq!(one.json(), other.json());
    assert_eq!(
        (one.version(), one.event_id(), one.room_id()),
        (other.version(), other.event_id(), other.room_id())
    );
    assert_eq!(
        (one.event_type(), one.sender(), one.state_key()),
        (other.event_type(), other.sender(), other.state_key())
    );
    assert_eq!(
        (one.origin_server_ts(), one.depth()),
        (other.origin_server_ts(), other.depth())
    );
    assert_eq!(
        (one.prev_events(), one.auth_events()),
        (other.prev_events(), other.auth_events())
    );
    assert_eq!(
        (one.redacts(), one.content().get()),
        (other.redacts(), other.content().get())
    );
}

fn stored(event: &Event, rejected: bool) -> Event {
    let json = event.json().as_bytes().to_vec();
    Event::from_stored(
        json,
        event.event_id().to_owned(),
        event.version(),
        event.room_id().to_owned(),
        rejected,
    )
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stored_event_reads_back_as_it_was_built(draft in drafts(), version in versions(), depth in 2_u64..(1 << 53)) {
        let parent = OwnedEventId::try_from("$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        let parents = Parents { prev_events: vec![parent.clone()], depth };
        let room = RoomId::parse("!room:a.example").unwrap();
        let server = ServerName::parse("a.example").unwrap();
        prop_assume!(draft.event_type != "m.room.create" && draft.event_type != "m.room.member");
        let event = build(version, Some(&room), draft.clone(), parents, &[parent], &key(), &server).unwrap();
        prop_assert_eq!(event.event_type(), &draft.event_type);
        prop_assert_eq!(event.state_key(), draft.state_key.as_deref());
        prop_assert_eq!(event.sender(), &draft.sender);
        prop_assert_eq!(event.redacts(), draft.redacts.as_deref());
        prop_assert_eq!((event.origin_server_ts(), event.depth()), (draft.origin_server_ts, depth));
        same(&event, &stored(&event, false));
        prop_assert!(stored(&event, true).rejected());
        prop_assert!(!event.rejected());
    }

    #[test]
    fn no_bytes_make_the_reader_of_stored_events_fall_over(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let room = RoomId::parse("!room:a.example").unwrap();
        let id = OwnedEventId::try_from("$id").unwrap();
        let damaged = matches!(Event::from_stored(bytes, id, Version::V12, room, false), Err(Reason::Damaged(_)));
        prop_assert!(damaged);
    }
}

#[test]
fn the_create_event_reads_back() {
    for version in Version::KNOWN {
        let create = Room::empty(version).create(serde_json::json!({})).unwrap();
        same(&create, &stored(&create, false));
    }
}
