//! Rooms that were there before the register: put into it once, room by room, going on where the
//! server stopped.

use model::{
    EventMeta, EventSerial, EventStatus, Membership, RegisterProgressRecord, RoomSerial,
    RuleRecord, StayRecord, UserSerial,
    tables::{
        EVENT_BY_PLACE, EVENT_META_BY_SERIAL, MEMBER_BY_ROOM, MEMBERSHIP_BY_USER,
        REGISTER_PROGRESS, ROOM_BY_SERIAL, RULE_BY_ROOM, STATE_BY_ROOM, STAY_BY_ROOM,
    },
};
use runtime::Stop;
use store::{Position, Read, Snapshot, StoreError};

use super::{JOIN_RULES, NAME, POWER_LEVELS, VISIBILITY, is_followed};
use crate::{Rooms, client_event::load_event, placing::membership_of, user_serial};

/// Where stands what had been before the register, of which nothing better is known.
const BEFORE: Position = Position(0);

/// The rows of one room.
#[derive(Default)]
struct RoomRows {
    stays: Vec<((RoomSerial, UserSerial, Position), StayRecord)>,
    rules: Vec<((RoomSerial, String, Position), RuleRecord)>,
}

impl Rooms {
    /// Puts those rooms into the register that were made before there was one. Where that is done
    /// already, this costs one look-up. Run it once, as a task.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn complete_register(&self, stop: Stop) -> Result<(), StoreError> {
        let store = &self.inner.store;
        let known = |view: &Snapshot| view.get(&REGISTER_PROGRESS, &());
        let known: Option<RegisterProgressRecord> = store.read(known).await?;
        let mut progress = match known {
            Some(progress) => progress,
            None => self.begin_register().await?,
        };
        while progress.next < progress.end && !stop.is_stopping() {
            let from = progress;
            let read = move |view: &Snapshot| next_room(view, from);
            let found: Option<(RoomSerial, RoomRows)> = store.read_long(read).await?;
            progress.next = found
                .as_ref()
                .map_or(progress.end, |(room, _)| room.0.saturating_add(1));
            store
                .commit_later(move |latest, _, batch| {
                    let rows = found.map(|(_, rows)| rows).unwrap_or_default();
                    for (key, stay) in rows.stays {
                        // What was written meanwhile is newer, and better.
                        if !latest.contains(&STAY_BY_ROOM, &key)? {
                            batch.put(&STAY_BY_ROOM, &key, &stay);
                        }
                    }
                    for (key, rule) in rows.rules {
                        if !latest.contains(&RULE_BY_ROOM, &key)? {
                            batch.put(&RULE_BY_ROOM, &key, &rule);
                        }
                    }
                    batch.put(&REGISTER_PROGRESS, &(), &progress);
                    Ok::<_, StoreError>(())
                })
                .await?;
        }
        Ok(())
    }

    /// Notes which rooms the register has not had from their beginning.
    async fn begin_register(&self) -> Result<RegisterProgressRecord, StoreError> {
        let progress = RegisterProgressRecord {
            next: 0,
            end: self.inner.store.next_serial(),
        };
        self.inner
            .store
            .commit(move |_, _, batch| {
                batch.put(&REGISTER_PROGRESS, &(), &progress);
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(progress)
    }
}

/// The next room, with its rows.
fn next_room(
    view: &Snapshot,
    progress: RegisterProgressRecord,
) -> Result<Option<(RoomSerial, RoomRows)>, StoreError> {
    let from = RoomSerial(progress.next);
    let mut rooms = view.scan_from(&ROOM_BY_SERIAL, &(), &from);
    let Some((room, _)) = rooms.next().transpose()? else {
        return Ok(None);
    };
    if room.0 >= progress.end {
        return Ok(None);
    }
    let mut rows = RoomRows::default();
    timeline(view, room, &mut rows)?;
    rest(view, room, &mut rows)?;
    Ok(Some((room, rows)))
}

/// What the room's own timeline says, as far as it was news here.
fn timeline(view: &Snapshot, room: RoomSerial, rows: &mut RoomRows) -> Result<(), StoreError> {
    for row in view.scan(&EVENT_BY_PLACE, &(room,)) {
        let (_, serial) = row?;
        let Some(meta) = view.get(&EVENT_META_BY_SERIAL, &serial)? else {
            continue;
        };
        if is_news(&meta) {
            event(view, room, (serial, meta.position()), rows)?;
        }
    }
    Ok(())
}

fn is_news(meta: &EventMeta) -> bool {
    let accepted = [EventStatus::Accepted, EventStatus::StatePartial];
    accepted.contains(&meta.status) && meta.position != 0
}

fn event(
    view: &Snapshot,
    room: RoomSerial,
    (serial, position): (EventSerial, Position),
    rows: &mut RoomRows,
) -> Result<(), StoreError> {
    let Ok(event) = load_event(view, serial) else {
        return Ok(());
    };
    let since = event.origin_server_ts();
    if event.event_type() == "m.room.member"
        && let Some(membership) = membership_of(&event)
        && let Some(user) = user_serial(view, event.state_key().unwrap_or_default())?
        && let Some(sender) = user_serial(view, event.sender().as_str())?
    {
        let stay = StayRecord {
            membership,
            since,
            sender,
            event: serial,
        };
        rows.stays.push(((room, user, position), stay));
    } else if event.state_key() == Some("") && is_followed(event.event_type()) {
        let rule = RuleRecord {
            since,
            event: Some(serial),
            is_earlier: position == BEFORE,
        };
        let key = (room, event.event_type().to_owned(), position);
        rows.rules.push((key, rule));
    }
    Ok(())
}

/// Members and state that the timeline says nothing of: they came with a join through another
/// server.
fn rest(view: &Snapshot, room: RoomSerial, rows: &mut RoomRows) -> Result<(), StoreError> {
    let told: std::collections::HashSet<UserSerial> =
        rows.stays.iter().map(|((_, user, _), _)| *user).collect();
    for row in view.scan(&MEMBER_BY_ROOM, &(room,)) {
        let ((_, user), membership) = row?;
        if told.contains(&user) || membership == Membership::Leave {
            continue;
        }
        if let Some(record) = view.get(&MEMBERSHIP_BY_USER, &(user, room))? {
            event(view, room, (record.event, BEFORE), rows)?;
        }
    }
    for event_type in [NAME, POWER_LEVELS, JOIN_RULES, VISIBILITY] {
        let is_told = rows
            .rules
            .iter()
            .any(|((_, told, _), _)| told == event_type);
        let key = (room, event_type.to_owned(), String::new());
        if !is_told && let Some(serial) = view.get(&STATE_BY_ROOM, &key)? {
            event(view, room, (serial, BEFORE), rows)?;
        }
    }
    Ok(())
}
