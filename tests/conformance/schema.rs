//! Whether a body is what the specification's schema says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

use crate::specification::{Place, Specification};

/// The most mistakes that are told of one body.
const MOST_MISTAKES: usize = 8;

/// The schemas that were needed so far.
pub(crate) struct Schemas {
    specification: Arc<Specification>,
    ready: Mutex<HashMap<Place, Arc<Validator>>>,
}

/// A schema with all that it refers to, in one piece.
struct Bundle<'a> {
    specification: &'a Specification,
    /// The number of each place that something refers to.
    numbers: HashMap<Place, usize>,
    /// The places that are not copied yet.
    waiting: Vec<Place>,
}

impl Bundle<'_> {
    fn of(specification: &Specification, place: &Place) -> Result<Value, String> {
        let mut bundle = Bundle {
            specification,
            numbers: HashMap::new(),
            waiting: Vec::new(),
        };
        let root = specification.at(place)?;
        let mut root = bundle.schema(place, &root);
        let mut parts = Map::new();
        while let Some(place) = bundle.waiting.pop() {
            let number = bundle.numbers[&place].to_string();
            let value = bundle.specification.at(&place)?;
            let value = bundle.schema(&place, &value);
            parts.insert(number, value);
        }
        root["$defs"] = Value::Object(parts);
        Ok(root)
    }

    /// A copy of what stands in the file of `place`, with references into the bundle.
    fn schema(&mut self, place: &Place, value: &Value) -> Value {
        let members = match value {
            Value::Object(members) => members,
            Value::Array(items) => {
                return items.iter().map(|item| self.schema(place, item)).collect();
            }
            other => return other.clone(),
        };
        let mut copy = Map::new();
        for (name, value) in members {
            let value = match (name.as_str(), value) {
                ("example" | "examples", _) => continue,
                ("properties" | "patternProperties", Value::Object(properties)) => properties
                    .iter()
                    .map(|(name, value)| (name.clone(), self.schema(place, value)))
                    .collect(),
                ("$ref", Value::String(reference)) => {
                    let number = self.number(Specification::referred(place, reference));
                    json!(format!("#/$defs/{number}"))
                }
                (_, value) => self.schema(place, value),
            };
            copy.insert(name.clone(), value);
        }
        Value::Object(copy)
    }

    fn number(&mut self, place: Place) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(place).or_insert_with_key(|place| {
            self.waiting.push(place.clone());
            next
        })
    }
}

impl Schemas {
    pub(crate) fn new(specification: Arc<Specification>) -> Self {
        Self {
            specification,
            ready: Mutex::default(),
        }
    }

    /// What is wrong with a body; nothing if it is right.
    pub(crate) fn mistakes(&self, place: &Place, body: &Value) -> Vec<String> {
        let validator = match self.validator(place) {
            Ok(validator) => validator,
            Err(error) => return vec![format!("the schema cannot be used: {error}")],
        };
        let mut mistakes: Vec<String> = validator
            .iter_errors(body)
            .take(MOST_MISTAKES)
            .map(|error| {
                let words = shortened(&error.to_string());
                format!("at {:?}: {words}", error.instance_path().to_string())
            })
            .collect();
        mistakes.dedup();
        mistakes
    }

    fn validator(&self, place: &Place) -> Result<Arc<Validator>, String> {
        let mut ready = self.ready.lock().expect("no panic while it is held");
        if let Some(known) = ready.get(place) {
            return Ok(known.clone());
        }
        let root = Bundle::of(&self.specification, place)?;
        let mut options = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true);
        for (name, check) in FORMATS {
            options = options.with_format(*name, check);
        }
        let validator = options.build(&root).map_err(|error| error.to_string())?;
        let validator = Arc::new(validator);
        ready.insert(place.clone(), validator.clone());
        Ok(validator)
    }
}

/// The beginning and the end of what may name a whole body.
fn shortened(words: &str) -> String {
    let letters: Vec<char> = words.chars().collect();
    if letters.len() < 400 {
        return words.to_owned();
    }
    let end = letters.len() - 150;
    let (first, last) = (&letters[..200], &letters[end..]);
    [first, &[' ', '…', ' '], last]
        .concat()
        .into_iter()
        .collect()
}

/// Whether a text has a format.
type Check = fn(&str) -> bool;

/// The formats of `string-formats.yaml` that can be checked by their text.
const FORMATS: &[(&str, Check)] = &[
    ("mx-user-id", |text| with_server(text, '@')),
    ("mx-room-alias", |text| with_server(text, '#')),
    ("mx-room-id", |text| is_id(text, '!')),
    ("mx-event-id", |text| is_id(text, '$')),
    ("mx-server-name", is_server_name),
    ("mx-mxc-uri", is_mxc_uri),
    ("mx-unpadded-base64", |text| is_base64(text, "+/")),
    ("mx-urlsafe-unpadded-base64", |text| is_base64(text, "-_")),
];

/// An id without a server's name in it since room version 3 (events) or 12 (rooms).
fn is_id(text: &str, sigil: char) -> bool {
    let rest = text.strip_prefix(sigil);
    text.len() <= 255
        && rest.is_some_and(|rest| match rest.split_once(':') {
            Some((local, server)) => !local.is_empty() && is_server_name(server),
            None => rest.len() == 43 && is_base64(rest, "-_"),
        })
}

fn with_server(text: &str, sigil: char) -> bool {
    let rest = text.strip_prefix(sigil);
    let parts = rest.and_then(|rest| rest.split_once(':'));
    text.len() <= 255
        && parts.is_some_and(|(local, server)| !local.is_empty() && is_server_name(server))
}

fn is_server_name(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_host = match inner {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let mut letters = host.chars();
            !host.is_empty() && letters.all(|one| one.is_ascii_alphanumeric() || "-.".contains(one))
        }
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_mxc_uri(text: &str) -> bool {
    let rest = text.strip_prefix("mxc://");
    let parts = rest.and_then(|rest| rest.split_once('/'));
    parts.is_some_and(|(server, media)| {
        let mut letters = media.chars();
        let is_letter = |one: char| one.is_ascii_alphanumeric() || "-_".contains(one);
        is_server_name(server) && !media.is_empty() && letters.all(is_letter)
    })
}

fn is_base64(text: &str, more: &str) -> bool {
    let mut letters = text.chars();
    !text.is_empty() && letters.all(|one| one.is_ascii_alphanumeric() || more.contains(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_what_only_looks_like_them() {
        let check = |name: &str, text: &str| {
            let (_, check) = FORMATS.iter().find(|(known, _)| *known == name).unwrap();
            check(text)
        };
        let hash = "a".repeat(43);
        for (name, right, wrong) in [
            ("mx-user-id", "@a:b.test:1".to_owned(), "@a"),
            ("mx-user-id", "@a:[::1]:80".to_owned(), "@a:b:c:d"),
            ("mx-user-id", "@a:[::1]".to_owned(), "a:b"),
            ("mx-room-alias", "#ä b:localhost".to_owned(), "#:localhost"),
            ("mx-room-id", format!("!{hash}"), "!short"),
            ("mx-room-id", "!x:localhost".to_owned(), "!x:"),
            ("mx-event-id", format!("${hash}"), "$a/b"),
            (
                "mx-mxc-uri",
                "mxc://localhost/aZ09-_".to_owned(),
                "mxc://localhost/",
            ),
            (
                "mx-server-name",
                "localhost:8008".to_owned(),
                "localhost:port",
            ),
            ("mx-unpadded-base64", "aZ09+/".to_owned(), "aZ09=="),
        ] {
            assert!(check(name, &right), "{name}: {right}");
            assert!(!check(name, wrong), "{name}: {wrong}");
        }
    }
}
