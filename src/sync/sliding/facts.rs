//! What lists are sorted and filtered by: about each room, the same for everybody, and
//! about each user. Remembered for as long as nothing changes there.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use model::{
    Membership, MembershipRecord, RoomSerial, StateRoot, UserChange, UserSerial, rewriting_scope,
    room_scope, tables, user_scope,
};
use parking_lot::Mutex;
use rooms::{Ignored, Rooms, Stays};
use serde::Deserialize;
use store::{Position, Read, Snapshot, Store, StoreError};

use crate::SyncError;

/// The most rooms whose facts are remembered.
const MOST_ROOMS: usize = 50_000;
/// The most users whose facts are remembered.
const MOST_USERS: usize = 1_000;
/// The most direct chats of a user that are looked at.
const MOST_DIRECT: usize = 10_000;

/// What is known about a room at a position.
#[derive(Clone, Debug)]
pub(crate) struct RoomFacts {
    at: Position,
    /// The commit of its newest event.
    pub(crate) activity: u64,
    /// The room's state.
    state: StateRoot,
    /// What only filters need.
    details: Option<Arc<Details>>,
}

/// What filters ask about a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Details {
    /// `type` of its create event.
    pub(crate) room_type: Option<String>,
    /// Whether its messages are encrypted.
    pub(crate) is_encrypted: bool,
    /// Its name, in small letters.
    pub(crate) name: String,
}

/// The facts of many rooms. Bounded.
#[derive(Default)]
pub(crate) struct RoomFactsCache {
    rooms: Mutex<HashMap<RoomSerial, RoomFacts>>,
}

impl RoomFactsCache {
    /// The facts of a room.
    pub(crate) fn of(
        &self,
        store: &Store,
        snapshot: &Snapshot,
        room: RoomSerial,
    ) -> Result<RoomFacts, StoreError> {
        let known = self.rooms.lock().get(&room).cloned();
        if let Some(known) = &known
            && !store.changed_since(room_scope(room), known.at)
        {
            return Ok(known.clone());
        }
        let head = snapshot
            .get(&tables::HEAD_BY_ROOM, &room)?
            .unwrap_or_default();
        // What the state says stays, as long as it is the same and nothing was redacted.
        let is_same = |known: &&RoomFacts| {
            known.state == head.state
                && store.newest_change(rewriting_scope(room)) <= known.at
                && known.at <= snapshot.position()
        };
        let same = known.as_ref().filter(is_same);
        // A snapshot from before the facts cannot replace them.
        let facts = RoomFacts {
            at: snapshot.position(),
            activity: head.position,
            state: head.state,
            details: same.and_then(|known| known.details.clone()),
        };
        if known.is_none_or(|known| known.at <= facts.at) {
            self.remember(room, facts.clone());
        }
        Ok(facts)
    }

    /// The same with the details.
    pub(crate) fn details(
        &self,
        store: &Store,
        snapshot: &Snapshot,
        room: RoomSerial,
    ) -> Result<Arc<Details>, StoreError> {
        let mut facts = self.of(store, snapshot, room)?;
        if let Some(details) = facts.details {
            return Ok(details);
        }
        let details = Arc::new(Details::read(snapshot, room)?);
        if facts.at <= snapshot.position() {
            facts.at = snapshot.position();
            facts.details = Some(details.clone());
            self.remember(room, facts);
        }
        Ok(details)
    }

    fn remember(&self, room: RoomSerial, facts: RoomFacts) {
        let mut rooms = self.rooms.lock();
        if rooms.len() >= MOST_ROOMS && !rooms.contains_key(&room) {
            rooms.clear();
        }
        rooms.insert(room, facts);
    }
}

impl Details {
    fn read(snapshot: &Snapshot, room: RoomSerial) -> Result<Self, StoreError> {
        #[derive(Default, Deserialize)]
        struct Content {
            #[serde(rename = "type")]
            room_type: Option<String>,
            name: Option<String>,
        }
        let content = |event_type: &str| -> Result<Content, StoreError> {
            let key = (room, event_type.to_owned(), String::new());
            content_of(snapshot, &key).map(Option::unwrap_or_default)
        };
        let encryption = (room, "m.room.encryption".to_owned(), String::new());
        Ok(Self {
            room_type: content("m.room.create")?.room_type,
            is_encrypted: snapshot.contains(&tables::STATE_BY_ROOM, &encryption)?,
            name: content("m.room.name")?
                .name
                .unwrap_or_default()
                .to_lowercase(),
        })
    }
}

/// The content of current state, unless it was redacted or has another shape.
fn content_of<T: for<'de> Deserialize<'de>>(
    snapshot: &Snapshot,
    key: &(RoomSerial, String, String),
) -> Result<Option<T>, StoreError> {
    #[derive(Deserialize)]
    struct Event<T> {
        content: T,
    }
    let Some(serial) = snapshot.get(&tables::STATE_BY_ROOM, key)? else {
        return Ok(None);
    };
    let Some(stored) = snapshot.get(&tables::EVENT_BY_SERIAL, &serial)? else {
        return Ok(None);
    };
    // A create event keeps what it says.
    let is_redacted = snapshot.contains(&tables::REDACTION_BY_EVENT, &serial)?;
    if is_redacted && key.1 != "m.room.create" {
        return Ok(None);
    }
    let event: Option<Event<T>> = serde_json::from_slice(&stored.json).ok();
    Ok(event.map(|event| event.content))
}

/// The rooms that are named as children of some spaces which the user is in.
pub(crate) fn rooms_in_spaces(
    snapshot: &Snapshot,
    user: &UserFacts,
    spaces: &[String],
) -> Result<HashSet<RoomSerial>, StoreError> {
    #[derive(Deserialize)]
    struct Child {
        via: Option<serde_json::Value>,
    }
    const CHILD: &str = "m.space.child";
    let mut children = HashSet::new();
    for space in spaces {
        let Some(space) = rooms::room_serial(snapshot, space)? else {
            continue;
        };
        let is_joined = user
            .memberships
            .get(&space)
            .is_some_and(|record| record.membership == Membership::Join);
        if !is_joined {
            continue;
        }
        for row in snapshot.scan(&tables::STATE_BY_ROOM, &(space, CHILD.to_owned())) {
            let (key, _) = row?;
            // A child without servers is one that was taken out.
            let child: Option<Child> = content_of(snapshot, &key)?;
            let is_child = child.is_some_and(|child| child.via.is_some_and(|via| via.is_array()));
            if is_child && let Some(room) = rooms::room_serial(snapshot, &key.2)? {
                children.insert(room);
            }
        }
    }
    Ok(children)
}

/// What is known about a user at a position.
#[derive(Clone, Debug, Default)]
pub(crate) struct UserFacts {
    at: Position,
    /// Every room that the user has to do with.
    pub(crate) memberships: Arc<Stays>,
    /// The rooms that the user has marked as direct chats.
    pub(crate) direct: Arc<BTreeSet<RoomSerial>>,
    /// When the marks changed.
    direct_at: Position,
    /// When the user's private receipts moved last, by room: of these the room's own
    /// changes wake nobody.
    private_receipts: Arc<BTreeMap<RoomSerial, Position>>,
    /// Whom the user ignores.
    pub(crate) ignored: Arc<Ignored>,
    /// When the user's push rules or list of ignored users changed last.
    recounted: Position,
}

/// The facts of users who synced lately. Bounded.
#[derive(Default)]
pub(crate) struct UserFactsCache {
    users: Mutex<HashMap<UserSerial, UserFacts>>,
}

impl UserFactsCache {
    /// The facts as of a snapshot; `before` are those that one connection knew.
    pub(crate) fn of(
        &self,
        rooms: &Rooms,
        snapshot: &Snapshot,
        user: UserSerial,
        before: Option<&UserFacts>,
    ) -> Result<UserFacts, SyncError> {
        // What is newer than the snapshot may name events that it does not have.
        let is_true = |facts: &UserFacts| {
            facts.at <= snapshot.position()
                && !rooms.store().changed_since(user_scope(user), facts.at)
        };
        if let Some(before) = before.filter(|before| is_true(before)) {
            return Ok(before.clone());
        }
        let known = self.users.lock().get(&user).cloned();
        if let Some(known) = known.as_ref().filter(|known| is_true(known)) {
            return Ok(known.clone());
        }
        let facts = UserFacts::read(rooms, snapshot, user, known.as_ref())?;
        if known.is_none_or(|known| known.at <= facts.at) {
            let mut users = self.users.lock();
            if users.len() >= MOST_USERS && !users.contains_key(&user) {
                users.clear();
            }
            users.insert(user, facts.clone());
        }
        Ok(facts)
    }
}

impl UserFacts {
    /// Whether these are the facts of the same moment.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.at == other.at
    }

    /// Whether a private receipt of the user moved in a room after `since`.
    pub(crate) fn has_read_privately(&self, room: RoomSerial, since: Position) -> bool {
        let moved = self.private_receipts.get(&room);
        moved.is_some_and(|position| *position > since)
    }

    /// Whether counts may be others than they were at `since` though nothing happened in
    /// the rooms.
    pub(crate) fn recounts(&self, since: Position) -> bool {
        self.recounted > since
    }

    fn read(
        rooms: &Rooms,
        snapshot: &Snapshot,
        user: UserSerial,
        before: Option<&Self>,
    ) -> Result<Self, SyncError> {
        let marks = accounts::account_data(snapshot, user, None, "m.direct")?;
        let direct_at = marks.as_ref().map_or(Position(0), |marks| marks.position);
        let direct = match before.filter(|before| before.direct_at == direct_at) {
            Some(before) => before.direct.clone(),
            None => {
                let json = marks.map(|marks| marks.json).unwrap_or_default();
                Arc::new(direct_rooms(snapshot, &json)?)
            }
        };
        let mut private_receipts = before
            .map(|before| before.private_receipts.clone())
            .unwrap_or_default();
        let since = before.map_or(0, |before| before.at.0);
        let from = (user, Position(since + 1), 0);
        for row in snapshot.scan_from(&tables::CHANGE_BY_USER, &(user,), &from) {
            let ((_, position, _), change) = row?;
            if let UserChange::PrivateReceipt { room } = change {
                Arc::make_mut(&mut private_receipts).insert(room, position);
            }
        }
        let ignored = rooms.ignored_by(snapshot, user)?;
        let rules = rooms.rules_of(snapshot, user)?;
        Ok(Self {
            private_receipts,
            at: snapshot.position(),
            memberships: heard(rooms.stays(snapshot, user)?, &ignored),
            recounted: rules.position.max(ignored.position()),
            ignored,
            direct,
            direct_at,
        })
    }
}

/// The stays without invitations of ignored users, which are not told.
fn heard(stays: Arc<Stays>, ignored: &Ignored) -> Arc<Stays> {
    let is_unheard = |record: &MembershipRecord| {
        record.membership == Membership::Invite && ignored.has(record.sender)
    };
    if ignored.is_empty() || !stays.values().any(is_unheard) {
        return stays;
    }
    let mut heard = Stays::clone(&stays);
    heard.retain(|_, record| !is_unheard(record));
    Arc::new(heard)
}

/// The rooms in the content of `m.direct`: room ids by user.
fn direct_rooms(snapshot: &Snapshot, json: &[u8]) -> Result<BTreeSet<RoomSerial>, StoreError> {
    let users: HashMap<String, serde_json::Value> =
        serde_json::from_slice(json).unwrap_or_default();
    let room_ids = users
        .values()
        .filter_map(serde_json::Value::as_array)
        .flatten()
        .filter_map(serde_json::Value::as_str);
    let mut rooms = BTreeSet::new();
    for room_id in room_ids.take(MOST_DIRECT) {
        rooms.extend(rooms::room_serial(snapshot, room_id)?);
    }
    Ok(rooms)
}
