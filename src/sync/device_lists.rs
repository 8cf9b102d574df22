//! Whose devices and keys a client must look at again, and whose it may forget
//! (client-server API, "Tracking the device list for a user").

use std::{collections::BTreeSet, sync::Arc};

use model::{Membership, RoomChange, RoomSerial, UserSerial, tables};
use rooms::RoomCommit;
use store::{Position, Read, Snapshot, Store};

use crate::{SyncError, window::Window};

/// Users whose devices changed, or came into view, and users out of view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceListChanges {
    /// Their keys are to be queried again.
    pub changed: Vec<String>,
    /// No room is shared with them any more.
    pub left: Vec<String>,
}

impl DeviceListChanges {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }
}

/// What changed within the window. Nothing for a first sync: the client knows nobody.
pub(crate) fn changes(
    store: &Store,
    window: &Window<'_>,
    up_to: Position,
) -> Result<DeviceListChanges, SyncError> {
    let Some(since) = window.since else {
        return Ok(DeviceListChanges::default());
    };
    let mut changed = BTreeSet::new();
    let mut gone = BTreeSet::new();
    for (room, record) in window.rooms.iter() {
        if record.membership == Membership::Join {
            if record.last_join > since.0 {
                // Everybody there is new to the user.
                joined_members(window.snapshot, *room, &mut changed)?;
            } else if window.has_changed(*room) {
                let found = (&mut changed, &mut gone);
                room_changes(store, window, *room, since, up_to, found)?;
            }
        } else if record.left_at > since.0 {
            joined_members(window.snapshot, *room, &mut gone)?;
            gone_members(store, window.snapshot, *room, since, &mut gone)?;
        }
    }
    changed.extend(accounts::users_signed(
        window.snapshot,
        window.user,
        since,
        up_to,
    )?);
    gone.remove(&window.user);
    let mut left = BTreeSet::new();
    for user in gone {
        if !window.shares_room(user)? {
            changed.remove(&user);
            left.insert(user);
        }
    }
    if window.own_devices {
        changed.insert(window.user);
    }
    Ok(DeviceListChanges {
        changed: names(window.snapshot, changed)?,
        left: names(window.snapshot, left)?,
    })
}

/// Adds whose devices changed or who came, and who went.
fn room_changes(
    store: &Store,
    window: &Window<'_>,
    room: RoomSerial,
    since: Position,
    up_to: Position,
    (changed, gone): (&mut BTreeSet<UserSerial>, &mut BTreeSet<UserSerial>),
) -> Result<(), SyncError> {
    if let Some(news) = window.news(room)? {
        let before = |commit: &&Arc<RoomCommit>| commit.position <= up_to;
        let commits = news.commits.iter().filter(before);
        changed.extend(commits.flat_map(|commit| &commit.devices));
        // Where forks met, or a state became whole, members move without an event.
        let forked = news.commits.iter().any(|commit| commit.forked);
        if !forked
            && !news
                .events()
                .any(|event| event.event_type == "m.room.member")
        {
            return Ok(());
        }
    } else {
        let users = accounts::devices_changed(window.snapshot, room, since, up_to)?;
        changed.extend(users);
    }
    for (user, membership) in moved_members(store, window.snapshot, room, since)? {
        if membership == Membership::Join {
            changed.insert(user);
        } else {
            gone.insert(user);
        }
    }
    Ok(())
}

fn gone_members(
    store: &Store,
    snapshot: &Snapshot,
    room: RoomSerial,
    since: Position,
    gone: &mut BTreeSet<UserSerial>,
) -> Result<(), SyncError> {
    gone.extend(
        moved_members(store, snapshot, room, since)?
            .into_iter()
            .map(|(user, _)| user),
    );
    Ok(())
}

/// The members who came or went since, and what they are now: found where the two
/// states differ.
fn moved_members(
    store: &Store,
    snapshot: &Snapshot,
    room: RoomSerial,
    since: Position,
) -> Result<Vec<(UserSerial, Membership)>, SyncError> {
    let Some(root) = root_at(snapshot, room, since)? else {
        return Ok(Vec::new());
    };
    let head = snapshot
        .get(&tables::HEAD_BY_ROOM, &room)?
        .unwrap_or_default();
    let maps = rooms::StateMaps::new(snapshot, room, store.secret());
    let completed = completed_without_encryption(snapshot, room)?;
    let mut moved = Vec::new();
    for (event_type, state_key, _) in maps.changed(root, head.state)? {
        if event_type != "m.room.member" {
            continue;
        }
        let Some(user) = rooms::user_serial(snapshot, &state_key)? else {
            continue;
        };
        let record = snapshot.get(&tables::MEMBERSHIP_BY_USER, &(user, room))?;
        if let Some(record) = record
            && (record.last_join > since.0 || record.left_at > since.0)
            && completed.is_none_or(|at| record.last_join != at.0 || record.left_at > since.0)
        {
            moved.push((user, record.membership));
        }
    }
    Ok(moved)
}

/// The commit by which all members of a room were known at last, if nobody needs their keys
/// there. Those who were found to be there then have not come into view by it: whose devices
/// had changed meanwhile is told by name.
fn completed_without_encryption(
    snapshot: &Snapshot,
    room: RoomSerial,
) -> Result<Option<Position>, SyncError> {
    let encryption = (room, "m.room.encryption".to_owned(), String::new());
    if snapshot.contains(&tables::STATE_BY_ROOM, &encryption)? {
        return Ok(None);
    }
    Ok(snapshot.get(&tables::COMPLETED_BY_ROOM, &room)?)
}

/// The state of a room after everything up to `since`; `None` if nothing happened since.
pub(crate) fn root_at(
    snapshot: &Snapshot,
    room: RoomSerial,
    since: Position,
) -> Result<Option<model::StateRoot>, SyncError> {
    let from = (room, Position(since.0 + 1), 0);
    for row in snapshot.scan_from(&tables::CHANGE_BY_ROOM, &(room,), &from) {
        match row?.1 {
            RoomChange::State { root } => return Ok(Some(root)),
            RoomChange::Event(change) => {
                let meta = snapshot.get(&tables::EVENT_META_BY_SERIAL, &change.event)?;
                return Ok(meta.map(|meta| meta.state_before));
            }
            RoomChange::Receipt { .. } | RoomChange::Gap => {}
        }
    }
    Ok(None)
}

fn joined_members(
    snapshot: &Snapshot,
    room: RoomSerial,
    users: &mut BTreeSet<UserSerial>,
) -> Result<(), SyncError> {
    for row in snapshot.scan(&tables::MEMBER_BY_ROOM, &(room,)) {
        let ((_, user), membership) = row?;
        if membership == Membership::Join {
            users.insert(user);
        }
    }
    Ok(())
}

fn names(snapshot: &Snapshot, users: BTreeSet<UserSerial>) -> Result<Vec<String>, SyncError> {
    let mut names = Vec::new();
    for user in users {
        names.extend(model::user_id(snapshot, user)?);
    }
    Ok(names)
}
