//! Finding the key for a signature.

use std::{collections::HashMap, sync::Arc, time::Duration};

use model::{
    PeerKeyRecord,
    tables::{PEER_DOCUMENT_BY_NAME, PEER_KEY_BY_ID},
};
use parking_lot::Mutex;
use ruma_common::{OwnedServerName, ServerName};
use runtime::{Clock, Timestamp};
use store::{Read as _, Snapshot, Store, StoreError};
use tokio::sync::Semaphore;

use super::{Document, Pinned};
use crate::policy::Refused;

/// How long a server is not asked again, whatever came of it: neither can a stranger have
/// another server asked again and again by naming keys that do not exist.
const PAUSE: Duration = Duration::from_secs(60);
/// The most servers whose last fetch is remembered.
const MOST_FETCHES: usize = 20_000;
/// How many fetches run at the same time, and how many may wait for that.
const FETCHES: usize = 64;
/// How long one may wait to be among them.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most keys that are held in memory.
const MOST_KEYS: usize = 20_000;

/// Why there is no key for a signature.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeyError {
    /// This server does not speak to that one.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Nobody told the server's keys.
    #[error("the keys of {server} could not be had: {reason}")]
    Unreachable {
        /// The server.
        server: OwnedServerName,
        /// What went wrong.
        reason: String,
    },
    /// The server has published no such key.
    #[error("{server} has no key {key_id}")]
    Unknown {
        /// The server.
        server: OwnedServerName,
        /// The key.
        key_id: String,
    },
    /// The key's time was over.
    #[error("the key {key_id} of {server} was valid up to {until} only")]
    Expired {
        /// The server.
        server: OwnedServerName,
        /// The key.
        key_id: String,
        /// The end of its time.
        until: Timestamp,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where documents come from.
pub(crate) trait Sources: Send + Sync {
    /// The newest document of a server, from it or from others.
    fn fetch(&self, server: &ServerName) -> impl Future<Output = Result<Document, String>> + Send;
}

/// When a server was last asked for its keys, and what went wrong then.
#[derive(Clone, Debug)]
struct Fetch {
    at: Timestamp,
    failed: Option<String>,
}

/// Who asks for a server's keys while they are being fetched, waits for that.
type Slot = Arc<tokio::sync::Mutex<Option<Fetch>>>;

/// The keys of other servers: pinned, in memory, stored, or fetched.
pub(crate) struct Ring {
    store: Store,
    clock: Clock,
    pinned: Pinned,
    known: Mutex<HashMap<(OwnedServerName, String), PeerKeyRecord>>,
    fetches: Mutex<HashMap<OwnedServerName, Slot>>,
    places: Semaphore,
}

impl Ring {
    pub(crate) fn new(store: Store, clock: Clock, pinned: Pinned) -> Self {
        Self {
            store,
            clock,
            pinned,
            known: Mutex::default(),
            fetches: Mutex::default(),
            places: Semaphore::new(FETCHES),
        }
    }

    /// The public key of a server with which signatures made `at` a time count.
    pub(crate) async fn key(
        &self,
        server: &ServerName,
        key_id: &str,
        at: Timestamp,
        sources: &impl Sources,
    ) -> Result<String, KeyError> {
        let unknown = || KeyError::Unknown {
            server: server.to_owned(),
            key_id: key_id.to_owned(),
        };
        if self.pinned.names(server) {
            return self.pinned.key(server, key_id).ok_or_else(unknown);
        }
        let known = self.known(server, key_id).await?;
        if let Some(record) = &known
            && at.0 <= record.valid_until
        {
            return Ok(record.key.clone());
        }
        let failed = self.refresh(server, sources).await?;
        let known = self.known(server, key_id).await?;
        match (known, failed) {
            (Some(record), _) if at.0 <= record.valid_until => Ok(record.key),
            // Why it is not valid matters less than that nobody could be asked.
            (_, Some(reason)) => Err(KeyError::Unreachable {
                server: server.to_owned(),
                reason,
            }),
            (Some(record), None) => Err(KeyError::Expired {
                server: server.to_owned(),
                key_id: key_id.to_owned(),
                until: Timestamp(record.valid_until),
            }),
            (None, None) => Err(unknown()),
        }
    }

    /// Whether a server's keys are those of the configuration or of the list in force.
    pub(crate) fn is_pinned(&self, server: &ServerName) -> bool {
        self.pinned.names(server)
    }

    /// A key of the configuration or of the list in force.
    pub(crate) fn pinned_key(&self, server: &ServerName, key_id: &str) -> Option<String> {
        self.pinned.key(server, key_id)
    }

    /// Fetches a server's keys, unless that was done just now. Says what went wrong.
    pub(crate) async fn refresh(
        &self,
        server: &ServerName,
        sources: &impl Sources,
    ) -> Result<Option<String>, StoreError> {
        let slot = self.slot(server);
        let mut last = slot.lock().await;
        let now = self.clock.now();
        if let Some(fetch) = last.as_ref()
            && now.since(fetch.at) < PAUSE
        {
            return Ok(fetch.failed.clone());
        }
        let Ok(Ok(_place)) = tokio::time::timeout(PATIENCE, self.places.acquire()).await else {
            return Ok(Some("too many keys are being fetched".to_owned()));
        };
        let failed = match sources.fetch(server).await {
            Ok(document) => {
                self.keep(server, document).await?;
                None
            }
            Err(reason) => Some(reason),
        };
        *last = Some(Fetch {
            at: self.clock.now(),
            failed: failed.clone(),
        });
        Ok(failed)
    }

    fn slot(&self, server: &ServerName) -> Slot {
        let mut fetches = self.fetches.lock();
        if fetches.len() >= MOST_FETCHES && !fetches.contains_key(server) {
            fetches.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        fetches.entry(server.to_owned()).or_default().clone()
    }

    async fn known(
        &self,
        server: &ServerName,
        key_id: &str,
    ) -> Result<Option<PeerKeyRecord>, StoreError> {
        let key = (server.to_owned(), key_id.to_owned());
        if let Some(record) = self.known.lock().get(&key) {
            return Ok(Some(record.clone()));
        }
        let row = (server.to_string(), key_id.to_owned());
        let read = move |view: &Snapshot| view.get(&PEER_KEY_BY_ID, &row);
        let found = self.store.read(read).await?;
        if let Some(record) = &found {
            self.remember(key, record.clone());
        }
        Ok(found)
    }

    fn remember(&self, key: (OwnedServerName, String), record: PeerKeyRecord) {
        let mut known = self.known.lock();
        if known.len() >= MOST_KEYS {
            known.clear();
        }
        known.insert(key, record);
    }

    /// Stores what a document says. Keys that it does not name any more stay as they are.
    async fn keep(&self, server: &ServerName, document: Document) -> Result<(), StoreError> {
        let name = server.to_string();
        let (keys, record) = (document.keys.clone(), document.record);
        self.store
            .commit(move |_, _, batch| {
                for (id, key) in &keys {
                    batch.put(&PEER_KEY_BY_ID, &(name.clone(), id.clone()), key);
                }
                batch.put(&PEER_DOCUMENT_BY_NAME, &name, &record);
                Ok::<_, StoreError>(())
            })
            .await?;
        for (id, record) in document.keys {
            self.remember((server.to_owned(), id), record);
        }
        Ok(())
    }
}
