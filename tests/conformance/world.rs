//! The people and rooms that the cases are about.

use std::net::SocketAddr;

use harness::signing::{CrossSigning, DeviceKeys};
use harness::{PASSWORD, Server, User, pictures};
use serde_json::{Value, json};

/// How many messages the hall's history holds beside the others: three pages.
const MESSAGES: usize = 30;

/// What the cases find when they begin.
pub(crate) struct World {
    /// The hall's creator, with device keys and cross-signing keys.
    pub(crate) alice: User,
    pub(crate) alice_keys: DeviceKeys,
    pub(crate) alice_cross_signing: CrossSigning,
    /// In the hall, with device keys and one-time keys.
    pub(crate) bob: User,
    /// In the hall.
    pub(crate) carol: User,
    /// In no room that others are in.
    pub(crate) dave: User,
    /// Administrator of the server.
    pub(crate) admin: User,
    /// A public room, `#hall:localhost`, of alice, bob and carol.
    pub(crate) hall: String,
    /// A message of bob's, with a reaction, an edit, a reference and a thread.
    pub(crate) root: String,
    /// An answer in the thread.
    pub(crate) reply: String,
    /// A message without anything.
    pub(crate) message: String,
    /// A message of bob's that he took back.
    pub(crate) redacted: String,
    /// State that replaced other state.
    pub(crate) topic: String,
    /// A space with the hall in it, and another room.
    pub(crate) space: String,
    /// A room of alice's alone.
    pub(crate) secret: String,
    /// `mxc://localhost/…` of a PNG, 64 by 48.
    pub(crate) picture: String,
    /// An invitation token for registration.
    pub(crate) invitation: String,
    /// The web server beside the homeserver.
    pub(crate) companion: SocketAddr,
}

/// A text message's content.
pub(crate) fn text(words: &str) -> Value {
    json!({ "msgtype": "m.text", "body": words })
}

/// The content of a message that relates to another event.
pub(crate) fn relating(kind: &str, event: &str, words: &str) -> Value {
    let mut content = text(words);
    content["m.relates_to"] = json!({ "rel_type": kind, "event_id": event });
    content
}

impl World {
    /// Makes it all.
    pub(crate) async fn prepare(server: &Server, companion: SocketAddr) -> Self {
        let api = server.api();
        let alice = api.register_as("alice").await;
        let bob = api.register_as("bob").await;
        let carol = api.register_as("carol").await;
        let dave = api.register_as("dave").await;
        let admin = api.register_as("admin").await;
        server.cairn_json(&["user", "promote", "admin"]);
        let picture = upload(&alice).await;
        let profile = format!("v3/profile/{}", alice.user_id);
        for (name, value) in [
            ("displayname", json!("Alice")),
            ("avatar_url", json!(picture)),
            ("m.tz", json!("Europe/Berlin")),
        ] {
            let body = json!({ name: value });
            alice.put(format!("{profile}/{name}"), body).await.ok();
        }
        let alice_keys = DeviceKeys::of(&alice);
        alice_keys.upload(&alice, 5).await;
        DeviceKeys::of(&bob).upload(&bob, 20).await;
        let alice_cross_signing = CrossSigning::of(&alice);
        let path = "v3/keys/device_signing/upload";
        alice
            .post(path, alice_cross_signing.upload.clone())
            .await
            .ok();
        let hall = hall(&alice, &picture).await;
        for person in [&bob, &carol] {
            person.join(&hall).await;
        }
        let (root, reply) = thread(&hall, &alice, &bob, &carol).await;
        let redacted = bob.say(&hall, "oops").await;
        bob.redact(&hall, &redacted).await;
        let topic = json!({ "topic": "What came up" });
        let topic = alice.set_state(&hall, "m.room.topic", "", topic).await;
        let message = carol.say(&hall, "nothing about this").await;
        let secret = alice.create_room(json!({ "preset": "private_chat" })).await;
        let space = space(&alice, &[&hall]).await;
        Self {
            invitation: server.invitation(),
            alice,
            alice_keys,
            alice_cross_signing,
            bob,
            carol,
            dave,
            admin,
            hall,
            root,
            reply,
            message,
            redacted,
            topic,
            space,
            secret,
            picture,
            companion,
        }
    }

    /// The picture's media id.
    pub(crate) fn media_id(&self) -> &str {
        self.picture.rsplit('/').next().unwrap_or_default()
    }
}

/// A user with this name for one case alone.
pub(crate) async fn somebody(alice: &User, name: &str) -> User {
    let body = json!({
        "username": name, "password": PASSWORD, "auth": { "type": "m.login.dummy" },
    });
    let made = alice.anonymous().post("v3/register", body).await.ok();
    alice.user_of(made)
}

async fn upload(user: &User) -> String {
    let request = user
        .request(reqwest::Method::POST, "/_matrix/media/v3/upload")
        .header("Content-Type", "image/png")
        .body(pictures::png(64, 48, 255));
    let made = user.send_request(request).await.ok();
    made["content_uri"].as_str().expect("a URI").to_owned()
}

async fn hall(alice: &User, picture: &str) -> String {
    alice
        .create_room(json!({
            "preset": "public_chat",
            "visibility": "public",
            "room_alias_name": "hall",
            "name": "The hall",
            "topic": "Whatever comes up",
            "initial_state": [
                { "type": "m.room.avatar", "content": { "url": picture } },
                { "type": "m.room.history_visibility",
                  "content": { "history_visibility": "world_readable" } },
                { "type": "m.room.guest_access", "content": { "guest_access": "can_join" } },
            ],
        }))
        .await
}

/// Fills the hall's history; the thread's root and its newest answer.
async fn thread(hall: &str, alice: &User, bob: &User, carol: &User) -> (String, String) {
    for number in 0..MESSAGES {
        alice.say(hall, &format!("message {number}")).await;
    }
    let root = bob.say(hall, "shall we?").await;
    let reaction = json!({
        "m.relates_to": { "rel_type": "m.annotation", "event_id": root, "key": "yes" },
    });
    alice.send_event(hall, "m.reaction", reaction).await;
    let mut edit = relating("m.replace", &root, "* shall we, please?");
    edit["m.new_content"] = text("shall we, please?");
    bob.send_event(hall, "m.room.message", edit).await;
    let reference = relating("m.reference", &root, "about that");
    carol.send_event(hall, "m.room.message", reference).await;
    let mut reply = String::new();
    for number in 0..4 {
        let content = relating("m.thread", &root, &format!("answer {number}"));
        reply = carol.send_event(hall, "m.room.message", content).await;
    }
    let other = alice.say(hall, "another thread").await;
    let content = relating("m.thread", &other, "with one answer");
    bob.send_event(hall, "m.room.message", content).await;
    (root, reply)
}

/// A space with these children and one more.
async fn space(alice: &User, children: &[&str]) -> String {
    let more = alice
        .create_room(json!({ "preset": "public_chat", "name": "Beside" }))
        .await;
    let children: Vec<Value> = children
        .iter()
        .copied()
        .chain([more.as_str()])
        .map(|child| {
            let content = json!({ "via": ["localhost"], "suggested": true, "order": "a" });
            json!({ "type": "m.space.child", "state_key": child, "content": content })
        })
        .collect();
    alice
        .create_room(json!({
            "preset": "public_chat", "name": "The council", "topic": "All its rooms",
            "creation_content": { "type": "m.space" }, "initial_state": children,
        }))
        .await
}
