//! JSON of which the answers consist.

use serde::Serialize;
use serde_json::Value;
use web::{ApiError, RawJson, Reply};

/// A value as an answer.
pub(crate) fn json(value: &impl Serialize) -> Reply<RawJson> {
    let bytes = serde_json::to_vec(value).map_err(ApiError::internal)?;
    Ok(RawJson(bytes.into()))
}

/// An object of these fields, whose values are JSON already.
pub(crate) fn object(fields: &[(&str, &str)]) -> RawJson {
    let length: usize = fields.iter().map(|(_, json)| json.len() + 32).sum();
    let mut text = String::with_capacity(length + 2);
    text.push('{');
    for (number, (name, json)) in fields.iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        text.push_str(&self::text(name));
        text.push(':');
        text.push_str(json);
    }
    text.push('}');
    RawJson(text.into())
}

/// A list of JSON values.
pub(crate) fn list(values: &[String]) -> String {
    format!("[{}]", values.join(","))
}

/// A text as JSON.
pub(crate) fn text(text: &str) -> String {
    Value::from(text).to_string()
}

/// A list of texts as JSON.
pub(crate) fn texts<T: AsRef<str>>(texts: &[T]) -> String {
    let texts: Vec<String> = texts.iter().map(|it| text(it.as_ref())).collect();
    list(&texts)
}

/// An answer as the first versions of some endpoints have it: after a status.
pub(crate) fn with_status(answer: &RawJson) -> RawJson {
    let mut bytes = b"[200,".to_vec();
    bytes.extend_from_slice(&answer.0);
    bytes.push(b']');
    RawJson(bytes.into())
}
