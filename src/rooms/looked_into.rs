//! What administrators read of rooms that they need not be in. Whoever calls decides who may ask,
//! and tells the audit trail.

use std::collections::HashSet;

use model::{EventSerial, EventStatus, RoomSerial, UserSerial, tables};
use ruma_common::api::Direction;
use serde_json::{Value, json};
use store::{Read, Snapshot, StoreError};

use crate::{
    ClientEvent, Context, EventAtTime, EventFilter, EventReader, Page, PlaceToken, ReadError,
    Rooms, Viewer, at_time::nearest, room_overview, room_serial,
};

/// The most events of one page, and that are looked at for it.
const LIMIT: usize = 1_000;
const MOST_LOOKED_AT: usize = 10_000;
/// The most rooms that are gone through in a space.
const MOST_ROOMS: usize = 10_000;

/// An end of a room's graph: what the next event builds on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extremity {
    /// The event's id.
    pub event_id: String,
    /// How deep it stands.
    pub depth: u64,
    /// When it was sent, in ms since the Unix epoch.
    pub sent_at: u64,
}

impl Rooms {
    /// Reads a room as nobody in particular.
    fn overlooking<'a>(
        &'a self,
        view: &'a Snapshot,
        room: RoomSerial,
    ) -> Result<EventReader<'a, Snapshot>, ReadError> {
        let viewer = Viewer {
            user: UserSerial(0),
            device: None,
        };
        let now = self.inner.clock.now().0;
        EventReader::new(view, room, self.inner.store.secret(), viewer, now)
    }

    /// A page of a room's timeline, whoever may see it.
    ///
    /// # Errors
    /// If the database fails.
    pub fn look_at_messages(
        &self,
        view: &Snapshot,
        room: RoomSerial,
        (from, direction): (Option<PlaceToken>, Direction),
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Page, ReadError> {
        let reader = self.overlooking(view, room)?;
        let start = from.unwrap_or(match direction {
            Direction::Forward => PlaceToken::START,
            Direction::Backward => PlaceToken::END,
        });
        let (events, end) = walk(&reader, (start, direction), limit, filter)?;
        let mut chunk = Vec::with_capacity(events.len());
        for event in &events {
            chunk.push(reader.json(event, true)?);
        }
        Ok(Page {
            start,
            end,
            chunk,
            state: Vec::new(),
        })
    }

    /// An event with those around it and the room's state of now, whoever may see it.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if it is not in the room.
    pub fn look_at_context(
        &self,
        view: &Snapshot,
        room: RoomSerial,
        event_id: &str,
        limit: usize,
    ) -> Result<Context, ReadError> {
        let reader = self.overlooking(view, room)?;
        let unknown = || ReadError::NotFound("there is no such event in this room".to_owned());
        let event = reader.load_by_id(event_id)?.ok_or_else(unknown)?;
        let here = PlaceToken::below(&event);
        let (all, limit) = (EventFilter::default(), limit.min(LIMIT));
        let side = |direction, from, limit| walk(&reader, (from, direction), limit, &all);
        let (before, _) = side(Direction::Backward, here, limit / 2)?;
        let (after, _) = side(Direction::Forward, here.above(), limit - limit / 2)?;
        let json = |events: &[ClientEvent]| -> Result<Vec<String>, ReadError> {
            let told = events.iter().map(|event| reader.json(event, true));
            told.collect()
        };
        let mut state = Vec::new();
        for row in view.scan(&tables::STATE_BY_ROOM, &(room,)) {
            let (_, serial) = row?;
            if let Some(event) = reader.load(serial)? {
                state.push(reader.json(&event, true)?);
            }
        }
        let last = after.last().unwrap_or(&event);
        Ok(Context {
            start: before.last().map_or(here, PlaceToken::below),
            end: PlaceToken::below(last).above(),
            event: reader.json(&event, true)?,
            events_before: json(&before)?,
            events_after: json(&after)?,
            state,
        })
    }

    /// The event of a room nearest to a time, whoever may see it.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if there is none.
    pub fn look_at_time(
        &self,
        view: &Snapshot,
        room: RoomSerial,
        time: u64,
        direction: Direction,
    ) -> Result<EventAtTime, ReadError> {
        let reader = self.overlooking(view, room)?;
        nearest(&reader, time, direction, |_| Ok(true))
    }
}

/// A row of a timeline.
type Row = Result<((RoomSerial, u64, u64), EventSerial), StoreError>;

/// Some events of a timeline from a place on, and where it goes on, if it does.
fn walk(
    reader: &EventReader<'_, Snapshot>,
    (from, direction): (PlaceToken, Direction),
    limit: usize,
    filter: &EventFilter,
) -> Result<(Vec<ClientEvent>, Option<PlaceToken>), ReadError> {
    let (table, prefix) = (&tables::EVENT_BY_PLACE, (reader.room,));
    let key = (reader.room, from.depth, from.tie_break);
    let view = reader.view;
    let rows: Box<dyn Iterator<Item = Row>> = match direction {
        Direction::Forward => Box::new(view.scan_from(table, &prefix, &key)),
        Direction::Backward => Box::new(view.scan_back(table, &prefix, Some(&key))),
    };
    let (mut events, mut last) = (Vec::new(), None);
    for (count, row) in rows.enumerate() {
        let ((_, depth, tie_break), serial) = row?;
        if count == MOST_LOOKED_AT || events.len() == limit.min(LIMIT) {
            return Ok((events, last));
        }
        let here = PlaceToken::at(depth, tie_break);
        last = Some(match direction {
            Direction::Forward => here.above(),
            Direction::Backward => here,
        });
        if let Some(event) = reader.load(serial)?
            && matches!(
                event.meta.status,
                EventStatus::Accepted | EventStatus::StatePartial
            )
            && filter.allows(&event)
        {
            events.push(event);
        }
    }
    Ok((events, None))
}

/// The ends of a room's graph.
///
/// # Errors
/// If the database fails.
pub fn extremities_of(view: &impl Read, room: RoomSerial) -> Result<Vec<Extremity>, StoreError> {
    let head = view.get(&tables::HEAD_BY_ROOM, &room)?.unwrap_or_default();
    let mut found = Vec::new();
    for serial in head.extremities {
        let stored = view.get(&tables::EVENT_BY_SERIAL, &serial)?;
        let meta = view.get(&tables::EVENT_META_BY_SERIAL, &serial)?;
        let (Some(stored), Some(meta)) = (stored, meta) else {
            continue;
        };
        let event: Value = serde_json::from_slice(&stored.json).unwrap_or_default();
        found.push(Extremity {
            event_id: stored.event_id,
            depth: meta.depth,
            sent_at: event["origin_server_ts"].as_u64().unwrap_or_default(),
        });
    }
    Ok(found)
}

/// The rooms of a space that are known here, each under the one that names it, as JSON: `limit`
/// of them from the `from`th on, and whether there are more.
///
/// # Errors
/// If the database fails.
pub fn space_of(
    view: &impl Read,
    room: RoomSerial,
    (from, limit): (usize, usize),
    max_depth: Option<usize>,
) -> Result<(Vec<Value>, bool), StoreError> {
    let (mut told, mut seen) = (Vec::new(), HashSet::from([room]));
    let mut open = vec![(room, 0)];
    let mut count = 0;
    while let Some((room, depth)) = open.pop() {
        let Some(overview) = room_overview(view, room)? else {
            continue;
        };
        if count >= MOST_ROOMS || told.len() == limit {
            return Ok((told, true));
        }
        let children = children_of(view, room)?;
        if max_depth.is_none_or(|most| depth < most) {
            for (child, _) in children.iter().rev() {
                if let Some(child) = room_serial(view, child)?
                    && seen.insert(child)
                {
                    open.push((child, depth + 1));
                }
            }
        }
        if count >= from {
            let state: Vec<&Value> = children.iter().map(|(_, event)| event).collect();
            told.push(json!({
                "room_id": overview.room_id,
                "name": overview.name,
                "topic": overview.topic,
                "avatar_url": overview.avatar_url,
                "canonical_alias": overview.canonical_alias,
                "room_type": overview.room_type,
                "join_rule": overview.join_rule,
                "num_joined_members": overview.joined,
                "guest_can_join": overview.guest_access.as_deref() == Some("can_join"),
                "world_readable":
                    overview.history_visibility.as_deref() == Some("world_readable"),
                "children_state": state,
            }));
        }
        count += 1;
    }
    Ok((told, false))
}

/// The children that a space names, each with the event that does.
fn children_of(view: &impl Read, room: RoomSerial) -> Result<Vec<(String, Value)>, StoreError> {
    let mut children = Vec::new();
    for row in view.scan(&tables::STATE_BY_ROOM, &(room, "m.space.child".to_owned())) {
        let ((_, _, child), serial) = row?;
        if view.contains(&tables::REDACTION_BY_EVENT, &serial)? {
            continue;
        }
        let stored = view.get(&tables::EVENT_BY_SERIAL, &serial)?;
        let event: Option<Value> = stored.and_then(|it| serde_json::from_slice(&it.json).ok());
        let Some(event) = event.filter(|event| event["content"]["via"].is_array()) else {
            continue;
        };
        let mut shown = json!({});
        for field in ["type", "state_key", "content", "sender", "origin_server_ts"] {
            shown[field] = event[field].clone();
        }
        children.push((child, shown));
    }
    Ok(children)
}
