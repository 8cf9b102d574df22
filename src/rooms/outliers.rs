//! Events that are known only for their place in auth chains and states: not part of the
//! timeline, with no state of their own.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use graph::{Event, Received, Version};
use model::{
    EventMeta, EventSerial, EventStatus, RoomSerial, StoredEvent, rewriting_scope, tables,
};
use ruma_common::{OwnedEventId, OwnedRoomId, RoomId};
use store::{Latest, Read, Writing};

use crate::{
    AppendError, Rooms,
    known::{KnownEvent, KnownEvents},
    receive::by_auth_events,
    room_record,
    state_map::EMPTY,
};

/// How many are written in one commit: what is large comes in pieces.
const STEP: usize = 500;

impl Rooms {
    /// Keeps events that are known only for their place in auth chains and states. Those
    /// that their auth events do not allow are kept as rejected; those whose auth events are
    /// neither here nor among `events` are left out and come back. Returns when the others
    /// are on disk.
    ///
    /// # Errors
    /// [`AppendError::UnknownRoom`]; if the database fails.
    pub async fn keep_outliers(
        &self,
        room: RoomSerial,
        events: Vec<Received>,
    ) -> Result<Vec<Received>, AppendError> {
        let rooms = self.clone();
        let left_out = self
            .inner
            .queues
            .write(&self.inner.store, room, move |writing, _| {
                let (record, version) = room_record(writing.latest(), room)?;
                let room_id =
                    OwnedRoomId::try_from(record.room_id).map_err(|_| AppendError::UnknownRoom)?;
                let known = KnownEvents::new(writing.latest(), room, version, room_id);
                rooms.keep_outliers_now(writing, &known, room, events)
            })
            .await?;
        self.wait_for_earlier().await?;
        Ok(left_out)
    }

    /// Which of some events are not held here, in the room or as its outliers: in their
    /// order, as last written.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn not_held(
        &self,
        events: Vec<OwnedEventId>,
    ) -> Result<Vec<OwnedEventId>, AppendError> {
        self.inner
            .store
            .prepare(move |latest| {
                let mut missing = Vec::new();
                for event_id in events {
                    if !latest.contains(&tables::EVENT_BY_ID, &event_id.to_string())? {
                        missing.push(event_id);
                    }
                }
                Ok(missing)
            })
            .await
    }

    /// The ends of a room's graph, as last written: the newest last.
    ///
    /// # Errors
    /// [`AppendError::UnknownRoom`]; if the database fails.
    pub async fn extremities(&self, room: RoomSerial) -> Result<Vec<OwnedEventId>, AppendError> {
        self.inner
            .store
            .prepare(move |latest| {
                let head = latest
                    .get(&tables::HEAD_BY_ROOM, &room)?
                    .ok_or(AppendError::UnknownRoom)?;
                let stored = latest.get_many(&tables::EVENT_BY_SERIAL, &head.extremities)?;
                let ids = stored.into_iter().flatten();
                Ok(ids
                    .filter_map(|stored| OwnedEventId::try_from(stored.event_id).ok())
                    .collect())
            })
            .await
    }

    /// The serial and the version of a room that this server takes part in, as last written;
    /// none for others.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn part_of(
        &self,
        room_id: &RoomId,
    ) -> Result<Option<(RoomSerial, Version)>, AppendError> {
        let room_id = room_id.to_string();
        self.inner
            .store
            .prepare(move |latest| {
                let Some(room) = latest.get(&tables::ROOM_BY_ID, &room_id)? else {
                    return Ok(None);
                };
                let head = latest.get(&tables::HEAD_BY_ROOM, &room)?;
                if head.is_none_or(|head| head.joined_here == 0) {
                    return Ok(None);
                }
                let (_, version) = room_record(latest, room)?;
                Ok(Some((room, version)))
            })
            .await
    }

    /// [`Rooms::keep_outliers`] of who writes to the room.
    fn keep_outliers_now(
        &self,
        writing: &Writing,
        known: &KnownEvents<'_, Latest>,
        room: RoomSerial,
        events: Vec<Received>,
    ) -> Result<Vec<Received>, AppendError> {
        let mut left_out = Vec::new();
        let mut rows = Vec::new();
        for Received { event, redacted } in in_order(events) {
            let held = known.by_id(event.event_id())?;
            let is_held = held.is_some() || is_held(writing.latest(), &event)?;
            // Of an invitation from outside nobody could say yet what it rests on.
            let held = held.filter(|held| is_unjudged(held));
            if event.room_id() != known.room_id || (is_held && held.is_none()) {
                continue;
            }
            let Ok((generation, refused)) = by_auth_events(known, &event)? else {
                left_out.push(Received { event, redacted });
                continue;
            };
            let status = match &refused {
                None => EventStatus::Outlier,
                Some(_) => EventStatus::Rejected,
            };
            let (serial, position) = match held {
                Some(held) => (held.serial, held.meta.position),
                None => (EventSerial(self.inner.store.next_serial()), 0),
            };
            let meta = EventMeta {
                status,
                depth: event.depth(),
                tie_break: serial.0,
                position,
                state_before: EMPTY,
                generation,
                replaces: None,
            };
            let event = Arc::new(match refused {
                None => event,
                Some(_) => judged(&event, known.version, &known.room_id, true)?,
            });
            rows.push((serial, event.clone(), meta.clone()));
            known.add(KnownEvent {
                serial,
                event,
                meta,
            });
            if rows.len() >= STEP {
                write_outliers(writing, room, std::mem::take(&mut rows))?;
            }
        }
        write_outliers(writing, room, rows)?;
        Ok(left_out)
    }
}

/// Whether an event was kept when nothing that it rests on was here: all but the first of a
/// room stand above others.
fn is_unjudged(known: &KnownEvent) -> bool {
    known.meta.status == EventStatus::Outlier
        && known.meta.generation == 0
        && known.event.event_type() != "m.room.create"
}

/// Whether there is an event of this id already, in whatever room.
pub(crate) fn is_held(view: &impl Read, event: &Event) -> Result<bool, AppendError> {
    Ok(view.contains(&tables::EVENT_BY_ID, &event.event_id().to_string())?)
}

/// The event as one that the rules refuse, or do not refuse.
pub(crate) fn judged(
    event: &Event,
    version: Version,
    room_id: &RoomId,
    is_rejected: bool,
) -> Result<Event, AppendError> {
    let json = event.json().as_bytes().to_vec();
    let (event_id, room_id) = (event.event_id().to_owned(), room_id.to_owned());
    Ok(Event::from_stored(
        json,
        event_id,
        version,
        room_id,
        is_rejected,
    )?)
}

fn write_outliers(
    writing: &Writing,
    room: RoomSerial,
    rows: Vec<(EventSerial, Arc<Event>, EventMeta)>,
) -> Result<(), AppendError> {
    if rows.is_empty() {
        return Ok(());
    }
    writing.write(move |_, _, batch| {
        for (serial, event, meta) in rows {
            let stored = StoredEvent {
                room,
                event_id: event.event_id().to_string(),
                json: event.json().as_bytes().to_vec(),
            };
            batch.put(&tables::EVENT_BY_ID, &stored.event_id, &serial);
            batch.put(&tables::EVENT_BY_SERIAL, &serial, &stored);
            batch.put(&tables::EVENT_META_BY_SERIAL, &serial, &meta);
        }
        batch.wake(rewriting_scope(room));
        Ok::<_, AppendError>(())
    })?;
    Ok(())
}

/// The events, each once and after those of them that allow it. Events cannot allow each
/// other in a circle, as each is named by its hash; where ids are chosen, who claims that
/// they do is refused by the rules.
fn in_order(events: Vec<Received>) -> Vec<Received> {
    let mut waiting: HashMap<OwnedEventId, Received> = HashMap::with_capacity(events.len());
    let mut ids = Vec::with_capacity(events.len());
    for received in events {
        let event_id = received.event.event_id().to_owned();
        if waiting.insert(event_id.clone(), received).is_none() {
            ids.push(event_id);
        }
    }
    // Since version 12 all rest on the create event, and none names it.
    ids.sort_by_key(|event_id| {
        let received = waiting.get(event_id);
        received.is_none_or(|it| it.event.event_type() != "m.room.create")
    });
    let mut ordered = Vec::with_capacity(waiting.len());
    let mut entered = HashSet::new();
    for event_id in ids {
        let mut open = vec![(event_id, false)];
        while let Some((event_id, is_left)) = open.pop() {
            if is_left {
                ordered.extend(waiting.remove(&event_id));
                continue;
            }
            let Some(received) = waiting.get(&event_id) else {
                continue;
            };
            if !entered.insert(event_id.clone()) {
                continue;
            }
            let below: Vec<_> = received.event.auth_events().to_vec();
            open.push((event_id, true));
            open.extend(below.into_iter().map(|event_id| (event_id, false)));
        }
    }
    ordered
}
