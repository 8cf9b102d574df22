//! The form in which clients get events, put together from pieces of the stored one.

use graph::Version;
use model::tables;
use serde::Deserialize;
use serde_json::value::RawValue;
use store::StoreError;

/// The fields of an event that clients get, as they stand in its JSON.
#[derive(Deserialize)]
pub(crate) struct Fields<'a> {
    #[serde(borrow)]
    pub(crate) content: &'a RawValue,
    #[serde(borrow)]
    pub(crate) origin_server_ts: &'a RawValue,
    #[serde(borrow)]
    pub(crate) sender: &'a RawValue,
    #[serde(borrow, rename = "type")]
    pub(crate) event_type: &'a RawValue,
    #[serde(borrow)]
    pub(crate) state_key: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) redacts: Option<&'a RawValue>,
    #[serde(borrow, rename = "msc4354_sticky")]
    pub(crate) sticky: Option<&'a RawValue>,
}

/// Where in `unsigned` the sender is told the delay id of an event (MSC4140).
pub(crate) const DELAY_ID: &str = "org.matrix.msc4140.delay_id";
/// Where in `unsigned` clients are told for how long an event is still sticky, in ms
/// (MSC4354).
pub(crate) const STICKY_LEFT: &str = "msc4354_sticky_duration_ttl_ms";

/// The longest time for which an event is sticky, in ms (MSC4354).
pub(crate) const MAX_STICKY: u64 = 3_600_000;

impl Fields<'_> {
    /// For how long the event is still sticky, in ms; none if it is not (MSC4354).
    pub(crate) fn sticky_left(&self, now: u64) -> Option<u64> {
        let sent_at: u64 = self.origin_server_ts.get().parse().ok()?;
        sticky_until(self.sticky?, sent_at.min(now))?
            .checked_sub(now)
            .filter(|left| *left > 0)
    }
}

/// When an event that was sent then ends to be sticky, if `sticky` says that it is.
pub(crate) fn sticky_until(sticky: &RawValue, sent_at: u64) -> Option<u64> {
    #[derive(Deserialize)]
    struct Sticky {
        duration_ms: u64,
    }
    let sticky: Sticky = serde_json::from_str(sticky.get()).ok()?;
    Some(sent_at.saturating_add(sticky.duration_ms.min(MAX_STICKY)))
}

/// What of an event's form for clients is the same for all of them, as JSON without its
/// end: `unsigned` and a brace are to follow.
pub(crate) fn shared_part(
    fields: &Fields<'_>,
    event_id: &str,
    version: Version,
    room_id: Option<&str>,
) -> String {
    let length = fields.content.get().len() + event_id.len() + 512;
    let mut out = String::with_capacity(length);
    let mut field = |name: &str, value: &str| {
        out.push(if out.is_empty() { '{' } else { ',' });
        out.push('"');
        out.push_str(name);
        out.push_str("\":");
        out.push_str(value);
    };
    let redacts = redacts_of(fields);
    field("type", fields.event_type.get());
    field("sender", fields.sender.get());
    match redacts {
        Some(redacts) if !version.redacts_in_content() => {
            field("content", &with_redacts(fields.content, redacts));
        }
        _ => field("content", fields.content.get()),
    }
    field("event_id", &quoted(event_id));
    field("origin_server_ts", fields.origin_server_ts.get());
    if let Some(state_key) = fields.state_key {
        field("state_key", state_key.get());
    }
    if let Some(sticky) = fields.sticky {
        field("msc4354_sticky", sticky.get());
    }
    if let Some(redacts) = redacts {
        field("redacts", redacts.get());
    }
    if let Some(room_id) = room_id {
        field("room_id", &quoted(room_id));
    }
    out
}

/// A redaction's target, where either kind of room version puts it: clients of both
/// kinds look at the top.
fn redacts_of<'a>(fields: &Fields<'a>) -> Option<&'a RawValue> {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        redacts: Option<&'a RawValue>,
    }
    if fields.event_type.get() != "\"m.room.redaction\"" {
        return None;
    }
    fields.redacts.or_else(|| {
        serde_json::from_str::<Content<'a>>(fields.content.get())
            .ok()
            .and_then(|content| content.redacts)
    })
}

/// A redaction's content with its target in it, where room versions before 11 do not
/// have it.
fn with_redacts(content: &RawValue, redacts: &RawValue) -> String {
    let rest = content.get().trim_start_matches('{');
    let comma = if rest.trim_start().starts_with('}') {
        ""
    } else {
        ","
    };
    format!("{{\"redacts\":{}{comma}{rest}", redacts.get())
}

/// Text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(crate) fn damaged() -> StoreError {
    StoreError::Corrupt {
        table: tables::EVENT_BY_SERIAL.name,
        reason: store::DecodeError("not an event's JSON"),
    }
}
