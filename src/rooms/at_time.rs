//! Events by the time at which they were sent.

use model::{RoomSerial, tables};
use ruma_common::{RoomId, api::Direction};
use serde::Deserialize;
use store::Read;

use crate::{Access, ClientEvent, EventReader, PlaceToken, ReadError, Rooms, Viewer, Visibility};

/// The most events that are looked at for one that may be shown.
const MAX_EXAMINED: usize = 2000;

/// An event that was sent at about the time that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventAtTime {
    /// Its id.
    pub event_id: String,
    /// When it was sent, in ms since the Unix epoch.
    pub sent_at: u64,
}

impl Rooms {
    /// The event nearest to a time in ms since the Unix epoch, at it or after it
    /// (forwards) or before it (backwards): `GET /rooms/{roomId}/timestamp_to_event`.
    ///
    /// Events are looked for in the order of the room's timeline: where the clocks of
    /// servers differ, another one may be nearer.
    ///
    /// # Errors
    /// [`ReadError::Forbidden`] for those who may not look at the room;
    /// [`ReadError::NotFound`] if there is none that they may see.
    pub fn event_at_time<R: Read>(
        &self,
        view: &R,
        room_id: &RoomId,
        viewer: Viewer,
        time: u64,
        direction: Direction,
    ) -> Result<EventAtTime, ReadError> {
        let reader = self.reader(view, room_id, viewer)?;
        Access::of(view, reader.room, viewer.user)?;
        let visibility = Visibility::new(&reader)?;
        nearest(&reader, time, direction, |event| visibility.allows(event))
    }
}

/// The event nearest to a time that is `allowed`.
///
/// # Errors
/// [`ReadError::NotFound`] if there is none.
pub(crate) fn nearest<R: Read>(
    reader: &EventReader<'_, R>,
    time: u64,
    direction: Direction,
    allowed: impl Fn(&ClientEvent) -> Result<bool, ReadError>,
) -> Result<EventAtTime, ReadError> {
    let gap = gap(reader, time, direction)?;
    let prefix = (reader.room,);
    let from = (reader.room, gap.depth, gap.tie_break);
    let table = &tables::EVENT_BY_PLACE;
    let rows = match direction {
        Direction::Forward => reader.view.scan_from(table, &prefix, &from),
        Direction::Backward => reader.view.scan_back(table, &prefix, Some(&from)),
    };
    for row in rows.take(MAX_EXAMINED) {
        let (_, serial) = row?;
        let Some(event) = reader.load(serial)? else {
            continue;
        };
        let sent_at = sent_at(&event.stored.json);
        let is_wanted = match direction {
            Direction::Forward => sent_at >= time,
            Direction::Backward => sent_at <= time,
        };
        if is_wanted && allowed(&event)? {
            return Ok(EventAtTime {
                event_id: event.stored.event_id,
                sent_at,
            });
        }
    }
    Err(ReadError::NotFound(
        "there is no event of that time in this direction".to_owned(),
    ))
}

fn sent_at(json: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Header {
        origin_server_ts: u64,
    }
    serde_json::from_slice::<Header>(json).map_or(0, |header| header.origin_server_ts)
}

/// The gap in the timeline before which all events are earlier than `time` (forwards), or
/// after which all are later (backwards), as far as depth and time go together: found by
/// halving the depths.
fn gap<R: Read>(
    reader: &EventReader<'_, R>,
    time: u64,
    direction: Direction,
) -> Result<PlaceToken, ReadError> {
    let head = reader.view.get(&tables::HEAD_BY_ROOM, &reader.room)?;
    let (mut low, mut high) = (0, head.unwrap_or_default().depth.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        let is_before = match first_at(reader, reader.room, middle)? {
            Some(sent_at) => match direction {
                Direction::Forward => sent_at < time,
                Direction::Backward => sent_at <= time,
            },
            None => false,
        };
        if is_before {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(PlaceToken::at(low, 0))
}

/// When the first event of at least this depth was sent.
fn first_at<R: Read>(
    reader: &EventReader<'_, R>,
    room: RoomSerial,
    depth: u64,
) -> Result<Option<u64>, ReadError> {
    let from = (room, depth, 0);
    let mut rows = reader
        .view
        .scan_from(&tables::EVENT_BY_PLACE, &(room,), &from);
    let Some((_, serial)) = rows.next().transpose()? else {
        return Ok(None);
    };
    let event = reader.load(serial)?;
    Ok(event.map(|event| sent_at(&event.stored.json)))
}
