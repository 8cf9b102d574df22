//! The servers by way of which a room can be joined.

use model::{RoomSerial, tables};
use ruma_common::{OwnedServerName, RoomId, ServerName};
use store::{Read, StoreError};

use crate::room_serial;

/// The most servers that an alias leads to.
const MOST_OF_ALIAS: usize = 50;

/// The other servers of whom somebody is in a room now, those of which most people are first:
/// these are the best guess for who answers.
///
/// # Errors
/// If the database fails.
pub(crate) fn residents(
    view: &impl Read,
    room: RoomSerial,
) -> Result<Vec<OwnedServerName>, StoreError> {
    let mut servers = Vec::new();
    for row in view.scan(&tables::SERVER_BY_ROOM, &(room,)) {
        let ((_, server), record) = row?;
        if record.joined > 0
            && let Ok(server) = OwnedServerName::try_from(server)
        {
            servers.push((record.joined, server));
        }
    }
    servers.sort_by_key(|(joined, _)| std::cmp::Reverse(*joined));
    Ok(servers.into_iter().map(|(_, server)| server).collect())
}

/// The servers by way of which a room of this server, `own`, can be joined: itself first.
///
/// # Errors
/// If the database fails.
pub fn servers_to_join_by(
    view: &impl Read,
    room_id: &RoomId,
    own: &ServerName,
) -> Result<Vec<OwnedServerName>, StoreError> {
    let mut servers = vec![own.to_owned()];
    if let Some(room) = room_serial(view, room_id.as_str())? {
        servers.extend(residents(view, room)?);
    }
    servers.truncate(MOST_OF_ALIAS);
    Ok(servers)
}
