//! Who waits for what: readers subscribe to scopes first and read second, so
//! that no change between the two is missed.

use std::{collections::HashMap, sync::Arc};

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
}

impl Newest {
    fn changed_since(&self, scope: Scope, since: Position) -> bool {
        let changed = self.changes.get(&scope);
        self.floor > since || changed.is_some_and(|position| *position > since)
    }
}

/// How many scopes' newest changes are remembered.
const REMEMBERED: usize = 1 << 17;

impl Watchers {
    pub(crate) fn new(floor: Position) -> Self {
        Self {
            waiting: Mutex::default(),
            newest: Mutex::new(Newest {
                floor,
                last: floor,
                changes: HashMap::new(),
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
            newest.changes.insert(*scope, position);
        }
    }

    /// Whether `scope` may have changed after `since`.
    pub(crate) fn changed_since(&self, scope: Scope, since: Position) -> bool {
        self.newest.lock().changed_since(scope, since)
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
        scopes
            .filter(|scope| newest.changed_since(*scope, since))
            .collect()
    }

    /// Whether any of `scopes` may have changed after `since`.
    pub(crate) fn any_changed_since(&self, scopes: &[Scope], since: Position) -> bool {
        let newest = self.newest.lock();
        let changed = |scope: &Scope| newest.changed_since(*scope, since);
        newest.last > since && scopes.iter().any(changed)
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
