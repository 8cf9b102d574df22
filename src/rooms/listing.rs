//! Lists of rooms and of their members for administrators, a page at a time: each page reads its
//! own rows and no others. Nothing here is for people who are in the rooms.

use std::cmp::Reverse;

use graph::PowerLevel;
use model::{ListedRoomRecord, Membership, RoomSerial, UserSerial, tables};
use store::{Read, StoreError};

use crate::{
    lists::{has, listed_room, rooms_named},
    overview::levels_of,
};

/// How many rooms are looked at for one page of a search.
const MOST_LOOKED_AT: usize = 20_000;

/// A room in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedRoom {
    /// The room's id.
    pub room_id: String,
    /// What it is called.
    pub name: Option<String>,
    /// Its main alias.
    pub alias: Option<String>,
    /// How many are in it.
    pub joined: u64,
    /// How many of this server are.
    pub joined_here: u64,
    /// Whether it is encrypted.
    pub is_encrypted: bool,
    /// Whether it stands in the public directory.
    pub is_published: bool,
    /// Whether nobody may come in.
    pub is_blocked: bool,
}

/// A room, and what it is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomCalled {
    /// The room's id.
    pub room_id: String,
    /// What it is called.
    pub name: Option<String>,
    /// Its main alias.
    pub alias: Option<String>,
}

/// What a room is called; none if it is not there.
///
/// # Errors
/// If the database fails.
pub fn room_called(view: &impl Read, room: RoomSerial) -> Result<Option<RoomCalled>, StoreError> {
    let Some(room_id) = model::room_id(view, room)? else {
        return Ok(None);
    };
    let known = listed_room(view, room)?.unwrap_or_default();
    Ok(Some(RoomCalled {
        room_id,
        name: known.name,
        alias: known.alias,
    }))
}

/// A member in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedMember {
    /// Who.
    pub user_id: String,
    /// Their power; none of a creator, whose has no number.
    pub power: Option<i64>,
}

/// Rooms, the newest first, from the one behind `after` on, at most `limit`; of a search those
/// whose name or main alias has the text, or whose id begins with it. Returns with them the one
/// after which it goes on.
///
/// # Errors
/// If the database fails.
pub fn rooms_after(
    view: &impl Read,
    text: Option<&str>,
    after: Option<RoomSerial>,
    limit: usize,
) -> Result<(Vec<ListedRoom>, Option<RoomSerial>), StoreError> {
    let text = text.map(str::to_lowercase);
    let named = match &text {
        Some(text) => rooms_named(view, text)?,
        None => None,
    };
    let rows: Box<dyn Iterator<Item = Result<(RoomSerial, ListedRoomRecord), StoreError>>> =
        match named {
            Some(mut rooms) => {
                rooms.retain(|(room, _)| after.is_none_or(|after| *room < after));
                rooms.sort_by_key(|(room, _)| Reverse(*room));
                Box::new(rooms.into_iter().map(Ok))
            }
            None => Box::new(view.scan_back(&tables::LISTED_ROOM, &(), after.as_ref())),
        };
    let mut rooms = Vec::new();
    let mut last = None;
    for (looked_at, row) in rows.enumerate() {
        let (room, known) = row?;
        if rooms.len() == limit || looked_at == MOST_LOOKED_AT {
            return Ok((rooms, last));
        }
        last = Some(room);
        let Some(room_id) = model::room_id(view, room)? else {
            continue;
        };
        if text
            .as_ref()
            .is_some_and(|text| !has(&known, &room_id, text))
        {
            continue;
        }
        rooms.push(ListedRoom {
            name: known.name,
            alias: known.alias,
            joined: known.joined,
            joined_here: known.joined_here,
            is_encrypted: known.encryption.is_some(),
            is_published: view.contains(&tables::PUBLISHED_ROOM, &room)?,
            is_blocked: view.contains(&tables::BLOCKED_ROOM, &room_id)?,
            room_id,
        });
    }
    Ok((rooms, None))
}

/// Those who are in a room, from the one behind `after` on, at most `limit`, with their power.
/// Returns with them the one after whom it goes on.
///
/// # Errors
/// If the database fails.
pub fn members_after(
    view: &impl Read,
    room: RoomSerial,
    after: Option<UserSerial>,
    limit: usize,
) -> Result<(Vec<ListedMember>, Option<UserSerial>), StoreError> {
    let levels = levels_of(view, room)?;
    let from = UserSerial(after.map_or(0, |after| after.0.saturating_add(1)));
    let mut members = Vec::new();
    let mut last = None;
    for row in view.scan_from(&tables::MEMBER_BY_ROOM, &(room,), &(room, from)) {
        let ((_, user), membership) = row?;
        if membership != Membership::Join {
            continue;
        }
        if members.len() == limit {
            return Ok((members, last));
        }
        last = Some(user);
        let Some(user_id) = model::user_id(view, user)? else {
            continue;
        };
        let parsed = ruma_common::OwnedUserId::try_from(user_id.as_str()).ok();
        let power = match (&levels, parsed) {
            (Some(levels), Some(parsed)) => match levels.user(&parsed) {
                PowerLevel::Level(level) => Some(level),
                PowerLevel::Infinite => None,
            },
            _ => Some(0),
        };
        members.push(ListedMember { user_id, power });
    }
    Ok((members, None))
}

/// The other servers that are in rooms together with people of this one, by name, from the one
/// behind `after` on, at most `limit`, each with the number of rooms.
///
/// # Errors
/// If the database fails.
pub fn servers_after(
    view: &impl Read,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, u64)>, StoreError> {
    let mut servers: Vec<(String, u64)> = Vec::new();
    let mut from = (after.unwrap_or_default().to_owned(), RoomSerial(u64::MAX));
    while servers.len() < limit {
        // Only the first row of each server is read; the others are counted.
        let mut rows = view.scan_from(&tables::ROOM_BY_SERVER, &(), &from);
        let is_next = |row: &Result<((String, _), ()), StoreError>| {
            row.as_ref()
                .map_or(true, |((server, _), ())| *server != from.0)
        };
        let Some(row) = rows.find(is_next) else {
            break;
        };
        let ((server, _), ()) = row?;
        let rooms = view.count(&tables::ROOM_BY_SERVER, &(server.clone(),))?;
        servers.push((server.clone(), rooms as u64));
        from = (server, RoomSerial(u64::MAX));
    }
    Ok(servers)
}
