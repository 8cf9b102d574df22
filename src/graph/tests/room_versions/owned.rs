//! State that is owned (MSC3757).

use graph::{Reason, Version};
use serde_json::json;

use crate::room::{ALICE, BOB, CAROL, Room, forbidden};

const OWNED: [Version; 2] = [Version::Owned10, Version::Owned11];

/// A room in which everybody may set state of this type, and Bob has more power than Carol.
fn room(version: Version) -> Room {
    let mut room = Room::public(version);
    room.join(BOB).unwrap();
    room.join(CAROL).unwrap();
    let levels = json!({ "users": { BOB: 1 }, "events": { "org.example.x": 0 } });
    room.levels(levels).unwrap();
    room
}

#[test]
fn state_belongs_to_the_user_whose_id_begins_its_key() {
    for version in OWNED {
        let mut room = room(version);
        let mut set = |who: &str, key: &str| room.set(who, "org.example.x", key, json!({}));
        for key in [CAROL.to_owned(), format!("{CAROL}_suffix:!@#$1_2")] {
            set(CAROL, &key).unwrap();
            // Who has more power may set it too.
            set(BOB, &key).unwrap();
            set(ALICE, &key).unwrap();
        }
        for key in [ALICE.to_owned(), BOB.to_owned(), format!("{BOB}_")] {
            assert!(forbidden(set(CAROL, &key)), "{version} {key}");
        }
        set(BOB, "@nobody:z.example_").unwrap();
        set(CAROL, "no owner").unwrap();
        for key in ["@oops", "@a:b@c_d"] {
            let refused = set(ALICE, key);
            assert!(
                matches!(refused, Err(Reason::BadFormat(_))),
                "{version} {key}: {refused:?}"
            );
        }
        // The other rules stand.
        let name = format!("{CAROL}_x");
        assert!(forbidden(room.set(CAROL, "m.room.topic", &name, json!({}))));
        assert!(forbidden(room.membership(BOB, CAROL, "join")));
        assert!(forbidden(room.set(
            "@dave:b.example",
            "org.example.x",
            "@dave:b.example_",
            json!({})
        )));
    }
}

#[test]
fn other_versions_know_no_owners_but_the_whole_key() {
    for version in [Version::V10, Version::V11, Version::V12] {
        let mut room = room(version);
        room.set(CAROL, "org.example.x", CAROL, json!({})).unwrap();
        for key in [format!("{CAROL}_x"), ALICE.to_owned(), "@oops".to_owned()] {
            let refused = room.set(CAROL, "org.example.x", &key, json!({}));
            assert!(forbidden(refused), "{version} {key}");
        }
        assert!(forbidden(room.set(
            ALICE,
            "org.example.x",
            CAROL,
            json!({})
        )));
    }
}
