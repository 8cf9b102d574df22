//! Events as they are read: what is stored of them, and what is known about them.

use std::{
    borrow::Cow,
    ops::Range,
    sync::{Arc, OnceLock},
};

use graph::{Event, Version};
use model::{EventMeta, EventSerial, Membership, RoomSerial, StoredEvent, tables};
use ruma_common::{OwnedEventId, OwnedRoomId};
use store::{Read, StoreError};

use crate::{
    ReadError,
    form::{Fields, damaged},
    room_record,
};

/// An event with what is known about it.
#[derive(Clone, Debug)]
pub struct ClientEvent {
    /// Its serial.
    pub serial: EventSerial,
    /// Its body.
    pub stored: Arc<EventBody>,
    /// What is known about it.
    pub meta: EventMeta,
    /// The redaction that took its content away.
    pub redacted_by: Option<EventSerial>,
}

/// What is stored of an event, shared by all who read it at the same time. The places of
/// its fields are looked for once.
#[derive(Debug)]
pub struct EventBody {
    /// The room that it is part of.
    pub room: RoomSerial,
    /// `$…`, the reference hash of the event.
    pub event_id: String,
    /// The event as it was signed: canonical JSON in federation form, no `unsigned`.
    pub json: Vec<u8>,
    spans: OnceLock<Option<Spans>>,
}

/// A piece of an event's JSON, in bytes.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: u32,
    to: u32,
}

/// Where the fields of an event stand in its JSON.
#[derive(Clone, Copy, Debug)]
struct Spans {
    content: Span,
    origin_server_ts: Span,
    sender: Span,
    event_type: Span,
    state_key: Option<Span>,
    redacts: Option<Span>,
    sticky: Option<Span>,
}

impl ClientEvent {
    /// Who sent it; empty if its JSON is damaged.
    pub fn sender(&self) -> Cow<'_, str> {
        let fields = self.stored.fields();
        fields.map(|fields| fields.sender_id()).unwrap_or_default()
    }

    /// Its type; empty if its JSON is damaged.
    pub fn event_type(&self) -> Cow<'_, str> {
        let fields = self.stored.fields();
        fields.map(|fields| fields.type_name()).unwrap_or_default()
    }

    /// Its state key, if it is state.
    pub fn state_key(&self) -> Option<Cow<'_, str>> {
        self.stored.fields().ok()?.state_key_text()
    }

    /// The membership that an `m.room.member` event gives, as it was sent.
    pub fn membership(&self) -> Option<Membership> {
        self.stored.fields().ok()?.membership()
    }

    /// Its content as JSON, as it was sent: a redaction changes nothing here.
    ///
    /// # Errors
    /// If the event is damaged.
    pub fn content_as_sent(&self) -> Result<&str, StoreError> {
        self.stored.fields().map(|fields| fields.content)
    }
}

impl EventBody {
    /// The fields that clients get.
    pub(crate) fn fields(&self) -> Result<Fields<'_>, StoreError> {
        let spans = self.spans.get_or_init(|| Spans::of(&self.json));
        let fields = spans.and_then(|spans| spans.fields(&self.json));
        fields.ok_or_else(damaged)
    }

    /// About how many bytes this takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.event_id.len() + self.json.len()
    }

    /// The event for the rules.
    pub(crate) fn checked(&self, version: Version, room_id: &str) -> Result<Event, ReadError> {
        event_of(self.json.clone(), &self.event_id, version, room_id)
    }
}

impl From<StoredEvent> for EventBody {
    fn from(stored: StoredEvent) -> Self {
        Self {
            room: stored.room,
            event_id: stored.event_id,
            json: stored.json,
            spans: OnceLock::new(),
        }
    }
}

impl Span {
    /// Where `piece`, a part of `whole`, stands in it.
    fn of(whole: &[u8], piece: &str) -> Option<Self> {
        let from = piece.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
        let range = from..from.checked_add(piece.len())?;
        let at = |place: usize| u32::try_from(place).ok();
        (whole.get(range.clone()) == Some(piece.as_bytes())).then_some(())?;
        Some(Self {
            from: at(range.start)?,
            to: at(range.end)?,
        })
    }

    fn range(self) -> Option<Range<usize>> {
        Some(usize::try_from(self.from).ok()?..usize::try_from(self.to).ok()?)
    }

    fn text(self, whole: &[u8]) -> Option<&str> {
        str::from_utf8(whole.get(self.range()?)?).ok()
    }
}

impl Spans {
    fn of(json: &[u8]) -> Option<Self> {
        let fields = Fields::of(json)?;
        let span = |piece: &str| Span::of(json, piece);
        let optional = |piece: Option<&str>| match piece {
            Some(piece) => span(piece).map(Some),
            None => Some(None),
        };
        Some(Self {
            content: span(fields.content)?,
            origin_server_ts: span(fields.origin_server_ts)?,
            sender: span(fields.sender)?,
            event_type: span(fields.event_type)?,
            state_key: optional(fields.state_key)?,
            redacts: optional(fields.redacts)?,
            sticky: optional(fields.sticky)?,
        })
    }

    fn fields<'a>(&self, json: &'a [u8]) -> Option<Fields<'a>> {
        let optional = |span: Option<Span>| match span {
            Some(span) => span.text(json).map(Some),
            None => Some(None),
        };
        Some(Fields {
            content: self.content.text(json)?,
            origin_server_ts: self.origin_server_ts.text(json)?,
            sender: self.sender.text(json)?,
            event_type: self.event_type.text(json)?,
            state_key: optional(self.state_key)?,
            redacts: optional(self.redacts)?,
            sticky: optional(self.sticky)?,
        })
    }
}

/// Reads the event of a serial for the rules.
///
/// # Errors
/// If it is not there or damaged.
pub(crate) fn load_event(view: &impl Read, serial: EventSerial) -> Result<Event, ReadError> {
    let stored = view
        .get(&tables::EVENT_BY_SERIAL, &serial)?
        .ok_or_else(|| ReadError::NotFound("the event is not known here".to_owned()))?;
    let (record, version) = room_record(view, stored.room)?;
    checked(stored, version, &record.room_id)
}

/// A stored event for the rules.
///
/// # Errors
/// If it is damaged.
pub(crate) fn checked(
    stored: StoredEvent,
    version: Version,
    room_id: &str,
) -> Result<Event, ReadError> {
    event_of(stored.json, &stored.event_id, version, room_id)
}

fn event_of(
    json: Vec<u8>,
    event_id: &str,
    version: Version,
    room_id: &str,
) -> Result<Event, ReadError> {
    let damaged = |_| StoreError::Corrupt {
        table: tables::EVENT_BY_SERIAL.name,
        reason: store::DecodeError("an id in it is none"),
    };
    let event_id = OwnedEventId::try_from(event_id).map_err(damaged)?;
    let room_id = OwnedRoomId::try_from(room_id).map_err(damaged)?;
    Ok(Event::from_stored(json, event_id, version, room_id, false)?)
}

/// The events of some serials, in their order, without those that are not of `room` or
/// not there any more. Who may see them is not asked here.
///
/// # Errors
/// If the database fails.
pub fn load_events(
    view: &impl Read,
    room: RoomSerial,
    serials: &[EventSerial],
) -> Result<Vec<ClientEvent>, ReadError> {
    let stored = view.get_many(&tables::EVENT_BY_SERIAL, serials)?;
    let metas = view.get_many(&tables::EVENT_META_BY_SERIAL, serials)?;
    let redactions = view.get_many(&tables::REDACTION_BY_EVENT, serials)?;
    Ok(serials
        .iter()
        .zip(stored)
        .zip(metas)
        .zip(redactions)
        .filter_map(|(((serial, stored), meta), redacted_by)| {
            let stored = stored.filter(|stored| stored.room == room)?;
            Some(ClientEvent {
                serial: *serial,
                stored: Arc::new(stored.into()),
                meta: meta?,
                redacted_by,
            })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_again_where_they_stand() {
        let json = r#"{"content":{"body":"a \"quoted\" word","content":1},"origin_server_ts":12,"sender":"@a:b","state_key":"\u0041","type":"m.x"}"#;
        let body = EventBody::from(StoredEvent {
            room: RoomSerial(1),
            event_id: "$e".to_owned(),
            json: json.as_bytes().to_vec(),
        });
        for _ in 0..2 {
            let fields = body.fields().unwrap();
            assert_eq!(
                fields.content,
                r#"{"body":"a \"quoted\" word","content":1}"#
            );
            assert_eq!(fields.origin_server_ts, "12");
            assert_eq!(fields.sender_id(), "@a:b");
            assert_eq!(fields.type_name(), "m.x");
            assert_eq!(fields.state_key, Some("\"\\u0041\""));
            assert_eq!(fields.state_key_text().as_deref(), Some("A"));
            assert!(fields.redacts.is_none() && fields.sticky.is_none());
        }
        let damaged = EventBody::from(StoredEvent {
            room: RoomSerial(1),
            event_id: "$e".to_owned(),
            json: b"{}".to_vec(),
        });
        assert!(damaged.fields().is_err());
    }
}
