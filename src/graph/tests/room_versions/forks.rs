//! Rooms whose graph forks and meets again, made by chance: people who race each other, and some who cheat about the time and about what
//! allows them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    sync::Arc,
};

use graph::{
    AuthState, Conflict, Draft, Event, Link, Parents, ResolutionError, RoomGraph, SigningKey,
    Unchecked, Version, authorise_by_auth_events, authorise_by_state, build, canonical, generation,
    resolve, state_keys,
};
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId};
use serde_json::{Value, json};

const CREATOR: &str = "@alice:a.example";
const OTHERS: [&str; 4] = [
    "@bob:a.example",
    "@carol:b.example",
    "@dave:c.example",
    "@eve:b.example",
];
const BEGINNING: u64 = 1_700_000_000_000;
pub(crate) const ENOUGH: usize = 100_000;

/// Chance that can be repeated.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let spread = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(spread).unwrap() % limit
    }

    pub(crate) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

pub(crate) type State = BTreeMap<(String, String), OwnedEventId>;

/// What somebody does in a fork: milliseconds after the beginning, sender, type, state key, content.
pub(crate) type Step = (u64, &'static str, &'static str, &'static str, &'static str);

/// A place where forks meet.
pub(crate) struct Meeting {
    pub(crate) forks: Vec<State>,
    /// What this server makes of it.
    pub(crate) resolved: State,
}

/// A room with its whole graph.
pub(crate) struct Room {
    pub(crate) version: Version,
    pub(crate) id: OwnedRoomId,
    /// All events, each after those that it rests on.
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) meetings: Vec<Meeting>,
    by_id: HashMap<OwnedEventId, Arc<Event>>,
    generations: HashMap<OwnedEventId, u64>,
    key: SigningKey,
}

/// One line of events.
#[derive(Clone)]
struct Fork {
    state: State,
    /// The states that were, for those who cheat.
    past: Vec<State>,
    last: Vec<OwnedEventId>,
    depth: u64,
}

impl Room {
    /// A room in which some twenty to sixty events happen.
    pub(crate) fn by_chance(version: Version, chance: &mut Chance) -> Self {
        let (mut room, mut fork) = Self::created(version);
        room.begin(&mut fork, chance);
        for _ in 0..=chance.below(3) {
            let forks: Vec<Fork> = (0..2 + chance.below(3))
                .map(|_| {
                    let mut fork = fork.clone();
                    for _ in 0..1 + chance.below(8) {
                        room.happen(&mut fork, chance);
                    }
                    fork
                })
                .collect();
            fork = room.meet(forks);
        }
        room
    }

    /// A room in which Bob may do most things, Carol everything and Dave nothing, forks, and the forks meet.
    pub(crate) fn of_story(version: Version, forks: &[&[Step]]) -> Self {
        Self::of_crowded_story(version, 0, forks)
    }

    /// The same room with so many more people in it.
    pub(crate) fn of_crowded_story(version: Version, crowd: usize, forks: &[&[Step]]) -> Self {
        let (mut room, mut fork) = Self::created(version);
        let mut levels = json!({"users": {"@bob:a.example": 50, "@carol:b.example": 100}});
        if !version.creators_are_privileged() {
            levels["users"][CREATOR] = json!(100);
        }
        for (sender, event_type, key, content) in [
            (
                CREATOR,
                "m.room.member",
                CREATOR,
                json!({"membership": "join"}),
            ),
            (CREATOR, "m.room.power_levels", "", levels),
            (
                CREATOR,
                "m.room.join_rules",
                "",
                json!({"join_rule": "public"}),
            ),
            (
                "@bob:a.example",
                "m.room.member",
                "@bob:a.example",
                json!({"membership": "join"}),
            ),
            (
                "@carol:b.example",
                "m.room.member",
                "@carol:b.example",
                json!({"membership": "join"}),
            ),
            (CREATOR, "m.room.topic", "", json!({"topic": "before"})),
        ] {
            assert!(room.send(
                &mut fork, sender, event_type, key, content, BEGINNING, false
            ));
        }
        for number in 0..crowd {
            let user = format!("@user{number}:d.example");
            room.member(&mut fork, &user, &user, "join", BEGINNING);
        }
        let forks = forks
            .iter()
            .map(|steps| {
                let mut fork = fork.clone();
                for (later, sender, event_type, key, content) in *steps {
                    let content = serde_json::from_str(content).unwrap();
                    let time = BEGINNING + later;
                    let allowed =
                        room.send(&mut fork, sender, event_type, key, content, time, false);
                    assert!(allowed, "{sender} may not send {event_type} {key}");
                }
                fork
            })
            .collect();
        room.meet(forks);
        room
    }

    fn created(version: Version) -> (Self, Fork) {
        let mut content = canonical(b"{}", 1).unwrap();
        let creator = OwnedUserId::try_from(CREATOR).unwrap();
        version.complete_create_content(&mut content, &creator);
        let mut create = json!({
            "type": "m.room.create", "state_key": "", "sender": CREATOR, "content": content,
            "prev_events": [], "auth_events": [], "depth": 1, "origin_server_ts": BEGINNING,
            "hashes": {"sha256": ""}, "signatures": {},
        });
        if !version.room_id_is_create_event() {
            create["room_id"] = json!("!room:a.example");
        }
        if version.has_chosen_event_ids() {
            create["event_id"] = json!("$create:a.example");
        }
        let bytes = serde_json::to_vec(&create).unwrap();
        let create = Unchecked::read(&bytes, version).unwrap();
        let create = Event::from_stored(
            create.json().into(),
            create.event_id().to_owned(),
            version,
            create.room_id().to_owned(),
            false,
        );
        let create = Arc::new(create.unwrap());
        let mut room = Self {
            version,
            id: create.room_id().to_owned(),
            events: Vec::new(),
            meetings: Vec::new(),
            by_id: HashMap::new(),
            generations: HashMap::new(),
            key: SigningKey::generate([3; 32], "forks".to_owned()).unwrap(),
        };
        let mut fork = Fork {
            state: State::new(),
            past: vec![State::new()],
            last: Vec::new(),
            depth: 0,
        };
        room.add(&mut fork, create);
        (room, fork)
    }

    fn begin(&mut self, fork: &mut Fork, chance: &mut Chance) {
        self.member(fork, CREATOR, CREATOR, "join", BEGINNING + 1);
        let levels = self.levels(chance);
        if !chance.one_in(6) {
            self.send(
                fork,
                CREATOR,
                "m.room.power_levels",
                "",
                levels,
                BEGINNING + 2,
                false,
            );
        }
        let rule = json!({"join_rule": "public"});
        self.send(
            fork,
            CREATOR,
            "m.room.join_rules",
            "",
            rule,
            BEGINNING + 3,
            false,
        );
        for user in OTHERS {
            if chance.one_in(2) {
                self.member(fork, user, user, "join", BEGINNING + 4);
            }
        }
        for _ in 0..chance.below(8) {
            self.happen(fork, chance);
        }
    }

    /// Somebody does something, if the rules let them.
    fn happen(&mut self, fork: &mut Fork, chance: &mut Chance) {
        let sender = if chance.one_in(3) {
            CREATOR
        } else {
            chance.pick(&OTHERS)
        };
        let target = if chance.one_in(8) {
            CREATOR
        } else {
            chance.pick(&OTHERS)
        };
        let time = match chance.below(12) {
            0 => 0,
            1 => 4_000_000_000_000,
            some => BEGINNING + 10 + some as u64 / 3 * 1000,
        };
        let cheat = chance.one_in(5);
        match chance.below(12) {
            0 | 1 => {
                let topic = json!({"topic": chance.below(1000)});
                self.send(fork, sender, "m.room.topic", "", topic, time, cheat);
            }
            2 => {
                let key = chance.pick(&["one", "two", sender]);
                let value = json!({"value": chance.below(1000)});
                self.send(fork, sender, "org.example.thing", key, value, time, cheat);
            }
            3 | 4 => {
                let levels = self.levels(chance);
                self.send(fork, sender, "m.room.power_levels", "", levels, time, cheat);
            }
            5 => {
                let rules = ["public", "invite", "knock", "restricted"];
                let rule = json!({"join_rule": chance.pick(&rules)});
                self.send(fork, sender, "m.room.join_rules", "", rule, time, cheat);
            }
            6 | 7 => {
                let mut content = json!({"membership": "join", "displayname": chance.below(9)});
                if chance.one_in(4) {
                    content["membership"] = json!("knock");
                } else if sender.ends_with("a.example") && chance.one_in(2) {
                    content["join_authorised_via_users_server"] = json!(CREATOR);
                }
                self.send(fork, sender, "m.room.member", sender, content, time, cheat);
            }
            8 => self.member(fork, sender, target, "invite", time),
            9 => {
                let content = json!({"membership": "leave"});
                let target = chance.pick(&[sender, target]);
                self.send(fork, sender, "m.room.member", target, content, time, cheat);
            }
            _ => {
                let content = json!({"membership": "ban"});
                self.send(fork, sender, "m.room.member", target, content, time, cheat);
            }
        }
    }

    fn levels(&self, chance: &mut Chance) -> Value {
        let mut users = json!({});
        for user in OTHERS {
            let level = chance.pick(&[0, 50, 50, 99, 100]);
            users[user] = if self.version < Version::V10 && chance.one_in(4) {
                json!(format!(" {level}"))
            } else {
                json!(level)
            };
        }
        if !self.version.creators_are_privileged() {
            users[CREATOR] = json!(chance.pick(&[100, 100, 50]));
        }
        json!({
            "users": users,
            "users_default": chance.pick(&[0, 0, 50]),
            "state_default": chance.pick(&[0, 50]),
            "events": {"org.example.thing": chance.pick(&[0, 50]), "m.room.power_levels": 50},
            "ban": 50, "kick": 50, "invite": chance.pick(&[0, 50]),
        })
    }

    fn member(&mut self, fork: &mut Fork, sender: &str, target: &str, membership: &str, time: u64) {
        let content = json!({"membership": membership});
        self.send(fork, sender, "m.room.member", target, content, time, false);
    }

    /// Sends state and tells whether it is allowed. A cheat names what would have allowed it once.
    #[expect(clippy::too_many_arguments, reason = "the parts of an event")]
    fn send(
        &mut self,
        fork: &mut Fork,
        sender: &str,
        event_type: &str,
        state_key: &str,
        content: Value,
        origin_server_ts: u64,
        cheat: bool,
    ) -> bool {
        let draft = Draft {
            event_type: event_type.to_owned(),
            state_key: Some(state_key.to_owned()),
            content: canonical(&serde_json::to_vec(&content).unwrap(), 10).unwrap(),
            sender: OwnedUserId::try_from(sender).unwrap(),
            redacts: None,
            origin_server_ts,
            sticky: None,
        };
        let named = match fork.past.iter().rev().nth(3) {
            Some(past) if cheat => past,
            _ => &fork.state,
        };
        let state: AuthState = state_keys(self.version, &draft)
            .unwrap()
            .iter()
            .filter_map(|key| named.get(key))
            .map(|event_id| self.by_id[event_id].clone())
            .collect();
        let auth_events = state.auth_events(self.version, &draft).unwrap();
        let parents = Parents {
            prev_events: fork.last.clone(),
            depth: fork.depth + 1,
        };
        let server = draft.sender.server_name().to_owned();
        let event = build(
            self.version,
            Some(&self.id),
            draft,
            parents,
            &auth_events,
            &self.key,
            &server,
        );
        let event = event.unwrap();
        let of_state = |event_type: &str, state_key: &str| {
            let key = (event_type.to_owned(), state_key.to_owned());
            fork.state.get(&key).map(|id| self.by_id[id].clone())
        };
        let allowed = authorise_by_auth_events(&event, |id| self.by_id.get(id).cloned()).is_ok()
            && authorise_by_state(&event, of_state).is_ok();
        if allowed {
            self.add(fork, Arc::new(event));
        }
        allowed
    }

    fn add(&mut self, fork: &mut Fork, event: Arc<Event>) {
        let below = event.auth_events().iter().map(|id| self.generations[id]);
        let event_generation = generation(below);
        let event_id = event.event_id().to_owned();
        self.generations.insert(event_id.clone(), event_generation);
        if self.by_id.insert(event_id.clone(), event.clone()).is_none() {
            self.events.push(event.clone());
        }
        fork.depth = event.depth();
        fork.last = vec![event_id.clone()];
        let key = (
            event.event_type().to_owned(),
            event.state_key().unwrap().to_owned(),
        );
        fork.state.insert(key, event_id);
        fork.past.push(fork.state.clone());
    }

    fn meet(&mut self, forks: Vec<Fork>) -> Fork {
        let states: Vec<State> = forks.iter().map(|fork| fork.state.clone()).collect();
        let state = self.resolve(&states).unwrap();
        self.meetings.push(Meeting {
            forks: states,
            resolved: state.clone(),
        });
        let last: BTreeSet<OwnedEventId> = forks.iter().flat_map(|it| it.last.clone()).collect();
        Fork {
            past: vec![state.clone()],
            state,
            last: last.into_iter().collect(),
            depth: forks.iter().map(|fork| fork.depth).max().unwrap(),
        }
    }

    /// The whole state that these states resolve to.
    pub(crate) fn resolve(&self, states: &[State]) -> Result<State, ResolutionError<Infallible>> {
        let (conflicts, unconflicted) = differences(states);
        let view = View {
            room: self,
            unconflicted,
        };
        let resolved = resolve(self.version, &self.id, &conflicts, &view, ENOUGH)?;
        let mut state = view.unconflicted;
        for (key, event_id) in resolved {
            let before = state.insert(key, event_id);
            assert_eq!(before, None, "what all forks have must stay");
        }
        Ok(state)
    }

    pub(crate) fn event(&self, event_id: &EventId) -> &Arc<Event> {
        &self.by_id[event_id]
    }
}

/// What differs between states, and what does not.
pub(crate) fn differences(states: &[State]) -> (Vec<Conflict>, State) {
    let keys: BTreeSet<_> = states.iter().flat_map(BTreeMap::keys).collect();
    let mut conflicts = Vec::new();
    let mut unconflicted = State::new();
    for key in keys {
        let by_fork: Vec<_> = states.iter().map(|state| state.get(key).cloned()).collect();
        match &by_fork[..] {
            [Some(first), rest @ ..] if rest.iter().all(|other| other.as_ref() == Some(first)) => {
                unconflicted.insert(key.clone(), first.clone());
            }
            _ => conflicts.push(Conflict {
                event_type: key.0.clone(),
                state_key: key.1.clone(),
                by_fork,
            }),
        }
    }
    (conflicts, unconflicted)
}

/// A room as a resolution sees it.
pub(crate) struct View<'a> {
    pub(crate) room: &'a Room,
    pub(crate) unconflicted: State,
}

impl RoomGraph for View<'_> {
    type Error = Infallible;

    fn event(&self, event_id: &EventId) -> Result<Option<Arc<Event>>, Infallible> {
        Ok(self.room.by_id.get(event_id).cloned())
    }

    fn link(&self, event_id: &EventId) -> Result<Option<Link>, Infallible> {
        Ok(self.room.by_id.get(event_id).map(|event| Link {
            generation: self.room.generations[event_id],
            auth_events: event.auth_events().to_vec(),
        }))
    }

    fn unconflicted(
        &self,
        event_type: &str,
        key: &str,
    ) -> Result<Option<OwnedEventId>, Infallible> {
        let key = (event_type.to_owned(), key.to_owned());
        Ok(self.unconflicted.get(&key).cloned())
    }

    fn each_unconflicted(&self, visit: &mut dyn FnMut(&EventId) -> bool) -> Result<(), Infallible> {
        self.unconflicted.values().all(|event_id| visit(event_id));
        Ok(())
    }
}
