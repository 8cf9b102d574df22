//! The list of rooms.

use actions::{AbandonedRoom, Right};
use axum::response::Response;
use http::Method;
use model::RoomSerial;
use rooms::ListedRoom;
use web::{Part, Routes};

use super::{
    Desk,
    answers::Stop,
    layout::Sheet,
    parts::{self, ROWS, link, path},
    session::{Clerk, Fields},
};
use crate::{
    html::{Element, element},
    pages::in_query,
    words::WORDS,
};

const HERE: &str = "/console/rooms";
const ABANDONED: &str = "/console/abandoned-rooms";

pub(super) fn routes() -> Routes<Desk> {
    Routes::new()
        .plain(Method::GET, HERE, list)
        .plain(Method::GET, ABANDONED, abandoned)
}

/// `GET /console/rooms`
async fn list(Part(desk): Part<Desk>, clerk: Clerk, query: Fields) -> Result<Response, Stop> {
    clerk.must(Right::ListRooms)?;
    let words = &WORDS.rooms;
    let found = desk
        .actions
        .rooms_after(&clerk.by(), query.filled("q"), query.filled("after"), ROWS)
        .await?;
    let next = found.next.map(|after| {
        let text = in_query(query.text("q"));
        format!("{HERE}?q={text}&after={}", in_query(&after))
    });
    let sheet = Sheet::new("rooms", words.title).has(parts::search(
        HERE,
        words.search,
        "",
        query.text("q"),
    ));
    let sheet = match found.rows.is_empty() {
        true => sheet.has(parts::hint(words.none)),
        false => sheet.has(table(&found.rows)),
    };
    let to = element("p").has(link(ABANDONED, words.abandoned));
    let sheet = sheet.has_all(parts::next_page(next)).has(to);
    Ok(sheet.shown(&desk, &clerk))
}

/// `GET /console/abandoned-rooms`
async fn abandoned(Part(desk): Part<Desk>, clerk: Clerk, query: Fields) -> Result<Response, Stop> {
    let words = &WORDS.rooms;
    let after = query.text("after").parse().ok().map(RoomSerial);
    let found = desk
        .actions
        .abandoned_rooms(&clerk.by(), after, ROWS)
        .await?;
    let next = found.last().filter(|_| found.len() == ROWS);
    let next = next.map(|last| format!("{ABANDONED}?after={}", last.room.0));
    let sheet = Sheet::new("rooms", words.abandoned).lead(words.abandoned_how);
    let sheet = match found.is_empty() {
        true => sheet.has(parts::hint(words.none)),
        false => sheet.has(abandoned_table(&found)),
    };
    Ok(sheet.has_all(parts::next_page(next)).shown(&desk, &clerk))
}

fn abandoned_table(rooms: &[AbandonedRoom]) -> Element {
    let words = &WORDS.rooms;
    let rows = rooms.iter().map(|room| {
        let name = called(room.name.as_deref(), None, &room.room_id);
        let states = [(room.is_frozen, "warn", words.frozen)];
        vec![
            link(&path("rooms", &room.room_id, ""), name).into(),
            room.joined.to_string().into(),
            parts::badges(parts::marks(states)),
        ]
    });
    let heads = [words.name, words.members, words.state];
    parts::table(words.abandoned, &heads, rows.collect())
}

/// What a room is called.
pub(super) fn called<'a>(
    name: Option<&'a str>,
    alias: Option<&'a str>,
    room_id: &'a str,
) -> &'a str {
    let name = name.filter(|name| !name.trim().is_empty());
    name.or(alias).unwrap_or(room_id)
}

fn marks(room: &ListedRoom) -> Vec<Element> {
    let words = &WORDS.rooms;
    let states = [
        (room.is_blocked, "bad", words.blocked),
        (room.is_encrypted, "good", words.encrypted),
        (room.is_published, "plain", words.published),
        (room.joined_here == 0, "warn", words.nobody),
    ];
    parts::marks(states).collect()
}

fn table(rooms: &[ListedRoom]) -> Element {
    let words = &WORDS.rooms;
    let rows = rooms.iter().map(|room| {
        let name = called(room.name.as_deref(), room.alias.as_deref(), &room.room_id);
        vec![
            link(&path("rooms", &room.room_id, ""), name).into(),
            room.alias.clone().unwrap_or_default().into(),
            room.joined.to_string().into(),
            room.joined_here.to_string().into(),
            parts::badges(marks(room)),
        ]
    });
    let heads = [
        words.name,
        words.alias,
        words.members,
        words.members_here,
        words.state,
    ];
    parts::table(words.title, &heads, rows.collect())
}
