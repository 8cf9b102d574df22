//! JSON of events as other servers send it, any room version's.
//!
//! Since version 6 it is canonical. Before, numbers may have fractions, exponents and any size (room versions 1 to 5, "Canonical JSON"), and
//! nobody wrote down how they are encoded for hashing. All those rooms' events were encoded by Synapse first of all, so numbers are
//! written here as Python writes them.

use std::{collections::BTreeMap, fmt};

use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, canonical_json::redact_in_place};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{MAX_JSON_DEPTH, Reason, Version, canonical::canonical_to};

/// The deepest nesting of an event: its content nests once more than what [`canonical`](crate::canonical) accepts.
pub(crate) const MAX_EVENT_DEPTH: usize = MAX_JSON_DEPTH + 1;

/// The greatest power level, 2^53 - 1.
const MAX_LEVEL: i64 = (1 << 53) - 1;

pub(crate) type JsonObject = BTreeMap<String, Json>;

/// A JSON value whose numbers are kept as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(Box<str>),
    String(String),
    Array(Vec<Json>),
    Object(JsonObject),
}

/// Reads an event's JSON as its room version demands.
///
/// # Errors
/// As [`canonical`](crate::canonical). Before version 6 less is refused: of two equal keys the last counts, and numbers need only be those of
/// JSON, within the range of a double if they have a fraction or an exponent.
pub(crate) fn read(json: &[u8], version: Version) -> Result<JsonObject, Reason> {
    match canonical_to(json, MAX_EVENT_DEPTH) {
        Ok(object) => Ok(object
            .into_iter()
            .map(|(key, value)| (key, value.into()))
            .collect()),
        Err(Reason::BadFormat(_)) if !version.has_canonical_json() => {
            let raw: &RawValue =
                serde_json::from_slice(json).map_err(|error| Reason::NotJson(error.to_string()))?;
            match read_lenient(raw.get(), MAX_EVENT_DEPTH)? {
                Json::Object(object) => Ok(object),
                _ => Err(Reason::BadFormat("expected a JSON object".to_owned())),
            }
        }
        Err(reason) => Err(reason),
    }
}

/// Reads one value of valid JSON, with so many levels of nesting left.
fn read_lenient(text: &str, depth_left: usize) -> Result<Json, Reason> {
    let malformed = |error: serde_json::Error| Reason::NotJson(error.to_string());
    let deeper = || {
        depth_left
            .checked_sub(1)
            .ok_or_else(|| Reason::BadFormat("the JSON is nested too deeply".to_owned()))
    };
    Ok(match text.trim_ascii_start().as_bytes().first() {
        Some(b'{') => {
            let depth_left = deeper()?;
            let RawObject(entries) = serde_json::from_str(text).map_err(malformed)?;
            let mut object = JsonObject::new();
            for (key, value) in entries {
                object.insert(key, read_lenient(value.get(), depth_left)?);
            }
            Json::Object(object)
        }
        Some(b'[') => {
            let depth_left = deeper()?;
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(malformed)?;
            let items = items
                .into_iter()
                .map(|item| read_lenient(item.get(), depth_left));
            Json::Array(items.collect::<Result<_, _>>()?)
        }
        Some(b'"') => Json::String(serde_json::from_str(text).map_err(malformed)?),
        Some(b't') => Json::Bool(true),
        Some(b'f') => Json::Bool(false),
        Some(b'n') => Json::Null,
        _ => Json::Number(number(text.trim_ascii())?),
    })
}

/// The entries of an object in the order in which they are written, equal keys included.
struct RawObject<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for RawObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawObject<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(RawObject(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A number of valid JSON as Python reads and writes it: integers of any size unchanged, everything else by way of a double.
fn number(text: &str) -> Result<Box<str>, Reason> {
    if !text.contains(['.', 'e', 'E']) {
        return Ok(if text == "-0" { "0" } else { text }.into());
    }
    let value: f64 = text
        .parse()
        .map_err(|_| Reason::NotJson(format!("{text:?} is not a number")))?;
    if !value.is_finite() {
        return Err(Reason::BadFormat(format!(
            "the number {text} is out of range"
        )));
    }
    let shortest = format!("{value:e}");
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    Ok(if (-4..16).contains(&exponent) {
        format!("{value:?}")
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.abs())
    }
    .into())
}

impl From<CanonicalJsonValue> for Json {
    fn from(value: CanonicalJsonValue) -> Self {
        match value {
            CanonicalJsonValue::Null => Self::Null,
            CanonicalJsonValue::Bool(value) => Self::Bool(value),
            CanonicalJsonValue::Integer(value) => Self::Number(value.to_string().into()),
            CanonicalJsonValue::String(value) => Self::String(value),
            CanonicalJsonValue::Array(items) => {
                Self::Array(items.into_iter().map(Self::from).collect())
            }
            CanonicalJsonValue::Object(object) => Self::Object(
                object
                    .into_iter()
                    .map(|(key, value)| (key, value.into()))
                    .collect(),
            ),
        }
    }
}

impl Json {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn as_object(&self) -> Option<&JsonObject> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The same value without its numbers, which no redaction looks at.
    fn outline(&self) -> CanonicalJsonValue {
        match self {
            Self::Null | Self::Number(_) => CanonicalJsonValue::Null,
            Self::Bool(value) => CanonicalJsonValue::Bool(*value),
            Self::String(text) => CanonicalJsonValue::String(text.clone()),
            Self::Array(_) => CanonicalJsonValue::Array(Vec::new()),
            Self::Object(object) => CanonicalJsonValue::Object(outline(object)),
        }
    }

    fn write(&self, text: &mut String) -> Result<(), Reason> {
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(true) => text.push_str("true"),
            Self::Bool(false) => text.push_str("false"),
            Self::Number(number) => text.push_str(number),
            Self::String(value) => write_string(value, text)?,
            Self::Array(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    item.write(text)?;
                }
                text.push(']');
            }
            Self::Object(object) => write_object(object.iter(), text)?,
        }
        Ok(())
    }
}

/// The encoding for hashing, signing and storing: sorted keys, no white space, without those of the object's own keys that `left_out` names.
pub(crate) fn text_without(object: &JsonObject, left_out: &[&str]) -> Result<String, Reason> {
    let mut text = String::new();
    let entries = object
        .iter()
        .filter(|(key, _)| !left_out.contains(&key.as_str()));
    write_object(entries, &mut text)?;
    Ok(text)
}

fn write_object<'a>(
    entries: impl Iterator<Item = (&'a String, &'a Json)>,
    text: &mut String,
) -> Result<(), Reason> {
    text.push('{');
    for (index, (key, value)) in entries.enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_string(key, text)?;
        text.push(':');
        value.write(text)?;
    }
    text.push('}');
    Ok(())
}

fn write_string(value: &str, text: &mut String) -> Result<(), Reason> {
    let encoded =
        serde_json::to_string(value).map_err(|error| Reason::BadFormat(error.to_string()))?;
    text.push_str(&encoded);
    Ok(())
}

/// The content of power levels of versions 1 to 5 with whole numbers only (room versions, "`m.room.power_levels` events accept values as floats"):
/// cut at the decimal point. None if they are whole anyway.
///
/// What is beyond 2^53 - 1 counts as that: it is more than anybody has either way.
pub(crate) fn with_whole_levels(content: &str, version: Version) -> Option<String> {
    fn whole(value: &mut Json) {
        match value {
            Json::Number(number) => {
                let limit = MAX_LEVEL as f64;
                // Nor is a zero negative in the end, which would be no integer.
                let cut = number.parse().unwrap_or(0.0_f64).trunc();
                *number = format!("{:.0}", cut.clamp(-limit, limit) + 0.0).into();
            }
            Json::Object(object) => object.values_mut().for_each(whole),
            _ => {}
        }
    }
    if canonical_to(content.as_bytes(), MAX_EVENT_DEPTH).is_ok() {
        return None;
    }
    let mut content = Json::Object(read(content.as_bytes(), version).ok()?);
    whole(&mut content);
    let mut text = String::new();
    content.write(&mut text).ok()?;
    Some(text)
}

/// What the version's redaction leaves of an event.
pub(crate) fn redacted(mut object: JsonObject, version: Version) -> Result<JsonObject, Reason> {
    let mut kept = outline(&object);
    redact_in_place(&mut kept, &version.rules().redaction, None)
        .map_err(|error| Reason::BadFormat(error.to_string()))?;
    keep(&mut object, &kept);
    Ok(object)
}

fn outline(object: &JsonObject) -> CanonicalJsonObject {
    object
        .iter()
        .map(|(key, value)| (key.clone(), value.outline()))
        .collect()
}

/// Takes out the keys that are not in `kept`, at every depth of objects.
fn keep(object: &mut JsonObject, kept: &CanonicalJsonObject) {
    object.retain(|key, value| match (value, kept.get(key)) {
        (_, None) => false,
        (Json::Object(inner), Some(CanonicalJsonValue::Object(kept))) => {
            keep(inner, kept);
            true
        }
        (_, Some(_)) => true,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(json: &str) -> Result<String, Reason> {
        text_without(&read(json.as_bytes(), Version::V1)?, &[])
    }

    #[test]
    fn numbers_of_old_rooms_are_written_as_python_does() {
        // Each pair as `json.dumps(json.loads(text))` of CPython 3.11 has it.
        for (text, written) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("1.0", "1.0"),
            ("50.57", "50.57"),
            ("5.114698E4", "51146.98"),
            ("1e3", "1000.0"),
            ("1E15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("1.5e300", "1.5e+300"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("-2.5e-7", "-2.5e-07"),
            ("123456789012345678.5", "1.2345678901234568e+17"),
            ("5e-324", "5e-324"),
            ("9007199254740993", "9007199254740993"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
        ] {
            assert_eq!(
                encoded(&format!(r#"{{"a":[ {text} ]}}"#)).as_deref(),
                Ok(&*format!(r#"{{"a":[{written}]}}"#)),
                "{text}"
            );
        }
        assert!(encoded(r#"{"a":1e400}"#).is_err());
    }

    #[test]
    fn levels_are_cut_at_the_decimal_point() {
        for (level, cut) in [
            ("50.57", "50"),
            ("-50.57", "-50"),
            ("5.114698E4", "51146"),
            ("-0.4", "0"),
            ("1e300", "9007199254740991"),
            ("-99999999999999999999", "-9007199254740991"),
            ("1.0", "1"),
        ] {
            let content = format!(r#"{{"ban":"7","users":{{"@a:b":{level}}}}}"#);
            let expected = format!(r#"{{"ban":"7","users":{{"@a:b":{cut}}}}}"#);
            assert_eq!(with_whole_levels(&content, Version::V5), Some(expected));
        }
        assert_eq!(with_whole_levels(r#"{"ban":5}"#, Version::V5), None);
    }

    #[test]
    fn only_old_rooms_may_have_odd_json() {
        let odd = r#" { "b" : 1.5, "a": {"x":"\u00e9\n","x":null}, "é":true } "#;
        assert_eq!(
            encoded(odd).as_deref(),
            Ok(r#"{"a":{"x":null},"b":1.5,"é":true}"#)
        );
        for version in Version::KNOWN {
            let refused = read(odd.as_bytes(), version);
            let is_refused = matches!(refused, Err(Reason::BadFormat(_)));
            assert_eq!(is_refused, version >= Version::V6, "{version}");
        }
        for not_json in [
            "",
            "{",
            "[1.5",
            "{\"a\":01.5}",
            "{\"a\":1.5}x",
            "{\"a\":NaN}",
        ] {
            assert!(
                matches!(encoded(not_json), Err(Reason::NotJson(_))),
                "{not_json}"
            );
        }
        assert!(matches!(encoded("[1.5]"), Err(Reason::BadFormat(_))));
        let nested = |depth: usize| {
            format!(
                "{{\"a\":{}1.5{}}}",
                "[".repeat(depth - 1),
                "]".repeat(depth - 1)
            )
        };
        assert!(encoded(&nested(MAX_EVENT_DEPTH)).is_ok());
        assert!(encoded(&nested(MAX_EVENT_DEPTH + 1)).is_err());
    }
}
