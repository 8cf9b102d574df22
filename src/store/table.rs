//! Tables are logical: a number in front of the key, inside one of a few column
//! families that are grouped by how they are read and written.

use std::marker::PhantomData;

use crate::{Key, Prefix, Value};

/// A column family: tables that are read and written alike share its tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Immutable bodies of events: large, compressed hard, read by key.
    Events,
    /// Small rows read by key: interned ids, identities, records of accounts.
    Index,
    /// Rows read in ranges: timelines, memberships, lists.
    Scan,
    /// Rows written in the order of time and deleted behind: the log, changes.
    Changes,
    /// Nodes of state maps: immutable, read by key.
    State,
    /// Queues: written once, read once, deleted.
    Queue,
    /// Bytes of files: kilobytes each, immutable, read by key.
    Files,
}

impl Family {
    /// Every family, in a fixed order.
    pub const ALL: [Family; 7] = [
        Family::Events,
        Family::Index,
        Family::Scan,
        Family::Changes,
        Family::State,
        Family::Queue,
        Family::Files,
    ];

    /// The family's name on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Family::Events => "events",
            Family::Index => "index",
            Family::Scan => "scan",
            Family::Changes => "changes",
            Family::State => "state",
            Family::Queue => "queue",
            Family::Files => "files",
        }
    }
}

/// A table with both its types. Declared with [`crate::tables!`].
pub struct Table<K, V> {
    /// The number that stands before every key of this table; never reused.
    pub number: u16,
    /// The column family that holds the rows.
    pub family: Family,
    /// The table's name, for errors and metrics.
    pub name: &'static str,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Table<K, V> {
    /// A table of that number in that family.
    pub const fn new(number: u16, family: Family, name: &'static str) -> Self {
        Self {
            number,
            family,
            name,
            types: PhantomData,
        }
    }
}

impl<K: Key, V: Value> Table<K, V> {
    /// The bytes of a whole key, the table's number included.
    pub(crate) fn key(&self, key: &K) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        Key::encode(&self.number, &mut out);
        key.encode(&mut out);
        out
    }

    /// The bytes that all keys under `prefix` begin with.
    pub(crate) fn prefix<P: Prefix<K>>(&self, prefix: &P) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        Key::encode(&self.number, &mut out);
        prefix.encode_prefix(&mut out);
        out
    }
}

/// The smallest bytes above all that begin with `prefix`; `None` if there are none.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return Some(end);
        }
        end.pop();
    }
    None
}

/// Declares tables, and lists them all:
/// ```text
/// tables! {
///     /// What a row is.
///     NAME_BY_KEY: KeyType => ValueType, 17, Family::Scan;
/// }
/// ```
#[macro_export]
macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident: $key:ty => $value:ty, $number:literal, $family:expr;)+) => {
        $(
            $(#[$doc])*
            pub const $name: $crate::Table<$key, $value> =
                $crate::Table::new($number, $family, stringify!($name));
        )+

        /// Number and name of every table on this page.
        pub const ALL: &[(u16, &str)] = &[$(($number, stringify!($name))),+];
    };
}
