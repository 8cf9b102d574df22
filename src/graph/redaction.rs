//! Redaction: what remains of an event, and who may take the rest away.

use ruma_common::{CanonicalJsonObject, UserId, canonical_json::redact_in_place};

use crate::{Event, PowerLevels, Reason, canonical_text, json};

/// What remains of an event after redaction (room versions, "Redactions"). It keeps its id, its signatures stay valid, and redacting it again
/// changes nothing.
///
/// # Errors
/// [`Reason::Damaged`] if the event's JSON cannot be read.
pub fn redact(event: &Event) -> Result<Event, Reason> {
    let damaged = |text: String| Reason::Damaged(format!("{}: {text}", event.event_id()));
    if !event.version().has_canonical_json() {
        let object = json::read(event.json().as_bytes(), event.version())
            .and_then(|object| json::redacted(object, event.version()))
            .map_err(|error| damaged(error.to_string()))?;
        return reread(event, json::text_without(&object, &[])?);
    }
    let mut object: CanonicalJsonObject =
        serde_json::from_str(event.json()).map_err(|error| damaged(error.to_string()))?;
    redact_in_place(&mut object, &event.version().rules().redaction, None)
        .map_err(|error| damaged(error.to_string()))?;
    reread(event, canonical_text(&object)?)
}

fn reread(event: &Event, json: String) -> Result<Event, Reason> {
    Event::read(
        json,
        event.event_id().to_owned(),
        event.version(),
        event.room_id().to_owned(),
        event.rejected(),
    )
}

/// Whether a redaction that is in the room takes effect on its target (room versions, "Handling redactions"): its sender has the power to redact,
/// or is of the same server as the target's sender; before version 3 the servers in the events' ids count, as in the rule that has let the
/// redaction in. A server answers for its own users, so the rules leave that case to it:
/// [`may_redact`].
///
/// `levels` are those of the room at the redaction.
pub fn redaction_applies(redaction: &Event, target: &Event, levels: &PowerLevels) -> bool {
    let of_same_server = if redaction.version().has_chosen_event_ids() {
        redaction.event_id().server_name() == target.event_id().server_name()
    } else {
        redaction.sender().server_name() == target.sender().server_name()
    };
    redaction.redacts() == Some(target.event_id())
        && redaction.room_id() == target.room_id()
        && (of_same_server || levels.user(redaction.sender()).reaches(levels.to_redact()))
}

/// Whether this server lets one of its users redact an event: one's own, or with the power to redact, anybody's (client-server API,
/// "Redactions"). Whether the user may send redactions at all is for the authorisation rules to say.
pub fn may_redact(user: &UserId, target: &Event, levels: &PowerLevels) -> bool {
    target.sender() == user || levels.user(user).reaches(levels.to_redact())
}
