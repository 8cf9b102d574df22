//! Stories on a database of their own.

mod administered;
mod aliases;
mod backfill;
mod clocks;
mod concurrency;
mod creation;
mod delayed;
mod gaps;
mod handshakes;
mod invited;
mod lists;
mod memberships;
mod partial;
mod people;
mod reading;
mod receipts;
mod receiving;
mod relations;
mod remembering;
mod remote_users;
mod ruled;
mod sending;
mod servers;
mod sides;
mod spaces;
mod state_maps;
mod threads;
mod transactions;
mod unread;
mod upgrades;
mod visibility;

use std::{collections::HashMap, sync::Arc};

use graph::{SigningKey, canonical};
use model::{DeviceSerial, intern_user};
use ruma_common::{
    CanonicalJsonObject, OwnedEventId, OwnedRoomId, OwnedUserId, api::Direction, owned_server_name,
};
use runtime::{Clock, Random, Timestamp};
use serde_json::{Value, json};
use store::{Store, StoreOptions};
use tempfile::TempDir;

use crate::{
    AppendError, ContextRequest, CreateRoom, EventFilter, NewEvent, Page, PageRequest, PlaceToken,
    Preset, Rooms, RoomsOptions, Sender,
};

/// A server with people, and one room that they tell stories about.
struct TestRoom {
    rooms: Rooms,
    clock: Clock,
    people: HashMap<String, Sender>,
    room_id: OwnedRoomId,
    // Holds the database.
    _folder: TempDir,
}

fn content(value: Value) -> CanonicalJsonObject {
    canonical(value.to_string().as_bytes(), 100).unwrap()
}

fn state(event_type: &str, state_key: &str, value: Value) -> NewEvent {
    NewEvent::state(event_type, state_key, content(value))
}

fn id(name: &str) -> OwnedUserId {
    OwnedUserId::try_from(format!("@{name}:cairn.test")).unwrap()
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn is_forbidden<T>(result: Result<T, AppendError>) -> bool {
    matches!(
        result,
        Err(AppendError::Forbidden(_) | AppendError::Refused(graph::Reason::Forbidden(_)))
    )
}

fn rooms(store: Store, clock: &Clock, random: Random) -> Rooms {
    rooms_with(store, clock, random, RoomsOptions::default())
}

fn rooms_with(store: Store, clock: &Clock, random: Random, options: RoomsOptions) -> Rooms {
    let key = SigningKey::generate([7; 32], "a".to_owned()).unwrap();
    Rooms::new(
        store,
        clock.clone(),
        random,
        owned_server_name!("cairn.test"),
        Arc::new(key),
        options,
    )
}

/// Whatever a test has done, the lists of rooms say what the other tables say.
impl Drop for TestRoom {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            lists::check(&self.rooms.store().snapshot());
        }
    }
}

impl TestRoom {
    /// A server with these people and no room.
    async fn server<const N: usize>(names: [&str; N]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp(1_700_000_000_000));
        let random = Random::seeded(7);
        let store = Store::open(
            folder.path(),
            "cairn.test",
            &StoreOptions::default(),
            &clock,
            &random,
        )
        .unwrap();
        let mut server = Self {
            rooms: rooms(store, &clock, random),
            clock,
            people: HashMap::new(),
            room_id: OwnedRoomId::try_from("!none:cairn.test").unwrap(),
            _folder: folder,
        };
        for name in names {
            server.arrive(name).await;
        }
        server
    }

    /// The same database with nothing in memory, as after a restart.
    fn restart(&mut self) {
        let store = self.rooms.store().clone();
        self.rooms = rooms(store, &self.clock, Random::seeded(8));
    }

    /// The same database under another configuration.
    fn configure(&mut self, options: RoomsOptions) {
        let store = self.rooms.store().clone();
        self.rooms = rooms_with(store, &self.clock, Random::seeded(9), options);
    }

    /// A public room that the first of these made and all others joined.
    async fn with<const N: usize>(names: [&str; N]) -> Self {
        let mut room = Self::server(names).await;
        let wish = CreateRoom {
            preset: Some(Preset::PublicChat),
            ..CreateRoom::default()
        };
        room.create(names[0], wish).await.unwrap();
        for name in &names[1..] {
            room.join(name).await.unwrap();
        }
        room
    }

    /// A new person on the server.
    async fn arrive(&mut self, name: &str) {
        let user_id = id(name);
        let store = self.rooms.store();
        let (serial, device) = (store.next_serial(), store.next_serial());
        let interned = user_id.to_string();
        let user = store
            .commit(move |latest, _, batch| intern_user(latest, batch, &interned, serial))
            .await
            .unwrap();
        let sender = Sender {
            user_id,
            user,
            device: Some(DeviceSerial(device)),
            sent_at: None,
        };
        self.people.insert(name.to_owned(), sender);
    }

    fn who(&self, name: &str) -> &Sender {
        &self.people[name]
    }

    async fn create(&mut self, name: &str, wish: CreateRoom) -> Result<OwnedRoomId, AppendError> {
        self.room_id = self.rooms.create(self.who(name), wish).await?;
        Ok(self.room_id.clone())
    }

    async fn join(&self, name: &str) -> Result<OwnedRoomId, AppendError> {
        let room = (&*self.room_id).into();
        self.rooms.join(self.who(name), room, b"{}").await
    }

    async fn invite(&self, by: &str, name: &str) -> Result<(), AppendError> {
        self.rooms
            .invite(self.who(by), &self.room_id, &id(name), None)
            .await
    }

    async fn leave(&self, name: &str) -> Result<(), AppendError> {
        self.rooms.leave(self.who(name), &self.room_id, None).await
    }

    async fn kick(&self, by: &str, name: &str) -> Result<(), AppendError> {
        self.rooms
            .kick(self.who(by), &self.room_id, &id(name), None)
            .await
    }

    async fn ban(&self, by: &str, name: &str) -> Result<(), AppendError> {
        self.rooms
            .ban(self.who(by), &self.room_id, &id(name), None)
            .await
    }

    async fn unban(&self, by: &str, name: &str) -> Result<(), AppendError> {
        self.rooms
            .unban(self.who(by), &self.room_id, &id(name), None)
            .await
    }

    async fn forget(&self, name: &str) -> Result<(), AppendError> {
        self.rooms.forget(self.who(name), &self.room_id).await
    }

    async fn say(&self, name: &str, text: &str) -> Result<OwnedEventId, AppendError> {
        let message = json!({ "msgtype": "m.text", "body": text });
        self.send(name, message).await
    }

    async fn send(&self, name: &str, message: Value) -> Result<OwnedEventId, AppendError> {
        let transaction_id = self.rooms.store().next_serial().to_string();
        self.send_as(name, message, &transaction_id).await
    }

    async fn send_as(
        &self,
        name: &str,
        message: Value,
        transaction_id: &str,
    ) -> Result<OwnedEventId, AppendError> {
        let json = message.to_string();
        let who = self.who(name);
        self.rooms
            .send(
                who,
                &self.room_id,
                "m.room.message",
                transaction_id,
                json.as_bytes(),
            )
            .await
    }

    async fn set(
        &self,
        name: &str,
        event_type: &str,
        state_key: &str,
        value: Value,
    ) -> Result<OwnedEventId, AppendError> {
        let json = value.to_string();
        let who = self.who(name);
        self.rooms
            .set_state(who, &self.room_id, event_type, state_key, json.as_bytes())
            .await
    }

    /// The content of a state event, as `name` sees it.
    fn state(&self, name: &str, event_type: &str, state_key: &str) -> Option<Value> {
        let view = self.rooms.store().snapshot();
        let viewer = self.who(name).viewer();
        let format = crate::StateFormat::Content;
        self.rooms
            .state_event(&view, &self.room_id, viewer, event_type, state_key, format)
            .ok()
            .map(|json| parsed(&json))
    }

    /// An event as `name` sees it.
    fn event(&self, name: &str, event_id: &OwnedEventId) -> Option<Value> {
        let view = self.rooms.store().snapshot();
        let viewer = self.who(name).viewer();
        self.rooms
            .event(&view, &self.room_id, viewer, event_id)
            .ok()
            .map(|json| parsed(&json))
    }

    fn page(&self, name: &str, request: &PageRequest) -> Option<Page> {
        let view = self.rooms.store().snapshot();
        let viewer = self.who(name).viewer();
        self.rooms
            .messages(&view, &self.room_id, viewer, request)
            .ok()
    }

    /// The ids of all events that `name` can page through in one direction.
    fn timeline(&self, name: &str, direction: Direction, limit: usize) -> Vec<String> {
        let mut request = request(direction, limit);
        let mut ids = Vec::new();
        while let Some(page) = self.page(name, &request) {
            ids.extend(page.chunk.iter().map(|json| event_id(json)));
            match page.end {
                Some(end) => request.from = Some(end),
                None => break,
            }
        }
        ids
    }

    /// Whether `name` sees an event, which must be the same on every read path.
    fn sees(&self, name: &str, event_id: &OwnedEventId) -> bool {
        let seen = self.event(name, event_id).is_some();
        for direction in [Direction::Forward, Direction::Backward] {
            let timeline = self.timeline(name, direction, 3);
            assert_eq!(
                timeline.contains(&event_id.to_string()),
                seen,
                "/messages {direction:?}"
            );
        }
        let view = self.rooms.store().snapshot();
        let viewer = self.who(name).viewer();
        let request = ContextRequest {
            limit: 2,
            filter: EventFilter::default(),
            lazy_load_members: false,
        };
        let context = self
            .rooms
            .context(&view, &self.room_id, viewer, event_id, &request);
        assert_eq!(context.is_ok(), seen, "/context");
        seen
    }
}

fn request(direction: Direction, limit: usize) -> PageRequest {
    PageRequest {
        from: None,
        to: None,
        direction,
        limit,
        filter: EventFilter::default(),
        lazy_load_members: false,
    }
}

fn event_id(json: &str) -> String {
    parsed(json)["event_id"].as_str().unwrap().to_owned()
}

/// The `body` of each message among events, in their order.
fn bodies(chunk: &[String]) -> Vec<String> {
    let body = |json: &String| parsed(json)["content"]["body"].as_str().map(str::to_owned);
    chunk.iter().filter_map(body).collect()
}

#[test]
fn tokens_of_places_come_back() {
    let place = PlaceToken::at(12, 34);
    let bounded = PlaceToken { until: 56, ..place };
    for token in [place, bounded] {
        assert_eq!(PlaceToken::parse(&token.to_string()), Some(token));
    }
    for text in ["", "t", "t1", "s1_2", "t1_2_3_4", "t1_2_", "t-1_2", "tx_y"] {
        assert_eq!(PlaceToken::parse(text), None, "{text}");
    }
}
