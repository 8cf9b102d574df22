//! Who is typing (client-server API, "Typing Notifications").

use ::rooms::Rooms;
use ruma_client_api::typing::create_typing_event::v3::{self as typing, Typing};
use web::{Part, Reply, Routes, User};

use super::sender;
use crate::ClientParts;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(set_typing)
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`
async fn set_typing(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: typing::Request,
) -> Reply<typing::Response> {
    caller.must_be(&request.user_id)?;
    let (is_typing, timeout) = match request.state {
        Typing::Yes(info) => (true, Some(info.timeout)),
        Typing::No => (false, None),
    };
    rooms
        .set_typing(&sender(&caller), &request.room_id, is_typing, timeout)
        .await?;
    Ok(typing::Response::new())
}
