//! Which state of a room a client wants (`required_state`).

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use model::EventSerial;

use super::states::States;
use crate::SyncError;

const ANY: &str = "*";
pub(crate) const MEMBER: &str = "m.room.member";

/// Some state of a room: by event type and state key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequiredState {
    /// Types and keys; `*` stands for all of them. Members are meant only by their own
    /// type, never by `*`.
    patterns: BTreeSet<(String, String)>,
    /// Whether members are told as they speak.
    lazy_members: bool,
    /// Stands for all of this.
    fingerprint: u64,
}

impl RequiredState {
    /// What a client means by these pairs; `me` is its user.
    pub(crate) fn new(pairs: &[(String, String)], me: &str) -> Self {
        let is_lazy = |(kind, key): &&(String, String)| kind == MEMBER && key == "$LAZY";
        let mut required = Self {
            lazy_members: pairs.iter().any(|pair| is_lazy(&pair)),
            ..Self::default()
        };
        for (kind, key) in pairs.iter().filter(|pair| !is_lazy(pair)) {
            let key = if key == "$ME" { me } else { key };
            if kind == ANY && !required.lazy_members {
                required.add(MEMBER, key);
            }
            required.add(kind, key);
        }
        required.finished()
    }

    fn add(&mut self, kind: &str, key: &str) {
        self.patterns.insert((kind.to_owned(), key.to_owned()));
    }

    fn finished(mut self) -> Self {
        let mut hasher = DefaultHasher::new();
        self.patterns.hash(&mut hasher);
        self.lazy_members.hash(&mut hasher);
        self.fingerprint = hasher.finish();
        self
    }

    /// What either wants. Who wants all members gets them, and not as they speak.
    pub(crate) fn merged(&self, other: &Self) -> Self {
        let all_members = |one: &Self| one.has(MEMBER, ANY);
        Self {
            patterns: self.patterns.union(&other.patterns).cloned().collect(),
            lazy_members: (self.lazy_members || other.lazy_members)
                && !all_members(self)
                && !all_members(other),
            fingerprint: 0,
        }
        .finished()
    }

    fn has(&self, kind: &str, key: &str) -> bool {
        self.patterns.contains(&(kind.to_owned(), key.to_owned()))
    }

    /// Stands for all of this: equal ones are alike.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Whether members are told as they speak.
    pub(crate) fn lazy_members(&self) -> bool {
        self.lazy_members
    }

    /// Whether the state under a type and key is wanted.
    pub(crate) fn wants(&self, kind: &str, key: &str) -> bool {
        self.has(kind, key)
            || self.has(kind, ANY)
            || (kind != MEMBER && (self.has(ANY, key) || self.has(ANY, ANY)))
    }

    /// What is wanted here and was not wanted before.
    pub(crate) fn added_to(&self, before: &Self) -> Self {
        let known = |(kind, key): &&(String, String)| before.wants(kind, key);
        Self {
            patterns: self
                .patterns
                .iter()
                .filter(|pattern| !known(pattern))
                .cloned()
                .collect(),
            lazy_members: false,
            fingerprint: 0,
        }
        .finished()
    }

    /// The events that are wanted of a state, each once.
    pub(crate) fn events(
        &self,
        states: &States<'_>,
    ) -> Result<BTreeMap<(String, String), EventSerial>, SyncError> {
        let mut found = BTreeMap::new();
        for (kind, key) in &self.patterns {
            if kind == ANY {
                for (kind, other, event) in states.all()? {
                    if kind != MEMBER && (key == ANY || *key == other) {
                        found.insert((kind, other), event);
                    }
                }
            } else if key == ANY {
                for (key, event) in states.of_type(kind)?.iter() {
                    found.insert((kind.clone(), key.clone()), *event);
                }
            } else if let Some(event) = states.get(kind, key)? {
                found.insert((kind.clone(), key.clone()), event);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: &str = "@me:here";

    fn required(pairs: &[(&str, &str)]) -> RequiredState {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(kind, key)| ((*kind).to_owned(), (*key).to_owned()))
            .collect();
        RequiredState::new(&pairs, ME)
    }

    #[test]
    fn wildcards_and_names() {
        for (pairs, kind, key, wanted) in [
            (&[("m.room.name", "")][..], "m.room.name", "", true),
            (&[("m.room.name", "")], "m.room.name", "x", false),
            (&[("m.space.child", "*")], "m.space.child", "!a:b", true),
            (&[("m.space.child", "*")], "m.space.parent", "!a:b", false),
            (&[("*", "")], "m.room.topic", "", true),
            (&[("*", "")], "m.room.topic", "x", false),
            (&[("*", "*")], "anything", "x", true),
            (&[("*", "*")], MEMBER, "@a:b", true),
            (&[("*", "*"), (MEMBER, "$LAZY")], MEMBER, "@a:b", false),
            (&[("*", "*"), (MEMBER, "$LAZY")], "m.room.topic", "", true),
            (
                &[("*", "*"), (MEMBER, "$LAZY"), (MEMBER, "$ME")],
                MEMBER,
                ME,
                true,
            ),
            (&[(MEMBER, "$ME")], MEMBER, ME, true),
            (&[(MEMBER, "$ME")], MEMBER, "@a:b", false),
            (&[("*", "@a:b")], MEMBER, "@a:b", true),
            (&[], "m.room.name", "", false),
        ] {
            assert_eq!(
                required(pairs).wants(kind, key),
                wanted,
                "{pairs:?} {kind} {key}"
            );
        }
        assert!(required(&[(MEMBER, "$LAZY")]).lazy_members());
        assert!(!required(&[(MEMBER, "*")]).lazy_members());
    }

    #[test]
    fn what_two_want_is_wanted() {
        let lazy = required(&[("*", "*"), (MEMBER, "$LAZY")]);
        let one = required(&[(MEMBER, "@a:b")]);
        let all = required(&[(MEMBER, "*")]);
        let merged = lazy.merged(&one);
        assert!(merged.lazy_members());
        assert!(merged.wants(MEMBER, "@a:b") && !merged.wants(MEMBER, "@c:d"));
        assert!(merged.wants("m.room.topic", ""));
        let merged = lazy.merged(&all);
        assert!(!merged.lazy_members());
        assert!(merged.wants(MEMBER, "@c:d"));
        assert_eq!(
            one.merged(&lazy).fingerprint(),
            lazy.merged(&one).fingerprint()
        );
    }

    #[test]
    fn only_what_is_new_is_added() {
        let narrow = required(&[("m.room.name", ""), ("m.space.child", "*")]);
        let wide = required(&[("m.room.name", ""), ("m.space.child", "!a:b"), ("x", "y")]);
        let added = wide.added_to(&narrow);
        assert_eq!(added, required(&[("x", "y")]));
        let everything = required(&[("*", "*")]);
        assert_eq!(
            wide.added_to(&everything),
            RequiredState::default().finished()
        );
        let lazy = required(&[("*", "*"), (MEMBER, "$LAZY")]);
        assert_eq!(everything.added_to(&lazy), required(&[(MEMBER, "*")]));
        assert_eq!(lazy.added_to(&everything).patterns.len(), 0);
    }
}
