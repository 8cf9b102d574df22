//! `event_fields` of a filter (client-server API, "Filtering").

use serde_json::{Map, Value};

/// What remains of an event's JSON when only some fields are wanted. A dot in a name
/// leads into an object, `\\.` is a dot of the name itself.
pub(crate) fn only_fields(json: &str, fields: &[String]) -> String {
    let Ok(event) = serde_json::from_str::<Value>(json) else {
        return json.to_owned();
    };
    let mut kept = Value::Object(Map::new());
    for field in fields {
        copy(&event, &mut kept, &path(field));
    }
    kept.to_string()
}

fn path(field: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = field.chars();
    while let Some(character) = characters.next() {
        match character {
            '.' => parts.push(String::new()),
            '\\' => {
                if let (Some(next), Some(last)) = (characters.next(), parts.last_mut()) {
                    if !matches!(next, '.' | '\\') {
                        last.push('\\');
                    }
                    last.push(next);
                }
            }
            other => {
                if let Some(last) = parts.last_mut() {
                    last.push(other);
                }
            }
        }
    }
    parts
}

fn copy(from: &Value, to: &mut Value, path: &[String]) {
    let (Some((name, rest)), Some(to)) = (path.split_first(), to.as_object_mut()) else {
        return;
    };
    let Some(value) = from.get(name) else {
        return;
    };
    if rest.is_empty() {
        to.insert(name.clone(), value.clone());
    } else if value.is_object() {
        let inner = to
            .entry(name.clone())
            .or_insert_with(|| Value::Object(Map::new()));
        copy(value, inner, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::only_fields;

    #[test]
    fn fields_are_chosen_by_path() {
        let json = r#"{"type":"m","content":{"body":"a","x.y":1,"deep":{"z":2,"w":3}}}"#;
        let chosen = |fields: &[&str]| {
            let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
            only_fields(json, &fields)
        };
        assert_eq!(chosen(&["type"]), r#"{"type":"m"}"#);
        assert_eq!(chosen(&["content.body"]), r#"{"content":{"body":"a"}}"#);
        assert_eq!(chosen(&["content.x\\.y"]), r#"{"content":{"x.y":1}}"#);
        assert_eq!(
            chosen(&["content.deep.z"]),
            r#"{"content":{"deep":{"z":2}}}"#
        );
        assert_eq!(chosen(&["nothing"]), "{}");
    }
}
