//! Events by the time at which they were sent.

use model::{EventSerial, RoomSerial, tables};
use ruma_common::{RoomId, api::Direction};
use serde::Deserialize;
use store::{Read, StoreError};

use crate::{Access, ClientEvent, EventReader, PlaceToken, ReadError, Rooms, Viewer, Visibility};

/// The most events that are looked at for one that may be shown.
const MAX_EXAMINED: usize = 2000;
/// The most events that are looked at on the wrong side of the time: what was brought over
/// from elsewhere is older than what stands before it.
const MAX_OUT_OF_ORDER: usize = 500;

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
    /// servers differ, another one may be nearer. Where that order leads to none, it is looked
    /// whether one stands out of it.
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
    let rows = rows(reader, gap, direction);
    for row in rows.take(MAX_EXAMINED) {
        if let Some((event, sent_at)) = at_or_beyond(reader, row?.1, time, direction)?
            && allowed(&event)?
        {
            return Ok(found(event, sent_at));
        }
    }
    let opposite = match direction {
        Direction::Forward => Direction::Backward,
        Direction::Backward => Direction::Forward,
    };
    let mut best: Option<EventAtTime> = None;
    for row in self::rows(reader, gap, opposite).take(MAX_OUT_OF_ORDER) {
        if let Some((event, sent_at)) = at_or_beyond(reader, row?.1, time, direction)?
            && best
                .as_ref()
                .is_none_or(|best| sent_at.abs_diff(time) < best.sent_at.abs_diff(time))
            && allowed(&event)?
        {
            best = Some(found(event, sent_at));
        }
    }
    best.ok_or_else(|| {
        ReadError::NotFound("there is no event of that time in this direction".to_owned())
    })
}

fn found(event: ClientEvent, sent_at: u64) -> EventAtTime {
    EventAtTime {
        event_id: event.stored.event_id.clone(),
        sent_at,
    }
}

type Row = Result<((RoomSerial, u64, u64), EventSerial), StoreError>;

/// The timeline from a place on, in a direction.
fn rows<'a, R: Read>(
    reader: &EventReader<'a, R>,
    place: PlaceToken,
    direction: Direction,
) -> Box<dyn Iterator<Item = Row> + 'a> {
    let from = (reader.room, place.depth, place.tie_break);
    let (prefix, table) = ((reader.room,), &tables::EVENT_BY_PLACE);
    match direction {
        Direction::Forward => Box::new(reader.view.scan_from(table, &prefix, &from)),
        Direction::Backward => Box::new(reader.view.scan_back(table, &prefix, Some(&from))),
    }
}

/// An event with its time, if that is the wanted one or lies in the direction from it.
fn at_or_beyond<R: Read>(
    reader: &EventReader<'_, R>,
    serial: EventSerial,
    time: u64,
    direction: Direction,
) -> Result<Option<(ClientEvent, u64)>, ReadError> {
    let Some(event) = reader.load(serial)? else {
        return Ok(None);
    };
    let sent_at = sent_at(&event.stored.json);
    let is_wanted = match direction {
        Direction::Forward => sent_at >= time,
        Direction::Backward => sent_at <= time,
    };
    Ok(is_wanted.then_some((event, sent_at)))
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
