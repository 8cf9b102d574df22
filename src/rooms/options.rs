//! The section `[rooms]` of the configuration.

use serde::{Deserialize, Serialize};

runtime::options! {
    /// What rooms are like when their creator does not say, and what clients may do there.
    pub struct RoomsOptions in "rooms" {
        /// The room version of new rooms: "1" to "12".
        pub default_version: String = "12".to_owned(),
        /// Whether partners, people from outside, may begin direct chats and be invited into
        /// them, although they make no rooms and come only into rooms that were opened to them.
        pub partner_direct_chats: bool = false,
        /// Whether people see who of those whom they share a room with is there.
        pub presence: bool = true,
        /// After how many seconds somebody who does nothing is shown as away.
        pub presence_idle_after: u64 = 300,
        /// How many seconds after their last sync somebody is shown as offline.
        pub presence_offline_after: u64 = 30,
        /// How far ahead clients may schedule an event, in seconds.
        pub delayed_events_max_delay: u64 = 86_400,
        /// How many scheduled events one user may have at a time. 0: nobody can schedule any.
        pub delayed_events_per_user: u64 = 100,
        /// Whether a room is frozen when the last who administer it go: nobody says anything there
        /// until `cairn room hand-over` gives it to somebody.
        pub freeze_abandoned: bool = false,
        /// The marking of new rooms whose creator names none; one of `markings`. Empty: none.
        pub default_marking: String = String::new(),
        /// The protective markings that rooms can have, the least protective first. Each says what it
        /// forbids. For instance [{ name = "OFFICIAL" },
        /// { name = "OFFICIAL-SENSITIVE", federation = false, external_members = false, public = false, encryption = "required" }]
        pub markings: Vec<Marking> = Vec::new(),
        /// What rooms of this server must keep to, each rule for all rooms or for some kinds. For instance
        /// [{ kinds = ["direct"], members_max = 2 }, { kinds = ["public"], made_by = "roles" },
        /// { kinds = ["private", "public"], name_required = true }]
        pub rules: Vec<RoomRule> = Vec::new(),
    }
}

runtime::options! {
    /// A protective marking of rooms.
    pub struct Marking in "rooms.markings" {
        /// What people read, for instance "OFFICIAL-SENSITIVE".
        pub name: String = String::new(),
        /// Whether people of other servers may be in such rooms.
        pub federation: bool = true,
        /// Whether guests and partners may be.
        pub external_members: bool = true,
        /// Whether such rooms may stand in the public directory, and be open to everybody.
        pub public: bool = true,
        /// Whether they are encrypted: "optional", "required" or "forbidden".
        pub encryption: Encryption = Encryption::Optional,
    }
}

runtime::options! {
    /// What rooms must keep to.
    pub struct RoomRule in "rooms.rules" {
        /// For which rooms, any of "direct", "private", "public" and "space". Empty: for all.
        pub kinds: Vec<RoomKind> = Vec::new(),
        /// Who may make them: "everybody", "roles" (whoever has a role on the server) or "nobody".
        pub made_by: MadeBy = MadeBy::Everybody,
        /// Whether people of other servers may be in them.
        pub federation: bool = true,
        /// Whether guests and partners may be.
        pub external_members: bool = true,
        /// Whether they may stand in the public directory, and be open to everybody.
        pub public: bool = true,
        /// Whether they are encrypted: "optional", "required" or "forbidden".
        pub encryption: Encryption = Encryption::Optional,
        /// How many may be in one of them, those who are invited included. 0: as many as you like.
        pub members_max: u64 = 0,
        /// Whether they must have a name.
        pub name_required: bool = false,
    }
}

/// What kind of room it is, as rules tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomKind {
    /// Made as a direct chat.
    Direct,
    /// For those who are invited or let in.
    Private,
    /// For everybody.
    Public,
    /// A space.
    Space,
}

impl RoomKind {
    /// What such rooms are called in a refusal.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct chats",
            Self::Private => "private rooms",
            Self::Public => "public rooms",
            Self::Space => "spaces",
        }
    }
}

/// Who may make rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MadeBy {
    /// Whoever has an account.
    Everybody,
    /// Whoever has a role on the server.
    Roles,
    /// Nobody.
    Nobody,
}

/// Whether rooms are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// As their people like.
    Optional,
    /// Always.
    Required,
    /// Never.
    Forbidden,
}

impl RoomsOptions {
    /// A marking by its name, with its rank: higher is more protective.
    pub(crate) fn marking(&self, name: &str) -> Option<(usize, &Marking)> {
        let mut markings = self.markings.iter().enumerate();
        markings.find(|(_, marking)| marking.name == name)
    }

    /// What is wrong with markings and rules, each with the key that has it.
    pub fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        for (index, marking) in self.markings.iter().enumerate() {
            let is_plain = !marking.name.trim().is_empty() && marking.name.len() <= MAX_NAME;
            if !is_plain || marking.name.chars().any(char::is_control) {
                let text = format!("a marking has a name of 1 to {MAX_NAME} bytes");
                mistakes.push(("markings", text));
            }
            let before = self.markings.iter().take(index);
            if before.into_iter().any(|other| other.name == marking.name) {
                mistakes.push(("markings", format!("{:?} stands there twice", marking.name)));
            }
        }
        let default = self.default_marking.as_str();
        if !default.is_empty() && self.marking(default).is_none() {
            let text = format!("`default_marking`: there is no marking {default:?}");
            mistakes.push(("default_marking", text));
        }
        mistakes
    }
}

/// The longest name of a marking, in bytes.
const MAX_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markings_are_told_apart() {
        let named = |name: &str| Marking {
            name: name.to_owned(),
            ..Marking::default()
        };
        let with = |names: &[&str], default: &str| RoomsOptions {
            markings: names.iter().map(|name| named(name)).collect(),
            default_marking: default.to_owned(),
            ..RoomsOptions::default()
        };
        for (names, default, mistakes) in [
            (&["A", "B"][..], "A", 0),
            (&[], "", 0),
            (&[], "A", 1),
            (&["A", "A"], "", 1),
            (&[""], "", 1),
            (&["A\n"], "B", 2),
        ] {
            let options = with(names, default);
            assert_eq!(options.mistakes().len(), mistakes, "{names:?} {default:?}");
        }
        let options = with(&["A", "B"], "");
        assert_eq!(options.marking("B").map(|(rank, _)| rank), Some(1));
    }
}
