//! The list of rooms.

use actions::Right;
use axum::response::Response;
use http::Method;
use rooms::ListedRoom;
use web::{Part, Routes};

use super::{
    Desk,
    answers::Stop,
    layout::Sheet,
    parts::{self, ROWS, link, path},
    session::{Clerk, Fields},
};
use crate::{html::Element, pages::in_query, words::WORDS};

const HERE: &str = "/console/rooms";

pub(super) fn routes() -> Routes<Desk> {
    Routes::new().plain(Method::GET, HERE, list)
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
    Ok(sheet.has_all(parts::next_page(next)).shown(&desk, &clerk))
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
