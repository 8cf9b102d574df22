//! The document in which a server publishes its signing keys (server-server API,
//! "Publishing Keys").

use std::{collections::BTreeMap, time::Duration};

use graph::verify_json;
use model::{PeerDocumentRecord, PeerKeyRecord};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, ServerName, canonical_json::CanonicalJsonObjectExt,
};
use runtime::Timestamp;

/// The longest that a key counts without being seen again, whatever its document says:
/// "servers MUST use the lesser of this field and 7 days into the future".
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The most keys of one document.
const MOST_KEYS: usize = 100;
/// The longest key id, in bytes.
const MAX_ID_BYTES: usize = 255;

/// A document that its server has signed.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// The keys that it names, with what is known of each.
    pub(crate) keys: BTreeMap<String, PeerKeyRecord>,
    pub(crate) record: PeerDocumentRecord,
}

impl Document {
    /// Checks a document of `server`, fetched `now`.
    ///
    /// # Errors
    /// A sentence for a person.
    pub(crate) fn check(
        server: &ServerName,
        object: CanonicalJsonObject,
        now: Timestamp,
    ) -> Result<Self, String> {
        if text(&object, "server_name") != Some(server.as_str()) {
            return Err(format!("it is not about {server}"));
        }
        let until = time(&object, "valid_until_ts").ok_or("it has no valid_until_ts")?;
        let current = current(&object, until.min(now.plus(LONGEST)), now)?;
        let mut keys = old(&object, now)?;
        if current.len() + keys.len() > MOST_KEYS {
            return Err(format!("it has more than {MOST_KEYS} keys"));
        }
        is_signed(server, &object, &current)?;
        keys.extend(current);
        let document = graph::canonical_text(&object).map_err(|error| error.to_string())?;
        let record = PeerDocumentRecord {
            document,
            valid_until: until.0,
            fetched_at: now.0,
        };
        Ok(Self { keys, record })
    }
}

/// The keys with which the server signs, valid up to `until`.
fn current(
    object: &CanonicalJsonObject,
    until: Timestamp,
    now: Timestamp,
) -> Result<BTreeMap<String, PeerKeyRecord>, String> {
    let keys = section(object, "verify_keys")?.ok_or("it has no verify_keys")?;
    let key = |(id, key): (&String, &CanonicalJsonValue)| {
        let key = text(key.as_object()?, "key")?.to_owned();
        let record = PeerKeyRecord {
            key,
            valid_until: until.0,
            seen_at: now.0,
        };
        is_ours_to_use(id).then(|| (id.clone(), record))
    };
    Ok(keys.iter().filter_map(key).collect())
}

/// The keys with which the server signed once, each valid up to its end.
fn old(
    object: &CanonicalJsonObject,
    now: Timestamp,
) -> Result<BTreeMap<String, PeerKeyRecord>, String> {
    let Some(keys) = section(object, "old_verify_keys")? else {
        return Ok(BTreeMap::new());
    };
    let key = |(id, key): (&String, &CanonicalJsonValue)| {
        let key = key.as_object()?;
        let record = PeerKeyRecord {
            key: text(key, "key")?.to_owned(),
            valid_until: time(key, "expired_ts")?.0,
            seen_at: now.0,
        };
        is_ours_to_use(id).then(|| (id.clone(), record))
    };
    Ok(keys.iter().filter_map(key).collect())
}

/// Other algorithms are passed over, not refused: the server may have both.
fn is_ours_to_use(id: &str) -> bool {
    id.starts_with("ed25519:") && id.len() <= MAX_ID_BYTES
}

/// Every signature by a key of the document must be right, and there must be one.
fn is_signed(
    server: &ServerName,
    object: &CanonicalJsonObject,
    keys: &BTreeMap<String, PeerKeyRecord>,
) -> Result<(), String> {
    let signatures = section(object, "signatures")?.and_then(|all| all.get(server.as_str()));
    let signatures = signatures.and_then(CanonicalJsonValue::as_object);
    let mut is_signed = false;
    for id in signatures.into_iter().flat_map(BTreeMap::keys) {
        if let Some(record) = keys.get(id) {
            verify_json(server.as_str(), id, &record.key, object)
                .map_err(|error| error.to_string())?;
            is_signed = true;
        }
    }
    is_signed
        .then_some(())
        .ok_or_else(|| "it is signed by none of its keys".to_owned())
}

fn section<'a>(
    object: &'a CanonicalJsonObject,
    name: &str,
) -> Result<Option<&'a CanonicalJsonObject>, String> {
    object
        .get_as_object(name, name)
        .map_err(|error| error.to_string())
}

fn text<'a>(object: &'a CanonicalJsonObject, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

fn time(object: &CanonicalJsonObject, name: &str) -> Option<Timestamp> {
    let CanonicalJsonValue::Integer(time) = object.get(name)? else {
        return None;
    };
    u64::try_from(i64::from(*time)).ok().map(Timestamp)
}
