//! Device lists of other servers' users are fetched in the background: those that somebody
//! here asked for first, and those of which an update was missed.

use std::{collections::BTreeMap, time::Duration};

use accounts::DeviceListToFetch;
use http::StatusCode;
use peers::{Ask, PeerError};
use ruma_common::{OwnedServerName, OwnedUserId, ServerName};
use ruma_federation_api::device::get_devices::v1 as get_devices;
use runtime::Stop;
use store::StoreError;
use tokio::{task::JoinSet, time::Instant};

use crate::Actions;

/// How many lists are looked at in one round.
const AT_ONCE: usize = 1_000;
/// How many servers are asked at the same time.
const SERVERS_AT_ONCE: usize = 8;
/// How long one list is waited for.
const WAIT: Duration = Duration::from_secs(10);
/// How long one server is asked in one round, so that others have their turn.
const TURN: Duration = Duration::from_secs(10);
/// The longest list, in bytes.
const LIST_BYTES: usize = 8 * 1024 * 1024;
/// How long to wait when the database fails.
const PAUSE: Duration = Duration::from_secs(5);
/// The shortest sleep between two rounds.
const SHORTEST_SLEEP: Duration = Duration::from_millis(50);
/// The longest sleep: clocks may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

impl Actions {
    /// Fetches the device lists that are to be fetched, until the server stops. Run it once,
    /// as a task.
    pub async fn fetch_device_lists(&self, stop: Stop) {
        loop {
            let sleep = tokio::select! {
                () = stop.stopped() => return,
                fetched = self.fetch_due_lists() => fetched.unwrap_or_else(|error| {
                    log::error!("device lists were not fetched: {error}");
                    PAUSE
                }),
            };
            tokio::select! {
                () = stop.stopped() => return,
                () = self.stale_devices.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Fetches the lists of some users at once, all at the same time.
    pub(crate) async fn fetch_lists_now(&self, users: Vec<OwnedUserId>) -> Result<(), StoreError> {
        let mut asking = JoinSet::new();
        for list in self.accounts.device_lists_of(users).await? {
            let actions = self.clone();
            asking.spawn(async move {
                let server = list.user_id.server_name().to_owned();
                actions.fetch_list(&server, &list).await
            });
        }
        while let Some(asked) = asking.join_next().await {
            finished(Some(asked))?;
        }
        Ok(())
    }

    /// Fetches those that are due, some at the same time. Returns how long to wait for more.
    async fn fetch_due_lists(&self) -> Result<Duration, StoreError> {
        let due = self.accounts.device_lists_to_fetch(AT_ONCE).await?;
        let mut servers: BTreeMap<OwnedServerName, Vec<DeviceListToFetch>> = BTreeMap::new();
        for list in due.now {
            let server = list.user_id.server_name().to_owned();
            servers.entry(server).or_default().push(list);
        }
        let mut asking = JoinSet::new();
        for (server, lists) in servers {
            if asking.len() >= SERVERS_AT_ONCE {
                finished(asking.join_next().await)?;
            }
            let actions = self.clone();
            asking.spawn(async move { actions.fetch_lists_of(&server, lists).await });
        }
        while let Some(asked) = asking.join_next().await {
            finished(Some(asked))?;
        }
        // Those that failed have another time now.
        let next = self.accounts.device_lists_to_fetch(0).await?.next;
        let wait = next.map(|next| next.since(self.clock.now()));
        Ok(wait
            .unwrap_or(LONGEST_SLEEP)
            .clamp(SHORTEST_SLEEP, LONGEST_SLEEP))
    }

    async fn fetch_lists_of(
        &self,
        server: &ServerName,
        lists: Vec<DeviceListToFetch>,
    ) -> Result<(), StoreError> {
        let begun = Instant::now();
        for list in lists {
            if begun.elapsed() >= TURN {
                self.stale_devices.notify_one();
                return Ok(());
            }
            self.fetch_list(server, &list).await?;
        }
        Ok(())
    }

    /// Fetches one list.
    async fn fetch_list(
        &self,
        server: &ServerName,
        list: &DeviceListToFetch,
    ) -> Result<(), StoreError> {
        let request = get_devices::Request::new(list.user_id.clone());
        let ask = Ask::new("device_list").within(WAIT).up_to(LIST_BYTES);
        match self.peers.ask(server, request, ask).await {
            Ok(answer) => self.accounts.device_list_fetched(list, answer).await,
            Err(PeerError::Status {
                status: StatusCode::NOT_FOUND | StatusCode::FORBIDDEN,
                ..
            }) => self.accounts.forget_device_list(list).await,
            Err(PeerError::LeftAlone { until, .. }) => {
                self.accounts.postpone_device_list(list, until).await
            }
            Err(error) => {
                log::debug!("the devices of {} are not known: {error}", list.user_id);
                self.accounts.device_list_not_fetched(list).await
            }
        }
    }
}

/// What came of asking one server.
fn finished(
    asked: Option<Result<Result<(), StoreError>, tokio::task::JoinError>>,
) -> Result<(), StoreError> {
    match asked {
        Some(Ok(result)) => result,
        Some(Err(error)) => {
            log::error!("fetching device lists was not finished: {error}");
            Ok(())
        }
        None => Ok(()),
    }
}
