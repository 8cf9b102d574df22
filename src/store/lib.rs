//! Typed tables over RocksDB with one ordered commit.
//!
//! Place: the ground floor, beside `runtime`. Knows no Matrix type.
//!
//! - Every write goes through [`Store::commit`] (or its siblings): a closure that
//!   runs alone, looks up single rows, may refuse, and fills one [`Batch`] that is
//!   written all or nothing at the next [`Position`].
//! - One syncer makes written commits durable, many with one fdatasync, and then
//!   publishes a [`Snapshot`]: no reader sees what a power cut could take back. How far it
//!   came stands in a file beside the database, so that damage is never taken for the torn
//!   end that a power cut leaves ([`OpenError::Lost`]).
//! - Readers subscribe with [`Store::watch`], then read; the [log](Consumer) is for
//!   those who want everything.
//! - When the disk is nearly full, what is new is refused ([`StoreError::DiskFull`]) while the
//!   database can still finish what it has begun; reading goes on.
//!
//! Never here: Matrix types, a second way to write, a read of unsynced rows by
//! anyone but a writer.

mod batch;
mod checkpoint;
mod commit;
mod damage;
mod database;
mod disk;
mod error;
mod frames;
mod internals;
mod key;
mod log;
mod manifest;
mod mark;
mod read;
mod resting;
mod space;
mod store;
mod table;
mod tail;
mod upgrade;
mod value;
mod watch;

pub use batch::Batch;
pub use checkpoint::{
    Inspected, accept_loss, begin_epoch, broken, database_folder, epoch_of, go_back, hold, inspect,
};
pub use commit::{Writing, Written};
pub use database::StoreOptions;
pub use disk::DiskUse;
pub use error::{DecodeError, OpenError, StoreError};
pub use internals::Internals;
pub use key::{Key, Position, Prefix};
pub use log::{Consumer, LogRecord, has_consumed, records_after, trim};
pub use read::{Latest, Read, Scan, Snapshot, Source, Walker};
pub use space::{DatabaseOptions, Space};
pub use store::Store;
pub use table::{Family, Table};
pub use upgrade::put_aside;
pub use value::Value;
pub use watch::{Scope, Watch};

#[cfg(test)]
mod tests;
