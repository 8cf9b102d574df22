//! Which other servers take part in a room: counted with each membership, in its commit.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap},
};

use model::{EventSerial, Membership, RoomSerial, RoomServerRecord, UserSerial, tables};
use ruma_common::{ServerName, UserId};
use serde::Deserialize;
use store::{Batch, Latest, Position, Read, StoreError};

use crate::membership::joined;

/// What one commit knows of other servers.
#[derive(Default)]
pub(crate) struct Servers {
    /// The servers of those users of others that the commit has to do with.
    homes: HashMap<UserSerial, String>,
    /// The rows that it has written, of the room that is being written.
    rows: HashMap<String, RoomServerRecord>,
}

impl Servers {
    /// The commit goes on with another room.
    pub(crate) fn next_room(&mut self) {
        self.rows.clear();
    }

    /// The commit has to do with a user.
    pub(crate) fn met(&mut self, own: &ServerName, user: UserSerial, user_id: &str) {
        if let Ok(user_id) = UserId::parse(user_id)
            && user_id.server_name() != own
        {
            let server = user_id.server_name().to_string();
            self.homes.insert(user, server);
        }
    }

    /// A membership has changed. Whose it is must have been [met](Self::met); users of
    /// this server count nowhere.
    pub(crate) fn count(
        &mut self,
        (room, member): (RoomSerial, UserSerial),
        (before, after): (Option<Membership>, Membership),
        position: Position,
        latest: &Latest,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let Some(server) = self.homes.get(&member).cloned() else {
            return Ok(());
        };
        let was_in = before == Some(Membership::Join);
        let users = (after == Membership::Join).cmp(&was_in);
        self.change((room, &server), users, position, latest, batch)
    }

    /// So many users of a server are in a room as before, or one more or less. A server has
    /// a row as soon as anybody of it has to do with the room.
    pub(crate) fn change(
        &mut self,
        (room, server): (RoomSerial, &str),
        users: Ordering,
        position: Position,
        latest: &Latest,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let key = (room, server.to_owned());
        let known = match self.rows.get(server) {
            Some(known) => Some(*known),
            None => latest.get(&tables::SERVER_BY_ROOM, &key)?,
        };
        let mut record = known.unwrap_or_default();
        match users {
            Ordering::Greater => {
                if record.joined == 0 {
                    record.since = position.0;
                    record.left_at = 0;
                    batch.put(&tables::ROOM_BY_SERVER, &(server.to_owned(), room), &());
                }
                record.joined += 1;
            }
            Ordering::Less => {
                record.joined = record.joined.saturating_sub(1);
                if record.joined == 0 {
                    record.left_at = position.0;
                    batch.delete(&tables::ROOM_BY_SERVER, &(server.to_owned(), room));
                }
            }
            Ordering::Equal => {}
        }
        if known != Some(record) {
            if known.is_none() {
                batch.wake(model::neighbours_scope());
            }
            batch.put(&tables::SERVER_BY_ROOM, &key, &record);
            self.rows.insert(server.to_owned(), record);
        }
        Ok(())
    }
}

/// The other servers that have users in a room now.
///
/// # Errors
/// If the database fails.
pub fn servers_in(view: &impl Read, room: RoomSerial) -> Result<Vec<String>, StoreError> {
    let rows = view.scan(&tables::SERVER_BY_ROOM, &(room,));
    rows.filter(|row| !matches!(row, Ok((_, record)) if record.joined == 0))
        .map(|row| row.map(|((_, server), _)| server))
        .collect()
}

/// Whether a server, another than this one, has users in a room now.
///
/// # Errors
/// If the database fails.
pub fn is_server_in(view: &impl Read, room: RoomSerial, server: &str) -> Result<bool, StoreError> {
    view.contains(&tables::ROOM_BY_SERVER, &(server.to_owned(), room))
}

/// The rooms in which a server, another than this one, has users now.
///
/// # Errors
/// If the database fails.
pub fn rooms_shared_with(view: &impl Read, server: &str) -> Result<Vec<RoomSerial>, StoreError> {
    let rows = view.scan(&tables::ROOM_BY_SERVER, &(server.to_owned(),));
    rows.map(|row| row.map(|((_, room), ())| room)).collect()
}

/// The other servers that have users in any of a user's rooms.
///
/// # Errors
/// If the database fails.
pub fn servers_met_by(view: &impl Read, user: UserSerial) -> Result<BTreeSet<String>, StoreError> {
    let mut servers = BTreeSet::new();
    for room in joined(view, user)? {
        servers.extend(servers_in(view, room)?);
    }
    Ok(servers)
}

/// Of the servers in a room into which a user came with a commit, those that met the user
/// in no room before.
///
/// # Errors
/// If the database fails.
pub fn servers_met_by_joining(
    view: &impl Read,
    user: UserSerial,
    (room, position): (RoomSerial, u64),
    mut servers: BTreeSet<String>,
) -> Result<BTreeSet<String>, StoreError> {
    for other in joined(view, user)? {
        if servers.is_empty() {
            break;
        }
        let record = view.get(&tables::MEMBERSHIP_BY_USER, &(user, other))?;
        // Of two rooms that the user has come into since, the later one finds them met.
        let is_earlier = record.is_some_and(|record| (record.last_join, other) < (position, room));
        if !is_earlier {
            continue;
        }
        for server in servers_in(view, other)? {
            servers.remove(&server);
        }
    }
    Ok(servers)
}

/// Whether other servers may take part in a room (`m.federate`).
///
/// # Errors
/// If the database fails.
pub fn federates(view: &impl Read, room: RoomSerial) -> Result<bool, StoreError> {
    #[derive(Deserialize)]
    struct Create {
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.federate", default = "yes")]
        federate: bool,
    }
    let Some(record) = view.get(&tables::ROOM_BY_SERIAL, &room)? else {
        return Ok(false);
    };
    let stored = view.get(&tables::EVENT_BY_SERIAL, &record.create_event)?;
    let create = stored.and_then(|stored| serde_json::from_slice::<Create>(&stored.json).ok());
    Ok(create.is_none_or(|create| create.content.federate))
}

fn yes() -> bool {
    true
}

/// Notes in a commit that an event of another server's user came in by way of this
/// server (`send_join` and the like), which has to bring it to all others.
pub(crate) fn relay(batch: &mut Batch, event: EventSerial) {
    batch.put(&tables::RELAYED_EVENT, &event, &());
}
