//! Following the log: what the three readers of this crate have in common.
//!
//! The place in the log is stored with the rows that records ask for. Where they ask for
//! nothing it is stored now and then, and while nobody wants to be told anything it is passed
//! on to the log's end, so that the log is not kept.

use std::{fmt::Display, time::Duration};

use runtime::Stop;
use store::{Consumer, LogRecord, Position, Store, StoreError};

/// How many records that ask for nothing are passed before the place is stored, and…
const STORE_AFTER: usize = 1_024;
/// …how long it may take when nothing happens.
const STORE_EVERY: Duration = Duration::from_secs(5);
/// How often the place is stored while nobody wants to be told anything.
const STORE_WITHOUT: Duration = Duration::from_secs(60);
/// So few commits are made by readers of the log that store their places: nobody stores one for
/// these, or a server that rests would write for ever.
const PLACES: u64 = 8;
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(5);

/// Who follows the log to tell somebody outside of this server.
pub(crate) trait Follower: Send {
    /// Why it cannot go on for now.
    type Error: Display + From<StoreError> + Send;
    /// The consumer's name in the log.
    const NAME: &'static str;
    /// Records that are looked at in one go.
    const BATCH: usize;
    /// How long records come together before they are looked at.
    const GATHER: Duration = Duration::ZERO;

    fn store(&self) -> &Store;

    /// The log does not reach back so far any more: what is missing is not told.
    fn has_missed(&self, since: u64);

    /// Begins, or begins anew after a failure.
    fn begin(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Up to where nobody wants to be told anything, if nobody does; what comes later is asked
    /// for again.
    fn unwanted(&mut self) -> impl Future<Output = Result<Option<Position>, Self::Error>> + Send;

    /// Returns when somebody may want to be told something who did not before.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;

    /// Looks at records. If they ask for something, that is stored together with the place
    /// after `last`; returns whether it was.
    fn take(
        &mut self,
        consumer: &mut Consumer,
        records: Vec<LogRecord>,
        last: Position,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;
}

/// Follows the log until the server stops. `trouble` is what a failure means.
pub(crate) async fn follow(mut follower: impl Follower, stop: Stop, trouble: &str) {
    while !stop.is_stopping() {
        match go_on(&mut follower, &stop).await {
            Ok(()) => return,
            Err(error) => log::error!("{trouble}, it is tried again: {error}"),
        }
        tokio::select! {
            () = stop.stopped() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn go_on<F: Follower>(follower: &mut F, stop: &Stop) -> Result<(), F::Error> {
    let mut consumer = consumer(follower).await?;
    follower.begin().await?;
    let mut stored = Position(0);
    // Records that asked for nothing since the place was stored last.
    let mut passed = 0;
    loop {
        if passed > 0 && (passed >= STORE_AFTER || stop.is_stopping()) {
            consumer.store().await?;
            passed = 0;
        }
        if stop.is_stopping() {
            return Ok(());
        }
        if let Some(now) = follower.unwanted().await? {
            pass(&mut consumer, now, &mut stored).await?;
            passed = 0;
            tokio::select! {
                () = follower.changed() => {}
                () = stop.stopped() => {}
                () = tokio::time::sleep(STORE_WITHOUT) => {}
            }
            continue;
        }
        let records = consumer.next(F::BATCH)?;
        let Some(last) = records.last().map(|record| record.position) else {
            tokio::select! {
                () = consumer.changed() => gather(F::GATHER).await,
                () = follower.changed() => {}
                () = stop.stopped() => {}
                // Quiet: a good time.
                () = tokio::time::sleep(STORE_EVERY), if passed > 0 => passed = STORE_AFTER,
            }
            continue;
        };
        let count = records.len();
        if follower.take(&mut consumer, records, last).await? {
            passed = 0;
        } else {
            consumer.pass(last);
            passed += count;
        }
    }
}

/// The consumer of the log, which begins anew where the log does not reach back so far.
async fn consumer<F: Follower>(follower: &mut F) -> Result<Consumer, StoreError> {
    let store = follower.store().clone();
    match Consumer::open(&store, F::NAME).await {
        Err(StoreError::Trimmed(position)) => {
            follower.has_missed(position);
            let now = store.snapshot().position();
            Consumer::restart(&store, F::NAME, now).await
        }
        other => other,
    }
}

/// Even no time at all would be a millisecond of the timer's.
async fn gather(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// Goes on after `now` and stores that, unless next to nothing happened since it was `stored` last.
async fn pass(
    consumer: &mut Consumer,
    now: Position,
    stored: &mut Position,
) -> Result<(), StoreError> {
    consumer.pass(now);
    if now.0 > stored.0 + PLACES {
        consumer.store().await?;
        *stored = now;
    }
    Ok(())
}
