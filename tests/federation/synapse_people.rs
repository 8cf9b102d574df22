//! What people of this server and of Synapse see of each other.

use harness::pictures::{png, size};
use harness::{Synapse, User, escape, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cache;
use harness::neighbours::{Neighbour, World};

/// A Cairn and a Synapse, with somebody on each who is in the same room.
struct Pair {
    _world: World,
    _cairn: Neighbour,
    _synapse: Synapse,
    anna: User,
    sven: User,
    room: String,
}

impl Pair {
    async fn start() -> Self {
        let world = World::local(2);
        let cairn = world.start(world.name(0));
        let synapse = world.start_synapse(world.name(1), cache()).await;
        let anna = cairn.api.register("anna").await;
        let sven = synapse.api().register("sven").await;
        let room = anna.create_room(json!({ "preset": "public_chat" })).await;
        let via = escape(world.name(0));
        let path = format!("v3/join/{}?via={via}", escape(&room));
        sven.post(path, json!({})).await.ok();
        Self {
            _world: world,
            _cairn: cairn,
            _synapse: synapse,
            anna,
            sven,
            room,
        }
    }

    /// Both, each once as who is looked at.
    fn both(&self) -> [(&User, &User); 2] {
        [(&self.anna, &self.sven), (&self.sven, &self.anna)]
    }
}

async fn set_profile(user: &User, field: &str, value: &str) {
    let path = format!("v3/profile/{}/{field}", escape(&user.user_id));
    user.put(path, json!({ field: value })).await.ok();
}

#[tokio::test]
async fn each_sees_the_others_profile() {
    let pair = Pair::start().await;
    for (shown, viewer) in pair.both() {
        for (name, picture) in [("One", "mxc://x.test/one"), ("Zwei Ü", "mxc://x.test/two")] {
            set_profile(shown, "displayname", name).await;
            set_profile(shown, "avatar_url", picture).await;
            let path = format!("v3/profile/{}", escape(&shown.user_id));
            let profile = eventually("the profile", 20, async || {
                let profile = viewer.get(&path).await.ok();
                (profile["avatar_url"] == picture).then_some(profile)
            })
            .await;
            assert_eq!(profile["displayname"], name, "{profile}");
            let what = format!("{} sees the name in the room", viewer.user_id);
            eventually(&what, 20, async || {
                let member = viewer
                    .state(&escape(&pair.room), "m.room.member", &shown.user_id)
                    .await
                    .ok();
                let is_new = member["displayname"] == name && member["avatar_url"] == picture;
                is_new.then_some(())
            })
            .await;
        }
    }
}

/// What a sync has of a kind, once it fits.
async fn told(user: &User, room: &str, kind: &str, mut fits: impl FnMut(&Value) -> bool) {
    let what = format!("{} is told of {kind}", user.user_id);
    eventually(&what, 20, async || {
        let synced = user.sync().await;
        synced
            .ephemeral(room, kind)
            .is_some_and(|event| fits(&event["content"]))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_sees_the_other_type_and_read() {
    let pair = Pair::start().await;
    let room = &pair.room;
    for (active, viewer) in pair.both() {
        let path = format!(
            "v3/rooms/{}/typing/{}",
            escape(room),
            escape(&active.user_id)
        );
        let is_typing = |content: &Value| {
            let users = content["user_ids"].as_array().unwrap().iter();
            users.filter(|user| **user == *active.user_id).count() == 1
        };
        active
            .put(&path, json!({ "typing": true, "timeout": 30_000 }))
            .await
            .ok();
        told(viewer, room, "m.typing", is_typing).await;
        active.put(&path, json!({ "typing": false })).await.ok();
        eventually("nobody types", 20, async || {
            let synced = viewer.sync().await;
            let event = synced.ephemeral(room, "m.typing");
            let none = event.is_none_or(|event| !is_typing(&event["content"]));
            none.then_some(())
        })
        .await;

        let said = viewer.say(&escape(room), "read this").await;
        eventually("it arrives", 20, async || {
            (active.event(&escape(room), &said).await.status == 200).then_some(())
        })
        .await;
        let path = format!("v3/rooms/{}/receipt/m.read/{}", escape(room), escape(&said));
        active.post(path, json!({})).await.ok();
        told(viewer, room, "m.receipt", |content| {
            content[&said]["m.read"][&active.user_id].is_object()
        })
        .await;
    }
}

/// Uploads bytes, and gives server and id.
async fn upload(user: &User, kind: &str, bytes: Vec<u8>) -> String {
    let request = user
        .request(Method::POST, "/_matrix/media/v3/upload?filename=file")
        .header("Content-Type", kind)
        .body(bytes);
    let answer = user.send_request(request).await.ok();
    let uri = answer["content_uri"].as_str().unwrap();
    uri.strip_prefix("mxc://").unwrap().to_owned()
}

async fn fetch(user: &User, path: &str) -> (u16, String, Vec<u8>) {
    let response = user.request(Method::GET, path).send().await.unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap();
    let (status, kind) = (response.status().as_u16(), kind.to_owned());
    (status, kind, response.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn each_has_the_others_files_and_pictures() {
    let pair = Pair::start().await;
    for (owner, other) in pair.both() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let file = upload(owner, "application/octet-stream", bytes.clone()).await;
        let (status, kind, got) = fetch(other, &format!("v1/media/download/{file}")).await;
        assert_eq!((status, &*kind), (200, "application/octet-stream"));
        assert!(got == bytes, "{} bytes of {}", got.len(), bytes.len());

        let picture = upload(owner, "image/png", png(400, 300, 255)).await;
        let path = format!("v1/media/thumbnail/{picture}?width=96&height=96&method=crop");
        let (status, kind, got) = fetch(other, &path).await;
        assert_eq!(status, 200, "{kind}");
        assert!(kind.starts_with("image/"), "{kind}");
        assert_eq!(size(&got), (96, 96));
        let nothing = file.replace('/', "/no");
        let (status, ..) = fetch(other, &format!("v1/media/download/{nothing}")).await;
        assert_eq!(status, 404);
    }
}
