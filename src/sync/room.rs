//! One room's part of an answer.

use std::collections::BTreeSet;

use model::{
    EventSerial, Membership, MembershipRecord, RoomChange, RoomSerial, StateRoot, UserSerial,
    tables,
};
use rooms::{
    ClientEvent, EMPTY_STATE, EventFilter, EventReader, PlaceToken, ReadError, StateAt, Visibility,
};
use store::{Position, Read, Snapshot};

use crate::{
    SyncError,
    device_lists::root_at,
    fields::only_fields,
    json::{Composer, events, quoted},
    members::{heroes, senders, summary},
    redacted_state::{StateEvent, redacted_unseen},
    whole::Whole,
};

/// What a client wants to see of its rooms.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoomView {
    pub(crate) timeline: EventFilter,
    /// The most events of a timeline.
    pub(crate) limit: usize,
    pub(crate) state: EventFilter,
    pub(crate) ephemeral: EventFilter,
    pub(crate) account_data: EventFilter,
    /// Whether members are sent only as they speak.
    pub(crate) lazy_members: bool,
    /// Whether unread counts are given for each thread.
    pub(crate) unread_threads: bool,
    /// Whether the whole state is sent.
    pub(crate) full_state: bool,
    /// Whether state is given as of the timeline's end (`state_after`).
    pub(crate) state_after: bool,
    /// The fields of events that are wanted, as paths with dots; all if `None`.
    pub(crate) fields: Option<Vec<String>>,
}

/// A receipt that moved: whose, of which kind, of which thread.
pub(crate) type MovedReceipt = (UserSerial, String, String);

/// Looking through more changes than this costs more than showing every receipt.
const MOST_CHANGES: usize = 5000;

/// The stretch of a timeline that an answer shows, oldest first.
pub(crate) struct Timeline {
    pub(crate) events: Vec<ClientEvent>,
    /// Whether something before them is left out.
    pub(crate) limited: bool,
    /// The gap before them.
    pub(crate) prev_batch: PlaceToken,
    /// The state before the first of them.
    pub(crate) state_before: StateRoot,
    /// Whether forks of the room's graph met meanwhile: then the state at the end is not
    /// what the timeline makes of the state before.
    pub(crate) forked: bool,
}

/// Type and state key of a state event.
fn state_key(event: &ClientEvent) -> Option<(String, String)> {
    let state_key = event.state_key()?.into_owned();
    Some((event.event_type().into_owned(), state_key))
}

/// One room for one viewer, up to the snapshot's end or to the viewer's leaving.
pub(crate) struct RoomReader<'a> {
    pub(crate) reader: EventReader<'a, Snapshot>,
    pub(crate) view: &'a RoomView,
    pub(crate) record: &'a MembershipRecord,
    /// After which commit; `None` shows the room as new.
    pub(crate) since: Option<Position>,
    /// Whether the viewer came into the room after the client was told last.
    came_since: bool,
    /// The last commit to be shown, but for the viewer's own membership.
    end: u64,
    /// The event by which the viewer's stay ended, if it did.
    leaving: EventSerial,
}

impl<'a> RoomReader<'a> {
    pub(crate) fn new(
        reader: EventReader<'a, Snapshot>,
        view: &'a RoomView,
        record: &'a MembershipRecord,
        since: Option<Position>,
    ) -> Result<Self, SyncError> {
        let (end, leaving) = if record.membership == Membership::Join {
            (reader.view.position().0, record.event)
        } else if record.left_at == 0 || record.left_at == record.position {
            (record.position, record.event)
        } else {
            // A ban, or an invitation that was refused, can come long after.
            let leaving = rooms::leaving(&reader, record)?;
            (
                record.left_at,
                leaving.map_or(record.event, |event| event.serial),
            )
        };
        let came_since = since.is_some_and(|since| record.last_join > since.0);
        Ok(Self {
            reader,
            view,
            record,
            came_since,
            since: since.filter(|since| record.last_join <= since.0),
            end,
            leaving,
        })
    }

    /// The timeline since, or the newest events of a room that is new.
    pub(crate) fn timeline(&self) -> Result<Timeline, SyncError> {
        let (mut events, mut limited) = match self.since {
            Some(since) => self.events_since(since)?,
            None => self.newest_events()?,
        };
        // What was before the viewer came may be missing, of an earlier stay too.
        limited |= self.came_since;
        let after = self.after_leaving()?;
        if after.is_some() && events.len() >= self.view.limit {
            events.pop();
            limited = true;
        }
        events.reverse();
        let forks = self.forks(&events)?;
        let state_before = match events.first() {
            Some(first) => forks.before_first.unwrap_or(first.meta.state_before),
            None => self.state_at_end()?,
        };
        let prev_batch = self.place_before(&events, limited)?;
        events.extend(after);
        Ok(Timeline {
            events,
            limited,
            prev_batch,
            state_before,
            forked: forks.any,
        })
    }

    /// The state at the end that neither the state under `to` nor the timeline gives.
    fn settled(&self, to: StateRoot, timeline: &Timeline) -> Result<Vec<StateEvent>, SyncError> {
        if !timeline.forked || self.view.state_after {
            return Ok(Vec::new());
        }
        let shown: BTreeSet<(String, String)> =
            timeline.events.iter().filter_map(state_key).collect();
        let mut settled = self.state_between(to, self.state_at_end()?)?;
        settled.retain(|(event_type, state_key, _)| {
            !shown.contains(&(event_type.clone(), state_key.clone()))
        });
        Ok(settled)
    }

    /// The viewer's own membership, where it changed once more after the viewer had gone:
    /// nothing that happened in between is the viewer's to see.
    fn after_leaving(&self) -> Result<Option<ClientEvent>, SyncError> {
        let is_later = self.record.event != self.leaving && self.view.limit > 0;
        let is_news = self
            .since
            .is_none_or(|since| self.record.position > since.0);
        if is_later && is_news {
            self.wanted(self.record.event)
        } else {
            Ok(None)
        }
    }

    /// The newest events after `since`, newest first, and whether there were more. What
    /// came before a gap is left to who looks back, who has it filled.
    fn events_since(&self, since: Position) -> Result<(Vec<ClientEvent>, bool), SyncError> {
        let room = self.reader.room;
        let before = (room, Position(self.end.saturating_add(1)), 0);
        let mut found = Vec::new();
        for row in self
            .reader
            .view
            .scan_back(&tables::CHANGE_BY_ROOM, &(room,), Some(&before))
        {
            let ((_, position, _), change) = row?;
            if position <= since {
                break;
            }
            let change = match change {
                RoomChange::Event(change) => change,
                RoomChange::Gap => return Ok((found, true)),
                RoomChange::Receipt { .. } | RoomChange::State { .. } => continue,
            };
            if let Some(event) = self.wanted(change.event)? {
                if found.len() == self.view.limit {
                    return Ok((found, true));
                }
                found.push(event);
            }
        }
        Ok((found, false))
    }

    /// Whose receipts moved since; `None` shows them all.
    pub(crate) fn moved_receipts(&self) -> Result<Option<Vec<MovedReceipt>>, SyncError> {
        let Some(since) = self.since.filter(|_| !self.view.full_state) else {
            return Ok(None);
        };
        moved_receipts(self.reader.view, self.reader.room, since)
    }

    fn wanted(&self, serial: EventSerial) -> Result<Option<ClientEvent>, SyncError> {
        let event = self.reader.load(serial)?;
        match event.filter(|event| self.view.timeline.allows(event)) {
            Some(event) if self.reader.is_ignored(&event)? => Ok(None),
            event => Ok(event),
        }
    }

    /// The newest events that the viewer may see, newest first, and whether there
    /// are more. A gap that nobody has filled yet ends them.
    fn newest_events(&self) -> Result<(Vec<ClientEvent>, bool), SyncError> {
        let room = self.reader.room;
        let visibility = Visibility::new(&self.reader)?;
        let gap = rooms::gaps_below(self.reader.view, room, PlaceToken::END, 1)?;
        let above_gap = gap.first().map(|gap| gap.above);
        let mut found = Vec::new();
        // Looking for what somebody may not see, or has filtered out, must end too.
        let most = self.view.limit.saturating_mul(10).max(1000);
        let rows = self
            .reader
            .view
            .scan_back(&tables::EVENT_BY_PLACE, &(room,), None);
        let mut rows = rows.take(most);
        loop {
            // One more than wanted tells whether there are more.
            let missing = self.view.limit + 1 - found.len();
            let serials = rows.by_ref().take(missing).map(|row| Ok(row?.1));
            let serials: Vec<EventSerial> = serials.collect::<Result<_, SyncError>>()?;
            if serials.is_empty() {
                return Ok((found, false));
            }
            for event in self.reader.load_many(&serials)? {
                let shown = event.meta.position <= self.end
                    && self.view.timeline.allows(&event)
                    && visibility.allows(&event)?
                    && !self.reader.is_ignored(&event)?;
                if shown && found.len() == self.view.limit {
                    return Ok((found, true));
                }
                let ends_here = above_gap == Some(event.serial);
                if shown {
                    found.push(event);
                }
                if ends_here {
                    return Ok((found, true));
                }
            }
        }
    }

    /// The state after the last event to be shown.
    pub(crate) fn state_at_end(&self) -> Result<StateRoot, SyncError> {
        if self.record.membership == Membership::Join {
            let head = self
                .reader
                .view
                .get(&tables::HEAD_BY_ROOM, &self.reader.room)?;
            return Ok(head.unwrap_or_default().state);
        }
        let meta = self
            .reader
            .view
            .get(&tables::EVENT_META_BY_SERIAL, &self.leaving)?;
        Ok(meta.map_or(EMPTY_STATE, |meta| meta.state_before))
    }

    /// The state events that the client needs beside the timeline.
    pub(crate) fn state(&self, timeline: &Timeline) -> Result<Vec<ClientEvent>, SyncError> {
        let to = if self.view.state_after {
            self.state_at_end()?
        } else {
            timeline.state_before
        };
        let whole = Whole::of(self.reader.view, self.reader.room)?;
        let from = match self.since {
            // What the client was told was not all that the state was.
            Some(since) if whole.was_partial(since) => EMPTY_STATE,
            // Since the client was told, the viewer has been outside.
            Some(since) if !self.view.full_state && since.0 >= self.end => to,
            Some(since) if !self.view.full_state => {
                root_at(self.reader.view, self.reader.room, since)?.unwrap_or(to)
            }
            _ => EMPTY_STATE,
        };
        let speakers = if self.view.lazy_members {
            senders(&timeline.events)
        } else {
            BTreeSet::new()
        };
        let mut wanted = Vec::new();
        let mut told = BTreeSet::new();
        for (event_type, state_key, serial) in self.state_between(from, to)? {
            if event_type == "m.room.member" {
                // A change of members in a gap is told whoever spoke.
                let needed = from != EMPTY_STATE
                    || !self.view.lazy_members
                    || speakers.contains(&state_key)
                    || state_key == self.reader.viewer_id();
                if !needed {
                    continue;
                }
                told.insert(state_key);
            }
            wanted.push(serial);
        }
        for (event_type, state_key, serial) in self.settled(to, timeline)? {
            wanted.push(serial);
            if event_type == "m.room.member" {
                told.insert(state_key);
            }
        }
        if let Some(since) = self.since.filter(|_| !self.view.full_state) {
            for (event_type, state_key, serial) in self.redacted(to, since, timeline)? {
                if !wanted.contains(&serial) {
                    wanted.push(serial);
                }
                if event_type == "m.room.member" {
                    told.insert(state_key);
                }
            }
        }
        let mut others = speakers;
        if self.view.lazy_members && (from == EMPTY_STATE || !told.is_empty()) {
            // Who names the room must be known by name.
            others.extend(heroes(&self.reader)?);
        }
        for other in others.difference(&told) {
            wanted.extend(self.reader.maps().get(to, "m.room.member", other)?);
        }
        let mut state = self.reader.load_many(&wanted)?;
        state.retain(|event| self.view.state.allows(event));
        let is_told = self.view.state_after || timeline.events.is_empty();
        if is_told && self.record.membership != Membership::Join {
            // The state at the end is the one that this event made.
            let own = self.wanted_state(self.record.event)?;
            let serial = self.record.event;
            let replaced = own.is_some().then(|| self.reader.viewer_id().to_owned());
            if let Some(viewer) = replaced {
                let before = self.reader.maps().get(to, "m.room.member", &viewer)?;
                state.retain(|event| Some(event.serial) != before && event.serial != serial);
            }
            state.extend(own);
        }
        state.sort_by_key(|event| (event.meta.depth, event.meta.tie_break));
        Ok(state)
    }

    /// The state under `to` that is not the same under `from`.
    fn state_between(&self, from: StateRoot, to: StateRoot) -> Result<Vec<StateEvent>, SyncError> {
        let key = &self.reader.room;
        if from == EMPTY_STATE
            && let Some(head) = self.reader.view.get(&tables::HEAD_BY_ROOM, key)?
            && head.state == to
        {
            // The current state is also kept flat: one scan instead of a walk.
            return Ok(StateAt::Current.all(&self.reader)?);
        }
        Ok(self.reader.maps().changed(from, to)?)
    }

    /// The events of the state under `root` that the client has with a content which was
    /// redacted after `since`, and no redaction to learn that from.
    pub(crate) fn redacted(
        &self,
        root: StateRoot,
        since: Position,
        timeline: &Timeline,
    ) -> Result<Vec<StateEvent>, SyncError> {
        redacted_unseen(&self.reader, root, since, self.end, &timeline.events)
    }

    fn wanted_state(&self, serial: EventSerial) -> Result<Option<ClientEvent>, SyncError> {
        let event = self.reader.load(serial)?;
        Ok(event.filter(|event| self.view.state.allows(event)))
    }

    /// `timeline` and `state` (or `state_after`), and the summary where it may have
    /// changed. Returns whether any event is told.
    pub(crate) fn history(
        &self,
        timeline: &Timeline,
        answer: &mut Composer,
    ) -> Result<bool, SyncError> {
        let state = self.state(timeline)?;
        let name = if self.view.state_after {
            "state_after"
        } else {
            "state"
        };
        if !state.is_empty() || self.view.state_after {
            let told = self.each_json(&state, |event| self.reader.state_json(event))?;
            answer.field(name, &events(&told));
        }
        // Of a stretch without a gap the client has every event that relates to another.
        let bundled = timeline.limited || self.since.is_none() || self.view.full_state;
        let mut part = Composer::object();
        part.field(
            "events",
            &crate::json::values(&self.all_json(&timeline.events, bundled)?),
        )
        .field("limited", if timeline.limited { "true" } else { "false" })
        .field("prev_batch", &quoted(&timeline.prev_batch.to_string()));
        answer.field("timeline", &part.finish());
        let changed = self.since.is_none()
            || self.view.full_state
            || timeline.limited
            || timeline.events.iter().chain(&state).any(may_rename);
        if changed && self.record.membership == Membership::Join {
            answer.field("summary", &summary(&self.reader)?);
        }
        Ok(!timeline.events.is_empty() || !state.is_empty())
    }

    /// A room that the user never was in: nothing but how the invitation ended.
    pub(crate) fn only_own_membership(&self, answer: &mut Composer) -> Result<(), SyncError> {
        let own = self.reader.load(self.record.event)?;
        let own: Vec<ClientEvent> = own.into_iter().collect();
        let mut part = Composer::object();
        part.field("events", &crate::json::values(&self.all_json(&own, false)?))
            .field("limited", "false");
        answer
            .field("state", &events(&[]))
            .field("timeline", &part.finish());
        Ok(())
    }

    /// Events as JSON, each with what relates to it where that is `bundled`.
    fn all_json(&self, events: &[ClientEvent], bundled: bool) -> Result<Vec<String>, ReadError> {
        self.each_json(events, |event| {
            if bundled {
                self.reader.json(event, false)
            } else {
                self.reader.json_alone(event, false)
            }
        })
    }

    fn each_json(
        &self,
        events: &[ClientEvent],
        json: impl Fn(&ClientEvent) -> Result<String, ReadError>,
    ) -> Result<Vec<String>, ReadError> {
        events
            .iter()
            .map(|event| {
                let json = json(event)?;
                Ok(match &self.view.fields {
                    Some(fields) => only_fields(&json, fields),
                    None => json,
                })
            })
            .collect()
    }
}

/// Whose receipts moved in a room since a commit; `None` if too much happened.
pub(crate) fn moved_receipts(
    snapshot: &Snapshot,
    room: RoomSerial,
    since: Position,
) -> Result<Option<Vec<MovedReceipt>>, SyncError> {
    let from = (room, Position(since.0 + 1), 0);
    let rows = snapshot.scan_from(&tables::CHANGE_BY_ROOM, &(room,), &from);
    let mut moved = Vec::new();
    for (count, row) in rows.enumerate() {
        if count == MOST_CHANGES {
            return Ok(None);
        }
        if let RoomChange::Receipt { user, kind, thread } = row?.1 {
            moved.push((user, kind, thread));
        }
    }
    Ok(Some(moved))
}

/// Whether an event may change what the room is called, or the members it is named after.
fn may_rename(event: &ClientEvent) -> bool {
    matches!(
        event.event_type().as_ref(),
        "m.room.member" | "m.room.name" | "m.room.canonical_alias" | "m.room.redaction"
    )
}
