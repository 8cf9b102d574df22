//! What somebody who may come into a room is told of it (client-server API, "Room
//! Summary"), and who that is.

use graph::Version;
use model::{Membership, RoomSerial, UserSerial, tables};
use ruma_common::{RoomId, RoomOrAliasId, ServerName};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use store::Read;

use crate::{
    ReadError, Rooms, acl_allows,
    event::load_event,
    is_server_in, resolve_alias,
    restricted::{Admission, JoinRules},
    room_record, room_serial,
    visibility::is_world_readable,
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

/// The join rules of a room; none if it has none.
fn join_rules(view: &impl Read, room: RoomSerial) -> Result<Option<JoinRules>, ReadError> {
    current_content(view, room, "m.room.join_rules")
}

/// Whether `user` may learn what a room is: members, the invited, and all who may join
/// it, knock at it or read it (client-server API, "Spaces").
///
/// # Errors
/// If the database fails.
pub(crate) fn is_accessible(
    view: &impl Read,
    room: RoomSerial,
    version: Version,
    user: UserSerial,
) -> Result<bool, ReadError> {
    let record = view.get(&tables::MEMBERSHIP_BY_USER, &(user, room))?;
    let membership = record.map(|record| record.membership);
    if matches!(membership, Some(Membership::Join | Membership::Invite)) {
        return Ok(true);
    }
    if is_world_readable(view, room)? {
        return Ok(true);
    }
    let Some(rules) = join_rules(view, room)?.filter(|_| membership != Some(Membership::Ban))
    else {
        return Ok(false);
    };
    Ok(match rules.join_rule.as_str() {
        "public" => true,
        "knock" => version.knows_knocking(),
        "knock_restricted" => version.knows_knock_restricted_joins(),
        _ => rules.restricts(version) && rules.admits(view, Some(user))? == Admission::Granted,
    })
}

/// The same for another server: whether somebody of it may.
///
/// # Errors
/// If the database fails.
pub(crate) fn is_accessible_to_server(
    view: &impl Read,
    room: RoomSerial,
    version: Version,
    server: &ServerName,
) -> Result<bool, ReadError> {
    if !acl_allows(view, room, server)? {
        return Ok(false);
    }
    if is_world_readable(view, room)? || is_server_in(view, room, server.as_str())? {
        return Ok(true);
    }
    let Some(rules) = join_rules(view, room)? else {
        return Ok(false);
    };
    let is_open = match rules.join_rule.as_str() {
        "public" => true,
        "knock" => version.knows_knocking(),
        "knock_restricted" => version.knows_knock_restricted_joins(),
        _ => false,
    };
    if is_open || !rules.restricts(version) {
        return Ok(is_open);
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
    view: &impl Read,
    room: RoomSerial,
    room_id: &str,
    version: Version,
) -> Result<Map<String, Value>, ReadError> {
    let mut fields = Map::new();
    let mut text = |name: &str, event_type: &str, key: &str| -> Result<(), ReadError> {
        let content: Option<Map<String, Value>> = current_content(view, room, event_type)?;
        let value = content.and_then(|mut content| content.remove(key));
        if let Some(Value::String(value)) = value
            && !value.is_empty()
        {
            fields.insert(name.to_owned(), Value::String(value));
        }
        Ok(())
    };
    text("name", "m.room.name", "name")?;
    text("topic", "m.room.topic", "topic")?;
    text("avatar_url", "m.room.avatar", "url")?;
    text("canonical_alias", "m.room.canonical_alias", "alias")?;
    text("room_type", "m.room.create", "type")?;
    text("encryption", "m.room.encryption", "algorithm")?;
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("room_id", room_id.into());
    set("room_version", version.as_str().into());
    let head = view.get(&tables::HEAD_BY_ROOM, &room)?.unwrap_or_default();
    set("num_joined_members", head.joined.into());
    set("world_readable", is_world_readable(view, room)?.into());
    set("guest_can_join", guests_may_join(view, room)?.into());
    if let Some(rules) = join_rules(view, room)? {
        if rules.restricts(version) {
            let rooms: Vec<String> = rules.allowed_rooms().collect();
            set("allowed_room_ids", rooms.into());
        }
        set("join_rule", rules.join_rule.into());
    }
    Ok(fields)
}

fn guests_may_join(view: &impl Read, room: RoomSerial) -> Result<bool, ReadError> {
    #[derive(Deserialize)]
    struct Content {
        guest_access: String,
    }
    let content: Option<Content> = current_content(view, room, "m.room.guest_access")?;
    Ok(content.is_some_and(|content| content.guest_access == "can_join"))
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
        if !is_accessible(view, room, version, user)? {
            return Err(unknown());
        }
        let mut fields = summary(view, room, room_id.as_str(), version)?;
        let record = view.get(&tables::MEMBERSHIP_BY_USER, &(user, room))?;
        let membership = record.map_or(Membership::Leave, |record| record.membership);
        fields.insert("membership".to_owned(), membership.name().into());
        Ok(Value::Object(fields).to_string())
    }
}
