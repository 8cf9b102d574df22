//! What rooms are, for those who may come in (client-server API, "Spaces", "Room
//! Summary").

use ::rooms::{HierarchyRequest, Rooms};
use ruma_client_api::{room::get_summary::v1 as summary, space::get_hierarchy::v1 as hierarchy};
use web::{Part, RawJson, Reply, Routes, User};

use super::{answers, read, read_long, relations::limit};
use crate::ClientParts;

/// Rooms of a page when the client does not say.
const DEFAULT_LIMIT: usize = 50;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(get_hierarchy).on(get_summary)
}

/// `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`
async fn get_hierarchy(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: hierarchy::Request,
) -> Reply<RawJson> {
    let wish = HierarchyRequest {
        suggested_only: request.suggested_only,
        max_depth: request.max_depth.map(u64::from),
        limit: limit(request.limit, DEFAULT_LIMIT)?,
        from: request.from,
    };
    let user = caller.user;
    let page = read_long(rooms, move |rooms, view| {
        rooms.hierarchy(view, &request.room_id, user, &wish)
    })
    .await?;
    let next = page.next.map(|next| answers::text(&next));
    let rooms = answers::array(&page.rooms);
    let mut fields = vec![("rooms", rooms.as_str())];
    fields.extend(next.as_deref().map(|next| ("next_batch", next)));
    Ok(answers::object(&fields))
}

/// `GET /_matrix/client/v1/room_summary/{roomIdOrAlias}`
async fn get_summary(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: summary::Request,
) -> Reply<RawJson> {
    let user = caller.user;
    let summary = read(rooms, move |rooms, view| {
        rooms.room_summary(view, &request.room_id_or_alias, user)
    })
    .await?;
    Ok(RawJson(summary.into()))
}
