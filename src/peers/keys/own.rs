//! The keys of this server.

use std::{sync::Arc, time::Duration};

use graph::SigningKey;
use js_int::UInt;
use model::{OldKeyRecord, tables::OLD_KEY_BY_ID};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, OwnedServerName};
use runtime::{Clock, Timestamp};
use store::{Read as _, Store, StoreError};

/// How long others may use the document without asking again. As long as that they
/// believe a key that was stolen; and as long as that this server may be away without
/// its newest events becoming unverifiable for those who do not have the key yet.
const VALIDITY: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// The most old keys that are published, newest first.
const MOST_OLD_KEYS: usize = 50;

/// The key that this server signs with, and those that it signed with once.
pub(crate) struct OwnKeys {
    server_name: OwnedServerName,
    key: Arc<SigningKey>,
    old: Vec<(String, OldKeyRecord)>,
    clock: Clock,
}

impl OwnKeys {
    pub(crate) fn new(
        server_name: OwnedServerName,
        key: Arc<SigningKey>,
        store: &Store,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let snapshot = store.snapshot();
        let rows = snapshot.scan(&OLD_KEY_BY_ID, &());
        let mut old = rows.collect::<Result<Vec<_>, _>>()?;
        // A rotation that was cut off half-way has left the key that is still in use.
        old.retain(|(id, _)| id != key.key_id());
        old.sort_by_key(|(_, record)| std::cmp::Reverse(record.expired_at));
        old.truncate(MOST_OLD_KEYS);
        Ok(Self {
            server_name,
            key,
            old,
            clock,
        })
    }

    pub(crate) fn server_name(&self) -> &OwnedServerName {
        &self.server_name
    }

    pub(crate) fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// One of this server's public keys, if its signatures of that time count.
    pub(crate) fn key(&self, id: &str, at: Timestamp) -> Option<String> {
        if id == self.key.key_id() {
            return Some(self.key.public_base64());
        }
        let (_, old) = self.old.iter().find(|(old, _)| old == id)?;
        (at.0 <= old.expired_at).then(|| old.key.clone())
    }

    /// What `GET /_matrix/key/v2/server` answers.
    pub(crate) fn document(&self) -> Result<CanonicalJsonObject, graph::Reason> {
        let text = |text: &str| CanonicalJsonValue::String(text.to_owned());
        let time = |time: u64| {
            // 2^53 ms are 285,000 years.
            CanonicalJsonValue::Integer(UInt::try_from(time).unwrap_or(UInt::MAX).into())
        };
        let object = |entries: Vec<(&str, CanonicalJsonValue)>| {
            let entries = entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value));
            CanonicalJsonValue::Object(entries.collect())
        };
        let current = object(vec![("key", text(&self.key.public_base64()))]);
        let old = self.old.iter().map(|(id, record)| {
            let old = vec![
                ("expired_ts", time(record.expired_at)),
                ("key", text(&record.key)),
            ];
            (id.clone(), object(old))
        });
        let old = CanonicalJsonValue::Object(old.collect());
        let until = self.clock.now().plus(VALIDITY);
        let mut document = CanonicalJsonObject::new();
        document.insert("server_name".to_owned(), text(self.server_name.as_str()));
        document.insert(
            "verify_keys".to_owned(),
            object(vec![(self.key.key_id(), current)]),
        );
        document.insert("old_verify_keys".to_owned(), old);
        document.insert("valid_until_ts".to_owned(), time(until.0));
        self.key.sign_json(&self.server_name, &mut document)?;
        Ok(document)
    }
}

/// Writes down that this server no longer signs with `key`. The next key goes into use
/// after that: what was written before it is in use changes nothing.
///
/// # Errors
/// [`StoreError`].
pub async fn rotate(store: &Store, key: &SigningKey, now: Timestamp) -> Result<(), StoreError> {
    let id = key.key_id().to_owned();
    let record = OldKeyRecord {
        key: key.public_base64(),
        expired_at: now.0,
    };
    store
        .commit(move |_, _, batch| {
            batch.put(&OLD_KEY_BY_ID, &id, &record);
            Ok(())
        })
        .await
}
