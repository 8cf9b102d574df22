//! How far everybody has read (client-server API, "Receipts" and "Fully read markers").

use std::collections::BTreeMap;

use accounts::AccountDataError;
use model::{
    Changes, EventSerial, EventStatus, LogEntry, Membership, ReceiptRecord, RoomChange, RoomSerial,
    UserSerial, tables,
};
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, ServerName};
use serde::Deserialize;
use store::{Batch, Latest, Position, Read, Snapshot};

use crate::{
    AppendError, EventReader, ReadError, Rooms, Sender,
    form::quoted,
    relations::{Relation, thread_of},
    remote_users::speaker,
    timeline::visible_event,
    visibility::not_in_the_room,
};

const FULLY_READ: &str = "m.fully_read";
/// The thread of everything that is in no other.
const MAIN: &str = "main";

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

/// The longest id of a thread, in bytes.
const MAX_THREAD: usize = 255;

/// A receipt of a user of another server, as that server tells it.
#[derive(Clone, Debug)]
pub struct RemoteReceipt {
    /// In which room.
    pub room_id: OwnedRoomId,
    /// Whose.
    pub user_id: OwnedUserId,
    /// Up to where.
    pub event_id: OwnedEventId,
    /// The id of the thread, or `main`; none for a receipt that covers all.
    pub thread: Option<String>,
    /// When it was sent, in ms since the Unix epoch.
    pub at: u64,
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

    /// Moves the receipts of another server's users as that server says. Those of users for
    /// whom it cannot speak, and those of events that are not known here, are left out.
    /// Returns how many were taken.
    ///
    /// They are written in order and not yet on disk when this returns.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_remote_receipts(
        &self,
        origin: &ServerName,
        receipts: Vec<RemoteReceipt>,
    ) -> Result<usize, AppendError> {
        let spoken = receipts.iter();
        let spoken = spoken.map(|receipt| (receipt.room_id.clone(), receipt.user_id.clone()));
        self.meet_speakers(origin, spoken.collect()).await?;
        let origin = origin.to_owned();
        let marks = self.inner.store.prepare(move |latest| {
            // One of each user and thread: that which is furthest on.
            let mut marks = BTreeMap::<_, (Mark, u64)>::new();
            for receipt in receipts {
                let place = speaker(latest, &origin, &receipt.room_id, &receipt.user_id)?;
                let (Some((room, user)), at) = (place, receipt.at) else {
                    continue;
                };
                let Some(mark) = remote_mark(latest, room, receipt)? else {
                    continue;
                };
                let key = (room, user, mark.thread.clone());
                let earlier = marks.get(&key);
                if earlier.is_none_or(|(earlier, _)| earlier.position < mark.position) {
                    marks.insert(key, (mark, at));
                }
            }
            Ok::<_, ReadError>(marks)
        });
        let marks = marks.await?;
        let (count, now) = (marks.len(), self.inner.clock.now().0);
        self.inner
            .store
            .commit_later(move |latest, position, batch| {
                let mut changes = Changes::at(position);
                for ((room, user, _), (mark, at)) in marks {
                    let at = at.min(now);
                    write_receipt(latest, batch, &mut changes, room, user, &mark, at)?;
                }
                Ok::<_, AppendError>(())
            })
            .await?;
        Ok(count)
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
        event_id: event.stored.event_id.clone(),
    })
}

/// A receipt that another server tells: the event must be known, and of this room. In which
/// thread it is, its server knows better.
fn remote_mark(
    view: &impl Read,
    room: RoomSerial,
    receipt: RemoteReceipt,
) -> Result<Option<Mark>, ReadError> {
    let event_id = receipt.event_id.to_string();
    let thread = receipt.thread.unwrap_or_default();
    let Some(event) = view.get(&tables::EVENT_BY_ID, &event_id)? else {
        return Ok(None);
    };
    let stored = view.get(&tables::EVENT_BY_SERIAL, &event)?;
    let meta = view.get(&tables::EVENT_META_BY_SERIAL, &event)?;
    let (Some(stored), Some(meta)) = (stored, meta) else {
        return Ok(None);
    };
    let is_shown = matches!(
        meta.status,
        EventStatus::Accepted | EventStatus::StatePartial
    );
    if stored.room != room || !is_shown || thread.len() > MAX_THREAD {
        return Ok(None);
    }
    Ok(Some(Mark {
        kind: ReceiptKind::Read,
        thread,
        event,
        event_id,
        position: meta.position,
    }))
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
