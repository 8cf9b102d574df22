//! Coming into a room with all that one had in the room that it replaces.

use accounts::Session;
use rooms::{AppendError, CreateRoom};
use ruma_common::{CanonicalJsonObject, OwnedRoomId, OwnedServerName, RoomOrAliasId};
use runtime::Boxed;
use store::Snapshot;

use crate::{Actions, HandshakeError, sender};

impl Actions {
    /// Makes a room. Where it says that it replaces another, the creator's settings of that
    /// one hold for it too, as for those who come into it. Users of other servers are invited
    /// when the room is made; who cannot be invited then is left out.
    ///
    /// # Errors
    /// [`AppendError`], as [`rooms::Rooms::create`].
    pub async fn create_room(
        &self,
        session: &Session,
        wish: CreateRoom,
    ) -> Result<OwnedRoomId, AppendError> {
        let replaces = wish.creation_content.contains_key("predecessor");
        let (elsewhere, is_direct) = (wish.invite.clone(), wish.is_direct);
        let room_id = self.rooms.create(&sender(session), wish).await?;
        let elsewhere = elsewhere.iter().filter(|user_id| !self.is_local(user_id));
        for user_id in elsewhere {
            let mut content = CanonicalJsonObject::new();
            content.insert("membership".to_owned(), "invite".to_owned().into());
            if is_direct {
                content.insert("is_direct".to_owned(), true.into());
            }
            let invited = self
                .invite_elsewhere(&sender(session), &room_id, user_id, content)
                .await;
            // The room is there: who made it sees who is not invited.
            if let Err(error) = invited {
                log::info!("{user_id} was not invited to {room_id}: {error}");
            }
        }
        if replaces {
            self.take_settings_along(session, &room_id).await;
        }
        Ok(room_id)
    }

    /// Comes into a room of this server, or of one of `via`. Where it replaces a room that the
    /// caller knows, the caller's tags, push rules and mark as a direct chat of that room hold
    /// for it too, from the first time on that the caller is there. `about` is as
    /// [`rooms::Rooms::join`] takes it.
    ///
    /// # Errors
    /// [`HandshakeError`]. Settings that cannot be taken along do not keep anybody out.
    pub fn join<'a>(
        &'a self,
        session: &'a Session,
        target: &'a RoomOrAliasId,
        via: &'a [OwnedServerName],
        about: &'a [u8],
    ) -> Boxed<'a, Result<OwnedRoomId, HandshakeError>> {
        Box::pin(self.come_in(session, target, via, about))
    }

    async fn come_in(
        &self,
        session: &Session,
        target: &RoomOrAliasId,
        via: &[OwnedServerName],
        about: &[u8],
    ) -> Result<OwnedRoomId, HandshakeError> {
        let (room_id, servers) = self.find_room(target, via).await?;
        let wanted = room_id.to_string();
        let read = move |view: &Snapshot| rooms::blocked(view, &wanted);
        if self.rooms.store().read(read).await?.is_some() {
            let text = "this room has been blocked on this server";
            return Err(AppendError::Forbidden(text.to_owned()).into());
        }
        let threshold = self.rooms.threshold(&room_id, session.user).await?;
        if threshold.is_here {
            self.join_here(session, &room_id, about).await?;
        } else {
            self.enter(session, &room_id, servers, about).await?;
        }
        if !threshold.comes_back && !threshold.replaces_none {
            self.take_settings_along(session, &room_id).await;
        }
        Ok(room_id)
    }
}
