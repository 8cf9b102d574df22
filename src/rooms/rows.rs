//! The rows of new events: everything that must be true together with them.

use std::{cmp::Ordering, collections::HashMap};

use graph::Event;
use model::{
    AnnotationRecord, Changes, EventChange, EventMeta, EventSerial, EventStatus, LogEntry,
    Membership, MembershipRecord, RoomChange, RoomSerial, SentBy, SentTransaction, StoredEvent,
    UserChange, UserSerial, intern_room, intern_user, rewriting_scope, tables,
};
use ruma_common::{ServerName, UserId};
use serde::Deserialize;
use store::{Batch, Latest, Position, Read, Store, StoreError};

use crate::{
    AppendError, Rooms, Sender,
    append::Transaction,
    arrivals, lists, outside_record, partial, register,
    relations::Tallies,
    servers::Servers,
    staging::{Arrival, Redacted, Staged, Staging},
    sticky,
};

/// What the closure of the commit needs beside the staged events.
pub(crate) struct Context<'a> {
    pub(crate) store: &'a Store,
    pub(crate) server_name: &'a ServerName,
    /// The local user who acts; none for events of other servers.
    pub(crate) sender: Option<&'a Sender>,
    pub(crate) transaction: Option<&'a Transaction>,
}

impl<'a> Context<'a> {
    /// Nobody of this server acts: the events are those of others.
    pub(crate) fn of_others(rooms: &'a Rooms) -> Self {
        Self {
            store: &rooms.inner.store,
            server_name: &rooms.inner.server_name,
            sender: None,
            transaction: None,
        }
    }

    /// A user of this server acts.
    pub(crate) fn of_sender(
        rooms: &'a Rooms,
        sender: &'a Sender,
        transaction: Option<&'a Transaction>,
    ) -> Self {
        Self {
            sender: Some(sender),
            transaction,
            ..Self::of_others(rooms)
        }
    }
}

type ExtraRows = dyn FnOnce(&Latest, &Staging, &mut Batch) -> Result<(), AppendError> + Send;

/// Other rows of the same commit, an alias for instance; may refuse it all.
pub(crate) struct Extra(Option<Box<ExtraRows>>);

impl Extra {
    /// Nothing else.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// These rows.
    pub(crate) fn rows(
        rows: impl FnOnce(&Latest, RoomSerial, &mut Batch) -> Result<(), AppendError> + Send + 'static,
    ) -> Self {
        Self::beside(move |latest, staging, batch| rows(latest, staging.room, batch))
    }

    /// These rows, which name the new events.
    pub(crate) fn beside(
        rows: impl FnOnce(&Latest, &Staging, &mut Batch) -> Result<(), AppendError> + Send + 'static,
    ) -> Self {
        Self(Some(Box::new(rows)))
    }
}

#[derive(Deserialize)]
struct MemberContent {
    membership: String,
}

/// What one commit has done so far, where the next event of it needs to know.
pub(crate) struct Progress {
    changes: Changes,
    pub(crate) position: Position,
    users: HashMap<String, UserSerial>,
    /// Of the room that is being written.
    members: HashMap<UserSerial, MembershipRecord>,
    /// Of the room that is being written.
    tallies: Tallies,
    servers: Servers,
    /// Whether the room is being brought over from another server.
    pub(crate) is_entry: bool,
    /// Since when the membership that is written next is what it is, in ms since the Unix epoch.
    pub(crate) since: u64,
}

impl Progress {
    /// Nothing yet.
    pub(crate) fn at(position: Position, context: &Context<'_>) -> Self {
        let sender = context.sender.iter();
        Self {
            changes: Changes::at(position),
            position,
            users: sender
                .map(|sender| (sender.user_id.to_string(), sender.user))
                .collect(),
            members: HashMap::new(),
            tallies: Tallies::default(),
            servers: Servers::default(),
            is_entry: false,
            since: 0,
        }
    }

    /// Tells those who follow a room what changed in it.
    pub(crate) fn tell(&mut self, batch: &mut Batch, room: RoomSerial, change: &RoomChange) {
        self.changes.room(batch, room, change);
    }

    /// Whether the memberships written so far can make a room one that is administered, or one
    /// that is not any more.
    pub(crate) fn moves(&self, is_administered: bool) -> bool {
        let mut moved = self.members.values();
        moved.any(|record| (record.membership == Membership::Join) != is_administered)
    }

    /// What somebody's membership of the room that is being written comes to.
    pub(crate) fn membership(
        &self,
        latest: &Latest,
        room: RoomSerial,
        user_id: &str,
    ) -> Result<Option<Membership>, StoreError> {
        let user = match self.users.get(user_id) {
            Some(user) => Some(*user),
            None => latest.get(&tables::USER_BY_ID, &user_id.to_owned())?,
        };
        let Some(user) = user else {
            return Ok(None);
        };
        match self.members.get(&user) {
            Some(record) => Ok(Some(record.membership)),
            None => latest.get(&tables::MEMBER_BY_ROOM, &(room, user)),
        }
    }

    /// Another server has so many users as before, or one more or less, in the room that is
    /// being written.
    pub(crate) fn count_server(
        &mut self,
        room: RoomSerial,
        server: &str,
        users: Ordering,
        latest: &Latest,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let position = self.position;
        self.servers
            .change((room, server), users, position, latest, batch)
    }
}

/// Fills the batch. Runs inside the commit's closure.
pub(crate) fn write(
    staging: Staging,
    context: &Context<'_>,
    extra: Extra,
    latest: &Latest,
    position: Position,
    batch: &mut Batch,
) -> Result<Staging, AppendError> {
    let mut progress = Progress::at(position, context);
    write_room(staging, context, extra, &mut progress, latest, batch)
}

/// Adds one room's part to the batch of a commit. Runs inside the commit's closure.
pub(crate) fn write_room(
    mut staging: Staging,
    context: &Context<'_>,
    extra: Extra,
    progress: &mut Progress,
    latest: &Latest,
    batch: &mut Batch,
) -> Result<Staging, AppendError> {
    progress.members.clear();
    progress.tallies = Tallies::default();
    progress.servers.next_room();
    progress.is_entry |= staging.new_room && context.sender.is_none();
    progress.since = staging.now;
    if staging.new_room {
        let room_id = staging.record.room_id.clone();
        if intern_room(latest, batch, &room_id, staging.room.0)? != staging.room {
            return Err(AppendError::Invalid("this room exists already".to_owned()));
        }
        batch.put(&tables::ROOM_BY_SERIAL, &staging.room, &staging.record);
        staging.new_room = false;
    }
    if let Some(rows) = extra.0 {
        rows(latest, &staging, batch)?;
    }
    for index in 0..staging.events.len() {
        event_rows(&mut staging, index, context, progress, latest, batch)?;
    }
    for member in staging.members.take().unwrap_or_default() {
        arrivals::member(&mut staging, member, context, progress, latest, batch)?;
    }
    lists::follow(&staging, progress, latest, batch)?;
    for ((event_type, state_key), event) in std::mem::take(&mut staging.state) {
        let (named, place) = (
            (event_type.as_str(), state_key.as_str()),
            (progress.position, staging.now),
        );
        register::rule(batch, staging.room, named, place, event, progress.is_entry);
        let key = (staging.room, event_type, state_key);
        match event {
            Some(event) => batch.put(&tables::STATE_BY_ROOM, &key, &event),
            None => batch.delete(&tables::STATE_BY_ROOM, &key),
        }
    }
    for (name, bytes) in std::mem::take(&mut staging.nodes) {
        batch.put(&tables::STATE_NODE_BY_HASH, &(staging.room, name), &bytes);
    }
    if let (Some(transaction), Some(last)) = (context.transaction, staging.events.last()) {
        let sent = SentTransaction { event: last.serial };
        batch.put(&tables::EVENT_BY_TRANSACTION, transaction, &sent);
        let (device, _, transaction_id) = transaction;
        let told = SentBy {
            device: *device,
            transaction_id: transaction_id.clone(),
        };
        batch.put(&tables::TRANSACTION_BY_EVENT, &last.serial, &told);
    }
    if staging.events.iter().any(|staged| staged.is_new) {
        staging.head.position = progress.position.0;
    }
    let lifting = |staged: &Staged| staged.is_new && lifts(&staged.event);
    if staging.events.iter().any(lifting) {
        staging.head.bumped = progress.position.0;
    }
    batch.put(&tables::HEAD_BY_ROOM, &staging.room, &staging.head);
    Ok(staging)
}

/// Whether an event lifts its room up in people's lists (MSC4186, `bump_stamp`).
fn lifts(event: &Event) -> bool {
    matches!(
        event.event_type(),
        "m.room.create"
            | "m.room.message"
            | "m.room.encrypted"
            | "m.sticker"
            | "m.call.invite"
            | "m.poll.start"
            | "org.matrix.msc3381.poll.start"
            | "m.beacon_info"
            | "org.matrix.msc3672.beacon_info"
    )
}

fn event_rows(
    staging: &mut Staging,
    index: usize,
    context: &Context<'_>,
    progress: &mut Progress,
    latest: &Latest,
    batch: &mut Batch,
) -> Result<(), AppendError> {
    let room = staging.room;
    let staged = &staging.events[index];
    let event = staged.event.clone();
    let serial = staged.serial;
    if staged.arrival.is_some() && latest.contains(&tables::EVENT_META_BY_SERIAL, &serial)? {
        // It was known for its place in an auth chain, and becomes part of the room.
        batch.wake(rewriting_scope(room));
    }
    batch.put(&tables::EVENT_BY_ID, &event.event_id().to_string(), &serial);
    batch.put(&tables::EVENT_BY_SERIAL, &serial, &stored(room, staged));
    batch.put(
        &tables::EVENT_META_BY_SERIAL,
        &serial,
        &meta(staged, progress.position),
    );
    if let Some(arrival) = &staged.arrival {
        arrivals::rows(room, staged, arrival, batch);
    }
    if staging.head.is_partial {
        partial::note(batch, room, staged);
    }
    if !matches!(
        staged.status,
        EventStatus::Accepted | EventStatus::StatePartial
    ) {
        return Ok(());
    }
    batch.put(
        &tables::EVENT_BY_PLACE,
        &(room, staged.depth, serial.0),
        &serial,
    );
    if let Some(until) = staged.sticky_until {
        sticky::put(batch, room, progress.position, serial, until);
    }
    if let Some(target) = &staged.redacts
        && !latest.contains(&tables::REDACTION_BY_EVENT, &target.serial)?
    {
        batch.put(&tables::REDACTION_BY_EVENT, &target.serial, &serial);
        batch.wake(rewriting_scope(room));
        if target.is_state {
            let key = (room, progress.position, target.serial);
            batch.put(&tables::REDACTED_STATE_BY_ROOM, &key, &serial);
        }
        forget_annotation(latest, batch, target.serial)?;
        forget_relation(room, target, progress, latest, batch)?;
    }
    let sender = user(progress, context, latest, batch, event.sender().as_str())?;
    match annotation_rows(staged, sender, latest, batch) {
        // What other servers let in stands, counted once.
        Err(AppendError::DuplicateAnnotation) if context.sender.is_none() => {}
        done => done?,
    }
    if let Some(relation) = &staged.relation {
        let position = progress.position;
        relation.put(room, sender, &mut progress.tallies, latest, position, batch)?;
    }
    if event.sender().server_name() != context.server_name {
        late_target(
            room,
            event.event_id().as_str(),
            progress.position,
            latest,
            batch,
        )?;
    }
    if !staged.is_new {
        return Ok(());
    }
    let arrival = staged.arrival.as_ref();
    let is_fork =
        |it: &Arrival| it.is_beside || it.head_before.is_some() || it.head_after.is_some();
    if arrival.is_some_and(|it| is_fork(it)) {
        batch.put(&tables::NEWEST_FORK_BY_ROOM, &room, &progress.position);
    }
    let mut tell = |change: &RoomChange| progress.changes.room(batch, room, change);
    if arrival.is_some_and(|arrival| !arrival.gaps.is_empty()) {
        tell(&RoomChange::Gap);
    }
    if let Some(root) = arrival.and_then(|arrival| arrival.head_before) {
        tell(&RoomChange::State { root });
    }
    tell(&RoomChange::Event(event_change(staged, sender, latest)?));
    if let Some(root) = arrival.and_then(|arrival| arrival.head_after) {
        tell(&RoomChange::State { root });
    }
    let is_entry = staged.arrival.as_ref().is_some_and(|it| it.is_entry);
    let entry = if is_entry {
        LogEntry::Entered {
            room,
            event: serial,
        }
    } else {
        LogEntry::Event {
            room,
            event: serial,
        }
    };
    progress.changes.log(batch, &entry);
    if governs(&event) {
        let event = serial;
        let entry = LogEntry::Governed { room, event };
        progress.changes.log(batch, &entry);
    }
    if staging.members.is_some() {
        return Ok(());
    }
    if event.event_type() == "m.room.member"
        && let Some(target) = event.state_key().map(str::to_owned)
        && let Some(membership) = event
            .content_as::<MemberContent>()
            .ok()
            .and_then(|content| Membership::from_name(&content.membership))
    {
        let member = user(progress, context, latest, batch, &target)?;
        let record = MembershipRecord {
            membership,
            event: serial,
            position: progress.position.0,
            sender,
            forgotten: false,
            last_join: 0,
            left_at: 0,
        };
        let is_local =
            UserId::parse(target.as_str()).is_ok_and(|id| id.server_name() == context.server_name);
        member_rows(staging, member, record, is_local, progress, latest, batch)?;
    }
    Ok(())
}

/// Whether an event decides who is in a room or who may do what there.
fn governs(event: &Event) -> bool {
    let governing = ["m.room.create", "m.room.member", "m.room.power_levels"];
    event.state_key().is_some() && governing.contains(&event.event_type())
}

/// Nobody annotates an event twice alike (client-server API, "Event annotations and
/// reactions").
fn annotation_rows(
    staged: &Staged,
    user: UserSerial,
    latest: &Latest,
    batch: &mut Batch,
) -> Result<(), AppendError> {
    let Some((target, kind)) = staged.digest.annotates.clone() else {
        return Ok(());
    };
    let Some(target) = latest.get(&tables::EVENT_BY_ID, &target)? else {
        return Ok(());
    };
    // A key in the database has at most 65,535 bytes, and nobody needs longer ones.
    let kind: String = kind.chars().take(1024).collect();
    let key = (target, user, kind.clone());
    if latest.contains(&tables::ANNOTATION_BY_EVENT, &key)? {
        return Err(AppendError::DuplicateAnnotation);
    }
    batch.put(&tables::ANNOTATION_BY_EVENT, &key, &staged.serial);
    let record = AnnotationRecord { target, user, kind };
    batch.put(&tables::ANNOTATED_BY_ANNOTATION, &staged.serial, &record);
    Ok(())
}

/// A redacted annotation can be made again.
fn forget_annotation(
    latest: &Latest,
    batch: &mut Batch,
    annotation: EventSerial,
) -> Result<(), AppendError> {
    if let Some(record) = latest.get(&tables::ANNOTATED_BY_ANNOTATION, &annotation)? {
        let key = (record.target, record.user, record.kind);
        batch.delete(&tables::ANNOTATION_BY_EVENT, &key);
        batch.delete(&tables::ANNOTATED_BY_ANNOTATION, &annotation);
    }
    Ok(())
}

/// A redacted event relates to nothing any more.
fn forget_relation(
    room: RoomSerial,
    redacted: &Redacted,
    progress: &mut Progress,
    latest: &Latest,
    batch: &mut Batch,
) -> Result<(), AppendError> {
    if let Some((keys, sender)) = &redacted.relation
        && let Some(sender) = latest.get(&tables::USER_BY_ID, sender)?
    {
        keys.delete(room, sender, &mut progress.tallies, latest, batch)?;
    }
    Ok(())
}

/// An event of another server may come after those that relate to it.
fn late_target(
    room: RoomSerial,
    event_id: &str,
    position: Position,
    latest: &Latest,
    batch: &mut Batch,
) -> Result<(), AppendError> {
    if latest.contains(&tables::BUNDLE_BY_TARGET, &(room, event_id.to_owned()))? {
        batch.put(&tables::NEWEST_BUNDLED_BY_ROOM, &room, &position);
    }
    Ok(())
}

fn stored(room: RoomSerial, staged: &Staged) -> StoredEvent {
    StoredEvent {
        room,
        event_id: staged.event.event_id().to_string(),
        json: staged.event.json().as_bytes().to_vec(),
    }
}

fn meta(staged: &Staged, position: Position) -> EventMeta {
    EventMeta {
        status: staged.status,
        depth: staged.depth,
        tie_break: staged.serial.0,
        // What was there before anybody here heard of it has no place in the log.
        position: if staged.is_new { position.0 } else { 0 },
        state_before: staged.state_before,
        generation: staged.generation,
        replaces: staged.replaces,
    }
}

fn event_change(
    staged: &Staged,
    sender: UserSerial,
    latest: &Latest,
) -> Result<EventChange, AppendError> {
    let digest = &staged.digest;
    let mut mentions = Vec::new();
    for user_id in &digest.mentions {
        if let Some(user) = latest.get(&tables::USER_BY_ID, user_id)?
            && !mentions.contains(&user)
        {
            mentions.push(user);
        }
    }
    let thread = match &digest.thread {
        Some(root) => latest.get(&tables::EVENT_BY_ID, root)?,
        None => None,
    };
    Ok(EventChange {
        event: staged.serial,
        sender,
        counts: digest.counts,
        thread,
        mentions_room: digest.mentions_room,
        mentions,
    })
}

pub(crate) fn user(
    progress: &mut Progress,
    context: &Context<'_>,
    latest: &Latest,
    batch: &mut Batch,
    user_id: &str,
) -> Result<UserSerial, AppendError> {
    if let Some(user) = progress.users.get(user_id) {
        return Ok(*user);
    }
    let user = intern_user(latest, batch, user_id, context.store.next_serial())?;
    progress.users.insert(user_id.to_owned(), user);
    progress.servers.met(context.server_name, user, user_id);
    Ok(user)
}

/// The rows of a changed membership, and the room's counts.
pub(crate) fn member_rows(
    staging: &mut Staging,
    member: UserSerial,
    mut record: MembershipRecord,
    is_local: bool,
    progress: &mut Progress,
    latest: &Latest,
    batch: &mut Batch,
) -> Result<(), AppendError> {
    let room = staging.room;
    let earlier = match progress.members.get(&member) {
        Some(record) => Some(record.clone()),
        None => latest.get(&tables::MEMBERSHIP_BY_USER, &(member, room))?,
    };
    // Of a membership that was known from outside alone the room has counted nothing.
    let is_outside = match &earlier {
        Some(earlier) => outside_record(latest, member, room, earlier)?.is_some(),
        None => false,
    };
    if is_outside {
        batch.delete(&tables::OUTSIDE_BY_USER, &(member, room));
    }
    let before = earlier.as_ref().map(|earlier| earlier.membership);
    let before = before.filter(|_| !is_outside);
    let after = record.membership;
    let count = |counted: Membership, number: &mut u64| {
        let was = before == Some(counted);
        let is = after == counted;
        match (was, is) {
            (false, true) => *number += 1,
            (true, false) => *number = number.saturating_sub(1),
            _ => {}
        }
    };
    count(Membership::Join, &mut staging.head.joined);
    count(Membership::Invite, &mut staging.head.invited);
    let (of, moved) = ((room, member), (before, after));
    let at = progress.position;
    progress.servers.count(of, moved, at, latest, batch)?;
    if is_local {
        count(Membership::Join, &mut staging.head.joined_here);
    }
    if (before == Some(Membership::Join)) != (after == Membership::Join) {
        batch.wake(model::occupancy_scope());
    }
    batch.put(&tables::MEMBER_BY_ROOM, &(room, member), &after);
    if earlier.as_ref().map(|earlier| earlier.membership) != Some(after) {
        let place = (progress.position, progress.since);
        register::stay(batch, (room, member), place, &record);
    }
    let (last_join, left_at) =
        earlier.map_or((0, 0), |earlier| (earlier.last_join, earlier.left_at));
    let position = progress.position.0;
    (record.last_join, record.left_at) = match (before, after) {
        (Some(Membership::Join), Membership::Join) => (last_join, left_at),
        (_, Membership::Join) => (position, 0),
        (Some(Membership::Join), _) => (last_join, position),
        _ => (last_join, left_at),
    };
    progress.members.insert(member, record.clone());
    batch.put(&tables::MEMBERSHIP_BY_USER, &(member, room), &record);
    if is_local {
        let change = UserChange::Membership {
            room,
            membership: after,
        };
        progress.changes.user(batch, member, &change);
    }
    Ok(())
}
