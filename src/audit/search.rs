//! Reading the trail.

use model::{
    AuditRecord,
    tables::{AUDIT_BY_NAME, AUDIT_BY_NUMBER},
};
use store::{Read, StoreError};

use crate::{Entry, hexadecimal};

/// The most entries that are looked at for one page.
const MOST_LOOKED_AT: usize = 100_000;
/// By how much a clock may have been set back between two entries, in ms.
const SET_BACK: u64 = 24 * 60 * 60 * 1_000;

/// Which entries are wanted; all, where nothing is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// By whom: a user id, `operator`, `server` or `nobody`.
    pub by: Option<String>,
    /// On whom or what.
    pub on: Option<String>,
    /// In which room.
    pub room: Option<String>,
    /// A verb, or what stands before its dot: `person` is all verbs about people.
    pub verb: Option<String>,
    /// From this moment on, in ms since the Unix epoch.
    pub since: Option<u64>,
    /// Before this moment, in ms since the Unix epoch.
    pub until: Option<u64>,
}

impl Filter {
    fn allows(&self, entry: &Entry) -> bool {
        let is = |wanted: &Option<String>, found: Option<&String>| {
            wanted.is_none() || wanted.as_ref() == found
        };
        let is_verb = |wanted: &String| {
            let rest = entry.verb.strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        is(&self.by, Some(&entry.by))
            && is(&self.on, entry.on.as_ref())
            && is(&self.room, entry.room.as_ref())
            && self.verb.as_ref().is_none_or(is_verb)
            && self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at < until)
    }

    /// Whether nothing that was written before this entry can be wanted.
    fn ends_at(&self, entry: &Entry) -> bool {
        self.since
            .is_some_and(|since| entry.at.saturating_add(SET_BACK) < since)
    }
}

/// A page of the trail.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The entries, the newest first.
    pub entries: Vec<Entry>,
    /// Before which number it goes on, if it does.
    pub next: Option<u64>,
}

/// Looks for entries below the number `before`, the newest first, at most `limit`.
///
/// # Errors
/// If the database fails, or an entry cannot be read: then [`crate::verify()`] names it.
pub fn find(
    view: &impl Read,
    filter: &Filter,
    before: Option<u64>,
    limit: usize,
) -> Result<Found, StoreError> {
    let name = filter
        .on
        .as_ref()
        .or(filter.room.as_ref())
        .or(filter.by.as_ref());
    let numbers: Box<dyn Iterator<Item = Result<u64, StoreError>> + '_> = match name {
        Some(name) => {
            let from = before.map(|before| (name.clone(), before));
            let rows = view.scan_back(&AUDIT_BY_NAME, &(name.clone(),), from.as_ref());
            Box::new(rows.map(|row| row.map(|((_, number), ())| number)))
        }
        None => {
            let last = crate::head(view)?.entries;
            let first = before.map_or(last, |before| last.min(before.saturating_sub(1)));
            Box::new((1..=first).rev().map(Ok))
        }
    };
    let mut found = Found::default();
    for (looked_at, number) in numbers.enumerate() {
        let number = number?;
        if found.entries.len() == limit || looked_at == MOST_LOOKED_AT {
            found.next = Some(number + 1);
            return Ok(found);
        }
        let Some(entry) = likely(view, number, filter)? else {
            continue;
        };
        if filter.ends_at(&entry) {
            break;
        }
        if filter.allows(&entry) {
            found.entries.push(entry);
        }
    }
    Ok(found)
}

/// One entry, unless its bytes show that it is of another kind than the filter wants: most of a
/// long trail is passed over without being taken apart.
fn likely(view: &impl Read, number: u64, filter: &Filter) -> Result<Option<Entry>, StoreError> {
    let Some(record) = view.get(&AUDIT_BY_NUMBER, &number)? else {
        return Ok(None);
    };
    let is_likely = filter.verb.as_ref().is_none_or(|verb| {
        let wanted = format!("\"verb\":\"{verb}");
        let found = str::from_utf8(&record.json);
        found.map_or(true, |json| json.contains(&wanted))
    });
    // Where it ends is told by the time of the entries, and old ones are looked at for that.
    if !is_likely && filter.since.is_none() {
        return Ok(None);
    }
    read(record).map(Some)
}

/// One entry.
///
/// # Errors
/// If the database fails, or the entry cannot be read.
pub fn line(view: &impl Read, number: u64) -> Result<Option<Entry>, StoreError> {
    let record = view.get(&AUDIT_BY_NUMBER, &number)?;
    record.map(read).transpose()
}

fn read(record: AuditRecord) -> Result<Entry, StoreError> {
    let mut entry: Entry =
        serde_json::from_slice(&record.json).map_err(|_| StoreError::Corrupt {
            table: AUDIT_BY_NUMBER.name,
            reason: store::DecodeError("an entry that is no line of JSON"),
        })?;
    entry.hash = hexadecimal(&record.hash);
    Ok(entry)
}

/// The lines behind the number `after`, as they were written, at most `limit`.
///
/// # Errors
/// If the database fails.
pub fn lines_after(
    view: &impl Read,
    after: u64,
    limit: usize,
) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    view.scan_from(&AUDIT_BY_NUMBER, &(), &after.saturating_add(1))
        .take(limit)
        .map(|row| row.map(|(number, record)| (number, record.json)))
        .collect()
}
