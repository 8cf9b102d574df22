//! Answering those who ask this server for the keys of others (server-server API,
//! "Querying keys through another server").

use std::{collections::BTreeMap, time::Duration};

use model::{PeerDocumentRecord, tables::PEER_DOCUMENT_BY_NAME};
use ruma_common::{CanonicalJsonObject, OwnedServerName, ServerName};
use runtime::Timestamp;
use store::{Read as _, Snapshot, StoreError};
use tokio::task::JoinSet;

use crate::{Peers, json::MAX_DEPTH};

/// The most servers whose keys one request may ask for.
const MOST_SERVERS: usize = 100;
/// How long is waited for servers whose keys are not known.
const TIME: Duration = Duration::from_secs(15);

/// The servers whose keys somebody wants, each with the time up to which its document
/// should be valid.
pub type WantedKeys = BTreeMap<OwnedServerName, Timestamp>;

impl Peers {
    /// The documents of servers' keys, each signed by its server and by this one. Those
    /// that cannot be had are left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn notarised(
        &self,
        wanted: WantedKeys,
    ) -> Result<Vec<CanonicalJsonObject>, StoreError> {
        let mut asking = JoinSet::new();
        for (server, until) in wanted.into_iter().take(MOST_SERVERS) {
            let peers = self.clone();
            asking.spawn(async move { peers.document_of(&server, until).await });
        }
        let mut documents = Vec::new();
        let all = async {
            while let Some(Ok(found)) = asking.join_next().await {
                documents.extend(found?);
            }
            Ok::<_, StoreError>(())
        };
        // Who is slow is left out.
        if let Ok(done) = tokio::time::timeout(TIME, all).await {
            done?;
        }
        Ok(documents)
    }

    async fn document_of(
        &self,
        server: &ServerName,
        until: Timestamp,
    ) -> Result<Option<CanonicalJsonObject>, StoreError> {
        if server == self.server_name() {
            return Ok(self.own_document().ok());
        }
        if self.may_speak_to(server).is_err() {
            return Ok(None);
        }
        let mut stored = self.stored_document(server).await?;
        let wanted = until.max(self.clock().now());
        let is_old = stored
            .as_ref()
            .is_none_or(|stored| stored.valid_until < wanted.0);
        // Keys of the configuration are never fetched.
        if is_old && !self.ring().is_pinned(server) {
            self.ring().refresh(server, self).await?;
            stored = self.stored_document(server).await?;
        }
        Ok(stored.and_then(|stored| self.countersigned(&stored)))
    }

    async fn stored_document(
        &self,
        server: &ServerName,
    ) -> Result<Option<PeerDocumentRecord>, StoreError> {
        let name = server.to_string();
        let read = move |view: &Snapshot| view.get(&PEER_DOCUMENT_BY_NAME, &name);
        self.store().read(read).await
    }

    fn countersigned(&self, stored: &PeerDocumentRecord) -> Option<CanonicalJsonObject> {
        let mut document = graph::canonical(stored.document.as_bytes(), MAX_DEPTH).ok()?;
        self.signing_key()
            .sign_json(self.server_name(), &mut document)
            .ok()?;
        Some(document)
    }
}
