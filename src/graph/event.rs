//! A checked event.

use std::fmt;

use ruma_common::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
};
use ruma_events::TimelineEventType;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::value::RawValue;

use crate::{Reason, Version, json};

/// An event that this server has made or verified: its canonical JSON in the form that servers exchange (without `unsigned`), and its
/// header, read from that JSON. Nothing of it changes ever.
#[derive(Clone)]
pub struct Event {
    json: Box<str>,
    version: Version,
    event_id: OwnedEventId,
    room_id: OwnedRoomId,
    rejected: bool,
    type_name: Box<str>,
    /// The same type once more, as the authorisation rules want it. Not [`Event::event_type`], because its variants fold names together.
    timeline_type: TimelineEventType,
    sender: OwnedUserId,
    state_key: Option<Box<str>>,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    depth: u64,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    redacts: Option<OwnedEventId>,
    content: Box<RawValue>,
    /// The content as the authorisation rules must see it, where it is not this.
    content_for_rules: Option<Box<RawValue>>,
}

/// What is read from an event's JSON. `room_id` is not: the caller knows it, and a create event of version 12 has none.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(rename = "type")]
    type_name: Box<str>,
    sender: OwnedUserId,
    state_key: Option<Box<str>>,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    depth: u64,
    prev_events: Vec<Reference>,
    auth_events: Vec<Reference>,
    // Only redactions must have an event id here; other events may have anything.
    #[serde(borrow)]
    redacts: Option<&'a RawValue>,
    content: Box<RawValue>,
}

/// How an event names another: by its id, or before version 3 by a pair of id and hashes, which are of no use.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Reference {
    Id(OwnedEventId),
    WithHashes(OwnedEventId, IgnoredAny),
}

impl From<Reference> for OwnedEventId {
    fn from(reference: Reference) -> Self {
        match reference {
            Reference::Id(event_id) | Reference::WithHashes(event_id, _) => event_id,
        }
    }
}

/// `content.redacts` of a redaction, since version 11.
#[derive(Deserialize)]
struct RedactionContent {
    redacts: Option<OwnedEventId>,
}

impl Event {
    /// Reads an event back that came from [`Event::json`] of an event of the same id, room and version. Only the header is read; hashes,
    /// signatures and limits are taken for granted, so bytes from anywhere but this server's database must not come here.
    ///
    /// `rejected` tells whether the event is kept although its authorisation failed.
    ///
    /// # Errors
    /// [`Reason::Damaged`] if the bytes are not an event's JSON.
    pub fn from_stored(
        json: Vec<u8>,
        event_id: OwnedEventId,
        version: Version,
        room_id: OwnedRoomId,
        rejected: bool,
    ) -> Result<Self, Reason> {
        let json = String::from_utf8(json)
            .map_err(|error| Reason::Damaged(format!("{event_id} is not UTF-8: {error}")))?;
        Self::read(json, event_id, version, room_id, rejected)
    }

    /// Reads the header of checked JSON.
    pub(crate) fn read(
        json: String,
        event_id: OwnedEventId,
        version: Version,
        room_id: OwnedRoomId,
        rejected: bool,
    ) -> Result<Self, Reason> {
        let header: Header<'_> = serde_json::from_str(&json)
            .map_err(|error| Reason::Damaged(format!("{event_id}: {error}")))?;
        let redacts = redaction_target(version, &header);
        let content_for_rules = content_for_rules(version, &header);
        Ok(Self {
            version,
            event_id,
            room_id,
            rejected,
            timeline_type: TimelineEventType::from(&*header.type_name),
            type_name: header.type_name,
            sender: header.sender,
            state_key: header.state_key,
            origin_server_ts: header.origin_server_ts,
            depth: header.depth,
            prev_events: header.prev_events.into_iter().map(Into::into).collect(),
            auth_events: header.auth_events.into_iter().map(Into::into).collect(),
            redacts,
            content: header.content,
            content_for_rules,
            json: json.into_boxed_str(),
        })
    }

    /// The event's canonical JSON as servers exchange it, signatures included, `unsigned` not. At most
    /// [`MAX_EVENT_BYTES`](crate::MAX_EVENT_BYTES).
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The version of the event's room.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The event's id: `$` and the reference hash; before version 3 what the server that made it chose.
    pub fn event_id(&self) -> &EventId {
        &self.event_id
    }

    /// The event's room, also where the JSON does not name it.
    pub fn room_id(&self) -> &RoomId {
        &self.room_id
    }

    /// The event's type, exactly as in the JSON.
    pub fn event_type(&self) -> &str {
        &self.type_name
    }

    /// Who sent the event.
    pub fn sender(&self) -> &UserId {
        &self.sender
    }

    /// The state key; none for an event that is not state.
    pub fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    /// Whether the event is state of this type and key.
    pub fn is_state(&self, event_type: &str, state_key: &str) -> bool {
        self.state_key() == Some(state_key) && self.event_type() == event_type
    }

    /// When the event was made by its server's clock, in milliseconds since the Unix epoch.
    pub fn origin_server_ts(&self) -> u64 {
        self.origin_server_ts.get().into()
    }

    /// One more than the greatest depth of the events before it; 1 for a create event. At most 2^53 - 1, before version 6
    /// 2^63 - 1.
    pub fn depth(&self) -> u64 {
        self.depth
    }

    /// The events directly before this one; none before a create event.
    pub fn prev_events(&self) -> &[OwnedEventId] {
        &self.prev_events
    }

    /// The events that allow this one.
    pub fn auth_events(&self) -> &[OwnedEventId] {
        &self.auth_events
    }

    /// The event that this one redacts, wherever the room version puts it. None if this is no `m.room.redaction`, or names no event.
    pub fn redacts(&self) -> Option<&EventId> {
        self.redacts.as_deref()
    }

    /// Whether the event is kept although its authorisation failed. A rejected event allows no other.
    pub fn rejected(&self) -> bool {
        self.rejected
    }

    /// The event's content: canonical JSON, not necessarily what the type promises.
    pub fn content(&self) -> &RawValue {
        &self.content
    }

    /// The event's content as a type.
    ///
    /// # Errors
    /// [`Reason::BadFormat`] if the content is not of that form. Events of others may have any content.
    pub fn content_as<T: DeserializeOwned>(&self) -> Result<T, Reason> {
        serde_json::from_str(self.content.get()).map_err(|error| {
            Reason::BadFormat(format!(
                "content of {} {}: {error}",
                self.type_name, self.event_id
            ))
        })
    }
}

/// The event that a redaction names; one that names none, or no id, redacts nothing.
fn redaction_target(version: Version, header: &Header<'_>) -> Option<OwnedEventId> {
    if &*header.type_name != "m.room.redaction" {
        return None;
    }
    if version.redacts_in_content() {
        let content: RedactionContent = serde_json::from_str(header.content.get()).ok()?;
        content.redacts
    } else {
        serde_json::from_str(header.redacts?.get()).ok()
    }
}

/// Power levels with fractions, which only old rooms have, without these.
fn content_for_rules(version: Version, header: &Header<'_>) -> Option<Box<RawValue>> {
    if version.has_canonical_json() || &*header.type_name != "m.room.power_levels" {
        return None;
    }
    let content = json::with_whole_levels(header.content.get(), version)?;
    RawValue::from_string(content).ok()
}

impl fmt::Debug for Event {
    /// Shows what is needed to find the event, never its content: this may end up in a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Event")
            .field("event_id", &self.event_id)
            .field("type", &self.type_name)
            .field("room_id", &self.room_id)
            .finish_non_exhaustive()
    }
}

/// How the authorisation rules look at an event.
impl ruma_state_res::Event for Event {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.event_id
    }

    /// The `room_id` of the JSON: a create event has none where the room id is made of its own id.
    fn room_id(&self) -> Option<&RoomId> {
        let without = self.version.room_id_is_create_event() && &*self.type_name == "m.room.create";
        (!without).then_some(&*self.room_id)
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.origin_server_ts
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.timeline_type
    }

    fn content(&self) -> &RawValue {
        self.content_for_rules.as_deref().unwrap_or(&self.content)
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&OwnedEventId> {
        self.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}
