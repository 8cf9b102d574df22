//! Rooms: making them, being in them, speaking and reading in them.
//!
//! What an event looks like to a client is written by the domain, as JSON; the
//! handlers here put such texts together and never parse them again.

mod aliases;
mod answers;
mod creation;
mod delayed;
mod directory;
mod membership;
mod reading;
mod receipts;
mod relations;
mod reporting;
mod search;
mod sending;
mod spaces;
mod sticky;
mod thread_subscriptions;
mod typing;
mod upgrading;

pub(crate) use reading::place;

use ::rooms::{ReadError, Rooms, Sender};
use store::Snapshot;
use web::{ApiError, Routes, User};

use crate::ClientParts;

pub(crate) use creation::is_public;

/// All endpoints of rooms.
pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .merge(creation::routes())
        .merge(aliases::routes())
        .merge(directory::routes())
        .merge(membership::routes())
        .merge(sending::routes())
        .merge(delayed::routes())
        .merge(reading::routes())
        .merge(receipts::routes())
        .merge(spaces::routes())
        .merge(relations::routes())
        .merge(search::routes())
        .merge(reporting::routes())
        .merge(thread_subscriptions::routes())
        .merge(typing::routes())
        .merge(upgrading::routes())
}

/// The caller as rooms know those who act.
pub(crate) fn sender(caller: &User) -> Sender {
    Sender {
        user_id: caller.user_id.clone(),
        user: caller.user,
        device: Some(caller.device),
        sent_at: None,
    }
}

/// A short read of one snapshot.
async fn read<T: Send + 'static>(
    rooms: Rooms,
    reading: impl Fn(&Rooms, &Snapshot) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ApiError> {
    let store = rooms.store().clone();
    Ok(store
        .read_quickly(move |snapshot| reading(&rooms, snapshot))
        .await?)
}

/// A read that may go through a whole room: it delays no short one.
async fn read_long<T: Send + 'static>(
    rooms: Rooms,
    reading: impl FnOnce(&Rooms, &Snapshot) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ApiError> {
    let store = rooms.store().clone();
    Ok(store
        .read_long(move |snapshot| reading(&rooms, snapshot))
        .await?)
}
