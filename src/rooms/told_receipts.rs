//! Receipts as they are told (client-server API, `m.receipt`).

use std::collections::{BTreeMap, HashMap};

use model::{EventSerial, ReceiptRecord, RoomSerial, UserSerial, tables};
use store::{Position, Read, StoreError};

use crate::{Ignored, MovedReceipt, ReceiptKind, form::quoted};

/// The most receipts of a room that are told at once.
const MAX_RECEIPTS: usize = 20_000;

/// By thread id (empty for an unthreaded receipt), when it was sent.
type Threads = BTreeMap<String, u64>;

/// Receipts of one room, by event, kind and user.
///
/// The form of `m.receipt` has room for one receipt of a user at one event. Where there
/// are several, of different threads, each content holds one of them, and that of no
/// thread comes first.
#[derive(Debug, Default)]
pub struct ToldReceipts {
    events: BTreeMap<EventSerial, BTreeMap<String, BTreeMap<UserSerial, Threads>>>,
}

impl ToldReceipts {
    fn add(&mut self, user: UserSerial, kind: String, thread: String, record: &ReceiptRecord) {
        let kinds = self.events.entry(record.event).or_default();
        let users = kinds.entry(kind).or_default();
        let threads = users.entry(user).or_default();
        threads.insert(thread, record.at);
    }

    /// The contents of all `m.receipt` events that are needed to tell them.
    ///
    /// # Errors
    /// If the database fails.
    pub fn contents(&self, view: &impl Read) -> Result<Vec<String>, StoreError> {
        let mut contents = Vec::new();
        while let Some(content) = self.content(view, contents.len())? {
            contents.push(content);
        }
        Ok(contents)
    }

    /// The content of one `m.receipt`, and those receipts that found no room in it.
    ///
    /// # Errors
    /// If the database fails.
    pub fn split(
        &self,
        view: &impl Read,
    ) -> Result<(Option<String>, Vec<MovedReceipt>), StoreError> {
        let mut rest = Vec::new();
        for (kind, users) in self.events.values().flatten() {
            for (user, threads) in users {
                let others = threads.keys().skip(1);
                rest.extend(others.map(|thread| (*user, kind.clone(), thread.clone())));
            }
        }
        Ok((self.content(view, 0)?, rest))
    }

    /// The content with one receipt of everybody at each event: the first, the second and
    /// so on. None if there is no such.
    fn content(&self, view: &impl Read, which: usize) -> Result<Option<String>, StoreError> {
        let mut names = HashMap::new();
        let mut events = Vec::new();
        for (event, kinds) in &self.events {
            let mut parts = Vec::new();
            for (kind, users) in kinds {
                let mut receipts = Vec::new();
                for (user, threads) in users {
                    let Some((thread, at)) = threads.iter().nth(which) else {
                        continue;
                    };
                    if !names.contains_key(user) {
                        names.insert(*user, model::user_id(view, *user)?.unwrap_or_default());
                    }
                    let name = names.get(user).map(String::as_str).unwrap_or_default();
                    receipts.push(format!("{}:{}", quoted(name), json(thread, *at)));
                }
                if !receipts.is_empty() {
                    parts.push(format!("{}:{{{}}}", quoted(kind), receipts.join(",")));
                }
            }
            if parts.is_empty() {
                continue;
            }
            if let Some(stored) = view.get(&tables::EVENT_BY_SERIAL, event)? {
                let event_id = quoted(&stored.event_id);
                events.push(format!("{event_id}:{{{}}}", parts.join(",")));
            }
        }
        Ok((!events.is_empty()).then(|| format!("{{{}}}", events.join(","))))
    }
}

fn json(thread: &str, at: u64) -> String {
    if thread.is_empty() {
        return format!("{{\"ts\":{at}}}");
    }
    format!("{{\"ts\":{at},\"thread_id\":{}}}", quoted(thread))
}

/// Who is told of receipts: a user, and whom that user ignores.
#[derive(Clone, Copy, Debug)]
pub struct ReceiptViewer<'a> {
    /// The user.
    pub user: UserSerial,
    /// Nothing of theirs is told.
    pub ignored: &'a Ignored,
}

impl ReceiptViewer<'_> {
    fn may_see(&self, user: UserSerial, kind: &str) -> bool {
        user == self.user || (kind == ReceiptKind::Read.name() && !self.ignored.has(user))
    }
}

/// All receipts of a room that `viewer` may see.
///
/// # Errors
/// If the database fails.
pub fn receipts(
    view: &impl Read,
    room: RoomSerial,
    viewer: ReceiptViewer<'_>,
) -> Result<ToldReceipts, StoreError> {
    let mut receipts = ToldReceipts::default();
    let rows = view.scan(&tables::RECEIPT_BY_ROOM, &(room,));
    for row in rows.take(MAX_RECEIPTS) {
        let ((_, user, kind, thread), record) = row?;
        if viewer.may_see(user, &kind) {
            receipts.add(user, kind, thread, &record);
        }
    }
    Ok(receipts)
}

/// The same with those receipts alone that are at some events, that moved after a commit
/// if one is given, and the viewer's own.
///
/// # Errors
/// If the database fails.
pub fn receipts_at(
    view: &impl Read,
    room: RoomSerial,
    viewer: ReceiptViewer<'_>,
    events: &[EventSerial],
    since: Option<Position>,
) -> Result<ToldReceipts, StoreError> {
    let moved = |record: &ReceiptRecord| since.is_some_and(|since| record.change.0 > since.0);
    let mut receipts = ToldReceipts::default();
    let rows = view.scan(&tables::RECEIPT_BY_ROOM, &(room,));
    for row in rows.take(MAX_RECEIPTS) {
        let ((_, user, kind, thread), record) = row?;
        let wanted = user == viewer.user || events.contains(&record.event) || moved(&record);
        if wanted && viewer.may_see(user, &kind) {
            receipts.add(user, kind, thread, &record);
        }
    }
    Ok(receipts)
}

/// The same with those receipts alone that are named by user, kind and thread: those of
/// the room's changes.
///
/// # Errors
/// If the database fails.
pub fn receipts_of(
    view: &impl Read,
    room: RoomSerial,
    viewer: ReceiptViewer<'_>,
    changed: impl IntoIterator<Item = MovedReceipt>,
) -> Result<ToldReceipts, StoreError> {
    let mut receipts = ToldReceipts::default();
    for (user, kind, thread) in changed {
        if !viewer.may_see(user, &kind) {
            continue;
        }
        let key = (room, user, kind, thread);
        if let Some(record) = view.get(&tables::RECEIPT_BY_ROOM, &key)? {
            receipts.add(user, key.2, key.3, &record);
        }
    }
    Ok(receipts)
}

/// The same with those receipts alone that a user moved in one commit; private ones only
/// where `with_private` says so. For application services.
///
/// # Errors
/// If the database fails.
pub fn receipts_moved(
    view: &impl Read,
    room: RoomSerial,
    user: UserSerial,
    at: Position,
    with_private: bool,
) -> Result<ToldReceipts, StoreError> {
    let mut receipts = ToldReceipts::default();
    let rows = view.scan(&tables::RECEIPT_BY_ROOM, &(room, user));
    for row in rows.take(MAX_RECEIPTS) {
        let ((_, _, kind, thread), record) = row?;
        let is_told = with_private || kind == ReceiptKind::Read.name();
        if record.change.0 == at.0 && is_told {
            receipts.add(user, kind, thread, &record);
        }
    }
    Ok(receipts)
}

/// A public receipt, as other servers are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicReceipt {
    /// The thread id; empty for an unthreaded receipt.
    pub thread: String,
    /// The id of the event up to which everything is read.
    pub event_id: String,
    /// When it was sent, in ms since the Unix epoch.
    pub at: u64,
}

/// The public receipts that a user has moved in a room since a commit, which counts.
///
/// # Errors
/// If the database fails.
pub fn public_receipts_since(
    view: &impl Read,
    room: RoomSerial,
    user: UserSerial,
    since: Position,
) -> Result<Vec<PublicReceipt>, StoreError> {
    let mut receipts = Vec::new();
    let kind = ReceiptKind::Read.name().to_owned();
    let rows = view.scan(&tables::RECEIPT_BY_ROOM, &(room, user, kind));
    for row in rows.take(MAX_RECEIPTS) {
        let ((_, _, _, thread), record) = row?;
        if record.change.0 < since.0 {
            continue;
        }
        if let Some(stored) = view.get(&tables::EVENT_BY_SERIAL, &record.event)? {
            receipts.push(PublicReceipt {
                thread,
                event_id: stored.event_id,
                at: record.at,
            });
        }
    }
    Ok(receipts)
}
