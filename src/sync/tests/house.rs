//! A server's accounts, rooms and syncs on a temporary store, with a clock that stands
//! still.

use std::{sync::Arc, time::Duration};

use accounts::{
    Accounts, AccountsOptions, NewAccount, RegistrationMode, RegistrationOptions, Session,
};
use graph::SigningKey;
use rooms::{AppendError, CreateRoom, Preset, ReceiptKind, Rooms, RoomsOptions, Sender};
use ruma_client_api::to_device::send_event_to_device::v3::Messages;
use ruma_common::{OwnedEventId, OwnedRoomId, RoomId, owned_server_name};
use runtime::{Clock, Random, Tasks, Timestamp};
use serde_json::{Value, json};
use store::{Store, StoreOptions};
use tempfile::TempDir;

use crate::{SlidingRequest, Sync, SyncError, SyncRequest};

pub(super) struct House {
    pub(super) accounts: Accounts,
    pub(super) rooms: Rooms,
    pub(super) sync: Sync,
    pub(super) clock: Clock,
    random: Random,
    _tasks: Tasks,
    // The store ends before its folder.
    _folder: TempDir,
}

impl House {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp(1_700_000_000_000));
        let random = Random::seeded(7);
        let options = StoreOptions::default();
        let store = Store::open(folder.path(), "a.test", &options, &clock, &random).unwrap();
        let accounts = Accounts::new(
            store.clone(),
            clock.clone(),
            Random::system(),
            owned_server_name!("a.test"),
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
        let rooms = Rooms::new(
            store.clone(),
            clock.clone(),
            random.clone(),
            owned_server_name!("a.test"),
            Arc::new(SigningKey::generate([7; 32], "a".to_owned()).unwrap()),
            RoomsOptions::default(),
        );
        let tasks = Tasks::new();
        let sync = Sync::new(
            store,
            rooms.clone(),
            accounts.clone(),
            clock.clone(),
            tasks.stop(),
        );
        Self {
            accounts,
            rooms,
            sync,
            clock,
            random,
            _tasks: tasks,
            _folder: folder,
        }
    }

    pub(super) async fn person(&self, name: &str) -> Session {
        let account = NewAccount {
            username: Some(name.to_owned()),
            password: Some("correct horse".to_owned()),
            device_id: Some("D".into()),
            ..NewAccount::default()
        };
        let registered = self.accounts.register(account, None).await.unwrap();
        let token = registered.session.unwrap().access_token;
        self.accounts.authenticate(&token).await.unwrap()
    }

    pub(super) async fn room(&self, who: &Session, wish: CreateRoom) -> OwnedRoomId {
        let wish = CreateRoom {
            preset: Some(Preset::PublicChat),
            ..wish
        };
        self.rooms.create(&sender(who), wish).await.unwrap()
    }

    pub(super) async fn join(&self, who: &Session, room: &RoomId) -> Result<(), AppendError> {
        let joined = self.rooms.join(&sender(who), room.into(), b"{}").await;
        joined.map(drop)
    }

    pub(super) async fn say(
        &self,
        who: &Session,
        room: &RoomId,
        text: &str,
    ) -> Result<OwnedEventId, AppendError> {
        let content = json!({ "msgtype": "m.text", "body": text });
        self.send(who, room, "m.room.message", content).await
    }

    pub(super) async fn send(
        &self,
        who: &Session,
        room: &RoomId,
        event_type: &str,
        content: Value,
    ) -> Result<OwnedEventId, AppendError> {
        let transaction = self.random.number().to_string();
        let content = content.to_string();
        let who = sender(who);
        self.rooms
            .send(&who, room, event_type, &transaction, content.as_bytes())
            .await
    }

    pub(super) async fn set(
        &self,
        who: &Session,
        room: &RoomId,
        event_type: &str,
        content: Value,
    ) -> Result<OwnedEventId, AppendError> {
        let content = content.to_string();
        self.rooms
            .set_state(&sender(who), room, event_type, "", content.as_bytes())
            .await
    }

    pub(super) async fn redact(
        &self,
        who: &Session,
        room: &RoomId,
        event: &OwnedEventId,
    ) -> Result<OwnedEventId, AppendError> {
        let transaction = self.random.number().to_string();
        self.rooms
            .redact(&sender(who), room, event, &transaction, None)
            .await
    }

    pub(super) async fn read(
        &self,
        who: &Session,
        room: &RoomId,
        kind: ReceiptKind,
        event: &OwnedEventId,
    ) -> Result<(), AppendError> {
        self.rooms
            .set_receipt(&sender(who), room, kind, event, None)
            .await
    }

    pub(super) async fn data(
        &self,
        who: &Session,
        room: Option<&RoomId>,
        event_type: &str,
        content: Value,
    ) {
        let view = self.rooms.store().snapshot();
        let room = room.and_then(|room| rooms::room_serial(&view, room.as_str()).unwrap());
        let content = content.to_string();
        // Who has nothing to do with a room has no data of it.
        let _ = self
            .accounts
            .put_account_data(who.user, room, event_type, content.as_bytes())
            .await;
    }

    pub(super) async fn to_device(&self, from: &Session, to: &Session, text: &str) {
        let messages = json!({ to.user_id.as_str(): { "D": { "text": text } } });
        let messages: Messages = serde_json::from_value(messages).unwrap();
        let transaction = self.random.number().to_string();
        self.accounts
            .send_to_devices(from, "m.test", transaction.as_str().into(), messages)
            .await
            .unwrap();
    }

    /// An answer of `/sync`.
    pub(super) async fn v3(&self, who: &Session, since: Option<String>, filter: Value) -> Value {
        let request = SyncRequest {
            filter: serde_json::from_value(filter).unwrap(),
            since,
            use_state_after: true,
            ..SyncRequest::default()
        };
        serde_json::from_slice(&self.sync.sync(who, request).await.unwrap()).unwrap()
    }

    /// An answer of a sliding sync, after at most a minute.
    pub(super) async fn try_sliding(
        &self,
        who: &Session,
        pos: Option<&str>,
        body: Value,
        timeout: Duration,
    ) -> Result<Value, SyncError> {
        let body: SlidingRequest = serde_json::from_value(body).unwrap();
        let request = SlidingRequest {
            pos: pos.map(str::to_owned),
            timeout,
            ..body
        };
        let answer = self.sync.sliding(who, request).await?;
        Ok(serde_json::from_slice(&answer).unwrap())
    }

    /// The same at once.
    pub(super) async fn sliding(&self, who: &Session, pos: Option<&str>, body: Value) -> Value {
        self.try_sliding(who, pos, body, Duration::ZERO)
            .await
            .unwrap()
    }
}

pub(super) fn sender(session: &Session) -> Sender {
    Sender {
        user_id: session.user_id.clone(),
        user: session.user,
        device: Some(session.device),
        sent_at: None,
    }
}
