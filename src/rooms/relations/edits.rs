//! The newest edit of an event, whoever looks.

use std::borrow::Cow;

use model::{Bundled, RoomSerial, tables};
use serde::Deserialize;
use store::Read;

use super::{
    Relation,
    bundles::{MAX_EDITS, newest_of},
};
use crate::{ClientEvent, ReadError, client_event::load_events};

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(rename = "type")]
    event_type: Cow<'a, str>,
    sender: Cow<'a, str>,
}

/// The newest valid edit of an event of `room` (client-server API, "Validity of
/// replacement events"), whether or not somebody may see it.
///
/// # Errors
/// If the database fails.
pub fn newest_edit(
    view: &impl Read,
    room: RoomSerial,
    target: &ClientEvent,
) -> Result<Option<ClientEvent>, ReadError> {
    let key = (room, target.stored.event_id.clone());
    let known = view.get(&tables::BUNDLE_BY_TARGET, &key)?;
    if known.is_none_or(|known| known.edits == 0)
        || target.redacted_by.is_some()
        || Relation::of_event(&target.stored.json).is_edit()
    {
        return Ok(None);
    }
    let Ok(header) = serde_json::from_slice::<Header<'_>>(&target.stored.json) else {
        return Ok(None);
    };
    let Some(sender) = view.get(&tables::USER_BY_ID, &header.sender.into_owned())? else {
        return Ok(None);
    };
    let prefix = (room, key.1, Bundled::Replace(sender));
    let mut edits = view
        .scan_back(&tables::BUNDLED_BY_TARGET, &prefix, None)
        .take(MAX_EDITS)
        .map(|row| row.map(|(_, record)| record))
        .collect::<Result<Vec<_>, _>>()?;
    let is_same_type = |edit: &ClientEvent| {
        serde_json::from_slice::<Header<'_>>(&edit.stored.json)
            .is_ok_and(|edit| edit.event_type == header.event_type)
    };
    newest_of(&mut edits, |edit| {
        let loaded = load_events(view, room, &[edit.event])?.pop();
        Ok(loaded.filter(|edit| edit.redacted_by.is_none() && is_same_type(edit)))
    })
}
