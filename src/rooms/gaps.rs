//! Gaps of a room's graph: events that others come directly after, and that are not held
//! here with their state.

use model::{EventSerial, Membership, RoomSerial, tables};
use ruma_common::{OwnedEventId, OwnedServerName, ServerName, UserId};
use store::{Batch, Read, Snapshot, StoreError};

use crate::{PlaceToken, ReadError, Rooms, client_event::load_event};

/// The longest event id, in bytes: what is longer is none, and names nothing.
const MAX_ID: usize = 255;

/// The most members that are looked through for servers to ask.
const MOST_MEMBERS: usize = 5000;

/// A gap: below this event others are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The depth of the event above the gap.
    pub depth: u64,
    /// The event above the gap.
    pub above: EventSerial,
    /// The missing event.
    pub missing: OwnedEventId,
}

/// The gaps of a room below a place, the highest first.
///
/// # Errors
/// If the database fails.
pub fn gaps_below(
    view: &impl Read,
    room: RoomSerial,
    place: PlaceToken,
    most: usize,
) -> Result<Vec<Gap>, StoreError> {
    let from = (room, place.depth.saturating_add(1), String::new());
    let rows = view.scan_back(&tables::GAP_BY_DEPTH, &(room,), Some(&from));
    let mut gaps = Vec::new();
    for row in rows.take(most) {
        let ((_, depth, missing), above) = row?;
        if let Ok(missing) = OwnedEventId::try_from(missing) {
            gaps.push(Gap {
                depth,
                above,
                missing,
            });
        }
    }
    Ok(gaps)
}

impl Rooms {
    /// Servers that may know what is missing: those of the events above the gaps first, then
    /// others of the room.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn servers_to_ask(
        &self,
        room: RoomSerial,
        gaps: &[Gap],
        most: usize,
    ) -> Result<Vec<OwnedServerName>, ReadError> {
        let above: Vec<EventSerial> = gaps.iter().map(|gap| gap.above).collect();
        let own = self.server_name().to_owned();
        self.store()
            .read(move |view: &Snapshot| {
                let mut servers: Vec<OwnedServerName> = Vec::new();
                let mut add = |server: &ServerName| {
                    if server != own && !servers.iter().any(|known| known == server) {
                        servers.push(server.to_owned());
                    }
                    servers.len() >= most
                };
                for serial in above {
                    add(load_event(view, serial)?.sender().server_name());
                }
                for row in view
                    .scan(&tables::MEMBER_BY_ROOM, &(room,))
                    .take(MOST_MEMBERS)
                {
                    let ((_, user), membership) = row?;
                    if membership == Membership::Join
                        && let Some(user_id) = model::user_id(view, user)?
                        && let Ok(user_id) = UserId::parse(user_id.as_str())
                        && add(user_id.server_name())
                    {
                        break;
                    }
                }
                servers.truncate(most);
                Ok(servers)
            })
            .await
    }
}

/// The depths of the events that come directly after a missing one.
pub(crate) fn depths_above(
    view: &impl Read,
    room: RoomSerial,
    event_id: &str,
) -> Result<Vec<u64>, StoreError> {
    let prefix = (room, event_id.to_owned());
    view.scan(&tables::GAP_BY_EVENT, &prefix)
        .map(|row| Ok(row?.0.2))
        .collect()
}

/// Writes that an event comes directly after a missing one.
pub(crate) fn put(
    batch: &mut Batch,
    room: RoomSerial,
    above: (EventSerial, u64),
    missing: &OwnedEventId,
) {
    if missing.as_str().len() > MAX_ID {
        return;
    }
    let (above, depth) = above;
    let missing = missing.to_string();
    batch.put(
        &tables::GAP_BY_DEPTH,
        &(room, depth, missing.clone()),
        &above,
    );
    batch.put(&tables::GAP_BY_EVENT, &(room, missing, depth), &());
}

/// Writes that an event is missing no more.
pub(crate) fn close(batch: &mut Batch, room: RoomSerial, event_id: &str, depths: &[u64]) {
    for depth in depths {
        batch.delete(&tables::GAP_BY_DEPTH, &(room, *depth, event_id.to_owned()));
        batch.delete(&tables::GAP_BY_EVENT, &(room, event_id.to_owned(), *depth));
    }
}
