//! How the words of a room's events become pages, and pages words.
//!
//! A page holds, word by word in the order of the table's keys, where each word occurs,
//! the newest event first; a word with many events goes on from page to page. Times and
//! serials are written as differences: most of them take a byte or two.

use std::cmp::{Ordering, Reverse};

use model::{EventSerial, SearchedField};

use crate::hits::{At, WordRecord};

/// After how many bytes a page is full.
const FULL: usize = 4_096;
/// The format that this program writes.
const VERSION: u8 = 1;

/// A word in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posting {
    /// Where the event stands.
    pub(crate) at: At,
    /// How the word occurs in it.
    pub(crate) record: WordRecord,
}

/// A word with the events that have it, the newest first.
pub(crate) type Entry = (String, Vec<Posting>);

/// The place of a posting among those of a segment: its word, and its event so that the
/// newest comes first.
pub(crate) type PageKey = (String, (u64, u64));

/// A page with its place: that of its last posting.
pub(crate) type Page = (PageKey, Vec<u8>);

/// The order of words in the table.
pub(crate) fn by_key(one: &str, other: &str) -> Ordering {
    (one.len(), one).cmp(&(other.len(), other))
}

/// The place of a posting in the table: the newest first.
pub(crate) fn place(at: At) -> (u64, u64) {
    (u64::MAX - at.0, u64::MAX - at.1.0)
}

/// Where the event of such a place stands.
pub(crate) fn at(place: (u64, u64)) -> At {
    (u64::MAX - place.0, EventSerial(u64::MAX - place.1))
}

/// Sorts what was gathered for one word and leaves one posting of each event, the one
/// that came last.
pub(crate) fn tidy(postings: &mut Vec<Posting>) {
    // Stable: of equal places the later one stays behind the earlier.
    postings.sort_by_key(|posting| Reverse(posting.at));
    postings.reverse();
    postings.dedup_by_key(|posting| posting.at);
    postings.reverse();
}

/// Writes pages of entries in the order of their keys.
pub(crate) fn write(entries: &[Entry]) -> Vec<Page> {
    written(entries, FULL)
}

/// Writes one page of what is left of a page; none of nothing.
pub(crate) fn rewrite(entries: &[Entry]) -> Option<Vec<u8>> {
    written(entries, usize::MAX).pop().map(|(_, page)| page)
}

fn written(entries: &[Entry], full: usize) -> Vec<Page> {
    let mut writer = Writer::new(entries, full);
    for (word, postings) in entries {
        writer.word(word, postings);
    }
    writer.end();
    writer.pages
}

struct Writer {
    full: usize,
    base: At,
    pages: Vec<Page>,
    page: Vec<u8>,
    body: Vec<u8>,
    last: Option<PageKey>,
}

impl Writer {
    fn new(entries: &[Entry], full: usize) -> Self {
        let all = || entries.iter().flat_map(|(_, postings)| postings);
        let oldest = all().map(|posting| posting.at.0).min();
        let first = all().map(|posting| posting.at.1).min();
        Self {
            full,
            base: (oldest.unwrap_or(0), first.unwrap_or_default()),
            pages: Vec::new(),
            page: Vec::new(),
            body: Vec::new(),
            last: None,
        }
    }

    fn word(&mut self, word: &str, postings: &[Posting]) {
        let mut before = None;
        for posting in postings {
            if self.page.len() + self.body.len() >= self.full {
                self.end_word(word);
                self.end();
                before = None;
            }
            put_posting(&mut self.body, self.base, before, posting);
            before = Some(posting.at);
            self.last = Some((word.to_owned(), place(posting.at)));
        }
        self.end_word(word);
    }

    fn end_word(&mut self, word: &str) {
        if self.body.is_empty() {
            return;
        }
        if self.page.is_empty() {
            self.page.push(VERSION);
            put_number(&mut self.page, self.base.0);
            put_number(&mut self.page, self.base.1.0);
        }
        put_bytes(&mut self.page, word.as_bytes());
        put_bytes(&mut self.page, &self.body);
        self.body.clear();
    }

    fn end(&mut self) {
        if let Some(last) = self.last.take() {
            self.pages.push((last, std::mem::take(&mut self.page)));
        }
    }
}

fn put_posting(out: &mut Vec<u8>, base: At, before: Option<At>, posting: &Posting) {
    let (at, event) = posting.at;
    match before {
        None => {
            put_number(out, at - base.0);
            put_number(out, event.0 - base.1.0);
        }
        // An older event may have any serial.
        Some(before) => {
            put_number(out, before.0 - at);
            put_number(out, zigzag(before.1.0.wrapping_sub(event.0)));
        }
    }
    let record = posting.record;
    let field = match record.field {
        SearchedField::Body => 0,
        SearchedField::Name => 1,
        SearchedField::Topic => 2,
    };
    put_number(out, u64::from(record.count) << 2 | field);
    put_number(out, u64::from(record.total));
}

/// The events of one word on a page, the newest first.
pub(crate) fn postings_of(page: &[u8], word: &str) -> Option<Vec<Posting>> {
    let mut reader = Reader::new(page)?;
    while let Some((found, body)) = reader.word()? {
        match by_key(found, word) {
            Ordering::Less => {}
            Ordering::Equal => return reader.postings(body),
            Ordering::Greater => break,
        }
    }
    Some(Vec::new())
}

/// All that stands on a page; none if it is damaged.
pub(crate) fn read(page: &[u8]) -> Option<Vec<Entry>> {
    let mut reader = Reader::new(page)?;
    let mut entries = Vec::new();
    while let Some((word, body)) = reader.word()? {
        entries.push((word.to_owned(), reader.postings(body)?));
    }
    Some(entries)
}

struct Reader<'a> {
    rest: &'a [u8],
    base: At,
}

impl<'a> Reader<'a> {
    fn new(page: &'a [u8]) -> Option<Self> {
        let (version, mut rest) = page.split_first()?;
        if *version != VERSION {
            return None;
        }
        let base = (number(&mut rest)?, EventSerial(number(&mut rest)?));
        Some(Self { rest, base })
    }

    /// The next word and its postings as bytes; none within if there is no other.
    fn word(&mut self) -> Option<Option<(&'a str, &'a [u8])>> {
        if self.rest.is_empty() {
            return Some(None);
        }
        let word = std::str::from_utf8(bytes(&mut self.rest)?).ok()?;
        Some(Some((word, bytes(&mut self.rest)?)))
    }

    fn postings(&self, mut body: &[u8]) -> Option<Vec<Posting>> {
        let mut postings = Vec::<Posting>::new();
        while !body.is_empty() {
            let (time, event) = (number(&mut body)?, number(&mut body)?);
            let at = match postings.last() {
                None => (
                    self.base.0.checked_add(time)?,
                    EventSerial(self.base.1.0.checked_add(event)?),
                ),
                Some(before) => (
                    before.at.0.checked_sub(time)?,
                    EventSerial(before.at.1.0.wrapping_sub(unzigzag(event))),
                ),
            };
            let (how, total) = (number(&mut body)?, number(&mut body)?);
            let field = match how & 3 {
                0 => SearchedField::Body,
                1 => SearchedField::Name,
                2 => SearchedField::Topic,
                _ => return None,
            };
            let record = WordRecord {
                field,
                count: u16::try_from(how >> 2).ok()?,
                total: u16::try_from(total).ok()?,
            };
            postings.push(Posting { at, record });
        }
        Some(postings)
    }
}

/// Small differences of either sign as small numbers.
fn zigzag(difference: u64) -> u64 {
    let sign = (difference.cast_signed() >> 63).cast_unsigned();
    difference << 1 ^ sign
}

fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ (number & 1).wrapping_neg()
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Seven bits in each byte, the lowest first; the eighth says that more follow.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(number(rest)?).ok()?;
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let posting = (0..50_000_u64, 1..3_000_u64, 1..9_u16, 0..400_u16).prop_map(
            |(time, event, count, total)| Posting {
                at: (1_700_000_000_000 + time, EventSerial(event)),
                record: WordRecord {
                    field: [
                        SearchedField::Body,
                        SearchedField::Name,
                        SearchedField::Topic,
                    ][usize::from(count % 3)],
                    count,
                    total,
                },
            },
        );
        let entry = ("[a-zä]{1,6}", vec(posting, 1..600));
        vec(entry, 0..12).prop_map(|mut entries| {
            entries.sort_by(|one, other| by_key(&one.0, &other.0));
            entries.dedup_by(|one, other| one.0 == other.0);
            entries.iter_mut().for_each(|entry| tidy(&mut entry.1));
            entries
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_was_written_is_read(entries in entries()) {
            let pages = write(&entries);
            let mut whole = Vec::<Entry>::new();
            for (key, page) in &pages {
                prop_assert!(page.len() < FULL + 200);
                let some = read(page).unwrap();
                let (word, postings) = some.last().unwrap();
                prop_assert_eq!(key, &(word.clone(), place(postings.last().unwrap().at)));
                for (word, postings) in some {
                    prop_assert_eq!(postings_of(page, &word), Some(postings.clone()));
                    match whole.last_mut() {
                        Some(last) if last.0 == word => last.1.extend(postings),
                        _ => whole.push((word, postings)),
                    }
                }
            }
            prop_assert_eq!(whole, entries);
        }

        #[test]
        fn damaged_pages_are_found_out(bytes in vec(any::<u8>(), 0..60)) {
            // Whatever stands there: no panic.
            let _ = read(&bytes);
            let _ = postings_of(&bytes, "a");
        }
    }

    #[test]
    fn the_last_posting_of_an_event_counts() {
        let posting = |time, count| Posting {
            at: (time, EventSerial(time)),
            record: WordRecord {
                field: SearchedField::Body,
                count,
                total: 5,
            },
        };
        let mut postings = vec![posting(1, 1), posting(3, 1), posting(1, 2), posting(2, 1)];
        tidy(&mut postings);
        assert_eq!(postings, [posting(3, 1), posting(2, 1), posting(1, 2)]);
    }
}
