//! Where forks of a room's graph met: the log then has more to say than the timeline.

use std::collections::BTreeSet;

use model::{EventSerial, RoomChange, StateRoot, tables};
use rooms::{ClientEvent, PlaceToken};
use store::{Position, Read};

use crate::{SyncError, room::RoomReader};

/// The most changes of a room that are looked through for forks.
const MOST_LOOKED_AT: usize = 2000;

/// The most changes before a timeline that are looked through for events above it.
const MOST_EARLIER: usize = 200;

/// What the log says about forks of a room's graph.
#[derive(Default)]
pub(crate) struct Forks {
    /// The room's state before the first event, where it is not the state before that event.
    pub(crate) before_first: Option<StateRoot>,
    pub(crate) any: bool,
}

impl RoomReader<'_> {
    /// Where who looks back from a timeline begins. Where forks met, what came before the
    /// timeline may stand above its first event.
    pub(crate) fn place_before(
        &self,
        events: &[ClientEvent],
        limited: bool,
    ) -> Result<PlaceToken, SyncError> {
        let Some(first) = events.first() else {
            return Ok(PlaceToken::END);
        };
        let place = PlaceToken::at(first.meta.depth, first.meta.tie_break);
        if self.since.is_none() || !limited || first.meta.position == 0 {
            return Ok(place);
        }
        let room = self.reader.room;
        let before = (room, Position(first.meta.position), 0);
        let rows = self
            .reader
            .view
            .scan_back(&tables::CHANGE_BY_ROOM, &(room,), Some(&before));
        let mut highest = place;
        for row in rows.take(MOST_EARLIER) {
            let RoomChange::Event(change) = row?.1 else {
                continue;
            };
            let meta = self
                .reader
                .view
                .get(&tables::EVENT_META_BY_SERIAL, &change.event)?;
            let Some(meta) = meta else { continue };
            let above = PlaceToken::at(meta.depth, meta.tie_break).above();
            if above <= place && highest == place {
                // In line: nothing was told out of order here.
                break;
            }
            highest = highest.max(above);
        }
        if highest == place {
            return Ok(place);
        }
        Ok(PlaceToken {
            until: first.meta.position.saturating_sub(1),
            ..highest
        })
    }

    /// What the log says beside these events about forks of the room's graph.
    pub(crate) fn forks(&self, events: &[ClientEvent]) -> Result<Forks, SyncError> {
        let mut forks = Forks::default();
        let positions = events.iter().map(|event| event.meta.position);
        let Some(least) = positions.filter(|position| *position > 0).min() else {
            return Ok(forks);
        };
        let newest = self
            .reader
            .view
            .get(&tables::NEWEST_FORK_BY_ROOM, &self.reader.room)?;
        if newest.is_none_or(|newest| newest.0 < least) {
            return Ok(forks);
        }
        let in_log_order = self.since.is_some();
        let first = events.first().map(|event| event.serial);
        let shown: BTreeSet<EventSerial> = events.iter().map(|event| event.serial).collect();
        let begin = events.first().map_or(PlaceToken::START, |first| {
            PlaceToken::at(first.meta.depth, first.meta.tie_break)
        });
        let from = (self.reader.room, Position(least), 0);
        let rows = self
            .reader
            .view
            .scan_from(&tables::CHANGE_BY_ROOM, &(self.reader.room,), &from);
        let mut last = None;
        for row in rows.take(MOST_LOOKED_AT) {
            match row?.1 {
                RoomChange::State { root } => {
                    forks.any = true;
                    last = Some(root);
                }
                RoomChange::Event(change) => {
                    if in_log_order && first == Some(change.event) {
                        forks.before_first = last;
                    }
                    last = None;
                    // What came later and stands before the timeline is on another branch.
                    if !in_log_order && !forks.any && !shown.contains(&change.event) {
                        forks.any = self
                            .reader
                            .view
                            .get(&tables::EVENT_META_BY_SERIAL, &change.event)?
                            .is_some_and(|meta| PlaceToken::at(meta.depth, meta.tie_break) < begin);
                    }
                }
                RoomChange::Receipt { .. } | RoomChange::Gap => {}
            }
        }
        Ok(forks)
    }
}
