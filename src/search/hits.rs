//! Which events have all of some words.

use model::{EventSerial, RoomSerial, SearchedField};
use store::{Read, StoreError};

use crate::{
    Field,
    page::{Posting, at, postings_of},
    segments::{Segment, damaged, page_at, segments},
};

/// The number of words of a usual message: longer ones count a little less.
const USUAL_LENGTH: f64 = 12.0;

/// Where an event stands in the index: the newest have the highest.
pub(crate) type At = (u64, EventSerial);

/// An event that has the words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hit {
    /// The room.
    pub(crate) room: RoomSerial,
    /// Its time and serial.
    pub(crate) at: At,
    /// How well it matches; higher is better.
    pub(crate) score: f64,
}

/// The events of one room that have the words.
pub(crate) struct RoomHits {
    /// The newest first.
    pub(crate) hits: Vec<Hit>,
    /// Where the search stopped, if there may be older ones.
    pub(crate) stopped_at: Option<At>,
}

/// How a word occurs in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WordRecord {
    /// Where.
    pub(crate) field: SearchedField,
    /// How often.
    pub(crate) count: u16,
    /// Among how many words in all.
    pub(crate) total: u16,
}

/// A walk through the events of one segment that have one word, the newest first.
struct Part {
    segment: u64,
    /// What is left of the page, the next one last.
    postings: Vec<Posting>,
    /// Where the next page begins, if the word may go on there.
    next: Option<At>,
}

impl Part {
    fn now(&self) -> Option<&Posting> {
        self.postings.last()
    }

    /// Reads on until something is there or the word ends.
    fn fill(
        &mut self,
        view: &impl Read,
        (room, word): (RoomSerial, &str),
    ) -> Result<(), StoreError> {
        while self.postings.is_empty()
            && let Some(from) = self.next.take()
        {
            let Some((last, page)) = page_at(view, room, self.segment, word, from)? else {
                return Ok(());
            };
            self.postings = postings_of(&page, word).ok_or(damaged("a page of words"))?;
            self.postings.retain(|posting| posting.at <= from);
            if last.0 == word {
                self.next = below(at(last.1));
            }
            self.postings.reverse();
        }
        Ok(())
    }

    /// Goes on to `at`, or to the first behind it.
    fn go_to(
        &mut self,
        at: At,
        view: &impl Read,
        of: (RoomSerial, &str),
    ) -> Result<(), StoreError> {
        let keep = self.postings.partition_point(|posting| posting.at <= at);
        self.postings.truncate(keep);
        if self.postings.is_empty() {
            self.next = self.next.map(|next| next.min(at));
            self.fill(view, of)?;
        }
        Ok(())
    }
}

/// The place just below another.
fn below(at: At) -> Option<At> {
    match at {
        (time, EventSerial(event)) if event > 0 => Some((time, EventSerial(event - 1))),
        (time, _) if time > 0 => Some((time - 1, EventSerial(u64::MAX))),
        _ => None,
    }
}

/// A walk through the events that have one word, the newest first.
struct Walk<'a, R> {
    view: &'a R,
    room: RoomSerial,
    word: &'a str,
    /// In the order of the segments.
    parts: Vec<Part>,
    now: Option<(At, WordRecord)>,
}

impl<'a, R: Read> Walk<'a, R> {
    fn new(
        view: &'a R,
        room: RoomSerial,
        segments: &[Segment],
        word: &'a str,
        before: Option<At>,
    ) -> Result<Self, StoreError> {
        let newest = (u64::MAX, EventSerial(u64::MAX));
        let from = before.map_or(Some(newest), below);
        let part = |segment: &Segment| Part {
            segment: segment.number,
            postings: Vec::new(),
            next: from,
        };
        let mut walk = Self {
            view,
            room,
            word,
            parts: segments.iter().map(part).collect(),
            now: None,
        };
        for part in &mut walk.parts {
            part.fill(view, (room, word))?;
        }
        walk.look();
        Ok(walk)
    }

    /// Finds the newest of where the parts stand. Where several know the event, the newest
    /// segment counts.
    fn look(&mut self) {
        self.parts.retain(|part| part.now().is_some());
        let here = self.parts.iter().filter_map(Part::now);
        let newest = here.max_by_key(|posting| posting.at);
        self.now = newest.map(|posting| (posting.at, posting.record));
    }

    fn step(&mut self) -> Result<(), StoreError> {
        let Some((at, _)) = self.now else {
            return Ok(());
        };
        for part in &mut self.parts {
            if part.now().is_some_and(|posting| posting.at == at) {
                part.postings.pop();
                part.fill(self.view, (self.room, self.word))?;
            }
        }
        self.look();
        Ok(())
    }

    /// Goes on to `at`, or to the first behind it.
    fn go_to(&mut self, at: At) -> Result<(), StoreError> {
        if self.now.is_none_or(|(now, _)| now <= at) {
            return Ok(());
        }
        for part in &mut self.parts {
            part.go_to(at, self.view, (self.room, self.word))?;
        }
        self.look();
        Ok(())
    }
}

/// The newest events of a room that have all the words in one of the fields, before a
/// place; at most `most`.
pub(crate) fn in_room(
    view: &impl Read,
    room: RoomSerial,
    words: &[String],
    fields: &[Field],
    before: Option<At>,
    most: usize,
) -> Result<RoomHits, StoreError> {
    let mut found = RoomHits {
        hits: Vec::new(),
        stopped_at: None,
    };
    let segments = segments(view, room)?;
    let mut walks = Vec::with_capacity(words.len());
    for word in words {
        let walk = Walk::new(view, room, &segments, word, before)?;
        if walk.now.is_none() {
            return Ok(found);
        }
        walks.push(walk);
    }
    loop {
        // The oldest of where the walks stand is the newest that can have all words.
        let mut oldest: Option<At> = None;
        for walk in &walks {
            let Some((at, _)) = walk.now else {
                return Ok(found);
            };
            oldest = Some(oldest.map_or(at, |oldest| oldest.min(at)));
        }
        let Some(at) = oldest else {
            return Ok(found);
        };
        for walk in &mut walks {
            walk.go_to(at)?;
        }
        let together = |walk: &Walk<'_, _>| walk.now.is_some_and(|(now, _)| now == at);
        if !walks.iter().all(together) {
            continue;
        }
        let records = || walks.iter().filter_map(|walk| Some(walk.now?.1));
        if records().all(|record| fields.contains(&record.field)) {
            if found.hits.len() == most {
                found.stopped_at = found.hits.last().map(|hit| hit.at);
                return Ok(found);
            }
            found.hits.push(Hit {
                room,
                at,
                score: records().map(score).sum(),
            });
        }
        for walk in &mut walks {
            walk.step()?;
        }
    }
}

/// How well an event matches by one word (the part of BM25 that looks at the event
/// alone: all results have all words): often is better, and long texts have every word.
fn score(record: WordRecord) -> f64 {
    let count = f64::from(record.count);
    let length = f64::from(record.total) / USUAL_LENGTH;
    count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_and_repetitions_match_better() {
        let record = |count, total| WordRecord {
            field: Field::Body,
            count,
            total,
        };
        assert!(score(record(2, 12)) > score(record(1, 12)));
        assert!(score(record(1, 3)) > score(record(1, 300)));
        assert!(score(record(u16::MAX, u16::MAX)).is_finite());
    }
}
