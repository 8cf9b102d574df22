//! Coming into a room with all that one had in the room that it replaces.

use accounts::Session;
use model::{UserSerial, tables};
use rooms::{AppendError, CreateRoom, ReadError};
use ruma_common::{OwnedRoomId, RoomId, RoomOrAliasId};
use store::{Read, Snapshot};

use crate::{Actions, sender};

impl Actions {
    /// Makes a room. Where it says that it replaces another, the creator's settings of that
    /// one hold for it too, as for those who come into it.
    ///
    /// # Errors
    /// [`AppendError`], as [`rooms::Rooms::create`].
    pub async fn create_room(
        &self,
        session: &Session,
        wish: CreateRoom,
    ) -> Result<OwnedRoomId, AppendError> {
        let replaces = wish.creation_content.contains_key("predecessor");
        let room_id = self.rooms.create(&sender(session), wish).await?;
        if replaces {
            self.take_settings_along(session, &room_id).await;
        }
        Ok(room_id)
    }

    /// Comes into a room. Where it replaces a room that the caller knows, the caller's
    /// tags, push rules and mark as a direct chat of that room hold for it too, from the
    /// first time on that the caller is there. `about` is as [`rooms::Rooms::join`] takes it.
    ///
    /// # Errors
    /// [`AppendError`], as [`rooms::Rooms::join`]. Settings that cannot be taken along do
    /// not keep anybody out.
    pub async fn join(
        &self,
        session: &Session,
        target: &RoomOrAliasId,
        about: &[u8],
    ) -> Result<OwnedRoomId, AppendError> {
        let (user, place) = (session.user, target.to_owned());
        let read = move |view: &Snapshot| was_there(view, user, &place);
        let comes_back = self.rooms.store().read(read).await?;
        let room_id = self.rooms.join(&sender(session), target, about).await?;
        if !comes_back {
            self.take_settings_along(session, &room_id).await;
        }
        Ok(room_id)
    }
}

/// Whether the user has been in the room at some time.
fn was_there(
    view: &Snapshot,
    user: UserSerial,
    target: &RoomOrAliasId,
) -> Result<bool, AppendError> {
    let room_id = match <&RoomId>::try_from(target) {
        Ok(room_id) => room_id.to_owned(),
        Err(alias) => match rooms::resolve_alias(view, alias) {
            Ok(room_id) => room_id,
            // That there is none is for the join to say.
            Err(ReadError::NotFound(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        },
    };
    let Some(room) = rooms::room_serial(view, room_id.as_str())? else {
        return Ok(false);
    };
    let record = view.get(&tables::MEMBERSHIP_BY_USER, &(user, room))?;
    Ok(record.is_some_and(|record| record.last_join > 0))
}
