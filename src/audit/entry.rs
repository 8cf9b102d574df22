//! Entries, before and after they are written.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Verb;

/// The longest name, address or room id that is kept, in bytes.
const MAX_NAME_BYTES: usize = 255;
/// The longest reason, in bytes.
pub(crate) const MAX_REASON_BYTES: usize = 1_000;
/// The longest state before or after, in bytes of JSON.
const MAX_STATE_BYTES: usize = 8_192;

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Somebody, by user id.
    User(String),
    /// Whoever has the command line of the machine.
    Operator,
    /// The server, by itself.
    Server,
    /// Nobody who is known.
    Nobody,
}

impl Who {
    /// How the trail writes it.
    pub fn name(&self) -> &str {
        match self {
            Self::User(user_id) => user_id,
            Self::Operator => "operator",
            Self::Server => "server",
            Self::Nobody => "nobody",
        }
    }
}

/// Who acts, from where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Who.
    pub by: Who,
    /// The network address, or what else says from where.
    pub from: Option<String>,
    /// Why, in their words.
    pub reason: Option<String>,
}

impl Act {
    /// Something that the operator does at the command line.
    pub fn operator() -> Self {
        Self::of(Who::Operator, None)
    }

    /// Something that the server does by itself.
    pub fn server() -> Self {
        Self::of(Who::Server, None)
    }

    /// Something that a person does.
    pub fn person(user_id: impl Into<String>, from: Option<String>) -> Self {
        Self::of(Who::User(user_id.into()), from)
    }

    /// Something that somebody does.
    pub fn of(by: Who, from: Option<String>) -> Self {
        Self {
            by,
            from,
            reason: None,
        }
    }

    /// The same for a reason.
    #[must_use]
    pub fn because(mut self, reason: Option<String>) -> Self {
        self.reason = reason.filter(|reason| !reason.trim().is_empty());
        self
    }

    /// What it is that was done.
    pub fn did(&self, verb: Verb) -> Deed {
        Deed {
            act: self.clone(),
            verb,
            at: None,
            on: None,
            room: None,
            before: Value::Null,
            after: Value::Null,
        }
    }
}

/// Something that is to be written into the trail.
#[derive(Clone, Debug)]
pub struct Deed {
    pub(crate) act: Act,
    pub(crate) verb: Verb,
    pub(crate) at: Option<u64>,
    pub(crate) on: Option<String>,
    pub(crate) room: Option<String>,
    pub(crate) before: Value,
    pub(crate) after: Value,
}

impl Deed {
    /// On whom or what: a user id, a room id, a file's address, a server's name.
    #[must_use]
    pub fn on(mut self, name: impl Into<String>) -> Self {
        self.on = Some(name.into());
        self
    }

    /// In which room.
    #[must_use]
    pub fn within(mut self, room_id: impl Into<String>) -> Self {
        self.room = Some(room_id.into());
        self
    }

    /// What was there before.
    #[must_use]
    pub fn before(mut self, before: Value) -> Self {
        self.before = before;
        self
    }

    /// What is there now.
    #[must_use]
    pub fn after(mut self, after: Value) -> Self {
        self.after = after;
        self
    }

    /// When, in ms since the Unix epoch, if that is not when it is written.
    #[must_use]
    pub fn at(mut self, at: u64) -> Self {
        self.at = Some(at);
        self
    }

    /// The entry of that number behind the one with hash `previous`.
    pub(crate) fn entry(&self, number: u64, previous: String, now: u64) -> Entry {
        Entry {
            number,
            previous,
            at: self.at.unwrap_or(now),
            by: cut(self.act.by.name(), MAX_NAME_BYTES),
            from: self
                .act
                .from
                .as_deref()
                .map(|text| cut(text, MAX_NAME_BYTES)),
            verb: self.verb.name().to_owned(),
            on: self.on.as_deref().map(|text| cut(text, MAX_NAME_BYTES)),
            room: self.room.as_deref().map(|text| cut(text, MAX_NAME_BYTES)),
            before: bounded(&self.before),
            after: bounded(&self.after),
            reason: self
                .act
                .reason
                .as_deref()
                .map(|text| cut(text, MAX_REASON_BYTES)),
            hash: String::new(),
        }
    }
}

fn cut(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

/// The state, or how long it would be where that is too much.
fn bounded(state: &Value) -> Value {
    let bytes = match state {
        Value::Null => return Value::Null,
        state => state.to_string().len(),
    };
    match bytes <= MAX_STATE_BYTES {
        true => state.clone(),
        false => serde_json::json!({ "omitted_bytes": bytes }),
    }
}

/// An entry of the trail. Its fields stand in this order in the line; the two first are what
/// chains the lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 1.
    pub number: u64,
    /// The hash of the line before, in hexadecimal; zeros for the first.
    pub previous: String,
    /// When, in ms since the Unix epoch.
    pub at: u64,
    /// Who: a user id, `operator`, `server` or `nobody`.
    pub by: String,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What: the name of a [`Verb`].
    pub verb: String,
    /// On whom or what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// In which room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// What was there before.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub before: Value,
    /// What is there now.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub after: Value,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The hash of this line, in hexadecimal. Not part of the line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
}

impl Entry {
    /// The names under which the entry is found.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        let names = [Some(&self.by), self.on.as_ref(), self.room.as_ref()];
        distinct(names)
    }
}

/// Each name once, and none that is empty.
pub(crate) fn distinct<T: AsRef<str> + Copy>(names: [Option<T>; 3]) -> impl Iterator<Item = T> {
    (0..names.len()).filter_map(move |index| {
        let name = names[index]?;
        let is_new = names[..index]
            .iter()
            .flatten()
            .all(|earlier| earlier.as_ref() != name.as_ref());
        (is_new && !name.as_ref().is_empty()).then_some(name)
    })
}
