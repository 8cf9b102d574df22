//! Which events have all of some words.

use model::{EventSerial, RoomSerial, WordRecord, tables::WORD_BY_ROOM};
use store::{Read, Scan, StoreError};

use crate::Field;

/// After how many rows in vain a scan is begun anew further on.
const STEPS: usize = 16;
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

/// A walk through the events that have one word, the newest first.
struct Walk<'a, R> {
    view: &'a R,
    room: RoomSerial,
    word: &'a str,
    rows: Scan<'a, (RoomSerial, String, u64, EventSerial), WordRecord>,
    now: Option<(At, WordRecord)>,
}

impl<'a, R: Read> Walk<'a, R> {
    fn new(
        view: &'a R,
        room: RoomSerial,
        word: &'a str,
        before: Option<At>,
    ) -> Result<Self, StoreError> {
        let mut walk = Self {
            view,
            room,
            word,
            rows: rows(view, room, word, before),
            now: None,
        };
        walk.step()?;
        Ok(walk)
    }

    fn step(&mut self) -> Result<(), StoreError> {
        let next = self.rows.next().transpose()?;
        self.now = next.map(|((_, _, at, event), record)| ((at, event), record));
        Ok(())
    }

    /// Goes on to `at`, or to the first behind it.
    fn go_to(&mut self, at: At) -> Result<(), StoreError> {
        for _ in 0..STEPS {
            if self.now.is_none_or(|(now, _)| now <= at) {
                return Ok(());
            }
            self.step()?;
        }
        if self.now.is_some_and(|(now, _)| now > at) {
            let above = (at.0, EventSerial(at.1.0.saturating_add(1)));
            self.rows = rows(self.view, self.room, self.word, Some(above));
            self.step()?;
        }
        Ok(())
    }
}

fn rows<'a, R: Read>(
    view: &'a R,
    room: RoomSerial,
    word: &str,
    before: Option<At>,
) -> Scan<'a, (RoomSerial, String, u64, EventSerial), WordRecord> {
    let prefix = (room, word.to_owned());
    let before = before.map(|(at, event)| (room, word.to_owned(), at, event));
    view.scan_back(&WORD_BY_ROOM, &prefix, before.as_ref())
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
    let mut walks = Vec::with_capacity(words.len());
    for word in words {
        let walk = Walk::new(view, room, word, before)?;
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
