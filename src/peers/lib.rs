//! Other servers: where they are, how they are asked, how they are recognised.
//!
//! Place: the domain floor. Knows no room: events pass through as JSON.
//!
//! - [`Peers::ask`] and its siblings sign a request and send it, within the time and size
//!   that the caller names. `discovery` finds the place, `well_known` remembers what hosts
//!   say of themselves, `back_off` leaves alone who does not answer. Each server is on its
//!   own: one that is gone delays no other.
//! - [`Peers::key`] finds the key for a signature (`keys`), and [`Peers::claim`] with
//!   [`Claim::verify`] the server that sends a request (`incoming`).
//! - `policy` says whom this server speaks to at all; nothing here goes past it.
//! - `listed` are the servers of a closed federation, as an authority has signed them.
//! - `check` says in words how another server is reached, for a person.
//!
//! Never here: a wait or an answer without a limit, a key that was not signed by its
//! server, a request to this server itself.

mod back_off;
mod blocked;
mod check;
mod discovery;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod incoming;
mod json;
mod keys;
mod listed;
mod lists;
mod options;
mod policy;
mod requests;
#[cfg(test)]
#[path = "../../tests/fuzz/seeds.rs"]
mod seeds;
mod signing;
mod sources;
mod well_known;

#[cfg(test)]
mod tests;

pub use back_off::{Failing, Standing};
pub use check::{CheckStep, Status};
pub use discovery::DiscoveryError;
pub use incoming::{Claim, Unauthorized};
pub use json::DEEPEST_JSON;
pub use keys::{KeyError, PinnedKeyError, WantedKeys, rotate};
pub use listed::{
    AuthorityKey, DraftServer, ListInForce, ListedServer, MAX_LIST_BYTES, PeerList, PeerListError,
};
pub use lists::{Lists, Rest};
pub use options::FederationOptions;
pub use policy::{Refused, Unwanted};
pub use requests::{Ask, PeerError};

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use audit::Deed;
use blocked::Blocked;
use discovery::Destination;
use graph::SigningKey;
use keys::{OwnKeys, Pinned, Ring};
use listed::Listed;
use model::BlockedServerRecord;
use outgoing::Outgoing;
use parking_lot::Mutex;
use policy::Policy;
use ruma_common::{CanonicalJsonObject, OwnedServerName, ServerName};
use runtime::{Clock, Random, Timestamp};
use store::{Store, StoreError};
use tokio::sync::broadcast;
use url::Url;
use well_known::WellKnowns;

use crate::back_off::BackOff;

/// What [`Peers`] stand on.
pub struct PeersParts {
    /// The database.
    pub store: Store,
    /// The client.
    pub outgoing: Outgoing,
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// This server's name.
    pub server_name: OwnedServerName,
    /// The key that this server signs with.
    pub key: Arc<SigningKey>,
    /// `[federation]`.
    pub options: FederationOptions,
}

/// Why [`Peers`] cannot be made: one sentence for a person.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// A name in the configuration.
    #[error("`{0}` in [federation] is no server name")]
    Name(String),
    /// A key in the configuration.
    #[error(transparent)]
    Key(#[from] PinnedKeyError),
    /// Where lists of servers come from.
    #[error("`{0}` in [federation] is no URL of a list: write \"https://…\"")]
    Url(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Other servers. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

struct Inner {
    store: Store,
    outgoing: Outgoing,
    clock: Clock,
    random: Random,
    own: OwnKeys,
    policy: Policy,
    overrides: HashMap<OwnedServerName, SocketAddr>,
    key_servers: Vec<OwnedServerName>,
    tells_device_names: bool,
    joins_fast: bool,
    listed: Listed,
    authority: Option<AuthorityKey>,
    list_url: Option<Url>,
    /// Held by whoever puts a list in force.
    importing: tokio::sync::Mutex<()>,
    well_knowns: WellKnowns,
    back_off: BackOff,
    ring: Ring,
    /// Where servers are, for a short time.
    destinations: Mutex<HashMap<OwnedServerName, (Arc<Destination>, Timestamp)>>,
}

impl Peers {
    /// The peers of this server.
    ///
    /// # Errors
    /// [`PeersError`].
    pub fn new(parts: PeersParts) -> Result<Self, PeersError> {
        let options = &parts.options;
        let name = |text: &String| {
            OwnedServerName::try_from(text.as_str()).map_err(|_| PeersError::Name(text.clone()))
        };
        let overrides = options.overrides.iter();
        let overrides = overrides.map(|(server, place)| Ok((name(server)?, *place)));
        let overrides = overrides.collect::<Result<_, PeersError>>()?;
        let key_servers = options.key_servers.iter().map(name);
        let key_servers = key_servers.collect::<Result<_, _>>()?;
        let (store, clock) = (parts.store, parts.clock);
        let longest = Duration::from_secs(options.retry_delay_max.max(1));
        let authority = options.authority()?;
        let listed = Listed::load(&store, authority.as_ref())?;
        Ok(Self(Arc::new(Inner {
            own: OwnKeys::new(parts.server_name.clone(), parts.key, &store, clock.clone())?,
            policy: Policy::new(
                parts.server_name,
                options,
                listed.clone(),
                Blocked::load(&store)?,
            ),
            overrides,
            key_servers,
            tells_device_names: options.device_names,
            joins_fast: options.fast_joins,
            well_knowns: WellKnowns::new(parts.outgoing.clone(), clock.clone()),
            back_off: BackOff::new(store.clone(), clock.clone(), longest)?,
            ring: Ring::new(
                store.clone(),
                clock.clone(),
                Pinned::new(options, listed.clone())?,
            ),
            listed,
            authority,
            list_url: options.list_url()?,
            importing: tokio::sync::Mutex::default(),
            destinations: Mutex::default(),
            outgoing: parts.outgoing,
            random: parts.random,
            store,
            clock,
        })))
    }

    /// This server's name.
    pub fn server_name(&self) -> &ServerName {
        self.0.own.server_name()
    }

    /// # Errors
    /// [`Refused`] if this server does not speak to `server`, which may be itself.
    pub fn may_speak_to(&self, server: &ServerName) -> Result<(), Refused> {
        self.0.policy.check(server)
    }

    /// Speaks to none of the servers that `unwanted` names, from now on. What is said first counts.
    pub fn shun(&self, unwanted: Arc<Unwanted>) {
        let _ = self.0.policy.unwanted.set(unwanted);
    }

    /// Speaks to a server no more, from now on and until it is [unblocked](Self::unblock). What
    /// waits for it is forgotten. The audit trail is told `deed` in the same commit.
    ///
    /// # Errors
    /// If the database fails; then nothing was done.
    pub async fn block(
        &self,
        server: &ServerName,
        reason: Option<String>,
        deed: Deed,
    ) -> Result<(), StoreError> {
        let record = BlockedServerRecord {
            blocked_at: self.0.clock.now().0,
            reason,
        };
        let blocked = &self.0.policy.blocked;
        blocked.block(&self.0.store, server, (record, deed)).await
    }

    /// Speaks to a server that was blocked, unless something else forbids it; whether it was
    /// blocked. The audit trail is told `deed` in the same commit.
    ///
    /// # Errors
    /// If the database fails; then nothing was done.
    pub async fn unblock(&self, server: &ServerName, deed: Deed) -> Result<bool, StoreError> {
        let now = self.0.clock.now().0;
        let blocked = &self.0.policy.blocked;
        blocked.unblock(&self.0.store, server, (now, deed)).await
    }

    /// The servers that an administrator has blocked, by name.
    pub fn blocked(&self) -> Vec<(OwnedServerName, BlockedServerRecord)> {
        self.0.policy.blocked.all()
    }

    /// Whether other servers are told how people have called their devices
    /// (`federation.device_names`).
    pub fn tells_device_names(&self) -> bool {
        self.0.tells_device_names
    }

    /// Whether a join asks for the room without its members (`federation.fast_joins`).
    pub fn joins_fast(&self) -> bool {
        self.0.joins_fast
    }

    /// The public key, in base64, with which signatures that `server` made `at` a time
    /// count; fetched if it is not known. For this server too.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn key(
        &self,
        server: &ServerName,
        key_id: &str,
        at: Timestamp,
    ) -> Result<String, KeyError> {
        if server == self.server_name() {
            return self.0.own.key(key_id, at).ok_or_else(|| KeyError::Unknown {
                server: server.to_owned(),
                key_id: key_id.to_owned(),
            });
        }
        self.ring().key(server, key_id, at, self).await
    }

    /// The document in which this server publishes its keys, signed.
    ///
    /// # Errors
    /// [`graph::Reason`], which no key is known to cause.
    pub fn own_document(&self) -> Result<CanonicalJsonObject, graph::Reason> {
        self.0.own.document()
    }

    /// A server did something that shows that it is there: it is tried again at once.
    pub async fn heard_from(&self, server: &ServerName) {
        self.0.back_off.heard_from(server).await;
    }

    /// Waits until a server may be tried: at once for all that answer, else when its time
    /// has come or it was heard from.
    pub async fn available(&self, server: &ServerName) {
        self.0.back_off.available(server).await;
    }

    /// Until when a server that does not answer is left alone.
    pub fn left_alone_until(&self, server: &ServerName) -> Option<Timestamp> {
        self.0.back_off.until(server)
    }

    /// What was seen of a server last.
    pub fn standing(&self, server: &ServerName) -> Standing {
        self.0.back_off.standing(server)
    }

    /// The servers that need not be left alone any longer, from now on: they were heard
    /// from, or somebody wants them tried. Who reads too slowly misses some.
    pub fn returned(&self) -> broadcast::Receiver<OwnedServerName> {
        self.0.back_off.returned()
    }

    /// Has a server tried now, whatever is known of it. The audit trail is told `deed`.
    ///
    /// # Errors
    /// If the database fails; then nothing was done.
    pub async fn try_again(&self, server: &ServerName, deed: Deed) -> Result<(), StoreError> {
        self.0.back_off.try_again(server, deed).await
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.0.ring
    }

    /// The key with which this server signs.
    pub fn signing_key(&self) -> &SigningKey {
        self.0.own.signing_key()
    }
}
