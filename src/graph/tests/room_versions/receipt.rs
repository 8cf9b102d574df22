//! The rules for events of other servers: the events that they name as allowing them, and what only old rooms have.

use std::{collections::HashMap, sync::Arc};

use graph::{
    AuthEventsError, AuthState, Event, PowerLevels, Reason, Unchecked, Version,
    authorise_by_auth_events, authorise_by_state, redaction_applies,
};
use ruma_common::{OwnedEventId, OwnedRoomId};
use serde_json::{Value, json};

use crate::room::{ALICE, BOB, DAVE, believed};

/// A room of events that came from anywhere.
struct Received {
    version: Version,
    room_id: Option<OwnedRoomId>,
    events: HashMap<OwnedEventId, Arc<Event>>,
}

impl Received {
    /// A public room with Alice, who created it, and Bob.
    fn new(version: Version) -> (Self, Vec<OwnedEventId>) {
        let mut room = Self {
            version,
            room_id: None,
            events: HashMap::new(),
        };
        let create = if version.create_has_creator_field() {
            json!({"creator": ALICE})
        } else {
            json!({})
        };
        let create = room.add(ALICE, "m.room.create", Some(""), create, &[]);
        room.room_id = Some(room.events[&create].room_id().to_owned());
        let create = if version.room_id_is_create_event() {
            vec![]
        } else {
            vec![create]
        };
        let join = json!({"membership": "join"});
        let alice = room.add(ALICE, "m.room.member", Some(ALICE), join.clone(), &create);
        let of_alice = [create.clone(), vec![alice]].concat();
        let public = json!({"join_rule": "public"});
        let rules = room.add(ALICE, "m.room.join_rules", Some(""), public, &of_alice);
        let of_bob = [create.clone(), vec![rules]].concat();
        let bob = room.add(BOB, "m.room.member", Some(BOB), join, &of_bob);
        (room, [create, vec![bob]].concat())
    }

    fn event(
        &self,
        sender: &str,
        event_type: &str,
        key: Option<&str>,
        content: Value,
        auth_events: &[OwnedEventId],
    ) -> Event {
        let old = self.version.has_chosen_event_ids();
        let named = |id: &OwnedEventId| {
            if old {
                json!([id, {"sha256": ""}])
            } else {
                json!(id)
            }
        };
        let mut event = json!({
            "type": event_type, "sender": sender, "content": content, "depth": 5,
            "prev_events": [], "auth_events": auth_events.iter().map(named).collect::<Vec<_>>(),
            "origin_server_ts": 5, "hashes": {"sha256": ""}, "signatures": {},
        });
        if event_type != "m.room.create" {
            let before: OwnedEventId = "$before:a.example".try_into().unwrap();
            event["prev_events"] = json!([named(&before)]);
        }
        if let Some(key) = key {
            event["state_key"] = json!(key);
        }
        match &self.room_id {
            Some(room_id) => event["room_id"] = json!(room_id),
            None if self.version.room_id_is_create_event() => {}
            None => event["room_id"] = json!("!room:a.example"),
        }
        if old {
            event["event_id"] = json!(format!("${}:a.example", self.events.len()));
        }
        if event_type == "m.room.redaction" {
            event["redacts"] = event["content"]["redacts"].take();
        }
        let bytes = serde_json::to_vec(&event).unwrap();
        let unchecked = Unchecked::read(&bytes, self.version).unwrap();
        believed(&unchecked, self.version)
    }

    fn add(
        &mut self,
        sender: &str,
        event_type: &str,
        key: Option<&str>,
        content: Value,
        auth_events: &[OwnedEventId],
    ) -> OwnedEventId {
        let event = self.event(sender, event_type, key, content, auth_events);
        let event_id = event.event_id().to_owned();
        self.events.insert(event_id.clone(), Arc::new(event));
        event_id
    }

    fn allows(&self, event: &Event) -> Result<(), AuthEventsError> {
        authorise_by_auth_events(event, |id| self.events.get(id).cloned())
    }

    fn message(&self, auth_events: &[OwnedEventId]) -> Result<(), AuthEventsError> {
        self.allows(&self.event(BOB, "m.room.message", None, json!({}), auth_events))
    }
}

fn stored(event: &Event, rejected: bool) -> Event {
    Event::from_stored(
        event.json().into(),
        event.event_id().to_owned(),
        event.version(),
        event.room_id().to_owned(),
        rejected,
    )
    .unwrap()
}

fn rejected(result: Result<(), AuthEventsError>) -> bool {
    matches!(result, Err(AuthEventsError::Rejected(Reason::Forbidden(_))))
}

#[test]
fn events_name_exactly_what_allows_them() {
    for version in Version::KNOWN {
        let (mut room, good) = Received::new(version);
        room.message(&good).unwrap();

        let unknown = OwnedEventId::try_from("$unknown:a.example").unwrap();
        let missing = room.message(&[good.clone(), vec![unknown.clone()]].concat());
        assert_eq!(missing, Err(AuthEventsError::Missing(vec![unknown])));

        // Nothing that says that Bob is there.
        assert!(rejected(room.message(&good[..good.len() - 1])));
        // The same twice, and another of the same key.
        assert!(rejected(
            room.message(&[good.clone(), good.clone()].concat())
        ));
        let named = json!({"membership": "join", "displayname": "Bob"});
        let again = room.add(BOB, "m.room.member", Some(BOB), named, &good);
        assert!(rejected(
            room.message(&[good.clone(), vec![again]].concat())
        ));
        // What such an event does not need.
        let topic = room.add(ALICE, "m.room.topic", Some(""), json!({}), &good);
        assert!(rejected(
            room.message(&[good.clone(), vec![topic]].concat())
        ));
        let message = room.add(BOB, "m.room.message", None, json!({}), &good);
        assert!(rejected(
            room.message(&[good.clone(), vec![message]].concat())
        ));
        // No create event, or where nobody names it, one.
        let create = room
            .events
            .values()
            .find(|event| event.event_type() == "m.room.create");
        let create = create.unwrap().event_id().to_owned();
        if version.room_id_is_create_event() {
            assert!(rejected(
                room.message(&[good.clone(), vec![create]].concat())
            ));
        } else {
            assert!(rejected(room.message(&good[1..])));
        }
    }
}

#[test]
fn rejected_events_and_those_of_other_rooms_allow_nothing() {
    for version in Version::KNOWN {
        let (mut room, good) = Received::new(version);
        let bob = good.last().unwrap();
        let refused = stored(&room.events[bob], true);
        let accepted = room.events.insert(bob.clone(), Arc::new(refused)).unwrap();
        assert!(rejected(room.message(&good)));

        let elsewhere = Event::from_stored(
            accepted.json().into(),
            bob.clone(),
            version,
            OwnedRoomId::try_from("!other:a.example").unwrap(),
            false,
        );
        room.events
            .insert(bob.clone(), Arc::new(elsewhere.unwrap()));
        assert!(rejected(room.message(&good)));

        room.events.insert(bob.clone(), accepted);
        room.message(&good).unwrap();
        if version.room_id_is_create_event() {
            let create = room
                .events
                .values()
                .find(|event| event.event_type() == "m.room.create");
            let create = create.unwrap().clone();
            let refused = Arc::new(stored(&create, true));
            room.events.insert(create.event_id().to_owned(), refused);
            assert!(rejected(room.message(&good)));
            room.events.remove(create.event_id());
            let missing = AuthEventsError::Missing(vec![create.event_id().to_owned()]);
            assert_eq!(room.message(&good), Err(missing));
        }
    }
}

#[test]
fn before_version_6_each_server_may_tell_its_aliases() {
    for version in Version::KNOWN {
        let (room, good) = Received::new(version);
        let create = &good[..good.len() - 1];
        let content = json!({"aliases": ["#room:b.example"]});
        let aliases = |key, auth_events| {
            let event = room.event(DAVE, "m.room.aliases", key, content.clone(), auth_events);
            room.allows(&event).is_ok()
        };
        assert_eq!(
            aliases(Some("b.example"), create),
            version < Version::V6,
            "{version}"
        );
        assert!(!aliases(Some("a.example"), create));
        assert!(!aliases(None, create));
    }
}

#[test]
fn before_version_3_redactions_need_power_or_the_same_server() {
    for version in Version::KNOWN
        .into_iter()
        .filter(|version| *version < Version::V11)
    {
        let (mut room, good) = Received::new(version);
        let levels = json!({"users": {ALICE: 100}, "redact": 50});
        let levels = room.add(ALICE, "m.room.power_levels", Some(""), levels, &good);
        let good = [good, vec![levels]].concat();
        let redaction = |target: &str| {
            let content = json!({"redacts": target});
            let event = room.event(BOB, "m.room.redaction", None, content, &good);
            room.allows(&event).is_ok()
        };
        assert_eq!(
            redaction("$x:c.example"),
            version > Version::V2,
            "{version}"
        );
        assert!(redaction("$x:a.example"));
        let content = json!({"redacts": "$x:c.example"});
        let alice = room
            .events
            .values()
            .find(|event| event.is_state("m.room.member", ALICE));
        let alice = alice.unwrap().event_id().to_owned();
        let good = [good[0].clone(), alice, good[2].clone()];
        let event = room.event(ALICE, "m.room.redaction", None, content, &good);
        room.allows(&event).unwrap();
    }
}

#[test]
fn which_redactions_of_old_rooms_take_effect() {
    for version in [Version::V1, Version::V2] {
        let (room, good) = Received::new(version);
        let create = room.events[&good[0]].clone();
        let levels = PowerLevels::new(&create, None).unwrap();
        let text = |event: &Event, id: &str| event.json().replace("$4:a.example", id);
        let target = room.event(DAVE, "m.room.message", None, json!({}), &good);
        let content = json!({"redacts": target.event_id()});
        let redaction = room.event(BOB, "m.room.redaction", None, content, &good);
        // The ids are of one server, whoever sent the events.
        assert!(redaction_applies(&redaction, &target, &levels));
        let elsewhere = text(&target, "$4:c.example");
        let elsewhere = Unchecked::read(elsewhere.as_bytes(), version).unwrap();
        let elsewhere = believed(&elsewhere, version);
        let content = json!({"redacts": elsewhere.event_id()});
        for (sender, applies) in [(BOB, false), (ALICE, true)] {
            let redaction = room.event(sender, "m.room.redaction", None, content.clone(), &good);
            assert_eq!(redaction_applies(&redaction, &elsewhere, &levels), applies);
        }
    }
}

#[test]
fn levels_of_old_rooms_may_be_strings_and_fractions() {
    for version in Version::KNOWN {
        for (level, enough, in_versions) in [
            ("50", true, Version::V12),
            ("49", false, Version::V12),
            ("\" +0050 \"", true, Version::V9),
            ("\"49\"", false, Version::V9),
            ("50.57", true, Version::V5),
            ("49.99", false, Version::V5),
            ("5.1E1", true, Version::V5),
        ] {
            let (mut room, good) = Received::new(version);
            let levels = json!({"users": {BOB: "LEVEL"}, "state_default": 50});
            let levels = room.event(ALICE, "m.room.power_levels", Some(""), levels, &good);
            let text = levels.json().replace("\"LEVEL\"", level);
            if version > in_versions {
                // Refused for its form, or by the rule for power levels.
                let form = Unchecked::read(text.as_bytes(), version);
                let state: AuthState = room.events.values().cloned().collect();
                let allowed = form.is_ok_and(|event| {
                    let get = |event_type: &str, key: &str| state.get(event_type, key).cloned();
                    authorise_by_state(&believed(&event, version), get).is_ok()
                });
                assert!(!allowed, "{version} {level}");
                continue;
            }
            let levels = Unchecked::read(text.as_bytes(), version).unwrap();
            let levels = Arc::new(believed(&levels, version));
            let good = [good, vec![levels.event_id().to_owned()]].concat();
            room.events.insert(levels.event_id().to_owned(), levels);
            let topic = room.event(BOB, "m.room.topic", Some(""), json!({}), &good);
            assert_eq!(room.allows(&topic).is_ok(), enough, "{version} {level}");
        }
    }
}
