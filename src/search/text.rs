//! Which text of an event is searched, and which event another one changes.

use std::borrow::Cow;

use model::SearchedField;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A part of events that can be searched (`keys` of the request).
pub type Field = SearchedField;

/// Of an event what decides about its text.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    state_key: Option<&'a RawValue>,
    #[serde(default)]
    redacts: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: &'a RawValue,
    origin_server_ts: Option<serde_json::Value>,
    #[serde(default)]
    sender: Cow<'a, str>,
}

/// Each part is read by itself: one of a wrong shape says nothing about the others.
#[derive(Deserialize, Default)]
struct Content<'a> {
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    topic: Option<&'a RawValue>,
    #[serde(borrow)]
    redacts: Option<&'a RawValue>,
    #[serde(borrow, rename = "m.new_content")]
    new_content: Option<&'a RawValue>,
    #[serde(borrow, rename = "m.relates_to")]
    relates_to: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Relation<'a> {
    rel_type: Cow<'a, str>,
    event_id: Cow<'a, str>,
}

/// What an event is for the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It may be found.
    Found,
    /// It changes the text of another.
    Edits(String),
    /// It takes another's text away.
    Redacts(String),
    /// Nothing.
    Other,
}

/// What the index knows of an event.
pub(crate) struct Told {
    /// What it does.
    pub(crate) role: Role,
    /// Its text. Of an edit, the new one.
    pub(crate) text: Option<(Field, String)>,
    /// Who sent it.
    pub(crate) sender: String,
    /// When, as its server says, in ms since the Unix epoch.
    pub(crate) sent_at: u64,
}

/// Reads the JSON of an event; none of what is no event.
pub(crate) fn told(json: &[u8]) -> Option<Told> {
    let header: Header<'_> = serde_json::from_slice(json).ok()?;
    let mut content = content(header.content.get());
    let field = field(&header);
    let mut role = match field {
        Some(_) => Role::Found,
        None => Role::Other,
    };
    if header.event_type == "m.room.redaction" {
        let named = text(content.redacts).or_else(|| header.redacts.map(Cow::into_owned));
        role = named.map_or(Role::Other, Role::Redacts);
    } else if header.state_key.is_none()
        // An edit may be of a type that has no text, and of one that has.
        && let Some(relation) = content
            .relates_to
            .and_then(|raw| serde_json::from_str::<Relation<'_>>(raw.get()).ok())
        && relation.rel_type == "m.replace"
    {
        role = Role::Edits(relation.event_id.into_owned());
        if let Some(new) = content.new_content {
            content = self::content(new.get());
        }
    }
    let raw = field.and_then(|field| {
        Some(match field {
            Field::Body => (field, content.body?),
            Field::Name => (field, content.name?),
            Field::Topic => (field, content.topic?),
        })
    });
    Some(Told {
        role,
        text: raw.and_then(|(field, raw)| Some((field, text(Some(raw))?))),
        sender: header.sender.into_owned(),
        sent_at: header
            .origin_server_ts
            .and_then(|time| time.as_u64())
            .unwrap_or_default(),
    })
}

/// The searched text of an event. Of an edit, the new text.
pub(crate) fn searched(json: &[u8]) -> Option<(Field, String)> {
    told(json)?.text
}

fn content(json: &str) -> Content<'_> {
    serde_json::from_str(json).unwrap_or_default()
}

/// The field of an event of this type; none for types that are not searched.
fn field(header: &Header<'_>) -> Option<Field> {
    match (header.event_type.as_ref(), header.state_key.is_some()) {
        ("m.room.message", false) => Some(Field::Body),
        ("m.room.name", true) => Some(Field::Name),
        ("m.room.topic", true) => Some(Field::Topic),
        _ => None,
    }
}

fn text(raw: Option<&RawValue>) -> Option<String> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn role(json: &[u8]) -> Role {
        told(json).map_or(Role::Other, |told| told.role)
    }

    fn event(event_type: &str, state_key: Option<&str>, content: Value) -> Vec<u8> {
        let mut event = json!({ "type": event_type, "content": content, "origin_server_ts": 5 });
        if let Some(key) = state_key {
            event["state_key"] = key.into();
        }
        event.to_string().into_bytes()
    }

    #[test]
    fn only_three_types_have_text() {
        let message = json!({ "body": "a", "name": "b", "topic": "c" });
        for (event_type, state_key, expected) in [
            ("m.room.message", None, Some((Field::Body, "a"))),
            ("m.room.name", Some(""), Some((Field::Name, "b"))),
            ("m.room.topic", Some(""), Some((Field::Topic, "c"))),
            ("m.room.message", Some(""), None),
            ("m.room.name", None, None),
            ("m.room.encrypted", None, None),
        ] {
            let json = event(event_type, state_key, message.clone());
            let expected = expected.map(|(field, text): (_, &str)| (field, text.to_owned()));
            assert_eq!(searched(&json), expected, "{event_type}");
        }
        assert_eq!(
            searched(&event("m.room.message", None, json!({ "body": 1 }))),
            None
        );
    }

    #[test]
    fn edits_and_redactions_name_the_event_that_they_change() {
        let relation = json!({ "rel_type": "m.replace", "event_id": "$a" });
        let edit = json!({
            "body": "* new", "m.new_content": { "body": "new" }, "m.relates_to": relation,
        });
        let edit = event("m.room.message", None, edit);
        assert_eq!(role(&edit), Role::Edits("$a".to_owned()));
        assert_eq!(searched(&edit), Some((Field::Body, "new".to_owned())));
        let reply =
            json!({ "body": "x", "m.relates_to": { "m.in_reply_to": { "event_id": "$a" } } });
        assert_eq!(role(&event("m.room.message", None, reply)), Role::Found);
        let redaction = event("m.room.redaction", None, json!({ "redacts": "$b" }));
        assert_eq!(role(&redaction), Role::Redacts("$b".to_owned()));
        let old = json!({ "type": "m.room.redaction", "redacts": "$c", "content": {} });
        let old = old.to_string().into_bytes();
        assert_eq!(role(&old), Role::Redacts("$c".to_owned()));
        assert_eq!(role(b"{}"), Role::Other);
        assert_eq!(role(&event("m.reaction", None, json!({}))), Role::Other);
    }
}
