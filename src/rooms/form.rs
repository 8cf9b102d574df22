//! The form in which clients get events, put together from pieces of the stored one.

use std::borrow::Cow;

use graph::Version;
use model::{Membership, tables};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::StoreError;

/// The fields of an event that clients get, as they stand in its JSON.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) content: &'a str,
    pub(crate) origin_server_ts: &'a str,
    pub(crate) sender: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) state_key: Option<&'a str>,
    pub(crate) redacts: Option<&'a str>,
    pub(crate) sticky: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// The fields of the event with this JSON; `None` if it is no event's.
    pub(crate) fn of(json: &'a [u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Raw<'a> {
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
            #[serde(borrow)]
            redacts: Option<&'a RawValue>,
            #[serde(borrow, rename = "msc4354_sticky")]
            sticky: Option<&'a RawValue>,
        }
        let raw: Raw<'a> = serde_json::from_slice(json).ok()?;
        Some(Self {
            content: raw.content.get(),
            origin_server_ts: raw.origin_server_ts.get(),
            sender: raw.sender.get(),
            event_type: raw.event_type.get(),
            state_key: raw.state_key.map(RawValue::get),
            redacts: raw.redacts.map(RawValue::get),
            sticky: raw.sticky.map(RawValue::get),
        })
    }

    /// Whether it is somebody's membership.
    pub(crate) fn is_membership(&self) -> bool {
        self.event_type == "\"m.room.member\""
    }

    /// Who sent it; empty if that is no text.
    pub(crate) fn sender_id(&self) -> Cow<'a, str> {
        unquoted(self.sender).unwrap_or_default()
    }

    /// Its type; empty if that is no text.
    pub(crate) fn type_name(&self) -> Cow<'a, str> {
        unquoted(self.event_type).unwrap_or_default()
    }

    /// Its state key, if it is state.
    pub(crate) fn state_key_text(&self) -> Option<Cow<'a, str>> {
        unquoted(self.state_key?)
    }

    /// The membership that its content gives, if any.
    pub(crate) fn membership(&self) -> Option<Membership> {
        #[derive(Deserialize)]
        struct Content<'a> {
            #[serde(borrow)]
            membership: Cow<'a, str>,
        }
        let content: Content<'_> = serde_json::from_str(self.content).ok()?;
        Membership::from_name(&content.membership)
    }
}

/// The text of a JSON string.
fn unquoted(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(json).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
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
        let sent_at: u64 = self.origin_server_ts.parse().ok()?;
        sticky_until(self.sticky?, sent_at.min(now))?
            .checked_sub(now)
            .filter(|left| *left > 0)
    }
}

/// When an event that was sent then ends to be sticky, if `sticky` says that it is.
pub(crate) fn sticky_until(sticky: &str, sent_at: u64) -> Option<u64> {
    #[derive(Deserialize)]
    struct Sticky {
        duration_ms: u64,
    }
    let sticky: Sticky = serde_json::from_str(sticky).ok()?;
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
    let length = fields.content.len() + event_id.len() + 512;
    let mut out = String::with_capacity(length);
    let mut field = |name: &str, value: &str| {
        out.push(if out.is_empty() { '{' } else { ',' });
        out.push('"');
        out.push_str(name);
        out.push_str("\":");
        out.push_str(value);
    };
    let redacts = redacts_of(fields);
    field("type", fields.event_type);
    field("sender", fields.sender);
    match redacts {
        Some(redacts) if !version.redacts_in_content() => {
            field("content", &with_redacts(fields.content, redacts));
        }
        _ => field("content", fields.content),
    }
    field("event_id", &quoted(event_id));
    field("origin_server_ts", fields.origin_server_ts);
    if let Some(state_key) = fields.state_key {
        field("state_key", state_key);
    }
    if let Some(sticky) = fields.sticky {
        field("msc4354_sticky", sticky);
    }
    if let Some(redacts) = redacts {
        field("redacts", redacts);
    }
    if let Some(room_id) = room_id {
        field("room_id", &quoted(room_id));
    }
    out
}

/// A redaction's target, where either kind of room version puts it: clients of both
/// kinds look at the top.
fn redacts_of<'a>(fields: &Fields<'a>) -> Option<&'a str> {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        redacts: Option<&'a RawValue>,
    }
    if fields.event_type != "\"m.room.redaction\"" {
        return None;
    }
    fields.redacts.or_else(|| {
        serde_json::from_str::<Content<'a>>(fields.content)
            .ok()
            .and_then(|content| content.redacts)
            .map(RawValue::get)
    })
}

/// A redaction's content with its target in it, where room versions before 11 do not
/// have it.
fn with_redacts(content: &str, redacts: &str) -> String {
    let rest = content.trim_start_matches('{');
    let comma = if rest.trim_start().starts_with('}') {
        ""
    } else {
        ","
    };
    format!("{{\"redacts\":{redacts}{comma}{rest}")
}

/// Text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    put_quoted(&mut out, text);
    out
}

/// Adds text as a JSON string.
pub(crate) fn put_quoted(out: &mut String, text: &str) {
    let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    if text.bytes().any(is_special) {
        out.push_str(&serde_json::Value::from(text).to_string());
        return;
    }
    out.push('"');
    out.push_str(text);
    out.push('"');
}

pub(crate) fn damaged() -> StoreError {
    StoreError::Corrupt {
        table: tables::EVENT_BY_SERIAL.name,
        reason: store::DecodeError("not an event's JSON"),
    }
}
