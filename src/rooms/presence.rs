//! Who is there (client-server API, "Presence"): kept in memory only. After a restart
//! everybody is offline until they come again.
//!
//! Somebody is online who has synced a moment ago, until they have done nothing for a
//! while; told to those who share a room with them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use model::{DeviceSerial, Membership, RoomSerial, UserSerial, room_scope, tables, user_scope};
use parking_lot::Mutex;
use ruma_common::{OwnedUserId, ServerName, UserId, presence::PresenceState};
use runtime::{Stop, Timestamp};
use serde_json::{Value, json};
use store::{Read, StoreError};

use crate::{ReadError, Rooms, Sender, Viewer, membership::joined, user_serial};

/// How often those are looked for whose state ends by itself.
const EXPIRY: Duration = Duration::from_millis(500);
/// How long after somebody did something they are shown as active.
const ACTIVE: Duration = Duration::from_secs(60);
/// How many people there may be in a room whose syncs a presence wakes.
const LARGE: u64 = 200;
/// The most people whose presence is known. Beyond, nobody's is.
const MAX_USERS: usize = 100_000;
/// The longest status message, in bytes.
const MAX_STATUS: usize = 1_024;
/// How long what another server says of its users is believed.
const REMOTE: Duration = Duration::from_secs(30 * 60);

/// The presence of a user of another server, as that server tells it.
#[derive(Clone, Debug)]
pub struct RemotePresence {
    /// Whose.
    pub user_id: OwnedUserId,
    /// Online, unavailable or offline.
    pub state: PresenceState,
    /// What the user says about it.
    pub status: Option<String>,
    /// How long ago they did something.
    pub last_active_ago: Duration,
    /// Whether they are doing something.
    pub currently_active: bool,
}

/// Everybody's presence.
#[derive(Default)]
pub(crate) struct Presences {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    users: HashMap<UserSerial, Presence>,
    /// Who changed, by the number of their last change.
    changes: BTreeMap<u64, UserSerial>,
}

struct Presence {
    state: PresenceState,
    status: Option<String>,
    last_active: Timestamp,
    /// When the last sync of theirs ended.
    last_sync: Timestamp,
    /// How many of their syncs wait at this moment.
    waiting: usize,
    /// Their devices that sync, or did a moment ago.
    devices: BTreeMap<DeviceSerial, Syncing>,
    is_active: bool,
    /// Whether they have synced since the server started.
    has_synced: bool,
    /// Whether another server speaks for them.
    is_remote: bool,
    /// The number of the last change.
    sequence: u64,
}

/// A device that syncs.
struct Syncing {
    /// Whether it says that its user is idle.
    is_idle: bool,
    /// How many of its syncs wait at this moment.
    waiting: usize,
    /// When the last of its syncs began or ended.
    last_sync: Timestamp,
}

/// Presence as somebody else sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownPresence {
    /// Online, unavailable or offline.
    pub state: PresenceState,
    /// What the user says about it.
    pub status: Option<String>,
    /// How long ago they did something; none if nobody knows.
    pub last_active_ago: Option<Duration>,
    /// Whether they are doing something; only of who is online.
    pub currently_active: Option<bool>,
}

impl ShownPresence {
    fn offline() -> Self {
        Self {
            state: PresenceState::Offline,
            status: None,
            last_active_ago: None,
            currently_active: None,
        }
    }

    /// The content of an `m.presence` event.
    pub fn content(&self) -> Value {
        let mut content = json!({ "presence": self.state.as_str() });
        if let Some(ago) = self.last_active_ago {
            content["last_active_ago"] = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX).into();
        }
        if let Some(active) = self.currently_active {
            content["currently_active"] = active.into();
        }
        if let Some(status) = &self.status {
            content["status_msg"] = status.as_str().into();
        }
        content
    }
}

impl Presence {
    fn shown(&self, now: Timestamp) -> ShownPresence {
        let is_online = self.state == PresenceState::Online;
        ShownPresence {
            state: self.state.clone(),
            status: self.status.clone(),
            last_active_ago: Some(now.since(self.last_active)),
            currently_active: is_online.then_some(self.is_active),
        }
    }

    /// Notes that a sync of a device begins. Whoever is idle or busy by their own word
    /// stays so until they do something or a device says that they are back; and nobody
    /// is idle by the word of one device while another one says that they are not.
    fn begins(&mut self, device: DeviceSerial, is_idle: bool, now: Timestamp, gone: Duration) {
        self.waiting += 1;
        self.last_sync = now;
        // That somebody comes is news, also of who has said before how they are.
        self.has_synced = true;
        self.devices
            .retain(|_, it| it.waiting > 0 || now.since(it.last_sync) < gone);
        let here = self.devices.entry(device).or_insert(Syncing {
            is_idle: false,
            waiting: 0,
            last_sync: now,
        });
        let was_idle = std::mem::replace(&mut here.is_idle, is_idle);
        (here.waiting, here.last_sync) = (here.waiting + 1, now);
        let all_idle = self.devices.values().all(|it| it.is_idle);
        let comes = self.state == PresenceState::Offline;
        let returns = was_idle && !is_idle && self.state == PresenceState::Unavailable;
        if comes || returns {
            self.is_active = !is_idle;
            self.last_active = now;
            self.state = match is_idle {
                true => PresenceState::Unavailable,
                false => PresenceState::Online,
            };
        } else if is_idle && !was_idle && all_idle {
            self.is_active = false;
            self.state = PresenceState::Unavailable;
        }
    }

    /// Notes that a sync of a device ends.
    fn ends(&mut self, device: DeviceSerial, now: Timestamp) {
        self.waiting = self.waiting.saturating_sub(1);
        self.last_sync = now;
        if let Some(here) = self.devices.get_mut(&device) {
            here.waiting = here.waiting.saturating_sub(1);
            here.last_sync = now;
        }
    }

    /// What time makes of it. Returns whether others see a difference.
    fn expire(&mut self, now: Timestamp, idle: Duration, gone: Duration) -> bool {
        let before = (self.state.clone(), self.is_active);
        if self.is_remote {
            if now.since(self.last_sync) < REMOTE {
                return false;
            }
            (self.state, self.is_active) = (PresenceState::Offline, false);
            return true;
        }
        if self.waiting == 0 && now.since(self.last_sync) >= gone {
            self.state = PresenceState::Offline;
            self.devices.clear();
        } else if self.state == PresenceState::Online && now.since(self.last_active) >= idle {
            self.state = PresenceState::Unavailable;
        }
        let active = ACTIVE.min(idle);
        self.is_active =
            self.state == PresenceState::Online && now.since(self.last_active) < active;
        before != (self.state.clone(), self.is_active)
    }
}

/// A sync of somebody that lasts until this is dropped.
pub struct Present {
    rooms: Rooms,
    user: UserSerial,
    device: DeviceSerial,
}

impl Drop for Present {
    fn drop(&mut self) {
        let now = self.rooms.inner.clock.now();
        let mut state = self.rooms.inner.presences.state.lock();
        if let Some(presence) = state.users.get_mut(&self.user) {
            presence.ends(self.device, now);
        }
    }
}

impl Rooms {
    /// Whether it is told at all who is there.
    pub fn has_presence(&self) -> bool {
        self.inner.options.presence
    }

    /// Changes somebody's presence. Returns whether others see a difference.
    fn change_presence(&self, user: UserSerial, change: impl FnOnce(&mut Presence)) -> bool {
        let now = self.inner.clock.now();
        let mut state = self.inner.presences.state.lock();
        if state.users.len() >= MAX_USERS && !state.users.contains_key(&user) {
            return false;
        }
        let presence = state.users.entry(user).or_insert_with(|| Presence {
            state: PresenceState::Offline,
            status: None,
            last_active: now,
            last_sync: now,
            waiting: 0,
            devices: BTreeMap::new(),
            is_active: false,
            has_synced: false,
            is_remote: false,
            sequence: 0,
        });
        let before = (
            presence.state.clone(),
            presence.status.clone(),
            presence.is_active,
            presence.has_synced,
        );
        change(presence);
        let after = (
            presence.state.clone(),
            presence.status.clone(),
            presence.is_active,
            presence.has_synced,
        );
        if before == after {
            return false;
        }
        self.renumber(&mut state, user);
        true
    }

    /// Gives a user's presence a new number: it is news to everybody again.
    fn renumber(&self, state: &mut State, user: UserSerial) {
        let Some(presence) = state.users.get_mut(&user) else {
            return;
        };
        let sequence = self.inner.typing.next();
        state.changes.remove(&presence.sequence);
        presence.sequence = sequence;
        state.changes.insert(sequence, user);
    }

    /// Wakes all who share a room with somebody, but for large rooms: there somebody is
    /// always coming or going, and it is told with what else happens.
    fn wake_acquaintances(&self, view: &impl Read, user: UserSerial) -> Result<(), StoreError> {
        for room in joined(view, user)? {
            let head = view.get(&tables::HEAD_BY_ROOM, &room)?;
            if head.is_some_and(|head| head.joined <= LARGE) {
                self.inner.store.wake(room_scope(room));
            }
        }
        self.inner.store.wake(user_scope(user));
        Ok(())
    }

    /// Sets the sender's presence: `PUT /presence/{userId}/status`.
    ///
    /// # Errors
    /// [`ReadError::Invalid`] for a state that there is not, or a status that is too long.
    pub async fn set_presence(
        &self,
        sender: &Sender,
        wanted: PresenceState,
        status: Option<String>,
    ) -> Result<(), ReadError> {
        if status
            .as_ref()
            .is_some_and(|status| status.len() > MAX_STATUS)
        {
            let text = format!("a status has at most {MAX_STATUS} bytes");
            return Err(ReadError::Invalid(text));
        }
        if !is_state(&wanted) {
            return Err(ReadError::Invalid("there is no such presence".to_owned()));
        }
        if !self.has_presence() {
            return Ok(());
        }
        let now = self.inner.clock.now();
        let changed = self.change_presence(sender.user, |presence| {
            presence.is_active = wanted == PresenceState::Online;
            presence.state = wanted;
            presence.status = status.filter(|status| !status.is_empty());
            presence.last_active = now;
            presence.last_sync = now;
        });
        if changed {
            let (rooms, user) = (self.clone(), sender.user);
            let wake = move |view: &store::Snapshot| Ok(rooms.wake_acquaintances(view, user)?);
            self.inner.store.read::<_, ReadError, _>(wake).await?;
        }
        Ok(())
    }

    /// Notes what another server says of users of its own, who must be in a room that is
    /// known here. Returns of how many.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_remote_presence(
        &self,
        origin: &ServerName,
        updates: Vec<RemotePresence>,
    ) -> Result<usize, StoreError> {
        if !self.has_presence() {
            return Ok(0);
        }
        let (rooms, origin) = (self.clone(), origin.to_owned());
        let take = move |view: &store::Snapshot| {
            let mut taken = 0;
            for update in updates {
                let Some(user) = user_serial(view, update.user_id.as_str())? else {
                    continue;
                };
                let is_told = is_state(&update.state)
                    && update.user_id.server_name() == origin
                    && !joined(view, user)?.is_empty();
                if !is_told {
                    continue;
                }
                taken += 1;
                if rooms.take_remote_presence(user, update) {
                    rooms.wake_acquaintances(view, user)?;
                }
            }
            Ok(taken)
        };
        self.inner.store.read(take).await
    }

    /// Returns whether others see a difference.
    fn take_remote_presence(&self, user: UserSerial, update: RemotePresence) -> bool {
        let now = self.inner.clock.now();
        let ago = u64::try_from(update.last_active_ago.as_millis()).unwrap_or(u64::MAX);
        self.change_presence(user, |presence| {
            presence.is_remote = true;
            presence.is_active = update.state == PresenceState::Online && update.currently_active;
            presence.state = update.state;
            let status = update.status.filter(|status| !status.is_empty());
            presence.status = status.filter(|status| status.len() <= MAX_STATUS);
            presence.last_active = Timestamp(now.0.saturating_sub(ago));
            presence.last_sync = now;
        })
    }

    /// Notes that a sync of somebody begins on a device, which says how they want to be
    /// shown.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn present(
        &self,
        user: UserSerial,
        device: DeviceSerial,
        wanted: PresenceState,
    ) -> Result<Option<Present>, StoreError> {
        if !self.has_presence()
            || !matches!(wanted, PresenceState::Online | PresenceState::Unavailable)
        {
            return Ok(None);
        }
        let now = self.inner.clock.now();
        let gone = Duration::from_secs(self.inner.options.presence_offline_after);
        let is_idle = wanted == PresenceState::Unavailable;
        let changed = self.change_presence(user, |presence| {
            presence.begins(device, is_idle, now, gone);
        });
        let present = Present {
            rooms: self.clone(),
            user,
            device,
        };
        if changed {
            let rooms = self.clone();
            self.inner
                .store
                .read(move |view| rooms.wake_acquaintances(view, user))
                .await?;
        }
        Ok(Some(present))
    }

    /// Notes that somebody has done something: whoever was idle is online again.
    pub(crate) fn acted(&self, view: &impl Read, user: UserSerial) -> Result<(), StoreError> {
        if !self.has_presence() {
            return Ok(());
        }
        let now = self.inner.clock.now();
        let changed = self.change_presence(user, |presence| {
            presence.last_active = now;
            if presence.state == PresenceState::Unavailable {
                presence.state = PresenceState::Online;
            }
            presence.is_active = presence.state == PresenceState::Online;
        });
        if changed {
            self.wake_acquaintances(view, user)?;
        }
        Ok(())
    }

    /// Makes somebody's presence news again, for those whom they have just joined.
    pub(crate) fn show_presence_again(&self, user: UserSerial) {
        let mut state = self.inner.presences.state.lock();
        self.renumber(&mut state, user);
    }

    /// Somebody's presence: `GET /presence/{userId}/status`.
    ///
    /// # Errors
    /// [`ReadError::Forbidden`] for those who share no room with the user, be there one
    /// or not.
    pub fn presence<R: Read>(
        &self,
        view: &R,
        viewer: Viewer,
        user_id: &UserId,
    ) -> Result<ShownPresence, ReadError> {
        let forbidden = || ReadError::Forbidden("you share no room with this user".to_owned());
        let user = user_serial(view, user_id.as_str())?.ok_or_else(forbidden)?;
        if !share_room(view, viewer.user, user)? {
            return Err(forbidden());
        }
        let state = self.inner.presences.state.lock();
        let known = state.users.get(&user);
        let now = self.inner.clock.now();
        Ok(known.map_or_else(ShownPresence::offline, |known| known.shown(now)))
    }

    /// Whose presence changed after a number and is still of interest, with what it is: of
    /// all who are not offline where there is no number.
    pub fn presences_since(&self, since: Option<u64>) -> Vec<(UserSerial, ShownPresence)> {
        /// The most that one answer tells; the newest.
        const MOST: usize = 1_000;
        let now = self.inner.clock.now();
        let state = self.inner.presences.state.lock();
        let from = since.map_or(0, |since| since.saturating_add(1));
        let changed = state.changes.range(from..).rev().take(MOST);
        changed
            .filter_map(|(_, user)| Some((*user, state.users.get(user)?)))
            .filter(|(_, presence)| since.is_some() || presence.state != PresenceState::Offline)
            .map(|(user, presence)| (user, presence.shown(now)))
            .collect()
    }

    /// Who of a room is not offline: for who has just come into it.
    ///
    /// # Errors
    /// If the database fails.
    pub fn presences_in(
        &self,
        view: &impl Read,
        room: RoomSerial,
    ) -> Result<Vec<(UserSerial, ShownPresence)>, StoreError> {
        let mut here = Vec::new();
        for (user, presence) in self.presences_since(None) {
            let membership = view.get(&tables::MEMBER_BY_ROOM, &(room, user))?;
            if membership == Some(Membership::Join) {
                here.push((user, presence));
            }
        }
        Ok(here)
    }

    /// Lets presence end by itself, until the server stops. Run it once, as a task.
    pub async fn expire_presence(&self, stop: Stop) {
        loop {
            tokio::select! {
                () = stop.stopped() => return,
                () = tokio::time::sleep(EXPIRY) => {}
            }
            let changed = self.expire_presence_now();
            if changed.is_empty() {
                continue;
            }
            let rooms = self.clone();
            let wake = move |view: &store::Snapshot| {
                changed
                    .iter()
                    .try_for_each(|user| rooms.wake_acquaintances(view, *user))
            };
            if let Err(error) = self.inner.store.read::<(), StoreError, _>(wake).await {
                log::error!("nobody was told of a presence that ended: {error}");
            }
        }
    }

    /// Lets presence end by itself; returns whose did.
    pub(crate) fn expire_presence_now(&self) -> Arc<[UserSerial]> {
        let (now, options) = (self.inner.clock.now(), &self.inner.options);
        let idle = Duration::from_secs(options.presence_idle_after);
        let gone = Duration::from_secs(options.presence_offline_after);
        let mut state = self.inner.presences.state.lock();
        let mut changed = Vec::new();
        for (user, presence) in &mut state.users {
            if presence.state != PresenceState::Offline && presence.expire(now, idle, gone) {
                changed.push(*user);
            }
        }
        for user in &changed {
            self.renumber(&mut state, *user);
        }
        changed.into()
    }
}

fn is_state(state: &PresenceState) -> bool {
    matches!(
        state,
        PresenceState::Online | PresenceState::Offline | PresenceState::Unavailable
    )
}

/// Whether two users are the same or are in a room together.
pub(crate) fn share_room(
    view: &impl Read,
    one: UserSerial,
    other: UserSerial,
) -> Result<bool, StoreError> {
    if one == other {
        return Ok(true);
    }
    for room in joined(view, one)? {
        let theirs = view.get(&tables::MEMBERSHIP_BY_USER, &(other, room))?;
        if theirs.is_some_and(|theirs| theirs.membership == Membership::Join) {
            return Ok(true);
        }
    }
    Ok(false)
}
