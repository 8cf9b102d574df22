//! Keys of users of other servers: all servers are asked at the same time, and whoever is
//! slow or wrong is named instead of waited for.

use std::{collections::BTreeMap, time::Duration};

use peers::{Ask, PeerError};
use ruma_common::{
    OneTimeKeyAlgorithm, OwnedDeviceId, OwnedOneTimeKeyId, OwnedServerName, OwnedUserId,
    encryption::{CrossSigningKey, DeviceKeys, OneTimeKey},
    serde::Raw,
};
use ruma_federation_api::keys::{claim_keys::v1 as claim, get_keys::v1 as query};
use tokio::task::JoinSet;

use crate::Actions;

/// The longest that anybody waits, whatever the client says; and the shortest, which a
/// server across the world needs.
const LONGEST: Duration = Duration::from_secs(20);
const SHORTEST: Duration = Duration::from_secs(1);
/// The most servers that are asked for one request; further ones are failures.
const MOST_SERVERS: usize = 500;
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

impl Actions {
    /// The keys of those of `wanted` who are of other servers.
    pub async fn query_remote_keys(&self, wanted: &WantedKeys, wait: Duration) -> RemoteKeys {
        let asked = self.by_server(wanted);
        let (answers, failures) = self
            .ask_all(asked, "query_keys", wait, query::Request::new)
            .await;
        let mut found = RemoteKeys {
            failures,
            ..RemoteKeys::default()
        };
        // A server speaks for its own users, and is asked about some of them.
        for (asked, answer) in answers {
            let query::Response {
                mut device_keys,
                mut master_keys,
                mut self_signing_keys,
                ..
            } = answer;
            for user_id in asked.into_keys() {
                if let Some(keys) = device_keys.remove(&user_id) {
                    found.device_keys.insert(user_id.clone(), keys);
                }
                if let Some(key) = master_keys.remove(&user_id) {
                    found.master_keys.insert(user_id.clone(), key);
                }
                if let Some(key) = self_signing_keys.remove(&user_id) {
                    found.self_signing_keys.insert(user_id, key);
                }
            }
        }
        found
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
