//! What administrators read of rooms that they are not in. That they do is told to the audit trail.

use audit::Verb;
use model::RoomSerial;
use rooms::{Context, EventAtTime, EventFilter, Extremity, Page, PlaceToken, ReadError, Rooms};
use ruma_common::api::Direction;
use serde_json::{Value, json};
use store::{Snapshot, StoreError};

use crate::{Actions, AdministrationError, Administrator, Right};

/// How large rooms are: their ids with about how many bytes their events take.
pub type RoomSizes = Vec<(String, u64)>;

/// How many rooms are told of as the largest.
const LARGEST: usize = 10;

impl Actions {
    /// A page of a room's timeline.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn room_messages(
        &self,
        by: &Administrator,
        room: &str,
        from: (Option<PlaceToken>, Direction),
        limit: usize,
        filter: EventFilter,
    ) -> Result<Page, AdministrationError> {
        let look = move |rooms: &Rooms, view: &Snapshot, room| {
            rooms.look_at_messages(view, room, from, limit, &filter)
        };
        self.read_room(by, room, None, look).await
    }

    /// An event of a room with those around it.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn event_context(
        &self,
        by: &Administrator,
        room: &str,
        event_id: &str,
        limit: usize,
    ) -> Result<Context, AdministrationError> {
        let (wanted, on) = (event_id.to_owned(), Some(event_id.to_owned()));
        let look = move |rooms: &Rooms, view: &Snapshot, room| {
            rooms.look_at_context(view, room, &wanted, limit)
        };
        self.read_room(by, room, on, look).await
    }

    /// The event of a room nearest to a time, in ms since the Unix epoch.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn room_event_at(
        &self,
        by: &Administrator,
        room: &str,
        time: u64,
        direction: Direction,
    ) -> Result<EventAtTime, AdministrationError> {
        let look = move |rooms: &Rooms, view: &Snapshot, room| {
            rooms.look_at_time(view, room, time, direction)
        };
        self.read_room(by, room, None, look).await
    }

    async fn read_room<T: Send + 'static>(
        &self,
        by: &Administrator,
        room: &str,
        on: Option<String>,
        look: impl FnOnce(&Rooms, &Snapshot, RoomSerial) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, AdministrationError> {
        by.must(Right::ReadEvents)?;
        let serial = self.room_of(room).await?;
        let room_id = self.room_id_of(serial).await?;
        // Told before it is read: what was read cannot be taken back.
        let mut deed = by.act().did(Verb::RoomRead).within(room_id.as_str());
        if let Some(on) = on {
            deed = deed.on(on);
        }
        self.tell(deed).await?;
        let rooms = self.rooms.clone();
        let read = move |view: &Snapshot| look(&rooms, view, serial);
        let found: Result<T, ReadError> = self.rooms.store().read_long(read).await;
        found.map_err(|error| match error {
            ReadError::NotFound(text) => AdministrationError::NotFound(text),
            other => rooms::AppendError::from(other).into(),
        })
    }

    /// The ends of a room's graph.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn room_extremities(
        &self,
        by: &Administrator,
        room: &str,
    ) -> Result<Vec<Extremity>, AdministrationError> {
        by.must(Right::ListRooms)?;
        let room = self.room_of(room).await?;
        let read = move |view: &Snapshot| rooms::extremities_of(view, room);
        Ok(self.rooms.store().read(read).await?)
    }

    /// The rooms of a space that are known here: `limit` of them from the `from`th on, and whether
    /// there are more.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn space_rooms(
        &self,
        by: &Administrator,
        room: &str,
        range: (usize, usize),
        max_depth: Option<usize>,
    ) -> Result<(Vec<Value>, bool), AdministrationError> {
        by.must(Right::ListRooms)?;
        let room = self.room_of(room).await?;
        let read = move |view: &Snapshot| rooms::space_of(view, room, range, max_depth);
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// The rooms whose events take most, the largest first. Reads every event.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn largest_rooms(
        &self,
        by: &Administrator,
    ) -> Result<RoomSizes, AdministrationError> {
        by.must(Right::ShowDatabase)?;
        let read = |view: &Snapshot| -> Result<RoomSizes, StoreError> {
            let mut sizes: Vec<_> = rooms::room_sizes(view)?.into_iter().collect();
            sizes.sort_by_key(|(room, size)| (std::cmp::Reverse(*size), *room));
            let mut named = Vec::new();
            for (room, size) in sizes {
                if named.len() == LARGEST {
                    break;
                }
                if !rooms::is_purged(view, room)? {
                    named.extend(model::room_id(view, room)?.map(|room_id| (room_id, size)));
                }
            }
            Ok(named)
        };
        Ok(self.rooms.store().read_long(read).await?)
    }
}

/// An end of a room's graph as JSON.
pub fn shown_extremity(extremity: &Extremity) -> Value {
    json!({
        "event_id": extremity.event_id,
        "depth": extremity.depth,
        "received_ts": extremity.sent_at,
        // States are named by their content here, not by numbers.
        "state_group": null,
    })
}
