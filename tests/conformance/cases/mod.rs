//! The cases: for each operation valid and invalid requests, an area each.

mod account_data;
mod accounts;
mod administration;
mod backups;
mod directories;
mod events;
mod keys;
mod media;
mod pushing;
mod registering;
mod rooms;
mod services;
mod syncing;

use std::sync::Arc;

use crate::walk::Walk;
use crate::world::World;

/// Runs the areas named, one after another: a panic ends the one in which it happens.
macro_rules! areas {
    ($walk:expr, $world:expr; $($area:ident),+ $(,)?) => {$(
        let (walk, world): (Arc<Walk>, Arc<World>) = ($walk.clone(), $world.clone());
        let ended = tokio::task::spawn_local(async move { $area::walk(&walk, &world).await }).await;
        if let Err(error) = ended {
            let told = format!("{} ({error})", stringify!($area));
            $walk.broken.lock().expect("no panic while it is held").push(told);
        }
    )+};
}

/// Sends all requests.
pub(crate) async fn walk(walk: &Arc<Walk>, world: &Arc<World>) {
    areas!(walk, world;
        services, directories, rooms, events, account_data, pushing, keys, backups, media,
        syncing, administration, registering, accounts,
    );
}
