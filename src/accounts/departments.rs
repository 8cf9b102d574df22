//! Departments: names under which people are put into rooms. A commit that changes who belongs
//! to what writes down who is to come where and who is to go; that is done afterwards, and goes
//! on where it broke off.

use std::collections::BTreeSet;

use audit::{Act, Verb};
use model::{
    DepartmentRecord, DepartmentRoomRecord, Membership, PlacementRecord, RoomSerial, UserSerial,
    tables::{
        DEPARTMENT_BY_NAME, DEPARTMENT_BY_USER, MEMBER_BY_DEPARTMENT, MEMBERSHIP_BY_USER,
        PLACEMENT_BY_USER, ROOM_BY_DEPARTMENT,
    },
};
use serde_json::json;
use store::{Batch, Latest, Read, Snapshot, StoreError};

use crate::{Accounts, audited, is_active};

/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// The most departments of a server.
const MAX_DEPARTMENTS: usize = 10_000;
/// The most rooms of one department.
const MAX_ROOMS: usize = 500;
/// The most departments of one person.
pub(crate) const MAX_OF_PERSON: usize = 50;
/// How many people of a department are looked at in one commit.
const AT_ONCE: usize = 500;

/// Why nothing was done with a department.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DepartmentError {
    /// It is no name.
    #[error(
        "a department's name has up to {} bytes, and neither | nor anything that is not seen",
        MAX_NAME_BYTES
    )]
    Name,
    /// There is one of that name.
    #[error("there is a department {0:?} already")]
    Exists(String),
    /// There is none of that name.
    #[error("there is no department {0:?}")]
    NotFound(String),
    /// Somebody's account is not there, or is closed.
    #[error("there is no such account any more")]
    NoAccount,
    /// There would be too many.
    #[error("there are too many: at most {0}")]
    TooMany(&'static str),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A department as administrators see it in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Department {
    /// Its name.
    pub name: String,
    /// When it was made, in ms since the Unix epoch.
    pub created_at: u64,
    /// How many people belong to it.
    pub people: usize,
    /// Its rooms.
    pub rooms: Vec<RoomSerial>,
}

/// Somebody who is still to come into a room, or to go out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Who.
    pub user: UserSerial,
    /// Which room.
    pub room: RoomSerial,
    /// How it stands.
    pub record: PlacementRecord,
}

/// A name as it is looked up; `None` if it is none.
pub fn department_key(name: &str) -> Option<String> {
    let name = name.trim();
    let is_one = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name.contains('|')
        && !name.chars().any(char::is_control);
    is_one.then(|| name.to_lowercase())
}

fn key_of(name: &str) -> Result<String, DepartmentError> {
    department_key(name).ok_or(DepartmentError::Name)
}

/// The department of that key.
///
/// # Errors
/// [`DepartmentError::NotFound`].
fn known(view: &impl Read, key: &str) -> Result<DepartmentRecord, DepartmentError> {
    let record = view.get(&DEPARTMENT_BY_NAME, &key.to_owned())?;
    record.ok_or_else(|| DepartmentError::NotFound(key.to_owned()))
}

/// The names of a person's departments.
///
/// # Errors
/// If the database fails.
pub fn departments_of(view: &impl Read, user: UserSerial) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for key in keys_of(view, user)? {
        let record = view.get(&DEPARTMENT_BY_NAME, &key)?;
        names.push(record.map_or(key, |record| record.name));
    }
    Ok(names)
}

pub(crate) fn keys_of(view: &impl Read, user: UserSerial) -> Result<BTreeSet<String>, StoreError> {
    view.scan(&DEPARTMENT_BY_USER, &(user,))
        .map(|row| row.map(|((_, key), ())| key))
        .collect()
}

fn rooms_of(view: &impl Read, key: &str) -> Result<BTreeSet<RoomSerial>, StoreError> {
    view.scan(&ROOM_BY_DEPARTMENT, &(key.to_owned(),))
        .map(|row| row.map(|((_, room), _)| room))
        .collect()
}

fn rooms_of_all(
    view: &impl Read,
    keys: &BTreeSet<String>,
) -> Result<BTreeSet<RoomSerial>, StoreError> {
    let mut rooms = BTreeSet::new();
    for key in keys {
        rooms.extend(rooms_of(view, key)?);
    }
    Ok(rooms)
}

/// A part of the departments in the order of their names, behind that one.
///
/// # Errors
/// If the database fails.
pub fn departments_after(
    view: &impl Read,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Department>, StoreError> {
    let after = after.map(str::to_lowercase);
    let mut known: Vec<(String, DepartmentRecord)> = Vec::new();
    for row in view.scan(&DEPARTMENT_BY_NAME, &()) {
        let (key, record) = row?;
        if after.as_ref().is_none_or(|after| key > *after) {
            known.push((key, record));
        }
    }
    // They lie in the order of their lengths.
    known.sort_by(|(one, _), (other, _)| one.cmp(other));
    let page = known.into_iter().take(limit);
    page.map(|(key, record)| shown(view, &key, record))
        .collect()
}

/// One department.
///
/// # Errors
/// [`DepartmentError`].
pub fn department(view: &impl Read, name: &str) -> Result<Department, DepartmentError> {
    let key = key_of(name)?;
    let record = known(view, &key)?;
    Ok(shown(view, &key, record)?)
}

fn shown(view: &impl Read, key: &str, record: DepartmentRecord) -> Result<Department, StoreError> {
    Ok(Department {
        name: record.name,
        created_at: record.created_at,
        people: view.count(&MEMBER_BY_DEPARTMENT, &(key.to_owned(),))?,
        rooms: rooms_of(view, key)?.into_iter().collect(),
    })
}

/// A part of the people of a department, behind that one.
///
/// # Errors
/// [`DepartmentError`].
pub fn people_of_department(
    view: &impl Read,
    name: &str,
    after: Option<UserSerial>,
    limit: usize,
) -> Result<Vec<UserSerial>, DepartmentError> {
    let key = key_of(name)?;
    known(view, &key)?;
    let from = UserSerial(after.map_or(0, |after| after.0.saturating_add(1)));
    let rows = view.scan_from(&MEMBER_BY_DEPARTMENT, &(key.clone(),), &(key, from));
    let mut people = Vec::new();
    for row in rows.take(limit) {
        let ((_, user), _) = row?;
        people.push(user);
    }
    Ok(people)
}

/// Who is still to come or to go, at most `limit` of them.
///
/// # Errors
/// If the database fails.
pub fn placements(view: &impl Read, limit: usize) -> Result<Vec<Placement>, StoreError> {
    let mut found = Vec::new();
    for row in view.scan(&PLACEMENT_BY_USER, &()).take(limit) {
        let ((user, room), record) = row?;
        found.push(Placement { user, room, record });
    }
    Ok(found)
}

/// Puts a person into these departments and out of all others, in the commit of it.
pub(crate) fn replace(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    after: &BTreeSet<String>,
    now: u64,
) -> Result<(), StoreError> {
    let before = keys_of(latest, user)?;
    for key in before.difference(after) {
        batch.delete(&MEMBER_BY_DEPARTMENT, &(key.clone(), user));
        batch.delete(&DEPARTMENT_BY_USER, &(user, key.clone()));
    }
    for key in after.difference(&before) {
        batch.put(&MEMBER_BY_DEPARTMENT, &(key.clone(), user), &now);
        batch.put(&DEPARTMENT_BY_USER, &(user, key.clone()), &());
    }
    let rooms_before = rooms_of_all(latest, &before)?;
    let rooms_after = rooms_of_all(latest, after)?;
    for room in rooms_before.difference(&rooms_after) {
        place(batch, user, *room, false);
    }
    for room in rooms_after.difference(&rooms_before) {
        place(batch, user, *room, true);
    }
    Ok(())
}

/// Takes a person whose account is closed out of all departments; the rooms they leave anyway.
pub(crate) fn remove_from_all(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
) -> Result<(), StoreError> {
    for key in keys_of(latest, user)? {
        batch.delete(&MEMBER_BY_DEPARTMENT, &(key, user));
    }
    batch.delete_prefix(&DEPARTMENT_BY_USER, &(user,));
    batch.delete_prefix(&PLACEMENT_BY_USER, &(user,));
    Ok(())
}

fn place(batch: &mut Batch, user: UserSerial, room: RoomSerial, comes: bool) {
    let record = PlacementRecord {
        comes,
        tries: 0,
        due_at: 0,
        failure: None,
    };
    batch.put(&PLACEMENT_BY_USER, &(user, room), &record);
}

/// Whether somebody follows a room into the one that came in its place: who is in it, or was still
/// to come. That ends then.
fn follows(
    latest: &Latest,
    batch: &mut Batch,
    user: UserSerial,
    old: RoomSerial,
) -> Result<bool, StoreError> {
    let waits = latest.get(&PLACEMENT_BY_USER, &(user, old))?;
    if let Some(placement) = &waits {
        batch.delete(&PLACEMENT_BY_USER, &(user, old));
        return Ok(placement.comes);
    }
    let membership = latest.get(&MEMBERSHIP_BY_USER, &(user, old))?;
    let membership = membership.map(|record| record.membership);
    Ok(matches!(
        membership,
        Some(Membership::Join | Membership::Invite)
    ))
}

impl Accounts {
    /// Makes a department.
    ///
    /// # Errors
    /// [`DepartmentError`].
    pub async fn create_department(&self, act: &Act, name: &str) -> Result<(), DepartmentError> {
        let (key, name) = (key_of(name)?, name.trim().to_owned());
        let (now, act) = (self.now(), act.clone());
        self.store()
            .commit(move |latest, _, batch| {
                if latest.contains(&DEPARTMENT_BY_NAME, &key)? {
                    return Err(DepartmentError::Exists(name));
                }
                let all = latest.scan(&DEPARTMENT_BY_NAME, &());
                if all.take(MAX_DEPARTMENTS).count() == MAX_DEPARTMENTS {
                    return Err(DepartmentError::TooMany("10,000 departments"));
                }
                let deed = act.did(Verb::DepartmentCreated).on(name.as_str());
                let record = DepartmentRecord {
                    name,
                    created_at: now,
                };
                batch.put(&DEPARTMENT_BY_NAME, &key, &record);
                Ok(audit::record(latest, batch, now, &[deed])?)
            })
            .await
    }

    /// Ends a department. Its people stay in its rooms.
    ///
    /// # Errors
    /// [`DepartmentError`].
    pub async fn delete_department(&self, act: &Act, name: &str) -> Result<(), DepartmentError> {
        let key = key_of(name)?;
        let (now, act) = (self.now(), act.clone());
        self.store()
            .commit(move |latest, _, batch| {
                let record = known(latest, &key)?;
                for row in latest.scan(&MEMBER_BY_DEPARTMENT, &(key.clone(),)) {
                    let ((_, user), _) = row?;
                    batch.delete(&DEPARTMENT_BY_USER, &(user, key.clone()));
                }
                batch.delete_prefix(&MEMBER_BY_DEPARTMENT, &(key.clone(),));
                batch.delete_prefix(&ROOM_BY_DEPARTMENT, &(key.clone(),));
                batch.delete(&DEPARTMENT_BY_NAME, &key);
                let deed = act.did(Verb::DepartmentDeleted).on(record.name);
                Ok(audit::record(latest, batch, now, &[deed])?)
            })
            .await
    }

    /// Puts somebody into a department, or takes them out. Returns whether that changed
    /// anything. Where they belong then they come in the time after.
    ///
    /// # Errors
    /// [`DepartmentError`].
    pub async fn set_department_member(
        &self,
        act: &Act,
        name: &str,
        user: UserSerial,
        belongs: bool,
    ) -> Result<bool, DepartmentError> {
        let key = key_of(name)?;
        let (now, act) = (self.now(), act.clone());
        self.store()
            .commit(move |latest, _, batch| {
                let record = known(latest, &key)?;
                if belongs && !is_active(latest, user)? {
                    return Err(DepartmentError::NoAccount);
                }
                let before = keys_of(latest, user)?;
                let mut after = before.clone();
                let changes = match belongs {
                    true => after.insert(key),
                    false => after.remove(&key),
                };
                if !changes {
                    return Ok(false);
                }
                if after.len() > MAX_OF_PERSON {
                    return Err(DepartmentError::TooMany("50 departments of one person"));
                }
                replace(latest, batch, user, &after, now)?;
                let deed = audited::deed(latest, &act, Verb::DepartmentsChanged, user)?
                    .before(json!(before))
                    .after(json!({ "departments": after, "changed": record.name }));
                audit::record(latest, batch, now, &[deed])?;
                Ok(true)
            })
            .await
    }

    /// Gives a department a room, into which its people come in the time after, or takes one
    /// away, out of which those go who belong there for no other department. Returns whether
    /// that changed anything.
    ///
    /// # Errors
    /// [`DepartmentError`].
    pub async fn set_department_room(
        &self,
        act: &Act,
        name: &str,
        (room, room_id): (RoomSerial, String),
        belongs: bool,
    ) -> Result<bool, DepartmentError> {
        let key = key_of(name)?;
        let (now, act) = (self.now(), act.clone());
        self.store()
            .commit(move |latest, _, batch| {
                let record = known(latest, &key)?;
                let row = (key.clone(), room);
                if latest.contains(&ROOM_BY_DEPARTMENT, &row)? == belongs {
                    return Ok(false);
                }
                let verb = match belongs {
                    true => {
                        if rooms_of(latest, &key)?.len() >= MAX_ROOMS {
                            return Err(DepartmentError::TooMany("500 rooms of one department"));
                        }
                        let room = DepartmentRoomRecord {
                            since: now,
                            looked_at: Some(UserSerial(0)),
                            instead_of: None,
                        };
                        batch.put(&ROOM_BY_DEPARTMENT, &row, &room);
                        Verb::DepartmentRoomAdded
                    }
                    false => {
                        batch.delete(&ROOM_BY_DEPARTMENT, &row);
                        for member in latest.scan(&MEMBER_BY_DEPARTMENT, &(key.clone(),)) {
                            let ((_, user), _) = member?;
                            let mut others = keys_of(latest, user)?;
                            others.remove(&key);
                            if !rooms_of_all(latest, &others)?.contains(&room) {
                                place(batch, user, room, false);
                            }
                        }
                        Verb::DepartmentRoomRemoved
                    }
                };
                let deed = act.did(verb).on(record.name).within(room_id);
                audit::record(latest, batch, now, &[deed])?;
                Ok(true)
            })
            .await
    }

    /// Writes down for some more of the people of departments that have new rooms that they
    /// are to come there. Returns whether there are still more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn spread_departments(&self) -> Result<bool, StoreError> {
        let read = |view: &Snapshot| -> Result<Option<(String, RoomSerial)>, StoreError> {
            for row in view.scan(&ROOM_BY_DEPARTMENT, &()) {
                let (key, record) = row?;
                if record.looked_at.is_some() {
                    return Ok(Some(key));
                }
            }
            Ok(None)
        };
        let Some(row) = self.store().read_long(read).await? else {
            return Ok(false);
        };
        self.store()
            .commit(move |latest, _, batch| {
                let Some(mut record) = latest.get(&ROOM_BY_DEPARTMENT, &row)? else {
                    return Ok(true);
                };
                let Some(after) = record.looked_at else {
                    return Ok(true);
                };
                let from = (row.0.clone(), UserSerial(after.0.saturating_add(1)));
                record.looked_at = None;
                let people = latest.scan_from(&MEMBER_BY_DEPARTMENT, &(row.0.clone(),), &from);
                for (count, person) in people.take(AT_ONCE).enumerate() {
                    let ((_, user), _) = person?;
                    let follows = match record.instead_of {
                        Some(old) => follows(latest, batch, user, old)?,
                        None => true,
                    };
                    if follows {
                        place(batch, user, row.1, true);
                    }
                    record.looked_at = (count + 1 == AT_ONCE).then_some(user);
                }
                record.instead_of = record.instead_of.filter(|_| record.looked_at.is_some());
                batch.put(&ROOM_BY_DEPARTMENT, &row, &record);
                Ok(true)
            })
            .await
    }

    /// Notes what became of a placement: it is done, or what was in the way and when it is
    /// tried again. One that was written anew meanwhile stays.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn placed(
        &self,
        placement: Placement,
        again: Option<PlacementRecord>,
    ) -> Result<(), StoreError> {
        let key = (placement.user, placement.room);
        self.store()
            .commit_later(move |latest, _, batch| {
                if latest.get(&PLACEMENT_BY_USER, &key)? == Some(placement.record) {
                    match &again {
                        Some(record) => batch.put(&PLACEMENT_BY_USER, &key, record),
                        None => batch.delete(&PLACEMENT_BY_USER, &key),
                    }
                }
                Ok(())
            })
            .await
    }
}
