//! Whom a user ignores (client-server API, "Ignoring Users").

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use model::{UserSerial, user_scope};
use parking_lot::Mutex;
use store::{Position, Read, Snapshot, StoreError};

use crate::{Rooms, user_serial};

/// The most users that are looked up; those beyond are not ignored.
const MAX_IGNORED: usize = 1000;
/// The most users whose lists are remembered.
const MAX_USERS: usize = 4_096;
/// The most ignored users that are remembered, of all lists together.
const MAX_REMEMBERED: usize = 100_000;

/// The users whom `user` ignores, of those that this server has heard of.
///
/// # Errors
/// If the database fails.
pub(crate) fn ignored_users(
    view: &impl Read,
    user: UserSerial,
) -> Result<HashSet<UserSerial>, StoreError> {
    let ids = accounts::ignored_users(view, user)?;
    Ok(Ignored::of(view, ids, Position(0))?.users)
}

/// Those whom one user ignores.
#[derive(Debug, Default)]
pub struct Ignored {
    ids: BTreeSet<String>,
    /// Those of them that this server has heard of.
    users: HashSet<UserSerial>,
    /// The commit that changed the list last; 0 if there is none.
    position: Position,
}

impl Ignored {
    fn of(view: &impl Read, ids: BTreeSet<String>, position: Position) -> Result<Self, StoreError> {
        let ids: BTreeSet<String> = ids.into_iter().take(MAX_IGNORED).collect();
        let mut users = HashSet::new();
        for user_id in &ids {
            users.extend(user_serial(view, user_id)?);
        }
        Ok(Self {
            ids,
            users,
            position,
        })
    }

    /// Whether nobody is ignored.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether somebody is ignored.
    pub fn has(&self, user: UserSerial) -> bool {
        self.users.contains(&user)
    }

    /// Whether the user with this id is ignored.
    pub fn has_id(&self, user_id: &str) -> bool {
        self.ids.contains(user_id)
    }

    /// The commit that changed the list last; 0 if there is none.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether somebody is on the list of whom this server has not heard yet.
    fn awaits_somebody(&self) -> bool {
        self.users.len() < self.ids.len()
    }
}

/// The lists of users who lately asked for something.
#[derive(Default)]
pub(crate) struct IgnoredCache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// With the position at which each was the user's list.
    users: HashMap<UserSerial, (Position, Arc<Ignored>)>,
    ids: usize,
}

impl IgnoredCache {
    fn put(&self, user: UserSerial, at: Position, ignored: &Arc<Ignored>) {
        let mut kept = self.0.lock();
        if kept.users.len() >= MAX_USERS || kept.ids + ignored.ids.len() > MAX_REMEMBERED {
            *kept = Kept::default();
        }
        if kept.users.get(&user).is_some_and(|(newer, _)| *newer > at) {
            return;
        }
        kept.ids += ignored.ids.len();
        if let Some((_, earlier)) = kept.users.insert(user, (at, ignored.clone())) {
            kept.ids -= earlier.ids.len();
        }
    }
}

impl Rooms {
    /// Whom a user ignores as of `view`, without reading it anew where it is certainly the
    /// same. For that user alone.
    ///
    /// # Errors
    /// If the database fails.
    pub fn ignored_by(
        &self,
        view: &Snapshot,
        user: UserSerial,
    ) -> Result<Arc<Ignored>, StoreError> {
        let cache = &self.inner.ignored;
        let known = cache.0.lock().users.get(&user).cloned();
        let known = known.filter(|(at, known)| *at <= view.position() && !known.awaits_somebody());
        if let Some((at, known)) = &known
            && !self.inner.store.changed_since(user_scope(user), *at)
        {
            return Ok(known.clone());
        }
        let position = accounts::ignored_users_position(view, user)?;
        let ignored = match known.filter(|(_, known)| known.position == position) {
            Some((_, known)) => known,
            None => {
                let ids = accounts::ignored_users(view, user)?;
                Arc::new(Ignored::of(view, ids, position)?)
            }
        };
        cache.put(user, view.position(), &ignored);
        Ok(ignored)
    }
}
