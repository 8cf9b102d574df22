//! Rooms whose state is known in part only (MSC3902): another server has let somebody in and
//! left the members out, which are fetched meanwhile.
//!
//! The state before each event is what is known of it, completed by what the event itself
//! rests on. The other servers that are said to be in the room count as one member each, so
//! that they are told everything. `completing` puts all of it right.

use std::{cmp::Ordering, collections::HashSet, time::Duration};

use graph::{Event, Version};
use model::{
    EventSerial, PartialEventRecord, PartialRoomRecord, RoomSerial, StateRoot, UserSerial,
    room_scope, tables,
};
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, UserId};
use store::{Batch, Latest, Read, Snapshot, StoreError};

use crate::{
    Access, AppendError, ReadError, Rooms, StateMaps,
    forks::merge,
    known::KnownEvents,
    residents::residents,
    room_record, room_serial,
    rows::Progress,
    staging::{Staged, Staging},
    state_map::EMPTY,
};

/// How long the state of a room is waited for that is known in part.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The most servers that are taken to be in a room.
const MOST_SERVERS: usize = 20_000;

/// What a server says that gives a room without its members.
#[derive(Clone, Debug)]
pub struct MembersOmitted {
    /// That server.
    pub given_by: OwnedServerName,
    /// The other servers that are in the room.
    pub servers: Vec<OwnedServerName>,
}

/// A room whose state is to be completed.
#[derive(Clone, Debug)]
pub struct PartialRoom {
    /// The room.
    pub room: RoomSerial,
    /// Its id.
    pub room_id: OwnedRoomId,
    /// Its version.
    pub version: Version,
    /// The events directly before the joins by which this server came in, as far as the states
    /// after them are not known here. They are wanted.
    pub before: Vec<OwnedEventId>,
    /// The servers that may tell, the most promising first.
    pub servers: Vec<OwnedServerName>,
}

/// Whether the state of a room is known in part only.
///
/// # Errors
/// If the database fails.
pub fn is_partial(view: &impl Read, room: RoomSerial) -> Result<bool, StoreError> {
    let head = view.get(&tables::HEAD_BY_ROOM, &room)?;
    Ok(head.is_some_and(|head| head.is_partial))
}

impl Rooms {
    /// The rooms whose state is known in part, and in which somebody of this server is.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn partial_rooms(&self) -> Result<Vec<PartialRoom>, AppendError> {
        let read = |latest: &Latest| {
            let mut rooms = Vec::new();
            for row in latest.scan(&tables::PARTIAL_ROOM, &()) {
                let (room, record) = row?;
                let head = latest.get(&tables::HEAD_BY_ROOM, &room)?;
                if head.is_some_and(|head| head.is_partial && head.joined_here > 0) {
                    rooms.push(partial_room(latest, room, &record)?);
                }
            }
            Ok::<_, AppendError>(rooms)
        };
        self.inner.store.prepare(read).await
    }

    /// Waits until the state of a room is known wholly that `user` looks at. There is nothing
    /// to wait for where it is, for those who may not look or have left, and where nobody of
    /// this server is in the room any more.
    ///
    /// # Errors
    /// [`ReadError::Partial`] if that takes too long; if the database fails.
    pub async fn wait_until_whole(
        &self,
        room_id: &RoomId,
        user: UserSerial,
    ) -> Result<(), ReadError> {
        let wait = self.wait_for_state(room_id, user);
        match tokio::time::timeout(LONGEST_WAIT, wait).await {
            Ok(waited) => waited,
            Err(_) => Err(ReadError::Partial),
        }
    }

    /// Whether a piece of state is missing where a room's state is known in part: a membership
    /// of another server's user.
    pub fn is_late_state(&self, event_type: &str, state_key: &str) -> bool {
        let is_own = |user_id: &UserId| *user_id.server_name() == *self.inner.server_name;
        event_type == "m.room.member" && !<&UserId>::try_from(state_key).is_ok_and(is_own)
    }

    async fn wait_for_state(&self, room_id: &RoomId, user: UserSerial) -> Result<(), ReadError> {
        let room_id = room_id.to_owned();
        let find = move |view: &Snapshot| room_serial(view, room_id.as_str());
        let Some(room) = self.inner.store.read(find).await? else {
            return Ok(());
        };
        loop {
            let mut watch = self.inner.store.watch(&[room_scope(room)]);
            let read = move |view: &Snapshot| is_awaited(view, room, user);
            if !self.inner.store.read(read).await? {
                return Ok(());
            }
            watch.changed().await;
        }
    }
}

/// Whether somebody who looks at a room must wait for its state.
fn is_awaited(view: &Snapshot, room: RoomSerial, user: UserSerial) -> Result<bool, ReadError> {
    let head = view.get(&tables::HEAD_BY_ROOM, &room)?;
    if head.is_none_or(|head| !head.is_partial || head.joined_here == 0) {
        return Ok(false);
    }
    match Access::of(view, room, user) {
        Ok(access) => Ok(!matches!(access, Access::Left(_))),
        Err(ReadError::Forbidden(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn partial_room(
    view: &Latest,
    room: RoomSerial,
    record: &PartialRoomRecord,
) -> Result<PartialRoom, AppendError> {
    let (known, version) = room_record(view, room)?;
    let room_id = OwnedRoomId::try_from(known.room_id).map_err(|_| AppendError::UnknownRoom)?;
    let events = KnownEvents::new(view, room, version, room_id.clone());
    let mut servers = Vec::new();
    servers.extend(OwnedServerName::try_from(record.given_by.as_str()).ok());
    servers.extend(residents(view, room)?);
    let mut seen = HashSet::new();
    servers.retain(|server| seen.insert(server.clone()));
    Ok(PartialRoom {
        room,
        room_id,
        version,
        before: unknown_before(&events, &record.entries)?,
        servers,
    })
}

/// The events directly before some joins after which the states are not known here.
pub(crate) fn unknown_before(
    known: &KnownEvents<'_, Latest>,
    entries: &[EventSerial],
) -> Result<Vec<OwnedEventId>, AppendError> {
    let mut unknown = Vec::new();
    for entry in entries {
        let Some(entry) = known.by_serial(*entry)? else {
            continue;
        };
        for prev in entry.event.prev_events() {
            let held = known.by_id(prev)?.and_then(|held| held.state_before());
            if held.is_none() && !unknown.contains(prev) {
                unknown.push(prev.clone());
            }
        }
    }
    Ok(unknown)
}

/// A state that is known in part, with what an event says that it rests on. Where the state
/// has nothing, that stands; where the two say different things, they are resolved.
pub(crate) fn with_auth_events<R: Read>(
    known: &KnownEvents<'_, R>,
    maps: &mut StateMaps<'_, R>,
    root: StateRoot,
    event: &Event,
) -> Result<StateRoot, AppendError> {
    let mut completed = root;
    let mut others = Vec::new();
    for event_id in event.auth_events() {
        let Some(found) = known.by_id(event_id)? else {
            continue;
        };
        let Some(state_key) = found.event.state_key() else {
            continue;
        };
        if found.event.rejected() {
            continue;
        }
        let event_type = found.event.event_type();
        match maps.get(root, event_type, state_key)? {
            None => completed = maps.insert(completed, event_type, state_key, found.serial)?,
            Some(serial) if serial == found.serial => {}
            Some(_) => others.push(found),
        }
    }
    let mut claimed = completed;
    for found in others {
        if let Some(state_key) = found.event.state_key() {
            claimed = maps.insert(claimed, found.event.event_type(), state_key, found.serial)?;
        }
    }
    merge(known, maps, &[completed, claimed])
}

/// Whether the state before an event rests on one that is known in part.
pub(crate) fn rests_on_partial(
    known: &KnownEvents<'_, Latest>,
    room: RoomSerial,
    event: &Event,
) -> Result<bool, AppendError> {
    for prev in event.prev_events() {
        if let Some(found) = known.by_id(prev)?
            && known
                .view()
                .contains(&tables::PARTIAL_EVENT_BY_ROOM, &(room, found.serial))?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Notes that an event is placed while the room's state is known in part.
pub(crate) fn note(batch: &mut Batch, room: RoomSerial, staged: &Staged) {
    let arrival = staged.arrival.as_deref();
    let given = arrival.map(|arrival| arrival.given.iter());
    let record = PartialEventRecord {
        is_history: arrival.is_some_and(|arrival| arrival.is_history),
        given: given
            .into_iter()
            .flatten()
            .map(|(event_id, root)| (event_id.to_string(), *root))
            .collect(),
    };
    // What nobody has looked for a place for has none to be put right.
    if staged.state_before != EMPTY {
        let key = (room, staged.serial);
        batch.put(&tables::PARTIAL_EVENT_BY_ROOM, &key, &record);
    }
}

/// Forgets which events were placed while the room's state was known in part.
pub(crate) fn forget_events(batch: &mut Batch, room: RoomSerial) {
    batch.delete_prefix(&tables::PARTIAL_EVENT_BY_ROOM, &(room,));
}

/// Writes that a room is known in part from now on, or wholly, after all that the commit
/// says of memberships.
pub(crate) fn mark(
    staging: &Staging,
    join: EventSerial,
    omitted: Option<MembersOmitted>,
    progress: &mut Progress,
    latest: &Latest,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let before = unmark(staging.room, progress, latest, batch)?;
    let Some(mut omitted) = omitted else {
        return Ok(());
    };
    // What came in an earlier stay is put right together with what comes now.
    let position = before.as_ref().map(|before| before.position);
    let mut entries = before.map_or_else(Vec::new, |before| before.entries);
    entries.push(join);
    omitted.servers.sort();
    omitted.servers.dedup();
    omitted.servers.truncate(MOST_SERVERS);
    let record = PartialRoomRecord {
        entries,
        position: position.unwrap_or(progress.position.0),
        given_by: omitted.given_by.to_string(),
        servers: omitted.servers.iter().map(ToString::to_string).collect(),
    };
    for server in &record.servers {
        progress.count_server(staging.room, server, Ordering::Greater, latest, batch)?;
    }
    batch.put(&tables::PARTIAL_ROOM, &staging.room, &record);
    Ok(())
}

/// Takes the mark away, and gives it: the servers count by their members alone.
pub(crate) fn unmark(
    room: RoomSerial,
    progress: &mut Progress,
    latest: &Latest,
    batch: &mut Batch,
) -> Result<Option<PartialRoomRecord>, StoreError> {
    let Some(before) = latest.get(&tables::PARTIAL_ROOM, &room)? else {
        return Ok(None);
    };
    for server in &before.servers {
        progress.count_server(room, server, Ordering::Less, latest, batch)?;
    }
    batch.delete(&tables::PARTIAL_ROOM, &room);
    batch.delete_prefix(&tables::UNPLACED_DEVICES_BY_ROOM, &(room,));
    Ok(Some(before))
}
