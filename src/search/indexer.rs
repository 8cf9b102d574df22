//! From the log into the index.
//!
//! For each event that the log tells of, the event whose text it changes is looked at
//! as it is now, and its rows in the index are made what they should be: so the same
//! event may be looked at twice, and in any order.

use std::{collections::BTreeSet, time::Duration};

use model::{
    EventSerial, EventStatus, IndexedRecord, LogEntry, SearchProgressRecord, WordRecord,
    tables::{EVENT_BY_ID, EVENT_BY_SERIAL, INDEXED_BY_EVENT, SEARCH_PROGRESS, WORD_BY_ROOM},
};
use model::{RoomSerial, StoredEvent};
use rooms::{ClientEvent, ReadError, load_events, newest_edit};
use runtime::Stop;
use store::{Batch, Consumer, LogRecord, Position, Read, Snapshot, StoreError, Value as _};
use tokio::time::Instant;

use crate::{
    Search,
    text::{Role, role, searched, sent_at},
    words::{VERSION, counted},
};

/// The consumer's name in the log.
const NAME: &str = "search";
/// Records of the log that are looked at in one go.
const RECORDS: usize = 512;
/// Older events that are looked at in one go.
const EVENTS: usize = 500;
/// How long records are gathered before they are written, where nobody waits.
const GATHER: Duration = Duration::from_millis(100);
/// How many times as long as it worked the indexer rests.
const REST: u32 = 3;
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_millis(500);
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// After how many older events the log says how far it is.
const TELL_EVERY: u64 = 50_000;

/// What is to be written for one event.
struct Change {
    room: RoomSerial,
    event: EventSerial,
    /// The words that it no longer has.
    old: Option<(u64, Vec<String>)>,
    /// Where it stands from now on, and under which words.
    new: Option<(IndexedRecord, Vec<(String, WordRecord)>)>,
}

/// Older events that were looked at.
struct Step {
    changes: Vec<Change>,
    progress: SearchProgressRecord,
    looked_at: u64,
}

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
        while !stop.is_stopping() {
            // What is published by now is in the index if there is nothing more to read.
            let now = self.store().snapshot().position();
            let records = consumer.next(RECORDS)?;
            let begun = Instant::now();
            if let Some(last) = records.last().map(|record| record.position) {
                self.index(&mut consumer, last, records).await?;
                self.rest(stop, begun.elapsed()).await;
                continue;
            }
            self.inner.indexed.send_replace(now);
            if progress.next < progress.end {
                told += self.look_back(&mut progress).await?;
                self.rest(stop, begun.elapsed()).await;
                if told >= TELL_EVERY || progress.next >= progress.end {
                    tell(&progress);
                    told = 0;
                }
                continue;
            }
            tokio::select! {
                // More may come at once.
                () = consumer.changed() => self.pause(stop, GATHER).await,
                () = self.inner.hurry.notified() => {}
                () = stop.stopped() => {}
            }
        }
        Ok(())
    }

    /// Leaves the processor to those who talk, unless somebody waits for the index.
    async fn rest(&self, stop: &Stop, worked: Duration) {
        self.pause(stop, (worked * REST).min(LONGEST_REST)).await;
    }

    /// Waits so long, or until somebody waits for the index.
    async fn pause(&self, stop: &Stop, time: Duration) {
        tokio::select! {
            () = self.inner.hurry.notified() => {}
            () = stop.stopped() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    /// The consumer of the log. Where the log does not reach back so far, all events are
    /// looked at again.
    async fn consumer(&self) -> Result<Consumer, StoreError> {
        match Consumer::open(self.store(), NAME).await {
            Err(StoreError::Trimmed(position)) => {
                log::warn!(
                    "the search index is checked whole: the log no longer reaches back to {position}"
                );
                let now = self.store().snapshot().position();
                let consumer = Consumer::restart(self.store(), NAME, now).await?;
                self.begin(false).await?;
                Ok(consumer)
            }
            other => other,
        }
    }

    /// How far the index has come with older events; it begins anew where its rules have
    /// changed.
    async fn progress(&self) -> Result<SearchProgressRecord, StoreError> {
        let stored = self.store().snapshot().get(&SEARCH_PROGRESS, &())?;
        match stored {
            Some(progress) if progress.version == VERSION => Ok(progress),
            Some(_) => self.begin(true).await,
            None => self.begin(false).await,
        }
    }

    /// Begins with the first event. The consumer of the log must be open: what comes from
    /// now on comes through it.
    async fn begin(&self, is_anew: bool) -> Result<SearchProgressRecord, StoreError> {
        let progress = SearchProgressRecord {
            version: VERSION,
            next: EventSerial(0),
            end: EventSerial(self.store().next_serial()),
        };
        self.store()
            .commit(move |_, _, batch| {
                if is_anew {
                    batch.delete_prefix(&WORD_BY_ROOM, &());
                    batch.delete_prefix(&INDEXED_BY_EVENT, &());
                }
                batch.put(&SEARCH_PROGRESS, &(), &progress);
                Ok::<_, StoreError>(progress)
            })
            .await
    }

    async fn index(
        &self,
        consumer: &mut Consumer,
        last: Position,
        records: Vec<LogRecord>,
    ) -> Result<(), ReadError> {
        let now = self.now();
        let changes = self
            .store()
            .read_long(move |view| changes_of(view, &records, now))
            .await?;
        if changes.is_empty() {
            // Where nobody says a word that can be read, the log is not kept for us.
            consumer.advance(last).await?;
            return Ok(());
        }
        consumer
            .advance_with(last, move |_, batch| {
                changes.iter().for_each(|change| change.write(batch));
                Ok(())
            })
            .await?;
        Ok(())
    }

    /// Takes some older events into the index. Returns how many were looked at.
    async fn look_back(&self, progress: &mut SearchProgressRecord) -> Result<u64, ReadError> {
        let (before, now) = (*progress, self.now());
        let step = self
            .store()
            .read_long(move |view| step_back(view, before, now))
            .await?;
        *progress = step.progress;
        self.store()
            .commit(move |_, _, batch| {
                step.changes.iter().for_each(|change| change.write(batch));
                batch.put(&SEARCH_PROGRESS, &(), &step.progress);
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(step.looked_at)
    }

    fn now(&self) -> u64 {
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

/// What the records of the log change in the index.
fn changes_of(view: &Snapshot, records: &[LogRecord], now: u64) -> Result<Vec<Change>, ReadError> {
    let mut targets = BTreeSet::new();
    for entry in records.iter().flat_map(|record| &record.entries) {
        match LogEntry::decode(entry) {
            Ok(LogEntry::Event { event, .. } | LogEntry::Entered { event, .. }) => {
                if let Some(stored) = view.get(&EVENT_BY_SERIAL, &event)? {
                    targets.extend(target(view, event, &stored)?);
                }
            }
            Ok(_) => {}
            Err(error) => log::error!("an entry of the log cannot be read: {error}"),
        }
    }
    let mut changes = Vec::new();
    for (room, event) in targets {
        changes.extend(change(view, room, event, now)?);
    }
    Ok(changes)
}

fn step_back(
    view: &Snapshot,
    mut progress: SearchProgressRecord,
    now: u64,
) -> Result<Step, ReadError> {
    let mut changes = Vec::new();
    let mut looked_at = 0;
    let from = progress.next;
    progress.next = progress.end;
    for row in view.scan_from(&EVENT_BY_SERIAL, &(), &from) {
        let (event, stored) = row?;
        if event >= progress.end {
            break;
        }
        if looked_at == EVENTS {
            progress.next = event;
            break;
        }
        looked_at += 1;
        if role(&stored.json) == Role::Found {
            changes.extend(change(view, stored.room, event, now)?);
        }
    }
    Ok(Step {
        changes,
        progress,
        looked_at: looked_at as u64,
    })
}

/// The event whose text another gives, changes or takes away.
fn target(
    view: &impl Read,
    event: EventSerial,
    stored: &StoredEvent,
) -> Result<Option<(RoomSerial, EventSerial)>, StoreError> {
    let named = match role(&stored.json) {
        Role::Found => return Ok(Some((stored.room, event))),
        Role::Other => return Ok(None),
        Role::Edits(id) => id,
        Role::Redacts(id) => match known(view, stored.room, &id)? {
            // Of an edit that is gone, the event that it edited has another text.
            Some((_, redacted)) => match role(&redacted.json) {
                Role::Edits(id) => id,
                _ => id,
            },
            None => return Ok(None),
        },
    };
    let found = known(view, stored.room, &named)?;
    Ok(found.map(|(event, stored)| (stored.room, event)))
}

/// The event of an id, if it is one of the room.
fn known(
    view: &impl Read,
    room: RoomSerial,
    event_id: &str,
) -> Result<Option<(EventSerial, StoredEvent)>, StoreError> {
    let Some(serial) = view.get(&EVENT_BY_ID, &event_id.to_owned())? else {
        return Ok(None);
    };
    let stored = view.get(&EVENT_BY_SERIAL, &serial)?;
    Ok(stored
        .filter(|stored| stored.room == room)
        .map(|stored| (serial, stored)))
}

/// What makes the rows of an event what they should be; none if they are.
fn change(
    view: &Snapshot,
    room: RoomSerial,
    event: EventSerial,
    now: u64,
) -> Result<Option<Change>, ReadError> {
    let stands = view.get(&INDEXED_BY_EVENT, &event)?;
    let source = match load_events(view, room, &[event])?.pop() {
        Some(event) => source_of(view, room, event)?,
        None => None,
    };
    if stands.map(|record| record.source) == source.as_ref().map(|source| source.serial) {
        return Ok(None);
    }
    let old = match stands {
        Some(record) => Some((record.at, words_of(view, record.source)?)),
        None => None,
    };
    let at = match stands {
        Some(record) => record.at,
        // Nobody stands before all others by a wrong clock.
        None => match view.get(&EVENT_BY_SERIAL, &event)? {
            Some(stored) => sent_at(&stored.json).min(now),
            None => now,
        },
    };
    let new = source.and_then(|source| {
        let (field, text) = searched(&source.stored.json)?;
        let words = counted(&text);
        let record = |count| WordRecord {
            field,
            count,
            total: words.total,
        };
        let rows = words.counts.iter();
        let rows = rows.map(|(word, count)| (word.clone(), record(*count)));
        let stands = IndexedRecord {
            source: source.serial,
            at,
        };
        Some((stands, rows.collect()))
    });
    Ok(Some(Change {
        room,
        event,
        old,
        new,
    }))
}

/// The event that gives another its text: its newest edit, or itself; none if it has no
/// text any more.
fn source_of(
    view: &Snapshot,
    room: RoomSerial,
    event: ClientEvent,
) -> Result<Option<ClientEvent>, ReadError> {
    let is_shown = matches!(
        event.meta.status,
        EventStatus::Accepted | EventStatus::StatePartial
    );
    if !is_shown || event.redacted_by.is_some() || role(&event.stored.json) != Role::Found {
        return Ok(None);
    }
    let edit = newest_edit(view, room, &event)?;
    let source = edit.unwrap_or(event);
    Ok(searched(&source.stored.json).is_some().then_some(source))
}

fn words_of(view: &impl Read, source: EventSerial) -> Result<Vec<String>, StoreError> {
    let stored = view.get(&EVENT_BY_SERIAL, &source)?;
    Ok(stored
        .and_then(|stored| searched(&stored.json))
        .map(|(_, text)| counted(&text).counts.into_keys().collect())
        .unwrap_or_default())
}

impl Change {
    /// Takes the old rows away and writes the new ones, in this order: they may share
    /// words.
    fn write(&self, batch: &mut Batch) {
        let (room, event) = (self.room, self.event);
        if let Some((at, words)) = &self.old {
            for word in words {
                batch.delete(&WORD_BY_ROOM, &(room, word.clone(), *at, event));
            }
            batch.delete(&INDEXED_BY_EVENT, &event);
        }
        if let Some((stands, words)) = &self.new {
            for (word, record) in words {
                batch.put(
                    &WORD_BY_ROOM,
                    &(room, word.clone(), stands.at, event),
                    record,
                );
            }
            batch.put(&INDEXED_BY_EVENT, &event, stands);
        }
    }
}
