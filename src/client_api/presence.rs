//! Who is there (client-server API, "Presence").

use ::rooms::{ReadError, Rooms};
use ruma_client_api::presence::{get_presence::v3 as get, set_presence::v3 as set};
use store::{Snapshot, Store};
use web::{Part, RawJson, Reply, Routes, User};

use crate::{ClientParts, answers, rooms::sender};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(get_presence).on(set_presence)
}

/// `GET /_matrix/client/v3/presence/{userId}/status`
async fn get_presence(
    Part(rooms): Part<Rooms>,
    Part(store): Part<Store>,
    caller: User,
    request: get::Request,
) -> Reply<RawJson> {
    let viewer = sender(&caller).viewer();
    let read = move |view: &Snapshot| rooms.presence(view, viewer, &request.user_id);
    let shown = store.read::<_, ReadError, _>(read).await?;
    Ok(answers::json(&shown.content()))
}

/// `PUT /_matrix/client/v3/presence/{userId}/status`
async fn set_presence(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: set::Request,
) -> Reply<set::Response> {
    caller.must_be(&request.user_id)?;
    rooms
        .set_presence(&sender(&caller), request.presence, request.status_msg)
        .await?;
    Ok(set::Response::new())
}
