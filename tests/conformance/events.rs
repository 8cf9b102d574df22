//! The events in an answer, held against the schemas of their types.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::schema::Schemas;
use crate::specification::{Place, Specification};

/// How many events of each type were held against its schema.
pub(crate) type Counts = BTreeMap<String, usize>;

/// What is wrong with the contents of an answer's events; counts those that were looked at.
pub(crate) fn mistakes(
    specification: &Specification,
    schemas: &Schemas,
    body: &Value,
    counts: &mut Counts,
) -> Vec<String> {
    let mut mistakes = Vec::new();
    look(specification, schemas, body, counts, &mut mistakes);
    mistakes.sort();
    mistakes.dedup();
    mistakes
}

fn look(
    specification: &Specification,
    schemas: &Schemas,
    value: &Value,
    counts: &mut Counts,
    mistakes: &mut Vec<String>,
) {
    match value {
        Value::Array(items) => {
            for item in items {
                look(specification, schemas, item, counts, mistakes);
            }
        }
        Value::Object(members) => {
            if let (Some(kind), Some(content)) = (members.get("type"), members.get("content"))
                && let Some(place) = schema(specification, kind.as_str().unwrap_or_default())
                // What was redacted has lost what its type requires.
                && value["unsigned"]["redacted_because"].is_null()
            {
                *counts.entry(kind.to_string()).or_default() += 1;
                for mistake in schemas.mistakes(&place, content) {
                    mistakes.push(format!("an event of the type {kind}, content {mistake}"));
                }
            }
            for value in members.values() {
                look(specification, schemas, value, counts, mistakes);
            }
        }
        _ => {}
    }
}

/// Where the schema of a type's content stands; `None` for a type that has none.
fn schema(specification: &Specification, kind: &str) -> Option<Place> {
    let is_name = |one: char| one.is_ascii_alphanumeric() || "._".contains(one);
    if !kind.starts_with("m.") || !kind.chars().all(is_name) {
        return None;
    }
    let folder: PathBuf = specification.folder().join("event-schemas/schema");
    let place = Place {
        file: folder.join(format!("{kind}.yaml")),
        pointer: "/properties/content".into(),
    };
    specification.at(&place).is_ok().then_some(place)
}
