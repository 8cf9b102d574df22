//! From the log into the index.
//!
//! The log is read in bulk, when some time has passed, much has come, or somebody
//! searches: so each word of many messages is written once, and nobody who talks waits
//! for the index. What an edit says is added to what is known of the event that it edits; a
//! redaction takes words away. Whoever finds an event looks at it as it is then.

use std::time::Duration;

use model::{
    EventSerial, RoomSerial, SearchProgressRecord,
    tables::{INDEXED_BY_EVENT, SEARCH_PROGRESS, WORD_BY_ROOM, WORD_PAGE_BY_ROOM},
};
use rooms::ReadError;
use runtime::Stop;
use store::{Consumer, Position, Read as _, StoreError, records_after};
use tokio::time::Instant;

use crate::{
    Search,
    gathering::{Gathering, Step},
    segments,
    words::VERSION,
};

/// The consumer's name in the log.
const NAME: &str = "search";
/// Records of the log that are looked at in one go: enough to be worth waking for.
const RECORDS: usize = 4_096;
/// Older events that are looked at in one go.
const EVENTS: usize = 2_048;
/// How often it is looked whether so much has come, and…
const LOOK: Duration = Duration::from_secs(1);
/// …how often in vain before what there is is taken.
const LOOKS: usize = 10;
/// The longest rest after work.
const LONGEST_REST: Duration = Duration::from_millis(500);
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// After how many older events the log says how far it is.
const TELL_EVERY: u64 = 50_000;

impl Search {
    /// Follows the log until the server stops.
    pub async fn run(self, stop: Stop) {
        while !stop.is_stopping() {
            match self.follow(&stop).await {
                Ok(()) => return,
                Err(error) => {
                    log::error!("the search index cannot go on, and tries again: {error}")
                }
            }
            tokio::select! {
                () = stop.stopped() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn follow(&self, stop: &Stop) -> Result<(), ReadError> {
        let mut consumer = self.consumer().await?;
        let mut progress = self.progress().await?;
        let mut told = 0;
        // Whether somebody waits for the index.
        let mut hurried = false;
        while !stop.is_stopping() {
            // What is published by now is in the index if there is nothing more to read.
            let now = self.store().snapshot().position();
            let begun = Instant::now();
            if self.index(&mut consumer).await? == RECORDS {
                hurried |= !hurried && self.rest(stop, begun.elapsed()).await;
                continue;
            }
            if hurried {
                self.publish().await?;
                self.inner.indexed.send_replace(now);
            }
            if progress.next < progress.end {
                let begun = Instant::now();
                told += self.look_back(&mut progress).await?;
                hurried = self.rest(stop, begun.elapsed()).await;
                if told >= TELL_EVERY || progress.next >= progress.end {
                    tell(&progress);
                    told = 0;
                }
                continue;
            }
            hurried = tokio::select! {
                () = consumer.changed() => self.gather(stop, &consumer).await,
                () = self.inner.hurry.notified() => true,
                () = stop.stopped() => false,
            };
        }
        Ok(())
    }

    /// Lets records come together. Returns whether somebody waits for the index.
    async fn gather(&self, stop: &Stop, consumer: &Consumer) -> bool {
        for _ in 0..LOOKS {
            if self.pause(stop, LOOK).await {
                return true;
            }
            let now = self.store().snapshot().position().0;
            let behind = now.saturating_sub(consumer.position().0);
            if stop.is_stopping() || behind >= RECORDS as u64 {
                break;
            }
        }
        false
    }

    /// Leaves the processor to those who talk. Returns whether somebody waits for the
    /// index.
    async fn rest(&self, stop: &Stop, worked: Duration) -> bool {
        self.pause(stop, worked.min(LONGEST_REST)).await
    }

    /// Waits so long, or until somebody waits for the index; returns whether that is so.
    async fn pause(&self, stop: &Stop, time: Duration) -> bool {
        tokio::select! {
            () = self.inner.hurry.notified() => true,
            () = stop.stopped() => false,
            () = tokio::time::sleep(time) => false,
        }
    }

    /// Returns when all that was written is where searches look.
    async fn publish(&self) -> Result<(), StoreError> {
        self.store().commit(|_, _, _| Ok(())).await
    }

    /// The consumer of the log. Where the log does not reach back so far, the index is
    /// built anew.
    async fn consumer(&self) -> Result<Consumer, StoreError> {
        match Consumer::open(self.store(), NAME).await {
            Err(StoreError::Trimmed(position)) => {
                log::warn!(
                    "the search index is built anew: the log no longer reaches back to {position}"
                );
                let now = self.store().snapshot().position();
                let consumer = Consumer::restart(self.store(), NAME, now).await?;
                self.begin().await?;
                Ok(consumer)
            }
            other => other,
        }
    }

    /// How far the index has come with older events; it begins anew where its rules have
    /// changed.
    async fn progress(&self) -> Result<SearchProgressRecord, StoreError> {
        let stored = self.store().latest().get(&SEARCH_PROGRESS, &())?;
        match stored {
            Some(progress) if progress.version == VERSION => Ok(progress),
            _ => self.begin().await,
        }
    }

    /// Begins with the first event. The consumer of the log must be open: what comes from
    /// now on comes through it.
    async fn begin(&self) -> Result<SearchProgressRecord, StoreError> {
        let progress = SearchProgressRecord {
            version: VERSION,
            next: EventSerial(0),
            end: EventSerial(self.store().next_serial()),
        };
        self.store()
            .commit(move |latest, _, batch| {
                if latest.get(&SEARCH_PROGRESS, &())?.is_some() {
                    batch.delete_prefix(&WORD_PAGE_BY_ROOM, &());
                    batch.delete_prefix(&WORD_BY_ROOM, &());
                    batch.delete_prefix(&INDEXED_BY_EVENT, &());
                }
                batch.put(&SEARCH_PROGRESS, &(), &progress);
                Ok::<_, StoreError>(progress)
            })
            .await
    }

    /// Takes the next records of the log into the index. Returns how many there were.
    async fn index(&self, consumer: &mut Consumer) -> Result<usize, ReadError> {
        let (search, after) = (self.clone(), consumer.position());
        let (records, last, step) = self
            .store()
            .read_long(move |view| {
                let records = records_after(view, after, RECORDS)?;
                let last = records.last().map(|record| record.position);
                let latest = search.store().latest();
                let mut gathering = Gathering::new(&search, view, &latest);
                gathering.follow(&records)?;
                Ok::<(usize, Option<Position>, Step), ReadError>((
                    records.len(),
                    last,
                    gathering.end()?,
                ))
            })
            .await?;
        let Some(last) = last else {
            return Ok(0);
        };
        let ripe = step.ripe.clone();
        consumer
            .advance_later_with(last, move |_, batch| {
                step.write(batch);
                Ok(())
            })
            .await?;
        self.merge(ripe).await?;
        Ok(records)
    }

    /// Takes some older events into the index. Returns how many were looked at.
    async fn look_back(&self, progress: &mut SearchProgressRecord) -> Result<u64, ReadError> {
        let (search, before) = (self.clone(), *progress);
        let (looked_at, next, step) = self
            .store()
            .read_long(move |view| {
                let latest = search.store().latest();
                let mut gathering = Gathering::new(&search, view, &latest);
                let (looked_at, next) = gathering.look_back(before.next, before.end, EVENTS)?;
                Ok::<(u64, EventSerial, Step), ReadError>((looked_at, next, gathering.end()?))
            })
            .await?;
        progress.next = next;
        let (ripe, progress) = (step.ripe.clone(), *progress);
        self.store()
            .commit_later(move |_, _, batch| {
                step.write(batch);
                batch.put(&SEARCH_PROGRESS, &(), &progress);
                Ok::<_, StoreError>(())
            })
            .await?;
        self.merge(ripe).await?;
        Ok(looked_at)
    }

    /// Makes fewer and larger segments of those of some rooms.
    async fn merge(&self, rooms: Vec<RoomSerial>) -> Result<(), StoreError> {
        for room in rooms {
            let mut is_ripe = true;
            while is_ripe {
                let latest = self.store().latest();
                let merge = move |_: &_| segments::merge(&latest, room);
                let change = self.store().read_long(merge).await?;
                is_ripe = change.is_ripe;
                self.store()
                    .commit_later(move |_, _, batch| {
                        change.write(batch);
                        Ok::<_, StoreError>(())
                    })
                    .await?;
            }
        }
        Ok(())
    }

    pub(crate) fn now(&self) -> u64 {
        self.inner.clock.now().0
    }
}

fn tell(progress: &SearchProgressRecord) {
    if progress.next >= progress.end {
        log::info!("all older messages can be searched");
    } else {
        let (done, all) = (progress.next.0, progress.end.0.max(1));
        let percent = u128::from(done) * 100 / u128::from(all);
        log::info!(percent = u64::try_from(percent).unwrap_or(100); "taking older messages into the search index");
    }
}
