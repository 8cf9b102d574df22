//! Races of people in rooms, and who must win them.

use crate::forks::Step;

const ALICE: &str = "@alice:a.example";
const BOB: &str = "@bob:a.example";
const CAROL: &str = "@carol:b.example";
const DAVE: &str = "@dave:c.example";
const LEVELS: &str = "m.room.power_levels";
const MEMBER: &str = "m.room.member";
const RULES: &str = "m.room.join_rules";
const TOPIC: &str = "m.room.topic";
const JOIN: &str = r#"{"membership":"join"}"#;
const BAN: &str = r#"{"membership":"ban"}"#;
const BOBS_NAME: &str = r#"{"displayname":"Bob","membership":"join"}"#;
const INVITE_ONLY: &str = r#"{"join_rule":"invite"}"#;
/// Levels without Alice, who has more than all levels since version 12.
const BOB_LOSES: &str = r#"{"users":{"@bob:a.example":0,"@carol:b.example":100}}"#;
const BOB_GAINS: &str = r#"{"users":{"@bob:a.example":100,"@carol:b.example":100}}"#;

/// A state that is expected: type, key, and the content, if there must be an event.
pub(crate) type Expected = (&'static str, &'static str, Option<&'static str>);

pub(crate) struct Story {
    pub(crate) name: &'static str,
    pub(crate) forks: &'static [&'static [Step]],
    /// Since version 2.
    pub(crate) expected: &'static [Expected],
    pub(crate) expected_in_version_1: &'static [Expected],
    /// Whether it can happen in versions before 12: Alice's own level is not in the contents.
    pub(crate) only_since_12: bool,
}

pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "a ban beats what the banned does meanwhile, even with an earlier time",
        forks: &[
            &[(5000, ALICE, MEMBER, BOB, BAN)],
            &[
                (1, BOB, MEMBER, BOB, BOBS_NAME),
                (2, BOB, TOPIC, "", r#"{"topic":"of Bob"}"#),
            ],
        ],
        expected: &[
            (MEMBER, BOB, Some(BAN)),
            (TOPIC, "", Some(r#"{"topic":"before"}"#)),
        ],
        // A topic is not compared with the membership that changes beside it.
        expected_in_version_1: &[(MEMBER, BOB, Some(BAN))],
        only_since_12: false,
    },
    Story {
        name: "a ban beats the join of somebody new",
        forks: &[
            &[(5000, CAROL, MEMBER, DAVE, BAN)],
            &[(1, DAVE, MEMBER, DAVE, JOIN)],
        ],
        expected: &[(MEMBER, DAVE, Some(BAN))],
        expected_in_version_1: &[],
        only_since_12: false,
    },
    Story {
        name: "nobody joins past rules that were closed meanwhile",
        forks: &[
            &[(5000, ALICE, RULES, "", INVITE_ONLY)],
            &[(1, DAVE, MEMBER, DAVE, JOIN)],
        ],
        expected: &[(RULES, "", Some(INVITE_ONLY)), (MEMBER, DAVE, None)],
        // What only some forks have is no conflict there.
        expected_in_version_1: &[(RULES, "", Some(INVITE_ONLY)), (MEMBER, DAVE, Some(JOIN))],
        only_since_12: false,
    },
    Story {
        name: "the one with more power wins, then what it took away is gone",
        forks: &[
            &[(5000, ALICE, LEVELS, "", BOB_LOSES)],
            &[(1, BOB, TOPIC, "", r#"{"topic":"of Bob"}"#)],
        ],
        expected: &[
            (LEVELS, "", Some(BOB_LOSES)),
            (TOPIC, "", Some(r#"{"topic":"before"}"#)),
        ],
        expected_in_version_1: &[],
        only_since_12: true,
    },
    Story {
        name: "a creator stands above the highest level",
        forks: &[
            &[(5000, ALICE, MEMBER, CAROL, BAN)],
            &[(1, CAROL, LEVELS, "", BOB_GAINS)],
        ],
        expected: &[(MEMBER, CAROL, Some(BAN))],
        expected_in_version_1: &[],
        only_since_12: true,
    },
];
