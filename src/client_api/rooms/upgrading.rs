//! Replacing rooms (client-server API, "Room Upgrades").

use actions::Actions;
use ruma_client_api::room::upgrade_room::v3 as upgrade;
use web::{Part, Reply, Routes, User};

use crate::ClientParts;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(upgrade)
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
async fn upgrade(
    Part(actions): Part<Actions>,
    caller: User,
    request: upgrade::Request,
) -> Reply<upgrade::Response> {
    let replacement = actions
        .upgrade_room(
            &caller,
            &request.room_id,
            request.new_version.as_str(),
            request.additional_creators,
        )
        .await?;
    Ok(upgrade::Response::new(replacement))
}
