//! From a pusher's queue to its gateway.

use std::{collections::HashSet, sync::Arc, time::Duration};

use accounts::Pusher;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use model::{
    PushRecord, PusherSerial,
    tables::{PUSH_BY_PUSHER, TOLD_COUNT_BY_PUSHER},
};
use outgoing::{Answer, OutgoingError, Request};
use rooms::ReadError;
use runtime::Stop;
use serde::Deserialize;
use store::{Position, Read as _, Snapshot, StoreError};
use tokio::{sync::Notify, time::Instant};
use url::Url;

use super::{Address, Outcome, Poke, Push, notification};

/// How long a gateway may take to answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The most bytes of a gateway's answer.
const ANSWER_LIMIT: usize = 64 * 1_024;
/// Redirects that are followed.
const REDIRECTS: u8 = 3;
/// Events that may wait; of more than that only the newest of each room do.
const MAX_WAITING: usize = 10;
/// Rows that are looked at in one go.
const MAX_ROWS: usize = 1_000;
/// How long a request may go on when the server stops.
const GRACE: Duration = Duration::from_secs(3);
/// The first wait before a gateway that failed is tried again.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The key of a row.
type Row = (PusherSerial, Position, u32);

/// What a look at a queue led to.
pub(super) enum Step {
    /// There is no such pusher any more.
    Gone,
    /// Nothing waits.
    Idle,
    /// These rows are not to be sent.
    Drop(Vec<Row>, Outcome),
    /// This is to be sent.
    Send(Box<Parcel>),
}

/// A request with the rows that it settles.
pub(super) struct Parcel {
    pub(super) pusher: Pusher,
    pub(super) rows: Vec<Row>,
    /// The notification as JSON.
    pub(super) body: Vec<u8>,
    /// The number of unread messages that it tells.
    pub(super) unread: u64,
    /// Whether it is about an event.
    pub(super) has_event: bool,
}

/// What a gateway answers (push gateway API).
#[derive(Deserialize)]
struct Taken {
    #[serde(default)]
    rejected: Vec<String>,
}

/// Why a notification was not taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// There was no answer.
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
    /// The gateway answered something else than 200.
    #[error("it answered {0}")]
    Status(http::StatusCode),
    /// What it answered is not what push gateways do.
    #[error("its answer is not that of a push gateway")]
    Answer,
    /// The stored URL is none.
    #[error("its URL is none")]
    Url,
}

impl Push {
    /// Lets a courier look at a pusher's queue: the one that is on its way, or a new one.
    pub(super) fn poke(&self, address: &Address) {
        let mut couriers = self.inner.couriers.lock();
        if let Some(poke) = couriers.get_mut(&address.serial) {
            poke.is_due = true;
            poke.notify.notify_one();
            return;
        }
        let notify = Arc::new(Notify::new());
        let poke = Poke {
            is_due: true,
            notify: notify.clone(),
        };
        couriers.insert(address.serial, poke);
        drop(couriers);
        let trip = Trip {
            push: self.clone(),
            address: address.clone(),
            notify,
        };
        let tasks = &self.inner.parts.tasks;
        tasks.spawn(
            "push-courier",
            |stop| async move { trip.deliver(&stop).await },
        );
    }

    async fn step(&self, address: &Address) -> Result<Step, ReadError> {
        let (push, address) = (self.clone(), address.clone());
        let read = move |view: &Snapshot| push.look(view, &address);
        self.store().read(read).await
    }

    /// Decides what to do with a pusher's queue.
    pub(super) fn look(&self, view: &Snapshot, address: &Address) -> Result<Step, ReadError> {
        let pusher = accounts::pusher(view, address.user, &address.key)?;
        let Some(pusher) = pusher.filter(|pusher| pusher.serial == address.serial) else {
            return Ok(Step::Gone);
        };
        let rows: Vec<(Row, PushRecord)> = view
            .scan(&PUSH_BY_PUSHER, &(address.serial,))
            .take(MAX_ROWS)
            .collect::<Result<_, _>>()?;
        if rows.is_empty() {
            return Ok(Step::Idle);
        }
        if let Some(step) = self.tidied(&rows) {
            return Ok(step);
        }
        let account = accounts::account(view, address.user)?;
        let now = self.now();
        let is_out = match account.filter(|account| account.deactivated_at.is_none()) {
            Some(account) => accounts::barrier(view, address.user, &account, now)?.is_some(),
            None => true,
        };
        if is_out {
            let rows = rows.into_iter().map(|(key, _)| key).collect();
            return Ok(Step::Drop(rows, Outcome::Obsolete));
        }
        let unread = self.rooms().unread_everywhere(view, address.user)?;
        let event = rows.iter().find_map(|(key, record)| {
            let event = record.event.as_ref()?;
            Some((*key, event))
        });
        // A notification about an event tells the count too.
        let mut settled: Vec<Row> = rows
            .iter()
            .filter(|(_, record)| record.event.is_none())
            .map(|(key, _)| *key)
            .collect();
        let body = match event {
            Some((key, event)) => {
                let body =
                    notification::of_event(self, view, address.user, &pusher, event, unread)?;
                let Some(body) = body else {
                    return Ok(Step::Drop(vec![key], Outcome::Obsolete));
                };
                settled.push(key);
                body
            }
            None => {
                let told = view.get(&TOLD_COUNT_BY_PUSHER, &address.serial)?;
                if told.unwrap_or(0) == unread {
                    return Ok(Step::Drop(settled, Outcome::Obsolete));
                }
                notification::of_count(&pusher, unread)
            }
        };
        Ok(Step::Send(Box::new(Parcel {
            has_event: event.is_some(),
            pusher,
            rows: settled,
            body,
            unread,
        })))
    }

    /// The rows of a queue that are too old or too many.
    fn tidied(&self, rows: &[(Row, PushRecord)]) -> Option<Step> {
        let age = self.inner.options.give_up_after.saturating_mul(1_000);
        let oldest = self.now().saturating_sub(age);
        let old: Vec<Row> = rows
            .iter()
            .filter(|(_, record)| record.at < oldest)
            .map(|(key, _)| *key)
            .collect();
        if !old.is_empty() {
            return Some(Step::Drop(old, Outcome::Expired));
        }
        let surplus = surplus(rows);
        (!surplus.is_empty()).then_some(Step::Drop(surplus, Outcome::Coalesced))
    }

    /// Sends a notification and settles its rows; says whether the gateway took it.
    async fn send(&self, address: &Address, parcel: Parcel) -> Result<bool, StoreError> {
        match self.hand_over(&parcel.pusher.url, parcel.body).await {
            Ok(taken) if taken.rejected.contains(&address.key.pushkey) => {
                self.count(Outcome::Rejected, 1);
                let Address { user, key, serial } = address.clone();
                let accounts = &self.inner.parts.accounts;
                accounts.delete_pusher(user, key, Some(serial)).await?;
                Ok(true)
            }
            Ok(_) => {
                self.settle(address.serial, parcel.rows, parcel.unread)
                    .await?;
                self.count(Outcome::Delivered, usize::from(parcel.has_event));
                Ok(true)
            }
            Err(refusal) => {
                log::debug!(pusher = address.serial.0; "a push gateway failed: {refusal}");
                self.count(Outcome::Failed, 1);
                Ok(false)
            }
        }
    }

    /// Waits for the gateway's turn and sends it a notification.
    async fn hand_over(&self, url: &str, body: Vec<u8>) -> Result<Taken, Refusal> {
        let url = Url::parse(url).map_err(|_| Refusal::Url)?;
        let turns = self.gateway(&url);
        let _turn = turns.acquire().await;
        let _place = self.inner.all.acquire().await;
        let outgoing = &self.inner.parts.outgoing;
        taken(&outgoing.send(request(url, body)).await?)
    }

    /// Removes what was sent and remembers the count that was told, in one commit that
    /// is on disk before the next is sent.
    async fn settle(
        &self,
        serial: PusherSerial,
        rows: Vec<Row>,
        unread: u64,
    ) -> Result<(), StoreError> {
        self.store()
            .commit_from_reserve(move |_, _, batch| {
                for row in rows {
                    batch.delete(&PUSH_BY_PUSHER, &row);
                }
                batch.put(&TOLD_COUNT_BY_PUSHER, &serial, &unread);
                Ok::<_, StoreError>(())
            })
            .await
    }

    async fn discard(&self, rows: Vec<Row>, outcome: Outcome) -> Result<(), StoreError> {
        let number = rows.len();
        self.store()
            .commit_from_reserve(move |_, _, batch| {
                for row in rows {
                    batch.delete(&PUSH_BY_PUSHER, &row);
                }
                Ok::<_, StoreError>(())
            })
            .await?;
        self.count(outcome, number);
        Ok(())
    }

    /// Removes what is left of a pusher that is gone.
    async fn forget(&self, serial: PusherSerial) -> Result<(), StoreError> {
        self.store()
            .commit_from_reserve(move |_, _, batch| {
                batch.delete_prefix(&PUSH_BY_PUSHER, &(serial,));
                batch.delete(&TOLD_COUNT_BY_PUSHER, &serial);
                Ok::<_, StoreError>(())
            })
            .await
    }

    /// Twice as long after each failure, and somewhat different for everybody, so that
    /// not all come back at once.
    fn delay(&self, failures: u32) -> Duration {
        let longest = Duration::from_secs(self.inner.options.retry_delay_max.max(1));
        let exponent = failures.saturating_sub(1).min(20);
        let delay = FIRST_DELAY.saturating_mul(1 << exponent).min(longest);
        let part = u32::try_from(self.inner.parts.random.number() % 100).unwrap_or(0);
        delay - delay * part / 400
    }
}

/// A courier on its way for one pusher.
struct Trip {
    push: Push,
    address: Address,
    notify: Arc<Notify>,
}

/// However a courier ends, the next poke sends another one.
impl Drop for Trip {
    fn drop(&mut self) {
        let mut couriers = self.push.inner.couriers.lock();
        let own = |poke: &Poke| Arc::ptr_eq(&poke.notify, &self.notify);
        if couriers.get(&self.address.serial).is_some_and(own) {
            couriers.remove(&self.address.serial);
        }
    }
}

impl Trip {
    /// Sends what waits for a pusher, in its order, until nothing does.
    async fn deliver(&self, stop: &Stop) {
        let mut failures = 0;
        while !stop.is_stopping() {
            self.begin();
            let (push, address) = (&self.push, &self.address);
            let done = match push.step(address).await {
                Ok(Step::Idle) if self.may_end() => return,
                Ok(Step::Idle) => Ok(()),
                Ok(Step::Gone) => {
                    if let Err(error) = push.forget(address.serial).await {
                        log::error!("a push queue cannot be written: {error}");
                    }
                    return;
                }
                Ok(Step::Drop(rows, outcome)) => push.discard(rows, outcome).await,
                Ok(Step::Send(parcel)) => {
                    let sent = tokio::select! {
                        sent = push.send(address, *parcel) => sent,
                        // What is not settled stays in the queue.
                        () = grace(stop) => return,
                    };
                    match sent {
                        Ok(true) => failures = 0,
                        Ok(false) => {
                            failures += 1;
                            self.wait(failures, stop).await;
                        }
                        Err(_) => {}
                    }
                    sent.map(|_| ())
                }
                Err(ReadError::Store(error)) => Err(error),
                Err(error) => {
                    log::error!(pusher = address.serial.0; "a push queue is stuck: {error}");
                    Err(StoreError::Busy)
                }
            };
            if let Err(error) = done {
                log::error!("a push queue cannot be read or written: {error}");
                failures += 1;
                self.wait(failures, stop).await;
            }
        }
    }

    /// From here on the courier sees what was there before.
    fn begin(&self) {
        let mut couriers = self.push.inner.couriers.lock();
        if let Some(poke) = couriers.get_mut(&self.address.serial) {
            poke.is_due = false;
        }
    }

    /// Whether a courier that found nothing may end; another one is then sent when there
    /// is something.
    fn may_end(&self) -> bool {
        let mut couriers = self.push.inner.couriers.lock();
        match couriers.get(&self.address.serial) {
            Some(poke) if poke.is_due => false,
            _ => {
                couriers.remove(&self.address.serial);
                true
            }
        }
    }

    /// Waits before the next attempt, longer each time, and keeps the queue short
    /// meanwhile.
    async fn wait(&self, failures: u32, stop: &Stop) {
        let (push, address) = (&self.push, &self.address);
        let until = Instant::now() + push.delay(failures);
        loop {
            tokio::select! {
                () = stop.stopped() => return,
                () = tokio::time::sleep_until(until) => return,
                () = self.notify.notified() => {}
            }
            match push.step(address).await {
                Ok(Step::Gone) => return,
                Ok(Step::Drop(rows, outcome)) => {
                    if let Err(error) = push.discard(rows, outcome).await {
                        log::error!("a push queue cannot be written: {error}");
                    }
                }
                // Nothing is sent before its time.
                Ok(Step::Idle | Step::Send(_)) | Err(_) => {}
            }
        }
    }
}

/// Returns some time after the server was told to stop.
async fn grace(stop: &Stop) {
    stop.stopped().await;
    tokio::time::sleep(GRACE).await;
}

/// The rows that newer ones stand for: where too many events wait, all but the newest
/// of each room, and of those all but the newest.
fn surplus(rows: &[(Row, PushRecord)]) -> Vec<Row> {
    let events = rows.iter().rev().filter_map(|(key, record)| {
        let event = record.event.as_ref()?;
        Some((*key, event.room))
    });
    if events.clone().count() <= MAX_WAITING {
        return Vec::new();
    }
    let mut rooms = HashSet::new();
    events
        .filter(|(_, room)| !rooms.insert(*room) || rooms.len() > MAX_WAITING)
        .map(|(key, _)| key)
        .collect()
}

fn request(url: Url, body: Vec<u8>) -> Request {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    Request {
        purpose: "push",
        method: Method::POST,
        url,
        headers,
        body: Bytes::from(body),
        route: None,
        plain_http: true,
        redirects: REDIRECTS,
        timeout: TIMEOUT,
        answer_limit: ANSWER_LIMIT,
    }
}

/// A notification counts as taken when the gateway says so in its own words: anybody's
/// page with status 200 is not enough.
fn taken(answer: &Answer) -> Result<Taken, Refusal> {
    if answer.status != http::StatusCode::OK {
        return Err(Refusal::Status(answer.status));
    }
    if !answer.body.trim_ascii_start().starts_with(b"{") {
        return Err(Refusal::Answer);
    }
    serde_json::from_slice(&answer.body).map_err(|_| Refusal::Answer)
}

#[cfg(test)]
mod tests {
    use model::{EventSerial, PushedEvent, RoomSerial};

    use super::*;

    fn row(position: u64, room: Option<u64>) -> (Row, PushRecord) {
        let event = room.map(|room| PushedEvent {
            room: RoomSerial(room),
            event: EventSerial(position),
            tweaks: b"{}".to_vec(),
            is_urgent: false,
        });
        let key = (PusherSerial(1), Position(position), 0);
        (key, PushRecord { at: 0, event })
    }

    fn left(rows: &[(Row, PushRecord)]) -> Vec<u64> {
        let gone = surplus(rows);
        let kept = rows.iter().filter(|(key, _)| !gone.contains(key));
        kept.map(|(key, _)| key.1.0).collect()
    }

    #[test]
    fn few_rows_stay_as_they_are() {
        let rows: Vec<_> = (1..=10).map(|at| row(at, Some(1))).collect();
        assert_eq!(left(&rows), Vec::from_iter(1..=10));
    }

    #[test]
    fn of_many_rows_the_newest_of_each_room_stay() {
        let mut rows: Vec<_> = (1..=20).map(|at| row(at, Some(at % 3))).collect();
        rows.push(row(21, None));
        assert_eq!(left(&rows), [18, 19, 20, 21]);
        let rooms: Vec<_> = (1..=20).map(|at| row(at, Some(at))).collect();
        assert_eq!(left(&rooms), Vec::from_iter(11..=20));
    }

    #[test]
    fn only_a_gateways_own_answer_counts() {
        for (status, body, expected) in [
            (200, r#"{"rejected":[]}"#, true),
            (200, "{}", true),
            (200, "<html>Please sign in</html>", false),
            (200, "[]", false),
            (200, "", false),
            (201, "{}", false),
            (302, "{}", false),
            (500, r#"{"rejected":[]}"#, false),
        ] {
            let answer = Answer {
                status: http::StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: Bytes::from(body),
                version: http::Version::HTTP_11,
                address: None,
            };
            assert_eq!(taken(&answer).is_ok(), expected, "{status} {body}");
        }
    }
}
