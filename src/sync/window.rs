//! What changed for one user between two positions.

use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use accounts::InvitePermission;
use model::{
    DeviceSerial, Membership, MembershipRecord, RoomSerial, UserChange, UserSerial, device_scope,
    room_scope, tables, user_scope,
};
use rooms::{Ignored, RoomNews, Rooms, Stays};
use store::{Position, Read, Scope, Snapshot};

use crate::SyncError;

/// The stretch of the log that one answer covers: after `since` (`None`: from the
/// beginning) up to the snapshot's position.
pub(crate) struct Window<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) since: Option<Position>,
    pub(crate) user: UserSerial,
    /// Every room that the user has to do with.
    pub(crate) rooms: Arc<Stays>,
    /// The rooms whose account data changed, with the types.
    pub(crate) room_data: BTreeMap<RoomSerial, BTreeSet<String>>,
    /// The types of the account's own data that changed.
    pub(crate) global_data: BTreeSet<String>,
    /// The rooms in which a private receipt of the user moved.
    pub(crate) private_receipts: BTreeSet<RoomSerial>,
    /// Whether the user's own devices or keys changed.
    pub(crate) own_devices: bool,
    reader: &'a Rooms,
    /// What happened in rooms, as far as it was asked for.
    news: RefCell<HashMap<RoomSerial, Option<Arc<RoomNews>>>>,
    ignored: OnceCell<Arc<Ignored>>,
    changed_rooms: OnceCell<Vec<RoomSerial>>,
}

impl<'a> Window<'a> {
    /// Reads what changed for the user.
    pub(crate) fn read(
        reader: &'a Rooms,
        snapshot: &'a Snapshot,
        since: Option<Position>,
        user: UserSerial,
    ) -> Result<Self, SyncError> {
        let rooms = reader.stays(snapshot, user)?;
        Self::with(reader, snapshot, since, user, rooms)
    }

    /// The same where the memberships have been read already.
    pub(crate) fn with(
        reader: &'a Rooms,
        snapshot: &'a Snapshot,
        since: Option<Position>,
        user: UserSerial,
        rooms: Arc<Stays>,
    ) -> Result<Self, SyncError> {
        let store = reader.store();
        let mut window = Self {
            snapshot,
            since,
            user,
            rooms,
            room_data: BTreeMap::new(),
            global_data: BTreeSet::new(),
            private_receipts: BTreeSet::new(),
            own_devices: false,
            reader,
            news: RefCell::default(),
            ignored: OnceCell::new(),
            changed_rooms: OnceCell::new(),
        };
        let Some(since) = since else {
            return Ok(window);
        };
        if store.changed_since(user_scope(user), since) {
            let from = (user, Position(since.0 + 1), 0);
            for row in snapshot.scan_from(&tables::CHANGE_BY_USER, &(user,), &from) {
                window.note(row?.1);
            }
        }
        Ok(window)
    }

    /// What happened in a room that the user is joined to, if that is little; `None` if
    /// the database must be asked.
    pub(crate) fn news(&self, room: RoomSerial) -> Result<Option<Arc<RoomNews>>, SyncError> {
        let Some(since) = self.since else {
            return Ok(None);
        };
        if let Some(known) = self.news.borrow().get(&room) {
            return Ok(known.clone());
        }
        let news = self.reader.news(self.snapshot, room, since)?.map(Arc::new);
        self.news.borrow_mut().insert(room, news.clone());
        Ok(news)
    }

    fn note(&mut self, change: UserChange) {
        match change {
            UserChange::AccountData {
                room: Some(room),
                event_type,
            } => {
                self.room_data.entry(room).or_default().insert(event_type);
            }
            UserChange::AccountData {
                room: None,
                event_type,
            } => {
                self.global_data.insert(event_type);
            }
            UserChange::DeviceList => self.own_devices = true,
            UserChange::PrivateReceipt { room } => {
                self.private_receipts.insert(room);
            }
            // The membership rows themselves say these.
            UserChange::Membership { .. } | UserChange::Forgotten { .. } => {}
        }
    }

    /// Whether something at `position` is news.
    pub(crate) fn is_new(&self, position: u64) -> bool {
        self.since.is_none_or(|since| position > since.0)
    }

    /// The joined rooms in which something may have happened, in their order: found by what
    /// happened, not by looking at each room.
    pub(crate) fn changed_rooms(&self) -> &[RoomSerial] {
        self.changed_rooms.get_or_init(|| {
            let joined = self.joined().map(|(room, _)| room);
            let Some(since) = self.since else {
                return joined.collect();
            };
            let changed = self
                .reader
                .store()
                .changed_among(joined.map(room_scope), since);
            changed
                .iter()
                .map(|scope| RoomSerial(scope.serial))
                .collect()
        })
    }

    /// Whether something may have happened in a joined room.
    pub(crate) fn has_changed(&self, room: RoomSerial) -> bool {
        self.changed_rooms().binary_search(&room).is_ok()
    }

    /// Those whom the user ignores.
    pub(crate) fn ignored(&self) -> Result<&Ignored, SyncError> {
        if let Some(known) = self.ignored.get() {
            return Ok(known);
        }
        let ignored = self.reader.ignored_by(self.snapshot, self.user)?;
        Ok(self.ignored.get_or_init(|| ignored))
    }

    /// Whether the counts of rooms may be others though nothing happened in them: the
    /// push rules or the list of ignored users changed.
    pub(crate) fn recounts(&self) -> bool {
        ["m.push_rules", "m.ignored_user_list"]
            .into_iter()
            .any(|name| self.global_data.contains(name))
    }

    /// Whether the user is told of the invitations of another: those whom the user ignores
    /// or of whom the user takes none are passed over.
    pub(crate) fn is_told_of(&self, other: UserSerial) -> Result<bool, SyncError> {
        if self.ignored()?.has(other) {
            return Ok(false);
        }
        let Some(other) = model::user_id(self.snapshot, other)? else {
            return Ok(true);
        };
        let permission = accounts::invite_permission(self.snapshot, self.user, &other)?;
        Ok(permission == InvitePermission::Allow)
    }

    /// Whether another user is in a room that the user is joined to.
    pub(crate) fn shares_room(&self, other: UserSerial) -> Result<bool, SyncError> {
        let is_joined = |record: &MembershipRecord| record.membership == Membership::Join;
        for row in self.snapshot.scan(&tables::MEMBERSHIP_BY_USER, &(other,)) {
            let ((_, room), record) = row?;
            if is_joined(&record) && self.rooms.get(&room).is_some_and(is_joined) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The rooms that the user is joined to.
    pub(crate) fn joined(&self) -> impl Iterator<Item = (RoomSerial, &MembershipRecord)> {
        self.of(Membership::Join)
    }

    /// The rooms in which the user has that membership.
    pub(crate) fn of(
        &self,
        membership: Membership,
    ) -> impl Iterator<Item = (RoomSerial, &MembershipRecord)> {
        self.rooms
            .iter()
            .filter(move |(_, record)| record.membership == membership)
            .map(|(room, record)| (*room, record))
    }
}

/// All that can wake one device.
pub(crate) fn scopes(
    rooms: &Rooms,
    snapshot: &Snapshot,
    user: UserSerial,
    device: DeviceSerial,
) -> Result<Vec<Scope>, SyncError> {
    Ok(scopes_of(&*rooms.stays(snapshot, user)?, user, device))
}

/// The same where the memberships have been read already.
pub(crate) fn scopes_of(memberships: &Stays, user: UserSerial, device: DeviceSerial) -> Vec<Scope> {
    let joined = memberships
        .iter()
        .filter(|(_, record)| record.membership == Membership::Join)
        .map(|(room, _)| room_scope(*room));
    [user_scope(user), device_scope(device)]
        .into_iter()
        .chain(joined)
        .collect()
}
