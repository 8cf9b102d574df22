//! Which events a client wants to be told of (client-server API, "Filtering").

use ruma_client_api::filter::{RoomEventFilter, UrlFilter};
use serde::Deserialize;

use crate::{ClientEvent, relations::Relation};

/// A filter of events, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    types: Option<Vec<String>>,
    not_types: Vec<String>,
    senders: Option<Vec<String>>,
    not_senders: Vec<String>,
    rooms: Option<Vec<String>>,
    not_rooms: Vec<String>,
    contains_url: Option<bool>,
    relations: RelationFilter,
}

/// Which relations events may have (MSC3874).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct RelationFilter {
    /// Only events with one of these relations.
    #[serde(rename = "org.matrix.msc3874.rel_types")]
    pub rel_types: Option<Vec<String>>,
    /// No events with one of these, whatever `rel_types` says.
    #[serde(default, rename = "org.matrix.msc3874.not_rel_types")]
    pub not_rel_types: Vec<String>,
}

impl RelationFilter {
    fn is_open(&self) -> bool {
        self.rel_types.is_none() && self.not_rel_types.is_empty()
    }

    fn allows(&self, content: &str) -> bool {
        if self.is_open() {
            return true;
        }
        let relation = Relation::of_content(content.as_bytes()).rel_type;
        let named = |types: &[String]| relation.as_ref().is_some_and(|one| types.contains(one));
        self.rel_types.as_deref().is_none_or(named) && !named(&self.not_rel_types)
    }
}

impl From<&RoomEventFilter> for EventFilter {
    fn from(filter: &RoomEventFilter) -> Self {
        let texts = |ids: &Option<Vec<_>>| ids.as_ref().map(|ids: &Vec<_>| strings(ids));
        Self {
            types: filter.types.clone(),
            not_types: filter.not_types.clone(),
            senders: texts(&filter.senders),
            not_senders: strings(&filter.not_senders),
            rooms: filter.rooms.as_ref().map(|ids| strings(ids)),
            not_rooms: strings(&filter.not_rooms),
            contains_url: filter.url_filter.as_ref().map(|url| match url {
                UrlFilter::EventsWithUrl => true,
                UrlFilter::EventsWithoutUrl => false,
            }),
            relations: RelationFilter::default(),
        }
    }
}

fn strings<T: ToString>(ids: &[T]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

/// Whether `name` matches a pattern in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

impl EventFilter {
    /// The same, for events with certain relations only.
    #[must_use]
    pub fn with_relations(mut self, relations: RelationFilter) -> Self {
        self.relations = relations;
        self
    }

    /// Whether every event passes.
    pub fn is_open(&self) -> bool {
        self.types.is_none()
            && self.not_types.is_empty()
            && self.senders.is_none()
            && self.not_senders.is_empty()
            && self.contains_url.is_none()
            && self.relations.is_open()
    }

    /// Whether events of this room pass.
    pub fn allows_room(&self, room_id: &str) -> bool {
        let named = |ids: &[String]| ids.iter().any(|id| id == room_id);
        self.rooms.as_deref().is_none_or(named) && !named(&self.not_rooms)
    }

    /// Whether events of this type pass.
    pub fn allows_type(&self, event_type: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|one| matches(one, event_type));
        self.types.as_deref().is_none_or(any) && !any(&self.not_types)
    }

    /// Whether events of this sender pass.
    pub fn allows_sender(&self, sender: &str) -> bool {
        let named = |ids: &[String]| ids.iter().any(|id| id == sender);
        self.senders.as_deref().is_none_or(named) && !named(&self.not_senders)
    }

    /// Whether the event passes. Unreadable events do not.
    pub fn allows(&self, event: &ClientEvent) -> bool {
        if self.is_open() {
            return true;
        }
        let Ok(fields) = event.stored.fields() else {
            return false;
        };
        self.allows_type(&fields.type_name())
            && self.allows_sender(&fields.sender_id())
            && self.relations.allows(fields.content)
            && self
                .contains_url
                .is_none_or(|wanted| has_url(fields.content) == wanted)
    }
}

fn has_url(content: &str) -> bool {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        url: Option<&'a serde_json::value::RawValue>,
    }
    serde_json::from_str::<Content<'_>>(content)
        .is_ok_and(|content| content.url.is_some_and(|url| url.get().starts_with('"')))
}

#[cfg(test)]
mod tests {
    use super::{RelationFilter, matches};

    #[test]
    fn patterns_match_as_the_spec_says() {
        for (pattern, name, expected) in [
            ("m.room.message", "m.room.message", true),
            ("m.room.message", "m.room.messages", false),
            ("m.*", "m.room.message", true),
            ("*", "anything", true),
            ("m.*.message", "m.room.message", true),
            ("m.*.message", "m.room.topic", false),
            ("*.topic", "m.room.topic", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn events_are_chosen_by_their_relation() {
        let thread = r#"{"m.relates_to":{"rel_type":"m.thread","event_id":"$a"}}"#;
        let edit = r#"{"m.relates_to":{"rel_type":"m.replace","event_id":"$a"}}"#;
        let contents = [thread, edit, "{}"];
        for (filter, expected) in [
            ("{}", [true, true, true]),
            (
                r#"{"org.matrix.msc3874.not_rel_types":["m.thread"]}"#,
                [false, true, true],
            ),
            (
                r#"{"org.matrix.msc3874.rel_types":["m.thread","m.replace"]}"#,
                [true, true, false],
            ),
            (
                r#"{"org.matrix.msc3874.rel_types":["m.thread","m.replace"],
                    "org.matrix.msc3874.not_rel_types":["m.replace"]}"#,
                [true, false, false],
            ),
        ] {
            let relations: RelationFilter = serde_json::from_str(filter).unwrap();
            let passed = contents.map(|content| relations.allows(content));
            assert_eq!(passed, expected, "{filter}");
        }
    }
}
