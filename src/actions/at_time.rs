//! The event of a time, which other servers may know better where history is missing here
//! (server-server API, `GET /timestamp_to_event/{roomId}`).

use std::time::Duration;

use js_int::UInt;
use peers::Ask;
use rooms::{EventAtTime, PlaceToken, ReadError, Viewer, gaps_below, room_serial};
use ruma_common::{EventId, MilliSecondsSinceUnixEpoch, RoomId, api::Direction};
use ruma_federation_api::event::get_event_by_timestamp::v1 as event_by_timestamp;
use store::Snapshot;

use crate::{Actions, receiving::Place};

/// How long another server may take to find an event.
const WAIT: Duration = Duration::from_secs(10);
/// The most gaps that are looked at to find whom to ask.
const MOST_GAPS: usize = 10;
/// The most servers that are asked.
const MOST_ASKED: usize = 4;

impl Actions {
    /// The event nearest to a time in ms since the Unix epoch, at it or after it (forwards)
    /// or before it (backwards): `GET /rooms/{roomId}/timestamp_to_event`. Where history is
    /// missing here, other servers of the room are asked too, and what is around the event
    /// that they name is fetched.
    ///
    /// # Errors
    /// [`ReadError`], as [`rooms::Rooms::event_at_time`].
    pub async fn event_at_time(
        &self,
        room_id: &RoomId,
        viewer: Viewer,
        time: u64,
        direction: Direction,
    ) -> Result<EventAtTime, ReadError> {
        let own = self.own_event_at(room_id, viewer, time, direction).await;
        if matches!(&own, Err(error) if !matches!(error, ReadError::NotFound(_)))
            || matches!(&own, Ok(found) if found.sent_at == time)
        {
            return own;
        }
        if self
            .fetch_nearer(room_id, time, direction, own.as_ref().ok())
            .await
        {
            return self.own_event_at(room_id, viewer, time, direction).await;
        }
        own
    }

    async fn own_event_at(
        &self,
        room_id: &RoomId,
        viewer: Viewer,
        time: u64,
        direction: Direction,
    ) -> Result<EventAtTime, ReadError> {
        let (rooms, room_id) = (self.rooms.clone(), room_id.to_owned());
        let read =
            move |view: &Snapshot| rooms.event_at_time(view, &room_id, viewer, time, direction);
        self.rooms.store().read(read).await
    }

    /// Fetches an event that other servers say is nearer to the time than `own`, with what
    /// is before it. Tells whether one came.
    async fn fetch_nearer(
        &self,
        room_id: &RoomId,
        time: u64,
        direction: Direction,
        own: Option<&EventAtTime>,
    ) -> bool {
        let Ok(Some((room, version))) = self.rooms.part_of(room_id).await else {
            return false;
        };
        let id = room_id.to_owned();
        let read = move |view: &Snapshot| match room_serial(view, id.as_str())? {
            Some(room) => Ok(gaps_below(view, room, PlaceToken::END, MOST_GAPS)?),
            None => Ok::<_, ReadError>(Vec::new()),
        };
        let gaps = self.rooms.store().read(read).await.unwrap_or_default();
        if gaps.is_empty() {
            return false;
        }
        let servers = self.rooms.servers_to_ask(room, &gaps, MOST_ASKED).await;
        for server in servers.unwrap_or_default() {
            let place = Place {
                origin: &server,
                room,
                room_id,
                version,
            };
            let Some(told) = self.ask_for_time(place, time, direction).await else {
                continue;
            };
            let sent_at = told.origin_server_ts.get().into();
            let is_nearer = match (direction, own) {
                (_, None) => true,
                (Direction::Forward, Some(own)) => time <= sent_at && sent_at < own.sent_at,
                (Direction::Backward, Some(own)) => time >= sent_at && sent_at > own.sent_at,
            };
            if is_nearer && self.fetch_around(place, &told.event_id).await {
                return true;
            }
        }
        false
    }

    async fn ask_for_time(
        &self,
        place: Place<'_>,
        time: u64,
        direction: Direction,
    ) -> Option<event_by_timestamp::Response> {
        let time = MilliSecondsSinceUnixEpoch(UInt::new(time)?);
        let request = event_by_timestamp::Request::new(place.room_id.to_owned(), time, direction);
        let ask = Ask::new("timestamp_to_event").within(WAIT);
        let answer = self.peers.ask(place.origin, request, ask).await;
        answer
            .map_err(|error| log::debug!("{} tells no event of a time: {error}", place.origin))
            .ok()
    }

    async fn fetch_around(&self, place: Place<'_>, event_id: &EventId) -> bool {
        let events = self.history_before(place, vec![event_id.to_owned()]).await;
        !events.is_empty() && self.take_history(place, events).await
    }
}
