//! What lists for administrators are made of: rows that sort by name, and rows for every part of a
//! name, so that a page and a search read what they show and little more.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use store::{DecodeError, Key, Read, StoreError, Table};

use crate::{PersonKind, Roles, record::stored};

/// The longest name by which rows are sorted, in bytes.
const MAX_SORTED: usize = 255;
/// The most parts by which one name is found: one for each of its first characters.
const MAX_PARTS: usize = 128;
/// The most rows of parts that a search looks at. A text that fits more is common.
const MOST_LOOKED_AT: usize = 1_000;
/// The bytes of a part by which names are found.
const PART_BYTES: usize = 16;

/// A part of a name in lower case, from some character on: its first bytes, filled up with zeros.
pub type NamePart = [u8; PART_BYTES];

/// A name by which rows sort, byte by byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SortedName(String);

impl SortedName {
    /// A name, as far as rows sort by it.
    pub fn new(name: &str) -> Self {
        let name = &name[..name.floor_char_boundary(MAX_SORTED)];
        // A zero ends it in a key.
        Self(name.replace('\0', ""))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Key for SortedName {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
        out.push(0);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut halves = input.splitn(2, |byte| *byte == 0);
        let (Some(name), Some(rest)) = (halves.next(), halves.next()) else {
            return Err(DecodeError("a sorted name without an end"));
        };
        let name = String::from_utf8(name.to_vec());
        *input = rest;
        name.map(Self)
            .map_err(|_| DecodeError("text in a key is not UTF-8"))
    }
}

/// The parts by which a name is found.
pub fn name_parts(name: &str) -> BTreeSet<NamePart> {
    let name = name.to_lowercase();
    let begins = name.char_indices().take(MAX_PARTS);
    begins.map(|(at, _)| name_part(&name[at..]).0).collect()
}

/// What is looked up to find a text, in lower case, and how many of its bytes count.
pub fn name_part(text: &str) -> (NamePart, usize) {
    let mut part = NamePart::default();
    let length = text.len().min(PART_BYTES);
    part[..length].copy_from_slice(&text.as_bytes()[..length]);
    (part, length)
}

/// What has a text, in lower case, among the parts by which its names are found, or may have it
/// where the text is longer than a part; none if that is so much that whoever looks through the
/// lists has a page of it soon. `by_part` has a row for each part.
///
/// # Errors
/// If the database fails.
pub fn with_part<S: Key + Ord + Default>(
    view: &impl Read,
    by_part: &Table<(NamePart, S), ()>,
    text: &str,
) -> Result<Option<BTreeSet<S>>, StoreError> {
    let (part, length) = name_part(text);
    let mut found = BTreeSet::new();
    let rows = view.scan_from(by_part, &(), &(part, S::default()));
    for (looked_at, row) in rows.enumerate() {
        let ((other, one), ()) = row?;
        if other[..length] != part[..length] {
            break;
        }
        if looked_at == MOST_LOOKED_AT {
            return Ok(None);
        }
        found.insert(one);
    }
    Ok(Some(found))
}

/// Declares the lists of something; the number of each stands in keys.
macro_rules! lists {
    ($($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $list:ident = $number:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$of])* $list,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$list),+];
        }

        impl Key for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                let number: u8 = match self { $(Self::$list => $number,)+ };
                Key::encode(&number, out);
            }
            fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
                match <u8 as Key>::decode(input)? {
                    $($number => Ok(Self::$list),)+
                    _ => Err(DecodeError("an unknown list")),
                }
            }
        }
    )+};
}

lists! {
    /// A list of the accounts of this server.
    PeopleList {
        /// All.
        #[default]
        Everybody = 0,
        /// Those whose account is open.
        Open = 1,
        /// Those who have a role.
        WithRole = 2,
        /// Those whose account is locked or suspended.
        Restrained = 3,
        /// Those whose account is closed.
        Closed = 4,
    }
    /// A list of rooms.
    RoomsList {
        /// All that somebody of this server was ever in.
        #[default]
        All = 0,
        /// Those in which somebody of this server is.
        Inhabited = 1,
        /// Of these, those that nobody administers who is in them.
        Abandoned = 2,
        /// Those in which nobody is.
        Empty = 3,
    }
}

/// What lists know of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedPersonRecord {
    /// The name that the person goes by.
    pub display_name: Option<String>,
    /// When the account was made, in ms since the Unix epoch.
    pub created_at: u64,
    /// What the person may administer.
    pub roles: Roles,
    /// What the person is to this server.
    pub kind: PersonKind,
    /// Whether it is a guest.
    pub is_guest: bool,
    /// Whether the account is locked.
    pub is_locked: bool,
    /// Whether it is suspended.
    pub is_suspended: bool,
    /// Whether it is closed.
    pub is_closed: bool,
}

impl ListedPersonRecord {
    /// Whether the person stands in a list.
    pub fn is_in(&self, list: PeopleList) -> bool {
        match list {
            PeopleList::Everybody => true,
            PeopleList::Open => !self.is_closed,
            PeopleList::WithRole => !self.roles.is_empty(),
            PeopleList::Restrained => self.is_locked || self.is_suspended,
            PeopleList::Closed => self.is_closed,
        }
    }
}

/// What lists know of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRoomRecord {
    /// What it is called.
    pub name: Option<String>,
    /// Its main alias.
    pub alias: Option<String>,
    /// Who made it.
    pub creator: Option<String>,
    /// Its version.
    pub version: String,
    /// The algorithm by which it is encrypted.
    pub encryption: Option<String>,
    /// How one comes in.
    pub join_rule: Option<String>,
    /// Whether guests come in.
    pub guest_access: Option<String>,
    /// Who may read what was said earlier.
    pub history_visibility: Option<String>,
    /// How many are in it.
    pub joined: u64,
    /// How many of this server are.
    pub joined_here: u64,
    /// How many parts its state has.
    pub state_events: u64,
    /// Whether somebody administers it who is in it.
    pub is_administered: bool,
}

impl ListedRoomRecord {
    /// Whether the room stands in a list.
    pub fn is_in(&self, list: RoomsList) -> bool {
        match list {
            RoomsList::All => true,
            RoomsList::Inhabited => self.joined_here > 0,
            RoomsList::Abandoned => self.joined_here > 0 && !self.is_administered,
            RoomsList::Empty => self.joined == 0,
        }
    }

    /// The name by which it is sorted.
    pub fn sorted(&self) -> SortedName {
        SortedName::new(self.name.as_deref().unwrap_or_default())
    }
}

/// How far what was there before the lists has been put into them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingProgressRecord {
    /// The serial of the last that was looked at.
    pub last: u64,
    /// Whether there are no more.
    pub is_complete: bool,
}

stored! {
    ListedPersonRecord = 1,
    ListedRoomRecord = 1,
    ListingProgressRecord = 1,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(key: &impl Key) -> Vec<u8> {
        let mut out = Vec::new();
        key.encode(&mut out);
        out
    }

    #[test]
    fn rows_sort_as_names_do() {
        let names = ["", "a", "ab", "b", "é", "ein langer Name", "A", "a\0b"];
        let mut sorted: Vec<SortedName> = names.map(SortedName::new).to_vec();
        sorted.sort();
        let mut encoded: Vec<Vec<u8>> = sorted.iter().map(bytes).collect();
        assert!(encoded.is_sorted());
        let mut key = encoded.remove(1);
        key.push(7);
        let mut rest = key.as_slice();
        assert_eq!(SortedName::decode(&mut rest), Ok(sorted.remove(1)));
        assert_eq!(rest, [7]);
        assert!(SortedName::decode(&mut b"endless".as_slice()).is_err());
        assert!(SortedName::new(&"é".repeat(200)).as_str().len() <= MAX_SORTED);
    }

    #[test]
    fn every_part_of_a_name_is_found() {
        let parts = name_parts("Änne Müller");
        for text in ["ä", "nne", " mü", "müller", "r"] {
            let (part, length) = name_part(text);
            let found = parts.range(part..).next();
            assert!(
                found.is_some_and(|found| found[..length] == part[..length]),
                "{text}"
            );
        }
        assert_eq!(parts.len(), 11);
        let (long, length) = name_part("donaudampfschifffahrt");
        assert_eq!((length, &long[..4]), (PART_BYTES, &b"dona"[..]));
        assert!(name_parts(&"ab".repeat(500)).len() <= MAX_PARTS);
        assert!(name_parts("").is_empty());
    }
}
