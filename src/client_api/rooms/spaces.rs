//! What rooms are, for those who may come in (client-server API, "Spaces", "Room
//! Summary").

use ::rooms::HierarchyRequest;
use actions::Actions;
use ruma_client_api::{room::get_summary::v1 as summary, space::get_hierarchy::v1 as hierarchy};
use web::{Part, RawJson, Reply, Routes, User};

use super::{answers, relations::limit};
use crate::ClientParts;

/// Rooms of a page when the client does not say.
const DEFAULT_LIMIT: usize = 50;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(get_hierarchy).on(get_summary)
}

/// `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`
async fn get_hierarchy(
    Part(actions): Part<Actions>,
    caller: User,
    request: hierarchy::Request,
) -> Reply<RawJson> {
    let wish = HierarchyRequest {
        suggested_only: request.suggested_only,
        max_depth: request.max_depth.map(u64::from),
        limit: limit(request.limit, DEFAULT_LIMIT)?,
        from: request.from,
    };
    let page = actions
        .hierarchy(&request.room_id, caller.user, &wish)
        .await?;
    let next = page.next.map(|next| answers::text(&next));
    let rooms = answers::array(&page.rooms);
    let mut fields = vec![("rooms", rooms.as_str())];
    fields.extend(next.as_deref().map(|next| ("next_batch", next)));
    Ok(answers::object(&fields))
}

/// `GET /_matrix/client/v1/room_summary/{roomIdOrAlias}`
async fn get_summary(
    Part(actions): Part<Actions>,
    caller: User,
    request: summary::Request,
) -> Reply<RawJson> {
    let summary = actions
        .room_summary(&request.room_id_or_alias, request.via, caller.user)
        .await?;
    Ok(RawJson(summary.into()))
}
