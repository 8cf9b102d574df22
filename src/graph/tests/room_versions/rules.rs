//! What the authorisation rules allow.

use graph::{Draft, PowerLevel, Reason, Version, authorisation_keys, state_keys};
use serde_json::json;

use crate::room::{ALICE, BOB, CAROL, DAVE, Room, TELLING, draft, forbidden, user};

#[test]
fn a_room_begins_with_its_creator() {
    for version in Version::KNOWN {
        let mut room = Room::empty(version);
        let create = room
            .create(json!({"creator": BOB, "room_version": "1"}))
            .unwrap();
        assert_eq!(
            create.content().get().contains("\"creator\":\"@alice"),
            version.create_has_creator_field()
        );
        assert_eq!(create.depth(), 1);
        assert!(forbidden(room.join(BOB)), "{version}");
        room.join(ALICE).unwrap();
        assert!(forbidden(room.say(BOB, "hello")), "{version}");
        room.say(ALICE, "hello").unwrap();
    }
}

#[test]
fn the_join_rule_decides_who_may_join() {
    for version in Version::KNOWN {
        for (rule, uninvited, invited) in [
            ("public", true, true),
            ("invite", false, true),
            ("private", false, false),
            ("knock", false, version.knows_knocking()),
            ("restricted", false, version.knows_restricted_joins()),
            (
                "knock_restricted",
                false,
                version.knows_knock_restricted_joins(),
            ),
        ] {
            let mut room = Room::new(version);
            room.join_rule(rule);
            assert_eq!(room.join(BOB).is_ok(), uninvited, "{version} {rule}");
            room.membership(ALICE, CAROL, "invite").unwrap();
            assert_eq!(room.join(CAROL).is_ok(), invited, "{version} {rule}");
        }
    }
}

#[test]
fn nobody_joins_for_another() {
    let mut room = Room::public(Version::V12);
    assert!(forbidden(room.membership(ALICE, BOB, "join")));
    assert!(forbidden(room.membership(ALICE, BOB, "unknown")));
}

#[test]
fn a_restricted_join_needs_a_member_who_may_invite() {
    for version in [
        Version::V8,
        Version::V9,
        Version::V10,
        Version::V11,
        Version::V12,
    ] {
        let mut room = Room::public(version);
        room.join(BOB).unwrap();
        room.levels(json!({"invite": 50})).unwrap();
        room.join_rule("restricted");
        let join = |by: &str| json!({"membership": "join", "join_authorised_via_users_server": by});
        let mut try_by = |by: &str| room.set(CAROL, "m.room.member", CAROL, join(by));
        assert!(forbidden(try_by(BOB)), "{version}: no power");
        assert!(
            forbidden(try_by("@nobody:a.example")),
            "{version}: no member"
        );
        assert!(
            forbidden(try_by(DAVE)),
            "{version}: another server would have to sign"
        );
        assert!(
            matches!(try_by("bob"), Err(Reason::BadFormat(_))),
            "{version}"
        );
        let joined = try_by(ALICE).unwrap();
        // The one who authorised is among the auth events.
        assert_eq!(
            joined.auth_events().len(),
            if version == Version::V12 { 3 } else { 4 },
            "{version}"
        );
    }
}

#[test]
fn knocking_exists_since_version_7() {
    for version in Version::KNOWN {
        for (rule, allowed) in [
            ("knock", version.knows_knocking()),
            ("knock_restricted", version.knows_knock_restricted_joins()),
            ("public", false),
            ("invite", false),
        ] {
            let mut room = Room::new(version);
            room.join_rule(rule);
            assert_eq!(
                room.membership(BOB, BOB, "knock").is_ok(),
                allowed,
                "{version} {rule}"
            );
            assert!(
                forbidden(room.membership(ALICE, CAROL, "knock")),
                "{version} {rule}"
            );
            assert_eq!(
                room.membership(BOB, BOB, "leave").is_ok(),
                allowed,
                "{version} {rule}: a knock can be taken back"
            );
        }
    }
}

#[test]
fn inviting_kicking_and_banning_need_power_over_the_target() {
    for version in TELLING {
        let mut room = Room::public(version);
        for who in [BOB, CAROL, DAVE] {
            room.join(who).unwrap();
        }
        room.levels(json!({"users": {BOB: 50, CAROL: 50}, "invite": 50, "ban": 60}))
            .unwrap();
        assert!(
            forbidden(room.membership(DAVE, "@eve:a.example", "invite")),
            "{version}: too little to invite"
        );
        room.membership(BOB, "@eve:a.example", "invite").unwrap();
        assert!(
            forbidden(room.membership(BOB, CAROL, "leave")),
            "{version}: an equal"
        );
        assert!(
            forbidden(room.membership(DAVE, BOB, "leave")),
            "{version}: too little to kick"
        );
        room.membership(BOB, DAVE, "leave").unwrap();
        room.join(DAVE).unwrap();
        assert!(
            forbidden(room.membership(BOB, DAVE, "ban")),
            "{version}: too little to ban"
        );
        room.membership(ALICE, DAVE, "ban").unwrap();
        assert!(forbidden(room.join(DAVE)), "{version}: banned");
        assert!(
            forbidden(room.membership(ALICE, DAVE, "invite")),
            "{version}: banned"
        );
        assert!(
            forbidden(room.membership(BOB, DAVE, "leave")),
            "{version}: too little to unban"
        );
        room.membership(ALICE, DAVE, "leave").unwrap();
        room.join(DAVE).unwrap();
        assert!(
            forbidden(room.membership(BOB, ALICE, "leave")),
            "{version}: above"
        );
    }
}

#[test]
fn a_banned_user_cannot_speak_or_leave() {
    for version in TELLING {
        let mut room = Room::public(version);
        room.join(BOB).unwrap();
        room.say(BOB, "hello").unwrap();
        room.membership(ALICE, BOB, "ban").unwrap();
        assert!(forbidden(room.say(BOB, "hello")), "{version}");
        assert!(forbidden(room.membership(BOB, BOB, "leave")), "{version}");
    }
}

#[test]
fn events_need_their_level() {
    for version in TELLING {
        let mut room = Room::public(version);
        room.join(BOB).unwrap();
        assert!(
            forbidden(room.set(BOB, "m.room.name", "", json!({"name": "Bob's"}))),
            "{version}"
        );
        room.levels(json!({"events": {"m.room.name": 0, "m.room.message": 10}}))
            .unwrap();
        room.set(BOB, "m.room.name", "", json!({"name": "Bob's"}))
            .unwrap();
        assert!(forbidden(room.say(BOB, "hello")), "{version}");
        assert!(
            forbidden(room.set(BOB, "m.room.name", ALICE, json!({}))),
            "{version}: a state key of another user"
        );
    }
}

#[test]
fn power_is_not_given_beyond_ones_own() {
    for version in TELLING {
        let mut room = Room::public(version);
        for who in [BOB, CAROL] {
            room.join(who).unwrap();
        }
        room.levels(json!({"users": {BOB: 50, CAROL: 50}, "notifications": {"room": 60}}))
            .unwrap();
        let users = |bob: i64, carol: i64| match version.creators_are_privileged() {
            true => json!({BOB: bob, CAROL: carol}),
            false => json!({ALICE: 100, BOB: bob, CAROL: carol}),
        };
        for (content, allowed) in [
            (
                json!({"users": users(60, 50), "notifications": {"room": 60}}),
                false,
            ),
            (
                json!({"users": users(50, 49), "notifications": {"room": 60}}),
                false,
            ),
            (
                json!({"users": users(50, 50), "notifications": {"room": 50}}),
                false,
            ),
            (
                json!({"users": users(50, 50), "notifications": {"room": 60}, "ban": 51}),
                false,
            ),
            (
                json!({"users": users(50, 50), "notifications": {"room": 60}, "kick": 40}),
                true,
            ),
            (
                json!({"users": users(40, 50), "notifications": {"room": 60}, "kick": 40}),
                true,
            ),
        ] {
            let result = room.set(BOB, "m.room.power_levels", "", content.clone());
            assert_eq!(result.is_ok(), allowed, "{version} {content}");
        }
    }
}

#[test]
fn power_levels_are_integers_since_version_10() {
    for version in Version::KNOWN {
        let old = version < Version::V10;
        for (content, allowed) in [
            (json!({"ban": "50"}), old),
            (json!({"events": {"m.room.name": "50"}}), old),
            (json!({"ban": "fifty"}), false),
            (json!({"users": {"bob": 50}}), false),
            (json!({"users": []}), false),
            (
                json!({"ban": 9_007_199_254_740_991_i64}),
                version.creators_are_privileged(),
            ),
        ] {
            let mut room = Room::new(version);
            room.levels(json!({})).unwrap();
            let mut content = content;
            if !version.creators_are_privileged() && content.get("users").is_none() {
                content["users"] = json!({ALICE: 100});
            }
            let result = room.set(ALICE, "m.room.power_levels", "", content.clone());
            assert_eq!(result.is_ok(), allowed, "{version} {content} {result:?}");
        }
    }
}

#[test]
fn creators_stand_above_all_levels_since_version_12() {
    let mut room = Room::empty(Version::V12);
    assert!(forbidden(
        room.create(json!({"additional_creators": "bob"}))
    ));
    assert!(forbidden(
        room.create(json!({"additional_creators": ["bob"]}))
    ));
    room.create(json!({"additional_creators": [BOB]})).unwrap();
    room.join(ALICE).unwrap();
    room.join_rule("public");
    for who in [BOB, CAROL] {
        room.join(who).unwrap();
    }
    assert!(forbidden(room.levels(json!({"users": {BOB: 100}}))));
    assert!(forbidden(room.levels(json!({"users": {ALICE: 100}}))));
    room.levels(json!({"users": {CAROL: 1_000_000}, "ban": 2_000_000}))
        .unwrap();
    assert!(forbidden(room.membership(CAROL, ALICE, "leave")));
    assert!(forbidden(room.membership(ALICE, BOB, "leave")));
    room.membership(BOB, CAROL, "ban").unwrap();
    let levels = room.power_levels();
    assert_eq!(levels.user(&user(BOB)), PowerLevel::Infinite);
    assert_eq!(levels.user(&user(CAROL)), PowerLevel::Level(1_000_000));
    assert!(levels.user(&user(ALICE)).reaches(i64::MAX));
    assert_eq!(levels.creators().count(), 2);
}

#[test]
fn before_version_12_additional_creators_mean_nothing() {
    let mut room = Room::empty(Version::V11);
    room.create(json!({"additional_creators": [BOB]})).unwrap();
    let levels = room.power_levels();
    assert_eq!(levels.user(&user(BOB)), PowerLevel::Level(0));
    assert_eq!(levels.user(&user(ALICE)), PowerLevel::Level(100));
}

#[test]
fn power_levels_fill_in_their_defaults() {
    for version in TELLING {
        let mut room = Room::new(version);
        let levels = room.power_levels();
        assert!(levels.user(&user(ALICE)).reaches(100), "{version}");
        let defaults = (
            levels.to_ban(),
            levels.to_kick(),
            levels.to_invite(),
            levels.to_redact(),
        );
        assert_eq!(defaults, (50, 50, 0, 50), "{version}");
        assert_eq!(
            (
                levels.to_send_state("m.room.name"),
                levels.to_send_message("m.room.name")
            ),
            (50, 0),
            "{version}"
        );
        room.levels(json!({
            "users": {BOB: 20}, "users_default": 10, "events": {"m.room.name": 30, "org.example": 40}, "events_default": 5,
            "state_default": 70, "ban": 1, "kick": 2, "invite": 3, "redact": 4, "notifications": {"room": 6},
        }))
        .unwrap();
        let levels = room.power_levels();
        assert_eq!(levels.user(&user(BOB)), PowerLevel::Level(20), "{version}");
        assert_eq!(
            levels.user(&user(CAROL)),
            PowerLevel::Level(10),
            "{version}"
        );
        let read = (
            levels.to_ban(),
            levels.to_kick(),
            levels.to_invite(),
            levels.to_redact(),
        );
        assert_eq!(read, (1, 2, 3, 4), "{version}");
        assert_eq!(
            (
                levels.to_send_state("org.example"),
                levels.to_send_state("other")
            ),
            (40, 70),
            "{version}"
        );
        assert_eq!(
            (
                levels.to_send_message("m.room.name"),
                levels.to_send_message("other")
            ),
            (30, 5),
            "{version}"
        );
        assert_eq!(
            (levels.to_notify("room"), levels.to_notify("other")),
            (6, 50),
            "{version}"
        );
    }
}

#[test]
fn a_room_may_be_kept_to_one_server() {
    for version in TELLING {
        let mut room = Room::empty(version);
        room.create(json!({"m.federate": false})).unwrap();
        room.join(ALICE).unwrap();
        room.join_rule("public");
        room.join(BOB).unwrap();
        assert!(forbidden(room.join(DAVE)), "{version}");
    }
}

#[test]
fn the_state_that_allows_an_event() {
    let keys = |version, draft: &Draft| {
        let mut keys: Vec<String> = authorisation_keys(version, draft)
            .unwrap()
            .into_iter()
            .map(|(event_type, key)| format!("{event_type}|{key}"))
            .collect();
        keys.sort();
        keys
    };
    let message = draft(BOB, "m.room.message", None, json!({}));
    let plain = [
        "m.room.create|",
        "m.room.member|@bob:a.example",
        "m.room.power_levels|",
    ];
    assert_eq!(keys(Version::V11, &message), plain);
    assert_eq!(keys(Version::V12, &message), plain[1..]);
    assert_eq!(state_keys(Version::V12, &message).unwrap().len(), 3);
    let invite = draft(
        BOB,
        "m.room.member",
        Some(CAROL),
        json!({"membership": "invite"}),
    );
    let more = [
        "m.room.join_rules|",
        "m.room.member|@bob:a.example",
        "m.room.member|@carol:a.example",
        "m.room.power_levels|",
    ];
    assert_eq!(keys(Version::V12, &invite), more);
    let create = draft(ALICE, "m.room.create", Some(""), json!({}));
    assert!(keys(Version::V12, &create).is_empty());
    assert!(state_keys(Version::V12, &create).unwrap().is_empty());
    for wrong in [
        draft(BOB, "m.room.member", None, json!({"membership": "join"})),
        draft(BOB, "m.room.member", Some(BOB), json!({})),
        draft(BOB, "m.room.member", Some(BOB), json!({"membership": 1})),
    ] {
        assert!(matches!(
            authorisation_keys(Version::V12, &wrong),
            Err(Reason::BadFormat(_))
        ));
    }
}
