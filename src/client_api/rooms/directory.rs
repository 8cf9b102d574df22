//! Whether a room stands in the public directory (client-server API, "Published
//! room directory").

use ::rooms::{Rooms, is_published};
use ruma_client_api::{
    directory::{get_room_visibility::v3 as get, set_room_visibility::v3 as set},
    room::Visibility,
};
use web::{Anonymous, Part, Reply, Routes, User};

use super::{creation::is_public, read, sender};
use crate::ClientParts;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(get_visibility).on(set_visibility)
}

/// `GET /_matrix/client/v3/directory/list/room/{roomId}`
async fn get_visibility(
    Part(rooms): Part<Rooms>,
    _: Anonymous,
    request: get::Request,
) -> Reply<get::Response> {
    let is_published = read(rooms, move |_, view| is_published(view, &request.room_id)).await?;
    Ok(get::Response::new(if is_published {
        Visibility::Public
    } else {
        Visibility::Private
    }))
}

/// `PUT /_matrix/client/v3/directory/list/room/{roomId}`
async fn set_visibility(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: set::Request,
) -> Reply<set::Response> {
    let published = is_public(&request.visibility)?;
    let sender = sender(&caller);
    rooms
        .set_published(&sender, &request.room_id, published)
        .await?;
    Ok(set::Response::new())
}
