//! Lists of rooms and of their members for administrators, a page at a time: each page reads its
//! own rows and no others. Nothing here is for people who are in the rooms.

use graph::PowerLevel;
use model::{Membership, RoomSerial, UserSerial, tables};
use store::{Read, StoreError};

use crate::{overview::levels_of, room_text};

/// How many rooms are looked at for one page of a search.
const MOST_LOOKED_AT: usize = 100_000;

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

/// A member in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedMember {
    /// Who.
    pub user_id: String,
    /// Their power; none of a creator, whose has no number.
    pub power: Option<i64>,
}

/// Rooms, the newest first, from the one behind `after` on, at most `limit`; of a search those
/// whose name, main alias or id has the text. Returns with them the one after which it goes on.
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
    let mut rooms = Vec::new();
    let mut last = None;
    let rows = view.scan_back(&tables::HEAD_BY_ROOM, &(), after.as_ref());
    for (looked_at, row) in rows.enumerate() {
        let (room, head) = row?;
        if rooms.len() == limit || looked_at == MOST_LOOKED_AT {
            return Ok((rooms, last));
        }
        last = Some(room);
        let Some(room_id) = model::room_id(view, room)? else {
            continue;
        };
        let name = room_text(view, room, "m.room.name", "name")?;
        let has = |found: &str, text: &str| found.to_lowercase().contains(text);
        let is_named = text.as_ref().is_none_or(|text| {
            has(&room_id, text) || name.as_ref().is_some_and(|name| has(name, text))
        });
        let alias = room_text(view, room, "m.room.canonical_alias", "alias")?;
        let is_known = |text: &String| alias.as_ref().is_some_and(|alias| has(alias, text));
        if !is_named && !text.as_ref().is_some_and(is_known) {
            continue;
        }
        let encryption = (room, "m.room.encryption".to_owned(), String::new());
        rooms.push(ListedRoom {
            name,
            alias,
            joined: head.joined,
            joined_here: head.joined_here,
            is_encrypted: view.contains(&tables::STATE_BY_ROOM, &encryption)?,
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
    let from = (after.unwrap_or_default().to_owned(), RoomSerial(u64::MAX));
    for row in view.scan_from(&tables::ROOM_BY_SERVER, &(), &from) {
        let ((server, _), ()) = row?;
        let is_full = servers.len() == limit;
        match servers.last_mut() {
            _ if after == Some(server.as_str()) => {}
            Some((last, rooms)) if *last == server => *rooms += 1,
            _ if is_full => break,
            _ => servers.push((server, 1)),
        }
    }
    Ok(servers)
}
