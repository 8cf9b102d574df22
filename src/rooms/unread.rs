//! How much a user has not read: counted from the digests in the room's changes, never
//! by opening events.
//!
//! Everything after the user's receipts counts. What was counted is remembered, so that
//! only what is new need be; long counts are also written down now and then, so that a
//! restart does not begin them again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use accounts::PushRules;
use model::{
    EventChange, EventSerial, Membership, MembershipRecord, RoomChange, RoomSerial, UnreadCount,
    UnreadRecord, UserSerial, tables,
};
use parking_lot::Mutex;
use store::{Position, Read, Snapshot, StoreError};

use crate::{
    ClientEvent, Ignored, ReadError, RoomNews, Rooms,
    notify::{Scales, Weight},
};

/// After how many changes a count is worth writing down.
const WORTH_KEEPING: usize = 1_000;
/// How many counts are written down in one commit.
const KEPT_AT_ONCE: usize = 100;
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
    /// Stands for the user's push rules and whom the user ignores.
    rules: u64,
    /// What is read of all threads, of the main timeline, and of each thread: up to
    /// these positions.
    all: u64,
    main: u64,
    threads: BTreeMap<EventSerial, u64>,
    counts: BTreeMap<Option<EventSerial>, Counts>,
    /// How many changes were looked at since this was last written down.
    looked_at: usize,
}

/// Counts of before, so that only what is new need be counted.
#[derive(Default)]
pub(crate) struct UnreadCache {
    tallies: Mutex<HashMap<(UserSerial, RoomSerial), Tally>>,
    /// The long ones among them that were not written down yet.
    due: Mutex<HashSet<(UserSerial, RoomSerial)>>,
}

impl UnreadCache {
    /// Remembers a count unless a newer one is there.
    fn insert(&self, user: UserSerial, room: RoomSerial, tally: Tally) {
        let is_due = tally.looked_at >= WORTH_KEEPING;
        let mut tallies = self.tallies.lock();
        if tallies.len() >= MAX_TALLIES {
            tallies.clear();
            self.due.lock().clear();
        }
        let is_newer = |other: &Tally| other.position <= tally.position;
        if tallies.get(&(user, room)).is_none_or(is_newer) {
            tallies.insert((user, room), tally);
            if is_due {
                self.due.lock().insert((user, room));
            }
        }
    }

    /// Some of the counts that are to be written down; they count as written from now
    /// on.
    fn take_due(&self) -> Vec<((UserSerial, RoomSerial), UnreadRecord)> {
        let mut tallies = self.tallies.lock();
        let mut due = self.due.lock();
        let keys: Vec<_> = due.iter().take(KEPT_AT_ONCE).copied().collect();
        let mut records = Vec::new();
        for key in keys {
            due.remove(&key);
            if let Some(tally) = tallies.get_mut(&key) {
                tally.looked_at = 0;
                records.push((key, tally.record()));
            }
        }
        records
    }
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
            threads: BTreeMap::new(),
            counts: BTreeMap::new(),
            looked_at: 0,
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
        position <= self.read_up_to(thread)
    }

    /// Whether everything of all threads is read up to a position and beyond.
    pub(crate) fn has_read_all(&self, position: u64) -> bool {
        position <= self.all
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

    /// Up to which commit a thread is read.
    fn read_up_to(&self, thread: Option<EventSerial>) -> u64 {
        let read = match thread {
            None => self.main,
            Some(root) => self.threads.get(&root).copied().unwrap_or(0),
        };
        read.max(self.all)
    }

    /// The threads whose receipts are others than they were.
    fn moved_since(&self, earlier: &Self) -> BTreeSet<Option<EventSerial>> {
        let roots = self.threads.keys().chain(earlier.threads.keys());
        let threads = roots.map(|root| Some(*root)).chain([None]);
        threads
            .filter(|thread| self.read_up_to(*thread) != earlier.read_up_to(*thread))
            .collect()
    }

    /// The form in which it is written down.
    fn record(&self) -> UnreadRecord {
        let count = |(thread, counts): (&Option<EventSerial>, &Counts)| UnreadCount {
            thread: *thread,
            notifications: counts.notifications,
            highlights: counts.highlights,
        };
        UnreadRecord {
            position: self.position,
            joined: self.joined,
            rules: self.rules,
            all: self.all,
            main: self.main,
            threads: self.threads.clone().into_iter().collect(),
            counts: self.counts.iter().map(count).collect(),
        }
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

impl From<UnreadRecord> for Tally {
    fn from(record: UnreadRecord) -> Self {
        let counts = record.counts.iter().map(|count| {
            let counts = Counts {
                notifications: count.notifications,
                highlights: count.highlights,
            };
            (count.thread, counts)
        });
        Self {
            position: record.position,
            joined: record.joined,
            rules: record.rules,
            all: record.all,
            main: record.main,
            threads: record.threads.iter().copied().collect(),
            counts: counts.collect(),
            looked_at: 0,
        }
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
        match record.filter(|record| record.membership == Membership::Join) {
            Some(record) => self.unread_of_member(view, room, user, &record, None),
            None => Ok(Unread::default()),
        }
    }

    /// The same for somebody who is in the room by `record`. `news` is what happened there
    /// after some position, and spares reading it again.
    ///
    /// # Errors
    /// If the database fails.
    pub fn unread_of_member(
        &self,
        view: &Snapshot,
        room: RoomSerial,
        user: UserSerial,
        record: &MembershipRecord,
        news: Option<(Position, &RoomNews)>,
    ) -> Result<Unread, ReadError> {
        let rules = self.rules_of(view, user)?;
        let basis = basis(&rules, &*self.ignored_by(view, user)?);
        let known = self.inner.unread.tallies.lock().get(&(user, room)).cloned();
        let known = known.filter(|tally| {
            tally.joined == record.last_join
                && tally.rules == basis
                && tally.position <= view.position().0
        });
        if let Some(tally) = &known
            && self.is_quiet_since(room, user, tally.position)
        {
            return Ok(tally.unread(view)?);
        }
        let scales = Scales::new(self, view, room, user, rules)?;
        let counted = match &known {
            Some(tally) => match news.filter(|(since, _)| since.0 <= tally.position) {
                Some((_, news)) => count_news(view, user, tally, news, &scales)?,
                None => count_on(view, room, user, tally, &scales)?,
            },
            None => None,
        };
        let tally = match counted {
            Some(tally) => tally,
            None => {
                let begun = Tally::new(view, room, user, record.last_join, basis)?;
                count(view, room, user, begun, known, &scales)?
            }
        };
        let unread = tally.unread(view)?;
        self.inner.unread.insert(user, room, tally);
        Ok(unread)
    }

    /// How many messages a user has not read in all rooms that they are in.
    ///
    /// # Errors
    /// If the database fails.
    pub fn unread_everywhere(&self, view: &Snapshot, user: UserSerial) -> Result<u64, ReadError> {
        let mut sum = 0;
        for (room, record) in self.stays(view, user)?.iter() {
            if record.membership == Membership::Join {
                let unread = self.unread_of_member(view, *room, user, record, None)?;
                sum += unread.total().notifications;
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

    /// Writes down the counts that would take long to count again. To be called now and
    /// then.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn keep_unread_counts(&self) -> Result<(), StoreError> {
        loop {
            let due = self.inner.unread.take_due();
            if due.is_empty() {
                return Ok(());
            }
            self.inner
                .store
                .commit_later(move |_, _, batch| {
                    for (key, record) in due {
                        batch.put(&tables::UNREAD_BY_USER, &key, &record);
                    }
                    Ok::<_, StoreError>(())
                })
                .await?;
        }
    }
}

impl Rooms {
    /// Whether certainly nothing has changed in a room since: known without a read.
    fn is_quiet_since(&self, room: RoomSerial, user: UserSerial, position: u64) -> bool {
        // Of the user's private receipts the user alone is told.
        let scopes = [model::room_scope(room), model::user_scope(user)];
        let changed = |scope| self.inner.store.changed_since(scope, Position(position));
        !scopes.into_iter().any(changed)
    }
}

/// Stands for what a count was made by: another one for every change of the rules and of
/// the list. Whoever ignores nobody keeps the counts that were written down before lists
/// mattered.
fn basis(rules: &PushRules, ignored: &Ignored) -> u64 {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    rules.position.0 ^ ignored.position().0.wrapping_mul(SPREAD)
}

/// Counts what came after an earlier count; none if the user's receipts moved since.
fn count_on(
    view: &Snapshot,
    room: RoomSerial,
    user: UserSerial,
    earlier: &Tally,
    scales: &Scales<'_>,
) -> Result<Option<Tally>, ReadError> {
    let mut tally = earlier.clone();
    let from = (room, Position(tally.position + 1), 0);
    for row in view.scan_from(&tables::CHANGE_BY_ROOM, &(room,), &from) {
        tally.looked_at += 1;
        match row? {
            (_, RoomChange::Receipt { user: whose, .. }) if whose == user => return Ok(None),
            (_, RoomChange::Receipt { .. } | RoomChange::State { .. } | RoomChange::Gap) => {}
            ((_, position, _), RoomChange::Event(change)) => {
                tally.add(user, position.0, &change, scales)?;
            }
        }
    }
    tally.position = view.position().0;
    Ok(Some(tally))
}

/// Counts on with what was read already; none if the user's receipts moved since.
fn count_news(
    view: &Snapshot,
    user: UserSerial,
    earlier: &Tally,
    news: &RoomNews,
    scales: &Scales<'_>,
) -> Result<Option<Tally>, ReadError> {
    let mut tally = earlier.clone();
    for commit in &news.commits {
        if commit.position.0 <= earlier.position {
            continue;
        }
        if commit.receipts.iter().any(|(whose, _, _)| *whose == user) {
            return Ok(None);
        }
        for event in &commit.events {
            tally.looked_at += 1;
            tally.add(user, commit.position.0, &event.change, scales)?;
        }
    }
    tally.position = view.position().0;
    Ok(Some(tally))
}

/// Counts from the receipts on, of which `tally` knows and nothing else. Of an earlier count, or the one that was written down,
/// those threads are kept whose receipts are where they were.
fn count(
    view: &Snapshot,
    room: RoomSerial,
    user: UserSerial,
    mut tally: Tally,
    earlier: Option<Tally>,
    scales: &Scales<'_>,
) -> Result<Tally, ReadError> {
    let earlier = match earlier {
        Some(earlier) => Some(earlier),
        None => view
            .get(&tables::UNREAD_BY_USER, &(user, room))?
            .map(Tally::from),
    };
    let basis = |tally: &Tally| (tally.joined, tally.rules, tally.all);
    let earlier = earlier.filter(|earlier| basis(earlier) == basis(&tally));
    let mut from = tally.joined.max(tally.all);
    let mut moved = BTreeSet::new();
    if let Some(earlier) = &earlier {
        moved = tally.moved_since(earlier);
        tally.counts = earlier.counts.clone();
        tally.counts.retain(|thread, _| !moved.contains(thread));
        tally.looked_at = earlier.looked_at;
        let read = moved.iter().map(|thread| tally.read_up_to(*thread));
        from = read.chain([earlier.position]).min().unwrap_or(from);
    }
    let start = (room, Position(from + 1), 0);
    for row in view.scan_from(&tables::CHANGE_BY_ROOM, &(room,), &start) {
        tally.looked_at += 1;
        let ((_, position, _), RoomChange::Event(change)) = row? else {
            continue;
        };
        let is_counted = earlier.as_ref().is_some_and(|earlier| {
            position.0 <= earlier.position && !moved.contains(&change.thread)
        });
        if !is_counted {
            tally.add(user, position.0, &change, scales)?;
        }
    }
    tally.position = view.position().0;
    Ok(tally)
}
