//! What administrators do with rooms.

use accounts::Session;
use audit::Verb;
use graph::PowerLevel;
use model::{BlockedRoomRecord, Membership, RoomSerial, tables};
use rooms::{
    AppendError, RoomOverview, RoomsPage, RoomsQuery, Sender, joined_of_room, most_powerful_here,
    room_overview, state_of_room,
};
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, RoomOrAliasId, UserId};
use serde_json::Value;
use store::{Read, Snapshot, StoreError};

use crate::{Actions, AdministrationError, Administrator, Right, person_changes::acting_as};

impl Actions {
    /// A part of the list of rooms.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn rooms_page(
        &self,
        by: &Administrator,
        query: RoomsQuery,
    ) -> Result<RoomsPage, AdministrationError> {
        by.must(Right::ListRooms)?;
        let read = move |view: &Snapshot| rooms::rooms_page(view, &query);
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// What is told of one room.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn room_overview(
        &self,
        by: &Administrator,
        room: &str,
    ) -> Result<RoomOverview, AdministrationError> {
        by.must(Right::ListRooms)?;
        let (room, typed) = (self.room_of(room).await?, room.to_owned());
        let read = move |view: &Snapshot| room_overview(view, room);
        let found: Option<RoomOverview> = self.rooms.store().read_long(read).await?;
        found.ok_or(AdministrationError::UnknownRoom(typed))
    }

    /// How many devices those of this server have together who are in a room.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn devices_in(
        &self,
        by: &Administrator,
        room: &str,
    ) -> Result<usize, AdministrationError> {
        by.must(Right::ListRooms)?;
        let room = self.room_of(room).await?;
        let read = move |view: &Snapshot| -> Result<usize, StoreError> {
            let mut of_users = view.walker(&tables::DEVICE_BY_USER);
            let mut devices = 0;
            for row in view.scan(&tables::MEMBER_BY_ROOM, &(room,)) {
                let ((_, user), membership) = row?;
                // Those of other servers have none here.
                if membership == Membership::Join {
                    devices += of_users.under(&(user,))?.len();
                }
            }
            Ok(devices)
        };
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// Those who are in a room.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn members_of(
        &self,
        by: &Administrator,
        room: &str,
    ) -> Result<Vec<OwnedUserId>, AdministrationError> {
        by.must(Right::ListRooms)?;
        let room = self.room_of(room).await?;
        let read = move |view: &Snapshot| joined_of_room(view, room);
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// A room's current state, of one event type or all of it.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn state_of(
        &self,
        by: &Administrator,
        room: &str,
        event_type: Option<String>,
    ) -> Result<Vec<Value>, AdministrationError> {
        by.must(Right::ReadState)?;
        let room = self.room_of(room).await?;
        let read = move |view: &Snapshot| state_of_room(view, room, event_type.as_deref());
        Ok(self.rooms.store().read_long(read).await?)
    }

    /// One event as it was signed. That somebody read it is told to the audit trail: it may be
    /// what people wrote to each other.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn event_for(
        &self,
        by: &Administrator,
        event_id: &str,
    ) -> Result<Value, AdministrationError> {
        by.must(Right::ReadEvents)?;
        let wanted = event_id.to_owned();
        let read = move |view: &Snapshot| -> Result<Option<(Value, String)>, StoreError> {
            let Some(serial) = view.get(&tables::EVENT_BY_ID, &wanted)? else {
                return Ok(None);
            };
            let Some(stored) = view.get(&tables::EVENT_BY_SERIAL, &serial)? else {
                return Ok(None);
            };
            let room_id = model::room_id(view, stored.room)?.unwrap_or_default();
            let event: Option<Value> = serde_json::from_slice(&stored.json).ok();
            Ok(event.map(|event| (event, room_id)))
        };
        let found: Option<(Value, String)> = self.rooms.store().read(read).await?;
        let unknown = || AdministrationError::UnknownEvent(event_id.to_owned());
        let (mut event, room_id) = found.ok_or_else(unknown)?;
        let deed = by.act().did(Verb::EventRead).on(event_id).within(room_id);
        self.tell(deed).await?;
        event["event_id"] = event_id.into();
        Ok(event)
    }

    /// Who has blocked a room, if it is.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn blocked(
        &self,
        by: &Administrator,
        room_id: &RoomId,
    ) -> Result<Option<BlockedRoomRecord>, AdministrationError> {
        by.must(Right::ListRooms)?;
        let room_id = room_id.to_string();
        let read = move |view: &Snapshot| rooms::blocked(view, &room_id);
        Ok(self.rooms.store().read(read).await?)
    }

    /// Lets nobody of this server come into a room, or lets them again. Who is in it stays.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn block_room(
        &self,
        by: &Administrator,
        room_id: &RoomId,
        is_blocked: bool,
    ) -> Result<(), AdministrationError> {
        by.must(Right::BlockRoom)?;
        let deed = by.act().did(Verb::RoomBlocked).within(room_id.as_str());
        let deed = deed.before((!is_blocked).into()).after(is_blocked.into());
        self.rooms
            .set_blocked(room_id.as_str(), by.user_id(), is_blocked, deed)
            .await?;
        log::info!(room_id = room_id.as_str(), is_blocked; "a room was blocked, or not any more");
        Ok(())
    }

    /// Brings a user of this server into a room of this server: invited by somebody who may,
    /// where one needs that.
    ///
    /// Where another server has to let them in, the audit trail is told before that one is asked:
    /// once it has said yes it counts them in, whatever becomes of the commit here. Whether they
    /// came in is told as every change of a membership is.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn add_member(
        &self,
        by: &Administrator,
        room: &RoomOrAliasId,
        user_id: &UserId,
    ) -> Result<OwnedRoomId, AdministrationError> {
        by.must(Right::ChangeMembers)?;
        let user = self.local(user_id).await?;
        let serial = self.room_of(room.as_str()).await?;
        let room_id = self.room_id_of(serial).await?;
        let deed = by.act().did(Verb::MemberAdded).on(user_id.as_str());
        let deed = deed.within(room_id.as_str());
        let host = match self.host_of(serial).await {
            Ok((host, _, _)) => host,
            // Nobody of this server is in it: another server has to let them in.
            Err(AdministrationError::NoPower) => {
                self.tell(deed).await?;
                let target = <&RoomOrAliasId>::from(&*room_id);
                return Ok(self.join(&user, target, &[], b"{}").await?);
            }
            Err(error) => return Err(error),
        };
        let (who, reason) = (crate::sender(&user), by.act().reason.clone());
        self.rooms
            .bring_in(&who, Some(&host), &room_id, reason, deed)
            .await?;
        Ok(room_id)
    }

    /// Takes a user of this server out of a room, in their own name.
    ///
    /// # Errors
    /// [`AdministrationError`].
    pub async fn remove_member(
        &self,
        by: &Administrator,
        room: &str,
        user_id: &UserId,
    ) -> Result<(), AdministrationError> {
        by.must(Right::ChangeMembers)?;
        let user = self.local(user_id).await?;
        let room_id = self.room_id_of(self.room_of(room).await?).await?;
        let deed = by.act().did(Verb::MemberRemoved).on(user_id.as_str());
        let deed = deed.within(room_id.as_str());
        let reason = by.act().reason.clone();
        let who = crate::sender(&user);
        let out = self.rooms.take_out(&who, &room_id, reason, deed).await;
        out.map_err(|error| match error {
            AppendError::NotFound(text) => AdministrationError::NotFound(text),
            other => other.into(),
        })
    }

    /// Gives a user of this server as much power in a room as anybody of this server has or had
    /// there, and invites them if they are not in it: how an abandoned room is taken over.
    ///
    /// # Errors
    /// As [`Actions::hand_over_room`].
    pub async fn take_over_room(
        &self,
        by: &Administrator,
        room: &str,
        user_id: &UserId,
    ) -> Result<OwnedRoomId, AdministrationError> {
        self.hand_over_room(by, room, user_id).await
    }

    /// Of those of this server in a room the one with most power, in whose name the server acts
    /// there; their power, and how much changing levels needs.
    pub(crate) async fn host_of(
        &self,
        room: RoomSerial,
    ) -> Result<(Sender, PowerLevel, i64), AdministrationError> {
        let rooms = self.rooms.clone();
        let read = move |view: &Snapshot| -> Result<_, StoreError> {
            let Some((user_id, power, levels)) = most_powerful_here(&rooms, view, room)? else {
                return Ok(None);
            };
            let user = rooms::user_serial(view, user_id.as_str())?;
            let needed = levels.to_send_state("m.room.power_levels");
            Ok(user.map(|user| (user_id, user, power, needed)))
        };
        let found = self.rooms.store().read_long(read).await?;
        let (user_id, user, power, needed) = found.ok_or(AdministrationError::NoPower)?;
        let host = Sender {
            user_id,
            user,
            device: None,
            sent_at: None,
        };
        Ok((host, power, needed))
    }

    pub(crate) async fn local(&self, user_id: &UserId) -> Result<Session, AdministrationError> {
        if !self.accounts.is_local(user_id) {
            return Err(AdministrationError::NotLocal);
        }
        Ok(acting_as(&self.user(user_id.as_str()).await?))
    }

    /// The room that an administrator means, by its id or an alias.
    pub(crate) async fn room_of(&self, typed: &str) -> Result<RoomSerial, AdministrationError> {
        let wanted = typed.to_owned();
        let read = move |view: &Snapshot| -> Result<Option<RoomSerial>, StoreError> {
            let room_id = match ruma_common::RoomAliasId::parse(wanted.as_str()) {
                Ok(alias) => match rooms::resolve_alias(view, &alias) {
                    Ok(room_id) => room_id.to_string(),
                    Err(rooms::ReadError::Store(error)) => return Err(error),
                    Err(_) => return Ok(None),
                },
                Err(_) => wanted,
            };
            rooms::room_serial(view, &room_id)
        };
        let found: Option<RoomSerial> = self.rooms.store().read(read).await?;
        found.ok_or_else(|| AdministrationError::UnknownRoom(typed.to_owned()))
    }

    pub(crate) async fn room_id_of(
        &self,
        room: RoomSerial,
    ) -> Result<OwnedRoomId, AdministrationError> {
        let read = move |view: &Snapshot| model::room_id(view, room);
        let found: Option<String> = self.rooms.store().read(read).await?;
        found
            .and_then(|room_id| OwnedRoomId::try_from(room_id).ok())
            .ok_or_else(|| AppendError::UnknownRoom.into())
    }
}
