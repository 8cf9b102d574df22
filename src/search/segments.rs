//! The index in the database: for each room some segments, each with pages of all its
//! words.
//!
//! What the indexer has gathered becomes a new segment. When a room has many segments of
//! about the same size they become one: so a word is written a few times in all, and a
//! search looks into few segments, however many messages there are. Pages stay as they
//! are but for words that are taken away.
//!
//! Everything here reads what was last written: the indexer alone writes these rows.

use std::collections::{BTreeMap, HashMap};

use model::{RoomSerial, tables::WORD_PAGE_BY_ROOM};
use store::{Batch, Latest, Read, StoreError};

use crate::{
    hits::At,
    page::{self, Entry, Page, PageKey, Posting, by_key, place, tidy},
};

/// How many segments of a size become one.
const WIDTH: usize = 8;
/// Segments of up to so many bytes are of size 0; each size is `WIDTH` times the last.
const SMALL: usize = 8 << 10;
/// Segments of this size stay as they are: a few MiB.
const LARGEST: u8 = 3;
/// The segment in whose place stands the list of all.
const LIST: u64 = 0;
/// The format of that list.
const LIST_VERSION: u8 = 1;

/// A segment of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Its number in its room.
    pub(crate) number: u64,
    /// How large it is: more with each merging.
    size: u8,
}

/// The row of a page.
pub(crate) type Row = (RoomSerial, u64, String, (u64, u64));

/// The words of events that are in no segment yet.
pub(crate) type Gathered = HashMap<String, Vec<Posting>>;

/// Words of events that are to go.
pub(crate) type Taken = Vec<(String, At)>;

/// What is to be written for one room.
#[derive(Default)]
pub(crate) struct Change {
    puts: Vec<(Row, Vec<u8>)>,
    deletes: Vec<Row>,
    /// Whether segments can become one.
    pub(crate) is_ripe: bool,
}

impl Change {
    /// Writes the pages of a segment, of this size at least.
    fn pages(&mut self, room: RoomSerial, number: u64, entries: &[Entry], least: u8) -> Segment {
        let pages = page::write(entries);
        let bytes: usize = pages.iter().map(|(_, page)| page.len()).sum();
        let rows = pages.into_iter();
        self.puts
            .extend(rows.map(|((word, place), page)| ((room, number, word, place), page)));
        Segment {
            number,
            size: least.max(size_of(bytes)),
        }
    }

    /// Writes the list of a room's segments.
    fn list(&mut self, room: RoomSerial, segments: &[Segment]) {
        self.puts.push((list_row(room), list(segments)));
        self.is_ripe = ripe(segments).is_some();
    }

    /// Puts the rows into a commit.
    pub(crate) fn write(&self, batch: &mut Batch) {
        for row in &self.deletes {
            batch.delete(&WORD_PAGE_BY_ROOM, row);
        }
        for (row, bytes) in &self.puts {
            batch.put(&WORD_PAGE_BY_ROOM, row, bytes);
        }
    }
}

/// The segments of a room, the oldest first.
pub(crate) fn segments(view: &impl Read, room: RoomSerial) -> Result<Vec<Segment>, StoreError> {
    let Some(bytes) = view.get(&WORD_PAGE_BY_ROOM, &list_row(room))? else {
        return Ok(Vec::new());
    };
    let (Some(&LIST_VERSION), Some(list)) = (bytes.first(), bytes.get(1..)) else {
        return Err(damaged("a list of segments"));
    };
    let one = |bytes: &[u8]| match bytes.split_at_checked(8) {
        Some((number, [size])) => Ok(Segment {
            number: u64::from_be_bytes(number.try_into().unwrap_or_default()),
            size: *size,
        }),
        _ => Err(damaged("a list of segments")),
    };
    list.chunks(9).map(one).collect()
}

fn list_row(room: RoomSerial) -> Row {
    (room, LIST, String::new(), (0, 0))
}

fn list(segments: &[Segment]) -> Vec<u8> {
    let mut bytes = vec![LIST_VERSION];
    for segment in segments {
        bytes.extend_from_slice(&segment.number.to_be_bytes());
        bytes.push(segment.size);
    }
    bytes
}

pub(crate) fn damaged(what: &'static str) -> StoreError {
    StoreError::Corrupt {
        table: WORD_PAGE_BY_ROOM.name,
        reason: store::DecodeError(what),
    }
}

/// Takes words away from a room's segments, and adds what was gathered as a new one.
pub(crate) fn add(
    latest: &Latest,
    room: RoomSerial,
    gathered: Gathered,
    taken: &Taken,
) -> Result<Change, StoreError> {
    let mut change = Change::default();
    let mut segments = segments(latest, room)?;
    if !taken.is_empty() {
        for segment in &segments {
            take(latest, (room, segment.number), taken, &mut change)?;
        }
    }
    let mut entries: Vec<Entry> = gathered.into_iter().collect();
    entries.sort_unstable_by(|one, other| by_key(&one.0, &other.0));
    entries.iter_mut().for_each(|entry| tidy(&mut entry.1));
    entries.retain(|(_, postings)| !postings.is_empty());
    if !entries.is_empty() {
        let new = change.pages(room, unused(&segments), &entries, 0);
        segments.push(new);
        change.list(room, &segments);
    }
    Ok(change)
}

/// Makes one of segments of the same size, if there are enough.
pub(crate) fn merge(latest: &Latest, room: RoomSerial) -> Result<Change, StoreError> {
    let mut change = Change::default();
    let mut segments = segments(latest, room)?;
    let Some(size) = ripe(&segments) else {
        return Ok(change);
    };
    let mut all = BTreeMap::<(usize, String), Vec<Posting>>::new();
    for segment in segments.iter().filter(|segment| segment.size == size) {
        for row in latest.scan(&WORD_PAGE_BY_ROOM, &(room, segment.number)) {
            let (row, bytes) = row?;
            change.deletes.push(row);
            for (word, mut postings) in page::read(&bytes).ok_or(damaged("a page of words"))? {
                let entry = all.entry((word.len(), word)).or_default();
                entry.append(&mut postings);
            }
        }
    }
    let entries = all.into_iter().map(|((_, word), mut postings)| {
        tidy(&mut postings);
        (word, postings)
    });
    let entries: Vec<Entry> = entries.collect();
    let number = unused(&segments);
    let of_size = |segment: &Segment| segment.size == size;
    let place = segments.iter().rposition(of_size).unwrap_or_default();
    let place = place + 1 - segments.iter().filter(|it| of_size(it)).count();
    segments.retain(|segment| !of_size(segment));
    let merged = change.pages(room, number, &entries, size + 1);
    segments.insert(place, merged);
    change.list(room, &segments);
    Ok(change)
}

/// The size of which there are enough segments.
fn ripe(segments: &[Segment]) -> Option<u8> {
    (0..LARGEST).find(|size| {
        let of_size = segments.iter().filter(|segment| segment.size == *size);
        of_size.count() >= WIDTH
    })
}

/// A number that no segment of the room has, nor had a moment ago.
fn unused(segments: &[Segment]) -> u64 {
    let numbers = segments.iter().map(|segment| segment.number);
    numbers.max().unwrap_or(LIST) + 1
}

fn size_of(bytes: usize) -> u8 {
    let (mut size, mut most) = (0, SMALL);
    while size < LARGEST && bytes > most {
        size += 1;
        most *= WIDTH;
    }
    size
}

/// Takes words out of one segment.
fn take(
    latest: &Latest,
    (room, segment): (RoomSerial, u64),
    taken: &Taken,
    change: &mut Change,
) -> Result<(), StoreError> {
    let mut pages = BTreeMap::<PageKey, Vec<Entry>>::new();
    for (word, at) in taken {
        let Some((key, bytes)) = page_at(latest, room, segment, word, *at)? else {
            continue;
        };
        let entries = match pages.entry(key) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(page::read(&bytes).ok_or(damaged("a page of words"))?)
            }
        };
        for (found, postings) in entries.iter_mut() {
            if found == word {
                postings.retain(|posting| posting.at != *at);
            }
        }
    }
    for ((word, place), mut entries) in pages {
        entries.retain(|(_, postings)| !postings.is_empty());
        let row = (room, segment, word, place);
        // The page keeps its place: nothing else may stand before it.
        match page::rewrite(&entries) {
            Some(page) => change.puts.push((row, page)),
            None => change.deletes.push(row),
        }
    }
    Ok(())
}

/// The page of a segment on which a word at this place, or the next behind it, stands.
pub(crate) fn page_at(
    view: &impl Read,
    room: RoomSerial,
    segment: u64,
    word: &str,
    at: At,
) -> Result<Option<Page>, StoreError> {
    let from = (room, segment, word.to_owned(), place(at));
    let mut rows = view.scan_from(&WORD_PAGE_BY_ROOM, &(room, segment), &from);
    let first = rows.next().transpose()?;
    Ok(first.map(|((_, _, word, place), page)| ((word, place), page)))
}
