//! Who may see what of a room.

use std::{cell::RefCell, collections::HashMap};

use model::{EventStatus, Membership, MembershipRecord, RoomSerial, StateRoot, UserSerial, tables};
use serde::Deserialize;
use store::{Read, StoreError};

use crate::{ClientEvent, EventReader, ReadError};

/// The room's rule for its past (client-server API, "Room history visibility"),
/// the most open last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HistoryVisibility {
    Joined,
    Invited,
    Shared,
    WorldReadable,
}

impl HistoryVisibility {
    fn from_name(name: &str) -> Self {
        match name {
            "joined" => Self::Joined,
            "invited" => Self::Invited,
            "world_readable" => Self::WorldReadable,
            _ => Self::Shared,
        }
    }
}

/// What somebody may read of a room now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// A member: the present, and of the past what its visibility gives.
    Joined(MembershipRecord),
    /// Somebody who was a member: the room as it was when they left.
    Left(MembershipRecord),
    /// Anybody, because the room is open to the world.
    World,
}

impl Access {
    /// What `user` may read of `room` now.
    ///
    /// # Errors
    /// [`ReadError::Forbidden`] for those who are not in the room; the same for a
    /// room that does not exist, so that nobody learns which do.
    pub fn of(view: &impl Read, room: RoomSerial, user: UserSerial) -> Result<Self, ReadError> {
        match view.get(&tables::MEMBERSHIP_BY_USER, &(user, room))? {
            Some(record) if record.membership == Membership::Join => Ok(Self::Joined(record)),
            Some(record) if record.last_join > 0 && !record.forgotten => Ok(Self::Left(record)),
            _ if is_world_readable(view, room)? => Ok(Self::World),
            _ => Err(not_in_the_room()),
        }
    }
}

/// The answer to everybody who asks about a room that is not theirs.
pub(crate) fn not_in_the_room() -> ReadError {
    ReadError::Forbidden("you are not in this room".to_owned())
}

pub(crate) fn is_world_readable(view: &impl Read, room: RoomSerial) -> Result<bool, ReadError> {
    let key = (room, "m.room.history_visibility".to_owned(), String::new());
    let Some(serial) = view.get(&tables::STATE_BY_ROOM, &key)? else {
        return Ok(false);
    };
    let stored = view.get(&tables::EVENT_BY_SERIAL, &serial)?;
    Ok(stored.is_some_and(|stored| {
        visibility_of(&stored.json) == Some(HistoryVisibility::WorldReadable)
    }))
}

fn visibility_of(json: &[u8]) -> Option<HistoryVisibility> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "type")]
        event_type: String,
        content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        history_visibility: Option<serde_json::Value>,
    }
    let event: Event = serde_json::from_slice(json).ok()?;
    (event.event_type == "m.room.history_visibility").then(|| {
        let name = event.content.history_visibility;
        HistoryVisibility::from_name(name.as_ref().and_then(|name| name.as_str()).unwrap_or(""))
    })
}

/// Decides event by event what one viewer may see of one room.
pub struct Visibility<'a, R> {
    reader: &'a EventReader<'a, R>,
    record: Option<MembershipRecord>,
    rules: RefCell<HashMap<StateRoot, HistoryVisibility>>,
}

impl<'a, R: Read> Visibility<'a, R> {
    /// What the reader's viewer may see of the reader's room.
    ///
    /// # Errors
    /// If the database fails.
    pub fn new(reader: &'a EventReader<'a, R>) -> Result<Self, StoreError> {
        Ok(Self {
            record: reader.stay().cloned(),
            reader,
            rules: RefCell::default(),
        })
    }

    /// Whether the viewer may see this event.
    ///
    /// # Errors
    /// If the database fails or a state event is damaged.
    pub fn allows(&self, event: &ClientEvent) -> Result<bool, ReadError> {
        if !matches!(
            event.meta.status,
            EventStatus::Accepted | EventStatus::StatePartial
        ) {
            return Ok(false);
        }
        if self.was_joined_since(event) {
            return Ok(true);
        }
        let rule = self.rule_at(event)?;
        if rule == HistoryVisibility::WorldReadable {
            return Ok(true);
        }
        let (before, after) = self.membership_around(event)?;
        if before == Some(Membership::Join) || after == Some(Membership::Join) {
            return Ok(true);
        }
        Ok(match rule {
            HistoryVisibility::Shared => self.joined_later(event),
            HistoryVisibility::Invited => {
                before == Some(Membership::Invite) || after == Some(Membership::Invite)
            }
            _ => false,
        } || self.is_own_membership(event))
    }

    /// Whether the event came while the viewer's latest stay in the room lasted.
    fn was_joined_since(&self, event: &ClientEvent) -> bool {
        self.record.as_ref().is_some_and(|record| {
            record.last_join > 0
                && record.last_join <= event.meta.position
                && (record.left_at == 0 || event.meta.position < record.left_at)
        })
    }

    fn joined_later(&self, event: &ClientEvent) -> bool {
        self.record
            .as_ref()
            .is_some_and(|record| record.last_join > event.meta.position)
    }

    /// One's own leave, kick or ban is the last that one sees of a room.
    fn is_own_membership(&self, event: &ClientEvent) -> bool {
        self.record
            .as_ref()
            .is_some_and(|record| record.event == event.serial && record.last_join > 0)
    }

    fn rule_at(&self, event: &ClientEvent) -> Result<HistoryVisibility, ReadError> {
        rule_at(self.reader, &self.rules, event)
    }

    fn membership_around(
        &self,
        event: &ClientEvent,
    ) -> Result<(Option<Membership>, Option<Membership>), ReadError> {
        let before = self.reader.membership_in(event.meta.state_before)?;
        let after = if self.names_viewer(event) {
            event.membership()
        } else {
            before
        };
        Ok((before, after))
    }

    fn names_viewer(&self, event: &ClientEvent) -> bool {
        event.stored.fields().is_ok_and(|fields| {
            fields.is_membership()
                && fields.state_key_text().as_deref() == Some(self.reader.viewer_id())
        })
    }
}

/// The most open of the rules before and after an event: they differ only for the event
/// that changes the rule. `known` remembers what neighbours share.
///
/// # Errors
/// If the database fails or a state event is damaged.
pub(crate) fn rule_at<R: Read>(
    reader: &EventReader<'_, R>,
    known: &RefCell<HashMap<StateRoot, HistoryVisibility>>,
    event: &ClientEvent,
) -> Result<HistoryVisibility, ReadError> {
    let root = event.meta.state_before;
    let before = known.borrow().get(&root).copied();
    let before = match before {
        Some(rule) => rule,
        None => {
            let found = reader.state_event(root, "m.room.history_visibility", "")?;
            let rule = found
                .and_then(|event| visibility_of_change(&event))
                .unwrap_or(HistoryVisibility::Shared);
            known.borrow_mut().insert(root, rule);
            rule
        }
    };
    Ok(visibility_of_change(event).map_or(before, |after| before.max(after)))
}

fn visibility_of_change(event: &ClientEvent) -> Option<HistoryVisibility> {
    let fields = event.stored.fields().ok()?;
    // Most events are none: their JSON need not be looked through.
    (fields.event_type == "\"m.room.history_visibility\"").then_some(())?;
    visibility_of(&event.stored.json)
}
