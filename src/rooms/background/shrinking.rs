//! A room's history is shortened: what was said before some event is removed. State stays, as what
//! came later rests on it, and so do the newest event and what the register names.

use audit::Deed;
use graph::Event;
use model::{
    EventMeta, EventSerial, EventStatus, RoomChange, RoomSerial, RoomShrinking, RoomTaskRecord,
    RoomWork, UserSerial, rewriting_scope,
    tables::{self, EVENT_BY_PLACE, EVENT_BY_SERIAL, EVENT_META_BY_SERIAL, HEAD_BY_ROOM},
};
use store::{Batch, Latest, Position, Read, Snapshot, StoreError};

use crate::{
    AppendError, Rooms,
    client_event::load_event,
    relations::{RelationKeys, Tallies},
    room_serial, user_serial,
};

/// How many events of the timeline are looked at in one step.
const STEP: usize = 500;

/// Up to where history is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// Everything before this event.
    Event(String),
    /// Everything that was sent before this time, in ms since the Unix epoch.
    Time(u64),
}

/// How an administrator wants history to be shortened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedShrinking {
    /// The room's id.
    pub room_id: String,
    /// Up to where.
    pub before: Boundary,
    /// Whether what people of this server have said is removed too: nobody else may have it.
    pub with_local: bool,
}

impl Rooms {
    /// Begins to shorten a room's history. Returns the id of what was begun.
    ///
    /// # Errors
    /// [`AppendError::UnknownRoom`]; [`AppendError::NotFound`] if there is no such event, or
    /// nothing before the time.
    pub async fn begin_shrinking(
        &self,
        by: Option<String>,
        wanted: WantedShrinking,
        deed: Deed,
    ) -> Result<String, AppendError> {
        let (name, boundary) = (wanted.room_id.clone(), wanted.before);
        let read = move |view: &Snapshot| place_of(view, &name, &boundary);
        let (room, before, expected) = self.inner.store.read_long(read).await?;
        let work = RoomWork::Shrinking(RoomShrinking {
            room,
            room_id: wanted.room_id,
            before,
            next: (0, 0),
            with_local: wanted.with_local,
        });
        self.begin_task(by, work, expected, deed, |_, _| Ok(()))
            .await
    }

    pub(super) async fn shrink_on(
        &self,
        id: &str,
        mut record: RoomTaskRecord,
        mut work: RoomShrinking,
    ) -> Result<RoomTaskRecord, AppendError> {
        let (rooms, from) = (self.clone(), work.clone());
        let read = move |view: &Snapshot| rooms.page(view, &from);
        let page: Page = self.inner.store.read_long(read).await?;
        let room = work.room;
        record.done += page.looked_at;
        record.expected = record.expected.max(record.done);
        let is_last = page.next.is_none();
        work.next = page.next.unwrap_or(work.before);
        record.work = RoomWork::Shrinking(work);
        if is_last {
            record = self.ended(record);
        }
        let id = id.to_owned();
        let commit = move |latest: &Latest, _: Position, batch: &mut Batch| {
            let mut tallies = Tallies::default();
            // What relates to another event goes before that one does.
            for event in page.events.into_iter().rev() {
                delete_event(latest, batch, room, &mut tallies, event)?;
            }
            batch.wake(rewriting_scope(room));
            batch.put(&tables::ROOM_TASK_BY_ID, &id, &record);
            Ok::<_, StoreError>(record)
        };
        let record = self.inner.store.commit_from_reserve(commit).await?;
        // What was kept for those who wait names events that are gone.
        self.inner.news.forget(room);
        Ok(record)
    }

    /// The events that go, of the next part of the timeline.
    fn page(&self, view: &Snapshot, work: &RoomShrinking) -> Result<Page, StoreError> {
        let (room, (depth, tie_break)) = (work.room, work.next);
        let head = view.get(&HEAD_BY_ROOM, &room)?.unwrap_or_default();
        let mut page = Page::default();
        let from = (room, depth, tie_break);
        for row in view.scan_from(&EVENT_BY_PLACE, &(room,), &from) {
            let ((_, depth, tie_break), serial) = row?;
            if (depth, tie_break) >= work.before {
                return Ok(page);
            }
            if page.looked_at == STEP as u64 {
                page.next = Some((depth, tie_break));
                return Ok(page);
            }
            page.looked_at += 1;
            let Some(meta) = view.get(&EVENT_META_BY_SERIAL, &serial)? else {
                continue;
            };
            let Ok(event) = load_event(view, serial) else {
                continue;
            };
            let is_local = self.is_local(event.sender());
            let stays = event.state_key().is_some()
                || head.extremities.contains(&serial)
                || (is_local && !work.with_local);
            if !stays {
                page.events.push(going(view, room, serial, meta, event)?);
            }
        }
        Ok(page)
    }
}

/// A part of a timeline.
#[derive(Default)]
struct Page {
    events: Vec<Going>,
    looked_at: u64,
    /// Where the next part begins, if there is one.
    next: Option<(u64, u64)>,
}

/// An event that goes.
struct Going {
    serial: EventSerial,
    event: Event,
    meta: EventMeta,
    sender: Option<UserSerial>,
    annotations: Vec<(EventSerial, UserSerial, String)>,
    /// The rows that tell of it to those who follow the room.
    changes: Vec<(RoomSerial, Position, u32)>,
    /// The rows of what relates to it.
    bundled: Vec<(RoomSerial, String, model::Bundled, (u64, u64))>,
    thread: Option<(u64, u64)>,
}

fn going(
    view: &Snapshot,
    room: RoomSerial,
    serial: EventSerial,
    meta: EventMeta,
    event: Event,
) -> Result<Going, StoreError> {
    let event_id = event.event_id().to_string();
    let mut annotations = Vec::new();
    for row in view.scan(&tables::ANNOTATION_BY_EVENT, &(serial,)) {
        annotations.push(row?.0);
    }
    let mut changes = Vec::new();
    if meta.position != 0 {
        for row in view.scan(&tables::CHANGE_BY_ROOM, &(room, meta.position())) {
            let (key, change) = row?;
            if matches!(change, RoomChange::Event(change) if change.event == serial) {
                changes.push(key);
            }
        }
    }
    let key = (room, event_id);
    let bundle = view.get(&tables::BUNDLE_BY_TARGET, &key)?;
    let mut bundled = Vec::new();
    if bundle.is_some() {
        for row in view.scan(&tables::BUNDLED_BY_TARGET, &key) {
            bundled.push(row?.0);
        }
    }
    Ok(Going {
        sender: user_serial(view, event.sender().as_str())?,
        serial,
        event,
        meta,
        annotations,
        changes,
        bundled,
        thread: bundle.and_then(|bundle| bundle.newest_reply),
    })
}

fn delete_event(
    latest: &Latest,
    batch: &mut Batch,
    room: RoomSerial,
    tallies: &mut Tallies,
    going: Going,
) -> Result<(), StoreError> {
    let serial = going.serial;
    let event_id = going.event.event_id().to_string();
    let place = (going.meta.depth, going.meta.tie_break);
    let relation = RelationKeys::of(&going.event, serial, place);
    if let (Some(relation), Some(sender)) = (relation, going.sender) {
        relation.delete(room, sender, tallies, latest, batch)?;
    }
    if let Some(record) = latest.get(&tables::ANNOTATED_BY_ANNOTATION, &serial)? {
        let key = (record.target, record.user, record.kind);
        batch.delete(&tables::ANNOTATION_BY_EVENT, &key);
        batch.delete(&tables::ANNOTATED_BY_ANNOTATION, &serial);
    }
    for key in &going.annotations {
        batch.delete(&tables::ANNOTATION_BY_EVENT, key);
    }
    for key in &going.changes {
        batch.delete(&tables::CHANGE_BY_ROOM, key);
    }
    for key in &going.bundled {
        batch.delete(&tables::BUNDLED_BY_TARGET, key);
    }
    if let Some((depth, tie_break)) = going.thread {
        batch.delete(&tables::THREAD_BY_PLACE, &(room, depth, tie_break));
    }
    let target = (room, event_id.clone());
    batch.delete(&tables::BUNDLE_BY_TARGET, &target);
    for row in latest.scan(&tables::RELATION_BY_TARGET, &target) {
        batch.delete(&tables::RELATION_BY_TARGET, &row?.0);
    }
    for row in latest.scan(&tables::REPLIES_BY_SENDER, &target) {
        batch.delete(&tables::REPLIES_BY_SENDER, &row?.0);
    }
    batch.delete(&EVENT_BY_PLACE, &(room, place.0, place.1));
    batch.delete(&tables::EVENT_BY_ID, &event_id);
    batch.delete(&EVENT_BY_SERIAL, &serial);
    batch.delete(&EVENT_META_BY_SERIAL, &serial);
    batch.delete(&tables::REDACTION_BY_EVENT, &serial);
    batch.delete(&tables::TRANSACTION_BY_EVENT, &serial);
    batch.delete(&tables::INDEXED_BY_EVENT, &serial);
    batch.delete(&tables::DELAY_ID_BY_EVENT, &serial);
    batch.delete(&tables::RELAYED_EVENT, &serial);
    Ok(())
}

/// The room, the place before which everything goes, and about how many events that are.
fn place_of(
    view: &Snapshot,
    room_id: &str,
    boundary: &Boundary,
) -> Result<(RoomSerial, (u64, u64), u64), AppendError> {
    let room = room_serial(view, room_id)?.ok_or(AppendError::UnknownRoom)?;
    let unknown = || AppendError::NotFound("there is no such event in this room".to_owned());
    let named = match boundary {
        Boundary::Event(event_id) => {
            let serial = view.get(&tables::EVENT_BY_ID, event_id)?;
            let serial = serial.ok_or_else(unknown)?;
            let stored = view.get(&EVENT_BY_SERIAL, &serial)?.ok_or_else(unknown)?;
            let meta = view.get(&EVENT_META_BY_SERIAL, &serial)?;
            let meta = meta.filter(|meta| meta.status == EventStatus::Accepted);
            let meta = meta.filter(|_| stored.room == room).ok_or_else(unknown)?;
            Some((meta.depth, meta.tie_break))
        }
        Boundary::Time(_) => None,
    };
    let (mut count, mut place) = (0, None);
    for row in view.scan(&EVENT_BY_PLACE, &(room,)) {
        let ((_, depth, tie_break), serial) = row?;
        if named.is_some_and(|named| (depth, tie_break) >= named) {
            break;
        }
        count += 1;
        if let Boundary::Time(time) = boundary
            && let Ok(event) = load_event(view, serial)
            && event.origin_server_ts() < *time
        {
            // The last that is old enough: a wrong clock in between changes nothing.
            place = Some(((depth, tie_break + 1), count));
        }
    }
    match (named, place) {
        (Some(named), _) => Ok((room, named, count)),
        (None, Some((place, count))) => Ok((room, place, count)),
        (None, None) => Err(AppendError::NotFound(
            "nothing was sent before this time".to_owned(),
        )),
    }
}
