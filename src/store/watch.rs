//! Who waits for what: readers subscribe to scopes first and read second, so
//! that no change between the two is missed.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Position;

/// Something that changes and can be waited for: a room, a user, a device. The
/// kinds are the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// What kind of thing `serial` names.
    pub kind: u8,
    /// Which one.
    pub serial: u64,
}

/// All who wait, by scope.
pub(crate) struct Watchers {
    waiting: Mutex<HashMap<Scope, Vec<Arc<Notify>>>>,
    newest: Mutex<Newest>,
}

/// When each scope changed last. Scopes that are missing have not changed since
/// `floor`.
struct Newest {
    floor: Position,
    /// The newest change of any scope.
    last: Position,
    changes: HashMap<Scope, Position>,
    /// The newest changes in their order: all that came after `recent_floor`.
    recent: VecDeque<(Position, Scope)>,
    recent_floor: Position,
}

impl Newest {
    /// What changed after `since`, some of it perhaps twice; `None` if that is much, or not
    /// remembered.
    fn recent_since(&self, since: Position) -> Option<Vec<Scope>> {
        if since < self.recent_floor {
            return None;
        }
        let newest = self.recent.iter().rev();
        let newest = newest.take_while(|(position, _)| *position > since);
        let scopes: Vec<Scope> = newest.take(FEW + 1).map(|(_, scope)| *scope).collect();
        (scopes.len() <= FEW).then_some(scopes)
    }

    fn note(&mut self, scope: Scope, position: Position) {
        if self.recent.len() == RECENT
            && let Some((oldest, _)) = self.recent.pop_front()
        {
            self.recent_floor = oldest;
        }
        self.recent.push_back((position, scope));
        self.changes.insert(scope, position);
    }

    fn changed_since(&self, scope: Scope, since: Position) -> bool {
        let changed = self.changes.get(&scope);
        self.floor > since || changed.is_some_and(|position| *position > since)
    }
}

/// How many scopes' newest changes are remembered.
const REMEMBERED: usize = 1 << 17;
/// How many changes are remembered in their order.
const RECENT: usize = 1 << 12;
/// How many changes are looked through one by one.
const FEW: usize = 64;

impl Watchers {
    pub(crate) fn new(floor: Position) -> Self {
        Self {
            waiting: Mutex::default(),
            newest: Mutex::new(Newest {
                floor,
                last: floor,
                changes: HashMap::new(),
                recent: VecDeque::new(),
                recent_floor: floor,
            }),
        }
    }

    /// Remembers that scopes changed at `position`. Call before that position is
    /// published, so that nobody who reads it is told that nothing changed.
    pub(crate) fn remember(&self, scopes: &[Scope], position: Position) {
        let mut newest = self.newest.lock();
        if newest.changes.len() + scopes.len() > REMEMBERED {
            newest.changes.clear();
            newest.floor = position;
        }
        newest.last = newest.last.max(position);
        for scope in scopes {
            newest.note(*scope, position);
        }
    }

    /// What changed after `since`, each once; `None` if that is much, or not remembered.
    pub(crate) fn recent_changes(&self, since: Position) -> Option<Vec<Scope>> {
        let mut scopes = self.newest.lock().recent_since(since)?;
        scopes.sort_unstable();
        scopes.dedup();
        Some(scopes)
    }

    /// Whether `scope` may have changed after `since`.
    pub(crate) fn changed_since(&self, scope: Scope, since: Position) -> bool {
        self.newest.lock().changed_since(scope, since)
    }

    /// After which commit `scope` certainly has not changed.
    pub(crate) fn newest_change(&self, scope: Scope) -> Position {
        let newest = self.newest.lock();
        let changed = newest.changes.get(&scope).copied();
        changed.unwrap_or(newest.floor).max(newest.floor)
    }

    /// Which of `scopes` may have changed after `since`.
    pub(crate) fn changed_among(
        &self,
        scopes: impl IntoIterator<Item = Scope>,
        since: Position,
    ) -> Vec<Scope> {
        let newest = self.newest.lock();
        if newest.last <= since {
            return Vec::new();
        }
        let scopes = scopes.into_iter();
        match newest.recent_since(since) {
            Some(recent) => scopes.filter(|scope| recent.contains(scope)).collect(),
            None => scopes
                .filter(|scope| newest.changed_since(*scope, since))
                .collect(),
        }
    }

    /// Whether any of `scopes` may have changed after `since`.
    pub(crate) fn any_changed_since(&self, scopes: &[Scope], since: Position) -> bool {
        let newest = self.newest.lock();
        if newest.last <= since {
            return false;
        }
        match newest.recent_since(since) {
            Some(recent) => recent.iter().any(|scope| scopes.contains(scope)),
            None => {
                let changed = |scope: &Scope| newest.changed_since(*scope, since);
                scopes.iter().any(changed)
            }
        }
    }

    /// How many scopes are waited for, each as often as somebody waits for it.
    pub(crate) fn count(&self) -> u64 {
        self.waiting
            .lock()
            .values()
            .map(|all| all.len() as u64)
            .sum()
    }

    pub(crate) fn watch(self: &Arc<Self>, scopes: &[Scope]) -> Watch {
        let notify = Arc::new(Notify::new());
        let mut waiting = self.waiting.lock();
        for scope in scopes {
            waiting.entry(*scope).or_default().push(notify.clone());
        }
        drop(waiting);
        Watch {
            watchers: self.clone(),
            scopes: scopes.to_vec(),
            notify,
        }
    }

    pub(crate) fn wake(&self, scopes: impl IntoIterator<Item = Scope>) {
        let waiting = self.waiting.lock();
        for scope in scopes {
            for notify in waiting.get(&scope).into_iter().flatten() {
                // Stores a permit when nobody is waiting at this instant.
                notify.notify_one();
            }
        }
    }
}

/// A subscription to some scopes. Dropping it ends it.
pub struct Watch {
    watchers: Arc<Watchers>,
    scopes: Vec<Scope>,
    notify: Arc<Notify>,
}

impl Watch {
    /// Returns as soon as one of the scopes has changed since the subscription or
    /// since this last returned. May return without a change: read and see.
    pub async fn changed(&mut self) {
        self.notify.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = self.watchers.waiting.lock();
        for scope in &self.scopes {
            if let Some(list) = waiting.get_mut(scope) {
                list.retain(|notify| !Arc::ptr_eq(notify, &self.notify));
                if list.is_empty() {
                    waiting.remove(scope);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(serial: u64) -> Scope {
        Scope { kind: 1, serial }
    }

    #[test]
    fn few_recent_changes_are_found_as_all_are() {
        const LAST: u64 = 6_000;
        let watchers = Watchers::new(Position(0));
        let changed_at = |position: u64| [scope(position % 7), scope(position % 11)];
        for position in 1..=LAST {
            watchers.remember(&changed_at(position), Position(position));
        }
        for since in [0, 100, LAST - 40, LAST - 2, LAST - 1, LAST] {
            let changed: Vec<Scope> = (since + 1..=LAST).flat_map(changed_at).collect();
            let expected: Vec<Scope> = (0..20)
                .map(scope)
                .filter(|one| changed.contains(one))
                .collect();
            let since = Position(since);
            assert_eq!(watchers.changed_among((0..20).map(scope), since), expected);
            for one in (0..20).map(scope) {
                let has_changed = expected.contains(&one);
                assert_eq!(watchers.changed_since(one, since), has_changed);
                assert_eq!(watchers.any_changed_since(&[one], since), has_changed);
                assert_eq!(watchers.newest_change(one) > since, has_changed);
            }
            if let Some(recent) = watchers.recent_changes(since) {
                assert_eq!(recent, expected);
            }
        }
        assert_eq!(watchers.recent_changes(Position(0)), None);
        assert_eq!(watchers.recent_changes(Position(LAST)), Some(Vec::new()));
        assert!(watchers.recent_changes(Position(LAST - 2)).is_some());
    }
}
