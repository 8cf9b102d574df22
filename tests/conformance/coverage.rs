//! Whether answers held what could be wrong in them.
//!
//! An empty list agrees with every schema of lists. So each list and each map of an
//! operation's answers must have had an element at least once, and each property that the
//! schema names is noted when it never came.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::specification::{Place, Specification};

/// What an operation's answers held so far.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Each list (`chunk[]`) and each map (`rooms.join{}`) that came, and whether it ever
    /// had an element.
    pub(crate) filled: BTreeMap<String, bool>,
    /// Each property that the schema names, and whether it ever came.
    pub(crate) named: BTreeMap<String, bool>,
}

impl Held {
    /// Notes what a body holds of a schema's parts.
    pub(crate) fn note(
        &mut self,
        specification: &Specification,
        schema: &Place,
        body: &Value,
    ) -> Result<(), String> {
        Walk {
            specification,
            held: self,
        }
        .part(schema, body, "")
    }

    /// Whether the schema names nothing, or something of it came.
    pub(crate) fn has_something(&self) -> bool {
        let mut came = self.named.values().chain(self.filled.values());
        (self.named.is_empty() && self.filled.is_empty()) || came.any(|came| *came)
    }

    /// The lists and maps that were always empty.
    pub(crate) fn empty(&self) -> Vec<&str> {
        never(&self.filled)
    }

    /// The properties that never came.
    pub(crate) fn missing(&self) -> Vec<&str> {
        never(&self.named)
    }
}

fn never(notes: &BTreeMap<String, bool>) -> Vec<&str> {
    let notes = notes.iter().filter(|(_, came)| !**came);
    notes.map(|(name, _)| name.as_str()).collect()
}

fn note(notes: &mut BTreeMap<String, bool>, name: String, came: bool) {
    *notes.entry(name).or_default() |= came;
}

struct Walk<'a> {
    specification: &'a Specification,
    held: &'a mut Held,
}

impl Walk<'_> {
    fn part(&mut self, place: &Place, body: &Value, path: &str) -> Result<(), String> {
        let schema = self.specification.at(place)?;
        if let Some(reference) = schema["$ref"].as_str() {
            self.part(&Specification::referred(place, reference), body, path)?;
        }
        for word in ["allOf", "anyOf", "oneOf"] {
            for index in 0..schema[word].as_array().map_or(0, Vec::len) {
                let one = place.below(word).below(&index.to_string());
                // Of alternatives, what the others name need not come.
                if word == "allOf" || self.fits(&one, body)? {
                    self.part(&one, body, path)?;
                }
            }
        }
        match body {
            Value::Array(items) => self.list(place, &schema, items, path),
            Value::Object(_) => self.object(place, &schema, body, path),
            _ => Ok(()),
        }
    }

    /// Whether an alternative is meant: its type is the body's, and what it requires is there.
    fn fits(&self, place: &Place, body: &Value) -> Result<bool, String> {
        let (_, schema) = self.specification.follow(place)?;
        let is_type = match schema["type"].as_str() {
            Some("object") => body.is_object(),
            Some("array") => body.is_array(),
            Some("string") => body.is_string(),
            _ => true,
        };
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let mut required = required.iter().filter_map(Value::as_str);
        Ok(is_type && required.all(|name| body.get(name).is_some()))
    }

    fn list(
        &mut self,
        place: &Place,
        schema: &Value,
        items: &[Value],
        path: &str,
    ) -> Result<(), String> {
        let path = format!("{path}[]");
        if schema["type"] == "array" || schema["items"].is_object() {
            note(&mut self.held.filled, path.clone(), !items.is_empty());
        }
        if schema["items"].is_object() {
            for item in items {
                self.part(&place.below("items"), item, &path)?;
            }
        }
        Ok(())
    }

    fn object(
        &mut self,
        place: &Place,
        schema: &Value,
        body: &Value,
        path: &str,
    ) -> Result<(), String> {
        let properties = schema["properties"].as_object();
        for name in properties.into_iter().flatten().map(|(name, _)| name) {
            let below = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            note(
                &mut self.held.named,
                below.clone(),
                body.get(name).is_some(),
            );
            if let Some(value) = body.get(name) {
                self.part(&place.below("properties").below(name), value, &below)?;
            }
        }
        if properties.is_some_and(|properties| !properties.is_empty()) {
            return Ok(());
        }
        let below = format!("{path}{{}}");
        let others = place.below("additionalProperties");
        let by_pattern = schema["patternProperties"].as_object();
        let pattern = by_pattern.and_then(|patterns| patterns.keys().next());
        let values = match pattern {
            Some(pattern) => Some(place.below("patternProperties").below(pattern)),
            None => schema["additionalProperties"].is_object().then_some(others),
        };
        let is_alternative = ["allOf", "anyOf", "oneOf", "$ref"]
            .iter()
            .any(|word| !schema[*word].is_null());
        if values.is_some() || (schema["type"] == "object" && !is_alternative) {
            let members = body.as_object();
            let is_empty = members.is_none_or(serde_json::Map::is_empty);
            note(&mut self.held.filled, below.clone(), !is_empty);
            for value in members.into_iter().flatten().map(|(_, value)| value) {
                if let Some(values) = &values {
                    self.part(values, value, &below)?;
                }
            }
        }
        Ok(())
    }
}
