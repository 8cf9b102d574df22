//! Spaces, for servers whose people look at them (server-server API, "Spaces").

use rooms::Rooms;
use ruma_common::OwnedServerName;
use ruma_federation_api::space::get_hierarchy::v1 as hierarchy;
use store::Snapshot;
use web::{Part, RawJson, Reply, Routes, Server};

use crate::{ServerParts, answers};

pub(crate) fn routes() -> Routes<ServerParts> {
    Routes::new().on(hierarchy)
}

/// `GET /_matrix/federation/v1/hierarchy/{roomId}`
async fn hierarchy(
    Part(rooms): Part<Rooms>,
    caller: Server,
    request: hierarchy::Request,
) -> Reply<RawJson> {
    let server: OwnedServerName = (*caller).to_owned();
    let (room_id, suggested_only) = (request.room_id, request.suggested_only);
    let reader = rooms.clone();
    let read =
        move |view: &Snapshot| reader.served_hierarchy(view, &room_id, &server, suggested_only);
    let found = rooms.store().read_long(read).await?;
    Ok(answers::object(&[
        ("room", &found.room),
        ("children", &answers::list(&found.children)),
        (
            "inaccessible_children",
            &answers::texts(&found.inaccessible),
        ),
    ]))
}
