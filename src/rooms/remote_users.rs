//! Users of other servers, as those servers speak for them outside of events.

use model::{Membership, RoomSerial, UserSerial, tables};
use ruma_common::{RoomId, ServerName, UserId};
use store::Read;

use crate::{ReadError, acl_allows, room_serial, user_serial};

/// The room and the user, if `origin` may speak for this user there: it is the user's server,
/// the user is in the room, and the room takes part with it.
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
    let may = membership == Some(Membership::Join) && acl_allows(view, room, origin)?;
    Ok(may.then_some((room, user)))
}
