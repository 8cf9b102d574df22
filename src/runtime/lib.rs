//! What every part of the house stands on: clock, randomness, named tasks,
//! bounded lanes for blocking work, the share-out of open files, stop, metrics, the log,
//! options.
//!
//! Floor: ground, the lowest. It uses no other crate of the house and knows
//! neither Matrix nor the database.
//!
//! Time and chance are parameters: [`Clock`] and [`Random`] are the only places
//! that ask the operating system for either, so that tests own both. Background
//! work starts through [`Tasks`] or [`Lane`] only, so that it has a name, a stop
//! and a metric. Signals are not handled here; the binary does that.

// `options!` names this crate by its path, also in our own tests.
extern crate self as runtime;

mod clock;
mod files;
mod lane;
pub mod log;
mod metrics;
mod network;
pub mod options;
mod random;
mod tasks;

pub use clock::{Clock, Timestamp};
pub use files::OpenFiles;
pub use lane::{Lane, LaneError};
pub use metrics::Metrics;
pub use network::{Network, NetworkError};
pub use options::{ABSENT, OptionDescription, Secret};
pub use random::Random;
pub use tasks::{Boxed, Stop, Tasks};
