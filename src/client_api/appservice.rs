//! What application services alone may ask (application service API, "Client-Server API
//! Extensions").

use ::rooms::Rooms;
use delivery::Appservices;
use ruma_client_api::appservice::{
    request_ping::v1 as ping, set_room_visibility::v3 as set_visibility,
};
use web::{ApiError, Appservice, Part, Reply, Routes};

use crate::{ClientParts, rooms::is_public};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(ping).on(set_visibility)
}

/// `POST /_matrix/client/v1/appservice/{appserviceId}/ping`
async fn ping(
    Part(appservices): Part<Appservices>,
    caller: Appservice,
    request: ping::Request,
) -> Reply<ping::Response> {
    if request.appservice_id != caller.id() {
        return Err(ApiError::forbidden(
            "This is not the token of that application service.",
        ));
    }
    let transaction_id = request.transaction_id.as_ref().map(|id| id.as_str());
    let duration = appservices.ping(&caller, transaction_id).await?;
    Ok(ping::Response::new(duration))
}

/// `PUT /_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}`
async fn set_visibility(
    Part(rooms): Part<Rooms>,
    caller: Appservice,
    request: set_visibility::Request,
) -> Reply<set_visibility::Response> {
    let published = is_public(&request.visibility)?;
    rooms
        .set_published_in_network(
            caller.id(),
            &request.network_id,
            &request.room_id,
            published,
        )
        .await?;
    Ok(set_visibility::Response::new())
}
