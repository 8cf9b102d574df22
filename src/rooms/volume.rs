//! How much there is.

use std::collections::HashMap;

use model::{RoomSerial, tables::EVENT_BY_SERIAL};
use store::{Read, StoreError};

/// All events that this server holds, whatever became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// How many there are.
    pub events: u64,
    /// The length of all of them as canonical JSON in the form in which they were
    /// signed, in bytes.
    pub canonical_bytes: u64,
}

/// Counts all events. Reads every one of them: for operators, and in the lane for long
/// reads.
///
/// # Errors
/// If the database fails.
pub fn volume(view: &impl Read) -> Result<Volume, StoreError> {
    let mut volume = Volume::default();
    for row in view.scan(&EVENT_BY_SERIAL, &()) {
        let (_, stored) = row?;
        volume.events += 1;
        volume.canonical_bytes += stored.json.len() as u64;
    }
    Ok(volume)
}

/// About how many bytes the events of each room take. Reads every one of them, as [`volume`].
///
/// # Errors
/// If the database fails.
pub fn room_sizes(view: &impl Read) -> Result<HashMap<RoomSerial, u64>, StoreError> {
    let mut sizes = HashMap::new();
    for row in view.scan(&EVENT_BY_SERIAL, &()) {
        let (_, stored) = row?;
        *sizes.entry(stored.room).or_default() += stored.json.len() as u64;
    }
    Ok(sizes)
}
