//! What administrators of the server have done in rooms in the names of others, told to the audit
//! trail in the same commit.

use audit::Deed;
use model::{ClosedRoomRecord, Membership, RoomSerial, tables};
use ruma_common::{RoomId, UserId};
use store::{Latest, Read};

use crate::{
    AppendError, Rooms, Sender, append::Plan, membership::member_event, profile, rows::Extra,
    staging::Staging, user_serial,
};

impl Rooms {
    /// Brings events into a room by an administrator's will, with what the audit trail is told.
    pub(crate) async fn administer(
        &self,
        room: RoomSerial,
        sender: &Sender,
        deed: Deed,
        plan: impl FnOnce(&Latest, &mut Staging) -> Result<Plan, AppendError> + Send + 'static,
    ) -> Result<(), AppendError> {
        let now = self.inner.clock.now().0;
        let extra =
            Extra::rows(move |latest, _, batch| Ok(audit::record(latest, batch, now, &[deed])?));
        let written = self.append_beside(room, sender, None, extra, plan).await?.1;
        match written {
            Some(written) => Ok(written.durable().await?),
            None => self.wait_for_earlier().await,
        }
    }

    /// Takes a user of this server out of a room, in their own name.
    ///
    /// # Errors
    /// [`AppendError::NotFound`] if they have nothing to do with it.
    pub async fn take_out(
        &self,
        who: &Sender,
        room_id: &RoomId,
        reason: Option<String>,
        deed: Deed,
    ) -> Result<(), AppendError> {
        let room = self.room(room_id).await?;
        let user_id = who.user_id.clone();
        let plan = move |latest: &Latest, staging: &mut Staging| {
            let before = staging.membership(latest, &user_id)?;
            let is_in = matches!(
                before,
                Some(Membership::Join | Membership::Invite | Membership::Knock)
            );
            if !is_in {
                let text = format!("{user_id} is not in this room");
                return Err(AppendError::NotFound(text));
            }
            let content = profile::membership("leave", reason);
            Ok(Plan::event(member_event(&user_id, content)))
        };
        self.administer(room, who, deed, plan).await?;
        self.inner.typing.stop(room, who.user);
        Ok(())
    }

    /// Brings a user of this server into a room that this server takes part in: at once where they
    /// may come in, else invited by `host`. Returns whether they are in; if not, it is for the
    /// way into restricted rooms to let them in.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn bring_in(
        &self,
        who: &Sender,
        host: Option<&Sender>,
        room_id: &RoomId,
        reason: Option<String>,
        deed: Deed,
    ) -> Result<(), AppendError> {
        let room = self.room(room_id).await?;
        let (rooms, who_in, host) = (self.clone(), who.clone(), host.cloned());
        let plan = move |latest: &Latest, staging: &mut Staging| {
            let user_id = &who_in.user_id;
            if staging.membership(latest, user_id)? == Some(Membership::Join) {
                return Ok(Plan::Nothing(None));
            }
            let mut content = profile::membership("join", reason.clone());
            rooms
                .complete_member(latest, staging, &who_in, user_id, &mut content)
                .or_else(|error| match error {
                    AppendError::Store(error) => Err(AppendError::Store(error)),
                    // An invitation lets them in.
                    _ => Ok(()),
                })?;
            let join = member_event(user_id, content);
            match staging.stage(&rooms, latest, &who_in, join.clone()) {
                Ok(()) => return Ok(Plan::Events(Vec::new())),
                Err(AppendError::Store(error)) => return Err(error.into()),
                Err(error) => match &host {
                    Some(host) => invite(&rooms, latest, staging, host, user_id, reason)?,
                    None => return Err(error),
                },
            }
            staging.stage(&rooms, latest, &who_in, join)?;
            Ok(Plan::Events(Vec::new()))
        };
        self.administer(room, who, deed, plan).await?;
        self.show_presence_again(who.user);
        Ok(())
    }

    /// The same of somebody who goes out of a room that is being removed: the audit trail is told
    /// of that, and of each membership.
    pub(crate) async fn bring_in_unaudited(
        &self,
        who: &Sender,
        host: &Sender,
        room_id: &RoomId,
    ) -> Result<(), AppendError> {
        let room = self.room(room_id).await?;
        let (rooms, who_in, host) = (self.clone(), who.clone(), host.clone());
        let plan = move |latest: &Latest, staging: &mut Staging| {
            let user_id = &who_in.user_id;
            staging.is_administered = true;
            if staging.membership(latest, user_id)? == Some(Membership::Join) {
                return Ok(Plan::Nothing(None));
            }
            invite(&rooms, latest, staging, &host, user_id, None)?;
            let mut content = profile::membership("join", None);
            profile::add(latest, who_in.user, &mut content)?;
            Ok(Plan::event(member_event(user_id, content)))
        };
        self.append_with(room, who, None, plan).await?;
        Ok(())
    }

    /// Closes a room, or opens it again: while it is closed, nobody of this server comes in or
    /// says anything there, and nothing is shown of what people of other servers say. `deed` is
    /// what the audit trail is told. Returns whether it was closed.
    ///
    /// # Errors
    /// [`AppendError::UnknownRoom`]; if the database fails.
    pub async fn set_closed(
        &self,
        room: RoomSerial,
        closed: Option<ClosedRoomRecord>,
        deed: Deed,
    ) -> Result<bool, AppendError> {
        let now = self.inner.clock.now().0;
        self.inner
            .store
            .commit(move |latest, _, batch| {
                if !latest.contains(&tables::HEAD_BY_ROOM, &room)? {
                    return Err(AppendError::UnknownRoom);
                }
                let was = latest.contains(&tables::CLOSED_ROOM, &room)?;
                if was == closed.is_some() {
                    return Ok(was);
                }
                match closed {
                    Some(closed) => batch.put(&tables::CLOSED_ROOM, &room, &closed),
                    None => batch.delete(&tables::CLOSED_ROOM, &room),
                }
                audit::record(latest, batch, now, &[deed])?;
                Ok(was)
            })
            .await
    }
}

fn invite(
    rooms: &Rooms,
    latest: &Latest,
    staging: &mut Staging,
    host: &Sender,
    target: &UserId,
    reason: Option<String>,
) -> Result<(), AppendError> {
    let mut content = profile::membership("invite", reason);
    if let Some(user) = user_serial(latest, target.as_str())? {
        profile::add(latest, user, &mut content)?;
    }
    staging.stage(rooms, latest, host, member_event(target, content))
}
