//! Rooms as administrators list and look at them. Nothing here is for people who are in them:
//! whoever calls decides who may ask.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
};

use audit::Deed;
use graph::{PowerLevel, PowerLevels};
use model::{BlockedRoomRecord, ListedRoomRecord, Membership, RoomSerial, RoomsList, tables};
use ruma_common::OwnedUserId;
use serde_json::{Map, Value};
use store::{Read, Snapshot, StoreError};

use crate::{
    Rooms,
    client_event::load_event,
    closed, is_frozen, is_open_to_partners,
    lists::{count_rooms, has, listed_room, rooms_named, rooms_of_list},
    marking_of, room_content, room_text,
};

/// How a list of rooms is ordered; by name and id where that decides nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomsOrder {
    /// By what they are called.
    #[default]
    Name,
    /// By their main alias.
    Alias,
    /// Those with most members first.
    Members,
    /// Those with most members of this server first.
    LocalMembers,
    /// Those of the newest version first.
    Version,
    /// By who made them.
    Creator,
    /// By how they are encrypted.
    Encryption,
    /// By how one comes in.
    JoinRule,
    /// By who may read what was said earlier.
    Visibility,
    /// By whether guests come in.
    GuestAccess,
    /// Those with most state first.
    StateEvents,
}

/// Which rooms are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomsQuery {
    /// What must stand in the name, the main alias or the id.
    pub text: Option<String>,
    /// Only those in the public directory, or only those that are not.
    pub published: Option<bool>,
    /// Only those in which nobody is, or only those in which somebody is.
    pub empty: Option<bool>,
    /// In which order.
    pub order: RoomsOrder,
    /// Whether in the opposite order.
    pub backwards: bool,
    /// How many are passed over.
    pub from: usize,
    /// How many are wanted at most.
    pub limit: usize,
}

/// What is told of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomOverview {
    /// The room's id.
    pub room_id: String,
    /// What it is called.
    pub name: Option<String>,
    /// What it is about.
    pub topic: Option<String>,
    /// Where its picture is.
    pub avatar_url: Option<String>,
    /// Its main alias.
    pub canonical_alias: Option<String>,
    /// How many are in it.
    pub joined: u64,
    /// How many of this server are.
    pub joined_here: u64,
    /// Its version.
    pub version: String,
    /// Who made it.
    pub creator: Option<String>,
    /// The algorithm by which it is encrypted.
    pub encryption: Option<String>,
    /// Whether people of other servers can come in.
    pub is_federated: bool,
    /// Whether it stands in the public directory.
    pub is_published: bool,
    /// How one comes in.
    pub join_rule: Option<String>,
    /// Whether guests come in.
    pub guest_access: Option<String>,
    /// Who may read what was said earlier.
    pub history_visibility: Option<String>,
    /// How many parts its state has.
    pub state_events: u64,
    /// What kind of room it is.
    pub room_type: Option<String>,
    /// The room that takes its place, if it was closed; empty if none is named.
    pub replaced_by: Option<String>,
    /// Its protective marking.
    pub marking: Option<String>,
    /// Whether an administrator has closed it.
    pub is_closed: bool,
    /// Whether it is frozen, as nobody administers it.
    pub is_frozen: bool,
    /// Whether nobody of this server may come into it.
    pub is_blocked: bool,
    /// Whether partners may come into it.
    pub is_open_to_partners: bool,
}

/// A part of the list of rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomsPage {
    /// The rooms.
    pub rooms: Vec<RoomOverview>,
    /// How many there are in all.
    pub total: usize,
}

/// A part of the list of rooms.
///
/// # Errors
/// If the database fails.
pub fn rooms_page(view: &Snapshot, query: &RoomsQuery) -> Result<RoomsPage, StoreError> {
    let (wanted, total) = match query.whole_list() {
        Some(list) => {
            let rooms = rooms_of_list(view, list, None)?;
            let wanted = rooms.skip(query.from).take(query.limit);
            let wanted: Result<Vec<RoomSerial>, StoreError> = wanted.collect();
            (wanted?, count_rooms(view, list)?)
        }
        None => sorted(view, query)?,
    };
    let mut rooms = Vec::new();
    for room in wanted {
        rooms.extend(room_overview(view, room)?);
    }
    Ok(RoomsPage { rooms, total })
}

impl RoomsQuery {
    /// The list whose rows are wanted as they stand.
    fn whole_list(&self) -> Option<RoomsList> {
        let is_sorted = self.order == RoomsOrder::Name && !self.backwards;
        match self.empty {
            _ if !is_sorted || self.text.is_some() || self.published.is_some() => None,
            None => Some(RoomsList::All),
            Some(true) => Some(RoomsList::Empty),
            Some(false) => None,
        }
    }
}

/// A part of the rooms in an order of their own, and how many there are: by what lists know of
/// each.
fn sorted(view: &Snapshot, query: &RoomsQuery) -> Result<(Vec<RoomSerial>, usize), StoreError> {
    let text = query.text.as_ref().map(|text| text.to_lowercase());
    let named = match &text {
        Some(text) => rooms_named(view, text)?,
        None => None,
    };
    let mut rooms: Vec<(RoomSerial, ListedRoomRecord)> = match (named, &text) {
        (Some(rooms), _) => rooms,
        (None, None) => view
            .scan(&tables::LISTED_ROOM, &())
            .collect::<Result<_, _>>()?,
        (None, Some(text)) => with_text(view, text)?,
    };
    if let Some(wanted) = query.published {
        let published = view.scan(&tables::PUBLISHED_ROOM, &());
        let published: Result<HashSet<RoomSerial>, StoreError> =
            published.map(|row| row.map(|(room, ())| room)).collect();
        let published = published?;
        rooms.retain(|(room, _)| published.contains(room) == wanted);
    }
    rooms.retain(|(_, known)| {
        query
            .empty
            .is_none_or(|wanted| wanted == (known.joined == 0))
    });
    rooms.sort_by_cached_key(|(room, known)| (key(known, query.order), known.sorted(), *room));
    if query.backwards {
        rooms.reverse();
    }
    let wanted = rooms.iter().skip(query.from).take(query.limit);
    Ok((wanted.map(|(room, _)| *room).collect(), rooms.len()))
}

/// The rooms that a common text fits.
fn with_text(
    view: &Snapshot,
    text: &str,
) -> Result<Vec<(RoomSerial, ListedRoomRecord)>, StoreError> {
    let mut rooms = Vec::new();
    for row in view.scan(&tables::LISTED_ROOM, &()) {
        let (room, known) = row?;
        if has(&known, "", text) || begins_id(view, room, text)? {
            rooms.push((room, known));
        }
    }
    Ok(rooms)
}

/// Whether a room's id begins so, with or without the sign before it.
fn begins_id(view: &Snapshot, room: RoomSerial, text: &str) -> Result<bool, StoreError> {
    let room_id = model::room_id(view, room)?.unwrap_or_default();
    Ok(has(&ListedRoomRecord::default(), &room_id, text))
}

/// Where a room stands in an order: first by the number, then by the text.
fn key(known: &ListedRoomRecord, order: RoomsOrder) -> (Reverse<u64>, String) {
    let text = match order {
        RoomsOrder::Members => return (Reverse(known.joined), String::new()),
        RoomsOrder::StateEvents => return (Reverse(known.state_events), String::new()),
        RoomsOrder::LocalMembers => return (Reverse(known.joined_here), String::new()),
        RoomsOrder::Version => {
            let number = known.version.parse().unwrap_or_default();
            return (Reverse(number), known.version.clone());
        }
        RoomsOrder::Name => &known.name,
        RoomsOrder::Alias => &known.alias,
        RoomsOrder::Creator => &known.creator,
        RoomsOrder::Encryption => &known.encryption,
        RoomsOrder::JoinRule => &known.join_rule,
        RoomsOrder::Visibility => &known.history_visibility,
        RoomsOrder::GuestAccess => &known.guest_access,
    };
    (Reverse(0), text.clone().unwrap_or_default())
}

/// What is told of one room; none if nobody of this server was ever in it.
///
/// # Errors
/// If the database fails.
pub fn room_overview(
    view: &impl Read,
    room: RoomSerial,
) -> Result<Option<RoomOverview>, StoreError> {
    let Some(known) = listed_room(view, room)? else {
        return Ok(None);
    };
    let Some(room_id) = model::room_id(view, room)? else {
        return Ok(None);
    };
    let text = |event_type, field| room_text(view, room, event_type, field);
    let create = room_content(view, room, "m.room.create")?.unwrap_or_default();
    let tombstone = room_content(view, room, "m.room.tombstone")?;
    let replacement = |content: &Map<String, Value>| {
        let room_id = content.get("replacement_room").and_then(Value::as_str);
        room_id.unwrap_or_default().to_owned()
    };
    Ok(Some(RoomOverview {
        marking: marking_of(view, room)?,
        is_closed: closed(view, room)?.is_some(),
        is_frozen: is_frozen(view, room)?,
        is_open_to_partners: is_open_to_partners(view, room)?,
        is_blocked: blocked(view, &room_id)?.is_some(),
        room_id,
        name: known.name,
        topic: text("m.room.topic", "topic")?,
        avatar_url: text("m.room.avatar", "url")?,
        canonical_alias: known.alias,
        joined: known.joined,
        joined_here: known.joined_here,
        version: known.version,
        creator: known.creator,
        encryption: known.encryption,
        is_federated: create.get("m.federate") != Some(&Value::Bool(false)),
        is_published: view.contains(&tables::PUBLISHED_ROOM, &room)?,
        join_rule: known.join_rule,
        guest_access: known.guest_access,
        history_visibility: known.history_visibility,
        state_events: known.state_events,
        room_type: create
            .get("type")
            .and_then(Value::as_str)
            .map(str::to_owned),
        replaced_by: tombstone.as_ref().map(replacement),
    }))
}

/// Those who are in a room.
///
/// # Errors
/// If the database fails.
pub fn joined_of_room(view: &impl Read, room: RoomSerial) -> Result<Vec<OwnedUserId>, StoreError> {
    let mut members = Vec::new();
    for row in view.scan(&tables::MEMBER_BY_ROOM, &(room,)) {
        let ((_, user), membership) = row?;
        if membership == Membership::Join {
            let user_id = model::user_id(view, user)?;
            members.extend(user_id.and_then(|id| OwnedUserId::try_from(id).ok()));
        }
    }
    members.sort();
    Ok(members)
}

/// A room's current state, each event as it was signed, of one type or of all.
///
/// # Errors
/// If the database fails.
pub fn state_of_room(
    view: &impl Read,
    room: RoomSerial,
    event_type: Option<&str>,
) -> Result<Vec<Value>, StoreError> {
    let mut events = Vec::new();
    for row in view.scan(&tables::STATE_BY_ROOM, &(room,)) {
        let ((_, found, _), serial) = row?;
        if event_type.is_some_and(|wanted| wanted != found) {
            continue;
        }
        if let Some(stored) = view.get(&tables::EVENT_BY_SERIAL, &serial)?
            && let Ok(Value::Object(mut event)) = serde_json::from_slice(&stored.json)
        {
            event.insert("event_id".to_owned(), stored.event_id.into());
            events.push(event.into());
        }
    }
    Ok(events)
}

/// The power levels of a room as they are now; none of a room whose creation is not known.
pub(crate) fn levels_of(
    view: &impl Read,
    room: RoomSerial,
) -> Result<Option<PowerLevels>, StoreError> {
    let Some(record) = view.get(&tables::ROOM_BY_SERIAL, &room)? else {
        return Ok(None);
    };
    let Ok(create) = load_event(view, record.create_event) else {
        return Ok(None);
    };
    let key = (room, "m.room.power_levels".to_owned(), String::new());
    let serial = view.get(&tables::STATE_BY_ROOM, &key)?;
    let event = serial.and_then(|serial| load_event(view, serial).ok());
    Ok(PowerLevels::new(&create, event.as_ref()).ok())
}

/// Of those of this server who are in a room, the one with most power, with the levels as they
/// are now.
///
/// # Errors
/// If the database fails.
pub fn most_powerful_here(
    rooms: &Rooms,
    view: &impl Read,
    room: RoomSerial,
) -> Result<Option<(OwnedUserId, PowerLevel, PowerLevels)>, StoreError> {
    let Some(levels) = levels_of(view, room)? else {
        return Ok(None);
    };
    let mut best: Option<(PowerLevel, OwnedUserId)> = None;
    for user_id in joined_of_room(view, room)? {
        let power = levels.user(&user_id);
        let is_better = best.as_ref().is_none_or(|(known, _)| power > *known);
        if rooms.is_local(&user_id) && is_better {
            best = Some((power, user_id));
        }
    }
    Ok(best.map(|(power, user_id)| (user_id, power, levels)))
}

/// The other servers that are in rooms together with people of this one, and in how many.
///
/// # Errors
/// If the database fails.
pub fn servers_met(view: &impl Read) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut servers: BTreeMap<String, u64> = BTreeMap::new();
    for row in view.scan(&tables::ROOM_BY_SERVER, &()) {
        let ((server, _), ()) = row?;
        *servers.entry(server).or_default() += 1;
    }
    Ok(servers)
}

/// Who has blocked a room, if it is.
///
/// # Errors
/// If the database fails.
pub fn blocked(view: &impl Read, room_id: &str) -> Result<Option<BlockedRoomRecord>, StoreError> {
    view.get(&tables::BLOCKED_ROOM, &room_id.to_owned())
}

impl Rooms {
    /// Lets nobody of this server come into a room, whether or not it is known here, or lets
    /// them again. `deed` is what the audit trail is told. Returns whether it was blocked.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_blocked(
        &self,
        room_id: &str,
        by: Option<String>,
        is_blocked: bool,
        deed: Deed,
    ) -> Result<bool, StoreError> {
        let (room_id, now) = (room_id.to_owned(), self.inner.clock.now().0);
        self.inner
            .store
            .commit(move |latest, _, batch| {
                let was = latest.contains(&tables::BLOCKED_ROOM, &room_id)?;
                if is_blocked {
                    let record = BlockedRoomRecord { by, at: now };
                    batch.put(&tables::BLOCKED_ROOM, &room_id, &record);
                } else {
                    batch.delete(&tables::BLOCKED_ROOM, &room_id);
                }
                if was != is_blocked {
                    audit::record(latest, batch, now, &[deed])?;
                }
                Ok(was)
            })
            .await
    }
}
