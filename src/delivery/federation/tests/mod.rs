//! Stories with other servers played by a test, on a database of its own.

mod edus;
mod events;
mod neighbours;

use std::sync::Arc;

use accounts::{
    Accounts, AccountsOptions, NewAccount, RegistrationMode, RegistrationOptions, Session,
};
use graph::SigningKey;
use model::{
    RoomSerial, RoomServerRecord, neighbours_scope,
    tables::{ROOM_BY_SERVER, SERVER_BY_ROOM},
};
use outgoing::{Outgoing, OutgoingOptions};
use peers::{FederationOptions, Peers, PeersParts};
use rooms::{CreateRoom, Preset, Rooms, RoomsOptions, Sender};
use ruma_common::{OwnedRoomId, OwnedUserId, RoomOrAliasId, owned_server_name};
use runtime::{Clock, Metrics, Random, Tasks, Timestamp};
use serde_json::{Value, json};
use store::{Read as _, Store, StoreError, StoreOptions};
use tempfile::TempDir;

use super::{Federation, FederationParts, WaitingServer, waiting_servers};
use crate::tests::{PATIENCE, eventually, until_follows};
use neighbours::Neighbours;

/// A server `a.test` with alice and bob in one room.
struct House {
    store: Store,
    accounts: Accounts,
    rooms: Rooms,
    clock: Clock,
    metrics: Metrics,
    tasks: Tasks,
    neighbours: Neighbours,
    alice: Session,
    bob: Session,
    room: OwnedRoomId,
    // Holds the database.
    _folder: TempDir,
}

impl House {
    /// Others are at these names.
    async fn new(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp(1_800_000_000_000));
        let random = Random::seeded(5);
        let name = owned_server_name!("a.test");
        let options = StoreOptions::default();
        let store = Store::open(folder.path(), "a.test", &options, &clock, &random).unwrap();
        let registration = RegistrationOptions {
            mode: RegistrationMode::Open,
            ..RegistrationOptions::default()
        };
        let options = AccountsOptions {
            password_hash_memory: 64,
            ..AccountsOptions::default()
        };
        let accounts = Accounts::new(
            store.clone(),
            clock.clone(),
            random.clone(),
            name.clone(),
            registration,
            options,
        )
        .unwrap();
        let rooms = Rooms::new(
            store.clone(),
            clock.clone(),
            random,
            name,
            Arc::new(key()),
            RoomsOptions::default(),
        );
        let alice = session(&accounts, "alice").await;
        let bob = session(&accounts, "bob").await;
        let mut house = Self {
            store,
            accounts,
            rooms,
            clock,
            metrics: Metrics::new(),
            tasks: Tasks::new(),
            neighbours: Neighbours::start(names, folder.path()).await,
            alice,
            bob,
            room: OwnedRoomId::try_from("!none:a.test").unwrap(),
            _folder: folder,
        };
        house.room = house.room(CreateRoom::default()).await;
        house
    }

    /// Another room of alice and bob.
    async fn room(&self, wish: CreateRoom) -> OwnedRoomId {
        let wish = CreateRoom {
            preset: Some(Preset::PublicChat),
            ..wish
        };
        let room = self.rooms.create(&self.alice(), wish).await.unwrap();
        let target = <&RoomOrAliasId>::from(&*room);
        let bob = sender(&self.bob);
        self.rooms.join(&bob, target, b"{}").await.unwrap();
        room
    }

    fn alice(&self) -> Sender {
        sender(&self.alice)
    }

    fn serial(&self, room: &OwnedRoomId) -> RoomSerial {
        let view = self.store.snapshot();
        rooms::room_serial(&view, room.as_str()).unwrap().unwrap()
    }

    /// Says how many users of a server are in a room from now on.
    async fn members(&self, room: &OwnedRoomId, server: &str, joined: u64) {
        let key = (self.serial(room), server.to_owned());
        self.store
            .commit(move |latest, position, batch| {
                let known = latest.get(&SERVER_BY_ROOM, &key)?.unwrap_or_default();
                let record = RoomServerRecord {
                    joined,
                    since: if known.joined == 0 {
                        position.0
                    } else {
                        known.since
                    },
                    left_at: if joined == 0 { position.0 } else { 0 },
                };
                batch.put(&SERVER_BY_ROOM, &key, &record);
                batch.wake(neighbours_scope());
                let by_server = (key.1.clone(), key.0);
                match joined {
                    0 => batch.delete(&ROOM_BY_SERVER, &by_server),
                    _ => batch.put(&ROOM_BY_SERVER, &by_server, &()),
                }
                Ok::<_, StoreError>(())
            })
            .await
            .unwrap();
    }

    /// Starts sending; before, nothing is sent.
    async fn start(&self) {
        self.start_with(FederationOptions::default()).await;
    }

    async fn start_with(&self, options: FederationOptions) {
        let outgoing = OutgoingOptions {
            trusted_roots: vec![self.neighbours.root.clone()],
            private_networks: vec!["127.0.0.0/8".parse().unwrap()],
        };
        let options = FederationOptions {
            overrides: self.neighbours.overrides(),
            ..options
        };
        let peers = Peers::new(PeersParts {
            store: self.store.clone(),
            outgoing: Outgoing::new(&outgoing, &self.metrics).unwrap(),
            clock: self.clock.clone(),
            random: Random::seeded(6),
            server_name: owned_server_name!("a.test"),
            key: Arc::new(key()),
            options: options.clone(),
        })
        .unwrap();
        let parts = FederationParts {
            store: self.store.clone(),
            rooms: self.rooms.clone(),
            peers,
            clock: self.clock.clone(),
            random: Random::seeded(self.store.next_serial()),
            tasks: self.tasks.clone(),
        };
        let federation = Federation::new(parts, options, &self.metrics);
        self.tasks.spawn("federation", |stop| federation.run(stop));
        until_follows(&self.store, "federation").await;
    }

    async fn stop(&mut self) {
        let running = self.tasks.shutdown(PATIENCE).await;
        assert!(running.is_empty(), "{running:?}");
        self.tasks = Tasks::new();
    }

    async fn say(&self, room: &OwnedRoomId, body: &str) -> String {
        let content = json!({ "msgtype": "m.text", "body": body }).to_string();
        let transaction = self.store.next_serial().to_string();
        self.rooms
            .send(
                &self.alice(),
                room,
                "m.room.message",
                &transaction,
                content.as_bytes(),
            )
            .await
            .unwrap()
            .to_string()
    }

    fn waiting(&self, server: &str) -> Option<WaitingServer> {
        let view = self.store.snapshot();
        waiting_servers(&view, 10_000).unwrap().remove(server)
    }

    async fn until_settled(&self, server: &str) {
        eventually("nothing waits", || {
            self.waiting(server).is_none().then_some(())
        })
        .await;
    }

    fn counted(&self, metric: &str) -> u64 {
        let text = self.metrics.render();
        let found = text.lines().find_map(|line| line.strip_prefix(metric));
        found.map_or(0, |number| number.trim().parse().unwrap())
    }

    async fn until_counted(&self, outcome: &str, least: u64) {
        let metric = format!("cairn_federation_transactions_total{{outcome=\"{outcome}\"}}");
        let counted = || (self.counted(&metric) >= least).then_some(());
        eventually(&metric, counted).await;
    }

    fn events(&self, outcome: &str) -> u64 {
        self.counted(&format!(
            "cairn_federation_events_total{{outcome=\"{outcome}\"}}"
        ))
    }
}

fn key() -> SigningKey {
    SigningKey::generate([7; 32], "a".to_owned()).unwrap()
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

fn user(id: &str) -> OwnedUserId {
    OwnedUserId::try_from(id).unwrap()
}

/// The `body` of each message in a transaction.
fn bodies(transaction: &Value) -> Vec<String> {
    let pdus = transaction["pdus"].as_array().unwrap().iter();
    pdus.map(|pdu| {
        pdu["content"]["body"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    })
    .collect()
}
