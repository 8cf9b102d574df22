//! What somebody has said is redacted, event after event, room after room.

use audit::Deed;
use model::{
    EventStatus, Membership, RoomRedaction, RoomSerial, RoomTaskRecord, RoomWork, UserSerial,
    tables::{
        EVENT_BY_PLACE, EVENT_META_BY_SERIAL, HEAD_BY_ROOM, MEMBER_BY_ROOM, MEMBERSHIP_BY_USER,
        REDACTION_BY_EVENT,
    },
};
use ruma_common::{CanonicalJsonObject, OwnedEventId, OwnedUserId, UserId};
use store::{Read, Snapshot, StoreError};

use crate::{
    AppendError, Rooms, Sender, append::Plan, client_event::load_event, most_powerful_here,
    room_serial, send::redaction, user_serial,
};

/// How many events of a timeline are looked at in one step, and how many are redacted.
const LOOKED_AT: usize = 2_000;
const STEP: usize = 25;
/// The most failures that are remembered.
const MOST_FAILURES: usize = 1_000;

/// The state that holds what people say.
const WORDS: [&str; 4] = [
    "m.room.member",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
];

/// What an administrator wants to have redacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedRedaction {
    /// Whose events.
    pub user_id: OwnedUserId,
    /// In which rooms; in all that they ever were in, if none is named.
    pub rooms: Vec<String>,
    /// How many of their events are looked at in each room, the newest first.
    pub limit: u64,
    /// In whose name; in theirs, if nobody is named.
    pub by: Option<OwnedUserId>,
    /// Why, as the redactions say.
    pub reason: Option<String>,
    /// Only events of this time or later, in ms since the Unix epoch.
    pub after: Option<u64>,
    /// Only events of this time or earlier.
    pub before: Option<u64>,
}

/// Some of somebody's events in a room.
struct Found {
    events: Vec<OwnedEventId>,
    /// How many of theirs were looked at.
    seen: u64,
    /// Where it goes on; none at the beginning of the room.
    below: Option<(u64, u64)>,
}

impl Rooms {
    /// Begins to redact what somebody has said. Returns the id of what was begun.
    ///
    /// # Errors
    /// [`AppendError::NotFound`] for somebody who is not known here, [`AppendError::UnknownRoom`].
    pub async fn begin_redaction(
        &self,
        by: Option<String>,
        wanted: WantedRedaction,
        deed: Deed,
    ) -> Result<String, AppendError> {
        let (name, rooms) = (wanted.user_id.to_string(), wanted.rooms);
        let read = move |view: &Snapshot| rooms_of(view, &name, &rooms);
        let (user, rooms): (UserSerial, Vec<RoomSerial>) = self.inner.store.read_long(read).await?;
        let work = RoomWork::Redaction(RoomRedaction {
            user_id: wanted.user_id.to_string(),
            user,
            rooms,
            below: None,
            seen: 0,
            limit: wanted.limit,
            by: wanted.by.map(|by| by.to_string()),
            reason: wanted.reason,
            after: wanted.after.unwrap_or(0),
            before: wanted.before.unwrap_or(u64::MAX),
            failed: Vec::new(),
        });
        self.begin_task(by, work, 0, deed, |_, _| Ok(())).await
    }

    pub(super) async fn redact_on(
        &self,
        id: &str,
        mut record: RoomTaskRecord,
        mut work: RoomRedaction,
    ) -> Result<RoomTaskRecord, AppendError> {
        let Some(room) = work.rooms.last().copied() else {
            record.work = RoomWork::Redaction(work);
            let ended = self.ended(record);
            return Ok(self.note_task(id, ended).await?);
        };
        let from = work.clone();
        let read = move |view: &Snapshot| find(view, room, &from);
        let found: Found = self.inner.store.read_long(read).await?;
        if !found.events.is_empty() {
            let sender = self.redactor(room, &work).await?;
            for event_id in &found.events {
                let redacted = self
                    .redact_one(room, sender.as_ref(), event_id, &work)
                    .await;
                match redacted {
                    Ok(()) => record.done += 1,
                    Err(AppendError::Store(error)) => return Err(error.into()),
                    Err(error) if work.failed.len() < MOST_FAILURES => {
                        let failed = (event_id.to_string(), error.to_string());
                        work.failed.push(failed);
                    }
                    Err(_) => {}
                }
            }
        }
        work.seen += found.seen;
        work.below = found.below;
        if work.below.is_none() || work.seen >= work.limit {
            work.rooms.pop();
            (work.below, work.seen) = (None, 0);
        }
        record.expected = record.expected.max(record.done);
        record.work = RoomWork::Redaction(work);
        Ok(self.note_task(id, record).await?)
    }

    /// In whose name events of a room are redacted: their sender's, if they are in the room, or
    /// that of whoever of this server has most power there.
    async fn redactor(
        &self,
        room: RoomSerial,
        work: &RoomRedaction,
    ) -> Result<Option<Sender>, AppendError> {
        let (rooms, wanted) = (self.clone(), work.by.clone());
        let (own, user) = (work.user_id.clone(), work.user);
        let read = move |view: &Snapshot| {
            let is_in = |user| {
                Ok::<_, StoreError>(
                    view.get(&MEMBER_BY_ROOM, &(room, user))? == Some(Membership::Join),
                )
            };
            let found = match wanted {
                Some(name) => user_serial(view, &name)?.map(|user| (name, user)),
                None if is_in(user)? => Some((own, user)),
                None => match most_powerful_here(&rooms, view, room)? {
                    Some((user_id, _, _)) => {
                        let user = user_serial(view, user_id.as_str())?;
                        user.map(|user| (user_id.to_string(), user))
                    }
                    None => None,
                },
            };
            let found = found.filter(|(user_id, _)| {
                UserId::parse(user_id).is_ok_and(|user_id| rooms.is_local(&user_id))
            });
            Ok::<_, StoreError>(found)
        };
        let found: Option<(String, UserSerial)> = self.inner.store.read_long(read).await?;
        Ok(found.and_then(|(user_id, user)| {
            Some(Sender {
                user_id: OwnedUserId::try_from(user_id).ok()?,
                user,
                device: None,
                sent_at: None,
            })
        }))
    }

    async fn redact_one(
        &self,
        room: RoomSerial,
        sender: Option<&Sender>,
        event_id: &OwnedEventId,
        work: &RoomRedaction,
    ) -> Result<(), AppendError> {
        let nobody = "nobody of this server may redact it";
        let sender = sender.ok_or_else(|| AppendError::Forbidden(nobody.to_owned()))?;
        let mut content = CanonicalJsonObject::new();
        if let Some(reason) = &work.reason {
            content.insert("reason".to_owned(), reason.clone().into());
        }
        let event = redaction(event_id.clone(), content);
        self.append_with(room, sender, None, move |_, staging| {
            staging.is_administered = true;
            Ok(Plan::event(event))
        })
        .await?;
        Ok(())
    }
}

/// Somebody, and the rooms that are meant: the next one last.
fn rooms_of(
    view: &Snapshot,
    user_id: &str,
    wanted: &[String],
) -> Result<(UserSerial, Vec<RoomSerial>), AppendError> {
    let unknown = || AppendError::NotFound(format!("{user_id} is not known here"));
    let user = user_serial(view, user_id)?.ok_or_else(unknown)?;
    let mut rooms = Vec::new();
    for room_id in wanted {
        rooms.push(room_serial(view, room_id)?.ok_or(AppendError::UnknownRoom)?);
    }
    if wanted.is_empty() {
        for row in view.scan(&MEMBERSHIP_BY_USER, &(user,)) {
            let ((_, room), record) = row?;
            if record.last_join > 0 && view.contains(&HEAD_BY_ROOM, &room)? {
                rooms.push(room);
            }
        }
    }
    rooms.reverse();
    Ok((user, rooms))
}

/// Somebody's next events in a room, the newest first, that can be redacted and are not.
fn find(view: &Snapshot, room: RoomSerial, work: &RoomRedaction) -> Result<Found, StoreError> {
    let mut found = Found {
        events: Vec::new(),
        seen: 0,
        below: None,
    };
    let before = work
        .below
        .map(|(depth, tie_break)| (room, depth, tie_break));
    let rows = view.scan_back(&EVENT_BY_PLACE, &(room,), before.as_ref());
    for (count, row) in rows.enumerate() {
        let ((_, depth, tie_break), serial) = row?;
        let is_enough = work.seen + found.seen >= work.limit;
        if count == LOOKED_AT || found.events.len() == STEP || is_enough {
            return Ok(found);
        }
        found.below = Some((depth, tie_break));
        let Ok(event) = load_event(view, serial) else {
            continue;
        };
        if event.sender().as_str() != work.user_id {
            continue;
        }
        found.seen += 1;
        let meta = view.get(&EVENT_META_BY_SERIAL, &serial)?;
        let is_shown = meta.is_some_and(|meta| {
            matches!(
                meta.status,
                EventStatus::Accepted | EventStatus::StatePartial
            )
        });
        // What the room rests on stays; names and pictures go.
        let is_fixed = match event.state_key() {
            None => event.event_type() == "m.room.redaction",
            Some(_) => !WORDS.contains(&event.event_type()),
        };
        let sent_at = event.origin_server_ts();
        let is_wanted = (work.after..=work.before).contains(&sent_at) && is_shown && !is_fixed;
        if is_wanted && !view.contains(&REDACTION_BY_EVENT, &serial)? {
            found.events.push(event.event_id().to_owned());
        }
    }
    found.below = None;
    Ok(found)
}
