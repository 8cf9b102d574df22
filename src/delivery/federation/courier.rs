//! From transactions to their server.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use peers::{Ask, PeerError};
use ruma_common::{OwnedServerName, ServerName};
use runtime::Stop;
use serde::Deserialize;

use super::{
    Federation,
    schedule::{Ending, Running},
    transaction::{Parcel, Progress},
    waiting,
};

/// How a transaction is sent: a server may have much to do with fifty events.
const ASK: Ask = Ask::new("transaction").within(Duration::from_secs(60));
/// Transactions of one turn, if others wait for theirs.
const TURN: usize = 16;
/// How long a request may go on when the server stops.
const GRACE: Duration = Duration::from_secs(3);
/// How often a server may say of a transaction that it cannot be read before it is given up.
const MAX_REFUSALS: u32 = 16;
/// The most refused events of a transaction that are named in the log.
const MAX_NAMED: usize = 5;

/// What a server answers to a transaction.
#[derive(Debug, Default, Deserialize)]
struct Taken {
    #[serde(default)]
    pdus: HashMap<String, Processed>,
}

#[derive(Debug, Deserialize)]
struct Processed {
    #[serde(default)]
    error: Option<serde_json::Value>,
}

/// Why a transaction was not taken.
enum NotTaken {
    /// There was no answer, or one that says nothing about the transaction.
    Unreachable,
    /// The server does not take it.
    Refused,
    /// The server cannot read it, however often it comes.
    Unreadable,
    /// This server does not speak to that one any more.
    Denied,
}

impl Federation {
    /// One turn for a server.
    pub(super) async fn take_turn(&self, mut running: Running, stop: Stop) {
        running.ending = self.deliver(&running, &stop).await;
        if running.ending == Ending::Unreachable {
            self.drop_ephemerals(running.turn.server.as_str());
        }
    }

    /// Sends what waits for a server, in its order.
    async fn deliver(&self, running: &Running, stop: &Stop) -> Ending {
        let server = &running.turn.server;
        let mut progress = Progress {
            is_behind: running.turn.is_behind,
            ..Progress::default()
        };
        for _ in 0..TURN {
            if stop.is_stopping() {
                break;
            }
            self.inner.schedule.begin(server);
            let parcel = match self.next_transaction(server, &mut progress).await {
                Ok(Some(parcel)) => parcel,
                Ok(None) => return Ending::Idle,
                Err(error) => {
                    log::error!("what waits for {server} cannot be read: {error}");
                    return Ending::Lost;
                }
            };
            let sent = tokio::select! {
                sent = self.send(server, &parcel) => sent,
                // What is not settled is sent again.
                () = grace(stop) => break,
            };
            match sent {
                Ok(taken) => self.taken(server, &parcel, &taken, &mut progress).await,
                Err(why) => {
                    if let Some(ending) = self.not_taken(running, &parcel, why, &mut progress).await
                    {
                        return ending;
                    }
                }
            }
        }
        Ending::More {
            is_behind: progress.is_behind,
        }
    }

    /// Sends a transaction.
    async fn send(&self, server: &ServerName, parcel: &Parcel) -> Result<Taken, NotTaken> {
        let path = format!("/_matrix/federation/v1/send/{}", parcel.id);
        let answer = self
            .peers()
            .put_text(server, &path, &parcel.body, ASK)
            .await;
        match answer {
            Ok(answer) => Ok(read(server, &answer)),
            Err(PeerError::Refused(_)) => Err(NotTaken::Denied),
            Err(PeerError::Status { status, .. })
                if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS =>
            {
                Err(NotTaken::Unreachable)
            }
            Err(error @ PeerError::Status { .. }) => {
                log::warn!("{server} takes no transaction: {error}");
                let is_unreadable = matches!(
                    &error,
                    PeerError::Status { status, .. }
                        if matches!(*status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE)
                );
                Err(match is_unreadable {
                    true => NotTaken::Unreadable,
                    false => NotTaken::Refused,
                })
            }
            Err(error @ (PeerError::BadRequest(_) | PeerError::BadAnswer(_))) => {
                log::warn!("a transaction for {server} failed: {error}");
                Err(NotTaken::Unreadable)
            }
            Err(error) => {
                log::debug!("{server} takes no transaction: {error}");
                Err(NotTaken::Unreachable)
            }
        }
    }

    /// A transaction was confirmed.
    async fn taken(
        &self,
        server: &ServerName,
        parcel: &Parcel,
        taken: &Taken,
        progress: &mut Progress,
    ) {
        self.count("delivered");
        let refused: Vec<(&String, &serde_json::Value)> = taken
            .pdus
            .iter()
            .filter_map(|(event_id, processed)| Some((event_id, processed.error.as_ref()?)))
            .collect();
        for (event_id, error) in refused.iter().take(MAX_NAMED) {
            let error: String = error.to_string().chars().take(200).collect();
            log::warn!("{server} did not take the event {event_id}: {error}");
        }
        let rejected = u64::try_from(refused.len()).unwrap_or(u64::MAX);
        let rejected = rejected.min(parcel.events.into());
        self.count_events("rejected", rejected);
        self.count_events("sent", u64::from(parcel.events) - rejected);
        if parcel.is_stored {
            progress.confirmed = Some(parcel.id.clone());
            self.forget(server, parcel).await;
        }
    }

    /// A transaction was not taken. None if there is something else to do for the server.
    async fn not_taken(
        &self,
        running: &Running,
        parcel: &Parcel,
        why: NotTaken,
        progress: &mut Progress,
    ) -> Option<Ending> {
        let server: &OwnedServerName = &running.turn.server;
        match why {
            NotTaken::Denied => {
                log::info!("nothing is sent to {server} any more, as the configuration says");
                if let Err(error) = waiting::forget(self.store(), server.as_str(), None).await {
                    log::error!("what waits for {server} was not forgotten: {error}");
                }
                self.drop_ephemerals(server.as_str());
                return Some(Ending::Idle);
            }
            NotTaken::Unreachable => self.count("failed"),
            NotTaken::Refused | NotTaken::Unreadable => self.count("refused"),
        }
        if !parcel.is_stored {
            self.inner.dropped.inc();
        }
        match why {
            NotTaken::Unreadable if parcel.is_stored && running.turn.refusals >= MAX_REFUSALS => {
                log::error!(
                    "a transaction with {} events was given up: {server} cannot read it",
                    parcel.events
                );
                self.count("given_up");
                progress.confirmed = Some(parcel.id.clone());
                self.forget(server, parcel).await;
                None
            }
            NotTaken::Unreachable => Some(Ending::Unreachable),
            _ => Some(Ending::Refused),
        }
    }

    async fn forget(&self, server: &ServerName, parcel: &Parcel) {
        if let Err(error) = self.forget_transaction(server, &parcel.id).await {
            // The next one takes its place.
            log::error!("a transaction of {server} was not settled: {error}");
        }
    }

    fn count(&self, outcome: &str) {
        self.inner.transactions.with_label_values(&[outcome]).inc();
    }
}

/// Reads an answer. One that says nothing of events is still a confirmation.
fn read(server: &ServerName, answer: &Bytes) -> Taken {
    serde_json::from_slice(answer).unwrap_or_else(|error| {
        log::debug!("{server} confirms a transaction in a form of its own: {error}");
        Taken::default()
    })
}

/// Returns some time after the server was told to stop.
async fn grace(stop: &Stop) {
    stop.stopped().await;
    tokio::time::sleep(GRACE).await;
}
