//! Events that two servers make together: one drafts a membership, the other one, whose user it is about, hashes and signs it, and some need the
//! signature of both (server-server API, "Joining Rooms", "Inviting to a room", "Leaving Rooms", "Knocking upon a room").

use ruma_common::{
    CanonicalJsonObject, EventId, OwnedEventId, OwnedUserId, RoomId, ServerName, UserId,
};
use ruma_signatures::KeyPair as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    AuthState, Draft, Event, MAX_AUTH_EVENTS, MAX_JSON_DEPTH, MAX_PREV_EVENTS, MAX_RECEIVED_BYTES,
    Parents, Reason, SigningKey, Version, authorise, canonical,
    draft::{check, finish, unsigned_object},
    event::Reference,
    json::{self, Json, JsonObject},
};

/// What stands for the id of an event that has none yet.
const NO_ID: &str = "$template";

/// The JSON of an event that a user of another server may send to a room as its state is, for that server to hash and sign.
///
/// # Errors
/// [`Reason::Forbidden`] with the rule that the event would break; otherwise as [`build`](crate::build).
pub fn template(
    version: Version,
    room_id: &RoomId,
    draft: Draft,
    parents: Parents,
    state: &AuthState,
) -> Result<String, Reason> {
    let auth_events = state.auth_events(version, &draft)?;
    check(version, Some(room_id), &draft, &parents, &auth_events)?;
    let object = unsigned_object(version, Some(room_id), draft, parents, &auth_events)?;
    let json = crate::canonical_text(&object)?;
    let no_id = EventId::parse(NO_ID).map_err(|error| Reason::BadFormat(error.to_string()))?;
    let event = Event::read(json, no_id, version, room_id.to_owned(), false)?;
    authorise(&event, state)?;
    Ok(event.json().to_owned())
}

/// A membership that another server has drafted for a user of this one.
#[derive(Debug, Clone)]
pub struct Template {
    /// Its place in the room's graph.
    pub parents: Parents,
    /// The events that shall allow it.
    pub auth_events: Vec<OwnedEventId>,
    /// What the other server wants it to say.
    pub content: CanonicalJsonObject,
}

#[derive(Deserialize)]
struct TemplateFields<'a> {
    #[serde(rename = "type")]
    event_type: String,
    room_id: String,
    sender: OwnedUserId,
    state_key: String,
    #[serde(default)]
    depth: u64,
    prev_events: Vec<Reference>,
    auth_events: Vec<Reference>,
    #[serde(borrow)]
    content: &'a RawValue,
}

impl Template {
    /// Reads a draft, which must be of a membership of `user_id` in this room, with the name of that membership.
    ///
    /// # Errors
    /// [`Reason::BadFormat`] or [`Reason::NotJson`] if it is anything else.
    pub fn read(
        bytes: &[u8],
        room_id: &RoomId,
        user_id: &UserId,
        membership: &str,
    ) -> Result<Self, Reason> {
        let wrong = |text: &str| Reason::BadFormat(format!("the draft of the event {text}"));
        if bytes.len() > MAX_RECEIVED_BYTES {
            return Err(wrong("is too large"));
        }
        let fields: TemplateFields<'_> =
            serde_json::from_slice(bytes).map_err(|error| wrong(&format!("is none: {error}")))?;
        let content = canonical(fields.content.get().as_bytes(), MAX_JSON_DEPTH)?;
        if fields.event_type != "m.room.member"
            || fields.room_id != room_id.as_str()
            || fields.sender != user_id
            || fields.state_key != user_id.as_str()
            || content.get("membership") != Some(&membership.to_owned().into())
        {
            return Err(wrong("is not of the membership that was asked for"));
        }
        let (prev, auth) = (fields.prev_events, fields.auth_events);
        if prev.is_empty() || prev.len() > MAX_PREV_EVENTS || auth.len() > MAX_AUTH_EVENTS {
            return Err(wrong("has no place in the room"));
        }
        Ok(Self {
            parents: Parents {
                prev_events: prev.into_iter().map(Into::into).collect(),
                depth: fields.depth,
            },
            auth_events: auth.into_iter().map(Into::into).collect(),
            content,
        })
    }
}

/// Makes a draft an event of this server for a room whose state this server does not know: as [`build`](crate::build), but nobody has
/// allowed it, and another server may have to sign it too before it is one of the room.
///
/// # Errors
/// As [`build`](crate::build), except that who authorises a join is not asked.
pub fn propose(
    version: Version,
    room_id: &RoomId,
    draft: Draft,
    parents: Parents,
    auth_events: &[OwnedEventId],
    key: &SigningKey,
    server_name: &ServerName,
) -> Result<Event, Reason> {
    check(version, Some(room_id), &draft, &parents, auth_events)?;
    if draft.sender.server_name() != server_name {
        return Err(Reason::BadFormat(format!(
            "{} is not a user of {server_name}",
            draft.sender
        )));
    }
    finish(
        version,
        Some(room_id),
        draft,
        parents,
        auth_events,
        key,
        server_name,
    )
}

/// Adds this server's signature to an event that another server has signed, and gives its JSON, without `unsigned`. Nothing of it is checked here:
/// by signing, this server lets it pass, so call it only for what has been checked already.
///
/// # Errors
/// [`Reason::NotJson`] or [`Reason::BadFormat`] if the bytes are no event's.
pub fn countersign(
    bytes: &[u8],
    version: Version,
    key: &SigningKey,
    server_name: &ServerName,
) -> Result<String, Reason> {
    let mut object = json::read(bytes, version)?;
    object.remove("unsigned");
    let kept = json::redacted(object.clone(), version)?;
    let signed = json::text_without(&kept, &["signatures"])?;
    let signature = key.pair().sign(signed.as_bytes()).base64();
    let entry = |object: &mut JsonObject, name: &str| -> Result<JsonObject, Reason> {
        match object.remove(name) {
            None => Ok(JsonObject::new()),
            Some(Json::Object(inner)) => Ok(inner),
            Some(_) => Err(Reason::BadFormat(
                "`signatures` must be an object of objects".to_owned(),
            )),
        }
    };
    let mut signatures = entry(&mut object, "signatures")?;
    let mut own = entry(&mut signatures, server_name.as_str())?;
    own.insert(key.key_id().to_owned(), Json::String(signature));
    signatures.insert(server_name.to_string(), Json::Object(own));
    object.insert("signatures".to_owned(), Json::Object(signatures));
    json::text_without(&object, &[])
}
