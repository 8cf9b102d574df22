//! Threads (client-server API, "Threading"): which events are part of which, and the
//! threads of a room.

use model::{EventSerial, RoomSerial, tables};
use ruma_common::RoomId;
use serde::Deserialize;
use store::{Latest, Read, StoreError};

use super::{Relation, THREAD, bundles::has_replied};
use crate::{
    Access, AppendError, EventReader, PlaceToken, ReadError, Rooms, Viewer, Visibility, user_serial,
};

/// How many relations are followed from an event to its thread, beside its own.
const MAX_HOPS: usize = 3;
/// The most threads of one page.
const MAX_LIMIT: usize = 100;
/// The most threads that are looked at for one page.
const MAX_EXAMINED: usize = 1000;

/// The root of the thread that an event of `room` with this relation is part of: by
/// itself, or by what it relates to (client-server API, "Threaded read receipts"); none
/// for the main timeline.
///
/// # Errors
/// If the database fails.
pub(crate) fn thread_of(
    view: &impl Read,
    room: RoomSerial,
    relation: Relation,
) -> Result<Option<String>, StoreError> {
    let mut relation = relation;
    for _ in 0..=MAX_HOPS {
        let Some((rel_type, target)) = relation.parts() else {
            return Ok(None);
        };
        if rel_type == THREAD {
            return Ok(Some(target));
        }
        match stored_json(view, room, target)? {
            Some(json) => relation = Relation::of_event(&json),
            None => return Ok(None),
        }
    }
    Ok(None)
}

fn stored_json(
    view: &impl Read,
    room: RoomSerial,
    event_id: String,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(serial): Option<EventSerial> = view.get(&tables::EVENT_BY_ID, &event_id)? else {
        return Ok(None);
    };
    let stored = view.get(&tables::EVENT_BY_SERIAL, &serial)?;
    Ok(stored
        .filter(|stored| stored.room == room)
        .map(|stored| stored.json))
}

/// Refuses a thread that begins at an event which itself relates to another
/// (client-server API, "Validation of `m.thread` relationships"). `content` is that of
/// the event to be sent.
///
/// # Errors
/// [`AppendError::BadState`].
pub(crate) fn check_root(
    latest: &Latest,
    room: RoomSerial,
    relation: Relation,
) -> Result<(), AppendError> {
    let root = match relation.parts() {
        Some((rel_type, root)) if rel_type == THREAD => root,
        _ => return Ok(()),
    };
    let Some(json) = stored_json(latest, room, root)? else {
        return Ok(());
    };
    if Relation::of_event(&json).parts().is_some() {
        return Err(AppendError::BadState(
            "a thread cannot begin at an event that relates to another".to_owned(),
        ));
    }
    Ok(())
}

/// Which threads of a room are wanted.
#[derive(Clone, Debug)]
pub struct ThreadsRequest {
    /// Whether only those in which the viewer has spoken.
    pub participated: bool,
    /// Where to begin; none for the thread with the newest event.
    pub from: Option<PlaceToken>,
    /// The most threads wanted; at most 100 are given.
    pub limit: usize,
}

/// Some threads of a room.
#[derive(Clone, Debug)]
pub struct ThreadsPage {
    /// Their roots as JSON, that with the newest event first.
    pub chunk: Vec<String>,
    /// Where the next page begins; none if there is nothing more.
    pub end: Option<PlaceToken>,
}

impl Rooms {
    /// The threads of a room: `GET /rooms/{roomId}/threads`.
    ///
    /// # Errors
    /// [`ReadError::Forbidden`] for those who may not look at the room.
    pub fn threads<R: Read>(
        &self,
        view: &R,
        room_id: &RoomId,
        viewer: Viewer,
        request: &ThreadsRequest,
    ) -> Result<ThreadsPage, ReadError> {
        let reader = self.reader(view, room_id, viewer)?;
        Access::of(view, reader.room, viewer.user)?;
        let visibility = Visibility::new(&reader)?;
        let limit = request.limit.clamp(1, MAX_LIMIT);
        let from = request
            .from
            .map(|from| (reader.room, from.depth, from.tie_break));
        let rows = view.scan_back(&tables::THREAD_BY_PLACE, &(reader.room,), from.as_ref());
        let mut page = ThreadsPage {
            chunk: Vec::new(),
            end: None,
        };
        for (examined, row) in rows.enumerate() {
            let ((_, depth, tie_break), root) = row?;
            if page.chunk.len() >= limit || examined >= MAX_EXAMINED {
                page.end = Some(PlaceToken::at(depth, tie_break).above());
                break;
            }
            page.chunk
                .extend(shown(&reader, &visibility, &root, request.participated)?);
        }
        Ok(page)
    }
}

/// A thread's root as JSON, if it is wanted and the viewer may see it and some reply.
fn shown<R: Read>(
    reader: &EventReader<'_, R>,
    visibility: &Visibility<'_, R>,
    root: &str,
    participated: bool,
) -> Result<Option<String>, ReadError> {
    let Some(event) = reader.load_by_id(root)? else {
        return Ok(None);
    };
    let sender = event.sender();
    if participated && sender != reader.viewer_id() && !has_replied(reader, root)? {
        return Ok(None);
    }
    if !visibility.allows(&event)? {
        return Ok(None);
    }
    let is_ignored = match user_serial(reader.view, &sender)? {
        Some(sender) => reader.newest_bundled.ignored(reader)?.contains(&sender),
        None => false,
    };
    let json = if is_ignored {
        reader.json_redacted(&event)?
    } else {
        reader.json(&event, true)?
    };
    Ok(is_thread(&json).then_some(json))
}

/// Whether a thread was bundled with the event: not where all replies are hidden from
/// the viewer.
fn is_thread(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow)]
        unsigned: Unsigned<'a>,
    }
    #[derive(Deserialize)]
    struct Unsigned<'a> {
        #[serde(borrow, rename = "m.relations")]
        relations: Option<Relations<'a>>,
    }
    #[derive(Deserialize)]
    struct Relations<'a> {
        #[serde(borrow, rename = "m.thread")]
        thread: Option<&'a serde_json::value::RawValue>,
    }
    serde_json::from_str::<Event<'_>>(json).is_ok_and(|event| {
        let relations = event.unsigned.relations;
        relations.is_some_and(|relations| relations.thread.is_some())
    })
}
