//! What other servers send by themselves (server-server API, "Transactions").
//!
//! A server's transactions are taken one after another, as it made them. One that it repeats,
//! because the answer was lost, gets the same answer. Answers are remembered in memory: after
//! a restart a repeated transaction is taken again, which changes nothing, for events are
//! known by their ids, messages to devices by theirs, and the rest says the same twice.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use prometheus::IntCounterVec;
use ruma_common::{OwnedEventId, OwnedServerName, OwnedTransactionId, ServerName, serde::Raw};
use ruma_federation_api::transactions::edu::Edu;
use runtime::{Clock, Metrics, Timestamp};
use serde_json::value::RawValue;
use store::StoreError;
use tokio::sync::Mutex as Turn;

use crate::Actions;

/// The most events of one transaction.
const MOST_EVENTS: usize = 50;
/// The most other messages of one transaction.
const MOST_EDUS: usize = 100;
/// The longest transaction id, in bytes.
const MOST_ID_BYTES: usize = 255;
/// The most transactions of one server that are taken or wait for it.
const MOST_WAITING: usize = 5;
/// How many answers to each server are remembered.
const KEPT_ANSWERS: usize = 4;
/// The most servers to which answers are remembered.
const KEPT_SERVERS: usize = 1_000;
/// The longest text of an error in an answer, in characters.
const ERROR_CHARACTERS: usize = 200;

/// What became of the events of a transaction, by their ids.
pub type TransactionAnswer = BTreeMap<OwnedEventId, Result<(), String>>;

/// A transaction, as its server sent it.
#[derive(Debug)]
pub struct Transaction {
    /// Its id, which its server does not use again.
    pub id: OwnedTransactionId,
    /// Which server it says that it is of.
    pub origin: OwnedServerName,
    /// Events.
    pub events: Vec<Box<RawValue>>,
    /// Everything else.
    pub edus: Vec<Raw<Edu>>,
}

/// Why a transaction was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// It is more than one transaction may be, or of another server than it says.
    #[error("{0}")]
    Invalid(&'static str),
    /// Others of the same server are not finished.
    #[error("earlier transactions of this server are not finished")]
    Busy,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The transactions of other servers that are taken or were taken lately.
pub(crate) struct Received {
    servers: Mutex<HashMap<OwnedServerName, Sending>>,
    events: IntCounterVec,
    edus: IntCounterVec,
}

/// The newest answers to a server, oldest first.
type Answers = Arc<Turn<VecDeque<(OwnedTransactionId, TransactionAnswer)>>>;

struct Sending {
    /// Held by the transaction that is taken.
    turn: Answers,
    used: Timestamp,
}

impl Received {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            servers: Mutex::default(),
            events: metrics.counter_with(
                "cairn_federation_received_events_total",
                "Events that other servers sent: taken, which those are too that their room's rules forbid; refused; unusable.",
                &["outcome"],
            ),
            edus: metrics.counter_with(
                "cairn_federation_edus_total",
                "Messages other than events that other servers sent, by type and whether they were taken.",
                &["type", "outcome"],
            ),
        }
    }

    /// Counts the events of a transaction: those that `answer` does not name were none.
    fn count_events(&self, sent: usize, answer: &[(OwnedEventId, Result<(), String>)]) {
        let taken = answer.iter().filter(|(_, result)| result.is_ok()).count();
        for (outcome, count) in [
            ("taken", taken),
            ("refused", answer.len() - taken),
            ("unusable", sent.saturating_sub(answer.len())),
        ] {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            self.events.with_label_values(&[outcome]).inc_by(count);
        }
    }

    pub(crate) fn count_edu(&self, edu_type: &'static str, outcome: &'static str) {
        self.edus.with_label_values(&[edu_type, outcome]).inc();
    }

    /// The turn of a server's transactions; none if too many wait for it.
    fn turn(&self, server: &ServerName, clock: &Clock) -> Option<Answers> {
        let mut servers = self.servers.lock();
        if servers.len() >= KEPT_SERVERS && !servers.contains_key(server) {
            // Those that send something at this moment are shared.
            let idle = servers
                .iter()
                .filter(|(_, sending)| Arc::strong_count(&sending.turn) == 1);
            let oldest = idle.min_by_key(|(_, sending)| sending.used)?.0.clone();
            servers.remove(&oldest);
        }
        let sending = servers.entry(server.to_owned()).or_insert_with(|| Sending {
            turn: Arc::default(),
            used: clock.now(),
        });
        sending.used = clock.now();
        let waiting = Arc::strong_count(&sending.turn) - 1;
        (waiting < MOST_WAITING).then(|| sending.turn.clone())
    }
}

impl Actions {
    /// Takes a transaction of another server, or remembers what became of it when it came
    /// before. When this returns, everything of it that was taken is on disk, but for what
    /// lives in memory alone.
    ///
    /// # Errors
    /// [`TransactionError`]; then its server sends it again.
    pub async fn receive_transaction(
        &self,
        origin: &ServerName,
        transaction: Transaction,
    ) -> Result<TransactionAnswer, TransactionError> {
        let wrong = if transaction.origin != origin {
            Some("the transaction is of another server")
        } else if transaction.events.len() > MOST_EVENTS {
            Some("a transaction has at most 50 events")
        } else if transaction.edus.len() > MOST_EDUS {
            Some("a transaction has at most 100 messages other than events")
        } else if transaction.id.as_str().len() > MOST_ID_BYTES {
            Some("a transaction id has at most 255 bytes")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            return Err(TransactionError::Invalid(wrong));
        }
        let turn = self.received.turn(origin, &self.clock);
        let turn = turn.ok_or(TransactionError::Busy)?;
        let mut answers = turn.lock().await;
        if let Some((_, answer)) = answers.iter().find(|(id, _)| *id == transaction.id) {
            return Ok(answer.clone());
        }
        let answer = self
            .take(origin, transaction.events, transaction.edus)
            .await?;
        if answers.len() >= KEPT_ANSWERS {
            answers.pop_front();
        }
        answers.push_back((transaction.id, answer.clone()));
        Ok(answer)
    }

    async fn take(
        &self,
        origin: &ServerName,
        events: Vec<Box<RawValue>>,
        edus: Vec<Raw<Edu>>,
    ) -> Result<TransactionAnswer, TransactionError> {
        let (ephemeral, lasting) = self.read_edus(edus);
        // Messages to devices wait for no event. Receipts do: they name events.
        let lasting = async {
            for edu in lasting {
                self.take_edu(origin, edu).await?;
            }
            self.accounts.settled().await
        };
        let sent = events.len();
        let events = self.receive_transaction_events(origin, events);
        let (answer, taken) = tokio::join!(events, lasting);
        taken?;
        let answer = answer?;
        self.received.count_events(sent, &answer);
        for edu in ephemeral {
            self.take_edu(origin, edu).await?;
        }
        let short = |error: String| -> String { error.chars().take(ERROR_CHARACTERS).collect() };
        let answer = answer.into_iter();
        Ok(answer
            .map(|(id, result)| (id, result.map_err(short)))
            .collect())
    }
}
