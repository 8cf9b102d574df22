//! What the store promises, under interleavings.

mod checkpoints;
mod commits;
mod disk;
mod folders;
mod logs;
mod lookups;
mod manifests;
mod resting;
mod space;
mod upgrades;

use std::path::Path;

use runtime::{Clock, Random};

use crate::{Family, OpenError, Position, Store, StoreOptions, Table};

/// One row of each commit, by its position.
pub(super) const VALUE_BY_POSITION: Table<Position, u64> =
    Table::new(900, Family::Scan, "VALUE_BY_POSITION");
/// The same in another family, so that a batch spans two.
pub(super) const COPY_BY_POSITION: Table<Position, u64> =
    Table::new(901, Family::Events, "COPY_BY_POSITION");
/// Things to be given out once.
pub(super) const THING: Table<u64, ()> = Table::new(902, Family::Queue, "THING");

pub(super) fn open(folder: &Path) -> Result<Store, OpenError> {
    open_as(folder, "council.example")
}

pub(super) fn open_as(folder: &Path, identity: &str) -> Result<Store, OpenError> {
    open_with(folder, identity, &StoreOptions::default())
}

pub(super) fn open_with(
    folder: &Path,
    identity: &str,
    options: &StoreOptions,
) -> Result<Store, OpenError> {
    Store::open(
        folder,
        identity,
        options,
        &Clock::system(),
        &Random::system(),
    )
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}
