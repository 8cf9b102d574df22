//! What administrators decide about rooms: that one is closed, how it is marked, who gets one that
//! nobody administers any more.

use audit::Verb;
use model::{ClosedRoomRecord, RoomSerial};
use rooms::{Marking, WantedMarking};
use ruma_common::{OwnedRoomId, UserId};
use serde_json::json;
use store::Snapshot;

use crate::{Actions, AdministrationError, Administrator, Right};

/// A room that nobody administers who is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbandonedRoom {
    /// Its place in the list: the next page begins behind it.
    pub room: RoomSerial,
    /// Its id.
    pub room_id: String,
    /// What it is called.
    pub name: Option<String>,
    /// How many are in it.
    pub joined: u64,
    /// Whether it is frozen.
    pub is_frozen: bool,
}

impl Actions {
    /// Closes a room: nobody of this server comes in or says anything there any more. Who is in it
    /// stays, and reads. Returns whether it was closed already.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn close_room(
        &self,
        by: &Administrator,
        room: &str,
    ) -> Result<bool, AdministrationError> {
        self.set_closed(by, room, true).await
    }

    /// Opens a closed room again. Returns whether it was closed.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn reopen_room(
        &self,
        by: &Administrator,
        room: &str,
    ) -> Result<bool, AdministrationError> {
        self.set_closed(by, room, false).await
    }

    async fn set_closed(
        &self,
        by: &Administrator,
        room: &str,
        is_closed: bool,
    ) -> Result<bool, AdministrationError> {
        by.must(Right::CloseRoom)?;
        let room = self.room_of(room).await?;
        let room_id = self.room_id_of(room).await?;
        let deed = by.act().did(Verb::RoomClosed).within(room_id.as_str());
        let deed = deed.before((!is_closed).into()).after(is_closed.into());
        let record = is_closed.then(|| ClosedRoomRecord {
            by: by.user_id(),
            at: self.clock.now().0,
            reason: by.act().reason.clone(),
        });
        let was = self.rooms.set_closed(room, record, deed).await?;
        log::info!(room_id = room_id.as_str(), is_closed; "a room was closed, or opened again");
        Ok(was)
    }

    /// The markings that rooms can have, the least protective first.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub fn markings(&self, by: &Administrator) -> Result<Vec<Marking>, AdministrationError> {
        by.must(Right::ListRooms)?;
        Ok(self.rooms.markings().to_vec())
    }

    /// Marks a room. With `puts_out`, those go out whom the marking keeps out; else it is refused
    /// as long as there are any. A lower marking must be meant (`lowers`), and needs a right and a
    /// reason.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn mark_room(
        &self,
        by: &Administrator,
        room: &str,
        marking: &str,
        puts_out: bool,
        lowers: bool,
    ) -> Result<OwnedRoomId, AdministrationError> {
        by.must(match lowers {
            true => Right::LowerMarking,
            false => Right::MarkRoom,
        })?;
        if lowers && by.act().reason.is_none() {
            return Err(AdministrationError::NoReason);
        }
        let serial = self.room_of(room).await?;
        let room_id = self.room_id_of(serial).await?;
        let read = move |view: &Snapshot| rooms::marking_of(view, serial);
        let before: Option<String> = self.rooms.store().read(read).await?;
        let rank = |name: &str| {
            let mut markings = self.rooms.markings().iter();
            markings.position(|marking| marking.name == name)
        };
        // One that the configuration does not know any more may have been any.
        let is_lower = before
            .as_deref()
            .is_some_and(|before| rank(marking) < rank(before) || rank(before).is_none());
        if is_lower && !lowers {
            return Err(AdministrationError::LowerMarking(
                before.unwrap_or_default(),
            ));
        }
        let (host, _, _) = self.host_of(serial).await?;
        let deed = by.act().did(Verb::RoomMarked).within(room_id.as_str());
        let deed = deed.before(json!({ "marking": before }));
        let deed = deed.after(json!({ "marking": marking, "puts_out": puts_out }));
        let wanted = WantedMarking {
            marking: marking.to_owned(),
            puts_out,
            reason: by.act().reason.clone(),
        };
        self.rooms.mark(serial, &host, wanted, deed).await?;
        log::info!(room_id = room_id.as_str(), marking, administrator = by.name(); "a room was marked");
        Ok(room_id)
    }

    /// Gives a room to a user of this server, who gets as much power there as somebody of this
    /// server has or had, and is invited if they are not in it. A frozen room is thawed.
    ///
    /// # Errors
    /// [`AdministrationError`]; [`AdministrationError::NoPower`] if nobody of this server
    /// administers the room, or did.
    pub async fn hand_over_room(
        &self,
        by: &Administrator,
        room: &str,
        user_id: &UserId,
    ) -> Result<OwnedRoomId, AdministrationError> {
        by.must(Right::TakeOverRoom)?;
        self.local(user_id).await?;
        let serial = self.room_of(room).await?;
        let room_id = self.room_id_of(serial).await?;
        let deed = by.act().did(Verb::RoomTakenOver).on(user_id.as_str());
        let deed = deed.within(room_id.as_str());
        let reason = by.act().reason.clone();
        let handed = self.rooms.hand_over(serial, user_id, reason, deed).await;
        handed.map_err(|error| match error {
            rooms::AppendError::NotFound(_) => AdministrationError::NoPower,
            other => other.into(),
        })?;
        Ok(room_id)
    }

    /// The rooms that nobody administers who is in them, behind a room.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn abandoned_rooms(
        &self,
        by: &Administrator,
        after: Option<RoomSerial>,
        limit: usize,
    ) -> Result<Vec<AbandonedRoom>, AdministrationError> {
        by.must(Right::ListRooms)?;
        let rooms = self.rooms.clone();
        let read = move |view: &Snapshot| -> Result<Vec<AbandonedRoom>, store::StoreError> {
            let mut found = Vec::new();
            for (room, room_id) in rooms.abandoned(view, after, limit)? {
                let overview = rooms::room_overview(view, room)?.unwrap_or_default();
                found.push(AbandonedRoom {
                    room,
                    room_id,
                    name: overview.name,
                    joined: overview.joined,
                    is_frozen: rooms::is_frozen(view, room)?,
                });
            }
            Ok(found)
        };
        Ok(self.rooms.store().read_long(read).await?)
    }
}
