//! Making an event of this server: from what shall be said to a hashed and signed [`Event`].

use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId,
    ServerName, UserId,
    canonical_json::CanonicalJsonObjectExt,
    serde::{Base64, base64::UrlSafe},
};
use ruma_signatures::{JsonError, hash_and_sign_event, reference_hash};
use sha2::{Digest as _, Sha256};

use crate::{Event, Reason, SigningKey, Version, canonical_text};

/// The largest event: 65,536 bytes of canonical JSON in the form that servers exchange, signatures included (client-server API, "Size
/// limits").
pub const MAX_EVENT_BYTES: usize = 65_536;

/// The longest `type` and `state_key`, in bytes. Ids have the same limit, which their types keep.
pub const MAX_KEY_BYTES: usize = 255;

/// The most events that an event may name as directly before it.
pub const MAX_PREV_EVENTS: usize = 20;

/// The most events that an event may name as allowing it.
pub const MAX_AUTH_EVENTS: usize = 10;

/// The greatest depth, 2^53 - 1. What comes after an event of this depth has it too: otherwise one event of a malicious server could end a room.
const MAX_DEPTH: u64 = (1 << 53) - 1;

/// What shall be said, before it has a place in the room's graph.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The event's type, at most [`MAX_KEY_BYTES`].
    pub event_type: String,
    /// The state key, at most [`MAX_KEY_BYTES`]; none for an event that is not state.
    pub state_key: Option<String>,
    /// The content, of [`canonical`](crate::canonical).
    pub content: CanonicalJsonObject,
    /// Who speaks: a user of this server.
    pub sender: OwnedUserId,
    /// The target of a redaction; [`build`] puts it where the room version wants it. None for every other event.
    pub redacts: Option<OwnedEventId>,
    /// The time, in milliseconds since the Unix epoch.
    pub origin_server_ts: u64,
    /// For how long the event is sticky, in milliseconds (MSC4354); none for most.
    pub sticky: Option<u64>,
}

/// The place of a new event in the room's graph.
#[derive(Debug, Clone)]
pub struct Parents {
    /// The events directly before the new one, at most [`MAX_PREV_EVENTS`]; none for a create event.
    pub prev_events: Vec<OwnedEventId>,
    /// The depth of the new event: one more than the greatest of `prev_events`; 1 for a create event.
    pub depth: u64,
}

/// Makes a draft an event: hashes and signs it and gives it its id.
///
/// `room_id` is none for a create event where the room id is made of it (since version 12), and given in every other case. `auth_events` are the ids
/// of the events that [`AuthState::auth_events`](crate::AuthState::auth_events) chooses. `server_name` is this server.
///
/// The event is well-formed, but nobody has allowed it yet: call [`authorise`](crate::authorise) before it is stored.
///
/// # Errors
/// - [`Reason::TooLarge`] if the type, the state key or the whole event is.
/// - [`Reason::BadFormat`] if the draft contradicts itself: a room id too many or too few, a create event that has parents, is no state, or names
///   another version in its content, a target of something that is no redaction, a time beyond 2^53 - 1, too many parents, another server's sender.
/// - [`Reason::Forbidden`] if a join claims to be authorised by a user of another server: that server would have to sign it.
pub fn build(
    version: Version,
    room_id: Option<&RoomId>,
    draft: Draft,
    parents: Parents,
    auth_events: &[OwnedEventId],
    key: &SigningKey,
    server_name: &ServerName,
) -> Result<Event, Reason> {
    check(version, room_id, &draft, &parents, auth_events)?;
    check_signers(version, &draft, server_name)?;
    finish(
        version,
        room_id,
        draft,
        parents,
        auth_events,
        key,
        server_name,
    )
}

/// Whether a draft is within the limits and does not contradict itself.
pub(crate) fn check(
    version: Version,
    room_id: Option<&RoomId>,
    draft: &Draft,
    parents: &Parents,
    auth_events: &[OwnedEventId],
) -> Result<(), Reason> {
    check_sizes(draft, parents, auth_events)?;
    check_create(version, room_id, draft, parents, auth_events)
}

/// Hashes and signs a checked draft.
pub(crate) fn finish(
    version: Version,
    room_id: Option<&RoomId>,
    draft: Draft,
    parents: Parents,
    auth_events: &[OwnedEventId],
    key: &SigningKey,
    server_name: &ServerName,
) -> Result<Event, Reason> {
    let mut object = unsigned_object(version, room_id, draft, parents, auth_events)?;
    let rules = version.rules();
    let chosen_id = if version.has_chosen_event_ids() {
        let event_id = chosen_id(&object, server_name)?;
        object.insert("event_id".to_owned(), event_id.as_str().into());
        Some(event_id)
    } else {
        None
    };
    hash_and_sign_event(
        server_name.as_str(),
        key.pair(),
        &mut object,
        &rules.redaction,
    )
    .map_err(json_reason)?;
    let json = canonical_text(&object)?;
    if json.len() > MAX_EVENT_BYTES {
        return Err(too_large("the event", MAX_EVENT_BYTES));
    }
    let hash = reference_hash(&object, rules).map_err(json_reason)?;
    let event_id = match chosen_id {
        Some(event_id) => event_id,
        None => id::<OwnedEventId>(format!("${hash}"))?,
    };
    let room_id = match room_id {
        Some(room_id) => room_id.to_owned(),
        None => id::<OwnedRoomId>(format!("!{hash}"))?,
    };
    Event::read(json, event_id, version, room_id, false)
}

/// The event without what signing adds.
pub(crate) fn unsigned_object(
    version: Version,
    room_id: Option<&RoomId>,
    draft: Draft,
    parents: Parents,
    auth_events: &[OwnedEventId],
) -> Result<CanonicalJsonObject, Reason> {
    let Draft {
        event_type,
        state_key,
        mut content,
        sender,
        redacts,
        origin_server_ts,
        sticky,
    } = draft;
    let mut object = CanonicalJsonObject::new();
    let mut set = |name: &str, value: CanonicalJsonValue| object.insert(name.to_owned(), value);
    if let Some(target) = redacts {
        let target = CanonicalJsonValue::String(target.into());
        if version.redacts_in_content() {
            content.insert("redacts".to_owned(), target);
        } else {
            set("redacts", target);
        }
    }
    if let Some(room_id) = room_id {
        set("room_id", room_id.as_str().into());
    }
    if let Some(state_key) = state_key {
        set("state_key", state_key.into());
    }
    set("type", event_type.into());
    set("sender", sender.as_str().into());
    set(
        "origin_server_ts",
        integer("origin_server_ts", origin_server_ts)?,
    );
    if let Some(duration) = sticky {
        let duration = integer("sticky", duration)?;
        let sticky = CanonicalJsonObject::from([("duration_ms".to_owned(), duration)]);
        set("msc4354_sticky", sticky.into());
    }
    set("depth", integer("depth", parents.depth.min(MAX_DEPTH))?);
    set("prev_events", ids(version, &parents.prev_events));
    set("auth_events", ids(version, auth_events));
    set("content", content.into());
    Ok(object)
}

fn check_sizes(
    draft: &Draft,
    parents: &Parents,
    auth_events: &[OwnedEventId],
) -> Result<(), Reason> {
    if draft.event_type.len() > MAX_KEY_BYTES {
        return Err(too_large("type", MAX_KEY_BYTES));
    }
    if draft
        .state_key
        .as_ref()
        .is_some_and(|key| key.len() > MAX_KEY_BYTES)
    {
        return Err(too_large("state_key", MAX_KEY_BYTES));
    }
    if parents.prev_events.len() > MAX_PREV_EVENTS {
        return Err(bad(format!(
            "an event has at most {MAX_PREV_EVENTS} prev_events"
        )));
    }
    if auth_events.len() > MAX_AUTH_EVENTS {
        return Err(bad(format!(
            "an event has at most {MAX_AUTH_EVENTS} auth_events"
        )));
    }
    if draft.redacts.is_some() && draft.event_type != "m.room.redaction" {
        return Err(bad(format!(
            "an event of type {:?} cannot redact another",
            draft.event_type
        )));
    }
    Ok(())
}

fn check_create(
    version: Version,
    room_id: Option<&RoomId>,
    draft: &Draft,
    parents: &Parents,
    auth_events: &[OwnedEventId],
) -> Result<(), Reason> {
    if draft.event_type != "m.room.create" {
        return match room_id {
            None => Err(bad("the event has no room_id".to_owned())),
            Some(_) if parents.prev_events.is_empty() => {
                Err(bad("only a create event has no prev_events".to_owned()))
            }
            Some(_) => Ok(()),
        };
    }
    if room_id.is_none() != version.room_id_is_create_event() {
        return Err(bad(format!(
            "in room version {version} this create event's room_id is missing or too many"
        )));
    }
    if draft.state_key.as_deref() != Some("") {
        return Err(bad(
            "a create event is state with an empty state_key".to_owned()
        ));
    }
    if !parents.prev_events.is_empty() || !auth_events.is_empty() {
        return Err(bad(
            "a create event stands at the beginning of its room".to_owned()
        ));
    }
    match draft.content.get("room_version") {
        Some(CanonicalJsonValue::String(name)) if name == version.as_str() => Ok(()),
        _ => Err(bad(format!(
            "the create event must name room version {version}"
        ))),
    }
}

/// Refuses what needs the signature of another server: this one could never give it.
fn check_signers(version: Version, draft: &Draft, server_name: &ServerName) -> Result<(), Reason> {
    if draft.sender.server_name() != server_name {
        return Err(bad(format!(
            "{} is not a user of {server_name}",
            draft.sender
        )));
    }
    if draft.event_type != "m.room.member" || !version.knows_restricted_joins() {
        return Ok(());
    }
    let field = "join_authorised_via_users_server";
    let authorised_by = draft
        .content
        .get_as_string(field, field)
        .map_err(|error| bad(error.to_string()))?
        .map(<&UserId>::try_from)
        .transpose()
        .map_err(|error| bad(format!("{field}: {error}")))?;
    match authorised_by {
        Some(user) if user.server_name() != server_name => Err(Reason::Forbidden(format!(
            "the membership lacks the signature of {user}'s server"
        ))),
        _ => Ok(()),
    }
}

/// The id that this server chooses for its event before version 3: one that no other event of it can have, because it follows from what the
/// event says.
fn chosen_id(
    object: &CanonicalJsonObject,
    server_name: &ServerName,
) -> Result<OwnedEventId, Reason> {
    let hash = Sha256::digest(canonical_text(object)?.as_bytes());
    let opaque = Base64::<UrlSafe, _>::new(&hash[..]).encode();
    id(format!("${opaque}:{server_name}"))
}

/// How an event names others in its version. The hashes that stood beside the ids before version 3 say nothing that anybody checks, so
/// they stay empty.
fn ids(version: Version, ids: &[OwnedEventId]) -> CanonicalJsonValue {
    let named = ids.iter().map(|id| {
        let id = CanonicalJsonValue::String(id.to_string());
        if version.has_chosen_event_ids() {
            let hashes = [("sha256".to_owned(), String::new().into())].into();
            CanonicalJsonValue::Array(vec![id, CanonicalJsonValue::Object(hashes)])
        } else {
            id
        }
    });
    CanonicalJsonValue::Array(named.collect())
}

fn integer(name: &str, value: u64) -> Result<CanonicalJsonValue, Reason> {
    let value = value
        .try_into()
        .map_err(|_| bad(format!("{name} is beyond 2^53 - 1")))?;
    Ok(CanonicalJsonValue::Integer(value))
}

fn id<T: TryFrom<String>>(text: String) -> Result<T, Reason>
where
    T::Error: std::fmt::Display,
{
    T::try_from(text).map_err(|error| bad(error.to_string()))
}

fn bad(text: String) -> Reason {
    Reason::BadFormat(text)
}

fn too_large(what: &'static str, limit: usize) -> Reason {
    Reason::TooLarge { what, limit }
}

/// The hash functions refuse what is larger than 65,535 bytes before the signatures (and, for one, the hash) are added. With them it would be
/// larger than [`MAX_EVENT_BYTES`], so nothing allowed is lost.
fn json_reason(error: JsonError) -> Reason {
    match error {
        JsonError::PduTooLarge => too_large("the event", MAX_EVENT_BYTES),
        other => bad(other.to_string()),
    }
}
