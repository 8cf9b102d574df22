//! Random histories, told in three ways: a client that synced all along, one that slid
//! along with windows that grow and answers that got lost, and clients that come at the
//! end hold the same rooms.

use std::collections::BTreeMap;

use accounts::Session;
use proptest::prelude::*;
use rooms::{CreateRoom, ReceiptKind};
use ruma_common::{OwnedEventId, OwnedRoomId, RoomId};
use runtime::Timestamp;
use serde_json::{Value, json};

use super::{
    client::{Client, Room},
    house::{House, sender},
    steps::{Slide, Step, step},
};

pub(super) const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];
pub(super) const ROOMS: usize = 4;
const ME: &str = "@alice:a.test";
/// The timeline of the last answers.
const TAIL: u64 = 20;

/// A history on its way.
struct Story {
    house: House,
    people: Vec<Session>,
    rooms: Vec<OwnedRoomId>,
    /// Everything that was sent, and where.
    events: Vec<(OwnedRoomId, OwnedEventId)>,
    lazy: bool,
    synced: Client,
    since: Option<String>,
    slid: Client,
    pos: Option<String>,
}

impl Story {
    async fn new(lazy: bool) -> Self {
        let house = House::new();
        let mut people = Vec::new();
        for name in PEOPLE {
            people.push(house.person(name).await);
        }
        Self {
            house,
            people,
            rooms: Vec::new(),
            events: Vec::new(),
            lazy,
            synced: Client::default(),
            since: None,
            slid: Client {
                lazy,
                ..Client::default()
            },
            pos: None,
        }
    }

    fn room(&self, number: usize) -> Option<OwnedRoomId> {
        self.rooms.get(number).cloned()
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Create { who, named } => self.create(who, named).await,
            Step::Sync => {
                let answer = self.v3(self.since.clone(), 10).await;
                self.since = answer["next_batch"].as_str().map(str::to_owned);
                self.synced.take_v3(&answer);
            }
            Step::Slide(slide) => self.slide(&slide).await,
            Step::Clock { time } => self.set_clock(time).await,
            Step::Redact { who, event } => {
                if let Some((room, event)) = self.event(event) {
                    let done = self.house.redact(&self.people[who], &room, &event).await;
                    self.note(&room, done.ok());
                }
            }
            Step::Read {
                who,
                event,
                private,
            } => {
                if let Some((room, event)) = self.event(event) {
                    let kind = match private {
                        true => ReceiptKind::ReadPrivate,
                        false => ReceiptKind::Read,
                    };
                    let _ = self
                        .house
                        .read(&self.people[who], &room, kind, &event)
                        .await;
                }
            }
            Step::Profile { who, name } => {
                let (who, name) = (&self.people[who], json!(format!("name {name}")));
                let accounts = &self.house.accounts;
                let changed = accounts
                    .set_profile_field(who.user, "displayname", &name)
                    .await;
                if changed.unwrap() {
                    self.house
                        .rooms
                        .profile_changed(&sender(who))
                        .await
                        .unwrap();
                }
            }
            Step::Direct { rooms } => {
                let rooms: Vec<_> = rooms
                    .into_iter()
                    .filter_map(|room| self.room(room))
                    .collect();
                let content = json!({ "@bob:a.test": rooms });
                self.house
                    .data(&self.people[0], None, "m.direct", content)
                    .await;
            }
            Step::Data { room, kind, value } => {
                let room = room.map(|room| self.room(room));
                if room != Some(None) {
                    let (kind, content) = (format!("test.{kind}"), json!({ "value": value }));
                    let room = room.flatten();
                    let me = &self.people[0];
                    self.house.data(me, room.as_deref(), &kind, content).await;
                }
            }
            other => self.act(other).await,
        }
    }

    /// Sets the clock, back or ahead. Nobody types then: how long somebody types is a matter of
    /// the clock.
    async fn set_clock(&mut self, time: u64) {
        for (who, room) in self
            .people
            .iter()
            .flat_map(|who| self.rooms.iter().map(move |room| (who, room)))
        {
            let _ = self
                .house
                .rooms
                .set_typing(&sender(who), room, false, None)
                .await;
        }
        self.house.clock.set(Timestamp(time));
    }

    async fn create(&mut self, who: usize, named: bool) {
        if self.rooms.len() == ROOMS {
            return;
        }
        let wish = CreateRoom {
            name: named.then(|| format!("room {}", self.rooms.len())),
            ..CreateRoom::default()
        };
        let room = self.house.room(&self.people[who], wish).await;
        self.rooms.push(room);
    }

    /// What somebody does in a room.
    async fn act(&mut self, step: Step) {
        let house = &self.house;
        let (who, room) = match step {
            Step::Say { who, room, .. }
            | Step::Name { who, room, .. }
            | Step::Topic { who, room, .. }
            | Step::Join { who, room }
            | Step::Leave { who, room }
            | Step::Invite { who, room, .. }
            | Step::Kick { who, room, .. }
            | Step::Ban { who, room, .. }
            | Step::Unban { who, room, .. }
            | Step::Type { who, room, .. } => (who, room),
            Step::Forget { room } => (0, room),
            _ => return,
        };
        let (Some(room), who) = (self.room(room), &self.people[who]) else {
            return;
        };
        let (rooms, by) = (&house.rooms, sender(who));
        let sent = match step {
            Step::Say { mention, .. } => {
                let mut content = json!({ "msgtype": "m.text", "body": "hello" });
                if mention {
                    content["m.mentions"] = json!({ "user_ids": [ME] });
                }
                house.send(who, &room, "m.room.message", content).await.ok()
            }
            Step::Name { name, .. } => {
                let name = name.map_or(String::new(), |name| format!("name {name}"));
                house
                    .set(who, &room, "m.room.name", json!({ "name": name }))
                    .await
                    .ok()
            }
            Step::Topic { topic, .. } => {
                let content = json!({ "topic": format!("topic {topic}") });
                house.set(who, &room, "m.room.topic", content).await.ok()
            }
            Step::Join { .. } => none(house.join(who, &room).await),
            Step::Leave { .. } => none(rooms.leave(&by, &room, None).await),
            Step::Forget { .. } => none(rooms.forget(&by, &room).await),
            Step::Invite { whom, .. } => none(rooms.invite(&by, &room, self.id(whom), None).await),
            Step::Kick { whom, .. } => none(rooms.kick(&by, &room, self.id(whom), None).await),
            Step::Ban { whom, .. } => none(rooms.ban(&by, &room, self.id(whom), None).await),
            Step::Unban { whom, .. } => none(rooms.unban(&by, &room, self.id(whom), None).await),
            Step::Type { types, .. } => none(rooms.set_typing(&by, &room, types, None).await),
            _ => None,
        };
        self.note(&room, sent);
    }

    fn id(&self, whom: usize) -> &ruma_common::UserId {
        &self.people[whom].user_id
    }

    fn note(&mut self, room: &RoomId, event: Option<OwnedEventId>) {
        self.events
            .extend(event.map(|event| (room.to_owned(), event)));
    }

    fn event(&self, number: usize) -> Option<(OwnedRoomId, OwnedEventId)> {
        let count = self.events.len();
        (count > 0).then(|| self.events[number % count].clone())
    }

    async fn v3(&self, since: Option<String>, limit: u64) -> Value {
        let filter = json!({ "room": { "timeline": { "limit": limit } } });
        self.house.v3(&self.people[0], since, filter).await
    }

    fn everything(&self) -> Value {
        match self.lazy {
            true => json!([
                ["*", "*"],
                ["m.room.member", "$LAZY"],
                ["m.room.member", "$ME"]
            ]),
            false => json!([["*", "*"]]),
        }
    }

    async fn slide(&mut self, slide: &Slide) {
        let required = match (slide.narrow, self.lazy) {
            (true, true) => json!([["m.room.member", "$LAZY"], ["m.room.member", "$ME"]]),
            (true, false) => json!([["m.room.name", ""], ["m.room.member", "$ME"]]),
            (false, _) => self.everything(),
        };
        let mut body = json!({
            "lists": { "some": {
                "ranges": [[0, slide.last]],
                "timeline_limit": slide.limit,
                "required_state": required,
            } },
            "extensions": extensions(),
        });
        if let Some(room) = slide.subscribed.and_then(|room| self.room(room)) {
            let wanted = json!({ "timeline_limit": 3, "required_state": [["m.room.topic", ""]] });
            body["room_subscriptions"] = json!({ room: wanted });
        }
        let answer = self
            .house
            .sliding(&self.people[0], self.pos.as_deref(), body)
            .await;
        if !slide.lost {
            self.took(&answer);
        }
    }

    fn took(&mut self, answer: &Value) {
        self.pos = answer["pos"].as_str().map(str::to_owned);
        self.slid.take_sliding(answer, ME);
    }

    /// All rooms with everything.
    async fn all(&self, pos: Option<&str>) -> Value {
        let body = json!({
            "lists": { "all": { "timeline_limit": TAIL, "required_state": self.everything() } },
            "extensions": extensions(),
        });
        self.house.sliding(&self.people[0], pos, body).await
    }

    /// Everybody syncs, others come new, and all hold the same.
    async fn end(mut self) {
        self.take(Step::Sync).await;
        let answer = self.all(self.pos.as_deref()).await;
        self.took(&answer);
        let more = self.all(self.pos.as_deref()).await;
        assert_eq!(more["rooms"], json!({}), "all was told");
        for extension in ["account_data", "receipts", "typing"] {
            assert!(more["extensions"].get(extension).is_none(), "{more}");
        }
        let mut new = Client::default();
        new.take_v3(&self.v3(None, TAIL).await);
        let mut new_slid = Client {
            lazy: self.lazy,
            ..Client::default()
        };
        let answer = self.all(None).await;
        assert_eq!(
            answer["lists"]["all"]["count"],
            object_len(&answer["rooms"])
        );
        new_slid.take_sliding(&answer, ME);
        for (what, client) in [
            ("synced", &self.synced),
            ("slid", &self.slid),
            ("new slid", &new_slid),
        ] {
            same(what, client, &new);
            for (room_id, room) in new_slid
                .rooms
                .iter()
                .filter(|(_, room)| room.name.is_none())
            {
                let (heroes, expected) = (&client.rooms[room_id].heroes, &room.heroes);
                assert_eq!(heroes, expected, "{what}: {room_id}: heroes");
            }
        }
        for (room_id, room) in &self.slid.rooms {
            same_sliding(room, &new_slid.rooms[room_id]);
        }
    }
}

fn none<T, E>(_: Result<T, E>) -> Option<OwnedEventId> {
    None
}

fn extensions() -> Value {
    let on = json!({ "enabled": true });
    json!({ "account_data": on, "receipts": on, "typing": on })
}

fn object_len(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}

/// That a client holds what one holds that came new by `/sync`.
fn same(what: &str, client: &Client, new: &Client) {
    assert_eq!(client.memberships(), new.memberships(), "{what}: rooms");
    assert_eq!(
        client.account_data, new.account_data,
        "{what}: account data"
    );
    for (room_id, expected) in &new.rooms {
        if expected.membership != "join" {
            continue;
        }
        let room = &client.rooms[room_id];
        let what = format!("{what}: {room_id}");
        assert_eq!(room.other_state(), expected.other_state(), "{what}: state");
        let (members, all) = (room.members(), expected.members());
        assert!(members.is_subset(&all), "{what}: {members:?} of {all:?}");
        assert!(
            client.lazy || members == all,
            "{what}: {members:?} are not {all:?}"
        );
        let own = |room: &Room| {
            room.state
                .get(&("m.room.member".to_owned(), ME.to_owned()))
                .cloned()
        };
        assert_eq!(own(room), own(expected), "{what}: own membership");
        let length = room.timeline.len().min(expected.timeline.len());
        let tail = |timeline: &[String]| timeline[timeline.len() - length..].to_vec();
        assert_eq!(
            tail(&room.timeline),
            tail(&expected.timeline),
            "{what}: timeline"
        );
        assert!(length > 0, "{what}: no timeline");
        let counts = |room: &Room| (room.joined, room.invited, room.unread);
        assert_eq!(counts(room), counts(expected), "{what}: counts");
        assert_eq!(
            client.data_of(room_id),
            new.data_of(room_id),
            "{what}: room data"
        );
        let typing = (client.typing_in(room_id), new.typing_in(room_id));
        assert_eq!(typing.0, typing.1, "{what}: typing");
        assert_eq!(
            room.receipts_of(ME),
            expected.receipts_of(ME),
            "{what}: own receipts"
        );
        for (key, event) in &room.receipts {
            assert_eq!(
                expected.receipts.get(key),
                Some(event),
                "{what}: receipt {key:?}"
            );
        }
    }
}

/// That two clients that slid hold the same of what only they are told.
fn same_sliding(room: &Room, new: &Room) {
    assert_eq!((&room.name, &room.avatar), (&new.name, &new.avatar));
    assert_eq!(room.is_direct, new.is_direct);
    if new.membership == "join" {
        assert_eq!(room.bump_stamp, new.bump_stamp);
        assert!(room.timeline.ends_with(&new.timeline), "{room:?} {new:?}");
    }
}

fn replay(steps: Vec<Step>, lazy: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut story = Story::new(lazy).await;
        // Two rooms at least, one of them with everybody.
        let beginning = [
            Step::Create {
                who: 1,
                named: false,
            },
            Step::Create {
                who: 0,
                named: true,
            },
            Step::Join { who: 0, room: 0 },
            Step::Join { who: 2, room: 0 },
        ];
        for step in beginning.into_iter().chain(steps) {
            story.take(step).await;
        }
        story.end().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_clients_hold_the_same_rooms(
        steps in proptest::collection::vec(step(), 1..80),
        lazy in any::<bool>(),
    ) {
        replay(steps, lazy);
    }
}

#[test]
fn who_comes_back_sees_who_types_now() {
    let types = |who| Step::Type {
        who,
        room: 0,
        types: true,
    };
    let slide = || {
        Step::Slide(Slide {
            last: 3,
            limit: 1,
            subscribed: None,
            narrow: false,
            lost: false,
        })
    };
    let (leave, join) = (
        Step::Leave { who: 0, room: 0 },
        Step::Join { who: 0, room: 0 },
    );
    for who in [0, 1] {
        for told in [vec![], vec![Step::Sync, slide()]] {
            let mut steps = vec![types(who), Step::Sync, slide(), leave.clone()];
            steps.extend(told);
            steps.push(join.clone());
            replay(steps, false);
        }
    }
}

#[test]
fn steps_happen() {
    // That the histories are not all refused: this one has a bit of everything.
    let mut seen = BTreeMap::new();
    let steps = vec![
        Step::Create {
            who: 1,
            named: false,
        },
        Step::Join { who: 0, room: 0 },
        Step::Slide(Slide {
            last: 3,
            limit: 1,
            subscribed: None,
            narrow: true,
            lost: false,
        }),
        Step::Say {
            who: 1,
            room: 0,
            mention: true,
        },
        Step::Name {
            who: 1,
            room: 0,
            name: Some(1),
        },
        Step::Read {
            who: 0,
            event: 0,
            private: true,
        },
        Step::Type {
            who: 1,
            room: 0,
            types: true,
        },
        Step::Direct { rooms: vec![0] },
    ];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut story = Story::new(false).await;
        for step in steps {
            story.take(step).await;
        }
        let answer = story.all(story.pos.as_deref()).await;
        story.took(&answer);
        seen.extend(std::mem::take(&mut story.slid.rooms));
    });
    let room = seen.values().next().unwrap();
    assert_eq!(room.membership, "join");
    assert_eq!(room.name.as_deref(), Some("name 1"));
    assert!(room.is_direct);
    assert_eq!(room.joined, 2);
    assert_eq!(room.receipts_of(ME).len(), 1);
    assert!(room.timeline.len() >= 5, "{room:?}");
    assert_eq!(room.members().len(), 2);
}
