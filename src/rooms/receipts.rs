//! How far everybody has read (client-server API, "Receipts" and "Fully read markers").

use std::collections::{BTreeMap, HashMap};

use accounts::AccountDataError;
use model::{
    Changes, EventSerial, LogEntry, Membership, ReceiptRecord, RoomChange, RoomSerial, UserSerial,
    tables,
};
use ruma_common::{EventId, OwnedEventId, RoomId};
use serde::Deserialize;
use store::{Batch, Latest, Position, Read, Snapshot, StoreError};

use crate::{
    AppendError, EventReader, Rooms, Sender,
    form::quoted,
    relations::{Relation, thread_of},
    timeline::visible_event,
    visibility::not_in_the_room,
};

const FULLY_READ: &str = "m.fully_read";
/// The thread of everything that is in no other.
const MAIN: &str = "main";
/// The most receipts of a room that are told at once.
const MAX_RECEIPTS: usize = 20_000;

/// What a receipt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptKind {
    /// Everybody is told that the user has read so far.
    Read,
    /// The user has read so far, and only the user is told.
    ReadPrivate,
    /// The user has wholly dealt with everything so far: account data of the room.
    FullyRead,
}

impl ReceiptKind {
    /// The kind of that name in the spec.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Read, Self::ReadPrivate, Self::FullyRead]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// The spec's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "m.read",
            Self::ReadPrivate => "m.read.private",
            Self::FullyRead => FULLY_READ,
        }
    }
}

/// Markers that shall be moved together.
#[derive(Clone, Debug, Default)]
pub struct ReadMarkers {
    /// `m.fully_read`
    pub fully_read: Option<OwnedEventId>,
    /// `m.read`
    pub read: Option<OwnedEventId>,
    /// `m.read.private`
    pub read_private: Option<OwnedEventId>,
}

/// A receipt as it was asked for.
struct Wish {
    kind: ReceiptKind,
    event_id: OwnedEventId,
    thread: Option<String>,
}

/// A receipt that may be written.
struct Mark {
    kind: ReceiptKind,
    /// Empty for an unthreaded receipt.
    thread: String,
    event: EventSerial,
    event_id: String,
    position: u64,
}

impl Rooms {
    /// Moves one of the sender's receipts in a room up to an event. It never moves back:
    /// an event of before the receipt changes nothing. `thread` is `main` or the id of a
    /// thread's root; none for a receipt that covers all threads.
    ///
    /// # Errors
    /// [`AppendError::Forbidden`] for those outside the room; [`AppendError::NotFound`] if
    /// they may not see the event; [`AppendError::Invalid`] if it is not in the thread.
    pub async fn set_receipt(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        kind: ReceiptKind,
        event_id: &EventId,
        thread: Option<String>,
    ) -> Result<(), AppendError> {
        let wish = Wish {
            kind,
            event_id: event_id.to_owned(),
            thread,
        };
        self.set_receipts(sender, room_id, vec![wish]).await
    }

    /// Moves several markers at once.
    ///
    /// # Errors
    /// As [`Rooms::set_receipt`]; then none of them moves.
    pub async fn set_read_markers(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        markers: ReadMarkers,
    ) -> Result<(), AppendError> {
        let wishes = [
            (ReceiptKind::FullyRead, markers.fully_read),
            (ReceiptKind::Read, markers.read),
            (ReceiptKind::ReadPrivate, markers.read_private),
        ];
        let wish = |(kind, event_id): (_, Option<OwnedEventId>)| {
            event_id.map(|event_id| Wish {
                kind,
                event_id,
                thread: None,
            })
        };
        self.set_receipts(
            sender,
            room_id,
            wishes.into_iter().filter_map(wish).collect(),
        )
        .await
    }

    async fn set_receipts(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        wishes: Vec<Wish>,
    ) -> Result<(), AppendError> {
        let rooms = self.clone();
        let room_id = room_id.to_owned();
        let viewer = sender.viewer();
        let (room, marks) = self
            .inner
            .store
            .read(move |view: &Snapshot| {
                let reader = rooms.reader(view, &room_id, viewer)?;
                let key = (reader.room, viewer.user);
                if view.get(&tables::MEMBER_BY_ROOM, &key)? != Some(Membership::Join) {
                    return Err(not_in_the_room().into());
                }
                let marks = wishes.into_iter().map(|wish| mark(&reader, wish));
                let marks: Vec<Mark> = marks.collect::<Result<_, AppendError>>()?;
                Ok::<_, AppendError>((reader.room, marks))
            })
            .await?;
        let at = self.inner.clock.now().0;
        let user = sender.user;
        self.inner
            .store
            .commit(move |latest, position, batch| {
                let mut changes = Changes::at(position);
                for mark in marks {
                    if mark.kind == ReceiptKind::FullyRead {
                        write_fully_read(latest, batch, &mut changes, room, user, &mark)?;
                    } else {
                        write_receipt(latest, batch, &mut changes, room, user, &mark, at)?;
                    }
                }
                Ok(())
            })
            .await
    }
}

/// Checks that a receipt names an event that its sender may see, in its thread.
fn mark<R: Read>(reader: &EventReader<'_, R>, wish: Wish) -> Result<Mark, AppendError> {
    let event = visible_event(reader, &wish.event_id)?;
    if let Some(thread) = &wish.thread {
        if thread.is_empty() || wish.kind == ReceiptKind::FullyRead {
            return Err(AppendError::Invalid(
                "thread_id names a thread, and only receipts have one".to_owned(),
            ));
        }
        let relation = Relation::of_event(&event.stored.json);
        let of_event = thread_of(reader.view, reader.room, relation)?;
        let is_in_thread = match of_event {
            Some(root) => root == *thread,
            None => thread == MAIN || *thread == event.stored.event_id,
        };
        if !is_in_thread {
            return Err(AppendError::Invalid(
                "the event is not in this thread".to_owned(),
            ));
        }
    }
    Ok(Mark {
        kind: wish.kind,
        thread: wish.thread.unwrap_or_default(),
        event: event.serial,
        position: event.meta.position,
        event_id: event.stored.event_id,
    })
}

/// Runs inside the commit's closure.
fn write_receipt(
    latest: &Latest,
    batch: &mut Batch,
    changes: &mut Changes,
    room: RoomSerial,
    user: UserSerial,
    mark: &Mark,
    at: u64,
) -> Result<(), AppendError> {
    let kind = mark.kind.name().to_owned();
    let key = (room, user, kind.clone(), mark.thread.clone());
    if let Some(earlier) = latest.get(&tables::RECEIPT_BY_ROOM, &key)? {
        if earlier.read_up_to >= mark.position {
            return Ok(());
        }
        if mark.kind == ReceiptKind::ReadPrivate {
            Changes::delete_private_receipt(batch, room, user, earlier.change);
        } else {
            let (position, number) = earlier.change;
            batch.delete(&tables::CHANGE_BY_ROOM, &(room, Position(position), number));
        }
    }
    let change = RoomChange::Receipt {
        user,
        kind,
        thread: mark.thread.clone(),
    };
    let is_private = mark.kind == ReceiptKind::ReadPrivate;
    let record = ReceiptRecord {
        event: mark.event,
        at,
        change: match is_private {
            true => changes.private_receipt(batch, room, user, &change),
            false => changes.room(batch, room, &change),
        },
        read_up_to: mark.position,
    };
    batch.put(&tables::RECEIPT_BY_ROOM, &key, &record);
    let entry = if mark.kind == ReceiptKind::Read {
        LogEntry::Receipt { room, user }
    } else {
        LogEntry::PrivateReceipt { room, user }
    };
    changes.log(batch, &entry);
    Ok(())
}

#[derive(Deserialize)]
struct FullyRead {
    event_id: String,
}

/// Runs inside the commit's closure.
fn write_fully_read(
    latest: &Latest,
    batch: &mut Batch,
    changes: &mut Changes,
    room: RoomSerial,
    user: UserSerial,
    mark: &Mark,
) -> Result<(), AppendError> {
    let earlier = accounts::account_data(latest, user, Some(room), FULLY_READ)?
        .and_then(|entry| serde_json::from_slice::<FullyRead>(&entry.json).ok());
    if let Some(earlier) = earlier
        && let Some(event) = latest.get(&tables::EVENT_BY_ID, &earlier.event_id)?
        && let Some(meta) = latest.get(&tables::EVENT_META_BY_SERIAL, &event)?
        && meta.position >= mark.position
    {
        return Ok(());
    }
    let json = format!("{{\"event_id\":{}}}", quoted(&mark.event_id)).into_bytes();
    accounts::write_account_data(latest, batch, changes, user, Some(room), FULLY_READ, json)
        .map_err(|error| match error {
            AccountDataError::Store(error) => AppendError::Store(error),
            other => AppendError::Invalid(other.to_string()),
        })
}

/// Receipts as they stand in `m.receipt`: by event, kind and user.
#[derive(Default)]
struct Receipts {
    events: BTreeMap<EventSerial, BTreeMap<String, BTreeMap<UserSerial, Told>>>,
}

struct Told {
    at: u64,
    thread: String,
}

impl Receipts {
    fn add(&mut self, user: UserSerial, kind: String, thread: String, record: &ReceiptRecord) {
        let told = Told {
            at: record.at,
            thread,
        };
        let users = self.events.entry(record.event).or_default();
        let users = users.entry(kind).or_default();
        // The form has room for one receipt of a user at one event: the newest.
        match users.get(&user) {
            Some(other) if other.at > told.at => {}
            _ => {
                users.insert(user, told);
            }
        }
    }

    fn json(&self, view: &impl Read) -> Result<Option<String>, StoreError> {
        let mut names = HashMap::new();
        let mut events = Vec::new();
        for (event, kinds) in &self.events {
            let Some(stored) = view.get(&tables::EVENT_BY_SERIAL, event)? else {
                continue;
            };
            let mut parts = Vec::new();
            for (kind, users) in kinds {
                let mut receipts = Vec::new();
                for (user, told) in users {
                    if !names.contains_key(user) {
                        names.insert(*user, model::user_id(view, *user)?.unwrap_or_default());
                    }
                    let name = names.get(user).map(String::as_str).unwrap_or_default();
                    receipts.push(format!("{}:{}", quoted(name), told.json()));
                }
                parts.push(format!("{}:{{{}}}", quoted(kind), receipts.join(",")));
            }
            events.push(format!(
                "{}:{{{}}}",
                quoted(&stored.event_id),
                parts.join(",")
            ));
        }
        Ok((!events.is_empty()).then(|| format!("{{{}}}", events.join(","))))
    }
}

impl Told {
    fn json(&self) -> String {
        if self.thread.is_empty() {
            return format!("{{\"ts\":{}}}", self.at);
        }
        format!(
            "{{\"ts\":{},\"thread_id\":{}}}",
            self.at,
            quoted(&self.thread)
        )
    }
}

/// Whether a receipt is for `viewer` to see.
fn may_see(viewer: UserSerial, user: UserSerial, kind: &str) -> bool {
    kind == ReceiptKind::Read.name() || user == viewer
}

/// The content of an `m.receipt` with all receipts of a room that `viewer` may see, as
/// JSON; none if there are none.
///
/// # Errors
/// If the database fails.
pub fn receipts(
    view: &impl Read,
    room: RoomSerial,
    viewer: UserSerial,
) -> Result<Option<String>, StoreError> {
    let mut receipts = Receipts::default();
    let rows = view.scan(&tables::RECEIPT_BY_ROOM, &(room,));
    for row in rows.take(MAX_RECEIPTS) {
        let ((_, user, kind, thread), record) = row?;
        if may_see(viewer, user, &kind) {
            receipts.add(user, kind, thread, &record);
        }
    }
    receipts.json(view)
}

/// The same with those receipts alone that are at some events, that moved after a commit
/// if one is given, and the viewer's own.
///
/// # Errors
/// If the database fails.
pub fn receipts_at(
    view: &impl Read,
    room: RoomSerial,
    viewer: UserSerial,
    events: &[EventSerial],
    since: Option<Position>,
) -> Result<Option<String>, StoreError> {
    let moved = |record: &ReceiptRecord| since.is_some_and(|since| record.change.0 > since.0);
    let mut receipts = Receipts::default();
    let rows = view.scan(&tables::RECEIPT_BY_ROOM, &(room,));
    for row in rows.take(MAX_RECEIPTS) {
        let ((_, user, kind, thread), record) = row?;
        let wanted = user == viewer || events.contains(&record.event) || moved(&record);
        if wanted && may_see(viewer, user, &kind) {
            receipts.add(user, kind, thread, &record);
        }
    }
    receipts.json(view)
}

/// The same with those receipts alone that a user moved in one commit; private ones only
/// where `with_private` says so. For application services.
///
/// # Errors
/// If the database fails.
pub fn receipts_moved(
    view: &impl Read,
    room: RoomSerial,
    user: UserSerial,
    at: Position,
    with_private: bool,
) -> Result<Option<String>, StoreError> {
    let mut receipts = Receipts::default();
    let rows = view.scan(&tables::RECEIPT_BY_ROOM, &(room, user));
    for row in rows.take(MAX_RECEIPTS) {
        let ((_, _, kind, thread), record) = row?;
        let is_told = with_private || kind == ReceiptKind::Read.name();
        if record.change.0 == at.0 && is_told {
            receipts.add(user, kind, thread, &record);
        }
    }
    receipts.json(view)
}

/// The same with those receipts alone that are named by user, kind and thread: those of
/// the room's changes.
///
/// # Errors
/// If the database fails.
pub fn receipts_of(
    view: &impl Read,
    room: RoomSerial,
    viewer: UserSerial,
    changed: impl IntoIterator<Item = (UserSerial, String, String)>,
) -> Result<Option<String>, StoreError> {
    let mut receipts = Receipts::default();
    for (user, kind, thread) in changed {
        if !may_see(viewer, user, &kind) {
            continue;
        }
        let key = (room, user, kind, thread);
        if let Some(record) = view.get(&tables::RECEIPT_BY_ROOM, &key)? {
            receipts.add(user, key.2, key.3, &record);
        }
    }
    receipts.json(view)
}
