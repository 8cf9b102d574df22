//! What lists for administrators know of each room, written in the commit that changes it: rooms
//! by name in each list that has them, and by every part of what they are called. A page reads the
//! rows that it shows, a search those that its text fits.

use std::{collections::BTreeSet, sync::Arc};

use graph::{Event, PowerLevels};
use model::{
    EventSerial, ListedRoomRecord, Membership, NamePart, RoomHead, RoomRecord, RoomSerial,
    RoomsList, name_part, name_parts, tables, with_part,
};
use ruma_common::UserId;
use serde_json::{Map, Value};
use store::{Batch, Latest, Read, StoreError};

use crate::{
    AppendError, client_event::load_event, freezing::powerful, overview::levels_of, room_content,
    rows::Progress, staging::Staging, user_serial,
};

const CREATE: &str = "m.room.create";
const POWER_LEVELS: &str = "m.room.power_levels";

/// Where what a type of state says stands in the record, and in which field of the content.
fn told_by<'a>(
    known: &'a mut ListedRoomRecord,
    event_type: &str,
) -> Option<(&'a mut Option<String>, &'static str)> {
    Some(match event_type {
        "m.room.name" => (&mut known.name, "name"),
        "m.room.canonical_alias" => (&mut known.alias, "alias"),
        "m.room.encryption" => (&mut known.encryption, "algorithm"),
        "m.room.join_rules" => (&mut known.join_rule, "join_rule"),
        "m.room.guest_access" => (&mut known.guest_access, "guest_access"),
        "m.room.history_visibility" => (&mut known.history_visibility, "history_visibility"),
        _ => return None,
    })
}

/// The types of state that lists tell of.
const FOLLOWED: [&str; 6] = [
    "m.room.name",
    "m.room.canonical_alias",
    "m.room.encryption",
    "m.room.join_rules",
    "m.room.guest_access",
    "m.room.history_visibility",
];

/// Whether a text, in lower case, stands in what a room is called, or begins its id.
pub(crate) fn has(known: &ListedRoomRecord, room_id: &str, text: &str) -> bool {
    let called = [&known.name, &known.alias];
    let mut called = called.into_iter().flatten();
    called.any(|name| name.to_lowercase().contains(text))
        || beginnings(room_id)
            .iter()
            .any(|beginning| beginning.starts_with(text))
}

/// Texts by whose beginnings a room is found: its id in lower case, with and without the sign
/// before it.
fn beginnings(room_id: &str) -> [String; 2] {
    let room_id = room_id.to_lowercase();
    let bare = room_id.strip_prefix('!').unwrap_or(&room_id).to_owned();
    [room_id, bare]
}

pub(crate) fn parts_of(known: &ListedRoomRecord, room_id: &str) -> BTreeSet<NamePart> {
    let called = [&known.name, &known.alias].into_iter().flatten();
    let mut parts: BTreeSet<NamePart> = called.flat_map(|name| name_parts(name)).collect();
    parts.extend(beginnings(room_id).map(|beginning| name_part(&beginning).0));
    parts
}

/// The rooms that have a text in what they are called; none if it fits so many that all are to be
/// looked through.
///
/// # Errors
/// If the database fails.
pub(crate) fn rooms_named(
    view: &impl Read,
    text: &str,
) -> Result<Option<Vec<(RoomSerial, ListedRoomRecord)>>, StoreError> {
    let text = text.to_lowercase();
    let Some(found) = with_part(view, &tables::ROOM_BY_PART, &text)? else {
        return Ok(None);
    };
    let mut rooms = Vec::new();
    for room in found {
        let room_id = model::room_id(view, room)?.unwrap_or_default();
        let known = listed_room(view, room)?;
        rooms.extend(
            known
                .filter(|known| has(known, &room_id, &text))
                .map(|known| (room, known)),
        );
    }
    Ok(Some(rooms))
}

/// How many rooms a list has.
///
/// # Errors
/// If the database fails.
pub fn count_rooms(view: &impl Read, list: RoomsList) -> Result<usize, StoreError> {
    view.count(&tables::ROOM_BY_LIST, &(list,))
}

/// The rooms of a list by name, from the one behind `after` on.
///
/// # Errors
/// If the database fails.
pub(crate) fn rooms_of_list(
    view: &impl Read,
    list: RoomsList,
    after: Option<RoomSerial>,
) -> Result<impl Iterator<Item = Result<RoomSerial, StoreError>>, StoreError> {
    let after = match after {
        Some(room) => listed_room(view, room)?.map(|known| (known.sorted(), room)),
        None => None,
    };
    let (name, from) = after.map_or_else(Default::default, |(name, room)| {
        (name, RoomSerial(room.0.saturating_add(1)))
    });
    let rows = view.scan_from(&tables::ROOM_BY_LIST, &(list,), &(list, name, from));
    Ok(rows.map(|row| row.map(|((_, _, room), ())| room)))
}

/// What lists know of a room; none if nobody of this server was ever in it.
///
/// # Errors
/// If the database fails.
pub(crate) fn listed_room(
    view: &impl Read,
    room: RoomSerial,
) -> Result<Option<ListedRoomRecord>, StoreError> {
    match view.get(&tables::LISTED_ROOM, &room)? {
        Some(known) => Ok(Some(known)),
        None => to_be_listed(view, room),
    }
}

/// The same, as the other tables have it.
pub(crate) fn to_be_listed(
    view: &impl Read,
    room: RoomSerial,
) -> Result<Option<ListedRoomRecord>, StoreError> {
    let Some(head) = view.get(&tables::HEAD_BY_ROOM, &room)? else {
        return Ok(None);
    };
    let Some(record) = view.get(&tables::ROOM_BY_SERIAL, &room)? else {
        return Ok(None);
    };
    let mut known = begun(&record);
    let create = load_event(view, record.create_event).ok();
    known.creator = create.map(|event| event.sender().to_string());
    for event_type in FOLLOWED {
        if let Some((text, field)) = told_by(&mut known, event_type) {
            let content = room_content(view, room, event_type)?;
            *text = content.and_then(|content| text_in(&content, field));
        }
    }
    known.state_events = view.count(&tables::STATE_BY_ROOM, &(room,))? as u64;
    note_head(&mut known, &head);
    known.is_administered = match levels_of(view, room)? {
        None => true,
        Some(levels) => {
            is_run_by_others(&levels, None, |user_id| membership_in(view, room, user_id))?
        }
    };
    Ok(Some(known))
}

fn begun(record: &RoomRecord) -> ListedRoomRecord {
    ListedRoomRecord {
        version: record.version.clone(),
        ..ListedRoomRecord::default()
    }
}

fn note_head(known: &mut ListedRoomRecord, head: &RoomHead) {
    known.joined = head.joined;
    known.joined_here = head.joined_here;
}

fn text_in(content: &Map<String, Value>, field: &str) -> Option<String> {
    content.get(field)?.as_str().map(str::to_owned)
}

/// Whether somebody is in a room who may change its power levels, `but` one.
pub(crate) fn is_run_by_others(
    levels: &PowerLevels,
    but: Option<&UserId>,
    mut membership: impl FnMut(&str) -> Result<Option<Membership>, StoreError>,
) -> Result<bool, StoreError> {
    let needed = levels.to_send_state(POWER_LEVELS);
    // A stranger's level is the one of everybody.
    if UserId::parse("@nobody:invalid").is_ok_and(|anybody| levels.user(&anybody).reaches(needed)) {
        return Ok(true);
    }
    for user_id in powerful(levels, needed) {
        if Some(&*user_id) != but && membership(user_id.as_str())? == Some(Membership::Join) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What somebody's membership of a room is.
pub(crate) fn membership_in(
    view: &impl Read,
    room: RoomSerial,
    user_id: &str,
) -> Result<Option<Membership>, StoreError> {
    match user_serial(view, user_id)? {
        Some(user) => view.get(&tables::MEMBER_BY_ROOM, &(room, user)),
        None => Ok(None),
    }
}

/// Brings the lists up to what a commit does in a room. Runs inside the commit's closure, when the
/// memberships are written and the state is not.
pub(crate) fn follow(
    staging: &Staging,
    progress: &Progress,
    latest: &Latest,
    batch: &mut Batch,
) -> Result<(), AppendError> {
    if staging.state.is_empty() {
        return Ok(());
    }
    let room = staging.room;
    // A room that is entered anew may be one that was here before.
    let listed = latest.get(&tables::LISTED_ROOM, &room)?;
    let before = match listed.clone() {
        None => to_be_listed(latest, room)?,
        known => known,
    };
    let mut known = before.clone().unwrap_or_else(|| begun(&staging.record));
    note_state(staging, before.is_none(), &mut known, latest)?;
    note_head(&mut known, &staging.head);
    let decides = [CREATE, POWER_LEVELS];
    let is_decided = before.is_some()
        && !decides
            .iter()
            .any(|event_type| staging.state.contains_key(&bare(event_type)))
        && !progress.moves(known.is_administered);
    if !is_decided {
        known.is_administered = match levels_after(staging, latest)? {
            None => true,
            Some(levels) => is_run_by_others(&levels, None, |user_id| {
                progress.membership(latest, room, user_id)
            })?,
        };
    }
    let room_id = &staging.record.room_id;
    list(batch, room, room_id, listed.as_ref(), &known);
    Ok(())
}

/// The key of state that there is one of.
fn bare(event_type: &str) -> (String, String) {
    (event_type.to_owned(), String::new())
}

/// The power levels from this commit on; none where there is no telling.
fn levels_after(staging: &Staging, latest: &Latest) -> Result<Option<PowerLevels>, StoreError> {
    let Some(create) = state_after(staging, CREATE, latest)? else {
        return Ok(None);
    };
    let event = state_after(staging, POWER_LEVELS, latest)?;
    Ok(PowerLevels::new(&create, event.as_deref()).ok())
}

fn state_after(
    staging: &Staging,
    event_type: &str,
    latest: &Latest,
) -> Result<Option<Arc<Event>>, StoreError> {
    let serial = match staging.state.get(&bare(event_type)) {
        Some(changed) => *changed,
        None => {
            let key = (staging.room, event_type.to_owned(), String::new());
            latest.get(&tables::STATE_BY_ROOM, &key)?
        }
    };
    Ok(serial.and_then(|serial| event_of(staging, serial, latest)))
}

/// An event that this commit brings, or that was there.
fn event_of(staging: &Staging, serial: EventSerial, latest: &Latest) -> Option<Arc<Event>> {
    let staged = staging.events.iter().find(|staged| staged.serial == serial);
    match staged {
        Some(staged) => Some(staged.event.clone()),
        None => load_event(latest, serial).ok().map(Arc::new),
    }
}

/// What the changes of a room's state say.
fn note_state(
    staging: &Staging,
    is_new: bool,
    known: &mut ListedRoomRecord,
    latest: &Latest,
) -> Result<(), AppendError> {
    for ((event_type, state_key), event) in &staging.state {
        let was = !is_new && {
            let key = (staging.room, event_type.clone(), state_key.clone());
            latest.contains(&tables::STATE_BY_ROOM, &key)?
        };
        match (was, event.is_some()) {
            (false, true) => known.state_events += 1,
            (true, false) => known.state_events = known.state_events.saturating_sub(1),
            _ => {}
        }
        let is_followed = event_type == CREATE || FOLLOWED.contains(&event_type.as_str());
        if !state_key.is_empty() || !is_followed {
            continue;
        }
        let event = event.and_then(|serial| event_of(staging, serial, latest));
        if event_type == CREATE {
            known.creator = event.as_ref().map(|event| event.sender().to_string());
        }
        if let Some((text, field)) = told_by(known, event_type) {
            let content = event.and_then(|event| event.content_as().ok());
            *text = content.and_then(|content| text_in(&content, field));
        }
    }
    Ok(())
}

/// Writes what lists know of a room from now on, in place of what they knew.
pub(crate) fn list(
    batch: &mut Batch,
    room: RoomSerial,
    room_id: &str,
    before: Option<&ListedRoomRecord>,
    after: &ListedRoomRecord,
) {
    if before == Some(after) {
        return;
    }
    batch.put(&tables::LISTED_ROOM, &room, after);
    let is_renamed = before.is_none_or(|before| before.name != after.name);
    for list in RoomsList::ALL {
        let was = before.is_some_and(|before| before.is_in(*list));
        let is = after.is_in(*list);
        if let Some(before) = before
            && was
            && (!is || is_renamed)
        {
            batch.delete(&tables::ROOM_BY_LIST, &(*list, before.sorted(), room));
        }
        if is && (!was || is_renamed) {
            batch.put(&tables::ROOM_BY_LIST, &(*list, after.sorted(), room), &());
        }
    }
    if !is_renamed && before.is_some_and(|before| before.alias == after.alias) {
        return;
    }
    let before = before.map(|before| parts_of(before, room_id));
    let (before, after) = (before.unwrap_or_default(), parts_of(after, room_id));
    for part in before.difference(&after) {
        batch.delete(&tables::ROOM_BY_PART, &(*part, room));
    }
    for part in after.difference(&before) {
        batch.put(&tables::ROOM_BY_PART, &(*part, room), &());
    }
}

/// Takes a room out of all lists that is removed.
pub(crate) fn unlist(
    latest: &Latest,
    batch: &mut Batch,
    room: RoomSerial,
    room_id: &str,
) -> Result<(), StoreError> {
    let Some(known) = latest.get(&tables::LISTED_ROOM, &room)? else {
        return Ok(());
    };
    batch.delete(&tables::LISTED_ROOM, &room);
    for list in RoomsList::ALL {
        batch.delete(&tables::ROOM_BY_LIST, &(*list, known.sorted(), room));
    }
    for part in parts_of(&known, room_id) {
        batch.delete(&tables::ROOM_BY_PART, &(part, room));
    }
    Ok(())
}
