//! Answers put together from JSON that exists already.

use web::RawJson;

/// An array of JSON values.
pub(super) fn array(values: &[String]) -> String {
    let length: usize = values.iter().map(|value| value.len() + 1).sum();
    let mut out = String::with_capacity(length + 2);
    out.push('[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(value);
    }
    out.push(']');
    out
}

/// An answer of these fields, whose values are JSON. The names need no escapes.
pub(super) fn object(fields: &[(&str, &str)]) -> RawJson {
    RawJson(self::fields(fields).into())
}

/// An object of these fields, as [`object`].
pub(super) fn fields(fields: &[(&str, &str)]) -> String {
    let length: usize = fields
        .iter()
        .map(|(name, json)| name.len() + json.len() + 4)
        .sum();
    let mut out = String::with_capacity(length + 2);
    for (name, json) in fields {
        out.push(if out.is_empty() { '{' } else { ',' });
        out.push('"');
        out.push_str(name);
        out.push_str("\":");
        out.push_str(json);
    }
    if out.is_empty() {
        out.push('{');
    }
    out.push('}');
    out
}

/// Text as a JSON string.
pub(super) fn text(text: &(impl ToString + ?Sized)) -> String {
    serde_json::Value::from(text.to_string()).to_string()
}

/// An array of texts.
pub(super) fn texts(texts: &[String]) -> String {
    serde_json::Value::from(texts).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_make_json() {
        for (answer, expected) in [
            (object(&[]), "{}"),
            (object(&[("a", &array(&[]))]), r#"{"a":[]}"#),
            (
                object(&[
                    ("a", &array(&["1".to_owned(), "{}".to_owned()])),
                    ("b", "null"),
                ]),
                r#"{"a":[1,{}],"b":null}"#,
            ),
            (object(&[("t", &text("\"\n"))]), r#"{"t":"\"\n"}"#),
            (
                object(&[("t", &texts(&["a\"".to_owned()]))]),
                r#"{"t":["a\""]}"#,
            ),
        ] {
            assert_eq!(answer.0, expected.as_bytes());
        }
    }
}
