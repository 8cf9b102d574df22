//! What changed for one user between two positions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{
    DeviceSerial, Membership, MembershipRecord, RoomSerial, UserChange, UserSerial, device_scope,
    room_scope, tables, user_scope,
};
use store::{Position, Read, Scope, Snapshot, Store};

use crate::SyncError;

/// A user's memberships by room.
pub(crate) type Memberships = BTreeMap<RoomSerial, MembershipRecord>;

/// The stretch of the log that one answer covers: after `since` (`None`: from the
/// beginning) up to the snapshot's position.
pub(crate) struct Window<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) since: Option<Position>,
    pub(crate) user: UserSerial,
    /// Every room that the user has to do with.
    pub(crate) rooms: Arc<Memberships>,
    /// The rooms whose account data changed, with the types.
    pub(crate) room_data: BTreeMap<RoomSerial, BTreeSet<String>>,
    /// The types of the account's own data that changed.
    pub(crate) global_data: BTreeSet<String>,
    /// Whether the user's own devices or keys changed.
    pub(crate) own_devices: bool,
}

impl<'a> Window<'a> {
    /// Reads what changed for the user.
    pub(crate) fn read(
        store: &Store,
        snapshot: &'a Snapshot,
        since: Option<Position>,
        user: UserSerial,
    ) -> Result<Self, SyncError> {
        let rooms = Arc::new(memberships(snapshot, user)?);
        Self::with(store, snapshot, since, user, rooms)
    }

    /// The same where the memberships have been read already.
    pub(crate) fn with(
        store: &Store,
        snapshot: &'a Snapshot,
        since: Option<Position>,
        user: UserSerial,
        rooms: Arc<Memberships>,
    ) -> Result<Self, SyncError> {
        let mut window = Self {
            snapshot,
            since,
            user,
            rooms,
            room_data: BTreeMap::new(),
            global_data: BTreeSet::new(),
            own_devices: false,
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
            // The membership rows themselves say these.
            UserChange::Membership { .. } | UserChange::Forgotten { .. } => {}
        }
    }

    /// Whether something at `position` is news.
    pub(crate) fn is_new(&self, position: u64) -> bool {
        self.since.is_none_or(|since| position > since.0)
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

/// Every room that a user has to do with.
pub(crate) fn memberships(snapshot: &Snapshot, user: UserSerial) -> Result<Memberships, SyncError> {
    let rows = snapshot.scan(&tables::MEMBERSHIP_BY_USER, &(user,));
    let rows = rows.map(|row| row.map(|((_, room), record)| (room, record)));
    Ok(rows.collect::<Result<_, _>>()?)
}

/// All that can wake one device.
pub(crate) fn scopes(
    snapshot: &Snapshot,
    user: UserSerial,
    device: DeviceSerial,
) -> Result<Vec<Scope>, SyncError> {
    Ok(scopes_of(&memberships(snapshot, user)?, user, device))
}

/// The same where the memberships have been read already.
pub(crate) fn scopes_of(
    memberships: &Memberships,
    user: UserSerial,
    device: DeviceSerial,
) -> Vec<Scope> {
    let joined = memberships
        .iter()
        .filter(|(_, record)| record.membership == Membership::Join)
        .map(|(room, _)| room_scope(*room));
    [user_scope(user), device_scope(device)]
        .into_iter()
        .chain(joined)
        .collect()
}
