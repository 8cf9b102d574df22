//! What somebody who may come into a room is told of it (client-server API, "Room
//! Summary"), and who that is.

use graph::Version;
use model::{EventSerial, Membership, RoomSerial, UserSerial, tables};
use ruma_common::{RoomId, RoomOrAliasId, ServerName};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue};
use store::Read;

use crate::{
    MARKING, ReadError, Rooms, acl_allows,
    client_event::load_event,
    federates, is_server_in, resolve_alias,
    restricted::{Admission, JoinRules},
    room_record, room_serial,
};

/// A stored event, of which the content is wanted.
#[derive(Deserialize)]
struct Whole<T> {
    content: T,
}

/// The content of a current state event with an empty state key, or what its redaction
/// has left of it; none if there is none of this form.
///
/// # Errors
/// If the database fails.
pub(crate) fn current_content<T: DeserializeOwned>(
    view: &impl Read,
    room: RoomSerial,
    event_type: &str,
) -> Result<Option<T>, ReadError> {
    let key = (room, event_type.to_owned(), String::new());
    let Some(serial) = view.get(&tables::STATE_BY_ROOM, &key)? else {
        return Ok(None);
    };
    if view.contains(&tables::REDACTION_BY_EVENT, &serial)? {
        let event = load_event(view, serial)?;
        return Ok(graph::redact(&event)?.content_as().ok());
    }
    // Of most nothing but the content is needed.
    let stored = view.get(&tables::EVENT_BY_SERIAL, &serial)?;
    let whole = stored.and_then(|stored| serde_json::from_slice::<Whole<T>>(&stored.json).ok());
    Ok(whole.map(|whole| whole.content))
}

/// The state by which a room is known to those who are not in it.
const TOLD: [&str; 10] = [
    CREATE,
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.encryption",
    MARKING,
    HISTORY,
    GUESTS,
    JOIN_RULES,
];
const CREATE: &str = "m.room.create";
const HISTORY: &str = "m.room.history_visibility";
const GUESTS: &str = "m.room.guest_access";
const JOIN_RULES: &str = "m.room.join_rules";

/// That state of one room, read together, as redactions have left it.
pub(crate) struct Told {
    room: RoomSerial,
    version: Version,
    /// JSON, in the order of [`TOLD`].
    contents: Vec<Option<Box<RawValue>>>,
}

impl Told {
    /// Reads it.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) fn read(
        view: &impl Read,
        room: RoomSerial,
        version: Version,
    ) -> Result<Self, ReadError> {
        let key = |event_type: &str| (room, event_type.to_owned(), String::new());
        let serials = view.get_many(&tables::STATE_BY_ROOM, &TOLD.map(key))?;
        let known: Vec<EventSerial> = serials.iter().flatten().copied().collect();
        let stored = view.get_many(&tables::EVENT_BY_SERIAL, &known)?;
        let redactions = view.get_many(&tables::REDACTION_BY_EVENT, &known)?;
        let mut read = known.iter().zip(stored).zip(redactions);
        let mut contents = Vec::with_capacity(TOLD.len());
        for serial in serials {
            let Some(((serial, stored), redaction)) = serial.and_then(|_| read.next()) else {
                contents.push(None);
                continue;
            };
            contents.push(match (stored, redaction) {
                (_, Some(_)) => {
                    let left = graph::redact(&load_event(view, *serial)?)?;
                    Some(left.content().to_owned())
                }
                (Some(stored), None) => {
                    let whole = serde_json::from_slice::<Whole<Box<RawValue>>>(&stored.json);
                    whole.ok().map(|whole| whole.content)
                }
                (None, None) => None,
            });
        }
        Ok(Self {
            room,
            version,
            contents,
        })
    }

    fn content<'a, T: Deserialize<'a>>(&'a self, event_type: &str) -> Option<T> {
        let told = TOLD.iter().zip(&self.contents);
        let mut wanted = told.filter(|(told, _)| **told == event_type);
        let content = wanted.next()?.1.as_ref()?;
        serde_json::from_str(content.get()).ok()
    }

    /// A text in the content of state; none if it is empty.
    fn text(&self, event_type: &str, name: &str) -> Option<String> {
        let mut content: Map<String, Value> = self.content(event_type)?;
        match content.remove(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    fn join_rules(&self) -> Option<JoinRules> {
        self.content(JOIN_RULES)
    }

    fn is_world_readable(&self) -> bool {
        let rule = self.text(HISTORY, "history_visibility");
        rule.as_deref() == Some("world_readable")
    }

    fn guests_may_join(&self) -> bool {
        self.text(GUESTS, "guest_access").as_deref() == Some("can_join")
    }

    /// Whether the room is a space.
    pub(crate) fn is_space(&self) -> bool {
        self.text(CREATE, "type").as_deref() == Some("m.space")
    }

    /// Whether everybody may come in or ask to.
    fn is_open(&self, rules: &JoinRules) -> bool {
        match rules.join_rule.as_str() {
            "public" => true,
            "knock" => self.version.knows_knocking(),
            "knock_restricted" => self.version.knows_knock_restricted_joins(),
            _ => false,
        }
    }

    /// Whether `user` may learn what a room is: members, the invited, and all who may join
    /// it, knock at it or read it (client-server API, "Spaces").
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) fn is_accessible(
        &self,
        view: &impl Read,
        user: UserSerial,
    ) -> Result<bool, ReadError> {
        let record = view.get(&tables::MEMBERSHIP_BY_USER, &(user, self.room))?;
        let membership = record.map(|record| record.membership);
        if matches!(membership, Some(Membership::Join | Membership::Invite))
            || self.is_world_readable()
        {
            return Ok(true);
        }
        let Some(rules) = self
            .join_rules()
            .filter(|_| membership != Some(Membership::Ban))
        else {
            return Ok(false);
        };
        if self.is_open(&rules) || rules.join_rule == "knock_restricted" {
            return Ok(self.is_open(&rules));
        }
        Ok(rules.restricts(self.version) && rules.admits(view, Some(user))? == Admission::Granted)
    }

    /// The same for another server: whether somebody of it may.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) fn is_accessible_to_server(
        &self,
        view: &impl Read,
        server: &ServerName,
    ) -> Result<bool, ReadError> {
        if !federates(view, self.room)? || !acl_allows(view, self.room, server)? {
            return Ok(false);
        }
        if self.is_world_readable() || is_server_in(view, self.room, server.as_str())? {
            return Ok(true);
        }
        let Some(rules) = self.join_rules() else {
            return Ok(false);
        };
        if self.is_open(&rules) || !rules.restricts(self.version) {
            return Ok(self.is_open(&rules));
        }
        for room_id in rules.allowed_rooms() {
            if let Some(room) = room_serial(view, &room_id)?
                && is_server_in(view, room, server.as_str())?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The fields of a room's summary.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) fn summary(
        &self,
        view: &impl Read,
        room_id: &str,
    ) -> Result<Map<String, Value>, ReadError> {
        let mut fields = Map::new();
        for (name, event_type, key) in [
            ("name", "m.room.name", "name"),
            ("topic", "m.room.topic", "topic"),
            ("avatar_url", "m.room.avatar", "url"),
            ("canonical_alias", "m.room.canonical_alias", "alias"),
            ("room_type", CREATE, "type"),
            ("encryption", "m.room.encryption", "algorithm"),
            (MARKING, MARKING, "marking"),
        ] {
            if let Some(text) = self.text(event_type, key) {
                fields.insert(name.to_owned(), text.into());
            }
        }
        let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        set("room_id", room_id.into());
        set("room_version", self.version.as_str().into());
        let head = view.get(&tables::HEAD_BY_ROOM, &self.room)?;
        set("num_joined_members", head.unwrap_or_default().joined.into());
        set("world_readable", self.is_world_readable().into());
        set("guest_can_join", self.guests_may_join().into());
        if let Some(rules) = self.join_rules() {
            if rules.restricts(self.version) {
                let rooms: Vec<String> = rules.allowed_rooms().collect();
                set("allowed_room_ids", rooms.into());
            }
            set("join_rule", rules.join_rule.into());
        }
        Ok(fields)
    }
}

impl Rooms {
    /// What a room is and what `user` is in it, as JSON: `GET /room_summary`.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if there is no such room, or the user may not know of it.
    pub fn room_summary(
        &self,
        view: &impl Read,
        target: &RoomOrAliasId,
        user: UserSerial,
    ) -> Result<String, ReadError> {
        let unknown = || ReadError::NotFound(format!("{target} is not known here"));
        let room_id = match <&RoomId>::try_from(target) {
            Ok(room_id) => room_id.to_owned(),
            Err(alias) => resolve_alias(view, alias)?,
        };
        let room = room_serial(view, room_id.as_str())?.ok_or_else(unknown)?;
        if !view.contains(&tables::HEAD_BY_ROOM, &room)? {
            return Err(unknown());
        }
        let (_, version) = room_record(view, room)?;
        let told = Told::read(view, room, version)?;
        if !told.is_accessible(view, user)? {
            return Err(unknown());
        }
        let mut fields = told.summary(view, room_id.as_str())?;
        let record = view.get(&tables::MEMBERSHIP_BY_USER, &(user, room))?;
        let membership = record.map_or(Membership::Leave, |record| record.membership);
        fields.insert("membership".to_owned(), membership.name().into());
        Ok(Value::Object(fields).to_string())
    }
}
