//! Events of other servers: from bytes to a checked [`Event`] (server-server API, "Checks performed on receipt of a PDU", steps 1 to 3).

use std::collections::BTreeMap;

use ruma_common::{
    AnyKeyName, EventId, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId,
    ServerName, SigningKeyId, UserId,
    serde::{
        Base64,
        base64::{Standard, UrlSafe},
    },
};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::{
    Event, MAX_AUTH_EVENTS, MAX_EVENT_BYTES, MAX_KEY_BYTES, MAX_PREV_EVENTS, Reason, Version,
    json::{self, Json, JsonObject},
};

/// The most bytes that are read as one event. Escapes, white space and `unsigned` are not of the event, so this is more than
/// [`MAX_EVENT_BYTES`]; characters take at most six times their bytes when escaped.
pub const MAX_RECEIVED_BYTES: usize = 6 * MAX_EVENT_BYTES;

/// The greatest depth before version 6, 2^63 - 1. Since then no number of an event is greater than 2^53 - 1.
const MAX_OLD_DEPTH: u64 = i64::MAX as u64;

/// An event as another server sent it: of the form that its room version demands, with an id, but nobody has vouched for it yet.
/// What it says of itself serves to decide what must be fetched before it can be checked.
#[derive(Debug)]
pub struct Unchecked {
    whole: Event,
    /// What is kept instead of the whole if its content hash is wrong.
    redacted: Option<Event>,
    signed_text: String,
    signatures: JsonObject,
    signers: Vec<OwnedServerName>,
}

/// Signatures that must be on an event, one valid one for each server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredSignature {
    /// Who must have signed.
    pub server: OwnedServerName,
    /// The keys with which the event claims to be signed. Knowing one is enough; those of unknown kinds are left out.
    pub key_ids: Vec<String>,
}

/// A server's public key, as far as this server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyKey {
    /// The key in base64, padded or not.
    pub public_key: String,
    /// The last moment at which events signed with it are to be believed, in milliseconds since the Unix epoch: for a current key the lesser of
    /// its `valid_until_ts` and seven days after it was fetched, for an old one its `expired_ts`.
    pub valid_until: u64,
}

/// An event that is vouched for.
#[derive(Debug)]
pub struct Received {
    /// The event. Whether its room's rules allow it is not known yet.
    pub event: Event,
    /// Whether the content was not what the sender had signed, so that only the redacted event is left.
    pub redacted: bool,
}

/// Why nobody vouches for an event.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// A server that must sign did not, or not with a kind of key that is known.
    #[error("the event is not signed by {server}")]
    NotSigned {
        /// Who should have signed.
        server: OwnedServerName,
    },
    /// None of the keys is known here. They must be fetched first.
    #[error("no key of {server} that signed the event is known")]
    UnknownKeys {
        /// Whose keys.
        server: OwnedServerName,
        /// Their ids.
        key_ids: Vec<String>,
    },
    /// The keys that are known were not valid any more when the event was made. Fetching them again may help.
    #[error("the keys of {server} that signed the event were valid until {valid_until} only")]
    ExpiredKeys {
        /// Whose keys.
        server: OwnedServerName,
        /// The latest end of their validity that is known.
        valid_until: u64,
    },
    /// A signature is wrong.
    #[error("the signature of {server} with {key_id} is wrong")]
    Invalid {
        /// Whose signature.
        server: OwnedServerName,
        /// The id of the key.
        key_id: String,
    },
}

impl Unchecked {
    /// Reads an event of a room of this version. `unsigned` is dropped: it is not the sender's, and does not count as size.
    ///
    /// # Errors
    /// - [`Reason::NotJson`] and [`Reason::BadFormat`] as of [`canonical`](crate::canonical), or if a field is missing, wrong or too long for
    ///   the room version. Before version 6 any JSON number is accepted where none is expected.
    /// - [`Reason::TooLarge`] if the event is larger than [`MAX_EVENT_BYTES`], or the bytes than [`MAX_RECEIVED_BYTES`].
    pub fn read(bytes: &[u8], version: Version) -> Result<Self, Reason> {
        if bytes.len() > MAX_RECEIVED_BYTES {
            return Err(too_large("the event", MAX_RECEIVED_BYTES));
        }
        let mut object = json::read(bytes, version)?;
        object.remove("unsigned");
        check_fields(&object, version)?;
        let text = json::text_without(&object, &[])?;
        if text.len() > MAX_EVENT_BYTES {
            return Err(too_large("the event", MAX_EVENT_BYTES));
        }

        let kept = json::redacted(object.clone(), version)?;
        let signed_text = json::text_without(&kept, &["signatures"])?;
        let hash = Sha256::digest(signed_text.as_bytes());
        let event_id = event_id(&object, version, &hash)?;
        let room_id = room_id(&object, version, &event_id)?;
        let mut signers = BTreeMap::new();
        add_signers(&object, version, &mut signers)?;
        let redacted = if has_content_hash(&object)? {
            None
        } else {
            // Redaction can take away what spares an invitation its sender's signature.
            add_signers(&kept, version, &mut signers)?;
            let text = json::text_without(&kept, &[])?;
            Some(read_event(text, &event_id, version, &room_id)?)
        };
        let signatures = match object.remove("signatures") {
            Some(Json::Object(signatures)) => signatures,
            _ => JsonObject::new(),
        };
        Ok(Self {
            whole: read_event(text, &event_id, version, &room_id)?,
            redacted,
            signed_text,
            signatures,
            signers: signers.into_keys().collect(),
        })
    }

    /// The event's id. It is the hash of what is signed, so it stands whether or not the rest is true; before version 3 it is only claimed.
    pub fn event_id(&self) -> &EventId {
        self.whole.event_id()
    }

    /// The room that the event claims to be in.
    pub fn room_id(&self) -> &RoomId {
        self.whole.room_id()
    }

    /// Who is said to have sent the event.
    pub fn sender(&self) -> &UserId {
        self.whole.sender()
    }

    /// The event's type.
    pub fn event_type(&self) -> &str {
        self.whole.event_type()
    }

    /// The state key; none for an event that is not state.
    pub fn state_key(&self) -> Option<&str> {
        self.whole.state_key()
    }

    /// The events directly before this one.
    pub fn prev_events(&self) -> &[OwnedEventId] {
        self.whole.prev_events()
    }

    /// The events that shall allow this one.
    pub fn auth_events(&self) -> &[OwnedEventId] {
        self.whole.auth_events()
    }

    /// When the event is said to have been made, in milliseconds since the Unix epoch.
    pub fn origin_server_ts(&self) -> u64 {
        self.whole.origin_server_ts()
    }

    /// Whether a key vouches for the event only if it was valid when the event was made.
    pub fn enforces_key_validity(&self) -> bool {
        self.whole.version().enforces_key_validity()
    }

    /// The event's JSON in the form that [`Event::json`] would have, if everything is as claimed.
    pub fn json(&self) -> &str {
        self.whole.json()
    }

    /// Which servers must have signed the event, and with which keys they claim to (server-server API, "Validating hashes and signatures on
    /// received events"): the sender's, except that anybody's server may send the invitation of a third party; in room versions 1 and 2
    /// the one that gave the id; since version 8 that of the user who authorised a join.
    pub fn required_signatures(&self) -> Vec<RequiredSignature> {
        self.signers
            .iter()
            .map(|server| RequiredSignature {
                server: server.clone(),
                key_ids: self
                    .signatures_of(server)
                    .map(|(key_id, _)| key_id.to_owned())
                    .collect(),
            })
            .collect()
    }

    /// Checks the event's signatures. `key` finds the key of a server by its id; the last argument is the time for which it shall be valid, in
    /// milliseconds since the Unix epoch.
    ///
    /// Of each server that must sign, every signature with a key that is known and was valid then must be right, and there must be one. Before
    /// version 5 how long a key is valid does not matter. If the content hash is wrong, what comes back is redacted.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn check(
        self,
        key: impl Fn(&ServerName, &str, u64) -> Option<VerifyKey>,
    ) -> Result<Received, SignatureError> {
        for server in &self.signers {
            self.check_server(server, &key)?;
        }
        Ok(match self.redacted {
            Some(event) => Received {
                event,
                redacted: true,
            },
            None => Received {
                event: self.whole,
                redacted: false,
            },
        })
    }

    /// The event though nobody vouches for it: for who keeps its place in the graph as a rejected one. It must come into no state, and
    /// nobody may be shown it.
    pub fn unvouched(self) -> Received {
        Received {
            redacted: self.redacted.is_some(),
            event: self.redacted.unwrap_or(self.whole),
        }
    }

    /// Checks the signatures of one server, whether or not it must sign, as [`Unchecked::check`] does; one that has not signed is an error.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn check_signature_of(
        &self,
        server: &OwnedServerName,
        key: impl Fn(&ServerName, &str, u64) -> Option<VerifyKey>,
    ) -> Result<(), SignatureError> {
        self.check_server(server, key)
    }

    /// The ids of the keys with which a server claims to have signed.
    pub fn keys_of(&self, server: &ServerName) -> Vec<String> {
        self.signatures_of(server)
            .map(|(key_id, _)| key_id.to_owned())
            .collect()
    }

    fn check_server(
        &self,
        server: &OwnedServerName,
        key: impl Fn(&ServerName, &str, u64) -> Option<VerifyKey>,
    ) -> Result<(), SignatureError> {
        let time = self.whole.origin_server_ts();
        let mut key_ids = Vec::new();
        let mut expired = None;
        let mut valid = false;
        for (key_id, signature) in self.signatures_of(server) {
            key_ids.push(key_id.to_owned());
            let Some(key) = key(server, key_id, time) else {
                continue;
            };
            if self.whole.version().enforces_key_validity() && key.valid_until < time {
                expired = expired.max(Some(key.valid_until));
                continue;
            }
            if !self.verifies(key_id, signature, &key.public_key) {
                return Err(SignatureError::Invalid {
                    server: server.clone(),
                    key_id: key_id.to_owned(),
                });
            }
            valid = true;
        }
        let server = server.clone();
        match (valid, expired) {
            (true, _) => Ok(()),
            (false, Some(valid_until)) => Err(SignatureError::ExpiredKeys {
                server,
                valid_until,
            }),
            (false, None) if key_ids.is_empty() => Err(SignatureError::NotSigned { server }),
            (false, None) => Err(SignatureError::UnknownKeys { server, key_ids }),
        }
    }

    /// A server's signatures with keys of the one kind that there is.
    fn signatures_of(&self, server: &ServerName) -> impl Iterator<Item = (&str, &str)> {
        self.signatures
            .get(server.as_str())
            .and_then(Json::as_object)
            .into_iter()
            .flatten()
            .filter(|(key_id, _)| key_id.starts_with("ed25519:"))
            .filter_map(|(key_id, signature)| Some((key_id.as_str(), signature.as_str()?)))
    }

    fn verifies(&self, key_id: &str, signature: &str, public_key: &str) -> bool {
        let Ok(key_id) = <&SigningKeyId<AnyKeyName>>::try_from(key_id) else {
            return false;
        };
        let (Ok(signature), Ok(public_key)) = (
            Base64::<Standard>::parse(signature),
            Base64::<Standard>::parse(public_key),
        ) else {
            return false;
        };
        crate::verify_bytes(
            &key_id.algorithm(),
            public_key.as_bytes(),
            signature.as_bytes(),
            self.signed_text.as_bytes(),
        )
        .is_ok()
    }
}

/// The form of an event in its room version (room versions, "Event format"; client-server API, "Size limits"), as far as reading the header does
/// not show it.
fn check_fields(object: &JsonObject, version: Version) -> Result<(), Reason> {
    let event_type = required_name(object, "type", version)?;
    required_key(object, "sender")?;
    if object.contains_key("state_key") {
        required_name(object, "state_key", version)?;
    }
    if version.has_chosen_event_ids() {
        required_key(object, "event_id")?;
    }
    if event_type != "m.room.create" || !version.room_id_is_create_event() {
        required_key(object, "room_id")?;
    }
    check_references(object, "prev_events", MAX_PREV_EVENTS, version)?;
    check_references(object, "auth_events", MAX_AUTH_EVENTS, version)?;
    required_object(object, "content")?;
    required_object(object, "hashes")?;
    for signatures in required_object(object, "signatures")?.values() {
        if signatures.as_object().is_none() {
            return Err(bad("`signatures` must be an object of objects"));
        }
    }
    match object.get("depth") {
        Some(Json::Number(depth)) if depth.parse::<u64>().is_ok_and(|it| it <= MAX_OLD_DEPTH) => {
            Ok(())
        }
        _ => Err(bad("`depth` must be a non-negative integer")),
    }
}

/// A type or a state key. The servers that most old rooms are on have counted characters
/// there, and a room with such an event would fall apart without it: bytes count since
/// version 11.
fn required_name<'a>(
    object: &'a JsonObject,
    field: &'static str,
    version: Version,
) -> Result<&'a str, Reason> {
    if version >= Version::V11 {
        return required_key(object, field);
    }
    let text = required_text(object, field)?;
    if text.chars().count() > MAX_KEY_BYTES {
        return Err(too_large(field, MAX_KEY_BYTES));
    }
    Ok(text)
}

fn required_text<'a>(object: &'a JsonObject, field: &str) -> Result<&'a str, Reason> {
    object
        .get(field)
        .and_then(Json::as_str)
        .ok_or_else(|| Reason::BadFormat(format!("`{field}` must be a string")))
}

fn required_key<'a>(object: &'a JsonObject, field: &'static str) -> Result<&'a str, Reason> {
    let text = required_text(object, field)?;
    if text.len() > MAX_KEY_BYTES {
        return Err(too_large(field, MAX_KEY_BYTES));
    }
    Ok(text)
}

fn required_object<'a>(object: &'a JsonObject, field: &str) -> Result<&'a JsonObject, Reason> {
    object
        .get(field)
        .and_then(Json::as_object)
        .ok_or_else(|| Reason::BadFormat(format!("`{field}` must be an object")))
}

/// Whether a field names events in the way of the version: by their ids, or before version 3 by pairs of id and hashes.
fn check_references(
    object: &JsonObject,
    field: &str,
    most: usize,
    version: Version,
) -> Result<(), Reason> {
    let wrong = || Reason::BadFormat(format!("`{field}` must be a list of at most {most} events"));
    let references = object
        .get(field)
        .and_then(Json::as_array)
        .ok_or_else(wrong)?;
    if references.len() > most {
        return Err(wrong());
    }
    for reference in references {
        let event_id = match reference.as_array() {
            Some([event_id, Json::Object(_)]) if version.has_chosen_event_ids() => event_id,
            None if !version.has_chosen_event_ids() => reference,
            _ => return Err(wrong()),
        };
        if event_id
            .as_str()
            .is_none_or(|text| text.len() > MAX_KEY_BYTES)
        {
            return Err(wrong());
        }
    }
    Ok(())
}

/// The event's id: the one that its server chose, or since version 3 its reference hash.
fn event_id(object: &JsonObject, version: Version, hash: &[u8]) -> Result<OwnedEventId, Reason> {
    let text = if version.has_chosen_event_ids() {
        required_key(object, "event_id")?.to_owned()
    } else if version == Version::V3 {
        format!("${}", Base64::<Standard, _>::new(hash).encode())
    } else {
        format!("${}", Base64::<UrlSafe, _>::new(hash).encode())
    };
    let event_id = OwnedEventId::try_from(text).map_err(bad)?;
    if version.has_chosen_event_ids() && event_id.server_name().is_none() {
        return Err(bad("`event_id` names no server"));
    }
    Ok(event_id)
}

fn room_id(
    object: &JsonObject,
    version: Version,
    event_id: &OwnedEventId,
) -> Result<OwnedRoomId, Reason> {
    let of_create = version.room_id_is_create_event();
    let room_id = match object.get("room_id").and_then(Json::as_str) {
        Some(room_id) => RoomId::parse(room_id).map_err(bad)?,
        // Only a create event may come here without one.
        None => {
            RoomId::parse(format!("!{}", event_id.as_str().trim_start_matches('$'))).map_err(bad)?
        }
    };
    let is_create = object.get("type").and_then(Json::as_str) == Some("m.room.create");
    if of_create && is_create && object.contains_key("room_id") {
        return Err(bad("a create event of this version has no `room_id`"));
    }
    if room_id.server_name().is_some() == of_create {
        return Err(bad("the `room_id` is not of this room version"));
    }
    Ok(room_id)
}

/// Whether the content is what the sender has hashed.
fn has_content_hash(object: &JsonObject) -> Result<bool, Reason> {
    let claimed = required_object(object, "hashes")?
        .get("sha256")
        .and_then(Json::as_str)
        .ok_or_else(|| bad("`hashes` must have a `sha256`"))?;
    let text = json::text_without(object, &["hashes", "signatures"])?;
    let hash = Sha256::digest(text.as_bytes());
    Ok(Base64::<Standard>::parse(claimed).is_ok_and(|claimed| claimed.as_bytes() == &hash[..]))
}

/// Adds the servers that must have signed an event.
fn add_signers(
    object: &JsonObject,
    version: Version,
    signers: &mut BTreeMap<OwnedServerName, ()>,
) -> Result<(), Reason> {
    let content = required_object(object, "content")?;
    let text = |field: &str| content.get(field).and_then(Json::as_str);
    let is_member = object.get("type").and_then(Json::as_str) == Some("m.room.member");
    let third_party = is_member
        && text("membership") == Some("invite")
        && content
            .get("third_party_invite")
            .is_some_and(|invite| invite.as_object().is_some());
    if !third_party {
        let sender = <&UserId>::try_from(required_key(object, "sender")?).map_err(bad)?;
        signers.insert(sender.server_name().to_owned(), ());
    }
    if version.has_chosen_event_ids() {
        let event_id = event_id(object, version, &[])?;
        let server = event_id.server_name().map(ToOwned::to_owned);
        signers.extend(server.map(|server| (server, ())));
    }
    let field = "join_authorised_via_users_server";
    if is_member && version.knows_restricted_joins() && content.contains_key(field) {
        let user = text(field).and_then(|user| OwnedUserId::try_from(user).ok());
        let user = user.ok_or_else(|| Reason::BadFormat(format!("`{field}` must be a user id")))?;
        signers.insert(user.server_name().to_owned(), ());
    }
    Ok(())
}

fn read_event(
    text: String,
    event_id: &OwnedEventId,
    version: Version,
    room_id: &OwnedRoomId,
) -> Result<Event, Reason> {
    let read = Event::read(text, event_id.clone(), version, room_id.clone(), false);
    read.map_err(|reason| match reason {
        Reason::Damaged(text) => Reason::BadFormat(text),
        other => other,
    })
}

fn bad(text: impl std::fmt::Display) -> Reason {
    Reason::BadFormat(text.to_string())
}

fn too_large(what: &'static str, limit: usize) -> Reason {
    Reason::TooLarge { what, limit }
}
