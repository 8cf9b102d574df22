//! Rooms whose unread counts may be others after a change of push rules or of the list of
//! ignored users, though nothing happened in them.

use std::collections::BTreeSet;

use model::{MembershipRecord, RoomChange, RoomSerial, UserSerial, tables};
use store::{Read, Snapshot, StoreError};

use crate::{Rooms, unread::Tally};

/// The most changes of a room that are looked at. In a room with more of them since the
/// user's receipts, something is unread.
const MAX_CHANGES: usize = 200;

impl Rooms {
    /// Whether a room that the user is in, by `record`, has any event of others that the
    /// user has not read, whether it counts or not. Only there do the user's push rules
    /// and list of ignored users make a difference.
    ///
    /// # Errors
    /// If the database fails.
    pub fn has_unread_events(
        &self,
        view: &Snapshot,
        room: RoomSerial,
        user: UserSerial,
        record: &MembershipRecord,
    ) -> Result<bool, StoreError> {
        let read = Tally::new(view, room, user, record.last_join, 0)?;
        // Who speaks has read what was said before.
        let mut spoken = BTreeSet::new();
        let rows = view.scan_back(&tables::CHANGE_BY_ROOM, &(room,), None);
        for (count, row) in rows.enumerate() {
            let ((_, position, _), change) = row?;
            if position.0 <= record.last_join || read.has_read_all(position.0) {
                return Ok(false);
            }
            if count == MAX_CHANGES {
                return Ok(true);
            }
            let RoomChange::Event(change) = change else {
                continue;
            };
            if change.sender == user {
                spoken.insert(change.thread);
            } else if !spoken.contains(&change.thread) && !read.has_read(change.thread, position.0)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
