//! A list of 300 rooms, held by sliding sync while other people are busy in them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use harness::{PASSWORD, Server, User, find_event};
use matrix_sdk::ruma::events::StateEventType;
use matrix_sdk::ruma::{OwnedRoomId, RoomId};
use matrix_sdk::sliding_sync::{SlidingSync, SlidingSyncList, SlidingSyncMode};
use matrix_sdk::{Client, RoomState};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::device::{self, PATIENCE};

/// How many rooms each of the three people creates for the one who looks at the list.
const ROOMS_EACH: usize = 100;
/// How much each of them does while she looks.
const DEEDS_EACH: usize = 150;
/// How many rooms are spoken in at the end, one after another.
const LAST: usize = 20;

/// What a room list shows of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    is_invitation: bool,
    name: Option<String>,
    notifications: u64,
    highlights: u64,
    /// The newest event; none for an invitation.
    newest: Option<String>,
}

/// A client that holds its list of rooms by sliding sync.
struct List {
    client: Client,
    sliding: SlidingSync,
    syncing: JoinHandle<()>,
    _store: TempDir,
}

impl Drop for List {
    fn drop(&mut self) {
        self.syncing.abort();
    }
}

impl List {
    /// Signs in on a new device and begins to sync, with the newest rooms first and
    /// then more of them with each answer.
    async fn open(url: &str, person: &User) -> Self {
        let (client, store) = device::client(url).await;
        let signing_in = client
            .matrix_auth()
            .login_username(&person.user_id, PASSWORD);
        signing_in.send().await.expect("sign-in");
        client.event_cache().subscribe().expect("the event cache");
        let rooms = SlidingSyncList::builder("all_rooms")
            .sync_mode(SlidingSyncMode::new_growing(20))
            .timeline_limit(1)
            .required_state(vec![
                (StateEventType::RoomName, String::new()),
                (StateEventType::RoomEncryption, String::new()),
                (StateEventType::RoomCreate, String::new()),
                (StateEventType::RoomMember, "$ME".to_owned()),
                (StateEventType::RoomMember, "$LAZY".to_owned()),
            ]);
        let sliding = client.sliding_sync("rooms").expect("sliding sync");
        let sliding = sliding.with_all_extensions().add_list(rooms);
        let sliding = sliding.build().await.expect("sliding sync");
        let syncing = tokio::spawn({
            let sliding = sliding.clone();
            async move {
                let mut answers = pin!(sliding.sync());
                while let Some(answer) = answers.next().await {
                    answer.expect("an answer");
                }
            }
        });
        Self {
            client,
            sliding,
            syncing,
            _store: store,
        }
    }

    /// The list as a person sees it.
    async fn shown(&self) -> BTreeMap<OwnedRoomId, Shown> {
        let mut shown = BTreeMap::new();
        for room in self.client.rooms() {
            let is_invitation = room.state() == RoomState::Invited;
            if !is_invitation && room.state() != RoomState::Joined {
                continue;
            }
            let (cache, _handles) = room.event_cache().await.expect("the event cache");
            let events = cache.events().await.expect("the events");
            let newest = events.last().and_then(|event| event.event_id());
            let counts = room.unread_notification_counts();
            let room_shown = Shown {
                is_invitation,
                name: room.name(),
                notifications: counts.notification_count,
                highlights: counts.highlight_count,
                newest: newest.filter(|_| !is_invitation).map(String::from),
            };
            shown.insert(room.room_id().to_owned(), room_shown);
        }
        shown
    }

    /// Waits until the list is this one.
    async fn becomes(&self, what: &str, expected: &BTreeMap<OwnedRoomId, Shown>) {
        let deadline = Instant::now() + Duration::from_secs(PATIENCE);
        loop {
            let shown = self.shown().await;
            if shown == *expected {
                return;
            }
            assert!(!self.syncing.is_finished(), "{what}: the sync ended");
            if Instant::now() > deadline {
                let missing = expected
                    .iter()
                    .filter(|(id, room)| shown.get(*id) != Some(room));
                let differ: Vec<_> = missing.map(|(id, room)| (shown.get(id), room)).collect();
                let more: Vec<_> = shown
                    .keys()
                    .filter(|id| !expected.contains_key(*id))
                    .collect();
                panic!("{what}: shown and expected {differ:#?}, too many {more:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The rooms in the order in which a client shows them.
    fn order(&self) -> Vec<OwnedRoomId> {
        let listed = [RoomState::Joined, RoomState::Invited];
        let rooms = self.client.rooms();
        let rooms = rooms.iter().filter(|room| listed.contains(&room.state()));
        let stamp = |room: &matrix_sdk::Room| room.recency_stamp().map(u64::from);
        let mut rooms: Vec<_> = rooms.map(|room| (stamp(room), room.room_id())).collect();
        rooms.sort();
        let ids = rooms.into_iter().rev().map(|(_, id)| id.to_owned());
        ids.collect()
    }
}

/// Numbers that look like chance and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit
    }
}

/// A room, as the one knows it who owns it.
struct Owned {
    id: String,
    name: String,
    /// Whether Dora is in it; `None` while she is invited.
    has_dora: Option<bool>,
    /// The owner's newest message.
    said: String,
}

/// Somebody who owns rooms and is busy in them, and the others.
struct Busy<'a> {
    me: &'a User,
    friend: &'a User,
    dora: &'a User,
    rooms: Vec<Owned>,
}

impl Busy<'_> {
    async fn create(&mut self, name: String) {
        let options = json!({ "preset": "public_chat", "name": name });
        let id = self.me.create_room(options).await;
        let said = self.me.say(&id, "welcome").await;
        self.dora.join(&id).await;
        self.rooms.push(Owned {
            id,
            name,
            has_dora: Some(true),
            said,
        });
    }

    /// Something that people do, somewhere.
    async fn act(&mut self, dice: &mut Dice, number: usize) {
        let (me, friend, dora) = (self.me, self.friend, self.dora);
        let at = dice.below(self.rooms.len());
        let room = &mut self.rooms[at];
        match dice.below(16) {
            0..=4 => room.said = me.say(&room.id, "news").await,
            5 => {
                let content = json!({
                    "msgtype": "m.text",
                    "body": "Dora!",
                    "m.mentions": { "user_ids": [dora.user_id] },
                });
                room.said = me.send_event(&room.id, "m.room.message", content).await;
            }
            6 => {
                let edited = json!({ "msgtype": "m.text", "body": "better news" });
                let mut content = edited.clone();
                content["m.new_content"] = edited;
                content["m.relates_to"] = json!({ "rel_type": "m.replace", "event_id": room.said });
                me.send_event(&room.id, "m.room.message", content).await;
            }
            7 => {
                let relation =
                    json!({ "rel_type": "m.annotation", "event_id": room.said, "key": "👍" });
                let content = json!({ "m.relates_to": relation });
                me.try_send_event(&room.id, "m.reaction", content).await;
            }
            8 => {
                me.redact(&room.id, &room.said).await;
            }
            // An invitation is told once, as the room is by then.
            9 | 10 if room.has_dora.is_some() => {
                room.name = format!("renamed {number} by {}", me.localpart());
                let content = json!({ "name": room.name });
                me.set_state(&room.id, "m.room.name", "", content).await;
            }
            11 => {
                friend.join(&room.id).await;
                friend.say(&room.id, "I only look in").await;
                friend.leave(&room.id).await;
            }
            12 if room.has_dora == Some(true) => {
                let path = format!("v3/rooms/{}/receipt/m.read/{}", room.id, room.said);
                dora.post(path, json!({})).await.ok();
            }
            13 => match room.has_dora {
                Some(true) if number.is_multiple_of(2) => {
                    dora.leave(&room.id).await;
                    room.has_dora = Some(false);
                }
                Some(true) => {
                    me.act_on("kick", &room.id, dora).await.ok();
                    room.has_dora = Some(false);
                }
                Some(false) if number.is_multiple_of(2) => {
                    me.invite(&room.id, dora).await;
                    room.has_dora = None;
                }
                Some(false) | None => {
                    dora.join(&room.id).await;
                    room.has_dora = Some(true);
                }
            },
            14 | 15 => {
                let name = format!("new room {number} of {}", me.localpart());
                let mut options = json!({ "preset": "public_chat", "name": name });
                options["invite"] = json!([dora.user_id]);
                let id = me.create_room(options).await;
                let said = me.say(&id, "for those who are invited").await;
                self.rooms.push(Owned {
                    id,
                    name,
                    has_dora: None,
                    said,
                });
            }
            // What is not possible there now.
            _ => {}
        }
    }
}

/// The list as the owners of the rooms and the other way to sync tell it.
async fn expected(dora: &User, people: &[Busy<'_>]) -> BTreeMap<OwnedRoomId, Shown> {
    let filter = json!({ "room": { "timeline": { "limit": 1 } } });
    let synced = dora.sync_filtered(&filter, "").await;
    let mut expected = BTreeMap::new();
    for room in people.iter().flat_map(|person| &person.rooms) {
        let id = RoomId::parse(&room.id).expect("a room id");
        let joined = synced.joined(&room.id);
        let is_in = |list: &serde_json::Value| !list.is_null();
        assert_eq!(is_in(joined), room.has_dora == Some(true), "{}", room.id);
        let invited = synced.invited(&room.id);
        assert_eq!(is_in(invited), room.has_dora.is_none(), "{}", room.id);
        if room.has_dora == Some(false) {
            continue;
        }
        let count = |of: &str| joined["unread_notifications"][of].as_u64().unwrap_or(0);
        let newest = synced.timeline(&room.id).last();
        if let Some(stripped) = invited["invite_state"]["events"].as_array() {
            let told = find_event(stripped, "m.room.name").expect("a name");
            assert_eq!(told["content"]["name"], room.name.as_str());
        }
        let shown = Shown {
            is_invitation: room.has_dora.is_none(),
            name: Some(room.name.clone()),
            notifications: count("notification_count"),
            highlights: count("highlight_count"),
            newest: newest.and_then(|event| event["event_id"].as_str().map(str::to_owned)),
        };
        expected.insert(id, shown);
    }
    expected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_300_rooms_stays_right_while_people_are_busy() {
    let server = Server::start();
    let api = server.api();
    let dora = api.register_as("dora").await;
    let names = ["alice", "bob", "carol"];
    let users = join_all(names.map(|name| api.register_as(name))).await;
    let mut people: Vec<Busy<'_>> = Vec::new();
    for (number, me) in users.iter().enumerate() {
        people.push(Busy {
            me,
            friend: &users[(number + 1) % users.len()],
            dora: &dora,
            rooms: Vec::new(),
        });
    }
    join_all(people.iter_mut().map(async |person| {
        for number in 0..ROOMS_EACH {
            let name = format!("room {number} of {}", person.me.localpart());
            person.create(name).await;
        }
    }))
    .await;

    let list = List::open(&server.url(), &dora).await;
    join_all(people.iter_mut().enumerate().map(async |(seed, person)| {
        let mut dice = Dice(seed as u64);
        for number in 0..DEEDS_EACH {
            person.act(&mut dice, number).await;
            if number == DEEDS_EACH / 2 {
                // She opens a room.
                let opened = RoomId::parse(&person.rooms[seed].id).expect("a room id");
                list.sliding.subscribe_to_rooms(&[&opened], None, true);
            }
        }
    }))
    .await;
    let mut last = Vec::new();
    let mine = people.iter_mut().flat_map(|person| {
        let me = person.me;
        person.rooms.iter_mut().map(move |room| (me, room))
    });
    let joined = mine.filter(|(_, room)| room.has_dora == Some(true));
    for (me, room) in joined.step_by(3).take(LAST) {
        room.said = me.say(&room.id, "and so to bed").await;
        last.insert(0, RoomId::parse(&room.id).expect("a room id"));
    }

    let expected = expected(&dora, &people).await;
    assert!(expected.len() > 250, "{}", expected.len());
    list.becomes("the list that was held", &expected).await;
    assert_eq!(list.order()[..LAST], last);
    // A client that comes now sees the same.
    let fresh = List::open(&server.url(), &dora).await;
    fresh.becomes("the list of a new client", &expected).await;
    assert_eq!(fresh.order(), list.order());
}
