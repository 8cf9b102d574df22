//! What another server is given of a room: the room's graph, to those who are in the room
//! now, and of each event what its server may see (server-server API, "Retrieving events",
//! "Backfilling and retrieving missing events").

use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
};

use model::{EventSerial, EventStatus, Membership, StateRoot, UserSerial, tables};
use ruma_common::{EventId, OwnedEventId, RoomId, ServerName, api::Direction};
use store::Read;

use crate::{
    ClientEvent, EventAtTime, EventReader, ReadError, Rooms, Viewer, acl_allows,
    at_time::nearest,
    is_server_in, room_serial,
    visibility::{HistoryVisibility, rule_at},
};

/// The most events of one page of a room's past.
const MOST_EVENTS: usize = 100;
/// The most events of one gap.
const MOST_MISSING: usize = 20;
/// The most events that are looked at for a gap or a page.
const MOST_EXAMINED: usize = 2_000;
/// The most events of a chain of authorisation.
const MOST_OF_CHAIN: usize = 200_000;
/// The most members of one server that are looked at for what it may see.
const MOST_USERS: usize = 5_000;

/// A room as another server is given it.
pub struct ServedRoom<'a, R> {
    pub(crate) reader: EventReader<'a, R>,
    server: &'a ServerName,
    /// This server, if it knows the room's state in part only.
    partial_of: Option<&'a ServerName>,
    /// Users of the server that have or had to do with the room.
    users: OnceCell<Vec<String>>,
    rules: RefCell<HashMap<StateRoot, HistoryVisibility>>,
}

/// How much of an event a server is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Whole,
    Redacted,
}

/// A room's state at some event.
#[derive(Clone, Debug, Default)]
pub struct ServedState {
    /// The state's events.
    pub state: Vec<ClientEvent>,
    /// The events that they rest on, without end.
    pub auth_chain: Vec<ClientEvent>,
}

impl Rooms {
    /// A room as `server` is given it.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if the room is not known here, [`ReadError::Forbidden`] if
    /// nobody of the server is in it, or its ACL shuts the server out.
    pub fn served<'a, R: Read>(
        &'a self,
        view: &'a R,
        room_id: &RoomId,
        server: &'a ServerName,
    ) -> Result<ServedRoom<'a, R>, ReadError> {
        let served = self.served_to_joining(view, room_id, server)?;
        if is_server_in(view, served.reader.room, server.as_str())? {
            Ok(served)
        } else {
            Err(ReadError::Forbidden(format!(
                "nobody of {server} is in the room"
            )))
        }
    }

    /// The same where somebody of the server is about to come in.
    pub(crate) fn served_to_joining<'a, R: Read>(
        &'a self,
        view: &'a R,
        room_id: &RoomId,
        server: &'a ServerName,
    ) -> Result<ServedRoom<'a, R>, ReadError> {
        let unknown = || ReadError::NotFound("the room is not known here".to_owned());
        let room = room_serial(view, room_id.as_str())?.ok_or_else(unknown)?;
        let head = view
            .get(&tables::HEAD_BY_ROOM, &room)?
            .ok_or_else(unknown)?;
        if !acl_allows(view, room, server)? {
            return Err(ReadError::Forbidden(format!(
                "the room does not let {server} take part"
            )));
        }
        let viewer = Viewer {
            user: UserSerial(0),
            device: None,
        };
        let now = self.inner.clock.now().0;
        Ok(ServedRoom {
            reader: EventReader::new(view, room, self.inner.store.secret(), viewer, now)?,
            server,
            partial_of: head.is_partial.then_some(&*self.inner.server_name),
            users: OnceCell::new(),
            rules: RefCell::default(),
        })
    }

    /// An event as JSON, as far as `server` may see it: `GET /event`.
    ///
    /// # Errors
    /// [`ReadError::NotFound`], and as [`Rooms::served`].
    pub fn served_event(
        &self,
        view: &impl Read,
        event_id: &EventId,
        server: &ServerName,
    ) -> Result<String, ReadError> {
        let room_id = crate::room_of_event(view, event_id.as_str())?;
        let room_id = room_id.and_then(|id| RoomId::parse(id).ok());
        let served = self.served(view, &room_id.ok_or_else(no_event)?, server)?;
        let event = served.event(event_id)?;
        served.json(&event)
    }
}

impl<R: Read> ServedRoom<'_, R> {
    /// An event of this room that can be given away.
    fn event(&self, event_id: &EventId) -> Result<ClientEvent, ReadError> {
        let event = self.reader.load_by_id(event_id.as_str())?;
        event
            .filter(|event| event.meta.status != EventStatus::Rejected && self.is_vouched(event))
            .ok_or_else(no_event)
    }

    /// Whether this server stands by an event: where it knows the state in part only, it
    /// gives away nothing but what its own users have sent.
    fn is_vouched(&self, event: &ClientEvent) -> bool {
        let Some(own) = self.partial_of else {
            return true;
        };
        ruma_common::UserId::parse(event.sender()).is_ok_and(|sender| sender.server_name() == own)
    }

    /// The event as JSON, as far as the server may see it.
    fn json(&self, event: &ClientEvent) -> Result<String, ReadError> {
        let json = match self.seen(event)? {
            Seen::Whole => self.reader.shown(event)?.into_owned(),
            Seen::Redacted => {
                let whole = self.parsed(event)?;
                graph::redact(&whole)?.json().as_bytes().to_vec()
            }
        };
        Ok(String::from_utf8_lossy(&json).into_owned())
    }

    /// How much of an event the server may see: everything, if the room's history is open
    /// to all who are in the room, or somebody of the server was there (client-server API,
    /// "Room history visibility").
    fn seen(&self, event: &ClientEvent) -> Result<Seen, ReadError> {
        let parsed = self.parsed(event)?;
        if event.meta.status == EventStatus::Outlier {
            // The state before it is not known; state is open to all in the room.
            return Ok(if parsed.state_key().is_some() {
                Seen::Whole
            } else {
                Seen::Redacted
            });
        }
        if parsed.sender().server_name() == self.server {
            return Ok(Seen::Whole);
        }
        let erased =
            parsed.state_key().is_none() && self.reader.is_erased(parsed.sender().as_str())?;
        let rule = rule_at(&self.reader, &self.rules, event)?;
        let wanted: &[Membership] = match rule {
            _ if erased => &[Membership::Join],
            HistoryVisibility::WorldReadable | HistoryVisibility::Shared => {
                return Ok(Seen::Whole);
            }
            HistoryVisibility::Invited => &[Membership::Join, Membership::Invite],
            HistoryVisibility::Joined => &[Membership::Join],
        };
        let own = parsed
            .state_key()
            .filter(|_| parsed.event_type() == "m.room.member");
        for user in self.users()? {
            let before = self
                .reader
                .state_event(event.meta.state_before, "m.room.member", user)?;
            let mut memberships = Vec::new();
            if let Some(before) = &before {
                memberships.extend(before.membership());
            }
            if own == Some(user.as_str()) {
                memberships.extend(event.membership());
            }
            if memberships.iter().any(|it| wanted.contains(it)) {
                return Ok(Seen::Whole);
            }
        }
        Ok(Seen::Redacted)
    }

    fn users(&self) -> Result<&[String], ReadError> {
        if let Some(users) = self.users.get() {
            return Ok(users);
        }
        let mut users = Vec::new();
        let rows = self.reader.view;
        for row in rows.scan(&tables::MEMBER_BY_ROOM, &(self.reader.room,)) {
            let ((_, user), _) = row?;
            let user_id = model::user_id(self.reader.view, user)?;
            let of_server = |id: &String| {
                ruma_common::UserId::parse(id.as_str())
                    .is_ok_and(|id| id.server_name() == self.server)
            };
            users.extend(user_id.filter(of_server));
            if users.len() >= MOST_USERS {
                break;
            }
        }
        Ok(self.users.get_or_init(|| users))
    }

    fn parsed(&self, event: &ClientEvent) -> Result<graph::Event, ReadError> {
        event
            .stored
            .checked(self.reader.version, &self.reader.room_id)
    }

    /// The state before an event, with the events that it rests on.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if the event, or the state before it, is not known;
    /// [`ReadError::PartialForServer`] if the room's state is known in part only.
    pub fn state(&self, event_id: &EventId) -> Result<ServedState, ReadError> {
        if self.partial_of.is_some() {
            return Err(ReadError::PartialForServer);
        }
        let event = self.event(event_id)?;
        if event.meta.status == EventStatus::Outlier {
            return Err(ReadError::NotFound(
                "the state at this event is not known here".to_owned(),
            ));
        }
        self.state_under(event.meta.state_before, |_| true)
    }

    /// The state under a root, as far as it is `wanted` by its type.
    pub(crate) fn state_under(
        &self,
        root: StateRoot,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<ServedState, ReadError> {
        let all = self.reader.maps().all(root)?;
        let all = all
            .into_iter()
            .filter(|(event_type, _, _)| wanted(event_type));
        let serials: Vec<EventSerial> = all.map(|(_, _, serial)| serial).collect();
        let state = self.reader.load_many(&serials)?;
        let auth_chain = self.chain(&state)?;
        Ok(ServedState { state, auth_chain })
    }

    /// All that an event rests on.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if the event is not known.
    pub fn auth_chain(&self, event_id: &EventId) -> Result<Vec<ClientEvent>, ReadError> {
        let event = self.event(event_id)?;
        self.chain(std::slice::from_ref(&event))
    }

    /// All that some events rest on, without end, each once; the events themselves only if
    /// others of them rest on them.
    pub(crate) fn chain(&self, events: &[ClientEvent]) -> Result<Vec<ClientEvent>, ReadError> {
        let mut seen: HashSet<String> = HashSet::new();
        let mut chain = Vec::new();
        let mut level: Vec<String> = Vec::new();
        let step = |event: &graph::Event, seen: &mut HashSet<String>, level: &mut Vec<String>| {
            for id in event.auth_events() {
                if seen.insert(id.to_string()) {
                    level.push(id.to_string());
                }
            }
        };
        if self.reader.version.room_id_is_create_event() {
            let create = format!("${}", self.reader.room_id.trim_start_matches('!'));
            // What rests on nothing else names nobody: the create event itself.
            let others = events.iter().any(|it| it.stored.event_id != create);
            if others && seen.insert(create.clone()) {
                level.push(create);
            }
        }
        for event in events {
            step(&self.parsed(event)?, &mut seen, &mut level);
        }
        while !level.is_empty() && chain.len() < MOST_OF_CHAIN {
            let ids = std::mem::take(&mut level);
            let serials = self.reader.view.get_many(&tables::EVENT_BY_ID, &ids)?;
            let serials: Vec<EventSerial> = serials.into_iter().flatten().collect();
            for event in self.reader.load_many(&serials)? {
                step(&self.parsed(&event)?, &mut seen, &mut level);
                chain.push(event);
            }
        }
        Ok(chain)
    }

    /// State or what it rests on, as JSON: whole, as all in the room need it.
    ///
    /// # Errors
    /// If an event is damaged.
    pub fn jsons(&self, events: &[ClientEvent]) -> Result<Vec<String>, ReadError> {
        let json = |event: &ClientEvent| {
            let json = self.reader.shown(event)?;
            Ok(String::from_utf8_lossy(&json).into_owned())
        };
        events.iter().map(json).collect()
    }

    /// A page of the room's past: these events and what came before them, newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub fn backfill(&self, from: &[OwnedEventId], limit: usize) -> Result<Vec<String>, ReadError> {
        let limit = limit.clamp(1, MOST_EVENTS);
        let mut open: BTreeMap<(u64, u64), ClientEvent> = BTreeMap::new();
        let mut seen = HashSet::new();
        let mut open_event = |id: &EventId, open: &mut BTreeMap<_, _>| {
            if seen.len() < MOST_EXAMINED
                && seen.insert(id.to_owned())
                && let Some(event) = self.passable(id)?
            {
                open.insert((event.meta.depth, event.meta.tie_break), event);
            }
            Ok::<_, ReadError>(())
        };
        for id in from.iter().take(MOST_EVENTS) {
            open_event(id, &mut open)?;
        }
        let mut page = Vec::new();
        while let Some((_, event)) = open.pop_last() {
            page.push(self.json(&event)?);
            if page.len() == limit {
                break;
            }
            for id in self.parsed(&event)?.prev_events() {
                open_event(id, &mut open)?;
            }
        }
        Ok(page)
    }

    /// The events of a gap: what came before `latest`, back to `earliest`, oldest first.
    ///
    /// # Errors
    /// If the database fails.
    pub fn missing_events(
        &self,
        earliest: &[OwnedEventId],
        latest: &[OwnedEventId],
        limit: usize,
        min_depth: u64,
    ) -> Result<Vec<String>, ReadError> {
        let limit = limit.clamp(1, MOST_MISSING);
        let mut seen: HashSet<OwnedEventId> = earliest.iter().cloned().collect();
        seen.extend(latest.iter().cloned());
        let mut open = VecDeque::new();
        for id in latest.iter().take(MOST_EVENTS) {
            if let Some(event) = self.passable(id)? {
                open.extend(self.parsed(&event)?.prev_events().to_vec());
            }
        }
        let mut found = Vec::new();
        while let Some(id) = open.pop_front() {
            if !seen.insert(id.clone()) {
                continue;
            }
            let Some(event) = self.passable(&id)? else {
                continue;
            };
            if event.meta.depth < min_depth {
                continue;
            }
            open.extend(self.parsed(&event)?.prev_events().to_vec());
            found.push(event);
            if found.len() == limit {
                break;
            }
        }
        found.sort_by_key(|event| (event.meta.depth, event.meta.tie_break));
        found.iter().map(|event| self.json(event)).collect()
    }

    /// An event that has a place in the room's graph here.
    fn passable(&self, event_id: &EventId) -> Result<Option<ClientEvent>, ReadError> {
        let event = self.reader.load_by_id(event_id.as_str())?;
        Ok(event.filter(|event| {
            let is_placed = !matches!(
                event.meta.status,
                EventStatus::Rejected | EventStatus::Outlier
            );
            is_placed && self.is_vouched(event)
        }))
    }

    /// The event nearest to a time; see [`Rooms::event_at_time`].
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if there is none.
    pub fn event_at_time(&self, time: u64, direction: Direction) -> Result<EventAtTime, ReadError> {
        nearest(&self.reader, time, direction, |event| {
            let is_there = matches!(
                event.meta.status,
                EventStatus::Accepted | EventStatus::StatePartial
            );
            Ok(is_there && self.is_vouched(event) && self.seen(event)? == Seen::Whole)
        })
    }
}

fn no_event() -> ReadError {
    ReadError::NotFound("the event is not known here".to_owned())
}

/// What a server gets that comes into a room.
#[derive(Clone, Debug, Default)]
pub struct JoinAnswer {
    /// The state before the join, each event as JSON.
    pub state: Vec<String>,
    /// What it and the join rest on.
    pub auth_chain: Vec<String>,
    /// The join itself, with all signatures.
    pub event: String,
    /// The servers that were in the room before.
    pub servers: Vec<String>,
}

/// How many members are named for a room that has no name.
const HEROES: usize = 5;

impl Rooms {
    /// What a server gets that comes into a room by the join `event_id`. Without members, if
    /// `omit_members`, except those for whom a room is called that has no name.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn join_answer(
        &self,
        view: &impl Read,
        room_id: &RoomId,
        event_id: &EventId,
        server: &ServerName,
        omit_members: bool,
    ) -> Result<JoinAnswer, ReadError> {
        let served = self.served_to_joining(view, room_id, server)?;
        let join = served.event(event_id)?;
        let root = join.meta.state_before;
        let mut found = served.state_under(root, |event_type| {
            !omit_members || event_type != "m.room.member"
        })?;
        if omit_members {
            found.state.extend(served.heroes(root, &found.state)?);
        }
        let rest: Vec<ClientEvent> = found.state.iter().chain([&join]).cloned().collect();
        let mut auth_chain = served.chain(&rest)?;
        if omit_members {
            let given: HashSet<EventSerial> = found.state.iter().map(|it| it.serial).collect();
            auth_chain.retain(|event| !given.contains(&event.serial));
        }
        let mut servers = HashSet::new();
        for (user, serial) in served.reader.maps().of_type(root, "m.room.member")? {
            if let Ok(user) = ruma_common::UserId::parse(&user)
                && !servers.contains(user.server_name().as_str())
                && served.is_join(serial)?
            {
                servers.insert(user.server_name().to_string());
            }
        }
        Ok(JoinAnswer {
            state: served.jsons(&found.state)?,
            auth_chain: served.jsons(&auth_chain)?,
            event: String::from_utf8_lossy(&join.stored.json).into_owned(),
            servers: servers.into_iter().collect(),
        })
    }
}

impl<R: Read> ServedRoom<'_, R> {
    /// The members after whom a room is called that has neither name nor alias.
    fn heroes(
        &self,
        root: StateRoot,
        state: &[ClientEvent],
    ) -> Result<Vec<ClientEvent>, ReadError> {
        let mut heroes = Vec::new();
        for event in state {
            let parsed = self.parsed(event)?;
            if matches!(
                parsed.event_type(),
                "m.room.name" | "m.room.canonical_alias"
            ) {
                return Ok(heroes);
            }
        }
        for (_, serial) in self.reader.maps().of_type(root, "m.room.member")? {
            if heroes.len() == HEROES {
                break;
            }
            if self.is_join(serial)? {
                heroes.extend(self.reader.load(serial)?);
            }
        }
        Ok(heroes)
    }

    fn is_join(&self, serial: EventSerial) -> Result<bool, ReadError> {
        let event = self.reader.load(serial)?;
        let membership = event.and_then(|event| event.membership());
        Ok(membership == Some(Membership::Join))
    }
}
