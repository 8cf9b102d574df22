//! Stories with a gateway of their own, on a database of their own.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use accounts::{
    Accounts, AccountsOptions, NewAccount, NewPusher, PusherKey, RegistrationMode,
    RegistrationOptions, Session,
};
use graph::SigningKey;
use outgoing::{Outgoing, OutgoingOptions};
use parking_lot::Mutex;
use rooms::{CreateRoom, Preset, Rooms, RoomsOptions, Sender};
use ruma_common::{OwnedRoomId, RoomOrAliasId, owned_server_name};
use runtime::{Clock, Metrics, Random, Tasks, Timestamp};
use serde_json::{Map, Value, json};
use store::{Read as _, Store, StoreOptions};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{Push, PushOptions, PushParts};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway that answers with a status and keeps what it was sent.
struct Gateway {
    address: SocketAddr,
    received: Arc<Mutex<VecDeque<Value>>>,
    /// The status of every answer.
    status: Arc<Mutex<u16>>,
    _tasks: Tasks,
}

impl Gateway {
    async fn start(status: u16) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let gateway = Self {
            address,
            received: Arc::default(),
            status: Arc::new(Mutex::new(status)),
            _tasks: Tasks::new(),
        };
        let (received, status) = (gateway.received.clone(), gateway.status.clone());
        let tasks = gateway._tasks.clone();
        gateway._tasks.spawn("gateway", |_| async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (received, status) = (received.clone(), status.clone());
                tasks.spawn("connection", |_| serve(stream, received, status));
            }
        });
        gateway
    }

    async fn next(&self) -> Value {
        eventually("a notification", || self.received.lock().pop_front()).await
    }

    fn answers(&self, status: u16) {
        *self.status.lock() = status;
    }
}

async fn serve(
    mut stream: TcpStream,
    received: Arc<Mutex<VecDeque<Value>>>,
    status: Arc<Mutex<u16>>,
) {
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        read.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((_, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let Ok(request) = serde_json::from_str::<Value>(body) else {
            continue;
        };
        received.lock().push_back(request["notification"].clone());
        let status = *status.lock();
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\n{{}}");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        read.clear();
    }
}

pub(crate) async fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until a consumer follows the log. A new one begins where the log ends then, so what is
/// written before that is none of its concern.
pub(crate) async fn until_follows(store: &Store, consumer: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let consumers = store.internals().await.unwrap().unread;
        if consumers.iter().any(|(name, _)| name == consumer) {
            return;
        }
        assert!(Instant::now() < deadline, "not in time: {consumer}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A server where alice speaks and bob has pushers.
struct House {
    store: Store,
    accounts: Accounts,
    rooms: Rooms,
    clock: Clock,
    metrics: Metrics,
    tasks: Tasks,
    alice: Sender,
    bob: Session,
    room: OwnedRoomId,
    // Holds the database.
    _folder: TempDir,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp(1_800_000_000_000));
        let random = Random::seeded(5);
        let name = owned_server_name!("a.test");
        let options = StoreOptions::default();
        let store = Store::open(folder.path(), "a.test", &options, &clock, &random).unwrap();
        let accounts = Accounts::new(
            store.clone(),
            clock.clone(),
            random.clone(),
            name.clone(),
            RegistrationOptions {
                mode: RegistrationMode::Open,
                ..RegistrationOptions::default()
            },
            AccountsOptions {
                password_hash_memory: 64,
                ..AccountsOptions::default()
            },
        )
        .unwrap();
        let key = SigningKey::generate([7; 32], "a".to_owned()).unwrap();
        let rooms = Rooms::new(
            store.clone(),
            clock.clone(),
            random,
            name,
            Arc::new(key),
            RoomsOptions::default(),
        );
        let alice = sender(&session(&accounts, "alice").await);
        let bob = session(&accounts, "bob").await;
        let mut house = Self {
            store,
            accounts,
            rooms,
            clock,
            metrics: Metrics::new(),
            tasks: Tasks::new(),
            alice,
            bob,
            room: OwnedRoomId::try_from("!none:a.test").unwrap(),
            _folder: folder,
        };
        house.room = house.room().await;
        house
    }

    /// Another room of alice and bob.
    async fn room(&self) -> OwnedRoomId {
        let wish = CreateRoom {
            preset: Some(Preset::PublicChat),
            ..CreateRoom::default()
        };
        let room = self.rooms.create(&self.alice, wish).await.unwrap();
        let target = <&RoomOrAliasId>::from(&*room);
        let bob = sender(&self.bob);
        self.rooms.join(&bob, target, b"{}").await.unwrap();
        room
    }

    /// Starts push; before, nothing is sent.
    async fn push(&self, options: PushOptions) {
        let outgoing = OutgoingOptions {
            private_networks: vec!["127.0.0.0/8".parse().unwrap()],
            ..OutgoingOptions::default()
        };
        let parts = PushParts {
            store: self.store.clone(),
            accounts: self.accounts.clone(),
            rooms: self.rooms.clone(),
            outgoing: Outgoing::new(&outgoing, &self.metrics).unwrap(),
            clock: self.clock.clone(),
            random: Random::seeded(6),
            tasks: self.tasks.clone(),
        };
        let push = Push::new(parts, options, &self.metrics);
        self.tasks.spawn("push", |stop| push.run(stop));
        until_follows(&self.store, "push").await;
    }

    async fn stop(&mut self) {
        let running = self.tasks.shutdown(PATIENCE).await;
        assert!(running.is_empty(), "{running:?}");
        self.tasks = Tasks::new();
    }

    async fn pusher(&self, gateway: &Gateway, pushkey: &str) {
        let new = NewPusher {
            key: PusherKey {
                app_id: "app".to_owned(),
                pushkey: pushkey.to_owned(),
            },
            app_display_name: String::new(),
            device_display_name: String::new(),
            profile_tag: None,
            lang: "en".to_owned(),
            url: format!("http://{}/_matrix/push/v1/notify", gateway.address),
            data: Map::new(),
            append: false,
        };
        self.accounts
            .set_pusher(&self.bob, new, true)
            .await
            .unwrap();
    }

    async fn say(&self, room: &OwnedRoomId, body: &str) -> String {
        let content = json!({ "msgtype": "m.text", "body": body }).to_string();
        let transaction = self.store.next_serial().to_string();
        self.rooms
            .send(
                &self.alice,
                room,
                "m.room.message",
                &transaction,
                content.as_bytes(),
            )
            .await
            .unwrap()
            .to_string()
    }

    /// How many rows wait in all queues.
    fn waiting(&self) -> usize {
        let view = self.store.snapshot();
        view.scan(&model::tables::PUSH_BY_PUSHER, &()).count()
    }

    fn counted(&self, outcome: &str) -> u64 {
        let name = format!("cairn_push_notifications_total{{outcome=\"{outcome}\"}} ");
        let text = self.metrics.render();
        let found = text.lines().find_map(|line| line.strip_prefix(&name));
        found.map_or(0, |number| number.parse().unwrap())
    }

    async fn until_counted(&self, outcome: &str, least: u64) {
        eventually(outcome, || (self.counted(outcome) >= least).then_some(())).await;
    }
}

async fn session(accounts: &Accounts, name: &str) -> Session {
    let account = NewAccount {
        username: Some(name.to_owned()),
        password: Some("correct horse".to_owned()),
        device_id: Some("PHONE".into()),
        ..NewAccount::default()
    };
    let registered = accounts.register(account, None).await.unwrap();
    let token = registered.session.unwrap().access_token;
    accounts.authenticate(&token).await.unwrap()
}

fn sender(session: &Session) -> Sender {
    Sender {
        user_id: session.user_id.clone(),
        user: session.user,
        device: Some(session.device),
        sent_at: None,
    }
}

#[tokio::test]
async fn what_waits_is_sent_in_its_order_by_the_next_start() {
    let gateway = Gateway::start(500).await;
    let mut house = House::new().await;
    house.push(PushOptions::default()).await;
    house.say(&house.room, "before there was a pusher").await;
    house.pusher(&gateway, "key").await;
    let first = house.say(&house.room, "first").await;
    assert_eq!(gateway.next().await["event_id"], first);
    house.until_counted("failed", 1).await;
    let second = house.say(&house.room, "second").await;
    eventually("two rows", || (house.waiting() == 2).then_some(())).await;
    house.stop().await;
    assert_eq!(house.counted("delivered"), 0);
    // While nothing runs, the log remembers.
    let third = house.say(&house.room, "third").await;
    gateway.answers(200);
    gateway.received.lock().clear();
    house.push(PushOptions::default()).await;
    for expected in [first, second, third] {
        assert_eq!(gateway.next().await["event_id"], expected);
    }
    house.until_counted("delivered", 3).await;
    assert_eq!(house.waiting(), 0);
    assert_eq!(house.counted("delivered"), 3);
    house.stop().await;
}

#[tokio::test]
async fn a_queue_stays_short_and_the_newest_of_each_room_are_told() {
    let gateway = Gateway::start(503).await;
    let mut house = House::new().await;
    house.push(PushOptions::default()).await;
    house.pusher(&gateway, "key").await;
    let other = house.room().await;
    house.say(&house.room, "begins to fail").await;
    house.until_counted("failed", 1).await;
    let (mut last, mut last_of_other) = (String::new(), String::new());
    for number in 0..40 {
        last_of_other = house.say(&other, &number.to_string()).await;
        last = house.say(&house.room, &number.to_string()).await;
    }
    // At most ten wait; once too many did, one of each room.
    eventually("a short queue", || (house.waiting() <= 10).then_some(())).await;
    eventually("all looked at", || {
        (house.counted("coalesced") >= 71).then_some(())
    })
    .await;
    gateway.answers(200);
    gateway.received.lock().clear();
    let mut told = Vec::new();
    while told.last() != Some(&last) {
        let event = gateway.next().await["event_id"]
            .as_str()
            .unwrap()
            .to_owned();
        if told.last() != Some(&event) {
            told.push(event);
        }
    }
    assert!(told.contains(&last_of_other), "{told:?}");
    assert!(told.len() <= 11, "{told:?}");
    house.stop().await;
}

#[tokio::test]
async fn what_is_too_old_is_given_up_and_counted() {
    let gateway = Gateway::start(500).await;
    let mut house = House::new().await;
    let options = PushOptions {
        give_up_after: 60,
        retry_delay_max: 1,
    };
    house.push(options).await;
    house.pusher(&gateway, "key").await;
    house.say(&house.room, "old").await;
    house.until_counted("failed", 1).await;
    house.clock.advance(61_000);
    house.until_counted("expired", 1).await;
    eventually("no rows", || (house.waiting() == 0).then_some(())).await;
    assert_eq!(house.counted("delivered"), 0);
    gateway.answers(200);
    gateway.received.lock().clear();
    let new = house.say(&house.room, "new").await;
    assert_eq!(gateway.next().await["event_id"], new);
    house.stop().await;
}

#[tokio::test]
async fn one_failing_gateway_holds_up_its_own_pushers_alone() {
    let (good, bad) = (Gateway::start(200).await, Gateway::start(500).await);
    let mut house = House::new().await;
    house.push(PushOptions::default()).await;
    house.pusher(&bad, "bad").await;
    house.pusher(&good, "good").await;
    for text in ["one", "two", "three"] {
        let sent = house.say(&house.room, text).await;
        assert_eq!(good.next().await["event_id"], sent);
    }
    let told = bad.next().await;
    assert_eq!(told["devices"][0]["pushkey"], "bad");
    assert!(house.waiting() >= 3);
    // Who is locked out is told nothing, and nothing is kept for later.
    house
        .accounts
        .set_locked(&audit::Act::operator(), house.bob.user, true, None)
        .await
        .unwrap();
    house.say(&house.room, "while locked").await;
    eventually("no rows", || (house.waiting() == 0).then_some(())).await;
    assert_eq!(good.received.lock().len(), 0);
    house.stop().await;
}

#[tokio::test]
async fn a_deleted_pusher_takes_its_queue_along() {
    let gateway = Gateway::start(500).await;
    let mut house = House::new().await;
    house.push(PushOptions::default()).await;
    house.pusher(&gateway, "key").await;
    house.say(&house.room, "hello").await;
    house.until_counted("failed", 1).await;
    assert_eq!(house.waiting(), 1);
    let devices = vec![house.bob.device_id.clone()];
    house
        .accounts
        .remove_devices(&audit::Act::operator(), house.bob.user, devices)
        .await
        .unwrap();
    assert_eq!(house.waiting(), 0);
    house.say(&house.room, "nobody is told").await;
    house.stop().await;
    assert_eq!(house.waiting(), 0);
    let view = house.store.snapshot();
    assert!(accounts::all_pushers(&view).unwrap().is_empty());
}
