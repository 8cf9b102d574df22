//! Which servers are in a room.

use std::collections::BTreeMap;

use model::{Membership, RoomSerial, tables};
use ruma_common::{OwnedServerName, RoomId, ServerName, UserId};
use store::Read;

use crate::{ReadError, room_serial};

/// The servers of whom somebody is in a room now, each with how many.
///
/// # Errors
/// If the database fails.
pub fn residents(
    view: &impl Read,
    room: RoomSerial,
) -> Result<BTreeMap<OwnedServerName, u64>, ReadError> {
    let mut servers = BTreeMap::new();
    each_member(view, room, |user_id| {
        *servers.entry(user_id.server_name().to_owned()).or_default() += 1;
        true
    })?;
    Ok(servers)
}

/// Whether somebody of a server is in a room now.
///
/// # Errors
/// If the database fails.
pub fn is_resident(
    view: &impl Read,
    room: RoomSerial,
    server: &ServerName,
) -> Result<bool, ReadError> {
    let mut found = false;
    each_member(view, room, |user_id| {
        found = user_id.server_name() == server;
        !found
    })?;
    Ok(found)
}

/// Shows who is in a room now until `visit` has seen enough.
fn each_member(
    view: &impl Read,
    room: RoomSerial,
    mut visit: impl FnMut(&UserId) -> bool,
) -> Result<(), ReadError> {
    for row in view.scan(&tables::MEMBER_BY_ROOM, &(room,)) {
        let ((_, user), membership) = row?;
        if membership != Membership::Join {
            continue;
        }
        let user_id = model::user_id(view, user)?;
        if let Some(user_id) = user_id.as_deref().and_then(|id| UserId::parse(id).ok())
            && !visit(&user_id)
        {
            break;
        }
    }
    Ok(())
}

/// The most servers that an alias leads to.
const MOST_OF_ALIAS: usize = 50;

/// The servers by way of which a room can be joined: `own` first, then those of which most
/// people are in it.
///
/// # Errors
/// If the database fails.
pub fn servers_to_join_by(
    view: &impl Read,
    room_id: &RoomId,
    own: &ServerName,
) -> Result<Vec<OwnedServerName>, ReadError> {
    let mut servers = vec![own.to_owned()];
    let Some(room) = room_serial(view, room_id.as_str())? else {
        return Ok(servers);
    };
    let mut others: Vec<_> = residents(view, room)?.into_iter().collect();
    others.retain(|(server, _)| server != own);
    others.sort_by_key(|(_, members)| std::cmp::Reverse(*members));
    servers.extend(others.into_iter().map(|(server, _)| server));
    servers.truncate(MOST_OF_ALIAS);
    Ok(servers)
}
