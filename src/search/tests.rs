//! The index as a reader of the log: what was there before it, and what it does with it
//! after a crash.

use std::{sync::Arc, time::Duration};

use graph::{SigningKey, canonical};
use model::{
    EventSerial, SearchProgressRecord, intern_user,
    tables::{INDEXED_BY_EVENT, SEARCH_PROGRESS, WORD_BY_ROOM},
};
use rooms::{CreateRoom, EventFilter, NewEvent, Preset, Rooms, RoomsOptions, Sender};
use ruma_common::{OwnedRoomId, OwnedUserId, owned_server_name};
use runtime::{Clock, Random, Tasks, Timestamp};
use serde_json::json;
use store::{Read as _, Store, StoreError, StoreOptions};
use tempfile::TempDir;

use crate::{EventContext, Field, Found, Order, Question, Search};

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

    fn rows(&self) -> (usize, usize) {
        let view = self.store.snapshot();
        let words = view.scan(&WORD_BY_ROOM, &()).count();
        (words, view.scan(&INDEXED_BY_EVENT, &()).count())
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
    let (_, events) = house.rows();
    assert_eq!(events, 1_200);
}

#[tokio::test]
async fn an_index_of_older_rules_is_built_anew() {
    let house = House::new().await;
    house
        .say(["one text".to_owned(), "another".to_owned()].into_iter())
        .await;
    house.indexed().await;
    let before = house.rows();
    let old = SearchProgressRecord {
        version: 0,
        next: EventSerial(u64::MAX),
        end: EventSerial(0),
    };
    let spoil = house.store.commit(move |_, _, batch| {
        batch.put(&SEARCH_PROGRESS, &(), &old);
        batch.delete_prefix(&WORD_BY_ROOM, &());
        Ok::<_, StoreError>(())
    });
    spoil.await.unwrap();
    // The old index looks finished; what follows it is not yet of these rules.
    let tasks = Tasks::new();
    let search = house.search();
    let running = search.clone();
    tasks.spawn("search", |stop| running.run(stop));
    for _ in 0..500 {
        if house.rows() == before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(house.rows(), before);
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
