//! What becomes of the departments that a room belongs to when it is replaced or removed: in the
//! commit of it, so that none names a room that nobody is to come into any more.

use audit::{Act, Deed, Verb};
use model::{DepartmentRoomRecord, RoomSerial, UserSerial, tables};
use serde_json::json;
use store::{Batch, Latest, Read, StoreError};

/// The departments of a room, by their keys.
fn departments_of(
    latest: &Latest,
    room: RoomSerial,
) -> Result<Vec<(String, DepartmentRoomRecord)>, StoreError> {
    let mut found = Vec::new();
    for row in latest.scan(&tables::ROOM_BY_DEPARTMENT, &()) {
        let ((key, of), record) = row?;
        if of == room {
            found.push((key, record));
        }
    }
    Ok(found)
}

/// Gives the departments of a room the one that replaces it. Their people who were in the old one
/// come into it in the time after. Returns what the audit trail is to be told.
pub(crate) fn replace(
    latest: &Latest,
    batch: &mut Batch,
    act: &Act,
    (old, old_id): (RoomSerial, &str),
    (new, new_id): (RoomSerial, &str),
    now: u64,
) -> Result<Vec<Deed>, StoreError> {
    let mut deeds = Vec::new();
    for (key, record) in departments_of(latest, old)? {
        // Whom the old room still waits for the new one waits for just so.
        let record = match record.looked_at {
            Some(_) => record,
            None => DepartmentRoomRecord {
                since: now,
                looked_at: Some(UserSerial(0)),
                instead_of: Some(old),
            },
        };
        batch.delete(&tables::ROOM_BY_DEPARTMENT, &(key.clone(), old));
        batch.put(&tables::ROOM_BY_DEPARTMENT, &(key.clone(), new), &record);
        let named = latest.get(&tables::DEPARTMENT_BY_NAME, &key)?;
        let name = named.map_or(key, |named| named.name);
        let deed = act.did(Verb::DepartmentRoomAdded).on(name).within(new_id);
        deeds.push(deed.before(json!({ "room": old_id })));
    }
    Ok(deeds)
}

/// Where a room stands that is removed: in which departments, and who is still to come into it or
/// to go out of it for the sake of one.
#[derive(Default)]
pub(crate) struct Left {
    departments: Vec<String>,
    placements: Vec<UserSerial>,
}

impl Left {
    /// What there is of a room.
    pub(crate) fn of(latest: &Latest, room: RoomSerial) -> Result<Self, StoreError> {
        let departments = departments_of(latest, room)?.into_iter();
        let mut left = Self {
            departments: departments.map(|(key, _)| key).collect(),
            placements: Vec::new(),
        };
        for row in latest.scan(&tables::PLACEMENT_BY_USER, &()) {
            let ((user, of), _) = row?;
            if of == room {
                left.placements.push(user);
            }
        }
        Ok(left)
    }

    /// Removes it. Runs inside the commit's closure.
    pub(crate) fn remove(&self, batch: &mut Batch, room: RoomSerial) {
        for key in &self.departments {
            batch.delete(&tables::ROOM_BY_DEPARTMENT, &(key.clone(), room));
        }
        for user in &self.placements {
            batch.delete(&tables::PLACEMENT_BY_USER, &(*user, room));
        }
    }
}
