//! Events that are sticky for a while (MSC4354): every member is told of them, however
//! much else was said since.

use model::{EventSerial, RoomSerial, tables};
use store::{Batch, Position, Read, StoreError};

use crate::{ClientEvent, EventReader, ReadError, Rooms};

/// The most sticky events of one room that one answer tells: the newest ones.
const MOST: usize = 500;
/// How many that are sticky no more are forgotten in one commit.
const STEP: usize = 500;

/// Notes a new event that is sticky until then.
pub(crate) fn put(
    batch: &mut Batch,
    room: RoomSerial,
    position: Position,
    event: EventSerial,
    until: u64,
) {
    batch.put(&tables::STICKY_BY_ROOM, &(room, position, event), &until);
    batch.put(&tables::STICKY_BY_END, &(until, room, position, event), &());
}

/// The events of a room that came after `since` and are sticky still, oldest first, each
/// with the commit that brought it.
///
/// # Errors
/// If the database fails.
pub fn sticky_since(
    view: &impl Read,
    room: RoomSerial,
    since: Option<Position>,
    now: u64,
) -> Result<Vec<(Position, EventSerial)>, StoreError> {
    let after = Position(since.map_or(0, |since| since.0 + 1));
    let from = (room, after, EventSerial(0));
    let mut sticky = Vec::new();
    for row in view.scan_from(&tables::STICKY_BY_ROOM, &(room,), &from) {
        let ((_, position, event), until) = row?;
        if until > now {
            sticky.push((position, event));
        }
    }
    let left_out = sticky.len().saturating_sub(MOST);
    Ok(sticky.split_off(left_out))
}

impl<R: Read> EventReader<'_, R> {
    /// Those of some sticky events that a member of the room is told, as JSON without a
    /// room id: whatever the room's history visibility says, but not what was redacted,
    /// nor of those whom the viewer ignores.
    ///
    /// # Errors
    /// If the database fails or an event is damaged.
    pub fn sticky_json(&self, serials: &[EventSerial]) -> Result<Vec<String>, ReadError> {
        let mut told = Vec::new();
        for event in self.load_many(serials)? {
            let ClientEvent { redacted_by, .. } = &event;
            if redacted_by.is_none() && !self.is_ignored(&event)? {
                told.push(self.json_alone(&event, false)?);
            }
        }
        Ok(told)
    }
}

impl Rooms {
    /// Forgets which events were sticky and are not any more. To be called now and then,
    /// by one caller.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn forget_sticky(&self) -> Result<(), StoreError> {
        let now = self.inner.clock.now().0;
        loop {
            let old = self
                .inner
                .store
                // As last written: what was just forgotten is not published yet.
                .prepare(move |view| {
                    let rows = view.scan(&tables::STICKY_BY_END, &());
                    let keys = rows.map(|row| row.map(|(key, ())| key));
                    let is_old = |key: &Result<(u64, _, _, _), _>| match key {
                        Ok((until, ..)) => *until <= now,
                        Err(_) => true,
                    };
                    keys.take(STEP)
                        .take_while(is_old)
                        .collect::<Result<Vec<_>, StoreError>>()
                })
                .await?;
            let is_last = old.len() < STEP;
            self.inner
                .store
                .commit_later(move |_, _, batch| {
                    for key in old {
                        let (_, room, position, event) = key;
                        batch.delete(&tables::STICKY_BY_END, &key);
                        batch.delete(&tables::STICKY_BY_ROOM, &(room, position, event));
                    }
                    Ok::<_, StoreError>(())
                })
                .await?;
            if is_last {
                return Ok(());
            }
        }
    }
}
