//! What changed for one device since it last asked.
//!
//! Place: a reader; above `rooms` and `accounts`. Nobody below calls it.
//!
//! One computation over one published snapshot: `window` says what changed for the
//! user between two positions, room by room from the change rows; `v3` writes it as
//! the answer of `/sync`, `sliding` as that of a sliding sync, room by room from where
//! the client has each of them. Whoever waits subscribes first and reads second.
//!
//! Never here: a write (but for to-device messages that the client has confirmed), a
//! scan of the log, a check that `rooms` does not make.

mod device_lists;
mod error;
mod fields;
mod followed;
mod forks;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod json;
mod members;
mod old;
mod positions;
mod presence;
mod redacted_state;
mod room;
mod sections;
#[cfg(test)]
#[path = "../../tests/fuzz/seeds.rs"]
mod seeds;
mod sliding;
mod sticky;
mod stripped;
mod thread_subscriptions;
mod token;
mod v3;
mod whole;
mod window;

#[cfg(test)]
mod tests;

pub use device_lists::DeviceListChanges;
pub use error::SyncError;
pub use positions::is_sync_token;
pub use sliding::{
    Extensions, Filters, ListRequest, RoomRequest, ScopedRequest, SlidingRequest, StickyRequest,
    SubscriptionsRequest, ToDeviceRequest,
};
pub use thread_subscriptions::{subscriptions_end, subscriptions_json, subscriptions_position};
pub use token::SyncToken;
pub use v3::SyncRequest;

use std::{collections::HashMap, sync::Arc};

use accounts::Accounts;
use model::DeviceSerial;
use parking_lot::Mutex;
use rooms::Rooms;
use runtime::{Clock, Stop};
use store::{Position, Store};

/// Answers `/sync` and sliding syncs. Cheap to clone.
#[derive(Clone)]
pub struct Sync {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    rooms: Rooms,
    accounts: Accounts,
    clock: Clock,
    stop: Stop,
    /// What devices have confirmed; the rows' deletion may still be on its way to the
    /// snapshot.
    confirmed: Mutex<HashMap<DeviceSerial, Position>>,
    /// What was told to whom in sliding syncs.
    connections: sliding::Connections,
    /// What lists of rooms are made from.
    facts: sliding::RoomFactsCache,
    users: sliding::UserFactsCache,
    /// What is told of rooms' state.
    states: sliding::StateCache,
}

/// How many devices' confirmations are remembered; the rows are gone much sooner.
const CONFIRMED: usize = 10_000;

impl Sync {
    /// A reader of what `store`, `rooms` and `accounts` hold. Who waits is answered
    /// when the server stops.
    pub fn new(store: Store, rooms: Rooms, accounts: Accounts, clock: Clock, stop: Stop) -> Self {
        let connections = sliding::Connections::new(clock.now());
        Self {
            inner: Arc::new(Inner {
                store,
                rooms,
                accounts,
                clock,
                stop,
                confirmed: Mutex::default(),
                connections,
                facts: sliding::RoomFactsCache::default(),
                users: sliding::UserFactsCache::default(),
                states: sliding::StateCache::default(),
            }),
        }
    }
}
