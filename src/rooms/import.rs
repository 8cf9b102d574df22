//! A room that another server gives with the answer to a join (server-server API, "Joining
//! rooms").

use graph::{Event, Received, Version};
use model::{EventSerial, RoomHead, RoomRecord, RoomSerial, intern_room, tables};
use ruma_common::{OwnedEventId, OwnedRoomId, RoomId};
use store::{Latest, Read as _, Writing, Written};

use crate::{
    AppendError, Appended, MembersOmitted, Rooms, StateMaps,
    forks::allowed_in,
    known::KnownEvents,
    outliers::is_held,
    partial::{self, with_auth_events},
    placing::Placed,
    queue::RoomEnd,
    receive::{build, by_auth_events},
    room_record,
    rows::{self, Extra, Progress},
    staging::Staging,
};

/// A room as another server gave it with a join, which is vouched for.
#[derive(Debug)]
pub struct ImportedRoom {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Its version.
    pub version: Version,
    /// The state before the join. Those of its events that are not held here as outliers count
    /// for nothing.
    pub state: Vec<OwnedEventId>,
    /// The join of a user of this server.
    pub event: Received,
    /// What the other server says if it has left members out of the state.
    pub omitted: Option<MembersOmitted>,
}

impl Rooms {
    /// The serial of a room, which becomes known here if it is not: without events, until it
    /// is imported. What an invitation said of the version of a room that nobody here was in
    /// counts no longer: invitations of the first kind do not name it.
    ///
    /// # Errors
    /// [`AppendError::InvalidRoomState`] if the room is known here with another version; if the
    /// database fails.
    pub async fn know_room(
        &self,
        room_id: &RoomId,
        version: Version,
    ) -> Result<RoomSerial, AppendError> {
        let candidate = self.inner.store.next_serial();
        let record = RoomRecord {
            room_id: room_id.to_string(),
            version: version.as_str().to_owned(),
            create_event: EventSerial(0),
            created_at: self.inner.clock.now().0,
        };
        self.inner
            .store
            .commit(move |latest, _, batch| {
                let room = intern_room(latest, batch, &record.room_id, candidate)?;
                match latest.get(&tables::ROOM_BY_SERIAL, &room)? {
                    None => batch.put(&tables::ROOM_BY_SERIAL, &room, &record),
                    Some(known) if known.version == record.version => {}
                    Some(known) if known.create_event == EventSerial(0) => {
                        batch.put(&tables::ROOM_BY_SERIAL, &room, &record);
                    }
                    Some(known) => {
                        return Err(AppendError::InvalidRoomState(format!(
                            "the room is of version {}, not {}",
                            known.version, record.version
                        )));
                    }
                }
                Ok(room)
            })
            .await
    }

    /// Makes a room a room of this server that another server gave with a join; where it was one
    /// already, it goes on from there. Its events were [kept](Rooms::keep_outliers) before.
    /// Returns when all of it is on disk; a crash before leaves the room as it was.
    ///
    /// # Errors
    /// [`AppendError::Refused`] if the rules do not allow the join in this state;
    /// [`AppendError::InvalidRoomState`] if the state is no room's; if the database fails.
    pub async fn import(&self, room: ImportedRoom) -> Result<Appended, AppendError> {
        let serial = self.know_room(&room.room_id, room.version).await?;
        let rooms = self.clone();
        let (appended, written) = self
            .inner
            .queues
            .write(&self.inner.store, serial, move |writing, end| {
                rooms.import_now(writing, serial, room, end)
            })
            .await?;
        written.durable().await?;
        Ok(appended)
    }

    fn import_now(
        &self,
        writing: &Writing,
        room: RoomSerial,
        imported: ImportedRoom,
        end: &mut Option<RoomEnd>,
    ) -> Result<(Appended, Written), AppendError> {
        let latest = writing.latest();
        let (mut record, version) = room_record(latest, room)?;
        let known = KnownEvents::new(latest, room, version, imported.room_id);
        let own = imported.event.event.event_id();
        let mut state = imported.state;
        state.retain(|event_id| event_id != own);
        let state = kept(&known, state)?;
        record.create_event = create_event(&known, &state)?;
        let secret = self.inner.store.secret();
        let mut maps = StateMaps::new(latest, room, secret);
        let event = imported.event.event;
        let omitted = imported.omitted;
        let placed = place_join(&known, &mut maps, &event, &state, omitted.is_some())?;
        let mut head = latest
            .get(&tables::HEAD_BY_ROOM, &room)?
            .unwrap_or_else(RoomHead::default);
        head.is_partial = omitted.is_some();
        let mut staging = Staging::on(
            RoomEnd {
                record,
                version,
                head,
                extremity_ids: Vec::new(),
                state: Default::default(),
                levels: None,
                policy: None,
            },
            room,
            self.inner.clock.now().0,
        );
        staging.nodes = maps.into_fresh();
        // Nobody may go on from the end as it was.
        *end = None;
        staging.place(self, latest, event, placed, true)?;
        staging.new_room = true;
        self.write_entry(writing, staging, omitted, end)
    }

    /// Writes the join, and whether the room's state is known in part.
    fn write_entry(
        &self,
        writing: &Writing,
        staging: Staging,
        omitted: Option<MembersOmitted>,
        end: &mut Option<RoomEnd>,
    ) -> Result<(Appended, Written), AppendError> {
        let context = rows::Context::of_others(self);
        let (staging, written) = writing.write(|latest, position, batch| {
            let mut progress = Progress::at(position, &context);
            if omitted.is_none() {
                // The state is whole: nobody need put anything right.
                partial::forget_events(batch, staging.room);
            }
            let extra = Extra::none();
            let staging = rows::write_room(staging, &context, extra, &mut progress, latest, batch)?;
            if let Some(join) = staging.events.last() {
                let join = join.serial;
                partial::mark(&staging, join, omitted, &mut progress, latest, batch)?;
            }
            Ok::<_, AppendError>(staging)
        })?;
        let appended = staging.appended().pop().ok_or(AppendError::UnknownRoom)?;
        *end = Some(staging.into_end());
        Ok((appended, written))
    }
}

/// The events of a state that are held here: the others were refused.
fn kept(
    known: &KnownEvents<'_, Latest>,
    state: Vec<OwnedEventId>,
) -> Result<Vec<OwnedEventId>, AppendError> {
    let mut kept = Vec::with_capacity(state.len());
    for event_id in state {
        if known.by_id(&event_id)?.is_some() {
            kept.push(event_id);
        }
    }
    Ok(kept)
}

/// The create event of a state.
fn create_event(
    known: &KnownEvents<'_, Latest>,
    state: &[OwnedEventId],
) -> Result<EventSerial, AppendError> {
    for event_id in state {
        if let Some(found) = known.by_id(event_id)?
            && found.event.is_state("m.room.create", "")
            && !found.event.rejected()
        {
            return Ok(found.serial);
        }
    }
    Err(AppendError::InvalidRoomState(
        "the room's state has no create event".to_owned(),
    ))
}

/// The join on the state that came with it.
fn place_join(
    known: &KnownEvents<'_, Latest>,
    maps: &mut StateMaps<'_, Latest>,
    event: &Event,
    state: &[OwnedEventId],
    is_partial: bool,
) -> Result<Placed, AppendError> {
    let held = known.by_id(event.event_id())?.map(|held| held.serial);
    if held.is_none() && is_held(known.view(), event)? {
        return Err(AppendError::InvalidRoomState(
            "the join is an event of another room".to_owned(),
        ));
    }
    let (generation, refused) = match by_auth_events(known, event)? {
        Ok(found) => found,
        Err((_, missing)) => {
            return Err(AppendError::InvalidRoomState(format!(
                "{} events that shall allow the join are missing",
                missing.len()
            )));
        }
    };
    if let Some(reason) = refused {
        return Err(reason.into());
    }
    let mut state_before = build(known, maps, state)?;
    if is_partial {
        state_before = with_auth_events(known, maps, state_before, event)?;
    }
    allowed_in(known, maps, state_before, event)??;
    let mut gaps = Vec::new();
    for prev in event.prev_events() {
        let is_held = known
            .by_id(prev)?
            .is_some_and(|held| held.state_before().is_some());
        if !is_held {
            gaps.push(prev.clone());
        }
    }
    Ok(Placed::accepted(held, state_before, generation, gaps))
}
