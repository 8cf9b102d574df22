//! Signed JSON of keys, and stored JSON as it is handed on.

use ruma_common::{CanonicalJsonObject, CanonicalJsonValue};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, value::RawValue};
use sha2::{Digest as _, Sha256};
use store::{DecodeError, StoreError};

/// How deeply the JSON of a key may be nested.
const MAX_KEY_DEPTH: usize = 16;

/// Reads the JSON object of a key, of at most `max_bytes`. The text says what is wrong with it.
pub(crate) fn key_object(json: &str, max_bytes: usize) -> Result<CanonicalJsonObject, String> {
    if json.len() > max_bytes {
        return Err(format!("the JSON of a key has at most {max_bytes} bytes"));
    }
    graph::canonical(json.as_bytes(), MAX_KEY_DEPTH).map_err(|reason| reason.to_string())
}

/// The canonical bytes of an object.
pub(crate) fn key_bytes(object: &CanonicalJsonObject) -> Result<Vec<u8>, String> {
    graph::canonical_text(object)
        .map(String::into_bytes)
        .map_err(|reason| reason.to_string())
}

/// The SHA-256 of what the signatures of an object cover.
pub(crate) fn content_hash(object: &CanonicalJsonObject) -> Result<[u8; 32], String> {
    let mut content = object.clone();
    content.remove("signatures");
    content.remove("unsigned");
    Ok(Sha256::digest(key_bytes(&content)?).into())
}

/// The text under `key`, if it is text.
pub(crate) fn text<'a>(object: &'a CanonicalJsonObject, key: &str) -> Option<&'a str> {
    match object.get(key) {
        Some(CanonicalJsonValue::String(text)) => Some(text),
        _ => None,
    }
}

/// The object under `key`, if it is an object.
pub(crate) fn object<'a>(
    object: &'a CanonicalJsonObject,
    key: &str,
) -> Option<&'a CanonicalJsonObject> {
    match object.get(key) {
        Some(CanonicalJsonValue::Object(inner)) => Some(inner),
        _ => None,
    }
}

/// The signatures of one user on an object: key id and signature.
pub(crate) fn signatures_of<'a>(
    signed: &'a CanonicalJsonObject,
    user_id: &str,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    object(signed, "signatures")
        .and_then(|signatures| object(signatures, user_id))
        .into_iter()
        .flatten()
        .filter_map(|(key_id, signature)| match signature {
            CanonicalJsonValue::String(signature) => Some((key_id.as_str(), signature.as_str())),
            _ => None,
        })
}

/// Leaves only those signatures of `user_id` on the object that are `kept`, and none of others.
pub(crate) fn keep_signatures(
    signed: &mut CanonicalJsonObject,
    user_id: &str,
    kept: impl IntoIterator<Item = (String, String)>,
) {
    let kept: CanonicalJsonObject = kept
        .into_iter()
        .map(|(key_id, signature)| (key_id, CanonicalJsonValue::String(signature)))
        .collect();
    if kept.is_empty() {
        signed.remove("signatures");
    } else {
        let signatures = [(user_id.to_owned(), CanonicalJsonValue::Object(kept))];
        let signatures = CanonicalJsonValue::Object(signatures.into_iter().collect());
        signed.insert("signatures".to_owned(), signatures);
    }
}

/// Leaves the signatures of `user_id` on the object, and none of others.
pub(crate) fn keep_all_signatures_of(signed: &mut CanonicalJsonObject, user_id: &str) {
    let owned = |(key_id, signature): (&str, &str)| (key_id.to_owned(), signature.to_owned());
    let kept: Vec<_> = signatures_of(signed, user_id).map(owned).collect();
    keep_signatures(signed, user_id, kept);
}

/// Adds a signature to a stored object that is to be shown.
pub(crate) fn add_signature(
    shown: &mut Map<String, Value>,
    user_id: String,
    key_id: String,
    signature: String,
) {
    let signatures = shown
        .entry("signatures")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(signatures) = signatures {
        let signer = signatures
            .entry(user_id)
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(signer) = signer {
            signer.insert(key_id, Value::String(signature));
        }
    }
}

/// Whether the bytes are one JSON object.
pub(crate) fn is_object(json: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(json).is_ok_and(|raw| raw.get().starts_with('{'))
}

/// Stored JSON, read again.
pub(crate) fn parse<T: DeserializeOwned>(
    json: &[u8],
    table: &'static str,
) -> Result<T, StoreError> {
    serde_json::from_slice(json).map_err(|_| damaged(table))
}

/// Stored JSON as it is.
pub(crate) fn raw(json: Vec<u8>, table: &'static str) -> Result<Box<RawValue>, StoreError> {
    String::from_utf8(json)
        .ok()
        .and_then(|text| RawValue::from_string(text).ok())
        .ok_or_else(|| damaged(table))
}

/// An object that is to be shown, written.
pub(crate) fn written(
    shown: &Map<String, Value>,
    table: &'static str,
) -> Result<Box<RawValue>, StoreError> {
    serde_json::value::to_raw_value(shown).map_err(|_| damaged(table))
}

fn damaged(table: &'static str) -> StoreError {
    StoreError::Corrupt {
        table,
        reason: DecodeError("the stored JSON"),
    }
}
