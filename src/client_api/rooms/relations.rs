//! What relates to an event, and threads (client-server API, "Relationships API",
//! "Threading").

use ::rooms::{PlaceToken, RelationsPage, RelationsRequest, Rooms, ThreadsRequest, Viewer};
use ::sync::Sync;
use js_int::UInt;
use ruma_client_api::{
    relations::{
        get_relating_events::v1 as all, get_relating_events_with_rel_type::v1 as of_kind,
        get_relating_events_with_rel_type_and_event_type::v1 as of_kind_and_type,
    },
    threads::get_threads::v1::{self as threads, IncludeThreads},
};
use ruma_common::{EventId, RoomId, api::Direction};
use web::{ApiError, Part, RawJson, Reply, Routes, User};

use super::{answers, read_long, reading::place, sender};
use crate::ClientParts;

/// Events of a page when the client does not say.
const DEFAULT_LIMIT: usize = 50;
/// Threads of a page when the client does not say.
const DEFAULT_THREADS: usize = 20;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(relations)
        .on(relations_of_kind)
        .on(relations_of_kind_and_type)
        .on(threads)
}

/// The parts of a query that all requests for relations have.
struct Query {
    from: Option<String>,
    to: Option<String>,
    limit: Option<UInt>,
    direction: Direction,
    recurse: bool,
}

impl Query {
    /// What is asked, in the terms of the domain.
    async fn wish(
        &self,
        sync: &Sync,
        room_id: &RoomId,
        rel_type: Option<String>,
        event_type: Option<String>,
    ) -> Result<RelationsRequest, ApiError> {
        Ok(RelationsRequest {
            rel_type,
            event_type,
            from: place(sync, room_id, self.from.as_deref()).await?,
            to: place(sync, room_id, self.to.as_deref()).await?,
            direction: self.direction,
            limit: limit(self.limit, DEFAULT_LIMIT)?,
            recurse: self.recurse,
        })
    }

    fn answer(self, page: &RelationsPage) -> RawJson {
        let next = page.end.map(|end| answers::text(&end));
        // A page in the middle begins where the client said.
        let previous = self.from.map(|from| answers::text(&from));
        let depth = page.recursion_depth.map(|depth| depth.to_string());
        let chunk = answers::array(&page.chunk);
        let mut fields = vec![("chunk", chunk.as_str())];
        fields.extend(next.as_deref().map(|next| ("next_batch", next)));
        fields.extend(previous.as_deref().map(|from| ("prev_batch", from)));
        fields.extend(depth.as_deref().map(|depth| ("recursion_depth", depth)));
        answers::object(&fields)
    }
}

/// How many are wanted.
pub(super) fn limit(limit: Option<UInt>, default: usize) -> Result<usize, ApiError> {
    match limit.map(u64::from) {
        None => Ok(default),
        Some(0) => Err(ApiError::invalid_param("The limit is at least 1.")),
        Some(limit) => Ok(usize::try_from(limit).unwrap_or(usize::MAX)),
    }
}

async fn page(
    rooms: Rooms,
    viewer: Viewer,
    room_id: &RoomId,
    event_id: &EventId,
    wish: RelationsRequest,
) -> Result<RelationsPage, ApiError> {
    let (room_id, event_id) = (room_id.to_owned(), event_id.to_owned());
    read_long(rooms, move |rooms, view| {
        rooms.relations(view, &room_id, viewer, &event_id, &wish)
    })
    .await
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`
async fn relations(
    Part(rooms): Part<Rooms>,
    Part(sync): Part<Sync>,
    caller: User,
    request: all::Request,
) -> Reply<RawJson> {
    let query = Query {
        from: request.from,
        to: request.to,
        limit: request.limit,
        direction: request.dir,
        recurse: request.recurse,
    };
    let wish = query.wish(&sync, &request.room_id, None, None).await?;
    let viewer = sender(&caller).viewer();
    let page = page(rooms, viewer, &request.room_id, &request.event_id, wish).await?;
    Ok(query.answer(&page))
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}`
async fn relations_of_kind(
    Part(rooms): Part<Rooms>,
    Part(sync): Part<Sync>,
    caller: User,
    request: of_kind::Request,
) -> Reply<RawJson> {
    let query = Query {
        from: request.from,
        to: request.to,
        limit: request.limit,
        direction: request.dir,
        recurse: request.recurse,
    };
    let rel_type = Some(request.rel_type.to_string());
    let wish = query.wish(&sync, &request.room_id, rel_type, None).await?;
    let viewer = sender(&caller).viewer();
    let page = page(rooms, viewer, &request.room_id, &request.event_id, wish).await?;
    Ok(query.answer(&page))
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}`
async fn relations_of_kind_and_type(
    Part(rooms): Part<Rooms>,
    Part(sync): Part<Sync>,
    caller: User,
    request: of_kind_and_type::Request,
) -> Reply<RawJson> {
    let query = Query {
        from: request.from,
        to: request.to,
        limit: request.limit,
        direction: request.dir,
        recurse: request.recurse,
    };
    let rel_type = Some(request.rel_type.to_string());
    let event_type = Some(request.event_type.to_string());
    let wish = query
        .wish(&sync, &request.room_id, rel_type, event_type)
        .await?;
    let viewer = sender(&caller).viewer();
    let page = page(rooms, viewer, &request.room_id, &request.event_id, wish).await?;
    Ok(query.answer(&page))
}

/// `GET /_matrix/client/v1/rooms/{roomId}/threads`
async fn threads(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: threads::Request,
) -> Reply<RawJson> {
    let participated = match request.include {
        IncludeThreads::All => false,
        IncludeThreads::Participated => true,
        _ => return Err(ApiError::invalid_param("include is all or participated.")),
    };
    let unknown = || ApiError::invalid_param("The token is none of this server's.");
    let wish = ThreadsRequest {
        participated,
        from: match &request.from {
            Some(from) => Some(PlaceToken::parse(from).ok_or_else(unknown)?),
            None => None,
        },
        limit: limit(request.limit, DEFAULT_THREADS)?,
    };
    let viewer = sender(&caller).viewer();
    let page = read_long(rooms, move |rooms, view| {
        rooms.threads(view, &request.room_id, viewer, &wish)
    })
    .await?;
    let next = page.end.map(|end| answers::text(&end));
    let chunk = answers::array(&page.chunk);
    let mut fields = vec![("chunk", chunk.as_str())];
    fields.extend(next.as_deref().map(|next| ("next_batch", next)));
    Ok(answers::object(&fields))
}
