//! Reading in rooms (client-server API, "Getting events for a room", "Event
//! context").

use ::rooms::{
    ContextRequest, EventFilter, MembershipFilter, PageRequest, PlaceToken, RelationFilter, Rooms,
    StateFormat,
};
use ::sync::Sync;
use actions::Actions;
use model::Membership;
use ruma_client_api::{
    context::get_context::v3 as context,
    filter::{LazyLoadOptions, RoomEventFilter},
    membership::{get_member_events::v3 as members, joined_members::v3 as joined_members},
    message::get_message_events::v3 as messages,
    room::{get_event_by_timestamp::v1 as event_at_time, get_room_event::v3 as event},
    state::{
        get_state_event_for_key::v3::{self as state_event, StateEventFormat},
        get_state_events::v3 as state,
    },
};
use ruma_common::RoomId;
use ruma_events::room::member::MembershipState;
use serde::Deserialize;
use web::{ApiError, Part, QueryOf, RawJson, Reply, Routes, Tried, User, Wrong};

use super::{answers, read, read_long, sender};
use crate::ClientParts;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(messages)
        .on(context)
        .on(event)
        .on(state)
        .on(state_event)
        .on(members)
        .on(joined_members)
        .on(event_at_time)
}

/// `GET /_matrix/client/v3/rooms/{roomId}/messages`
async fn messages(
    Part(actions): Part<Actions>,
    Part(rooms): Part<Rooms>,
    Part(sync): Part<Sync>,
    caller: User,
    QueryOf(relations): QueryOf<RelationQuery>,
    Tried(request): Tried<messages::Request>,
) -> Reply<RawJson> {
    let request = match request {
        Ok(request) => request,
        Err(wrong) => return Err(forbidden_or(rooms, &caller, wrong).await),
    };
    let (room_id, filter) = (request.room_id, request.filter);
    let limit = filter
        .limit
        .map_or(request.limit, |most| request.limit.min(most));
    let wanted = PageRequest {
        from: place(&sync, &room_id, request.from.as_deref()).await?,
        to: place(&sync, &room_id, request.to.as_deref()).await?,
        direction: request.dir,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        lazy_load_members: loads_lazily(&filter),
        filter: EventFilter::from(&filter).with_relations(relations.parsed()?),
    };
    let viewer = sender(&caller).viewer();
    let page = actions.messages(&room_id, viewer, wanted).await?;
    // A client may compare it with what it sent.
    let start = request.from.unwrap_or_else(|| page.start.to_string());
    let (start, end) = (
        answers::text(&start),
        page.end.map(|end| answers::text(&end)),
    );
    let (chunk, state) = (answers::array(&page.chunk), answers::array(&page.state));
    let mut fields = vec![
        ("start", start.as_str()),
        ("chunk", &chunk),
        ("state", &state),
    ];
    fields.extend(end.as_deref().map(|end| ("end", end)));
    Ok(answers::object(&fields))
}

/// What is told of a wrong request: to those who may not look into the room, that alone.
async fn forbidden_or(rooms: Rooms, caller: &User, wrong: Wrong) -> ApiError {
    let room_id = wrong.arguments.first().map(RoomId::parse);
    let Some(Ok(room_id)) = room_id else {
        return wrong.error;
    };
    let viewer = sender(caller).viewer();
    let may_read = read(rooms, move |rooms, view| {
        rooms.may_read(view, &room_id, viewer)
    });
    match may_read.await {
        Ok(()) => wrong.error,
        Err(error) => error,
    }
}

/// The part of a filter that chooses events by their relations (MSC3874), which the typed
/// request does not know.
#[derive(Deserialize)]
struct RelationQuery {
    filter: Option<String>,
}

impl RelationQuery {
    fn parsed(&self) -> Result<RelationFilter, ApiError> {
        let Some(filter) = &self.filter else {
            return Ok(RelationFilter::default());
        };
        serde_json::from_str(filter)
            .map_err(|error| ApiError::invalid_param(format!("The filter is wrong: {error}.")))
    }
}

/// The place in a room's timeline that a token means: one of a page, or one of a sync.
pub(crate) async fn place(
    sync: &Sync,
    room_id: &RoomId,
    token: Option<&str>,
) -> Result<Option<PlaceToken>, ApiError> {
    let Some(token) = token else {
        return Ok(None);
    };
    if let Some(place) = PlaceToken::parse(token) {
        return Ok(Some(place));
    }
    if !::sync::is_sync_token(token) {
        return Err(ApiError::invalid_param(
            "The token is none of this server's.",
        ));
    }
    // An unknown room has no places; that is for the read after this to tell.
    let place = sync.place(room_id, token).await?;
    Ok(place.or(Some(PlaceToken::START)))
}

fn loads_lazily(filter: &RoomEventFilter) -> bool {
    matches!(filter.lazy_load_options, LazyLoadOptions::Enabled { .. })
}

/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`
async fn context(
    Part(rooms): Part<Rooms>,
    caller: User,
    QueryOf(relations): QueryOf<RelationQuery>,
    request: context::Request,
) -> Reply<RawJson> {
    let viewer = sender(&caller).viewer();
    let wanted = ContextRequest {
        limit: usize::try_from(request.limit).unwrap_or(usize::MAX),
        filter: EventFilter::from(&request.filter).with_relations(relations.parsed()?),
        lazy_load_members: loads_lazily(&request.filter),
    };
    let (room_id, event_id) = (request.room_id, request.event_id);
    let context = read_long(rooms, move |rooms, view| {
        rooms.context(view, &room_id, viewer, &event_id, &wanted)
    })
    .await?;
    Ok(answers::object(&[
        ("start", &answers::text(&context.start)),
        ("end", &answers::text(&context.end)),
        ("event", &context.event),
        ("events_before", &answers::array(&context.events_before)),
        ("events_after", &answers::array(&context.events_after)),
        ("state", &answers::array(&context.state)),
    ]))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`
async fn event(Part(rooms): Part<Rooms>, caller: User, request: event::Request) -> Reply<RawJson> {
    let viewer = sender(&caller).viewer();
    let event = read(rooms, move |rooms, view| {
        rooms.event(view, &request.room_id, viewer, &request.event_id)
    })
    .await?;
    Ok(RawJson(event.into()))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state`
async fn state(Part(rooms): Part<Rooms>, caller: User, request: state::Request) -> Reply<RawJson> {
    let viewer = sender(&caller).viewer();
    rooms
        .wait_until_whole(&request.room_id, viewer.user)
        .await?;
    let events = read_long(rooms, move |rooms, view| {
        rooms.state(view, &request.room_id, viewer)
    })
    .await?;
    Ok(RawJson(answers::array(&events).into()))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
async fn state_event(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: state_event::Request,
) -> Reply<RawJson> {
    let viewer = sender(&caller).viewer();
    let format = match request.format {
        StateEventFormat::Content => StateFormat::Content,
        StateEventFormat::Event => StateFormat::Event,
        _ => return Err(ApiError::invalid_param("The format is content or event.")),
    };
    let (room_id, state_key) = (request.room_id, request.state_key);
    let event_type = request.event_type.to_string();
    if rooms.is_late_state(&event_type, &state_key) {
        rooms.wait_until_whole(&room_id, viewer.user).await?;
    }
    let json = read(rooms, move |rooms, view| {
        rooms.state_event(view, &room_id, viewer, &event_type, &state_key, format)
    })
    .await?;
    Ok(RawJson(json.into()))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/members`
async fn members(
    Part(rooms): Part<Rooms>,
    Part(sync): Part<Sync>,
    caller: User,
    request: members::Request,
) -> Reply<RawJson> {
    let viewer = sender(&caller).viewer();
    let room_id = request.room_id;
    rooms.wait_until_whole(&room_id, viewer.user).await?;
    let at = place(&sync, &room_id, request.at.as_deref()).await?;
    let filter = MembershipFilter {
        membership: request.membership.as_ref().map(membership).transpose()?,
        not_membership: request
            .not_membership
            .as_ref()
            .map(membership)
            .transpose()?,
    };
    let events = read_long(rooms, move |rooms, view| {
        rooms.members(view, &room_id, viewer, at, filter)
    })
    .await?;
    Ok(answers::object(&[("chunk", &answers::array(&events))]))
}

fn membership(state: &MembershipState) -> Result<Membership, ApiError> {
    Membership::from_name(state.as_str())
        .ok_or_else(|| ApiError::invalid_param("There is no such membership."))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/joined_members`
async fn joined_members(
    Part(rooms): Part<Rooms>,
    caller: User,
    request: joined_members::Request,
) -> Reply<RawJson> {
    let viewer = sender(&caller).viewer();
    rooms
        .wait_until_whole(&request.room_id, viewer.user)
        .await?;
    let joined = read_long(rooms, move |rooms, view| {
        rooms.joined_members(view, &request.room_id, viewer)
    })
    .await?;
    Ok(answers::object(&[("joined", &joined)]))
}

/// `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`
async fn event_at_time(
    Part(actions): Part<Actions>,
    caller: User,
    request: event_at_time::Request,
) -> Reply<RawJson> {
    let viewer = sender(&caller).viewer();
    let (time, direction) = (request.ts.get().into(), request.dir);
    let event = actions
        .event_at_time(&request.room_id, viewer, time, direction)
        .await?;
    Ok(answers::object(&[
        ("event_id", &answers::text(&event.event_id)),
        ("origin_server_ts", &event.sent_at.to_string()),
    ]))
}
