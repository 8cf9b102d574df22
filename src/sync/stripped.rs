//! What somebody is shown of a room who is invited or knocks.

use model::{EventSerial, MembershipRecord, tables};
use rooms::{EventReader, MARKING, ReadError};
use store::{Read, Snapshot};

/// What somebody outside sees of a room (client-server API, "Stripped state"): the
/// events of `invite_state` or `knock_state`.
pub(crate) fn stripped_state(
    reader: &EventReader<'_, Snapshot>,
    record: &MembershipRecord,
) -> Result<Vec<String>, ReadError> {
    let mut shown = Vec::new();
    let mut show = |serial: Option<EventSerial>| -> Result<(), ReadError> {
        if let Some(event) = serial
            .map(|serial| reader.load(serial))
            .transpose()?
            .flatten()
        {
            shown.push(reader.stripped(&event)?);
        }
        Ok(())
    };
    // Where nobody of this server is, another one says what the room is.
    let user = reader.viewer().user;
    if let Some(outside) = rooms::outside_record(reader.view, user, reader.room, record)? {
        show(Some(record.event))?;
        let mut told = outside.state;
        told.extend(shown);
        return Ok(told);
    }
    for event_type in STRIPPED {
        let key = (reader.room, event_type.to_owned(), String::new());
        show(reader.view.get(&tables::STATE_BY_ROOM, &key)?)?;
    }
    if let Some(sender) = model::user_id(reader.view, record.sender)? {
        let key = (reader.room, "m.room.member".to_owned(), sender);
        let member = reader.view.get(&tables::STATE_BY_ROOM, &key)?;
        show(member.filter(|serial| *serial != record.event))?;
    }
    show(Some(record.event))?;
    Ok(shown)
}

/// The state that tells an invited person what the room is.
const STRIPPED: [&str; 9] = [
    "m.room.create",
    "m.room.join_rules",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.canonical_alias",
    "m.room.encryption",
    "m.room.tombstone",
    MARKING,
];
