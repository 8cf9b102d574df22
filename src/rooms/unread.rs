//! How much a user has not read: counted from the digests in the room's changes, never
//! by opening events.

use std::collections::HashMap;

use model::{EventChange, EventSerial, Membership, RoomChange, RoomSerial, UserSerial, tables};
use parking_lot::Mutex;
use store::{Position, Read, Snapshot, StoreError};

use crate::{
    ClientEvent, ReadError, Rooms,
    notify::{Scales, Weight},
};

/// The most changes that are looked at when counting from the start: who has more than
/// that unread is told of these.
const MAX_CHANGES: usize = 500;
/// The most counts that are remembered.
const MAX_TALLIES: usize = 20_000;
/// The thread id of receipts for the main timeline.
const MAIN: &str = "main";

/// How many unread events notify, and how many of these mention the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `notification_count`
    pub notifications: u64,
    /// `highlight_count`
    pub highlights: u64,
}

/// What a user has not read of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// The main timeline.
    pub main: Counts,
    /// The threads that have something unread, by the id of their root.
    pub threads: Vec<(String, Counts)>,
}

impl Unread {
    /// The main timeline and all threads together.
    pub fn total(&self) -> Counts {
        let threads = self.threads.iter().map(|(_, counts)| counts);
        threads.fold(self.main, |sum, counts| Counts {
            notifications: sum.notifications + counts.notifications,
            highlights: sum.highlights + counts.highlights,
        })
    }
}

/// What was counted up to a position.
#[derive(Clone)]
pub(crate) struct Tally {
    /// The last commit that was counted.
    position: u64,
    /// The commit by which the user came in: nothing before it counts.
    joined: u64,
    /// The commit that changed the user's push rules last.
    rules: u64,
    /// What is read of all threads, of the main timeline, and of each thread: up to
    /// these positions.
    all: u64,
    main: u64,
    threads: HashMap<EventSerial, u64>,
    counts: HashMap<Option<EventSerial>, Counts>,
}

/// Counts of before, so that only what is new need be counted.
#[derive(Default)]
pub(crate) struct UnreadCache {
    tallies: Mutex<HashMap<(UserSerial, RoomSerial), Tally>>,
}

impl Tally {
    /// Begins with what the receipts say.
    pub(crate) fn new(
        view: &Snapshot,
        room: RoomSerial,
        user: UserSerial,
        joined: u64,
        rules: u64,
    ) -> Result<Self, StoreError> {
        let mut tally = Self {
            position: joined,
            joined,
            rules,
            all: 0,
            main: 0,
            threads: HashMap::new(),
            counts: HashMap::new(),
        };
        for row in view.scan(&tables::RECEIPT_BY_ROOM, &(room, user)) {
            let ((_, _, _, thread), record) = row?;
            let read = match thread.as_str() {
                "" => &mut tally.all,
                MAIN => &mut tally.main,
                root => match view.get(&tables::EVENT_BY_ID, &root.to_owned())? {
                    Some(root) => tally.threads.entry(root).or_default(),
                    None => continue,
                },
            };
            *read = record.read_up_to.max(*read);
        }
        Ok(tally)
    }

    /// Whether everything of a thread is read up to a position and beyond.
    pub(crate) fn has_read(&self, thread: Option<EventSerial>, position: u64) -> bool {
        let read = match thread {
            None => self.main,
            Some(root) => self.threads.get(&root).copied().unwrap_or(0),
        };
        position <= read.max(self.all)
    }

    fn add(
        &mut self,
        user: UserSerial,
        position: u64,
        change: &EventChange,
        scales: &Scales<'_>,
    ) -> Result<(), ReadError> {
        if change.sender == user {
            // Who speaks has read what was said before.
            self.counts.remove(&change.thread);
            return Ok(());
        }
        if self.has_read(change.thread, position) {
            return Ok(());
        }
        let weight = scales.weigh(change)?;
        if weight != Weight::default() {
            let counts = self.counts.entry(change.thread).or_default();
            counts.notifications += u64::from(weight.notifies);
            counts.highlights += u64::from(weight.notifies && weight.highlights);
        }
        Ok(())
    }

    fn unread(&self, view: &Snapshot) -> Result<Unread, StoreError> {
        let mut unread = Unread::default();
        for (thread, counts) in &self.counts {
            match thread {
                None => unread.main = *counts,
                Some(root) => {
                    if let Some(stored) = view.get(&tables::EVENT_BY_SERIAL, root)? {
                        unread.threads.push((stored.event_id, *counts));
                    }
                }
            }
        }
        unread
            .threads
            .sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(unread)
    }
}

impl Rooms {
    /// What a user has not read of a room that they are in, by the push rules that the
    /// user has now.
    ///
    /// # Errors
    /// If the database fails.
    pub fn unread(
        &self,
        view: &Snapshot,
        room: RoomSerial,
        user: UserSerial,
    ) -> Result<Unread, ReadError> {
        let record = view.get(&tables::MEMBERSHIP_BY_USER, &(user, room))?;
        let Some(record) = record.filter(|record| record.membership == Membership::Join) else {
            return Ok(Unread::default());
        };
        let rules = self.rules_of(view, user)?;
        let cache = &self.inner.unread.tallies;
        let known = cache.lock().get(&(user, room)).cloned();
        let known = known.filter(|tally| {
            tally.joined == record.last_join
                && tally.rules == rules.position.0
                && tally.position <= view.position().0
        });
        if let Some(tally) = &known
            && !self
                .inner
                .store
                .changed_since(model::room_scope(room), Position(tally.position))
        {
            return Ok(tally.unread(view)?);
        }
        let position = rules.position.0;
        let scales = Scales::new(self, view, room, user, rules)?;
        let counted = match known {
            Some(tally) => count_on(view, room, user, tally, &scales)?,
            None => None,
        };
        let tally = match counted {
            Some(tally) => tally,
            None => {
                let tally = Tally::new(view, room, user, record.last_join, position)?;
                count_all(view, room, user, tally, &scales)?
            }
        };
        let unread = tally.unread(view)?;
        let mut tallies = cache.lock();
        if tallies.len() >= MAX_TALLIES {
            tallies.clear();
        }
        let is_newer = |other: &Tally| other.position <= tally.position;
        if tallies.get(&(user, room)).is_none_or(is_newer) {
            tallies.insert((user, room), tally);
        }
        Ok(unread)
    }

    /// How many messages a user has not read in all rooms that they are in.
    ///
    /// # Errors
    /// If the database fails.
    pub fn unread_everywhere(&self, view: &Snapshot, user: UserSerial) -> Result<u64, ReadError> {
        let mut sum = 0;
        for row in view.scan(&tables::MEMBERSHIP_BY_USER, &(user,)) {
            let ((_, room), record) = row?;
            if record.membership == Membership::Join {
                sum += self.unread(view, room, user)?.total().notifications;
            }
        }
        Ok(sum)
    }

    /// Whether a user's receipts cover an event.
    ///
    /// # Errors
    /// If the database fails.
    pub fn has_read(
        &self,
        view: &Snapshot,
        room: RoomSerial,
        user: UserSerial,
        event: &ClientEvent,
    ) -> Result<bool, StoreError> {
        let position = event.meta.position();
        let mut thread = None;
        for row in view.scan(&tables::CHANGE_BY_ROOM, &(room, position)) {
            if let (_, RoomChange::Event(change)) = row?
                && change.event == event.serial
            {
                thread = change.thread;
            }
        }
        let tally = Tally::new(view, room, user, 0, 0)?;
        Ok(tally.has_read(thread, position.0))
    }
}

/// Counts what came after an earlier count; none if the user's receipts moved since.
fn count_on(
    view: &Snapshot,
    room: RoomSerial,
    user: UserSerial,
    mut tally: Tally,
    scales: &Scales<'_>,
) -> Result<Option<Tally>, ReadError> {
    let from = (room, Position(tally.position + 1), 0);
    for row in view.scan_from(&tables::CHANGE_BY_ROOM, &(room,), &from) {
        match row? {
            (_, RoomChange::Receipt { user: whose, .. }) if whose == user => return Ok(None),
            (_, RoomChange::Receipt { .. }) => {}
            ((_, position, _), RoomChange::Event(change)) => {
                tally.add(user, position.0, &change, scales)?;
            }
        }
    }
    tally.position = view.position().0;
    Ok(Some(tally))
}

/// Counts from the receipts on, of which `tally` knows and nothing else.
fn count_all(
    view: &Snapshot,
    room: RoomSerial,
    user: UserSerial,
    mut tally: Tally,
    scales: &Scales<'_>,
) -> Result<Tally, ReadError> {
    let floor = tally.joined.max(tally.all);
    let mut changes = Vec::new();
    for row in view
        .scan_back(&tables::CHANGE_BY_ROOM, &(room,), None)
        .take(MAX_CHANGES)
    {
        let ((_, position, _), change) = row?;
        if position.0 <= floor {
            break;
        }
        if let RoomChange::Event(change) = change {
            changes.push((position.0, change));
        }
    }
    for (position, change) in changes.iter().rev() {
        tally.add(user, *position, change, scales)?;
    }
    tally.position = view.position().0;
    Ok(tally)
}
