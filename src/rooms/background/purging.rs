//! Everything of a room that is removed goes. In one commit the room is gone for whoever asks for
//! it; what only the room itself led to follows in steps.
//!
//! The register stays: its own rows, the events that they name (by no id any more), and each
//! user's membership as the way to them.

use model::{
    Changes, EventMeta, EventSerial, Membership, MembershipRecord, PurgedRoomRecord, RemovalStage,
    RoomRemoval, RoomSerial, RoomTaskRecord, RoomWork, StayRecord, UserChange, UserSerial,
    occupancy_scope, publication_scope, rewriting_scope, room_scope, tables, user_scope,
};
use ruma_common::UserId;
use serde::Deserialize;
use store::{Batch, Latest, Position, Read, Snapshot, StoreError};

use crate::{AppendError, EMPTY_STATE, Rooms, department_rooms, lists, register};

/// How many events are looked at in one step, and how many users.
const EVENTS: usize = 4_000;
const USERS: usize = 500;

/// What is needed to have a room gone in one commit.
pub(super) struct Hiding {
    room: RoomSerial,
    room_id: String,
    pub(super) now: u64,
    aliases: Vec<String>,
    servers: Vec<String>,
    networks: Vec<String>,
    sticky: Vec<(u64, Position, EventSerial)>,
    /// Those of this server who ever had to do with it, with their membership.
    members: Vec<(UserSerial, MembershipRecord)>,
    /// What is known of the events by which they have it.
    metas: Vec<(EventSerial, EventMeta)>,
    /// The departments that have the room.
    departments: department_rooms::Left,
}

impl Hiding {
    pub(super) fn read(
        rooms: &Rooms,
        latest: &Latest,
        room: RoomSerial,
        room_id: &str,
    ) -> Result<Self, AppendError> {
        if !latest.contains(&tables::HEAD_BY_ROOM, &room)? {
            return Err(AppendError::UnknownRoom);
        }
        let mut hiding = Self {
            room,
            room_id: room_id.to_owned(),
            now: rooms.inner.clock.now().0,
            aliases: Vec::new(),
            servers: Vec::new(),
            networks: Vec::new(),
            sticky: Vec::new(),
            members: Vec::new(),
            metas: Vec::new(),
            departments: department_rooms::Left::of(latest, room)?,
        };
        for row in latest.scan(&tables::ALIAS_BY_ROOM, &(room,)) {
            hiding.aliases.push(row?.0.1);
        }
        for row in latest.scan(&tables::SERVER_BY_ROOM, &(room,)) {
            hiding.servers.push(row?.0.1);
        }
        for row in latest.scan(&tables::PUBLISHED_ROOM_BY_NETWORK, &()) {
            let ((network, published), ()) = row?;
            if published == room {
                hiding.networks.push(network);
            }
        }
        for row in latest.scan(&tables::STICKY_BY_ROOM, &(room,)) {
            let ((_, position, event), until) = row?;
            hiding.sticky.push((until, position, event));
        }
        for row in latest.scan(&tables::MEMBER_BY_ROOM, &(room,)) {
            let ((_, user), _) = row?;
            let user_id = model::user_id(latest, user)?.unwrap_or_default();
            let is_here = UserId::parse(user_id).is_ok_and(|id| rooms.is_local(&id));
            if is_here
                && let Some(record) = latest.get(&tables::MEMBERSHIP_BY_USER, &(user, room))?
            {
                let meta = latest.get(&tables::EVENT_META_BY_SERIAL, &record.event)?;
                hiding
                    .metas
                    .extend(meta.map(|meta| (record.event, stateless(meta))));
                hiding.members.push((user, record));
            }
        }
        Ok(hiding)
    }

    pub(super) fn write(
        &self,
        latest: &Latest,
        position: Position,
        batch: &mut Batch,
    ) -> Result<(), AppendError> {
        let room = self.room;
        if latest.get(&tables::ROOM_BY_ID, &self.room_id)? == Some(room) {
            batch.delete(&tables::ROOM_BY_ID, &self.room_id);
        }
        let purged = PurgedRoomRecord { at: self.now };
        batch.put(&tables::PURGED_ROOM, &room, &purged);
        batch.put(
            &tables::PURGED_ROOM_BY_ID,
            &(self.room_id.clone(), room),
            &(),
        );
        for alias in &self.aliases {
            let named = latest.get(&tables::ALIAS_BY_NAME, alias)?;
            if named.is_some_and(|named| named.room == room) {
                batch.delete(&tables::ALIAS_BY_NAME, alias);
            }
        }
        for server in &self.servers {
            let key = (server.clone(), room);
            batch.delete(&tables::ROOM_BY_SERVER, &key);
            batch.delete(&tables::WAITING_ROOM_BY_SERVER, &key);
        }
        for network in &self.networks {
            let key = (network.clone(), room);
            batch.delete(&tables::PUBLISHED_ROOM_BY_NETWORK, &key);
        }
        for (until, position, event) in &self.sticky {
            let key = (*until, room, *position, *event);
            batch.delete(&tables::STICKY_BY_END, &key);
        }
        for (event, meta) in &self.metas {
            batch.put(&tables::EVENT_META_BY_SERIAL, event, meta);
        }
        self.members(position, batch);
        self.departments.remove(batch, room);
        lists::unlist(latest, batch, room, &self.room_id)?;
        delete_rows_of_room(batch, room);
        batch.wake_all([rewriting_scope(room), room_scope(room)]);
        batch.wake_all([publication_scope(), occupancy_scope()]);
        Ok(())
    }

    /// Everybody of this server is out and has forgotten the room.
    fn members(&self, position: Position, batch: &mut Batch) {
        let mut changes = Changes::at(position);
        for (user, record) in &self.members {
            let mut record = record.clone();
            record.forgotten = true;
            let is_out = matches!(record.membership, Membership::Leave | Membership::Ban);
            if !is_out {
                record.membership = Membership::Leave;
                record.left_at = position.0;
                record.position = position.0;
                register::stay(batch, (self.room, *user), (position, self.now), &record);
                let change = UserChange::Membership {
                    room: self.room,
                    membership: Membership::Leave,
                };
                changes.user(batch, *user, &change);
            }
            batch.put(&tables::MEMBERSHIP_BY_USER, &(*user, self.room), &record);
        }
        batch.wake_all(self.members.iter().map(|(user, _)| user_scope(*user)));
    }
}

/// What is known of an event whose room's state is gone.
fn stateless(meta: EventMeta) -> EventMeta {
    EventMeta {
        state_before: EMPTY_STATE,
        ..meta
    }
}

/// All rows that stand under a room's serial, but for those of the register.
fn delete_rows_of_room(batch: &mut Batch, room: RoomSerial) {
    let of = (room,);
    batch.delete(&tables::HEAD_BY_ROOM, &room);
    batch.delete(&tables::PUBLISHED_ROOM, &room);
    batch.delete(&tables::NEWEST_BUNDLED_BY_ROOM, &room);
    batch.delete(&tables::NEWEST_FORK_BY_ROOM, &room);
    batch.delete(&tables::PARTIAL_ROOM, &room);
    batch.delete(&tables::COMPLETED_BY_ROOM, &room);
    batch.delete(&tables::BAN_LIST, &room);
    batch.delete(&tables::DIRECT_ROOM, &room);
    batch.delete(&tables::OPENED_ROOM, &room);
    batch.delete_prefix(&tables::EVENT_BY_PLACE, &of);
    batch.delete_prefix(&tables::CHANGE_BY_ROOM, &of);
    batch.delete_prefix(&tables::DEVICE_CHANGE_BY_ROOM, &of);
    batch.delete_prefix(&tables::STATE_NODE_BY_HASH, &of);
    batch.delete_prefix(&tables::STATE_BY_ROOM, &of);
    batch.delete_prefix(&tables::MEMBER_BY_ROOM, &of);
    batch.delete_prefix(&tables::ALIAS_BY_ROOM, &of);
    batch.delete_prefix(&tables::RECEIPT_BY_ROOM, &of);
    batch.delete_prefix(&tables::REDACTED_STATE_BY_ROOM, &of);
    batch.delete_prefix(&tables::RELATION_BY_TARGET, &of);
    batch.delete_prefix(&tables::BUNDLED_BY_TARGET, &of);
    batch.delete_prefix(&tables::BUNDLE_BY_TARGET, &of);
    batch.delete_prefix(&tables::REPLIES_BY_SENDER, &of);
    batch.delete_prefix(&tables::THREAD_BY_PLACE, &of);
    batch.delete_prefix(&tables::STICKY_BY_ROOM, &of);
    batch.delete_prefix(&tables::PARTIAL_EVENT_BY_ROOM, &of);
    batch.delete_prefix(&tables::SERVER_BY_ROOM, &of);
    batch.delete_prefix(&tables::GAP_BY_DEPTH, &of);
    batch.delete_prefix(&tables::GAP_BY_EVENT, &of);
    batch.delete_prefix(&tables::REDACTION_BY_MISSING, &of);
    batch.delete_prefix(&tables::MEDIA_BY_ROOM, &of);
    delete_words(batch, room);
}

/// The search index of a room.
fn delete_words(batch: &mut Batch, room: RoomSerial) {
    batch.delete_prefix(&tables::WORD_PAGE_BY_ROOM, &(room,));
    batch.delete_prefix(&tables::WORD_BY_ROOM, &(room,));
}

/// An event that goes.
struct Going {
    serial: EventSerial,
    event_id: String,
    /// Whether its body stays, as the register names it.
    is_kept: bool,
    annotations: Vec<(EventSerial, UserSerial, String)>,
}

/// Some events of a room, and where it goes on, if it does.
type Goings = (Vec<Going>, Option<EventSerial>);

impl Rooms {
    pub(super) async fn purge_events_on(
        &self,
        id: &str,
        mut record: RoomTaskRecord,
        mut removal: RoomRemoval,
        next: EventSerial,
    ) -> Result<RoomTaskRecord, AppendError> {
        let room = removal.room;
        let read = move |view: &Snapshot| events_of(view, room, next);
        let (events, next): Goings = self.inner.store.read_long(read).await?;
        record.done += events.len() as u64;
        record.expected = record.expected.max(record.done);
        removal.stage = match next {
            Some(next) => RemovalStage::Events(next),
            None => RemovalStage::Users(UserSerial(0)),
        };
        record.work = RoomWork::Removal(removal);
        let id = id.to_owned();
        let commit = move |latest: &Latest, _, batch: &mut Batch| {
            for event in events {
                delete_event(latest, batch, event)?;
            }
            batch.put(&tables::ROOM_TASK_BY_ID, &id, &record);
            Ok::<_, StoreError>(record)
        };
        Ok(self.inner.store.commit_from_reserve(commit).await?)
    }

    pub(super) async fn purge_users_on(
        &self,
        id: &str,
        mut record: RoomTaskRecord,
        mut removal: RoomRemoval,
        next: UserSerial,
    ) -> Result<RoomTaskRecord, AppendError> {
        let (room, room_id) = (removal.room, removal.room_id.clone());
        let read = move |view: &Snapshot| users_of(view, room, next);
        let users: Vec<UserSerial> = self.inner.store.read_long(read).await?;
        let is_last = users.len() < USERS;
        let last = users.last().map_or(0, |user| user.0);
        removal.stage = RemovalStage::Users(UserSerial(last + 1));
        record.work = RoomWork::Removal(removal);
        if is_last {
            record = self.ended(record);
        }
        let id = id.to_owned();
        let commit = move |latest: &Latest, _, batch: &mut Batch| {
            for user in users {
                delete_rows_of_user(latest, batch, (user, room))?;
            }
            if is_last {
                // What was being indexed when the room went came after it.
                delete_words(batch, room);
                batch.delete(&tables::CLOSED_ROOM, &room);
            }
            batch.put(&tables::ROOM_TASK_BY_ID, &id, &record);
            Ok::<_, StoreError>(record)
        };
        let record = self.inner.store.commit_from_reserve(commit).await?;
        self.forget_room_id(&room_id, room);
        Ok(record)
    }
}

/// Some of the events of a room: those of its timeline and all that stand outside of it. No event
/// has a lower serial than its room.
fn events_of(view: &Snapshot, room: RoomSerial, next: EventSerial) -> Result<Goings, StoreError> {
    let mut found = Vec::new();
    for (count, row) in view
        .scan_from(&tables::EVENT_BY_SERIAL, &(), &next)
        .enumerate()
    {
        let (serial, stored) = row?;
        if count == EVENTS {
            return Ok((found, Some(serial)));
        }
        if stored.room != room {
            continue;
        }
        let mut annotations = Vec::new();
        for row in view.scan(&tables::ANNOTATION_BY_EVENT, &(serial,)) {
            annotations.push(row?.0);
        }
        found.push(Going {
            serial,
            is_kept: is_in_register(view, room, serial, &stored.json)?,
            event_id: stored.event_id,
            annotations,
        });
    }
    Ok((found, None))
}

/// Whether the register names an event.
fn is_in_register(
    view: &Snapshot,
    room: RoomSerial,
    serial: EventSerial,
    json: &[u8],
) -> Result<bool, StoreError> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "type")]
        event_type: String,
        state_key: Option<String>,
    }
    let Ok(Event {
        event_type,
        state_key: Some(state_key),
    }) = serde_json::from_slice(json)
    else {
        return Ok(false);
    };
    if event_type == "m.room.create" {
        let record = view.get(&tables::ROOM_BY_SERIAL, &room)?;
        return Ok(record.is_some_and(|record| record.create_event == serial));
    }
    if event_type == "m.room.member" {
        let Some(user) = crate::user_serial(view, &state_key)? else {
            return Ok(false);
        };
        for row in view.scan(&tables::STAY_BY_ROOM, &(room, user)) {
            let (_, stay): (_, StayRecord) = row?;
            if stay.event == serial {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    for row in view.scan(&tables::RULE_BY_ROOM, &(room, event_type)) {
        if row?.1.event == Some(serial) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn delete_event(latest: &Latest, batch: &mut Batch, event: Going) -> Result<(), StoreError> {
    let serial = event.serial;
    // Another room of the same id may hold it by now.
    if latest.get(&tables::EVENT_BY_ID, &event.event_id)? == Some(serial) {
        batch.delete(&tables::EVENT_BY_ID, &event.event_id);
    }
    for key in event.annotations {
        batch.delete(&tables::ANNOTATION_BY_EVENT, &key);
    }
    batch.delete(&tables::ANNOTATED_BY_ANNOTATION, &serial);
    batch.delete(&tables::TRANSACTION_BY_EVENT, &serial);
    batch.delete(&tables::INDEXED_BY_EVENT, &serial);
    batch.delete(&tables::DELAY_ID_BY_EVENT, &serial);
    batch.delete(&tables::RELAYED_EVENT, &serial);
    if event.is_kept {
        if let Some(meta) = latest.get(&tables::EVENT_META_BY_SERIAL, &serial)? {
            batch.put(&tables::EVENT_META_BY_SERIAL, &serial, &stateless(meta));
        }
    } else {
        batch.delete(&tables::REDACTION_BY_EVENT, &serial);
        batch.delete(&tables::EVENT_BY_SERIAL, &serial);
        batch.delete(&tables::EVENT_META_BY_SERIAL, &serial);
    }
    Ok(())
}

/// Some of those who ever had anything to do with a room.
fn users_of(
    view: &Snapshot,
    room: RoomSerial,
    next: UserSerial,
) -> Result<Vec<UserSerial>, StoreError> {
    let mut users: Vec<UserSerial> = Vec::new();
    let from = (room, next, Position(0));
    for row in view.scan_from(&tables::STAY_BY_ROOM, &(room,), &from) {
        let ((_, user, _), _) = row?;
        if users.last() != Some(&user) {
            if users.len() == USERS {
                break;
            }
            users.push(user);
        }
    }
    Ok(users)
}

/// What is kept of a room for one user: all but the membership itself, by which the register finds
/// the room.
fn delete_rows_of_user(
    latest: &Latest,
    batch: &mut Batch,
    (user, room): (UserSerial, RoomSerial),
) -> Result<(), StoreError> {
    if let Some(mut record) = latest.get(&tables::MEMBERSHIP_BY_USER, &(user, room))?
        && !matches!(record.membership, Membership::Leave | Membership::Ban)
    {
        // Somebody of another server: what becomes of them is not known here any more.
        record.membership = Membership::Leave;
        record.forgotten = true;
        batch.put(&tables::MEMBERSHIP_BY_USER, &(user, room), &record);
    }
    if latest.get(&tables::NOTICE_ROOM_BY_USER, &user)? == Some(room) {
        batch.delete(&tables::NOTICE_ROOM_BY_USER, &user);
    }
    batch.delete(&tables::UNREAD_BY_USER, &(user, room));
    batch.delete(&tables::OUTSIDE_BY_USER, &(user, room));
    for row in latest.scan(&tables::THREAD_SUBSCRIPTION_BY_USER, &(user, room)) {
        let (key, record) = row?;
        let place = (user, Position(record.position), room, key.2.clone());
        batch.delete(&tables::THREAD_SUBSCRIPTION_BY_POSITION, &place);
        batch.delete(&tables::THREAD_SUBSCRIPTION_BY_USER, &key);
    }
    accounts::forget_room_data(latest, batch, user, room)
}
