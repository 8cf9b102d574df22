//! Keys of users of other servers. Those of users with whom rooms are shared are kept here and
//! told at once; for the rest, all servers are asked at the same time, and whoever is slow or
//! wrong is named instead of waited for.

use std::{collections::BTreeMap, time::Duration};

use accounts::{KeptKeys, RemoteKeySet, Session, SignatureFailure, kept_keys, shown_answer};
use model::UserSerial;
use peers::{Ask, PeerError};
use ruma_client_api::keys::upload_signatures::v3::SignedKeys;
use ruma_common::{
    OneTimeKeyAlgorithm, OwnedDeviceId, OwnedOneTimeKeyId, OwnedServerName, OwnedUserId,
    encryption::{CrossSigningKey, DeviceKeys, OneTimeKey},
    serde::Raw,
};
use ruma_federation_api::keys::{claim_keys::v1 as claim, get_keys::v1 as query};
use store::{Snapshot, StoreError};
use tokio::{task::JoinSet, time::Instant};

use crate::Actions;

/// The longest that anybody waits, whatever the client says; and the shortest, which a
/// server across the world needs.
const LONGEST: Duration = Duration::from_secs(20);
const SHORTEST: Duration = Duration::from_secs(1);
/// The most servers that are asked for one request; further ones are failures.
const MOST_SERVERS: usize = 500;
/// The most users whose lists of devices are waited for where somebody asks for their keys;
/// those of more are fetched meanwhile, and their servers asked for the keys alone.
const MOST_FETCHED: usize = 10;
/// The most users of other servers whose keys are fetched because somebody signs them.
const MOST_SIGNED: usize = 20;
/// The longest answer of one server, in bytes.
const ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// The servers that gave no keys, and why.
pub type Failures = BTreeMap<OwnedServerName, String>;

/// The devices of whose keys somebody asks, by user. All devices if none is named.
type WantedKeys = BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>;
/// The keys that somebody claims, by user and device.
type WantedOneTimeKeys = BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, OneTimeKeyAlgorithm>>;

/// Keys of users of other servers.
#[derive(Clone, Debug, Default)]
pub struct RemoteKeys {
    /// Each device's keys.
    pub device_keys: BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, Raw<DeviceKeys>>>,
    /// Master keys.
    pub master_keys: BTreeMap<OwnedUserId, Raw<CrossSigningKey>>,
    /// Self-signing keys.
    pub self_signing_keys: BTreeMap<OwnedUserId, Raw<CrossSigningKey>>,
    /// Who gave none.
    pub failures: Failures,
}

/// One-time keys of users of other servers.
#[derive(Clone, Debug, Default)]
pub struct RemoteOneTimeKeys {
    /// One for each device.
    pub one_time_keys: BTreeMap<
        OwnedUserId,
        BTreeMap<OwnedDeviceId, BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>>,
    >,
    /// Who gave none.
    pub failures: Failures,
}

impl RemoteKeys {
    fn add(&mut self, user_id: OwnedUserId, keys: RemoteKeySet) {
        if let Some(key) = keys.master {
            self.master_keys.insert(user_id.clone(), key);
        }
        if let Some(key) = keys.self_signing {
            self.self_signing_keys.insert(user_id.clone(), key);
        }
        self.device_keys.insert(user_id, keys.devices);
    }
}

impl Actions {
    /// The keys of those of `wanted` who are of other servers, as the viewer may see them.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn query_remote_keys(
        &self,
        viewer: UserSerial,
        wanted: &WantedKeys,
        wait: Duration,
    ) -> Result<RemoteKeys, StoreError> {
        let own = self.rooms.server_name();
        let remote = wanted.iter().filter(|(id, _)| id.server_name() != own);
        let remote: WantedKeys = remote.map(|(id, of)| (id.clone(), of.clone())).collect();
        let mut found = RemoteKeys::default();
        if remote.is_empty() {
            return Ok(found);
        }
        let KeptKeys { kept, unknown } = self.kept_keys(viewer, remote).await?;
        for (user_id, keys) in kept {
            found.add(user_id, keys);
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        // From now on they are kept, if a room is shared.
        let begun = Instant::now();
        let users: Vec<_> = unknown.keys().cloned().collect();
        let follows = self.accounts.follow_devices(viewer, users.clone()).await?;
        if follows && users.len() <= MOST_FETCHED {
            let fetching = self.fetch_lists_now(users);
            let limit = wait.clamp(SHORTEST, LONGEST);
            match tokio::time::timeout(limit, fetching).await {
                Ok(fetched) => fetched?,
                Err(_) => self.stale_devices.notify_one(),
            }
        } else if follows {
            self.stale_devices.notify_one();
        }
        let KeptKeys { kept, unknown } = self.kept_keys(viewer, unknown).await?;
        for (user_id, keys) in kept {
            found.add(user_id, keys);
        }
        if !unknown.is_empty() {
            let left = wait.saturating_sub(begun.elapsed());
            self.ask_keys(viewer, unknown, left, &mut found).await?;
        }
        Ok(found)
    }

    async fn kept_keys(
        &self,
        viewer: UserSerial,
        wanted: WantedKeys,
    ) -> Result<KeptKeys, StoreError> {
        let read = move |view: &Snapshot| kept_keys(view, viewer, &wanted);
        self.rooms.store().read_long(read).await
    }

    /// Asks the servers of users for their keys.
    async fn ask_keys(
        &self,
        viewer: UserSerial,
        wanted: WantedKeys,
        wait: Duration,
        found: &mut RemoteKeys,
    ) -> Result<(), StoreError> {
        let asked = self.by_server(&wanted);
        let (answers, failures) = self
            .ask_all(asked, "query_keys", wait, query::Request::new)
            .await;
        found.failures.extend(failures);
        // A server speaks for its own users, and is asked about some of them.
        let mut told = Vec::new();
        for (asked, mut answer) in answers {
            for (user_id, device_ids) in asked {
                let devices = answer.device_keys.remove(&user_id);
                let master = answer.master_keys.remove(&user_id);
                let self_signing = answer.self_signing_keys.remove(&user_id);
                if devices.is_none() && master.is_none() && self_signing.is_none() {
                    continue;
                }
                let keys = RemoteKeySet {
                    devices: devices.unwrap_or_default(),
                    master,
                    self_signing,
                };
                told.push((user_id, device_ids, keys));
            }
        }
        let check = move |view: &Snapshot| {
            let shown = told.into_iter().map(|(user_id, device_ids, keys)| {
                let shown = shown_answer(view, viewer, &user_id, &device_ids, keys)?;
                Ok((user_id, shown))
            });
            shown.collect::<Result<Vec<_>, StoreError>>()
        };
        let shown = self.rooms.store().read_long(check).await?;
        for (user_id, keys) in shown {
            found.add(user_id, keys);
        }
        Ok(())
    }

    /// Takes signatures on keys, as [`accounts::Accounts::upload_signatures`] does. Master keys
    /// of other servers' users are fetched first if they are not known here: one verifies
    /// whom one has just met.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn upload_signatures(
        &self,
        session: &Session,
        signed: BTreeMap<OwnedUserId, SignedKeys>,
    ) -> Result<BTreeMap<OwnedUserId, BTreeMap<String, SignatureFailure>>, StoreError> {
        let remote = signed.keys().filter(|user_id| !self.is_local(user_id));
        let remote = remote.take(MOST_SIGNED).cloned();
        let remote: WantedKeys = remote.map(|user_id| (user_id, Vec::new())).collect();
        if !remote.is_empty() {
            let unknown = self.kept_keys(session.user, remote).await?.unknown;
            let users: Vec<_> = unknown.into_keys().collect();
            if self
                .accounts
                .follow_devices(session.user, users.clone())
                .await?
            {
                self.fetch_lists_now(users).await?;
            }
        }
        self.accounts.upload_signatures(session, signed).await
    }

    /// One-time keys of those of `wanted` who are of other servers.
    pub async fn claim_remote_keys(
        &self,
        wanted: &WantedOneTimeKeys,
        wait: Duration,
    ) -> RemoteOneTimeKeys {
        let asked = self.by_server(wanted);
        let (answers, failures) = self
            .ask_all(asked, "claim_keys", wait, claim::Request::new)
            .await;
        let mut claimed = RemoteOneTimeKeys {
            failures,
            ..RemoteOneTimeKeys::default()
        };
        for (asked, mut answer) in answers {
            for (user_id, devices) in asked {
                if let Some(mut keys) = answer.one_time_keys.remove(&user_id) {
                    keys.retain(|device_id, _| devices.contains_key(device_id));
                    claimed.one_time_keys.insert(user_id, keys);
                }
            }
        }
        claimed
    }

    /// What is wanted of each other server.
    fn by_server<T: Clone>(
        &self,
        wanted: &BTreeMap<OwnedUserId, T>,
    ) -> BTreeMap<OwnedServerName, BTreeMap<OwnedUserId, T>> {
        let mut servers: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (user_id, what) in wanted {
            let server = user_id.server_name();
            if server != self.rooms.server_name() {
                let asked = servers.entry(server.to_owned()).or_default();
                asked.insert(user_id.clone(), what.clone());
            }
        }
        servers
    }

    /// Asks all servers at the same time.
    async fn ask_all<W, R>(
        &self,
        asked: BTreeMap<OwnedServerName, W>,
        purpose: &'static str,
        wait: Duration,
        request: fn(W) -> R,
    ) -> (Vec<(W, R::IncomingResponse)>, Failures)
    where
        W: Clone + Send + 'static,
        R: ruma_common::api::OutgoingRequest<
                PathBuilder = ruma_common::api::path_builder::SinglePath,
                IncomingResponse: Send,
            > + Send
            + 'static,
    {
        let ask = Ask::new(purpose)
            .within(wait.clamp(SHORTEST, LONGEST))
            .up_to(ANSWER_BYTES);
        let mut asking = JoinSet::new();
        let mut failures = Failures::new();
        for (number, (server, wanted)) in asked.into_iter().enumerate() {
            if number >= MOST_SERVERS {
                failures.insert(server, "too many servers are asked at once".to_owned());
                continue;
            }
            let (peers, request) = (self.peers.clone(), request(wanted.clone()));
            asking.spawn(async move {
                let answer: Result<_, PeerError> = peers.ask(&server, request, ask).await;
                (server, wanted, answer)
            });
        }
        let mut answers = Vec::new();
        while let Some(asked) = asking.join_next().await {
            match asked {
                Ok((_, wanted, Ok(answer))) => answers.push((wanted, answer)),
                Ok((server, _, Err(error))) => {
                    failures.insert(server, error.to_string());
                }
                Err(error) => log::error!("a question to another server was not finished: {error}"),
            }
        }
        (answers, failures)
    }
}
