//! State events in a form that is the same for everybody who may see them.

use store::Read;

use crate::{ClientEvent, EventReader, ReadError, form::shared_part};

impl<R: Read> EventReader<'_, R> {
    /// A state event as JSON without `room_id`, and without what depends on who looks,
    /// and when: with an empty `unsigned`. `None` if it was redacted; then
    /// [`EventReader::json`] tells by whom.
    ///
    /// # Errors
    /// If the event is damaged.
    pub fn plain_json(&self, event: &ClientEvent) -> Result<Option<String>, ReadError> {
        if event.redacted_by.is_some() {
            return Ok(None);
        }
        let fields = event.stored.fields()?;
        let mut json = shared_part(&fields, &event.stored.event_id, self.version, None);
        json.push_str(",\"unsigned\":{}}");
        Ok(Some(json))
    }
}
