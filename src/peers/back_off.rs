//! Servers that do not answer are left alone for a while, each for itself.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use audit::Deed;
use model::{PeerRecord, tables::PEER_BY_NAME};
use parking_lot::Mutex;
use ruma_common::{OwnedServerName, ServerName};
use runtime::{Clock, Timestamp};
use store::{Read as _, Store, StoreError};
use tokio::sync::{Notify, broadcast};

/// The wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest reason that is kept, in characters.
const REASON_CHARACTERS: usize = 200;
/// The most failing servers that are remembered. Names can be invented, and one more or
/// less that is tried too early harms nobody.
const MOST: usize = 50_000;
/// The most servers of which it is remembered that they were heard from.
const MOST_HEARD: usize = 20_000;
/// Servers that came back and that a listener has not heard of yet; older ones it misses.
const KEPT_RETURNS: usize = 1_024;

/// What was seen of a server last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has answered, or asked something itself, since this server started.
    Answers,
    /// Nothing.
    Unknown,
    /// It did not answer.
    Fails,
}

/// A server that does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// How often in a row.
    pub failures: u32,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried again.
    pub retry_at: Timestamp,
    /// What went wrong the last time, for a person.
    pub reason: String,
}

/// Which servers do not answer: in memory, and stored so that a restart does not bring
/// them all back at once.
pub(crate) struct BackOff {
    store: Store,
    clock: Clock,
    longest: Duration,
    failing: Mutex<HashMap<OwnedServerName, State>>,
    /// Those that were heard from and have not failed since.
    heard: Mutex<HashSet<OwnedServerName>>,
    /// Told of those that need not be left alone any longer.
    returned: broadcast::Sender<OwnedServerName>,
}

struct State {
    failing: Failing,
    heard: Arc<Notify>,
}

impl BackOff {
    pub(crate) fn new(store: Store, clock: Clock, longest: Duration) -> Result<Self, StoreError> {
        let mut failing = HashMap::new();
        let snapshot = store.snapshot();
        for row in snapshot.scan(&PEER_BY_NAME, &()).take(MOST) {
            let (name, record) = row?;
            if let Ok(name) = OwnedServerName::try_from(name) {
                let heard = Arc::default();
                failing.insert(
                    name,
                    State {
                        failing: record.into(),
                        heard,
                    },
                );
            }
        }
        Ok(Self {
            store,
            clock,
            longest,
            failing: Mutex::new(failing),
            heard: Mutex::default(),
            returned: broadcast::Sender::new(KEPT_RETURNS),
        })
    }

    /// Until when a server is left alone.
    pub(crate) fn until(&self, server: &ServerName) -> Option<Timestamp> {
        let failing = self.failing.lock();
        let until = failing.get(server)?.failing.retry_at;
        (until > self.clock.now()).then_some(until)
    }

    /// What was seen of a server last.
    pub(crate) fn standing(&self, server: &ServerName) -> Standing {
        let failures = {
            let failing = self.failing.lock();
            failing.get(server).map(|state| state.failing.failures)
        };
        match failures {
            // Who asked for a pause does answer.
            Some(0) => Standing::Answers,
            Some(_) => Standing::Fails,
            None if self.heard.lock().contains(server) => Standing::Answers,
            None => Standing::Unknown,
        }
    }

    pub(crate) fn returned(&self) -> broadcast::Receiver<OwnedServerName> {
        self.returned.subscribe()
    }

    /// Waits until a server may be tried: its time has come, or it was heard from.
    pub(crate) async fn available(&self, server: &ServerName) {
        loop {
            let (until, heard) = {
                let failing = self.failing.lock();
                let Some(state) = failing.get(server) else {
                    return;
                };
                (state.failing.retry_at, state.heard.clone())
            };
            let now = self.clock.now();
            if until <= now {
                return;
            }
            // Registered before the state is looked at again.
            let notified = heard.notified();
            if self.until(server).is_none() {
                return;
            }
            let _ = tokio::time::timeout(until.since(now), notified).await;
        }
    }

    /// The server did not answer.
    pub(crate) async fn failed(&self, server: &ServerName, reason: &str) {
        let now = self.clock.now();
        self.heard.lock().remove(server);
        let record = {
            let mut failing = self.failing.lock();
            if failing.len() >= MOST && !failing.contains_key(server) {
                return;
            }
            let state = failing.entry(server.to_owned()).or_insert_with(|| State {
                failing: Failing {
                    failures: 0,
                    since: now,
                    retry_at: now,
                    reason: String::new(),
                },
                heard: Arc::default(),
            });
            let failing = &mut state.failing;
            // Many requests under way fail together: that is one failure.
            if failing.failures > 0 && failing.retry_at > now {
                return;
            }
            failing.failures = failing.failures.saturating_add(1);
            failing.retry_at = now.plus(wait(failing.failures, self.longest));
            failing.reason = reason.chars().take(REASON_CHARACTERS).collect();
            PeerRecord::from(&*failing)
        };
        let key = server.to_string();
        let put = self.store.commit_later(move |_, _, batch| {
            batch.put(&PEER_BY_NAME, &key, &record);
            Ok::<_, StoreError>(())
        });
        told(put.await);
    }

    /// The server asked for a pause.
    pub(crate) async fn pause(&self, server: &ServerName, pause: Duration) {
        let now = self.clock.now();
        let mut failing = self.failing.lock();
        if failing.len() >= MOST && !failing.contains_key(server) {
            return;
        }
        let heard = failing.get(server).map(|state| state.heard.clone());
        failing.insert(
            server.to_owned(),
            State {
                failing: Failing {
                    failures: 0,
                    since: now,
                    retry_at: now.plus(pause.min(self.longest)),
                    reason: "it asked for a pause".to_owned(),
                },
                heard: heard.unwrap_or_default(),
            },
        );
    }

    /// The server answered, or asked something itself.
    pub(crate) async fn heard_from(&self, server: &ServerName) {
        self.note_heard(server);
        self.forgive(server).await;
    }

    fn note_heard(&self, server: &ServerName) {
        let mut heard = self.heard.lock();
        if !heard.contains(server) {
            if heard.len() >= MOST_HEARD {
                heard.clear();
            }
            heard.insert(server.to_owned());
        }
    }

    /// The server need not be left alone any longer.
    async fn forgive(&self, server: &ServerName) {
        let Some(state) = self.failing.lock().remove(server) else {
            return;
        };
        state.heard.notify_waiters();
        // Mostly somebody listens; if not, nobody misses it.
        let _ = self.returned.send(server.to_owned());
        let key = server.to_string();
        let delete = self.store.commit_later(move |_, _, batch| {
            batch.delete(&PEER_BY_NAME, &key);
            Ok::<_, StoreError>(())
        });
        told(delete.await);
    }

    /// Somebody wants a server to be tried now, whatever is known of it. What was written of it
    /// goes in the commit in which the audit trail is told; only then it is tried.
    pub(crate) async fn try_again(
        &self,
        server: &ServerName,
        deed: Deed,
    ) -> Result<(), StoreError> {
        let (key, now) = (server.to_string(), self.clock.now().0);
        self.store
            .commit(move |latest, _, batch| {
                batch.delete(&PEER_BY_NAME, &key);
                audit::record(latest, batch, now, &[deed])
            })
            .await?;
        if let Some(state) = self.failing.lock().remove(server) {
            state.heard.notify_waiters();
        }
        let _ = self.returned.send(server.to_owned());
        Ok(())
    }

    /// All that fail, by name.
    pub(crate) fn all(&self) -> Vec<(OwnedServerName, Failing)> {
        let failing = self.failing.lock();
        let mut all: Vec<_> = failing
            .iter()
            .map(|(name, state)| (name.clone(), state.failing.clone()))
            .collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }
}

/// Without the row a restart tries a server too early, which harms nobody.
fn told(written: Result<(), StoreError>) {
    if let Err(error) = written {
        log::warn!("whether another server answers was not written: {error}");
    }
}

/// How long to wait after so many failures in a row.
fn wait(failures: u32, longest: Duration) -> Duration {
    let doubled = failures.saturating_sub(1).min(20);
    FIRST.saturating_mul(1 << doubled).min(longest)
}

impl From<PeerRecord> for Failing {
    fn from(record: PeerRecord) -> Self {
        Self {
            failures: record.failures,
            since: Timestamp(record.failing_since),
            retry_at: Timestamp(record.retry_at),
            reason: record.reason,
        }
    }
}

impl From<&Failing> for PeerRecord {
    fn from(failing: &Failing) -> Self {
        Self {
            failures: failing.failures,
            failing_since: failing.since.0,
            retry_at: failing.retry_at.0,
            reason: failing.reason.clone(),
        }
    }
}
