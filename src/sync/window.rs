//! What changed for one user between two positions.

use std::collections::{BTreeMap, BTreeSet};

use model::{Membership, MembershipRecord, RoomSerial, UserChange, UserSerial, tables, user_scope};
use store::{Position, Read, Scope, Snapshot, Store};

use crate::SyncError;

/// The stretch of the log that one answer covers: after `since` (`None`: from the
/// beginning) up to the snapshot's position.
pub(crate) struct Window<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) since: Option<Position>,
    pub(crate) user: UserSerial,
    /// Every room that the user has to do with.
    pub(crate) rooms: BTreeMap<RoomSerial, MembershipRecord>,
    /// The rooms whose account data changed, with the types.
    pub(crate) room_data: BTreeMap<RoomSerial, BTreeSet<String>>,
    /// The types of the account's own data that changed.
    pub(crate) global_data: BTreeSet<String>,
    /// The rooms in which a private receipt of the user moved.
    pub(crate) private_receipts: BTreeSet<RoomSerial>,
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
        let mut window = Self {
            snapshot,
            since,
            user,
            rooms: BTreeMap::new(),
            room_data: BTreeMap::new(),
            global_data: BTreeSet::new(),
            private_receipts: BTreeSet::new(),
            own_devices: false,
        };
        for row in snapshot.scan(&tables::MEMBERSHIP_BY_USER, &(user,)) {
            let ((_, room), record) = row?;
            window.rooms.insert(room, record);
        }
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
    snapshot: &Snapshot,
    user: UserSerial,
    device: model::DeviceSerial,
) -> Result<Vec<Scope>, SyncError> {
    let mut scopes = vec![user_scope(user), model::device_scope(device)];
    for row in snapshot.scan(&tables::MEMBERSHIP_BY_USER, &(user,)) {
        let ((_, room), record) = row?;
        if record.membership == Membership::Join {
            scopes.push(model::room_scope(room));
        }
    }
    Ok(scopes)
}
