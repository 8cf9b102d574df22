//! What waits for other servers, as an administrator sees it.

use std::collections::BTreeMap;

use audit::{Act, Deed, Verb};
use model::tables::{
    EDU_BY_SERVER, EDU_QUEUE_BY_SERVER, TRANSACTION_BY_SERVER, WAITING_ROOM_BY_SERVER,
};
use ruma_common::ServerName;
use serde::Serialize;
use store::{Position, Read, Store, StoreError};

/// The most rooms of one server that are counted.
const MAX_ROOMS: usize = 10_000;

/// What waits for a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WaitingServer {
    /// Rooms that have something for it.
    pub rooms: u64,
    /// Events in these, about.
    pub events: u64,
    /// Messages to devices and changes of devices.
    pub others: u64,
    /// Whether a transaction was made that it has not confirmed.
    pub has_transaction: bool,
}

/// The names of the servers for which something waits that must not get lost.
pub(super) fn names(view: &impl Read) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    let last = (Position(u64::MAX), u32::MAX);
    let mut next = view.scan(&WAITING_ROOM_BY_SERVER, &()).next().transpose()?;
    while let Some(((server, _), _)) = next {
        // Everything of one server is stepped over at once.
        let behind = (server.clone(), model::RoomSerial(u64::MAX));
        let mut rows = view.scan_from(&WAITING_ROOM_BY_SERVER, &(), &behind);
        next = rows.next().transpose()?;
        names.push(server);
    }
    let mut next = view.scan(&EDU_BY_SERVER, &()).next().transpose()?;
    while let Some(((server, _, _), _)) = next {
        let behind = (server.clone(), last.0, last.1);
        let mut rows = view.scan_from(&EDU_BY_SERVER, &(), &behind);
        next = rows.next().transpose()?;
        names.push(server);
    }
    for row in view.scan(&TRANSACTION_BY_SERVER, &()) {
        names.push(row?.0);
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// What waits for other servers, by name: of at most so many.
///
/// # Errors
/// If the database fails.
pub fn waiting_servers(
    view: &impl Read,
    most: usize,
) -> Result<BTreeMap<String, WaitingServer>, StoreError> {
    let mut servers = BTreeMap::new();
    for server in names(view)?.into_iter().take(most) {
        let mut waiting = WaitingServer {
            has_transaction: view.contains(&TRANSACTION_BY_SERVER, &server)?,
            ..WaitingServer::default()
        };
        let rooms = view.scan(&WAITING_ROOM_BY_SERVER, &(server.clone(),));
        for row in rooms.take(MAX_ROOMS) {
            let (_, record) = row?;
            waiting.rooms += 1;
            waiting.events += record.events;
        }
        let queue = view.get(&EDU_QUEUE_BY_SERVER, &server)?;
        waiting.others = queue.unwrap_or_default().rows;
        servers.insert(server, waiting);
    }
    Ok(servers)
}

/// Forgets what waits for a server. It is told of what happens from then on.
///
/// # Errors
/// If the database fails.
pub async fn forget_server(
    store: &Store,
    server: &ServerName,
    act: &Act,
    now: u64,
) -> Result<(), StoreError> {
    let deed = act.did(Verb::PeerForgotten).on(server.as_str()).at(now);
    forget(store, server.as_str(), Some(deed)).await
}

pub(super) async fn forget(
    store: &Store,
    server: &str,
    deed: Option<Deed>,
) -> Result<(), StoreError> {
    let server = server.to_owned();
    store
        .commit(move |latest, _, batch| {
            audit::record(latest, batch, 0, deed.as_slice())?;
            batch.delete_prefix(&WAITING_ROOM_BY_SERVER, &(server.clone(),));
            batch.delete_prefix(&EDU_BY_SERVER, &(server.clone(),));
            batch.delete(&EDU_QUEUE_BY_SERVER, &server);
            batch.delete(&TRANSACTION_BY_SERVER, &server);
            Ok::<_, StoreError>(())
        })
        .await
}
