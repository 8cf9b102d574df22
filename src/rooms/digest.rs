//! What a new event means for unread counts: worked out once, when it is written.

use graph::{Event, PowerLevels};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::relations::{Relation, part};

/// The most users whose mention by one event is kept.
const MENTIONS: usize = 50;

/// The part of an event that unread counts need.
pub(crate) struct Digest {
    /// Whether the spec's default push rules notify about it.
    pub(crate) counts: bool,
    /// The id of the thread's root; filled in by who can follow the event's relations.
    pub(crate) thread: Option<String>,
    /// Whether it mentions the whole room, with the power to.
    pub(crate) mentions_room: bool,
    /// The ids of the users that it mentions.
    pub(crate) mentions: Vec<String>,
    /// The id of the event that it annotates, and its own type and key in one text.
    pub(crate) annotates: Option<(String, String)>,
}

/// Each part is read by itself: one of a wrong shape says nothing about the others.
#[derive(Deserialize, Default)]
struct Content<'a> {
    #[serde(borrow)]
    msgtype: Option<&'a RawValue>,
    #[serde(borrow, rename = "m.relates_to")]
    relates_to: Option<&'a RawValue>,
    #[serde(borrow, rename = "m.mentions")]
    mentions: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Mentions {
    #[serde(default)]
    user_ids: Vec<String>,
    #[serde(default)]
    room: bool,
}

/// Works out the digest of an event by the predefined push rules (client-server
/// API, "Push rules"), in their order: notices never notify, mentions always, then
/// messages, encrypted events and calls that are no edits. Of state, only the end of
/// the room notifies, and everybody.
pub(crate) fn digest(event: &Event, levels: Option<&PowerLevels>) -> Digest {
    if let Some(state_key) = event.state_key() {
        let ends_room = event.event_type() == "m.room.tombstone" && state_key.is_empty();
        return Digest {
            counts: ends_room,
            thread: None,
            mentions_room: ends_room,
            mentions: Vec::new(),
            annotates: None,
        };
    }
    // Content of another shape mentions nobody.
    let content: Content<'_> = serde_json::from_str(event.content().get()).unwrap_or_default();
    let relation: Relation = part(content.relates_to);
    let is_notice = event.event_type() == "m.room.message"
        && content.msgtype.map(RawValue::get) == Some("\"m.notice\"");
    let mut mentions: Mentions = part(content.mentions.filter(|_| !is_notice));
    mentions.user_ids.truncate(MENTIONS);
    let may_mention_room = levels.is_some_and(|levels| {
        levels
            .user(event.sender())
            .reaches(levels.to_notify("room"))
    });
    let is_edit = relation.is_edit();
    let speaks = matches!(
        event.event_type(),
        "m.room.message"
            | "m.room.encrypted"
            | "m.call.invite"
            // Polls (MSC3930).
            | "org.matrix.msc3381.poll.start"
            | "org.matrix.msc3381.poll.end"
    );
    Digest {
        counts: speaks && !is_notice && !is_edit,
        annotates: relation
            .annotation()
            .map(|(target, key)| (target, format!("{} {key}", event.event_type()))),
        thread: None,
        mentions_room: mentions.room && may_mention_room,
        mentions: mentions.user_ids,
    }
}
