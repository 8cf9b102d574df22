//! Departments, and how their people come into their rooms and go out of them: in the
//! background, one after the other, and on after a stop.

use std::time::Duration;

use accounts::{AccountSummary, Department, Placement, account_summary, placements};
use model::{PlacementRecord, RoomSerial, UserSerial};
use rooms::AppendError;
use ruma_common::{OwnedRoomId, OwnedUserId, RoomOrAliasId};
use runtime::Stop;
use store::{Snapshot, StoreError};

use crate::{
    Actions, AdministrationError, Administrator, HandshakeError, Right, person_changes::acting_as,
    sender,
};

/// How often it is looked whether somebody is to be tried again.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How many are brought in or taken out before it is looked anew.
const AT_ONCE: usize = 200;
/// The most rows that are looked at for those who are due.
const MOST_LOOKED_AT: usize = 20_000;
/// How long to wait after the first failure, in ms; twice as long after each other one.
const FIRST_PAUSE: u64 = 30_000;
/// How often the pause is doubled at most.
const MOST_DOUBLED: u32 = 10;
/// The most departments in one answer.
const MOST_DEPARTMENTS: usize = 1_000;
/// The most people in one answer.
const MOST_PEOPLE: usize = 1_000;

/// A department with some of its people and all of its rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownDepartment {
    /// The department.
    pub department: Department,
    /// Its rooms, by their ids.
    pub rooms: Vec<String>,
    /// Some of its people.
    pub people: Vec<OwnedUserId>,
    /// Behind whom there are more.
    pub next: Option<UserSerial>,
    /// Of those who are still to come or to go, the ones where something is in the way.
    pub waiting: Vec<WaitingPlacement>,
}

/// Somebody who could not be brought into a room, or out of it, so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingPlacement {
    /// Who.
    pub user_id: String,
    /// Which room.
    pub room_id: String,
    /// Whether they are to come.
    pub comes: bool,
    /// What is in the way.
    pub failure: Option<String>,
}

impl Actions {
    /// Makes a department.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn create_department(
        &self,
        by: &Administrator,
        name: &str,
    ) -> Result<(), AdministrationError> {
        by.must(Right::ChangeDepartments)?;
        self.accounts.create_department(by.act(), name).await?;
        log::info!("a department was made");
        Ok(())
    }

    /// Ends a department. Its people stay where they are.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn delete_department(
        &self,
        by: &Administrator,
        name: &str,
    ) -> Result<(), AdministrationError> {
        by.must(Right::ChangeDepartments)?;
        self.accounts.delete_department(by.act(), name).await?;
        log::info!("a department was ended");
        Ok(())
    }

    /// A part of the departments in the order of their names, behind that one.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn departments(
        &self,
        by: &Administrator,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Department>, AdministrationError> {
        by.must(Right::ListDepartments)?;
        let limit = limit.min(MOST_DEPARTMENTS);
        let read =
            move |view: &Snapshot| accounts::departments_after(view, after.as_deref(), limit);
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// One department, with a part of its people, behind that one.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn department(
        &self,
        by: &Administrator,
        name: &str,
        after: Option<UserSerial>,
        limit: usize,
    ) -> Result<ShownDepartment, AdministrationError> {
        by.must(Right::ListDepartments)?;
        let (name, limit) = (name.to_owned(), limit.min(MOST_PEOPLE));
        let read = move |view: &Snapshot| shown(view, &name, after, limit);
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// Puts somebody into a department, or takes them out. Into its rooms they come, and out of
    /// them they go, in the time after. Returns whether that changed anything.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn set_department_member(
        &self,
        by: &Administrator,
        name: &str,
        user: &str,
        belongs: bool,
    ) -> Result<bool, AdministrationError> {
        by.must(Right::PlacePeople)?;
        let found = self.user(user).await?;
        let changed = self
            .accounts
            .set_department_member(by.act(), name, found.user, belongs)
            .await?;
        self.placements.notify_one();
        log::info!(user_id = found.user_id.as_str(), belongs; "the departments of a person changed");
        Ok(changed)
    }

    /// Gives a department a room or a space, or takes one away. Its people come in, or go, in
    /// the time after. Returns the room's id and whether that changed anything.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn set_department_room(
        &self,
        by: &Administrator,
        name: &str,
        room: &str,
        belongs: bool,
    ) -> Result<(OwnedRoomId, bool), AdministrationError> {
        by.must(Right::ChangeDepartments)?;
        let serial = self.room_of(room).await?;
        let room_id = self.room_id_of(serial).await?;
        let named = (serial, room_id.to_string());
        let changed = self
            .accounts
            .set_department_room(by.act(), name, named, belongs)
            .await?;
        self.placements.notify_one();
        log::info!(room_id = room_id.as_str(), belongs; "the rooms of a department changed");
        Ok((room_id, changed))
    }

    /// Brings people into the rooms of their departments, and takes them out of those of others,
    /// until the server stops.
    pub async fn place_people(&self, stop: Stop) {
        loop {
            let placed = tokio::select! {
                () = stop.stopped() => return,
                placed = self.place_some() => placed,
            };
            match placed {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => log::error!("people were not brought into rooms: {error}"),
            }
            tokio::select! {
                () = stop.stopped() => return,
                () = self.placements.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Some of what is to be done. Returns whether there may be more of it now.
    async fn place_some(&self) -> Result<bool, StoreError> {
        while self.accounts.spread_departments().await? {}
        let now = self.clock.now().0;
        let read = move |view: &Snapshot| placements(view, MOST_LOOKED_AT);
        let mut due: Vec<Placement> = self.rooms.store().read_long(read).await?;
        due.retain(|placement| placement.record.due_at <= now);
        let is_more = due.len() > AT_ONCE;
        for placement in due.into_iter().take(AT_ONCE) {
            let failure = self.place(&placement).await?;
            let again = failure.map(|failure| again(&placement.record, failure, now));
            self.accounts.placed(placement, again).await?;
        }
        Ok(is_more)
    }

    /// Brings somebody in or takes somebody out. Returns what was in the way.
    async fn place(&self, placement: &Placement) -> Result<Option<String>, StoreError> {
        let (user, room) = (placement.user, placement.room);
        let read = move |view: &Snapshot| -> Result<Option<_>, StoreError> {
            let user_id = model::user_id(view, user)?;
            let Some(user_id) = user_id.and_then(|id| OwnedUserId::try_from(id).ok()) else {
                return Ok(None);
            };
            let room_id = model::room_id(view, room)?;
            let room_id = room_id.and_then(|id| OwnedRoomId::try_from(id).ok());
            Ok(account_summary(view, &user_id)?.zip(room_id))
        };
        let found: Option<(AccountSummary, OwnedRoomId)> = self.rooms.store().read(read).await?;
        let Some((found, room_id)) =
            found.filter(|(found, _)| found.account.deactivated_at.is_none())
        else {
            return Ok(None);
        };
        let done = match placement.record.comes {
            true => self.bring_in_member(&found, room, &room_id).await,
            false => self.take_out_member(&found, &room_id).await,
        };
        match done {
            Ok(()) => Ok(None),
            Err(AdministrationError::Store(error))
            | Err(AdministrationError::Room(AppendError::Store(error)))
            | Err(AdministrationError::Entry(HandshakeError::Append(AppendError::Store(error)))) => {
                Err(error)
            }
            Err(error) => Ok(Some(error.to_string())),
        }
    }

    async fn bring_in_member(
        &self,
        found: &AccountSummary,
        room: RoomSerial,
        room_id: &OwnedRoomId,
    ) -> Result<(), AdministrationError> {
        if self.rooms.is_in(room, &found.user_id).await? {
            return Ok(());
        }
        let session = acting_as(found);
        let target = <&RoomOrAliasId>::from(&**room_id);
        if self.join(&session, target, &[], b"{}").await.is_ok() {
            return Ok(());
        }
        // Not without an invitation.
        let (host, _, _) = self.host_of(room).await?;
        self.rooms
            .invite(&host, room_id, &found.user_id, None)
            .await?;
        self.join(&session, target, &[], b"{}").await?;
        Ok(())
    }

    async fn take_out_member(
        &self,
        found: &AccountSummary,
        room_id: &OwnedRoomId,
    ) -> Result<(), AdministrationError> {
        let who = sender(&acting_as(found));
        match self.rooms.leave(&who, room_id, None).await {
            // Who is not there need not go.
            Ok(()) | Err(AppendError::Forbidden(_) | AppendError::UnknownRoom) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn again(before: &PlacementRecord, failure: String, now: u64) -> PlacementRecord {
    let pause = FIRST_PAUSE << before.tries.min(MOST_DOUBLED);
    PlacementRecord {
        comes: before.comes,
        tries: before.tries.saturating_add(1),
        due_at: now.saturating_add(pause),
        failure: Some(failure),
    }
}

fn shown(
    view: &Snapshot,
    name: &str,
    after: Option<UserSerial>,
    limit: usize,
) -> Result<ShownDepartment, accounts::DepartmentError> {
    let department = accounts::department(view, name)?;
    let people = accounts::people_of_department(view, name, after, limit)?;
    let next = (people.len() == limit)
        .then(|| people.last().copied())
        .flatten();
    let mut user_ids = Vec::with_capacity(people.len());
    for user in people {
        let user_id = model::user_id(view, user)?;
        user_ids.extend(user_id.and_then(|id| OwnedUserId::try_from(id).ok()));
    }
    let mut rooms = Vec::with_capacity(department.rooms.len());
    for room in &department.rooms {
        rooms.extend(model::room_id(view, *room)?);
    }
    let mut waiting = Vec::new();
    for placement in placements(view, MOST_LOOKED_AT)? {
        let is_here = department.rooms.contains(&placement.room);
        if is_here && waiting.len() < limit {
            waiting.push(WaitingPlacement {
                user_id: model::user_id(view, placement.user)?.unwrap_or_default(),
                room_id: model::room_id(view, placement.room)?.unwrap_or_default(),
                comes: placement.record.comes,
                failure: placement.record.failure,
            });
        }
    }
    Ok(ShownDepartment {
        department,
        rooms,
        people: user_ids,
        next,
        waiting,
    })
}
