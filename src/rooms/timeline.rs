//! Reading a room's timeline, page by page.

use std::collections::HashSet;

use model::{EventSerial, RoomChange, RoomSerial, tables};
use ruma_common::{EventId, RoomId, api::Direction};
use store::{Position, Read, StoreError};

use crate::{
    Access, ClientEvent, EventFilter, EventReader, PlaceToken, ReadError, Rooms, StateAt, Viewer,
    Visibility,
};

/// The most events of one page.
const MAX_LIMIT: usize = 1000;
/// The most events that are looked at for one page, whether they are shown or not.
const MAX_EXAMINED: usize = 2000;

/// Which part of a timeline is wanted.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// Where to begin; none for the end (backwards) or the beginning (forwards).
    pub from: Option<PlaceToken>,
    /// Where to stop.
    pub to: Option<PlaceToken>,
    /// Which way to go.
    pub direction: Direction,
    /// The most events wanted; at most 1,000 are given.
    pub limit: usize,
    /// Which events are wanted.
    pub filter: EventFilter,
    /// Whether the memberships of the senders are wanted too.
    pub lazy_load_members: bool,
}

/// A part of a timeline.
#[derive(Clone, Debug)]
pub struct Page {
    /// Where it begins.
    pub start: PlaceToken,
    /// Where the next page begins; none if there is nothing more.
    pub end: Option<PlaceToken>,
    /// The events as JSON, in the order of the direction.
    pub chunk: Vec<String>,
    /// State events that help to show them, as JSON.
    pub state: Vec<String>,
}

/// What is wanted around an event.
#[derive(Clone, Debug)]
pub struct ContextRequest {
    /// The most events wanted before and after it together; at most 1,000 are given.
    pub limit: usize,
    /// Which of these, and which state, are wanted.
    pub filter: EventFilter,
    /// Whether, of the memberships, only those of the senders are wanted.
    pub lazy_load_members: bool,
}

/// An event with what happened around it.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where the page before begins.
    pub start: PlaceToken,
    /// Where the page after begins.
    pub end: PlaceToken,
    /// The event as JSON.
    pub event: String,
    /// The events before it, the nearest first, as JSON.
    pub events_before: Vec<String>,
    /// The events after it, the nearest first, as JSON.
    pub events_after: Vec<String>,
    /// The state at the last of these events, as JSON.
    pub state: Vec<String>,
}

/// A row of a timeline.
type PlaceRow = Result<((RoomSerial, u64, u64), EventSerial), StoreError>;

/// A walk along the timeline, as far as it went.
struct Walk {
    events: Vec<ClientEvent>,
    next: Option<PlaceToken>,
}

impl PlaceToken {
    /// The gap just below an event.
    pub fn below(event: &ClientEvent) -> Self {
        Self::at(event.meta.depth, event.meta.tie_break)
    }

    /// The gap above everything that had happened in a room by a position of the log:
    /// what a token of `/sync` means here.
    ///
    /// # Errors
    /// If the database fails.
    pub fn at_position(
        view: &impl Read,
        room: RoomSerial,
        position: Position,
    ) -> Result<Self, StoreError> {
        let after = (room, Position(position.0.saturating_add(1)), 0);
        for row in view.scan_back(&tables::CHANGE_BY_ROOM, &(room,), Some(&after)) {
            if let RoomChange::Event(change) = row?.1
                && let Some(meta) = view.get(&tables::EVENT_META_BY_SERIAL, &change.event)?
            {
                return Ok(Self::at(meta.depth, meta.tie_break).above());
            }
        }
        Ok(Self::START)
    }
}

impl Rooms {
    /// A page of a room's timeline: `GET /rooms/{roomId}/messages`.
    ///
    /// # Errors
    /// [`ReadError::Forbidden`] for those who were never in the room.
    pub fn messages<R: Read>(
        &self,
        view: &R,
        room_id: &RoomId,
        viewer: Viewer,
        request: &PageRequest,
    ) -> Result<Page, ReadError> {
        let reader = self.reader(view, room_id, viewer)?;
        Access::of(view, reader.room, viewer.user)?;
        let start = match request.from {
            Some(from) => from,
            None => first_gap(&reader, request.direction)?,
        };
        let walk = walk(&reader, start, request)?;
        let mut page = Page {
            start,
            end: walk.next,
            chunk: Vec::with_capacity(walk.events.len()),
            state: Vec::new(),
        };
        for event in &walk.events {
            page.chunk.push(reader.json(event, true)?);
        }
        if request.lazy_load_members {
            page.state = senders(&reader, &walk.events)?;
        }
        Ok(page)
    }

    /// An event as JSON: `GET /rooms/{roomId}/event/{eventId}`.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if it is not in the room, the viewer may not see it, or ignores
    /// its sender.
    pub fn event<R: Read>(
        &self,
        view: &R,
        room_id: &RoomId,
        viewer: Viewer,
        event_id: &EventId,
    ) -> Result<String, ReadError> {
        let reader = self.reader(view, room_id, viewer).map_err(hidden)?;
        let event = heard_event(&reader, event_id)?;
        reader.json(&event, true)
    }

    /// An event with the events around it: `GET /rooms/{roomId}/context/{eventId}`.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if it is not in the room, the viewer may not see it, or ignores
    /// its sender.
    pub fn context<R: Read>(
        &self,
        view: &R,
        room_id: &RoomId,
        viewer: Viewer,
        event_id: &EventId,
        request: &ContextRequest,
    ) -> Result<Context, ReadError> {
        let reader = self.reader(view, room_id, viewer).map_err(hidden)?;
        let event = heard_event(&reader, event_id)?;
        let here = PlaceToken::below(&event);
        let limit = request.limit.min(MAX_LIMIT);
        let side = |direction, from, limit| {
            if limit == 0 {
                return Ok(Vec::new());
            }
            let side = PageRequest {
                from: None,
                to: None,
                direction,
                limit,
                filter: request.filter.clone(),
                lazy_load_members: false,
            };
            walk(&reader, from, &side).map(|walk| walk.events)
        };
        let before = side(Direction::Backward, here, limit / 2)?;
        let after = side(Direction::Forward, here.above(), limit - limit / 2)?;
        let json = |events: &[ClientEvent]| -> Result<Vec<String>, ReadError> {
            events
                .iter()
                .map(|event| reader.json(event, true))
                .collect()
        };
        let shown: Vec<&ClientEvent> = before.iter().chain([&event]).chain(&after).collect();
        let last = after.last().unwrap_or(&event);
        Ok(Context {
            start: before.last().map_or(here, PlaceToken::below),
            end: PlaceToken::below(last).above(),
            event: reader.json(&event, true)?,
            events_before: json(&before)?,
            events_after: json(&after)?,
            state: state_of_context(&reader, last, &shown, request)?,
        })
    }
}

pub(crate) fn hidden(error: ReadError) -> ReadError {
    match error {
        ReadError::Forbidden(_) => not_found(),
        other => other,
    }
}

fn not_found() -> ReadError {
    ReadError::NotFound("there is no such event in this room, or you may not see it".to_owned())
}

/// An event of the reader's room that its viewer may see.
pub(crate) fn visible_event<R: Read>(
    reader: &EventReader<'_, R>,
    event_id: &EventId,
) -> Result<ClientEvent, ReadError> {
    Access::of(reader.view, reader.room, reader.viewer().user).map_err(hidden)?;
    let event = reader
        .load_by_id(event_id.as_str())?
        .ok_or_else(not_found)?;
    if Visibility::new(reader)?.allows(&event)? {
        Ok(event)
    } else {
        Err(not_found())
    }
}

/// The same, if its sender is not ignored or it is state: what else they said is not sent
/// to whoever ignores them (client-server API, "Ignoring Users").
fn heard_event<R: Read>(
    reader: &EventReader<'_, R>,
    event_id: &EventId,
) -> Result<ClientEvent, ReadError> {
    let event = visible_event(reader, event_id)?;
    if reader.is_ignored(&event)? {
        return Err(not_found());
    }
    Ok(event)
}

/// Where a page begins when the client does not say.
fn first_gap<R: Read>(
    reader: &EventReader<'_, R>,
    direction: Direction,
) -> Result<PlaceToken, ReadError> {
    if direction == Direction::Forward {
        return Ok(PlaceToken::START);
    }
    let head = reader.view.get(&tables::HEAD_BY_ROOM, &reader.room)?;
    let depth = head.unwrap_or_default().depth;
    Ok(PlaceToken::at(depth.saturating_add(1), 0))
}

/// Some rows of a timeline, and the place of the one after them, unless that is the end.
struct Step {
    places: Vec<PlaceToken>,
    serials: Vec<EventSerial>,
    next: Option<PlaceToken>,
}

/// The next rows of a timeline, at most so many.
fn step(
    rows: &mut std::iter::Peekable<impl Iterator<Item = PlaceRow>>,
    most: usize,
    until: u64,
    request: &PageRequest,
) -> Result<Step, StoreError> {
    let mut step = Step {
        places: Vec::new(),
        serials: Vec::new(),
        next: None,
    };
    while let Some(row) = rows.peek() {
        let Ok(((_, depth, tie_break), serial)) = row else {
            rows.next().transpose()?;
            continue;
        };
        let place = PlaceToken {
            depth: *depth,
            tie_break: *tie_break,
            until,
        };
        let is_over = request.to.is_some_and(|to| match request.direction {
            Direction::Forward => place >= to,
            Direction::Backward => place < to,
        });
        if is_over {
            break;
        }
        if step.places.len() >= most {
            step.next = Some(place);
            break;
        }
        step.places.push(place);
        step.serials.push(*serial);
        rows.next();
    }
    Ok(step)
}

/// Gathers what the viewer may and wants to see, from a gap on.
fn walk<R: Read>(
    reader: &EventReader<'_, R>,
    from: PlaceToken,
    request: &PageRequest,
) -> Result<Walk, ReadError> {
    let visibility = Visibility::new(reader)?;
    let prefix = (reader.room,);
    let start = from;
    let from = (reader.room, from.depth, from.tie_break);
    let rows = match request.direction {
        Direction::Forward => reader
            .view
            .scan_from(&tables::EVENT_BY_PLACE, &prefix, &from),
        Direction::Backward => reader
            .view
            .scan_back(&tables::EVENT_BY_PLACE, &prefix, Some(&from)),
    };
    let mut rows = rows.peekable();
    let limit = request.limit.clamp(1, MAX_LIMIT);
    let mut found = Walk {
        events: Vec::new(),
        next: None,
    };
    if !request.filter.allows_room(&reader.room_id) {
        return Ok(found);
    }
    let (mut last, mut is_thinned, mut examined) = (None, false, 0);
    loop {
        // As many as the page still has room for are read together.
        let room = (limit - found.events.len()).min(MAX_EXAMINED - examined);
        let step = step(&mut rows, room, start.until, request)?;
        examined += step.places.len();
        let mut events = reader.load_many(&step.serials)?.into_iter().peekable();
        for (place, serial) in step.places.into_iter().zip(step.serials) {
            last = Some(place);
            let Some(event) = events.next_if(|event| event.serial == serial) else {
                continue;
            };
            if event.meta.position > start.until {
                continue;
            }
            if !request.filter.allows(&event) {
                is_thinned = true;
            } else if visibility.allows(&event)? && !reader.is_ignored(&event)? {
                found.events.push(event);
            }
        }
        match step.next {
            None => break,
            Some(next) if found.events.len() >= limit || examined >= MAX_EXAMINED => {
                found.next = Some(match request.direction {
                    Direction::Forward => next,
                    Direction::Backward => next.above(),
                });
                return Ok(found);
            }
            Some(_) => {}
        }
    }
    // A page that a filter has thinned tells where it stopped: there may be more for
    // another filter.
    if let Some(place) = last.filter(|_| is_thinned && !found.events.is_empty()) {
        found.next = Some(match request.direction {
            Direction::Forward => place.above(),
            Direction::Backward => place,
        });
    }
    Ok(found)
}

/// The memberships of the senders of some events, as of the newest of them.
fn senders<R: Read>(
    reader: &EventReader<'_, R>,
    events: &[ClientEvent],
) -> Result<Vec<String>, ReadError> {
    let Some(newest) = events.iter().max_by_key(|event| PlaceToken::below(event)) else {
        return Ok(Vec::new());
    };
    members_at(reader, &StateAt::after(newest), events.iter())
}

fn members_at<'a, R: Read>(
    reader: &EventReader<'_, R>,
    state: &StateAt,
    events: impl Iterator<Item = &'a ClientEvent>,
) -> Result<Vec<String>, ReadError> {
    let mut known = HashSet::new();
    let mut members = Vec::new();
    for event in events {
        let sender = event.sender();
        if known.contains(&sender) {
            continue;
        }
        if let Some(serial) = state.get(reader, "m.room.member", &sender)?
            && let Some(member) = reader.load(serial)?
        {
            members.push(reader.json(&member, true)?);
        }
        known.insert(sender);
    }
    Ok(members)
}

/// The state at the last event, filtered; where members are loaded lazily, of them only
/// the senders.
fn state_of_context<R: Read>(
    reader: &EventReader<'_, R>,
    last: &ClientEvent,
    shown: &[&ClientEvent],
    request: &ContextRequest,
) -> Result<Vec<String>, ReadError> {
    let state = StateAt::after(last);
    let mut events = Vec::new();
    for (event_type, _, serial) in state.all(reader)? {
        if request.lazy_load_members && event_type == "m.room.member" {
            continue;
        }
        if let Some(event) = reader.load(serial)?
            && request.filter.allows(&event)
        {
            events.push(reader.json(&event, true)?);
        }
    }
    if request.lazy_load_members {
        events.extend(members_at(reader, &state, shown.iter().copied())?);
    }
    Ok(events)
}
