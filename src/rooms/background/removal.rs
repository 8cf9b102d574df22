//! A room is removed: everybody of this server goes out, other servers hear of that, and then
//! nothing of the room is left but what the register and the audit trail tell.

use std::time::Duration;

use audit::{Act, Deed, Verb};
use model::{
    ClosedRoomRecord, EventSerial, Membership, RemovalStage, RoomRemoval, RoomSerial,
    RoomTaskRecord, RoomWork, UserSerial, room_scope,
    tables::{
        ALIAS_BY_ROOM, BLOCKED_ROOM, CLOSED_ROOM, EVENT_BY_PLACE, HEAD_BY_ROOM, MEMBER_BY_ROOM,
        ROOM_BY_ID, ROOM_TASK_BY_ID, SERVER_BY_ROOM, WAITING_ROOM_BY_SERVER,
    },
};
use ruma_common::{OwnedUserId, RoomId, UserId};
use serde_json::json;
use store::{Batch, Latest, Read, Snapshot, StoreError};

use super::purging;
use crate::{
    AppendError, Rooms, Sender, append::Plan, membership::member_event, profile, room_serial,
};

/// How many go out in one step.
const STEP: usize = 50;
/// How long other servers have to take what they are told before the room is gone, in ms: a
/// server that does not answer does not learn that everybody has left.
const TELLING: u64 = 60_000;
/// How long they have at least, in ms: what was committed last is on its way by then.
const TELLING_AT_LEAST: u64 = 2_000;
/// How often it is looked whether they have taken it.
const LOOK: Duration = Duration::from_millis(250);
/// The most names that are remembered of those who went out.
const MOST_NAMES: usize = 10_000;

/// How an administrator wants a room to be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedRemoval {
    /// The room's id.
    pub room_id: String,
    /// Whether everything of it is removed when everybody is out.
    pub purges: bool,
    /// Whether nobody of this server may come into it again.
    pub blocks: bool,
    /// Why, as those who go out are told.
    pub reason: Option<String>,
    /// The room into which those who go out are brought, and who brings them there.
    pub new_room: Option<(String, String)>,
}

impl Rooms {
    /// Begins to remove a room. From then on nobody of this server comes in or says anything
    /// there. Returns the id of what was begun.
    ///
    /// # Errors
    /// [`AppendError::UnknownRoom`]; [`AppendError::BadState`] if it is being removed already.
    pub async fn begin_removal(
        &self,
        by: Option<String>,
        wanted: WantedRemoval,
        deed: Deed,
    ) -> Result<String, AppendError> {
        let name = wanted.room_id.clone();
        let read = move |view: &Snapshot| describe(view, &name);
        let found = self.inner.store.read_long(read).await?;
        let (room, expected, aliases) = found.ok_or(AppendError::UnknownRoom)?;
        let removal = RoomRemoval {
            room,
            room_id: wanted.room_id.clone(),
            purges: wanted.purges,
            reason: wanted.reason.clone(),
            stage: RemovalStage::Leaving(UserSerial(0)),
            put_out: Vec::new(),
            not_put_out: Vec::new(),
            aliases,
            new_room: wanted.new_room,
        };
        let now = self.inner.clock.now().0;
        let closed = ClosedRoomRecord {
            by: by.clone(),
            at: now,
            reason: wanted.reason,
        };
        let blocked = wanted.blocks.then(|| model::BlockedRoomRecord {
            by: by.clone(),
            at: now,
        });
        let rows = move |latest: &Latest, batch: &mut Batch| {
            if latest.get(&ROOM_BY_ID, &wanted.room_id)? != Some(room) {
                return Err(AppendError::UnknownRoom);
            }
            if !latest.contains(&CLOSED_ROOM, &room)? {
                batch.put(&CLOSED_ROOM, &room, &closed);
            }
            if let Some(blocked) = blocked {
                batch.put(&BLOCKED_ROOM, &wanted.room_id, &blocked);
            }
            Ok(())
        };
        let work = RoomWork::Removal(removal);
        self.begin_task(by, work, expected, deed, rows).await
    }

    pub(crate) async fn remove_on(
        &self,
        id: &str,
        record: RoomTaskRecord,
        removal: RoomRemoval,
    ) -> Result<RoomTaskRecord, AppendError> {
        match removal.stage {
            RemovalStage::Leaving(from) => self.put_out_on(id, record, removal, from).await,
            RemovalStage::Telling(until) => self.tell_on(id, record, removal, until).await,
            RemovalStage::Events(next) => self.purge_events_on(id, record, removal, next).await,
            RemovalStage::Users(next) => self.purge_users_on(id, record, removal, next).await,
        }
    }

    /// Lets some of this server's people go out, in their own names.
    async fn put_out_on(
        &self,
        id: &str,
        mut record: RoomTaskRecord,
        mut removal: RoomRemoval,
        from: UserSerial,
    ) -> Result<RoomTaskRecord, AppendError> {
        let (rooms, room) = (self.clone(), removal.room);
        let read = move |view: &Snapshot| rooms.present_here(view, room, from);
        let present: Vec<(UserSerial, OwnedUserId)> = self.inner.store.read_long(read).await?;
        for (user, user_id) in &present {
            let sender = Sender {
                user_id: user_id.clone(),
                user: *user,
                device: None,
                sent_at: None,
            };
            if let Some((new_room, host)) = &removal.new_room {
                self.bring_along(&sender, new_room, host).await?;
            }
            let out = self.go_out(room, &sender, removal.reason.clone()).await;
            let names = match out {
                Ok(()) => &mut removal.put_out,
                Err(AppendError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    log::debug!("{user_id} cannot go out of {}: {error}", removal.room_id);
                    &mut removal.not_put_out
                }
            };
            // After a crash some go out again, which changes nothing.
            if names.len() < MOST_NAMES
                && names.last().map(String::as_str) != Some(user_id.as_str())
            {
                names.push(user_id.to_string());
            }
        }
        let until = self.inner.clock.now().0 + TELLING;
        removal.stage = match present.last() {
            Some((last, _)) => RemovalStage::Leaving(UserSerial(last.0 + 1)),
            None => RemovalStage::Telling(until),
        };
        let is_over = present.is_empty() && !removal.purges;
        record.work = RoomWork::Removal(removal);
        if is_over {
            record = self.ended(record);
        }
        Ok(self.note_task(id, record).await?)
    }

    /// Brings somebody who goes out of a room into the one in its place. Where that cannot be,
    /// they go out all the same.
    async fn bring_along(
        &self,
        who: &Sender,
        new_room: &str,
        host: &str,
    ) -> Result<(), AppendError> {
        let name = host.to_owned();
        let find = move |view: &Snapshot| crate::user_serial(view, &name);
        let user: Option<UserSerial> = self.inner.store.read(find).await?;
        let (Ok(host), Ok(new_room), Some(user)) =
            (UserId::parse(host), RoomId::parse(new_room), user)
        else {
            return Ok(());
        };
        let host = Sender {
            user_id: host,
            user,
            device: None,
            sent_at: None,
        };
        match self.bring_in_unaudited(who, &host, &new_room).await {
            Err(AppendError::Store(error)) => Err(error.into()),
            Err(error) => {
                log::debug!("{} was not brought into {new_room}: {error}", who.user_id);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn go_out(
        &self,
        room: RoomSerial,
        sender: &Sender,
        reason: Option<String>,
    ) -> Result<(), AppendError> {
        let (who, content) = (sender.clone(), profile::membership("leave", reason));
        let plan = move |latest: &Latest, staging: &mut crate::staging::Staging| {
            let before = staging.membership(latest, &who.user_id)?;
            let is_in = matches!(
                before,
                Some(Membership::Join | Membership::Invite | Membership::Knock)
            );
            Ok(match is_in {
                true => Plan::event(member_event(&who.user_id, content)),
                false => Plan::Nothing(None),
            })
        };
        self.append_with(room, sender, None, plan).await?;
        self.inner.typing.stop(room, sender.user);
        Ok(())
    }

    /// Some of those of this server who are in a room, invited or knock, from a serial on.
    fn present_here(
        &self,
        view: &Snapshot,
        room: RoomSerial,
        from: UserSerial,
    ) -> Result<Vec<(UserSerial, OwnedUserId)>, StoreError> {
        let mut present = Vec::new();
        for row in view.scan_from(&MEMBER_BY_ROOM, &(room,), &(room, from)) {
            let ((_, user), membership) = row?;
            if !matches!(
                membership,
                Membership::Join | Membership::Invite | Membership::Knock
            ) {
                continue;
            }
            let user_id = model::user_id(view, user)?.unwrap_or_default();
            if let Ok(user_id) = UserId::parse(user_id)
                && self.is_local(&user_id)
            {
                present.push((user, user_id));
                if present.len() == STEP {
                    break;
                }
            }
        }
        Ok(present)
    }

    /// Waits until other servers have been told, but not for ever. Then the room is gone for
    /// everybody, in one commit.
    async fn tell_on(
        &self,
        id: &str,
        mut record: RoomTaskRecord,
        mut removal: RoomRemoval,
        until: u64,
    ) -> Result<RoomTaskRecord, AppendError> {
        let room = removal.room;
        let now = self.inner.clock.now().0;
        let since = until.saturating_sub(TELLING);
        let changed_at = self.inner.store.newest_change(room_scope(room));
        let read = move |view: &Snapshot| {
            Ok::<_, StoreError>((waits(view, room)?, audit::has_followed(view, changed_at)?))
        };
        let (has_others, is_told): (Option<bool>, bool) = self.inner.store.read(read).await?;
        // The audit trail reads the events of which it tells.
        if !is_told {
            tokio::time::sleep(LOOK).await;
            return Ok(record);
        }
        let is_early = now < since + TELLING_AT_LEAST;
        let waits = has_others.is_some_and(|waits| waits || is_early);
        // A clock that was set back does not keep the room for ever.
        if waits && (since..until).contains(&now) {
            tokio::time::sleep(LOOK).await;
            return Ok(record);
        }
        removal.stage = RemovalStage::Events(EventSerial(room.0));
        let room_id = removal.room_id.clone();
        record.work = RoomWork::Removal(removal);
        let (rooms, id, hidden) = (self.clone(), id.to_owned(), record.clone());
        let name = room_id.clone();
        let written = self
            .inner
            .queues
            .write(&self.inner.store, room, move |writing, end| {
                *end = None;
                let hiding = purging::Hiding::read(&rooms, writing.latest(), room, &name)?;
                let (_, written) = writing.write(|latest, position, batch| {
                    hiding.write(latest, position, batch)?;
                    batch.put(&ROOM_TASK_BY_ID, &id, &hidden);
                    let deed = Act::server().did(Verb::RoomPurged).within(name.as_str());
                    let deed = deed.after(json!({ "task": id }));
                    audit::record(latest, batch, hiding.now, &[deed])?;
                    Ok::<_, AppendError>(())
                })?;
                Ok::<_, AppendError>(written)
            })
            .await?;
        written.durable().await?;
        self.forget_room_id(&room_id, room);
        Ok(record)
    }

    /// Forgets what is in memory of a room that is gone.
    pub(super) fn forget_room_id(&self, room_id: &str, room: RoomSerial) {
        self.inner
            .serials
            .lock()
            .retain(|known, serial| known.as_str() != room_id || *serial != room);
        self.inner.news.forget(room);
    }
}

/// A room, about how many events there are of it, and its aliases.
type Described = (RoomSerial, u64, Vec<String>);

fn describe(view: &Snapshot, room_id: &str) -> Result<Option<Described>, StoreError> {
    let Some(room) = room_serial(view, room_id)? else {
        return Ok(None);
    };
    if !view.contains(&HEAD_BY_ROOM, &room)? {
        return Ok(None);
    }
    let mut events = 0;
    for row in view.scan(&EVENT_BY_PLACE, &(room,)) {
        row?;
        events += 1;
    }
    let mut aliases = Vec::new();
    for row in view.scan(&ALIAS_BY_ROOM, &(room,)) {
        let ((_, alias), ()) = row?;
        aliases.push(alias);
    }
    Ok(Some((room, events, aliases)))
}

/// Whether something of the room waits for other servers; none if no other server is concerned.
fn waits(view: &Snapshot, room: RoomSerial) -> Result<Option<bool>, StoreError> {
    let mut has_others = false;
    for row in view.scan(&SERVER_BY_ROOM, &(room,)) {
        let ((_, server), _) = row?;
        has_others = true;
        if view.contains(&WAITING_ROOM_BY_SERVER, &(server, room))? {
            return Ok(Some(true));
        }
    }
    Ok(has_others.then_some(false))
}
