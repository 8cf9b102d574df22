//! State whose content was redacted where the client does not see the redaction: it has to
//! be told again, as it is now.

use model::{EventSerial, StateRoot, tables};
use rooms::{ClientEvent, EventReader};
use store::{Position, Read, Snapshot};

use crate::SyncError;

/// The most redactions that are looked at, oldest first.
const MOST: usize = 1_000;

/// A state event: its type, its state key, its serial.
pub(crate) type StateEvent = (String, String, EventSerial);

/// The events of the state under `root` that were redacted after `since` and up to `end`
/// by events that are not among the `shown`.
pub(crate) fn redacted_unseen(
    reader: &EventReader<'_, Snapshot>,
    root: StateRoot,
    since: Position,
    end: u64,
    shown: &[ClientEvent],
) -> Result<Vec<StateEvent>, SyncError> {
    let from = (reader.room, Position(since.0 + 1), EventSerial(0));
    let rows = reader
        .view
        .scan_from(&tables::REDACTED_STATE_BY_ROOM, &(reader.room,), &from);
    let mut found = Vec::new();
    for row in rows.take(MOST) {
        let ((_, position, serial), redaction) = row?;
        if position.0 > end {
            break;
        }
        if shown.iter().any(|event| event.serial == redaction) {
            continue;
        }
        let Some(event) = reader.load(serial)? else {
            continue;
        };
        let Some(state_key) = event.state_key() else {
            continue;
        };
        let (event_type, state_key) = (event.event_type().into_owned(), state_key.into_owned());
        // What has been replaced since is of no interest.
        if reader.maps().get(root, &event_type, &state_key)? == Some(serial) {
            found.push((event_type, state_key, serial));
        }
    }
    Ok(found)
}
