//! From what waits for a server to the content of a transaction.

use std::collections::HashMap;

use model::{
    RoomChange, RoomSerial, UserSerial, WaitingRoomRecord,
    tables::{CHANGE_BY_ROOM, EDU_BY_SERVER, HEAD_BY_ROOM, RELAYED_EVENT, WAITING_ROOM_BY_SERVER},
};
use rooms::ReadError;
use ruma_common::{ServerName, UserId};
use store::{Position, Read as _, Snapshot, StoreError};

use super::{
    SendError,
    destinations::{Told, server_in},
    edus,
    ephemeral::Ephemeral,
};

/// The most events of a transaction (server-server API, "Transactions").
const MAX_PDUS: usize = 50;
/// The most EDUs of a transaction.
const MAX_EDUS: usize = 100;
/// How many of these may be such as must not get lost, so that others are not kept up.
const MAX_LASTING: usize = 60;
/// How long a transaction's body may be before it gets no more, in bytes.
const FULL_BYTES: usize = 1024 * 1024;
/// Events of one room that a server gets one after the other. Of more than that it gets
/// the newest, and fetches the others when it wants to.
const MANY: u64 = 500;
/// The most changes of a room that are looked at in one go.
const MAX_SCANNED: usize = 2_000;

/// What a transaction brings, and the rows that it settles.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) pdus: Vec<String>,
    pub(super) edus: Vec<String>,
    pub(super) rooms: Vec<Covered>,
    /// The keys of EDUs, each with the bytes that it counts.
    pub(super) lasting: Vec<((String, Position, u32), u64)>,
    /// Events for which newer ones stand.
    pub(super) left_out: u64,
    /// Notices that found no place.
    pub(super) dropped: usize,
    /// Whether the server has not caught up with this.
    pub(super) is_behind: bool,
    /// The room that came last.
    pub(super) last_room: Option<RoomSerial>,
    bytes: usize,
}

/// How much of a room is settled.
pub(super) struct Covered {
    pub(super) room: RoomSerial,
    /// Up to this commit…
    pub(super) newest: u64,
    /// …or only up to this change, which is not.
    pub(super) next: Option<(u64, u32)>,
    /// How many events that are.
    pub(super) events: u64,
}

impl Draft {
    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.pdus.is_empty() && self.edus.is_empty()
    }

    /// Whether it settles rows, which must be written.
    pub(super) fn settles(&self) -> bool {
        !self.rooms.is_empty() || !self.lasting.is_empty()
    }

    fn is_full(&self) -> bool {
        self.pdus.len() >= MAX_PDUS || self.bytes >= FULL_BYTES
    }

    fn push(&mut self, told: Told) {
        // Events are stored as text that was checked when they came.
        if let Ok(json) = String::from_utf8(told.stored.json) {
            self.bytes += json.len();
            self.pdus.push(json);
        }
    }
}

/// Makes a draft on one snapshot.
pub(super) struct Drafting<'a> {
    pub(super) view: &'a Snapshot,
    pub(super) own: &'a ServerName,
    pub(super) server: &'a ServerName,
    /// Whether it is told how devices are called.
    with_names: bool,
    draft: Draft,
    /// Whether users are this server's.
    own_users: HashMap<UserSerial, bool>,
}

impl<'a> Drafting<'a> {
    pub(super) fn new(
        view: &'a Snapshot,
        own: &'a ServerName,
        server: &'a ServerName,
        with_names: bool,
    ) -> Self {
        Self {
            view,
            own,
            server,
            with_names,
            draft: Draft::default(),
            own_users: HashMap::new(),
        }
    }

    /// The next draft for a server, with what it is told soon or never. `is_behind` says
    /// that it was away, `after` which room was the last to have its turn.
    pub(super) fn draft(
        mut self,
        is_behind: bool,
        after: Option<RoomSerial>,
        soon: Ephemeral,
    ) -> Result<Draft, SendError> {
        self.lasting()?;
        self.rooms(is_behind, after)?;
        let told = |room| self.is_told(room);
        let mut soon = edus::ephemeral(self.view, soon, told)?;
        let place = MAX_EDUS.saturating_sub(self.draft.edus.len());
        self.draft.dropped = soon.len().saturating_sub(place);
        soon.truncate(place);
        self.draft.edus.extend(soon);
        Ok(self.draft)
    }

    /// Whether the server is told what people do in a room besides events: it has users there,
    /// and the room's access control list lets it take part.
    fn is_told(&self, room: RoomSerial) -> Result<bool, StoreError> {
        if !rooms::is_server_in(self.view, room, self.server.as_str())? {
            return Ok(false);
        }
        match rooms::acl_allows(self.view, room, self.server) {
            Ok(is_allowed) => Ok(is_allowed),
            Err(ReadError::Store(error)) => Err(error),
            Err(error) => {
                log::error!(room = room.0; "an access control list cannot be read: {error}");
                Ok(false)
            }
        }
    }

    fn lasting(&mut self) -> Result<(), StoreError> {
        let prefix = (self.server.to_string(),);
        for row in self.view.scan(&EDU_BY_SERVER, &prefix).take(MAX_LASTING) {
            let (key, row) = row?;
            let bytes = match &row {
                model::ServerEdu::ToDevice { content } => content.len(),
                _ => 0,
            };
            // One that cannot be read must not keep all others back.
            match edus::lasting(self.view, self.own, &row, self.with_names) {
                Ok(Some(edu)) => {
                    self.draft.bytes += edu.len();
                    self.draft.edus.push(edu);
                }
                Ok(None) => {}
                Err(StoreError::Busy) => return Err(StoreError::Busy),
                Err(error) => log::error!("an EDU was not sent: {error}"),
            }
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            self.draft.lasting.push((key, bytes));
            if self.draft.bytes >= FULL_BYTES {
                break;
            }
        }
        Ok(())
    }

    /// Goes round all rooms that have something, beginning after the one that was last.
    fn rooms(&mut self, is_behind: bool, after: Option<RoomSerial>) -> Result<(), SendError> {
        let (view, server) = (self.view, self.server.to_string());
        let prefix = (server.clone(),);
        let after = after.unwrap_or(RoomSerial(0));
        let behind = (server, RoomSerial(after.0.saturating_add(1)));
        let rest = view.scan_from(&WAITING_ROOM_BY_SERVER, &prefix, &behind);
        let begin = view
            .scan(&WAITING_ROOM_BY_SERVER, &prefix)
            .take_while(|row| !matches!(row, Ok(((_, room), _)) if *room > after));
        let only_newest = is_behind && self.is_much()?;
        for row in rest.chain(begin) {
            if self.draft.is_full() {
                self.draft.is_behind = is_behind;
                return Ok(());
            }
            let ((_, room), waiting) = row?;
            self.draft.last_room = Some(room);
            if only_newest || waiting.events > MANY {
                self.newest(room, &waiting)?;
            } else {
                self.in_order(room, &waiting)?;
            }
        }
        Ok(())
    }

    /// Whether more waits than fits one transaction.
    fn is_much(&self) -> Result<bool, StoreError> {
        let prefix = (self.server.to_string(),);
        let mut sum = 0;
        for row in self.view.scan(&WAITING_ROOM_BY_SERVER, &prefix) {
            sum += row?.1.events;
            if sum > MAX_PDUS as u64 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The events of a room, oldest first.
    fn in_order(&mut self, room: RoomSerial, waiting: &WaitingRoomRecord) -> Result<(), SendError> {
        let record = server_in(self.view, room, self.server.as_str())?;
        let mut covered = Covered {
            room,
            newest: waiting.newest,
            next: None,
            events: 0,
        };
        let from = (room, Position(waiting.from), waiting.from_number);
        let changes = self.view.scan_from(&CHANGE_BY_ROOM, &(room,), &from);
        for (scanned, row) in changes.enumerate() {
            let ((_, position, number), change) = row?;
            if position.0 > waiting.newest {
                break;
            }
            if self.draft.is_full() || scanned == MAX_SCANNED {
                covered.next = Some((position.0, number));
                break;
            }
            let RoomChange::Event(change) = change else {
                continue;
            };
            let is_candidate =
                self.is_own(change.sender)? || self.view.contains(&RELAYED_EVENT, &change.event)?;
            if !is_candidate {
                continue;
            }
            match Told::load(self.view, self.own, change.event) {
                Ok(Some(told)) if told.is_for(self.server.as_str(), &record) => {
                    self.draft.push(told);
                    covered.events += 1;
                }
                Ok(_) => {}
                Err(StoreError::Busy) => return Err(StoreError::Busy.into()),
                Err(error) => log::error!("an event was not sent: {error}"),
            }
        }
        self.draft.rooms.push(covered);
        Ok(())
    }

    /// The newest events of a room alone: those of this server that no other event refers
    /// to yet, or else its last one. What comes before them the other server fetches.
    fn newest(&mut self, room: RoomSerial, waiting: &WaitingRoomRecord) -> Result<(), SendError> {
        let record = server_in(self.view, room, self.server.as_str())?;
        let head = self.view.get(&HEAD_BY_ROOM, &room)?.unwrap_or_default();
        let mut newest = Vec::new();
        for event in head.extremities {
            if let Some(told) = Told::load(self.view, self.own, event)?
                && (waiting.from..=waiting.newest).contains(&told.position)
                && told.is_for(self.server.as_str(), &record)
            {
                newest.push(told);
            }
        }
        if newest.is_empty() {
            let before = (room, Position(waiting.newest.saturating_add(1)), 0);
            let changes = self
                .view
                .scan_back(&CHANGE_BY_ROOM, &(room,), Some(&before));
            for row in changes.take(MAX_SCANNED) {
                let ((_, position, _), change) = row?;
                if position.0 < waiting.from {
                    break;
                }
                if let RoomChange::Event(change) = change
                    && let Some(told) = Told::load(self.view, self.own, change.event)?
                    && told.is_for(self.server.as_str(), &record)
                {
                    newest.push(told);
                    break;
                }
            }
        }
        let place = MAX_PDUS.saturating_sub(self.draft.pdus.len());
        let sent = newest.len().min(place);
        for told in newest.into_iter().take(place) {
            self.draft.push(told);
        }
        let sent = u64::try_from(sent).unwrap_or(0);
        self.draft.left_out += waiting.events.saturating_sub(sent);
        self.draft.rooms.push(Covered {
            room,
            newest: waiting.newest,
            next: None,
            events: waiting.events,
        });
        Ok(())
    }

    fn is_own(&mut self, user: UserSerial) -> Result<bool, StoreError> {
        if let Some(known) = self.own_users.get(&user) {
            return Ok(*known);
        }
        let user_id = model::user_id(self.view, user)?.unwrap_or_default();
        let is_own = UserId::parse(user_id.as_str()).is_ok_and(|id| id.server_name() == self.own);
        self.own_users.insert(user, is_own);
        Ok(is_own)
    }
}
