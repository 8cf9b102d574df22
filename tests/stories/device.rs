//! A person's device: a Matrix client with a store and a sync in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{Api, PASSWORD, eventually};
use matrix_sdk::config::{RequestConfig, SyncSettings, SyncToken};
use matrix_sdk::deserialized_responses::{TimelineEvent, TimelineEventKind};
use matrix_sdk::encryption::verification::VerificationRequest;
use matrix_sdk::encryption::{BackupDownloadStrategy, EncryptionSettings};
use matrix_sdk::room::MessagesOptions;
use matrix_sdk::ruma::api::client::account::register;
use matrix_sdk::ruma::api::client::filter::FilterDefinition;
use matrix_sdk::ruma::api::client::room::create_room;
use matrix_sdk::ruma::api::client::uiaa::{AuthData, Dummy, Password, UserIdentifier};
use matrix_sdk::ruma::events::InitialStateEvent;
use matrix_sdk::ruma::events::MessageLikeEventContent;
use matrix_sdk::ruma::events::room::encryption::RoomEncryptionEventContent;
use matrix_sdk::ruma::events::room::member::MembershipState;
use matrix_sdk::ruma::events::room::message::RoomMessageEventContent;
use matrix_sdk::ruma::{
    EventId, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
};
use matrix_sdk::sliding_sync::VersionBuilder;
use matrix_sdk::{Client, Room, RoomState};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// How long a device waits for what must come, in seconds.
pub(crate) const PATIENCE: u64 = 60;

/// What a device has heard in a room's timeline, oldest first.
#[derive(Debug, Clone)]
struct Heard {
    room: OwnedRoomId,
    /// The event, decrypted where that was possible.
    event: Value,
    /// Whether it came encrypted, and could be read.
    decrypted: bool,
    /// Whether it came encrypted, and could not be read (yet).
    unreadable: bool,
}

/// A signed-in client that syncs in the background.
pub(crate) struct Device {
    pub(crate) client: Client,
    /// Named in what a failed assertion says.
    pub(crate) name: String,
    heard: Arc<std::sync::Mutex<Vec<Heard>>>,
    to_device: Arc<std::sync::Mutex<Vec<Value>>>,
    signed_out: Arc<AtomicBool>,
    syncing: JoinHandle<()>,
    _store: TempDir,
}

impl Drop for Device {
    fn drop(&mut self) {
        self.syncing.abort();
    }
}

/// A client with an empty store, not signed in.
pub(crate) async fn client(url: &str) -> (Client, TempDir) {
    let store = tempfile::tempdir().expect("a folder for the client's store");
    let client = Client::builder()
        .homeserver_url(url)
        .sqlite_store(store.path(), None)
        .sliding_sync_version_builder(VersionBuilder::DiscoverNative)
        .with_encryption_settings(EncryptionSettings {
            backup_download_strategy: BackupDownloadStrategy::AfterDecryptionFailure,
            ..EncryptionSettings::default()
        })
        .request_config(
            RequestConfig::new()
                .disable_retry()
                .timeout(Duration::from_secs(40)),
        )
        .build()
        .await
        .expect("a client");
    (client, store)
}

impl Device {
    /// Registers a person on a first device.
    pub(crate) async fn register(url: &str, person: &str) -> Self {
        let (client, store) = client(url).await;
        let mut request = register::v3::Request::new();
        request.username = Some(person.to_owned());
        request.password = Some(PASSWORD.to_owned());
        request.initial_device_display_name = Some("laptop".to_owned());
        request.auth = Some(AuthData::Dummy(Dummy::new()));
        client
            .matrix_auth()
            .register(request)
            .await
            .expect("registration");
        Self::begin(client, store, format!("{person}'s laptop")).await
    }

    /// Signs a person in on a further device.
    pub(crate) async fn sign_in(url: &str, person: &str) -> Self {
        let (client, store) = client(url).await;
        client
            .matrix_auth()
            .login_username(person, PASSWORD)
            .initial_device_display_name("phone")
            .send()
            .await
            .expect("sign-in");
        Self::begin(client, store, format!("{person}'s phone")).await
    }

    /// Starts the sync and waits until the device's keys are known to the server.
    async fn begin(client: Client, store: TempDir, name: String) -> Self {
        client
            .encryption()
            .wait_for_e2ee_initialization_tasks()
            .await;
        let heard = Arc::default();
        let to_device = Arc::default();
        let signed_out: Arc<AtomicBool> = Arc::default();
        let syncing = tokio::spawn(sync_on(
            client.clone(),
            Arc::clone(&heard),
            Arc::clone(&to_device),
            Arc::clone(&signed_out),
        ));
        let device = Self {
            client,
            name,
            heard,
            to_device,
            signed_out,
            syncing,
            _store: store,
        };
        let what = format!("{}: the uploaded keys", device.name);
        eventually(&what, PATIENCE, async || {
            let counts = device.api().post("v3/keys/upload", json!({})).await.ok();
            let count = counts["one_time_key_counts"]["signed_curve25519"].as_u64();
            count.filter(|count| *count > 0)
        })
        .await;
        device
    }

    pub(crate) fn user_id(&self) -> OwnedUserId {
        self.client
            .user_id()
            .expect("a signed-in client")
            .to_owned()
    }

    pub(crate) fn device_id(&self) -> OwnedDeviceId {
        self.client
            .device_id()
            .expect("a signed-in client")
            .to_owned()
    }

    /// Bare requests with this device's access token.
    pub(crate) fn api(&self) -> Api {
        let url = self.client.homeserver().to_string();
        let token = self.client.access_token().expect("an access token");
        Api::new(url.trim_end_matches('/')).with_token(&token)
    }

    /// Whether the server has told this device that it is signed out.
    pub(crate) fn is_signed_out(&self) -> bool {
        self.signed_out.load(Ordering::Relaxed)
    }

    /// The answer to a request for the password.
    pub(crate) fn password(&self, session: Option<String>) -> AuthData {
        let mut password = Password::new(
            UserIdentifier::Matrix(self.user_id().into()),
            PASSWORD.to_owned(),
        );
        password.session = session;
        AuthData::Password(password)
    }

    /// Makes the person's cross-signing keys, with the password where it is asked for.
    pub(crate) async fn set_up_cross_signing(&self) {
        let encryption = self.client.encryption();
        if let Err(error) = encryption.bootstrap_cross_signing(None).await {
            let step = error
                .as_uiaa_response()
                .unwrap_or_else(|| panic!("{error}"));
            let password = self.password(step.session.clone());
            encryption
                .bootstrap_cross_signing(Some(password))
                .await
                .expect("cross-signing");
        }
        let status = encryption
            .cross_signing_status()
            .await
            .expect("cross-signing");
        assert!(status.is_complete(), "{status:?}");
    }

    /// Creates a room in the clear with these people invited.
    pub(crate) async fn plain_room(&self, others: &[&Device]) -> OwnedRoomId {
        let mut request = create_room::v3::Request::new();
        request.invite = others.iter().map(|other| other.user_id()).collect();
        self.creates(request).await
    }

    /// Creates a room.
    pub(crate) async fn creates(&self, request: create_room::v3::Request) -> OwnedRoomId {
        let room = self.client.create_room(request).await.expect("a room");
        room.room_id().to_owned()
    }

    /// Creates an encrypted room with these people invited.
    pub(crate) async fn encrypted_room(&self, others: &[&Device]) -> OwnedRoomId {
        let mut request = create_room::v3::Request::new();
        request.invite = others.iter().map(|other| other.user_id()).collect();
        request.preset = Some(create_room::v3::RoomPreset::PrivateChat);
        let encryption = RoomEncryptionEventContent::with_recommended_defaults();
        request.initial_state =
            vec![InitialStateEvent::with_empty_state_key(encryption).to_raw_any()];
        self.creates(request).await
    }

    /// Starts an encrypted conversation between two.
    pub(crate) async fn direct_room(&self, other: &Device) -> OwnedRoomId {
        let room = self
            .client
            .create_dm(&other.user_id())
            .await
            .expect("a direct room");
        room.room_id().to_owned()
    }

    /// Waits for an invitation and takes it.
    pub(crate) async fn accept(&self, room: &RoomId) {
        let what = format!("{}: the invitation to {room}", self.name);
        eventually(&what, PATIENCE, async || {
            let invited = self.client.get_room(room)?;
            (invited.state() == RoomState::Invited).then_some(())
        })
        .await;
        self.client.join_room_by_id(room).await.expect("joining");
    }

    /// Waits until this device knows the room as joined and encrypted, with `members`
    /// joined in it.
    pub(crate) async fn sees_in(&self, room: &RoomId, members: &[&Device]) {
        self.knows_members(room, members).await;
        let what = format!("{}: the encryption of {room}", self.name);
        eventually(&what, PATIENCE, async || {
            let known = self.client.get_room(room)?;
            known.encryption_state().is_encrypted().then_some(())
        })
        .await;
    }

    /// Waits until this device knows the room as joined, with `members` joined in it.
    pub(crate) async fn knows_members(&self, room: &RoomId, members: &[&Device]) {
        let what = format!("{}: the members of {room}", self.name);
        eventually(&what, PATIENCE, async || {
            let known = self.client.get_room(room)?;
            if known.state() != RoomState::Joined {
                return None;
            }
            for member in members {
                let id = member.user_id();
                let found = known.get_member_no_sync(&id).await.ok()??;
                if *found.membership() != MembershipState::Join {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    pub(crate) fn room(&self, room: &RoomId) -> Room {
        self.client
            .get_room(room)
            .unwrap_or_else(|| panic!("{}: no {room}", self.name))
    }

    /// Sends an event, encrypted where the room is.
    pub(crate) async fn sends(
        &self,
        room: &RoomId,
        content: impl MessageLikeEventContent,
    ) -> OwnedEventId {
        let sent = self.room(room).send(content).await;
        let sent = sent.unwrap_or_else(|error| panic!("{} sends: {error}", self.name));
        sent.response.event_id
    }

    /// Sends a message; the event id is the server's word that it has it.
    pub(crate) async fn say(&self, room: &RoomId, text: &str) -> OwnedEventId {
        let sent = self.try_say(room, text).await;
        sent.unwrap_or_else(|error| panic!("{} says {text}: {error}", self.name))
    }

    /// Sends a message; fails when the server does not answer.
    pub(crate) async fn try_say(
        &self,
        room: &RoomId,
        text: &str,
    ) -> Result<OwnedEventId, matrix_sdk::Error> {
        let content = RoomMessageEventContent::text_plain(text);
        let sent = self.room(room).send(content).await?;
        assert!(
            sent.encryption_info.is_some(),
            "{} sent {text} in the clear",
            self.name
        );
        Ok(sent.response.event_id)
    }

    /// Waits until this device has read a message that came encrypted.
    pub(crate) async fn reads(&self, room: &RoomId, text: &str) {
        let what = format!("{} reads {text:?}", self.name);
        eventually(&what, PATIENCE, async || {
            self.try_the_unreadable_again(room).await;
            self.has_read(room, text).then_some(())
        })
        .await;
    }

    /// Whether this device has read a message that came encrypted.
    pub(crate) fn has_read(&self, room: &RoomId, text: &str) -> bool {
        let heard = self.heard.lock().expect("what was heard");
        heard.iter().any(|heard| {
            heard.room == room && heard.decrypted && heard.event["content"]["body"] == text
        })
    }

    /// Waits until `look` finds something in an event of the room's timeline.
    pub(crate) async fn hears<T>(
        &self,
        room: &RoomId,
        what: &str,
        look: impl Fn(&Value) -> Option<T>,
    ) -> T {
        eventually(
            &format!("{} hears {what}", self.name),
            PATIENCE,
            async || {
                self.try_the_unreadable_again(room).await;
                let heard = self.heard.lock().expect("what was heard");
                let mut here = heard.iter().filter(|heard| heard.room == room);
                here.find_map(|heard| look(&heard.event))
            },
        )
        .await
    }

    /// Waits until an event has come in the room's timeline, and gives it.
    pub(crate) async fn hears_of(&self, room: &RoomId, id: &EventId) -> Value {
        self.hears(room, id.as_str(), |event| {
            let is_readable = event["type"] != "m.room.encrypted";
            (event["event_id"] == id.as_str() && is_readable).then(|| event.clone())
        })
        .await
    }

    /// What the server has of a room's timeline, oldest first, read as far as this
    /// device has the keys.
    pub(crate) async fn history(&self, room: &RoomId) -> Vec<TimelineEvent> {
        let mut events = Vec::new();
        let mut from = None;
        loop {
            let mut options = MessagesOptions::backward().from(from.as_deref());
            options.limit = 20_u32.into();
            let page = self.room(room).messages(options).await.expect("a page");
            events.extend(page.chunk);
            from = page.end;
            if from.is_none() {
                events.reverse();
                return events;
            }
        }
    }

    /// Keys may come after the message: reads again what could not be read at first.
    async fn try_the_unreadable_again(&self, room: &RoomId) {
        let waiting: Vec<OwnedEventId> = {
            let heard = self.heard.lock().expect("what was heard");
            heard
                .iter()
                .filter(|heard| heard.room == room && heard.unreadable)
                .filter_map(|heard| heard.event["event_id"].as_str()?.try_into().ok())
                .collect()
        };
        for id in waiting {
            if let Ok(event) = self.room(room).event(&id, None).await {
                let again = heard_event(room.to_owned(), &event);
                if again.decrypted {
                    let mut heard = self.heard.lock().expect("what was heard");
                    let place = heard
                        .iter()
                        .position(|heard| heard.event["event_id"] == id.as_str());
                    if let Some(place) = place {
                        heard[place] = again;
                    }
                }
            }
        }
    }

    /// Waits for another person's or device's wish to verify.
    pub(crate) async fn verification_request(&self, from: &UserId) -> VerificationRequest {
        let what = format!("{}: the request to verify", self.name);
        eventually(&what, PATIENCE, async || {
            for flow in self.requested_flows(from) {
                let request = self
                    .client
                    .encryption()
                    .get_verification_request(from, &flow)
                    .await;
                if let Some(request) = request
                    && !request.we_started()
                {
                    return Some(request);
                }
            }
            None
        })
        .await
    }

    fn requested_flows(&self, from: &UserId) -> Vec<String> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let heard = self.heard.lock().expect("what was heard");
        let in_rooms = heard
            .iter()
            .map(|heard| &heard.event)
            .filter(|event| event["content"]["msgtype"] == "m.key.verification.request")
            .filter(|event| event["sender"] == from.as_str())
            .filter_map(|event| text(&event["event_id"]));
        let to_device = self.to_device.lock().expect("what came to the device");
        let direct = to_device
            .iter()
            .filter(|event| event["type"] == "m.key.verification.request")
            .filter(|event| event["sender"] == from.as_str())
            .filter_map(|event| text(&event["content"]["transaction_id"]));
        in_rooms.chain(direct).collect()
    }
}

fn heard_event(room: OwnedRoomId, event: &TimelineEvent) -> Heard {
    Heard {
        room,
        event: serde_json::from_str(event.raw().json().get()).unwrap_or_default(),
        decrypted: matches!(event.kind, TimelineEventKind::Decrypted(_)),
        unreadable: matches!(event.kind, TimelineEventKind::UnableToDecrypt { .. }),
    }
}

/// Syncs until the device is signed out, whatever happens to the server meanwhile.
async fn sync_on(
    client: Client,
    heard: Arc<std::sync::Mutex<Vec<Heard>>>,
    to_device: Arc<std::sync::Mutex<Vec<Value>>>,
    signed_out: Arc<AtomicBool>,
) {
    // Large enough that a story's timeline has no gaps.
    let mut filter = FilterDefinition::default();
    filter.room.timeline.limit = Some(1_000_u32.into());
    let mut token = SyncToken::NoToken;
    loop {
        let settings = SyncSettings::new()
            .timeout(Duration::from_secs(5))
            .filter(filter.clone().into())
            .token(token.clone());
        match client.sync_once(settings).await {
            Ok(response) => {
                token = SyncToken::Specific(response.next_batch);
                let mut heard = heard.lock().expect("what was heard");
                for (room, update) in &response.rooms.joined {
                    let events = &update.timeline.events;
                    heard.extend(events.iter().map(|event| heard_event(room.clone(), event)));
                }
                let mut to_device = to_device.lock().expect("what came to the device");
                to_device.extend(response.to_device.iter().filter_map(|event| {
                    serde_json::from_str::<Value>(event.as_raw().json().get()).ok()
                }));
            }
            Err(error) => {
                let unknown = error
                    .as_client_api_error()
                    .is_some_and(|error| error.status_code.as_u16() == 401);
                if unknown {
                    signed_out.store(true, Ordering::Relaxed);
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
