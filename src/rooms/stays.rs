//! The rooms that people have to do with, kept in memory: every sync asks for them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use model::{MembershipRecord, RoomSerial, UserSerial, tables, user_scope};
use parking_lot::Mutex;
use store::{Position, Read, Snapshot, StoreError};

use crate::Rooms;

/// A user's membership of every room that they have to do with.
pub type Stays = BTreeMap<RoomSerial, MembershipRecord>;

/// The most memberships that are kept, of all users together.
const MAX_ROWS: usize = 100_000;

#[derive(Default)]
pub(crate) struct StaysCache {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    users: HashMap<UserSerial, (Position, Arc<Stays>)>,
    rows: usize,
}

impl StaysCache {
    fn get(&self, user: UserSerial) -> Option<(Position, Arc<Stays>)> {
        self.kept.lock().users.get(&user).cloned()
    }

    fn put(&self, user: UserSerial, read_at: Position, stays: &Arc<Stays>) {
        let mut kept = self.kept.lock();
        if kept.rows + stays.len() > MAX_ROWS {
            *kept = Kept::default();
        }
        kept.rows += stays.len();
        if let Some((_, earlier)) = kept.users.insert(user, (read_at, stays.clone())) {
            kept.rows -= earlier.len();
        }
    }
}

impl Rooms {
    /// The rooms that a local user has anything to do with. For that user alone.
    ///
    /// # Errors
    /// If the database fails.
    pub fn stays(&self, view: &Snapshot, user: UserSerial) -> Result<Arc<Stays>, StoreError> {
        let store = &self.inner.store;
        if let Some((read_at, stays)) = self.inner.stays.get(user)
            && read_at <= view.position()
            && !store.changed_since(user_scope(user), read_at)
        {
            return Ok(stays);
        }
        let mut stays = Stays::new();
        for row in view.scan(&tables::MEMBERSHIP_BY_USER, &(user,)) {
            let ((_, room), record) = row?;
            stays.insert(room, record);
        }
        let stays = Arc::new(stays);
        self.inner.stays.put(user, view.position(), &stays);
        Ok(stays)
    }
}
