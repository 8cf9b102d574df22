//! Canonical JSON (appendices, "Canonical JSON"): reading it from a client's bytes, writing it.

use std::fmt;

use ruma_common::{CanonicalJsonObject, CanonicalJsonValue};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use crate::Reason;

/// The deepest nesting that [`canonical`] accepts whatever it is asked for. An event nests its content once more, and everything that
/// reads it must still be able to.
pub const MAX_JSON_DEPTH: usize = 100;

/// Reads a JSON object that shall become part of an event, usually its content, from what a client sent.
///
/// `max_depth` is the deepest nesting allowed, where `{}` has depth 1; at most [`MAX_JSON_DEPTH`].
///
/// # Errors
/// - [`Reason::NotJson`] if the bytes are not JSON in UTF-8.
/// - [`Reason::BadFormat`] if they are, but not an object, nested too deeply, with a key twice in one object, or with a number that is not
///   an integer between -(2^53)+1 and (2^53)-1. `1.0`, `1e3` and `-0` are refused too: a server that accepted them would have to guess
///   what the sender has signed.
pub fn canonical(json: &[u8], max_depth: usize) -> Result<CanonicalJsonObject, Reason> {
    canonical_to(json, max_depth.min(MAX_JSON_DEPTH))
}

/// [`canonical`] to any depth, which must be less than that at which serde_json stops by itself.
pub(crate) fn canonical_to(json: &[u8], max_depth: usize) -> Result<CanonicalJsonObject, Reason> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let seed = Nested {
        depth_left: max_depth,
    };
    let value = seed.deserialize(&mut deserializer).map_err(reason)?;
    deserializer.end().map_err(reason)?;
    match value {
        CanonicalJsonValue::Object(object) => Ok(object),
        _ => Err(Reason::BadFormat("expected a JSON object".to_owned())),
    }
}

/// The canonical encoding of an object: sorted keys, no white space, UTF-8.
///
/// # Errors
/// [`Reason::BadFormat`], which no object that can be constructed is known to cause.
pub fn canonical_text(object: &CanonicalJsonObject) -> Result<String, Reason> {
    serde_json::to_string(object).map_err(|error| Reason::BadFormat(error.to_string()))
}

fn reason(error: serde_json::Error) -> Reason {
    match error.classify() {
        Category::Data => Reason::BadFormat(error.to_string()),
        Category::Io | Category::Syntax | Category::Eof => Reason::NotJson(error.to_string()),
    }
}

/// Reads one value, with so many levels of nesting left.
#[derive(Clone, Copy)]
struct Nested {
    depth_left: usize,
}

impl Nested {
    fn inner<E: Error>(self) -> Result<Self, E> {
        let depth_left = self
            .depth_left
            .checked_sub(1)
            .ok_or_else(|| E::custom("the JSON is nested too deeply"))?;
        Ok(Self { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = CanonicalJsonValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

fn not_an_integer<E: Error>() -> E {
    E::custom("a number must be an integer between -(2^53)+1 and (2^53)-1")
}

impl<'de> Visitor<'de> for Nested {
    type Value = CanonicalJsonValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        let integer = value.try_into().map_err(|_| not_an_integer::<E>())?;
        Ok(CanonicalJsonValue::Integer(integer))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        let integer = value.try_into().map_err(|_| not_an_integer::<E>())?;
        Ok(CanonicalJsonValue::Integer(integer))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Err(not_an_integer())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let inner = self.inner()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(CanonicalJsonValue::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let inner = self.inner()?;
        let mut object = CanonicalJsonObject::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key {key:?} stands twice in an object"
                )));
            }
            object.insert(key, value);
        }
        Ok(CanonicalJsonValue::Object(object))
    }
}
