//! What the disk does alone: small writes, each synced.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// The size of one write: a commit of a few events, about.
const WRITE_BYTES: usize = 4096;

/// The disk's own pace of synced writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Synced writes a second.
    pub(crate) rate: f64,
}

impl Pace {
    /// The pace of [`synced_writes`].
    pub(crate) fn measure(folder: &Path, time: Duration) -> Self {
        let latencies = synced_writes(folder, time);
        let seconds = latencies.iter().sum::<f64>() / 1000.0;
        Self {
            rate: latencies.len() as f64 / seconds,
        }
    }

    /// The middle of what was measured before and after something.
    pub(crate) fn between(before: Self, after: Self) -> Self {
        Self {
            rate: f64::midpoint(before.rate, after.rate),
        }
    }
}

/// Appends 4 KiB and calls fdatasync, again and again for `time`, in `folder`. Gives how
/// long each took, in milliseconds.
pub(crate) fn synced_writes(folder: &Path, time: Duration) -> Vec<f64> {
    let path = folder.join("disk-pace");
    let mut file = File::create(&path).expect("a file in the data folder");
    let block = [0x5a; WRITE_BYTES];
    let mut latencies = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time {
        let before = Instant::now();
        file.write_all(&block).expect("a write");
        file.sync_data().expect("a synced write");
        latencies.push(before.elapsed().as_secs_f64() * 1000.0);
    }
    drop(file);
    std::fs::remove_file(&path).expect("the file removed");
    latencies
}
