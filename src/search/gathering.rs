//! What many events change in the index, gathered before it is written.

use std::collections::{BTreeMap, HashMap};

use model::{
    Bundled, EventSerial, IndexedRecord, LogEntry, RoomSerial, StoredEvent,
    tables::{
        BUNDLE_BY_TARGET, BUNDLED_BY_TARGET, EVENT_BY_ID, EVENT_BY_SERIAL, INDEXED_BY_EVENT,
        REDACTION_BY_EVENT, USER_BY_ID,
    },
};
use rooms::{ReadError, load_events, newest_edit};
use store::{Batch, Latest, LogRecord, Read as _, Snapshot, StoreError, Value as _};

use crate::{
    Field, Search,
    hits::{At, WordRecord},
    page::Posting,
    segments::{self, Change, Gathered, Taken},
    text::{Role, Told, told},
    words::counted,
};

/// Events that are read at once.
const AT_ONCE: usize = 256;
/// The most edits of a redacted event whose words are taken away.
const EDITS: usize = 100;

/// What is to be written.
pub(crate) struct Step {
    changes: Vec<Change>,
    late: Vec<(EventSerial, u64)>,
    /// The rooms whose segments can become fewer.
    pub(crate) ripe: Vec<RoomSerial>,
}

impl Step {
    /// Puts the rows into a commit.
    pub(crate) fn write(&self, batch: &mut Batch) {
        self.changes.iter().for_each(|change| change.write(batch));
        for (event, at) in &self.late {
            batch.put(&INDEXED_BY_EVENT, event, &IndexedRecord { at: *at });
        }
    }
}

/// Looks at events, on one snapshot.
pub(crate) struct Gathering<'a> {
    search: &'a Search,
    view: &'a Snapshot,
    /// For the rows of the index, which the indexer alone writes.
    latest: &'a Latest,
    now: u64,
    rooms: BTreeMap<RoomSerial, (Gathered, Taken)>,
    /// Events that say they were sent later than now.
    late: HashMap<EventSerial, u64>,
}

impl<'a> Gathering<'a> {
    pub(crate) fn new(search: &'a Search, view: &'a Snapshot, latest: &'a Latest) -> Self {
        Self {
            search,
            view,
            latest,
            now: search.now(),
            rooms: BTreeMap::new(),
            late: HashMap::new(),
        }
    }

    /// Looks at the events of which the log tells.
    pub(crate) fn follow(&mut self, records: &[LogRecord]) -> Result<(), ReadError> {
        let mut events = Vec::new();
        for entry in records.iter().flat_map(|record| &record.entries) {
            match LogEntry::decode(entry) {
                Ok(LogEntry::Event { event, .. } | LogEntry::Entered { event, .. }) => {
                    events.push(event)
                }
                Ok(_) => {}
                Err(error) => log::error!("an entry of the log cannot be read: {error}"),
            }
        }
        for events in events.chunks(AT_ONCE) {
            let stored = self.view.get_many(&EVENT_BY_SERIAL, events)?;
            for (event, stored) in events.iter().zip(stored) {
                if let Some(stored) = stored {
                    self.event(*event, &stored)?;
                }
            }
        }
        Ok(())
    }

    /// Looks at some of the events that were there before the index. Returns how many,
    /// and with which one it goes on.
    pub(crate) fn look_back(
        &mut self,
        from: EventSerial,
        end: EventSerial,
        most: usize,
    ) -> Result<(u64, EventSerial), ReadError> {
        let mut looked_at = 0;
        for row in self.view.scan_from(&EVENT_BY_SERIAL, &(), &from) {
            let (event, stored) = row?;
            if event >= end {
                break;
            }
            if looked_at == most {
                return Ok((looked_at as u64, event));
            }
            looked_at += 1;
            // Words that were taken away already need not be written first.
            if !self.view.contains(&REDACTION_BY_EVENT, &event)? {
                self.event(event, &stored)?;
            }
        }
        Ok((looked_at as u64, end))
    }

    /// What all of it changes.
    pub(crate) fn end(self) -> Result<Step, StoreError> {
        let mut step = Step {
            changes: Vec::with_capacity(self.rooms.len()),
            late: self.late.into_iter().collect(),
            ripe: Vec::new(),
        };
        for (room, (gathered, taken)) in self.rooms {
            let change = segments::add(self.latest, room, gathered, &taken)?;
            if change.is_ripe {
                step.ripe.push(room);
            }
            step.changes.push(change);
        }
        Ok(step)
    }

    fn event(&mut self, event: EventSerial, stored: &StoredEvent) -> Result<(), ReadError> {
        let Some(told) = told(&stored.json) else {
            return Ok(());
        };
        match &told.role {
            Role::Found => {
                let at = self.place(event, told.sent_at)?;
                self.post(stored.room, at, told.text.as_ref());
                // Only of other servers come edits before what they edit.
                if !self.is_own(&told.sender) {
                    self.post_source(stored, event, at)?;
                }
            }
            Role::Edits(id) => {
                if let Some((target, _, edited)) = self.known(stored.room, id)?
                    && edited.role == Role::Found
                    && edited.sender == told.sender
                {
                    let at = self.known_place(target, edited.sent_at)?;
                    self.post(stored.room, at, told.text.as_ref());
                }
            }
            Role::Redacts(id) => self.redacted(stored.room, id)?,
            Role::Other => {}
        }
        Ok(())
    }

    fn is_own(&self, sender: &str) -> bool {
        let server = sender.split_once(':').map(|(_, server)| server);
        server == Some(self.search.rooms().server_name().as_str())
    }

    /// The event of an id, if it is one of the room.
    fn known(
        &self,
        room: RoomSerial,
        event_id: &str,
    ) -> Result<Option<(EventSerial, StoredEvent, Told)>, StoreError> {
        let Some(event) = self.view.get(&EVENT_BY_ID, &event_id.to_owned())? else {
            return Ok(None);
        };
        let stored = self.view.get(&EVENT_BY_SERIAL, &event)?;
        let stored = stored.filter(|stored| stored.room == room);
        Ok(stored.and_then(|stored| {
            let told = told(&stored.json)?;
            Some((event, stored, told))
        }))
    }

    /// Where an event stands that comes now: nobody stands before all others by a wrong
    /// clock.
    fn place(&mut self, event: EventSerial, sent_at: u64) -> Result<At, StoreError> {
        if sent_at <= self.now {
            return Ok((sent_at, event));
        }
        let at = self.known_place(event, sent_at)?;
        if at.0 > self.now {
            self.late.insert(event, self.now);
            return Ok((self.now, event));
        }
        Ok(at)
    }

    /// Where an event stands that may have come before.
    fn known_place(&self, event: EventSerial, sent_at: u64) -> Result<At, StoreError> {
        if let Some(at) = self.late.get(&event) {
            return Ok((*at, event));
        }
        let record = self.latest.get(&INDEXED_BY_EVENT, &event)?;
        Ok((record.map_or(sent_at, |record| record.at), event))
    }

    /// Has the words of a text lead to an event.
    fn post(&mut self, room: RoomSerial, at: At, text: Option<&(Field, String)>) {
        let Some((field, text)) = text else {
            return;
        };
        let (gathered, _) = self.rooms.entry(room).or_default();
        let words = counted(text);
        for (word, count) in words.counts {
            let record = WordRecord {
                field: *field,
                count,
                total: words.total,
            };
            let posting = Posting { at, record };
            gathered.entry(word).or_default().push(posting);
        }
    }

    /// Has the words of the text that an event has now lead to it, where that is not its
    /// own.
    fn post_source(
        &mut self,
        stored: &StoredEvent,
        event: EventSerial,
        at: At,
    ) -> Result<(), ReadError> {
        let key = (stored.room, stored.event_id.clone());
        let known = self.view.get(&BUNDLE_BY_TARGET, &key)?;
        if known.is_none_or(|known| known.edits == 0) {
            return Ok(());
        }
        let loaded = load_events(self.view, stored.room, &[event])?.pop();
        if let Some(loaded) = loaded
            && let Some(edit) = newest_edit(self.view, stored.room, &loaded)?
            && let Some(told) = told(&edit.stored.json)
        {
            self.post(stored.room, at, told.text.as_ref());
        }
        Ok(())
    }

    /// Takes words away from an event.
    fn take(&mut self, room: RoomSerial, at: At, text: Option<&(Field, String)>) {
        let Some((_, text)) = text else {
            return;
        };
        let (gathered, taken) = self.rooms.entry(room).or_default();
        for word in counted(text).counts.into_keys() {
            if let Some(postings) = gathered.get_mut(&word) {
                postings.retain(|posting| posting.at != at);
            }
            taken.push((word, at));
        }
    }

    fn redacted(&mut self, room: RoomSerial, event_id: &str) -> Result<(), ReadError> {
        let Some((event, stored, told)) = self.known(room, event_id)? else {
            return Ok(());
        };
        // A redaction of somebody without the right does nothing.
        if !self.view.contains(&REDACTION_BY_EVENT, &event)? {
            return Ok(());
        }
        match &told.role {
            Role::Found => {
                let at = self.known_place(event, told.sent_at)?;
                self.take(room, at, told.text.as_ref());
                self.take_edits(&stored, &told, at)
            }
            Role::Edits(id) => {
                let Some((target, edited, found)) = self.known(room, id)? else {
                    return Ok(());
                };
                let at = self.known_place(target, found.sent_at)?;
                self.take(room, at, told.text.as_ref());
                // Some of the words may stand in the text that it has now.
                if found.role == Role::Found && !self.view.contains(&REDACTION_BY_EVENT, &target)? {
                    self.post(room, at, found.text.as_ref());
                    self.post_source(&edited, target, at)?;
                }
                Ok(())
            }
            Role::Redacts(_) | Role::Other => Ok(()),
        }
    }

    /// Takes away the words of an event's edits.
    fn take_edits(&mut self, stored: &StoredEvent, told: &Told, at: At) -> Result<(), ReadError> {
        let Some(sender) = self.view.get(&USER_BY_ID, &told.sender)? else {
            return Ok(());
        };
        let edits = Bundled::Replace(sender);
        let prefix = (stored.room, stored.event_id.clone(), edits);
        let rows = self.view.scan(&BUNDLED_BY_TARGET, &prefix).take(EDITS);
        for row in rows {
            let (_, record) = row?;
            if let Some(edit) = self.view.get(&EVENT_BY_SERIAL, &record.event)? {
                let told = self::told(&edit.json);
                self.take(stored.room, at, told.and_then(|told| told.text).as_ref());
            }
        }
        Ok(())
    }
}
