//! Rooms that were there before the lists of them: put into these once, in small commits, going on
//! where the server stopped.

use model::{
    ListingProgressRecord, RoomSerial,
    tables::{HEAD_BY_ROOM, LISTED_ROOM, ROOMS_LISTS_PROGRESS},
};
use runtime::Stop;
use store::{Read, Snapshot, StoreError};

use crate::{Rooms, lists};

/// How many rooms one commit looks at.
const AT_ONCE: usize = 100;

impl Rooms {
    /// Puts those rooms into the lists that were there before them. Where that is done already,
    /// this costs one look-up. To be called before anybody asks for the lists. It may be called
    /// again after it was stopped.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn complete_rooms_lists(&self, stop: Stop) -> Result<(), StoreError> {
        while !stop.is_stopping() && !self.list_some().await? {}
        Ok(())
    }

    /// Lists the next rooms; returns whether there are no more.
    pub(crate) async fn list_some(&self) -> Result<bool, StoreError> {
        let Some(found) = self.inner.store.read(next_rooms).await? else {
            return Ok(true);
        };
        let is_complete = found.len() < AT_ONCE;
        self.inner
            .store
            .commit(move |latest, _, batch| {
                for room in &found {
                    let room_id = model::room_id(latest, *room)?.unwrap_or_default();
                    if latest.contains(&LISTED_ROOM, room)? {
                        continue;
                    }
                    if let Some(known) = lists::to_be_listed(latest, *room)? {
                        lists::list(batch, *room, &room_id, None, &known);
                    }
                }
                let progress = ListingProgressRecord {
                    last: found.last().map_or(0, |room| room.0),
                    is_complete,
                };
                batch.put(&ROOMS_LISTS_PROGRESS, &(), &progress);
                Ok(is_complete)
            })
            .await
    }
}

/// The rooms to be looked at next; `None` if all were.
fn next_rooms(view: &Snapshot) -> Result<Option<Vec<RoomSerial>>, StoreError> {
    let progress = view.get(&ROOMS_LISTS_PROGRESS, &())?.unwrap_or_default();
    if progress.is_complete {
        return Ok(None);
    }
    let from = RoomSerial(progress.last.saturating_add(1));
    let rows = view.scan_from(&HEAD_BY_ROOM, &(), &from).take(AT_ONCE);
    let rooms = rows.map(|row| row.map(|(room, _)| room));
    rooms.collect::<Result<_, _>>().map(Some)
}
