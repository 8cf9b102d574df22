//! State events in a form that is the same for everybody who may see them.

use serde::Deserialize;
use serde_json::value::RawValue;
use store::{Read, StoreError};

use crate::{ClientEvent, EventReader, ReadError, event::quoted};

/// The fields of a state event that clients get, as they stand in its JSON.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    content: &'a RawValue,
    #[serde(borrow)]
    origin_server_ts: &'a RawValue,
    #[serde(borrow)]
    sender: &'a RawValue,
    #[serde(borrow, rename = "type")]
    event_type: &'a RawValue,
    #[serde(borrow)]
    state_key: Option<&'a RawValue>,
}

impl<R: Read> EventReader<'_, R> {
    /// A state event as JSON without `room_id`, and without what depends on who looks,
    /// and when: with an empty `unsigned`. `None` if it was redacted; then
    /// [`EventReader::json`] tells by whom.
    ///
    /// # Errors
    /// If the database fails or the event is damaged.
    pub fn plain_json(&self, event: &ClientEvent) -> Result<Option<String>, ReadError> {
        let redacted = &model::tables::REDACTION_BY_EVENT;
        if self.view.contains(redacted, &event.serial)? {
            return Ok(None);
        }
        let fields: Fields<'_> =
            serde_json::from_slice(&event.stored.json).map_err(|_| StoreError::Corrupt {
                table: model::tables::EVENT_BY_SERIAL.name,
                reason: store::DecodeError("not an event's JSON"),
            })?;
        Ok(Some(format!(
            "{{\"type\":{},\"sender\":{},\"content\":{},\"event_id\":{},\"origin_server_ts\":{},\
             \"state_key\":{},\"unsigned\":{{}}}}",
            fields.event_type,
            fields.sender,
            fields.content,
            quoted(&event.stored.event_id),
            fields.origin_server_ts,
            fields.state_key.map_or("\"\"", RawValue::get),
        )))
    }
}
