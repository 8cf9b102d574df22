//! Reading the children of an event: `/relations`.

use std::collections::{BTreeMap, HashSet};

use model::{RelationRecord, tables};
use ruma_common::{EventId, RoomId, api::Direction};
use store::{Read, StoreError};

use crate::{
    EventReader, PlaceToken, ReadError, Rooms, Viewer, Visibility,
    timeline::{hidden, visible_event},
};

/// The most events of one page.
const MAX_LIMIT: usize = 1000;
/// The most children that are looked at for one page, whether they are shown or not.
const MAX_EXAMINED: usize = 2000;
/// How many relations are followed from the event to its children's children.
const MAX_DEPTH: u32 = 3;
/// The most children of children that are gathered.
const MAX_GATHERED: usize = 5000;

/// Which children of an event are wanted.
#[derive(Clone, Debug)]
pub struct RelationsRequest {
    /// Only those that relate to it in this way.
    pub rel_type: Option<String>,
    /// Only those of this type.
    pub event_type: Option<String>,
    /// Where to begin; none for the end (backwards) or the beginning (forwards).
    pub from: Option<PlaceToken>,
    /// Where to stop.
    pub to: Option<PlaceToken>,
    /// Which way to go.
    pub direction: Direction,
    /// The most events wanted; at most 1,000 are given.
    pub limit: usize,
    /// Whether the children's own children are wanted too.
    pub recurse: bool,
}

/// Some children of an event.
#[derive(Clone, Debug)]
pub struct RelationsPage {
    /// The events as JSON, in the order of the direction.
    pub chunk: Vec<String>,
    /// Where the next page begins; none if there is nothing more.
    pub end: Option<PlaceToken>,
    /// How many relations were followed, where children of children were wanted.
    pub recursion_depth: Option<u32>,
}

type Child = Result<(PlaceToken, RelationRecord), StoreError>;

impl Rooms {
    /// The children of an event: `GET /rooms/{roomId}/relations/{eventId}`.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if the event is not in the room or the viewer may not
    /// see it.
    pub fn relations<R: Read>(
        &self,
        view: &R,
        room_id: &RoomId,
        viewer: Viewer,
        event_id: &EventId,
        request: &RelationsRequest,
    ) -> Result<RelationsPage, ReadError> {
        let reader = self.reader(view, room_id, viewer).map_err(hidden)?;
        visible_event(&reader, event_id)?;
        let children: Box<dyn Iterator<Item = Child> + '_> = if request.recurse {
            Box::new(descendants(&reader, event_id, request)?.into_iter().map(Ok))
        } else {
            children(&reader, event_id.as_str(), request)
        };
        let (chunk, end) = page(&reader, children, request)?;
        Ok(RelationsPage {
            chunk,
            end,
            recursion_depth: request.recurse.then_some(MAX_DEPTH),
        })
    }
}

/// The children of one event from a place on, in the wanted order.
fn children<'a, R: Read>(
    reader: &EventReader<'a, R>,
    target: &str,
    request: &RelationsRequest,
) -> Box<dyn Iterator<Item = Child> + 'a> {
    let prefix = (reader.room, target.to_owned());
    let key = |from: PlaceToken| (reader.room, target.to_owned(), from.depth, from.tie_break);
    let table = &tables::RELATION_BY_TARGET;
    let rows = match request.direction {
        Direction::Forward => {
            let from = key(request.from.unwrap_or(PlaceToken::START));
            reader.view.scan_from(table, &prefix, &from)
        }
        Direction::Backward => {
            let from = request.from.map(key);
            reader.view.scan_back(table, &prefix, from.as_ref())
        }
    };
    Box::new(rows.map(|row| {
        let ((_, _, depth, tie_break), record) = row?;
        Ok((PlaceToken::at(depth, tie_break), record))
    }))
}

/// The children of an event and theirs, from a place on, in the wanted order.
fn descendants<R: Read>(
    reader: &EventReader<'_, R>,
    event_id: &EventId,
    request: &RelationsRequest,
) -> Result<Vec<(PlaceToken, RelationRecord)>, ReadError> {
    let everything = RelationsRequest {
        from: None,
        ..request.clone()
    };
    let mut found = BTreeMap::new();
    let mut seen = HashSet::from([event_id.to_string()]);
    let mut parents = vec![event_id.to_string()];
    for depth in 1..=MAX_DEPTH {
        let mut next = Vec::new();
        for parent in parents {
            for child in children(reader, &parent, &everything) {
                if found.len() >= MAX_GATHERED {
                    break;
                }
                let (place, record) = child?;
                if depth < MAX_DEPTH
                    && let Some(event) = reader.load(record.event)?
                    && seen.insert(event.stored.event_id.clone())
                {
                    next.push(event.stored.event_id.clone());
                }
                found.insert(place, record);
            }
        }
        parents = next;
    }
    let from = request.from;
    let mut found: Vec<_> = found.into_iter().collect();
    match request.direction {
        Direction::Forward => found.retain(|(place, _)| from.is_none_or(|from| *place >= from)),
        Direction::Backward => {
            found.retain(|(place, _)| from.is_none_or(|from| *place < from));
            found.reverse();
        }
    }
    Ok(found)
}

/// Of the children those that are wanted and that the viewer may see, as JSON, and
/// where the next page begins.
fn page<R: Read>(
    reader: &EventReader<'_, R>,
    children: impl Iterator<Item = Child>,
    request: &RelationsRequest,
) -> Result<(Vec<String>, Option<PlaceToken>), ReadError> {
    let visibility = Visibility::new(reader)?;
    let limit = request.limit.clamp(1, MAX_LIMIT);
    let mut chunk = Vec::new();
    for (examined, child) in children.enumerate() {
        let (place, record) = child?;
        let is_over = request.to.is_some_and(|to| match request.direction {
            Direction::Forward => place >= to,
            Direction::Backward => place < to,
        });
        if is_over {
            break;
        }
        if chunk.len() >= limit || examined >= MAX_EXAMINED {
            let next = match request.direction {
                Direction::Forward => place,
                Direction::Backward => place.above(),
            };
            return Ok((chunk, Some(next)));
        }
        let is = |wanted: &Option<String>, value: &String| {
            wanted.as_ref().is_none_or(|wanted| wanted == value)
        };
        let is_wanted =
            is(&request.rel_type, &record.rel_type) && is(&request.event_type, &record.event_type);
        if is_wanted
            && let Some(event) = reader.load(record.event)?
            && visibility.allows(&event)?
            && !reader.is_ignored(&event)?
        {
            chunk.push(reader.json(&event, true)?);
        }
    }
    Ok((chunk, None))
}
