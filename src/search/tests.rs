//! The index as a reader of the log: what was there before it, and what it does with it
//! after a crash.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use graph::{SigningKey, canonical};
use model::{
    EventSerial, RoomSerial, SearchProgressRecord, intern_user,
    tables::{SEARCH_PROGRESS, WORD_BY_ROOM, WORD_PAGE_BY_ROOM},
};
use rooms::{CreateRoom, EventFilter, NewEvent, Preset, Rooms, RoomsOptions, Sender};
use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId, owned_server_name};
use runtime::{Clock, Random, Tasks, Timestamp};
use serde_json::{Value, json};
use store::{Read as _, Store, StoreError, StoreOptions};
use tempfile::TempDir;

use crate::{EventContext, Field, Found, Order, Question, Search, page, segments};

/// A server with one user in one room.
struct House {
    store: Store,
    rooms: Rooms,
    clock: Clock,
    alice: Sender,
    room_id: OwnedRoomId,
    _folder: TempDir,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp(1_700_000_000_000));
        let random = Random::seeded(7);
        let options = StoreOptions::default();
        let store = Store::open(folder.path(), "a.test", &options, &clock, &random).unwrap();
        let key = SigningKey::generate([7; 32], "a".to_owned()).unwrap();
        let rooms = Rooms::new(
            store.clone(),
            clock.clone(),
            random,
            owned_server_name!("a.test"),
            Arc::new(key),
            RoomsOptions::default(),
        );
        let user_id = OwnedUserId::try_from("@alice:a.test").unwrap();
        let (name, serial) = (user_id.to_string(), store.next_serial());
        let intern =
            store.commit(move |latest, _, batch| intern_user(latest, batch, &name, serial));
        let user = intern.await.unwrap();
        let alice = Sender {
            user_id,
            user,
            device: None,
            sent_at: None,
        };
        let wish = CreateRoom {
            preset: Some(Preset::PublicChat),
            ..CreateRoom::default()
        };
        let room_id = rooms.create(&alice, wish).await.unwrap();
        Self {
            store,
            rooms,
            clock,
            alice,
            room_id,
            _folder: folder,
        }
    }

    /// Says many things, many with each commit.
    async fn say(&self, texts: impl Iterator<Item = String>) {
        let view = self.store.snapshot();
        let room = rooms::room_serial(&view, self.room_id.as_str())
            .unwrap()
            .unwrap();
        drop(view);
        let texts: Vec<String> = texts.collect();
        for some in texts.chunks(100) {
            let events = some.iter().map(|text| {
                let content = json!({ "msgtype": "m.text", "body": text }).to_string();
                NewEvent::message(
                    "m.room.message",
                    canonical(content.as_bytes(), 100).unwrap(),
                )
            });
            let sent = self.rooms.append(room, &self.alice, events.collect()).await;
            sent.unwrap();
        }
    }

    async fn send(&self, content: Value) -> String {
        let content = content.to_string();
        let sent = self.rooms.send(
            &self.alice,
            &self.room_id,
            "m.room.message",
            "",
            content.as_bytes(),
        );
        sent.await.unwrap().to_string()
    }

    async fn edit(&self, event_id: &str, text: &str) -> String {
        self.send(json!({
            "msgtype": "m.text", "body": format!("* {text}"),
            "m.new_content": { "msgtype": "m.text", "body": text },
            "m.relates_to": { "rel_type": "m.replace", "event_id": event_id },
        }))
        .await
    }

    async fn redact(&self, event_id: &str) {
        let event_id = OwnedEventId::try_from(event_id).unwrap();
        let (rooms, alice) = (&self.rooms, &self.alice);
        let redacted = rooms.redact(alice, &self.room_id, &event_id, "", None);
        redacted.await.unwrap();
    }

    fn search(&self) -> Search {
        Search::new(self.store.clone(), self.rooms.clone(), self.clock.clone())
    }

    /// Lets the index follow until it has everything.
    async fn indexed(&self) -> Search {
        let (search, tasks) = (self.search(), Tasks::new());
        let running = search.clone();
        tasks.spawn("search", |stop| running.run(stop));
        for _ in 0..6_000 {
            let view = self.store.snapshot();
            let progress = view.get(&SEARCH_PROGRESS, &()).unwrap();
            if progress.is_some_and(|progress| progress.next >= progress.end) {
                search.catch_up().await;
                tasks.shutdown(Duration::from_secs(5)).await;
                return search;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the index did not come to an end");
    }

    async fn find(&self, search: &Search, term: &str, order: Order) -> Found {
        let question = Question {
            term: term.to_owned(),
            fields: vec![Field::Body],
            filter: EventFilter::default(),
            rooms: None,
            limit: Some(100),
            order,
            context: EventContext {
                before: 0,
                after: 0,
                profiles: false,
            },
            include_state: false,
            groups: Vec::new(),
            next_batch: None,
        };
        search.find(self.alice.viewer(), question).await.unwrap()
    }

    /// All words in the index, each as often as events have it.
    fn words(&self) -> BTreeMap<String, usize> {
        let view = self.store.snapshot();
        let mut words = BTreeMap::new();
        for row in view.scan(&WORD_PAGE_BY_ROOM, &()) {
            let ((_, segment, _, _), page) = row.unwrap();
            if segment > 0 {
                for (word, postings) in page::read(&page).unwrap() {
                    *words.entry(word).or_default() += postings.len();
                }
            }
        }
        words
    }

    fn segments(&self) -> usize {
        let view = self.store.snapshot();
        let room = rooms::room_serial(&view, self.room_id.as_str());
        segments::segments(&view, room.unwrap().unwrap())
            .unwrap()
            .len()
    }

    /// The ids of all that is found, the newest first.
    async fn ids(&self, search: &Search, term: &str) -> Vec<String> {
        let found = self.find(search, term, Order::Recent).await;
        found
            .results
            .into_iter()
            .map(|event| event.event_id)
            .collect()
    }
}

#[tokio::test]
async fn what_was_there_before_the_index_is_found() {
    let house = House::new().await;
    house
        .say((0..1_200).map(|number| format!("message {number} of many")))
        .await;
    let search = house.indexed().await;
    let found = house.find(&search, "1199 many", Order::Recent).await;
    assert_eq!(found.results.len(), 1);
    let found = house.find(&search, "many", Order::Rank).await;
    assert_eq!((found.count, found.results.len()), (1_200, 100));
    assert_eq!(house.words()["many"], 1_200);
}

#[tokio::test]
async fn an_index_of_older_rules_is_built_anew() {
    let house = House::new().await;
    house
        .say(["one text".to_owned(), "another".to_owned()].into_iter())
        .await;
    house.indexed().await;
    let before = house.words();
    let old = SearchProgressRecord {
        version: 0,
        next: EventSerial(u64::MAX),
        end: EventSerial(0),
    };
    let spoil = house.store.commit(move |_, _, batch| {
        batch.put(&SEARCH_PROGRESS, &(), &old);
        batch.delete_prefix(&WORD_PAGE_BY_ROOM, &());
        let row = (RoomSerial(1), "old".to_owned(), 1, EventSerial(1));
        batch.put(&WORD_BY_ROOM, &row, &Vec::new());
        Ok::<_, StoreError>(())
    });
    spoil.await.unwrap();
    // The old index looks finished; what follows it is not yet of these rules.
    let tasks = Tasks::new();
    let search = house.search();
    let running = search.clone();
    tasks.spawn("search", |stop| running.run(stop));
    for _ in 0..500 {
        if house.words() == before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(house.words(), before);
    let view = house.store.snapshot();
    assert_eq!(view.scan(&WORD_BY_ROOM, &()).count(), 0);
    drop(view);
    tasks.shutdown(Duration::from_secs(5)).await;
    assert_eq!(
        house
            .find(&search, "another", Order::Recent)
            .await
            .results
            .len(),
        1
    );
}

#[tokio::test]
async fn many_small_segments_become_few_and_lose_nothing() {
    let house = House::new().await;
    let (search, tasks) = (house.search(), Tasks::new());
    let running = search.clone();
    tasks.spawn("search", |stop| running.run(stop));
    // Each search makes the index take what there is: a segment each time.
    for number in 0..70 {
        let texts = ["both", "left", "right"].map(|word| format!("{word} {number}"));
        house.say(texts.into_iter()).await;
        let found = house
            .find(&search, &format!("both {number}"), Order::Recent)
            .await;
        assert_eq!(found.results.len(), 1, "{number}");
    }
    assert!(house.segments() < 16, "{}", house.segments());
    let words = house.words();
    assert_eq!((words["both"], words["69"], words["0"]), (70, 3, 3));
    let found = house.find(&search, "left", Order::Recent).await;
    assert_eq!((found.count, found.results.len()), (70, 70));
    let numbers = found.results.iter().map(|event| {
        let body = event.event.split("left ").nth(1).unwrap();
        body.split('"').next().unwrap().parse::<u32>().unwrap()
    });
    assert!(numbers.eq((0..70).rev()));
    tasks.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn words_that_were_taken_back_stand_nowhere() {
    let house = House::new().await;
    let (search, tasks) = (house.search(), Tasks::new());
    let running = search.clone();
    tasks.spawn("search", |stop| running.run(stop));
    // What is said before the index follows the log may be taken in twice.
    assert!(house.ids(&search, "dodo").await.is_empty());
    house
        .say((0..40).map(|number| format!("dodo {number}")))
        .await;
    let seventh = house.ids(&search, "dodo 7").await.remove(0);
    let edit = house.edit(&seventh, "dodo and quagga").await;
    assert_eq!(house.ids(&search, "quagga").await, [&*seventh]);
    house.redact(&edit).await;
    assert_eq!(house.ids(&search, "dodo 7").await, [&*seventh]);
    let words = house.words();
    assert_eq!((words["dodo"], words.get("quagga")), (40, None));
    house.edit(&seventh, "aurochs and dodo").await;
    assert_eq!(house.ids(&search, "aurochs").await, [&*seventh]);
    house.redact(&seventh).await;
    assert!(house.ids(&search, "aurochs").await.is_empty());
    let words = house.words();
    assert_eq!(
        (words["dodo"], words.get("7"), words.get("aurochs")),
        (39, None, None)
    );
    // Within one look at the log, too.
    let id = house
        .send(json!({ "msgtype": "m.text", "body": "a basilisk" }))
        .await;
    house.redact(&id).await;
    assert!(house.ids(&search, "basilisk").await.is_empty());
    assert_eq!(house.words().get("basilisk"), None);
    tasks.shutdown(Duration::from_secs(5)).await;
}
