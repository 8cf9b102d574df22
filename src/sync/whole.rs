//! Rooms whose state was not known wholly, or is not yet (MSC3902, `/sync`).

use model::{MembershipRecord, RoomSerial, tables};
use store::{Position, Read, Snapshot, StoreError};

/// When a room's state was known wholly.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Whole {
    is_partial: bool,
    /// The commit by which it was, if it was not from the beginning.
    since: Option<Position>,
}

impl Whole {
    /// What is known of a room.
    pub(crate) fn of(snapshot: &Snapshot, room: RoomSerial) -> Result<Self, StoreError> {
        Ok(Self {
            is_partial: rooms::is_partial(snapshot, room)?,
            since: snapshot.get(&tables::COMPLETED_BY_ROOM, &room)?,
        })
    }

    /// Whether members are still missing.
    pub(crate) fn is_not_yet(self) -> bool {
        self.is_partial
    }

    /// Whether members were missing at a commit after which all is known.
    pub(crate) fn was_partial(self, at: Position) -> bool {
        self.since.is_some_and(|since| since > at)
    }

    /// The membership as a client sees it: one that does not load members as they speak
    /// comes into the room when all of them are known.
    pub(crate) fn as_shown(self, record: &MembershipRecord, lazy: bool) -> MembershipRecord {
        let mut shown = record.clone();
        if let Some(since) = self.since.filter(|_| !lazy) {
            shown.last_join = shown.last_join.max(since.0);
        }
        shown
    }
}
