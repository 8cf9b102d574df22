//! The graph of a room, for servers that are in it (server-server API, "Retrieving events",
//! "Backfilling and retrieving missing events").

use js_int::UInt;
use rooms::{ReadError, Rooms, ServedRoom};
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedServerName};
use ruma_federation_api::{
    authorization::get_event_authorization::v1 as event_auth,
    backfill::get_backfill::v1 as backfill,
    event::{
        get_event::v1 as event, get_event_by_timestamp::v1 as event_at_time,
        get_missing_events::v1 as missing_events, get_room_state::v1 as state,
        get_room_state_ids::v1 as state_ids,
    },
};
use runtime::Clock;
use store::Snapshot;
use web::{Part, RawJson, Reply, Routes, Server};

use crate::{ServerParts, answers};

pub(crate) fn routes() -> Routes<ServerParts> {
    Routes::new()
        .on(event)
        .on(state)
        .on(state_ids)
        .on(event_auth)
        .on(backfill)
        .on(missing_events)
        .on(event_at_time)
}

/// Reads something of a room as the caller is given it.
async fn read<T: Send + 'static>(
    rooms: Rooms,
    caller: &Server,
    room_id: OwnedRoomId,
    read: impl FnOnce(&ServedRoom<'_, Snapshot>) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    let server: OwnedServerName = (**caller).to_owned();
    let store = rooms.store().clone();
    let reading = move |view: &Snapshot| read(&rooms.served(view, &room_id, &server)?);
    store.read_long(reading).await
}

/// An answer that consists of events, with who gives it and when.
fn pdus(rooms: &Rooms, clock: &Clock, pdus: &[String]) -> RawJson {
    answers::object(&[
        ("origin", &answers::text(rooms.server_name().as_str())),
        ("origin_server_ts", &clock.now().0.to_string()),
        ("pdus", &answers::list(pdus)),
    ])
}

/// `GET /_matrix/federation/v1/event/{eventId}`
async fn event(
    Part(rooms): Part<Rooms>,
    Part(clock): Part<Clock>,
    caller: Server,
    request: event::Request,
) -> Reply<RawJson> {
    let server: OwnedServerName = (*caller).to_owned();
    let reader = rooms.clone();
    let read = move |view: &Snapshot| reader.served_event(view, &request.event_id, &server);
    let found = rooms.store().read(read).await?;
    Ok(pdus(&rooms, &clock, &[found]))
}

/// `GET /_matrix/federation/v1/state/{roomId}`
async fn state(
    Part(rooms): Part<Rooms>,
    caller: Server,
    request: state::Request,
) -> Reply<RawJson> {
    let event_id = request.event_id;
    let found = read(rooms, &caller, request.room_id, move |room| {
        let found = room.state(&event_id)?;
        Ok((room.jsons(&found.state)?, room.jsons(&found.auth_chain)?))
    });
    let (state, chain) = found.await?;
    Ok(answers::object(&[
        ("pdus", &answers::list(&state)),
        ("auth_chain", &answers::list(&chain)),
    ]))
}

/// `GET /_matrix/federation/v1/state_ids/{roomId}`
async fn state_ids(
    Part(rooms): Part<Rooms>,
    caller: Server,
    request: state_ids::Request,
) -> Reply<RawJson> {
    let event_id = request.event_id;
    let found = read(rooms, &caller, request.room_id, move |room| {
        room.state(&event_id)
    });
    let found = found.await?;
    let ids = |events: Vec<rooms::ClientEvent>| {
        let ids = events
            .into_iter()
            .map(|event| event.stored.event_id.clone());
        answers::texts(&ids.collect::<Vec<String>>())
    };
    Ok(answers::object(&[
        ("pdu_ids", &ids(found.state)),
        ("auth_chain_ids", &ids(found.auth_chain)),
    ]))
}

/// `GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}`
async fn event_auth(
    Part(rooms): Part<Rooms>,
    caller: Server,
    request: event_auth::Request,
) -> Reply<RawJson> {
    let event_id = request.event_id;
    let chain = read(rooms, &caller, request.room_id, move |room| {
        room.jsons(&room.auth_chain(&event_id)?)
    });
    let chain = answers::list(&chain.await?);
    Ok(answers::object(&[("auth_chain", &chain)]))
}

/// `GET /_matrix/federation/v1/backfill/{roomId}`
async fn backfill(
    Part(rooms): Part<Rooms>,
    Part(clock): Part<Clock>,
    caller: Server,
    request: backfill::Request,
) -> Reply<RawJson> {
    let (from, limit) = (request.v, number(request.limit));
    let page = read(rooms.clone(), &caller, request.room_id, move |room| {
        room.backfill(&from, limit)
    });
    Ok(pdus(&rooms, &clock, &page.await?))
}

/// `POST /_matrix/federation/v1/get_missing_events/{roomId}`
async fn missing_events(
    Part(rooms): Part<Rooms>,
    caller: Server,
    request: missing_events::Request,
) -> Reply<RawJson> {
    let (earliest, latest): (Vec<OwnedEventId>, _) =
        (request.earliest_events, request.latest_events);
    let (limit, min_depth) = (number(request.limit), request.min_depth.into());
    let found = read(rooms, &caller, request.room_id, move |room| {
        room.missing_events(&earliest, &latest, limit, min_depth)
    });
    let found = answers::list(&found.await?);
    Ok(answers::object(&[("events", &found)]))
}

/// `GET /_matrix/federation/v1/timestamp_to_event/{roomId}`
async fn event_at_time(
    Part(rooms): Part<Rooms>,
    caller: Server,
    request: event_at_time::Request,
) -> Reply<RawJson> {
    let (time, direction) = (request.ts.get().into(), request.dir);
    let found = read(rooms, &caller, request.room_id, move |room| {
        room.event_at_time(time, direction)
    });
    let found = found.await?;
    Ok(answers::object(&[
        ("event_id", &answers::text(&found.event_id)),
        ("origin_server_ts", &found.sent_at.to_string()),
    ]))
}

fn number(number: UInt) -> usize {
    usize::try_from(u64::from(number)).unwrap_or(usize::MAX)
}
