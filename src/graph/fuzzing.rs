//! What the fuzz targets of `../../tests/fuzz` call: what is made of bytes from outside, and
//! what must hold of it. There in tests and in fuzzing only.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    AuthState, Conflict, Draft, Event, Link, MAX_EVENT_BYTES, MAX_JSON_DEPTH, Parents, PowerLevels,
    ResolutionError, Resolved, RoomGraph, SigningKey, Template, Unchecked, VerifyKey, Version,
    authorise, authorise_by_auth_events, authorise_by_state, build, canonical, canonical_text,
    countersign, generation, json, propose, redact, resolve, state_keys,
};

/// The server in whose name things are signed here.
const SERVER: &str = "a.example";
/// The room of the events here, before version 12.
const ROOM: &str = "!room:a.example";
/// The most events of one room that are looked at.
const MOST_EVENTS: usize = 64;

/// The room version that the first byte chooses, and the rest.
fn versioned(bytes: &[u8]) -> Option<(Version, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let version = Version::KNOWN[usize::from(*first) % Version::KNOWN.len()];
    Some((version, rest))
}

fn key() -> Option<SigningKey> {
    SigningKey::generate([7; 32], "fuzz".to_owned()).ok()
}

/// An event of another server.
pub fn event(bytes: &[u8]) {
    let Some((version, json)) = versioned(bytes) else {
        return;
    };
    let Ok(unchecked) = Unchecked::read(json, version) else {
        return;
    };
    let (id, room_id) = (
        unchecked.event_id().to_owned(),
        unchecked.room_id().to_owned(),
    );
    let text = unchecked.json().to_owned();
    assert!(text.len() <= MAX_EVENT_BYTES);
    // What is kept reads as what came.
    let again = Unchecked::read(text.as_bytes(), version);
    let again = again.map(|again| (again.event_id().to_owned(), again.json().to_owned()));
    assert_eq!(again, Ok((id.clone(), text.clone())));
    second_signature(&text, version, &id);
    let must_sign = !unchecked.required_signatures().is_empty();
    let zeros = "A".repeat(43);
    let checked = unchecked.check(|_, _, _| {
        Some(VerifyKey {
            public_key: zeros.clone(),
            valid_until: u64::MAX,
        })
    });
    // Nobody has the key of zeros.
    assert!(!must_sign || checked.is_err());
    let stored = Event::from_stored(text.as_str().into(), id.clone(), version, room_id, false);
    let Ok(event) = stored else {
        unreachable!("what was read cannot be stored: {text}");
    };
    let Ok(redacted) = redact(&event) else {
        return;
    };
    assert_eq!(redacted.event_id(), &*id);
    assert!(redacted.json().len() <= text.len());
    let twice = redact(&redacted).map(|twice| twice.json().to_owned());
    assert_eq!(twice.as_deref(), Ok(redacted.json()));
}

/// A signature that this server adds is one that others find.
fn second_signature(text: &str, version: Version, id: &EventId) {
    let Some(key) = key() else { return };
    let Ok(server) = ServerName::parse(SERVER) else {
        return;
    };
    let Ok(signed) = countersign(text.as_bytes(), version, &key, &server) else {
        return;
    };
    let Ok(signed) = Unchecked::read(signed.as_bytes(), version) else {
        // With it the event may be too large.
        return;
    };
    assert_eq!(signed.event_id(), id);
    let known = |_: &ServerName, key_id: &str, _: u64| {
        (key_id == key.key_id()).then(|| VerifyKey {
            public_key: key.public_base64(),
            valid_until: u64::MAX,
        })
    };
    assert_eq!(signed.check_signature_of(&server, known), Ok(()));
}

/// JSON that becomes part of an event.
pub fn canonical_json(bytes: &[u8]) {
    if let Ok(object) = canonical(bytes, MAX_JSON_DEPTH) {
        let text = canonical_text(&object).unwrap_or_default();
        assert_eq!(canonical(text.as_bytes(), MAX_JSON_DEPTH), Ok(object));
    }
    // The JSON of old rooms, with their numbers.
    let Ok(object) = json::read(bytes, Version::V1) else {
        return;
    };
    let Ok(text) = json::text_without(&object, &[]) else {
        return;
    };
    assert_eq!(json::read(text.as_bytes(), Version::V1), Ok(object));
    if let Some(levels) = json::with_whole_levels(&text, Version::V1) {
        assert!(json::with_whole_levels(&levels, Version::V1).is_none_or(|again| again == levels));
    }
}

/// The draft of a join, from another server.
pub fn join_template(bytes: &[u8]) {
    let Some((version, json)) = versioned(bytes) else {
        return;
    };
    let user = OwnedUserId::try_from("@alice:a.example");
    let (Ok(user), Ok(room), Some(key)) = (user, room_of(version), key()) else {
        return;
    };
    let Ok(template) = Template::read(json, &room, &user, "join") else {
        return;
    };
    let draft = Draft {
        event_type: "m.room.member".to_owned(),
        state_key: Some(user.to_string()),
        content: template.content,
        sender: user.clone(),
        redacts: None,
        origin_server_ts: 1,
        sticky: None,
    };
    let (parents, auth) = (template.parents, template.auth_events);
    let server = user.server_name();
    if let Ok(event) = propose(version, &room, draft, parents, &auth, &key, server) {
        let read = Unchecked::read(event.json().as_bytes(), version);
        let id = read.map(|read| read.event_id().to_owned());
        assert_eq!(id.as_deref(), Ok(event.event_id()));
    }
}

fn room_of(version: Version) -> Result<OwnedRoomId, ruma_common::IdParseError> {
    if version.room_id_is_create_event() {
        RoomId::parse("!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM")
    } else {
        RoomId::parse(ROOM)
    }
}

/// An event of a room as a seed has it; the rest follows from its place.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(rename = "type")]
    event_type: String,
    state_key: Option<String>,
    sender: OwnedUserId,
    #[serde(borrow)]
    content: &'a RawValue,
    /// Whether it is on the one fork or on the other; none before the fork.
    fork: Option<bool>,
}

/// A room of events that may be anything, decided by the rules, with two forks that meet.
pub fn authorisation(bytes: &[u8]) {
    let Some((version, json)) = versioned(bytes) else {
        return;
    };
    let Ok(sent) = serde_json::from_slice::<Vec<Sent<'_>>>(json) else {
        return;
    };
    let mut room = Room {
        version,
        id: (!version.room_id_is_create_event())
            .then(|| RoomId::parse(ROOM).ok())
            .flatten(),
        events: BTreeMap::new(),
        links: BTreeMap::new(),
        forks: Default::default(),
        ends: Default::default(),
    };
    for (number, sent) in sent.into_iter().take(MOST_EVENTS).enumerate() {
        room.send(number, sent);
    }
    room.meet();
}

type State = BTreeMap<(String, String), Arc<Event>>;

struct Room {
    version: Version,
    id: Option<OwnedRoomId>,
    events: BTreeMap<OwnedEventId, Arc<Event>>,
    links: BTreeMap<OwnedEventId, Link>,
    forks: [State; 2],
    ends: [Vec<OwnedEventId>; 2],
}

impl Room {
    fn send(&mut self, number: usize, sent: Sent<'_>) {
        let Ok(content) = canonical(sent.content.get().as_bytes(), MAX_JSON_DEPTH) else {
            return;
        };
        let mut draft = Draft {
            event_type: sent.event_type,
            state_key: sent.state_key,
            content,
            sender: sent.sender,
            redacts: None,
            origin_server_ts: number as u64,
            sticky: None,
        };
        if draft.event_type == "m.room.create" {
            self.version
                .complete_create_content(&mut draft.content, &draft.sender);
        }
        let fork = usize::from(sent.fork.unwrap_or(false));
        let Some(event) = self.made(number, draft, fork) else {
            return;
        };
        self.id.get_or_insert_with(|| event.room_id().to_owned());
        let below = event.auth_events().iter();
        let below = below.filter_map(|id| Some(self.links.get(id)?.generation));
        let link = Link {
            generation: generation(below),
            auth_events: event.auth_events().to_vec(),
        };
        let id = event.event_id().to_owned();
        self.links.insert(id.clone(), link);
        self.events.insert(id, event.clone());
        let forks = if sent.fork.is_some() {
            fork..fork + 1
        } else {
            0..2
        };
        for fork in forks {
            self.ends[fork] = vec![event.event_id().to_owned()];
            if let Some(state_key) = event.state_key() {
                let key = (event.event_type().to_owned(), state_key.to_owned());
                self.forks[fork].insert(key, event.clone());
            }
        }
    }

    /// The event, if the rules allow it there.
    fn made(&self, number: usize, draft: Draft, fork: usize) -> Option<Arc<Event>> {
        let state = &self.forks[fork];
        let keys = state_keys(self.version, &draft).ok()?;
        let found: AuthState = keys
            .iter()
            .filter_map(|key| state.get(key).cloned())
            .collect();
        let auth_events = found.auth_events(self.version, &draft).ok()?;
        let parents = Parents {
            prev_events: self.ends[fork].clone(),
            depth: number as u64 + 1,
        };
        let server = draft.sender.server_name().to_owned();
        let (version, room, key) = (self.version, self.id.as_deref(), key()?);
        let event = build(version, room, draft, parents, &auth_events, &key, &server).ok()?;
        let allowed = authorise(&event, &found).is_ok();
        // Asked in any other way, the rules say the same.
        let by_events = authorise_by_auth_events(&event, |id| self.events.get(id).cloned());
        let by_state = authorise_by_state(&event, |event_type, state_key| {
            let key = (event_type.to_owned(), state_key.to_owned());
            state.get(&key).cloned()
        });
        assert_eq!(
            allowed,
            by_events.is_ok(),
            "{by_events:?}: {}",
            event.json()
        );
        assert!(!allowed || by_state.is_ok(), "{by_state:?}");
        if let Some(create) = state.get(&("m.room.create".to_owned(), String::new())) {
            let levels = state.get(&("m.room.power_levels".to_owned(), String::new()));
            let levels = PowerLevels::new(create, levels.map(|levels| &**levels));
            assert!(levels.is_ok(), "the rules have let in {levels:?}");
        }
        allowed.then(|| Arc::new(event))
    }

    /// Resolves the two forks, in both orders.
    fn meet(&self) {
        let Some(room_id) = &self.id else { return };
        let resolved = |forks: [&State; 2]| -> Result<Resolved, ResolutionError<Infallible>> {
            let conflicts = conflicts(forks);
            resolve(self.version, room_id, &conflicts, self, 10_000)
        };
        let [one, other] = &self.forks;
        let result = resolved([one, other]);
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(result, resolved([other, one]));
    }
}

fn conflicts(forks: [&State; 2]) -> Vec<Conflict> {
    let keys: std::collections::BTreeSet<_> = forks.iter().flat_map(|state| state.keys()).collect();
    let conflict = |key: &(String, String)| Conflict {
        event_type: key.0.clone(),
        state_key: key.1.clone(),
        by_fork: forks
            .iter()
            .map(|state| Some(state.get(key)?.event_id().to_owned()))
            .collect(),
    };
    let all = keys.into_iter().map(conflict);
    all.filter(|conflict| conflict.by_fork[0] != conflict.by_fork[1])
        .collect()
}

impl RoomGraph for Room {
    type Error = Infallible;

    fn event(&self, event_id: &EventId) -> Result<Option<Arc<Event>>, Infallible> {
        Ok(self.events.get(event_id).cloned())
    }

    fn link(&self, event_id: &EventId) -> Result<Option<Link>, Infallible> {
        Ok(self.links.get(event_id).cloned())
    }

    fn unconflicted(
        &self,
        event_type: &str,
        key: &str,
    ) -> Result<Option<OwnedEventId>, Infallible> {
        let key = (event_type.to_owned(), key.to_owned());
        let [one, other] = &self.forks;
        let both = one.get(&key).zip(other.get(&key));
        let same = both.filter(|(one, other)| one.event_id() == other.event_id());
        Ok(same.map(|(one, _)| one.event_id().to_owned()))
    }

    fn each_unconflicted(&self, visit: &mut dyn FnMut(&EventId) -> bool) -> Result<(), Infallible> {
        for (key, event) in &self.forks[0] {
            let same = self.forks[1].get(key);
            if same.is_some_and(|same| same.event_id() == event.event_id())
                && !visit(event.event_id())
            {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::seeds::each;

    #[test]
    fn seeds() {
        each("event", super::event);
        each("canonical_json", super::canonical_json);
        each("join_template", super::join_template);
        each("authorisation", super::authorisation);
    }
}
