//! Signed lists of servers, for closed federations.
//!
//! An authority that the operator has chosen (`federation.peer_list_key`) says which servers
//! belong together, with which keys, where they are and whom their certificates come from.
//! A list is a file, carried by hand or fetched from `federation.peer_list_url`. It counts
//! until a newer one comes: older ones are refused, and one whose time is over stays in force,
//! since being cut off helps nobody. The keys of its servers are never fetched.

mod document;

use std::{sync::Arc, time::Duration};

use audit::{Act, Verb};
use http::{HeaderMap, Method, StatusCode};
use model::{PeerListRecord, tables::PEER_LIST};
use outgoing::Request;
use parking_lot::RwLock;
use ruma_common::ServerName;
use runtime::{Stop, Timestamp};
use store::{Read as _, Snapshot, Store, StoreError};
use url::Url;

pub use document::{AuthorityKey, DraftServer, ListedServer, MAX_LIST_BYTES, PeerList};

use crate::Peers;

/// How often a list is fetched where the configuration says from where…
const REFRESH: Duration = Duration::from_secs(3_600);
/// …and how soon again when that failed.
const RETRY: Duration = Duration::from_secs(300);
/// How long fetching one may take.
const FETCH: Duration = Duration::from_secs(60);

/// Why a list is not taken. The one before it stays in force.
#[derive(Debug, thiserror::Error)]
pub enum PeerListError {
    /// The configuration names no authority.
    #[error("`federation.peer_list_key` names no authority whose lists are taken")]
    NoAuthority,
    /// It is no list.
    #[error("this is no list of servers: {0}")]
    Unusable(String),
    /// The authority has not signed it like this.
    #[error("the list is not signed by the authority of `federation.peer_list_key`: {0}")]
    Signature(String),
    /// Its time is over.
    #[error("the list was valid up to {0} only: ask for a newer one")]
    Ended(Timestamp),
    /// A newer one is in force, or another with the same number.
    #[error("the list has the number {serial}, and {known} is in force: an older one is not taken")]
    Older {
        /// Its number.
        serial: u64,
        /// The number of the one in force.
        known: u64,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A list in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListInForce {
    /// The list.
    pub list: PeerList,
    /// When it came.
    pub imported_at: Timestamp,
}

/// The list in force, for all that ask for it. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed(Arc<RwLock<Option<Arc<ListInForce>>>>);

impl Listed {
    pub(crate) fn get(&self) -> Option<Arc<ListInForce>> {
        self.0.read().clone()
    }

    fn set(&self, list: ListInForce) {
        *self.0.write() = Some(Arc::new(list));
    }

    /// What the list says of a server.
    pub(crate) fn server(&self, server: &ServerName) -> Option<ListedServer> {
        self.0.read().as_ref()?.list.servers.get(server).cloned()
    }

    /// Whether the list has a server.
    pub(crate) fn has(&self, server: &ServerName) -> bool {
        let listed = self.0.read();
        let list = listed.as_ref();
        list.is_some_and(|listed| listed.list.servers.contains_key(server))
    }

    /// The list that was in force when the server stopped, if the authority is still the same.
    pub(crate) fn load(
        store: &Store,
        authority: Option<&AuthorityKey>,
    ) -> Result<Self, StoreError> {
        let listed = Self::default();
        let Some(record) = store.snapshot().get(&PEER_LIST, &())? else {
            return Ok(listed);
        };
        match authority.map(|authority| PeerList::read(&record.document, authority)) {
            Some(Ok(list)) => listed.set(ListInForce {
                list,
                imported_at: Timestamp(record.imported_at),
            }),
            Some(Err(error)) => log::warn!("the list of servers is not in force: {error}"),
            None => log::warn!(
                "the list of servers is not in force: {}",
                PeerListError::NoAuthority
            ),
        }
        Ok(listed)
    }
}

impl Peers {
    /// The list in force.
    pub fn list(&self) -> Option<Arc<ListInForce>> {
        self.0.listed.get()
    }

    /// Whether the configuration names the authority of a list, or where one is fetched.
    pub fn expects_list(&self) -> bool {
        self.0.authority.is_some()
    }

    /// The list in force as it was signed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn signed_list(&self) -> Result<Option<Vec<u8>>, StoreError> {
        if self.list().is_none() {
            return Ok(None);
        }
        let read = |view: &Snapshot| view.get(&PEER_LIST, &());
        let record = self.store().read::<_, StoreError, _>(read).await?;
        Ok(record.map(|record| record.document))
    }

    /// Puts a signed list in force and gives it; whether it was already tells the second part.
    /// It is on disk when this returns.
    ///
    /// # Errors
    /// [`PeerListError`].
    pub async fn import_list(
        &self,
        act: &Act,
        text: &[u8],
    ) -> Result<(Arc<ListInForce>, bool), PeerListError> {
        let authority = self.0.authority.as_ref();
        let authority = authority.ok_or(PeerListError::NoAuthority)?;
        let list = PeerList::read(text, authority)?;
        let _turn = self.0.importing.lock().await;
        if let Some(known) = self.list()
            && known.list == list
        {
            return Ok((known, true));
        }
        let now = self.clock().now();
        if list.valid_until <= now.0 {
            return Err(PeerListError::Ended(Timestamp(list.valid_until)));
        }
        let record = PeerListRecord {
            authority: authority.to_text(),
            serial: list.serial,
            document: text.to_vec(),
            imported_at: now.0,
        };
        let deed = act.did(Verb::PeerListImported).on(list.name.clone());
        let deed = deed.after(list.serial.into());
        self.store()
            .commit(move |latest, _, batch| {
                // What another authority has numbered says nothing about this one.
                let known = latest.get(&PEER_LIST, &())?;
                if let Some(known) = known.filter(|known| known.authority == record.authority)
                    && known.serial >= record.serial
                {
                    return Err(PeerListError::Older {
                        serial: record.serial,
                        known: known.serial,
                    });
                }
                batch.put(&PEER_LIST, &(), &record);
                audit::record(latest, batch, now.0, &[deed])?;
                Ok(())
            })
            .await?;
        let in_force = ListInForce {
            list,
            imported_at: now,
        };
        self.0.listed.set(in_force.clone());
        self.0.destinations.lock().clear();
        log::info!(
            serial = in_force.list.serial;
            "the list of servers {:?} is in force: {} servers",
            in_force.list.name,
            in_force.list.servers.len()
        );
        Ok((Arc::new(in_force), false))
    }

    /// Fetches the list again and again, if the configuration says from where, until the
    /// server stops. Run it once, as a task.
    pub async fn follow_list(self, stop: Stop) {
        let Some(url) = self.0.list_url.clone() else {
            return;
        };
        while !stop.is_stopping() {
            let pause = tokio::select! {
                () = stop.stopped() => return,
                fetched = self.fetch_list(&url) => match fetched {
                    Ok(()) => REFRESH,
                    Err(reason) => {
                        log::warn!("no newer list of servers was taken: {reason}");
                        RETRY
                    }
                },
            };
            if let Some(known) = self.list()
                && known.list.valid_until <= self.clock().now().0
            {
                log::warn!(
                    "the list of servers in force was valid up to {}",
                    Timestamp(known.list.valid_until)
                );
            }
            tokio::select! {
                () = stop.stopped() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn fetch_list(&self, url: &Url) -> Result<(), String> {
        let request = Request {
            purpose: "peer_list",
            method: Method::GET,
            url: url.clone(),
            route: None,
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
            plain_http: true,
            redirects: 0,
            timeout: FETCH,
            answer_limit: MAX_LIST_BYTES,
        };
        // Whoever gives it, the authority has signed it.
        let answer = self.0.outgoing.send_configured(request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status != StatusCode::OK {
            return Err(format!("{} answers {}", url, answer.status));
        }
        match self.import_list(&Act::server(), &answer.body).await {
            Ok(_) => Ok(()),
            // There is no newer one yet.
            Err(PeerListError::Older { serial, known }) if serial == known => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
