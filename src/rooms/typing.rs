//! Who is typing: kept in memory only, and forgotten by itself.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use model::{Membership, RoomSerial, UserSerial, room_scope, tables};
use parking_lot::Mutex;
use ruma_common::{OwnedUserId, RoomId, ServerName};
use runtime::{Stop, Timestamp};
use store::Read;
use tokio::sync::{Notify, broadcast};

use crate::{
    AppendError, Ignored, ReadError, Rooms, Sender, remote_users::speaker,
    visibility::not_in_the_room,
};

/// How long somebody types who does not say how long.
const DEFAULT: Duration = Duration::from_secs(30);
/// How long somebody of another server types who is not heard of again.
const REMOTE: Duration = Duration::from_secs(60);
/// The longest that one notification lasts.
const LONGEST: Duration = Duration::from_secs(120);
/// The most people shown as typing in one room.
const MAX_USERS: usize = 100;
/// The most rooms in which somebody types. Beyond, typing is not shown.
const MAX_ROOMS: usize = 10_000;
/// Changes that one who follows all rooms may be behind; older ones are forgotten.
const KEPT_CHANGES: usize = 1_024;
/// How often those are looked for whose time is over.
const EXPIRY: Duration = Duration::from_millis(500);

/// Who types where.
pub(crate) struct Typing {
    rooms: Mutex<HashMap<RoomSerial, RoomTyping>>,
    /// The number of the last change of any room.
    last: AtomicU64,
    started: Notify,
    /// The rooms in which others see a difference, for those who follow all rooms.
    changes: broadcast::Sender<RoomSerial>,
}

#[derive(Default)]
struct RoomTyping {
    /// The number of the last change here.
    sequence: u64,
    /// In the order in which they began.
    users: Vec<Typist>,
    /// The number of the last change of each who lately began or ended.
    changes: Vec<(UserSerial, u64)>,
}

impl RoomTyping {
    fn changed(&mut self, user: UserSerial, number: u64) {
        self.sequence = number;
        self.changes.retain(|(other, _)| *other != user);
        if self.changes.len() >= 2 * MAX_USERS {
            // The oldest: what is left says more.
            self.changes.remove(0);
        }
        self.changes.push((user, number));
    }

    /// Lets those go on of whom `keep` says so, and numbers the change that it is for the
    /// others. Returns whether there is any.
    fn retain(&mut self, keep: impl Fn(&Typist) -> bool, next: impl FnOnce() -> u64) -> bool {
        let gone: Vec<UserSerial> = self
            .users
            .iter()
            .filter(|typist| !keep(typist))
            .map(|typist| typist.user)
            .collect();
        if gone.is_empty() {
            return false;
        }
        self.users.retain(keep);
        let number = next();
        for user in gone {
            self.changed(user, number);
        }
        true
    }
}

struct Typist {
    user: UserSerial,
    user_id: OwnedUserId,
    until: Timestamp,
}

impl Typing {
    /// Nobody types. Changes are numbered from the time on, so that numbers of before a
    /// restart are lower.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            rooms: Mutex::default(),
            last: AtomicU64::new(now.0),
            started: Notify::new(),
            changes: broadcast::Sender::new(KEPT_CHANGES),
        }
    }

    /// The number of a change. Presence has numbers of the same row, so that one number
    /// tells what of memory a client has seen.
    pub(crate) fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Returns whether others see a difference.
    fn start(
        &self,
        room: RoomSerial,
        user: UserSerial,
        user_id: OwnedUserId,
        until: Timestamp,
    ) -> bool {
        let mut rooms = self.rooms.lock();
        if rooms.len() >= MAX_ROOMS && !rooms.contains_key(&room) {
            return false;
        }
        let typing = rooms.entry(room).or_default();
        if let Some(typist) = typing.users.iter_mut().find(|typist| typist.user == user) {
            typist.until = until;
            return false;
        }
        if typing.users.len() >= MAX_USERS {
            return false;
        }
        typing.users.push(Typist {
            user,
            user_id,
            until,
        });
        typing.changed(user, self.next());
        self.started.notify_one();
        self.tell(room);
        true
    }

    /// Returns whether others see a difference.
    pub(crate) fn stop(&self, room: RoomSerial, user: UserSerial) -> bool {
        self.retain(room, |typist| typist.user != user)
    }

    fn retain(&self, room: RoomSerial, keep: impl Fn(&Typist) -> bool) -> bool {
        let mut rooms = self.rooms.lock();
        let Some(typing) = rooms.get_mut(&room) else {
            return false;
        };
        let changed = typing.retain(keep, || self.next());
        if changed {
            self.tell(room);
        }
        changed
    }

    /// Tells those who follow all rooms; mostly nobody does.
    fn tell(&self, room: RoomSerial) {
        let _ = self.changes.send(room);
    }

    /// Whether nobody types in this room.
    pub(crate) fn is_quiet(&self, room: RoomSerial) -> bool {
        self.rooms
            .lock()
            .get(&room)
            .is_none_or(|typing| typing.users.is_empty())
    }

    /// Forgets whose time is over; returns the rooms in which that makes a difference,
    /// and whether anybody still types anywhere.
    fn expire(&self, now: Timestamp) -> (Vec<RoomSerial>, bool) {
        let mut changed = Vec::new();
        let mut rooms = self.rooms.lock();
        for (room, typing) in rooms.iter_mut() {
            if typing.retain(|typist| typist.until > now, || self.next()) {
                self.tell(*room);
                changed.push(*room);
            }
        }
        if rooms.len() > MAX_ROOMS / 2 {
            // Their numbers are forgotten with them: whoever still shows somebody there
            // is told by an empty list at the next change.
            rooms.retain(|room, typing| !typing.users.is_empty() || changed.contains(room));
        }
        let anybody = rooms.values().any(|typing| !typing.users.is_empty());
        (changed, anybody)
    }
}

impl Rooms {
    /// Notes that the sender types in a room for so long, or not any more.
    ///
    /// # Errors
    /// [`AppendError::Forbidden`] for those outside the room.
    pub async fn set_typing(
        &self,
        sender: &Sender,
        room_id: &RoomId,
        is_typing: bool,
        timeout: Option<Duration>,
    ) -> Result<(), AppendError> {
        let room = self.room(room_id).await?;
        let user = sender.user;
        let membership = self
            .inner
            .store
            .read(move |view| view.get(&tables::MEMBER_BY_ROOM, &(room, user)))
            .await?;
        if membership != Some(Membership::Join) {
            return Err(not_in_the_room().into());
        }
        let typing = &self.inner.typing;
        let changed = if is_typing {
            let time = timeout.unwrap_or(DEFAULT).min(LONGEST);
            let until = self.inner.clock.now().plus(time);
            typing.start(room, user, sender.user_id.clone(), until)
        } else {
            typing.stop(room, user)
        };
        if changed {
            self.inner.store.wake(room_scope(room));
        }
        Ok(())
    }

    /// Notes what another server says of a user of its own: that the user types in a room,
    /// or not any more. Returns whether it may say so.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_remote_typing(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        user_id: &OwnedUserId,
        is_typing: bool,
    ) -> Result<bool, ReadError> {
        let (origin, room_id) = (origin.to_owned(), room_id.to_owned());
        let asked = user_id.clone();
        let spoken = vec![(room_id.clone(), asked.clone())];
        self.meet_speakers(&origin, spoken).await?;
        let read = move |view: &store::Latest| speaker(view, &origin, &room_id, &asked);
        let Some((room, user)) = self.inner.store.prepare(read).await? else {
            return Ok(false);
        };
        let typing = &self.inner.typing;
        let changed = if is_typing {
            let until = self.inner.clock.now().plus(REMOTE);
            typing.start(room, user, user_id.clone(), until)
        } else {
            typing.stop(room, user)
        };
        if changed {
            self.inner.store.wake(room_scope(room));
        }
        Ok(true)
    }

    /// The rooms in which who types changes from now on, for those who follow all rooms.
    /// Who reads too slowly misses some.
    pub fn typing_changes(&self) -> broadcast::Receiver<RoomSerial> {
        self.inner.typing.changes.subscribe()
    }

    /// Who types in a room, in the order in which they began, and the number of the
    /// last change. Numbers grow, over rooms and restarts.
    pub fn typing(&self, room: RoomSerial) -> (Vec<OwnedUserId>, u64) {
        let now = self.inner.clock.now();
        let rooms = self.inner.typing.rooms.lock();
        match rooms.get(&room) {
            None => (Vec::new(), 0),
            Some(typing) => {
                let here = typing.users.iter().filter(|typist| typist.until > now);
                let users = here.map(|typist| typist.user_id.clone()).collect();
                (users, typing.sequence)
            }
        }
    }

    /// The same without those whom somebody ignores: neither they nor what they change.
    pub fn typing_for(&self, room: RoomSerial, ignored: &Ignored) -> (Vec<OwnedUserId>, u64) {
        let (mut users, sequence) = self.typing(room);
        if ignored.is_empty() {
            return (users, sequence);
        }
        users.retain(|user| !ignored.has_id(user.as_str()));
        let rooms = self.inner.typing.rooms.lock();
        let changes = rooms.get(&room).map(|typing| typing.changes.as_slice());
        let changes = changes.unwrap_or_default().iter();
        let heard = changes.filter(|(user, _)| !ignored.has(*user));
        let last = heard.map(|(_, number)| *number).max().unwrap_or(0);
        (users, last.min(sequence))
    }

    /// Those of some rooms in which who types has changed after a number.
    pub fn typing_among(
        &self,
        rooms: impl Iterator<Item = RoomSerial>,
        since: u64,
    ) -> Vec<RoomSerial> {
        if self.typing_sequence() <= since {
            return Vec::new();
        }
        let typing = self.inner.typing.rooms.lock();
        let has_changed =
            |room: &RoomSerial| typing.get(room).is_some_and(|here| here.sequence > since);
        rooms.filter(has_changed).collect()
    }

    /// The number of the last change of any room: what [`Rooms::typing`] gives later is
    /// either higher or was seen.
    pub fn typing_sequence(&self) -> u64 {
        self.inner.typing.last.load(Ordering::Acquire)
    }

    /// Lets typing end whose time is over, until the server stops. Run it once, as a
    /// task.
    pub async fn expire_typing(&self, stop: Stop) {
        loop {
            if self.expire_typing_now() {
                tokio::select! {
                    () = stop.stopped() => return,
                    () = tokio::time::sleep(EXPIRY) => {}
                }
            } else {
                tokio::select! {
                    () = stop.stopped() => return,
                    () = self.inner.typing.started.notified() => {}
                }
            }
        }
    }

    /// Lets typing end whose time is over, and returns whether anybody still types.
    pub(crate) fn expire_typing_now(&self) -> bool {
        let (changed, anybody) = self.inner.typing.expire(self.inner.clock.now());
        for room in changed {
            self.inner.store.wake(room_scope(room));
        }
        anybody
    }
}
