//! A room as tests need it: a straight line of events and the state after the last.

use std::{collections::HashMap, sync::Arc};

use graph::{
    AuthState, Draft, Event, Parents, PowerLevels, Reason, SigningKey, Unchecked, Version,
    authorise, build, canonical, state_keys,
};
use ruma_common::{CanonicalJsonObject, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId};
use serde_json::{Value, json};

pub(crate) const ALICE: &str = "@alice:a.example";
pub(crate) const BOB: &str = "@bob:a.example";
pub(crate) const CAROL: &str = "@carol:a.example";
pub(crate) const DAVE: &str = "@dave:b.example";

/// The versions in which rules changed enough to be told apart here.
pub(crate) const TELLING: [Version; 4] = [Version::V6, Version::V10, Version::V11, Version::V12];

pub(crate) fn object(value: Value) -> CanonicalJsonObject {
    canonical(&serde_json::to_vec(&value).unwrap(), 20).unwrap()
}

pub(crate) fn user(id: &str) -> OwnedUserId {
    OwnedUserId::try_from(id).unwrap()
}

pub(crate) fn key() -> SigningKey {
    SigningKey::generate([7; 32], "test".to_owned()).unwrap()
}

pub(crate) fn draft(
    sender: &str,
    event_type: &str,
    state_key: Option<&str>,
    content: Value,
) -> Draft {
    Draft {
        event_type: event_type.to_owned(),
        state_key: state_key.map(str::to_owned),
        content: object(content),
        sender: user(sender),
        redacts: None,
        origin_server_ts: 1_700_000_000_000,
        sticky: None,
    }
}

/// An event of another server as if it had been checked.
pub(crate) fn believed(unchecked: &Unchecked, version: Version) -> Event {
    let json = unchecked.json().into();
    let room_id = unchecked.room_id().to_owned();
    Event::from_stored(
        json,
        unchecked.event_id().to_owned(),
        version,
        room_id,
        false,
    )
    .unwrap()
}

pub(crate) struct Room {
    pub(crate) version: Version,
    pub(crate) id: Option<OwnedRoomId>,
    state: HashMap<(String, String), Arc<Event>>,
    last: Vec<OwnedEventId>,
    depth: u64,
}

impl Room {
    /// A room with nothing in it, not even a create event.
    pub(crate) fn empty(version: Version) -> Self {
        let id =
            (!version.room_id_is_create_event()).then(|| RoomId::parse("!room:a.example").unwrap());
        Self {
            version,
            id,
            state: HashMap::new(),
            last: Vec::new(),
            depth: 0,
        }
    }

    /// A room that Alice has created and joined.
    pub(crate) fn new(version: Version) -> Self {
        let mut room = Self::empty(version);
        room.create(json!({})).unwrap();
        room.set(ALICE, "m.room.member", ALICE, json!({"membership": "join"}))
            .unwrap();
        room
    }

    /// A room that Alice has created and anybody may join.
    pub(crate) fn public(version: Version) -> Self {
        let mut room = Self::new(version);
        room.join_rule("public");
        room
    }

    pub(crate) fn create(&mut self, content: Value) -> Result<Arc<Event>, Reason> {
        let mut draft = draft(ALICE, "m.room.create", Some(""), content);
        self.version
            .complete_create_content(&mut draft.content, &draft.sender);
        self.send(draft)
    }

    /// The place at the room's end, and the state that decides about a draft there.
    pub(crate) fn end(&self, draft: &Draft) -> (Parents, AuthState) {
        let keys = state_keys(self.version, draft).unwrap();
        let found = keys.iter().filter_map(|key| self.state.get(key).cloned());
        let parents = Parents {
            prev_events: self.last.clone(),
            depth: self.depth + 1,
        };
        (parents, found.collect())
    }

    pub(crate) fn send(&mut self, draft: Draft) -> Result<Arc<Event>, Reason> {
        let keys = state_keys(self.version, &draft)?;
        let state: AuthState = keys
            .iter()
            .filter_map(|key| self.state.get(key).cloned())
            .collect();
        let auth_events = state.auth_events(self.version, &draft)?;
        let parents = Parents {
            prev_events: self.last.clone(),
            depth: self.depth + 1,
        };
        let server = draft.sender.server_name().to_owned();
        let event = build(
            self.version,
            self.id.as_deref(),
            draft,
            parents,
            &auth_events,
            &key(),
            &server,
        )?;
        authorise(&event, &state)?;
        let event = Arc::new(event);
        self.id = Some(event.room_id().to_owned());
        self.last = vec![event.event_id().to_owned()];
        self.depth += 1;
        if let Some(state_key) = event.state_key() {
            self.state.insert(
                (event.event_type().to_owned(), state_key.to_owned()),
                event.clone(),
            );
        }
        Ok(event)
    }

    pub(crate) fn set(
        &mut self,
        sender: &str,
        event_type: &str,
        state_key: &str,
        content: Value,
    ) -> Result<Arc<Event>, Reason> {
        self.send(draft(sender, event_type, Some(state_key), content))
    }

    pub(crate) fn say(&mut self, sender: &str, text: &str) -> Result<Arc<Event>, Reason> {
        self.send(draft(
            sender,
            "m.room.message",
            None,
            json!({"msgtype": "m.text", "body": text}),
        ))
    }

    pub(crate) fn membership(
        &mut self,
        sender: &str,
        target: &str,
        membership: &str,
    ) -> Result<Arc<Event>, Reason> {
        self.set(
            sender,
            "m.room.member",
            target,
            json!({"membership": membership}),
        )
    }

    pub(crate) fn join(&mut self, who: &str) -> Result<Arc<Event>, Reason> {
        self.membership(who, who, "join")
    }

    pub(crate) fn join_rule(&mut self, rule: &str) {
        self.set(ALICE, "m.room.join_rules", "", json!({"join_rule": rule}))
            .unwrap();
    }

    /// Sets power levels; Alice has 100, unless she stands above all levels.
    pub(crate) fn levels(&mut self, mut content: Value) -> Result<Arc<Event>, Reason> {
        if !self.version.creators_are_privileged() {
            content["users"][ALICE] = json!(100);
        }
        self.set(ALICE, "m.room.power_levels", "", content)
    }

    pub(crate) fn power_levels(&self) -> PowerLevels {
        let state = |event_type: &str| self.state.get(&(event_type.to_owned(), String::new()));
        PowerLevels::new(
            state("m.room.create").unwrap(),
            state("m.room.power_levels").map(|event| &**event),
        )
        .unwrap()
    }
}

pub(crate) fn forbidden(result: Result<Arc<Event>, Reason>) -> bool {
    matches!(result, Err(Reason::Forbidden(_)))
}
