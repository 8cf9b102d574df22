//! Servers that an administrator has blocked: besides the configuration, and at once.

use std::collections::BTreeMap;

use audit::Deed;
use model::{BlockedServerRecord, tables::BLOCKED_SERVER};
use parking_lot::RwLock;
use ruma_common::{OwnedServerName, ServerName};
use store::{Read as _, Store, StoreError};

/// The blocked servers.
#[derive(Debug, Default)]
pub(crate) struct Blocked {
    known: RwLock<BTreeMap<OwnedServerName, BlockedServerRecord>>,
    /// Held by whoever changes them, so that what is known is what was written last.
    changing: tokio::sync::Mutex<()>,
}

impl Blocked {
    /// Those that the database has.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) fn load(store: &Store) -> Result<Self, StoreError> {
        let mut blocked = BTreeMap::new();
        for row in store.snapshot().scan(&BLOCKED_SERVER, &()) {
            let (name, record) = row?;
            if let Ok(name) = OwnedServerName::try_from(name) {
                blocked.insert(name, record);
            }
        }
        Ok(Self {
            known: RwLock::new(blocked),
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// Whether a server is blocked: under its name, or all at its host.
    pub(crate) fn has(&self, server: &ServerName) -> bool {
        let blocked = self.known.read();
        let is = |name: &ServerName| {
            name.as_str().eq_ignore_ascii_case(server.as_str())
                || name.as_str().eq_ignore_ascii_case(server.host())
        };
        blocked.keys().any(|name| is(name))
    }

    pub(crate) fn all(&self) -> Vec<(OwnedServerName, BlockedServerRecord)> {
        let blocked = self.known.read();
        let all = blocked.iter();
        all.map(|(name, record)| (name.clone(), record.clone()))
            .collect()
    }

    /// Blocks a server from now on. The audit trail is told `deed` in the same commit.
    ///
    /// # Errors
    /// If the database fails; then nothing was done.
    pub(crate) async fn block(
        &self,
        store: &Store,
        server: &ServerName,
        (record, deed): (BlockedServerRecord, Deed),
    ) -> Result<(), StoreError> {
        let _changing = self.changing.lock().await;
        let (key, row, now) = (server.to_string(), record.clone(), record.blocked_at);
        store
            .commit(move |latest, _, batch| {
                batch.put(&BLOCKED_SERVER, &key, &row);
                audit::record(latest, batch, now, &[deed])
            })
            .await?;
        self.known.write().insert(server.to_owned(), record);
        Ok(())
    }

    /// Blocks a server no more; whether it was. The audit trail is told `deed` in the same commit.
    ///
    /// # Errors
    /// If the database fails; then nothing was done.
    pub(crate) async fn unblock(
        &self,
        store: &Store,
        server: &ServerName,
        (now, deed): (u64, Deed),
    ) -> Result<bool, StoreError> {
        let _changing = self.changing.lock().await;
        let key = server.to_string();
        let was = store
            .commit(move |latest, _, batch| {
                let was = latest.contains(&BLOCKED_SERVER, &key)?;
                if was {
                    batch.delete(&BLOCKED_SERVER, &key);
                    audit::record(latest, batch, now, &[deed])?;
                }
                Ok::<_, StoreError>(was)
            })
            .await?;
        self.known.write().remove(server);
        Ok(was)
    }
}
