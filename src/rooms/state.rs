//! A room's state, now or as it once was.

use model::{EventSerial, MembershipRecord, RoomChange, StateRoot, tables};
use ruma_common::RoomId;
use store::{Position, Read};

use crate::{Access, ClientEvent, EventReader, MARKING, ReadError, Rooms, Viewer, outside_record};

/// What somebody sees of a room who is invited or knocks (client-server API, "Stripped
/// state"), beside the memberships of the two concerned.
const STRIPPED: [&str; 9] = [
    "m.room.create",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.avatar",
    "m.room.name",
    "m.room.topic",
    "m.room.encryption",
    "m.room.history_visibility",
    MARKING,
];

/// How many events are read together.
const STEP: usize = 500;

/// The state of a room at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateAt {
    /// As it is now.
    Current,
    /// As it was under a root, with one event more that changed it.
    Past {
        /// The root.
        root: StateRoot,
        /// Type, state key and event of the change.
        change: Option<(String, String, EventSerial)>,
    },
}

impl StateAt {
    /// The state before an event.
    pub fn before(event: &ClientEvent) -> Self {
        Self::Past {
            root: event.meta.state_before,
            change: None,
        }
    }

    /// The state after an event.
    pub fn after(event: &ClientEvent) -> Self {
        let key = event.state_key();
        Self::Past {
            root: event.meta.state_before,
            change: key.map(|key| {
                let event_type = event.event_type().into_owned();
                (event_type, key.into_owned(), event.serial)
            }),
        }
    }

    /// The event under a type and state key.
    ///
    /// # Errors
    /// If the database fails.
    pub fn get<R: Read>(
        &self,
        reader: &EventReader<'_, R>,
        event_type: &str,
        state_key: &str,
    ) -> Result<Option<EventSerial>, ReadError> {
        match self {
            Self::Current => {
                let key = (reader.room, event_type.to_owned(), state_key.to_owned());
                Ok(reader.view.get(&tables::STATE_BY_ROOM, &key)?)
            }
            Self::Past {
                change: Some((of, key, event)),
                ..
            } if of == event_type && key == state_key => Ok(Some(*event)),
            Self::Past { root, .. } => Ok(reader.maps().get(*root, event_type, state_key)?),
        }
    }

    /// The state keys of one type and their events.
    ///
    /// # Errors
    /// If the database fails.
    pub fn of_type<R: Read>(
        &self,
        reader: &EventReader<'_, R>,
        event_type: &str,
    ) -> Result<Vec<(String, EventSerial)>, ReadError> {
        let Self::Past { root, change } = self else {
            let prefix = (reader.room, event_type.to_owned());
            let rows = reader.view.scan(&tables::STATE_BY_ROOM, &prefix);
            let rows = rows.map(|row| row.map(|((_, _, key), event)| (key, event)));
            return Ok(rows.collect::<Result<_, _>>()?);
        };
        let mut state = reader.maps().of_type(*root, event_type)?;
        if let Some((of, state_key, event)) = change
            && of == event_type
        {
            state.retain(|(key, _)| key != state_key);
            state.push((state_key.clone(), *event));
        }
        Ok(state)
    }

    /// All of it: type, state key and event.
    ///
    /// # Errors
    /// If the database fails.
    pub fn all<R: Read>(
        &self,
        reader: &EventReader<'_, R>,
    ) -> Result<Vec<(String, String, EventSerial)>, ReadError> {
        let Self::Past { root, change } = self else {
            let rows = reader.view.scan(&tables::STATE_BY_ROOM, &(reader.room,));
            let rows = rows.map(|row| row.map(|((_, of, key), event)| (of, key, event)));
            return Ok(rows.collect::<Result<_, _>>()?);
        };
        let mut state = reader.maps().all(*root)?;
        if let Some((of, state_key, event)) = change {
            state.retain(|(other, key, _)| other != of || key != state_key);
            state.push((of.clone(), state_key.clone(), *event));
        }
        Ok(state)
    }
}

/// In which form a state event is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateFormat {
    /// The content alone.
    #[default]
    Content,
    /// The whole event.
    Event,
}

impl Rooms {
    /// The state that the viewer may see, each event as JSON: the current one for
    /// members, that of their leaving for those who have left.
    ///
    /// # Errors
    /// [`ReadError::Forbidden`] for those who were never in the room.
    pub fn state<R: Read>(
        &self,
        view: &R,
        room_id: &RoomId,
        viewer: Viewer,
    ) -> Result<Vec<String>, ReadError> {
        let reader = self.reader(view, room_id, viewer)?;
        let state = visible_state(&reader)?.all(&reader)?;
        let serials: Vec<EventSerial> = state.into_iter().map(|(_, _, serial)| serial).collect();
        let mut events = Vec::with_capacity(serials.len());
        for some in serials.chunks(STEP) {
            for event in reader.load_many(some)? {
                events.push(reader.listed_json(&event)?);
            }
        }
        Ok(events)
    }

    /// One state event that the viewer may see, or its content, as JSON.
    ///
    /// # Errors
    /// [`ReadError::Forbidden`] for those who were never in the room;
    /// [`ReadError::NotFound`] if there is no such state.
    pub fn state_event<R: Read>(
        &self,
        view: &R,
        room_id: &RoomId,
        viewer: Viewer,
        event_type: &str,
        state_key: &str,
        format: StateFormat,
    ) -> Result<String, ReadError> {
        let reader = self.reader(view, room_id, viewer)?;
        let serial = visible_state(&reader)?.get(&reader, event_type, state_key)?;
        let event = match serial {
            Some(serial) => reader.load(serial)?,
            None => None,
        };
        let event = event.ok_or_else(|| {
            ReadError::NotFound("the room has no state of this type and key".to_owned())
        })?;
        match format {
            StateFormat::Content => reader.content(&event),
            StateFormat::Event => reader.json(&event, true),
        }
    }
}

/// The state that the reader's viewer may see: of the present, or of when they left.
pub(crate) fn visible_state<R: Read>(reader: &EventReader<'_, R>) -> Result<StateAt, ReadError> {
    match Access::of(reader.view, reader.room, reader.viewer().user)? {
        Access::Joined(_) | Access::World => Ok(StateAt::Current),
        Access::Left(record) => match leaving(reader, &record)? {
            Some(event) => Ok(StateAt::after(&event)),
            None => Err(crate::visibility::not_in_the_room()),
        },
    }
}

/// The event by which the viewer last went out of the room, `record` being the viewer's
/// membership.
///
/// # Errors
/// If the database fails.
pub fn leaving<R: Read>(
    reader: &EventReader<'_, R>,
    record: &MembershipRecord,
) -> Result<Option<ClientEvent>, ReadError> {
    let at = (reader.room, Position(record.left_at));
    for row in reader.view.scan(&tables::CHANGE_BY_ROOM, &at) {
        let RoomChange::Event(change) = row?.1 else {
            continue;
        };
        if let Some(event) = reader.load(change.event)?
            && let StateAt::Past {
                change: Some((event_type, state_key, _)),
                ..
            } = StateAt::after(&event)
            && event_type == "m.room.member"
            && state_key == reader.viewer_id()
        {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

/// What somebody who is invited or knocks is shown of a room: stripped state as of the
/// `m.room.member` event that invited, with that event, each event as JSON.
///
/// # Errors
/// If the database fails.
pub fn stripped_state<R: Read>(
    reader: &EventReader<'_, R>,
    member: EventSerial,
) -> Result<Vec<String>, ReadError> {
    let Some(member) = reader.load(member)? else {
        return Ok(Vec::new());
    };
    // Where nobody of this server is, another one says what the room is.
    let key = (reader.viewer().user, reader.room);
    if let Some(record) = reader.view.get(&tables::MEMBERSHIP_BY_USER, &key)?
        && record.event == member.serial
        && let Some(outside) = outside_record(reader.view, key.0, key.1, &record)?
    {
        let mut events = outside.state;
        events.push(reader.stripped(&member)?);
        return Ok(events);
    }
    let state = StateAt::before(&member);
    let mut events = Vec::new();
    for event_type in STRIPPED {
        if let Some(serial) = state.get(reader, event_type, "")?
            && let Some(event) = reader.load(serial)?
        {
            events.push(reader.stripped(&event)?);
        }
    }
    let sender = member.sender();
    if sender != reader.viewer_id()
        && let Some(serial) = state.get(reader, "m.room.member", &sender)?
        && let Some(event) = reader.load(serial)?
    {
        events.push(reader.stripped(&event)?);
    }
    events.push(reader.stripped(&member)?);
    Ok(events)
}

/// The same for somebody of another server, who is shown whole events (server-server API,
/// "Inviting to a room"), as of now: the state, and the membership of the user who invites.
///
/// # Errors
/// If the database fails.
pub(crate) fn shown_outside<R: Read>(
    reader: &EventReader<'_, R>,
    inviter: &str,
) -> Result<Vec<String>, ReadError> {
    let mut events = Vec::new();
    let keys = STRIPPED.iter().map(|event_type| (*event_type, ""));
    for (event_type, state_key) in keys.chain([("m.room.member", inviter)]) {
        if let Some(serial) = StateAt::Current.get(reader, event_type, state_key)?
            && let Some(event) = reader.load(serial)?
        {
            let json = reader.shown(&event)?;
            events.push(String::from_utf8_lossy(&json).into_owned());
        }
    }
    Ok(events)
}
