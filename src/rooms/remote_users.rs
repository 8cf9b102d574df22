//! Users of other servers, as those servers speak for them outside of events.

use model::{Membership, RoomSerial, UserSerial, intern_user, tables};
use ruma_common::{OwnedRoomId, OwnedUserId, RoomId, ServerName, UserId};
use store::{Latest, Read, StoreError};

use crate::{ReadError, Rooms, acl_allows, is_partial, is_server_in, room_serial, user_serial};

/// The room and the user, if `origin` may speak for this user there: it is the user's server,
/// the user is in the room as far as that is known, and the room takes part with it.
pub(crate) fn speaker(
    view: &impl Read,
    origin: &ServerName,
    room_id: &RoomId,
    user_id: &UserId,
) -> Result<Option<(RoomSerial, UserSerial)>, ReadError> {
    if user_id.server_name() != origin {
        return Ok(None);
    }
    let (Some(room), Some(user)) = (
        room_serial(view, room_id.as_str())?,
        user_serial(view, user_id.as_str())?,
    ) else {
        return Ok(None);
    };
    let membership = view.get(&tables::MEMBER_BY_ROOM, &(room, user))?;
    let is_there = match membership {
        Some(membership) => membership == Membership::Join,
        None => may_be_there(view, room, origin)?,
    };
    let may = is_there && acl_allows(view, room, origin)?;
    Ok(may.then_some((room, user)))
}

/// Whether somebody of a server of whom nothing is known may be in a room: its members are
/// not all known, and some are of that server.
fn may_be_there(
    view: &impl Read,
    room: RoomSerial,
    origin: &ServerName,
) -> Result<bool, StoreError> {
    Ok(is_partial(view, room)? && is_server_in(view, room, origin.as_str())?)
}

impl Rooms {
    /// Makes users known of whom a server speaks in rooms whose members are not all known.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn meet_speakers(
        &self,
        origin: &ServerName,
        spoken: Vec<(OwnedRoomId, OwnedUserId)>,
    ) -> Result<(), ReadError> {
        let origin = origin.to_owned();
        let find = move |latest: &Latest| {
            let mut strangers = Vec::new();
            for (room_id, user_id) in spoken {
                if user_id.server_name() == origin
                    && user_serial(latest, user_id.as_str())?.is_none()
                    && let Some(room) = room_serial(latest, room_id.as_str())?
                    && may_be_there(latest, room, &origin)?
                {
                    strangers.push(user_id);
                }
            }
            strangers.sort();
            strangers.dedup();
            Ok::<_, ReadError>(strangers)
        };
        let store = &self.inner.store;
        let strangers = store.prepare(find).await?;
        if strangers.is_empty() {
            return Ok(());
        }
        let serials: Vec<u64> = strangers.iter().map(|_| store.next_serial()).collect();
        store
            .commit_later(move |latest, _, batch| {
                for (user_id, serial) in strangers.iter().zip(serials) {
                    intern_user(latest, batch, user_id.as_str(), serial)?;
                }
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(())
    }
}
