//! What one learns of everything: `/sync`, and what came before it; presence.

use harness::User;
use harness::signing::DeviceKeys;
use serde_json::{Value, json};

use crate::walk::Walk;
use crate::world::{World, relating, somebody, text};

pub(super) async fn walk(walk: &Walk, world: &World) {
    presence(walk, world).await;
    sync(walk, world).await;
    old_sync(walk, world).await;
    peeking(walk, world).await;
}

async fn presence(walk: &Walk, world: &World) {
    let set = |user: &str, presence: &str| {
        walk.to("setPresence")
            .with("userId", user)
            .by(&world.bob)
            .json(json!({ "presence": presence, "status_msg": "in a case" }))
    };
    let bob = &world.bob.user_id;
    set(bob, "online").valid().await;
    set(bob, "nonsense")
        .refused_as(
            "that is none",
            &[(400, "M_BAD_JSON"), (400, "M_INVALID_PARAM")],
        )
        .await;
    set(&world.alice.user_id, "online")
        .refused("of somebody else", 403, "M_FORBIDDEN")
        .await;
    let get = |user: &str| walk.to("getPresence").with("userId", user);
    get(bob).by(&world.alice).valid().await;
    get("@nobody:localhost")
        .by(&world.alice)
        .refused_as("of nobody", &[(404, "M_NOT_FOUND"), (403, "M_FORBIDDEN")])
        .await;
}

/// A person in every kind of room, and the room that all that happens in.
async fn liam(world: &World) -> (User, String) {
    let alice = &world.alice;
    let liam = somebody(alice, "liam").await;
    DeviceKeys::of(&liam).upload(&liam, 3).await;
    let room = alice.room_with(&[&world.bob, &world.carol, &liam]).await;
    let left = alice.room_with(&[&liam]).await;
    alice.say(&left, "before you go").await;
    let path = format!("v3/user/{}/rooms/{left}/tags/u.gone", liam.user_id);
    liam.put(path, json!({ "order": 0.5 })).await.ok();
    liam.leave(&left).await;
    let rules = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let door = alice.create_room(json!({ "initial_state": rules })).await;
    let knock = json!({ "reason": "please" });
    liam.post(format!("v3/knock/{door}"), knock).await.ok();
    let invited = alice.create_room(json!({ "name": "Come" })).await;
    alice.invite(&invited, &liam).await;
    for version in ["6", "7", "8", "9", "10", "11"] {
        let options = json!({ "preset": "public_chat", "room_version": version });
        let old = alice.create_room(options).await;
        liam.join(&old).await;
        alice.say(&old, "in an old room").await;
    }
    (liam, room)
}

/// What all kinds of news are made of.
async fn happen(world: &World, liam: &User, room: &str) {
    let (alice, bob) = (&world.alice, &world.bob);
    let mut content = text("liam?");
    content["m.mentions"] = json!({ "user_ids": [liam.user_id] });
    let root = alice.send_event(room, "m.room.message", content).await;
    let mut answer = relating("m.thread", &root, "liam, here");
    answer["m.mentions"] = json!({ "user_ids": [liam.user_id] });
    bob.send_event(room, "m.room.message", answer).await;
    let gone = bob.say(room, "oops").await;
    bob.redact(room, &gone).await;
    for receipt in ["m.read", "m.read.private"] {
        let path = format!("v3/rooms/{room}/receipt/{receipt}/{root}");
        bob.post(path, json!({})).await.ok();
    }
    let path = format!("v3/rooms/{room}/typing/{}", bob.user_id);
    let typing = json!({ "typing": true, "timeout": 30_000 });
    bob.put(path, typing).await.ok();
    let own = format!("v3/user/{}", liam.user_id);
    let path = format!("{own}/rooms/{room}/tags/m.favourite");
    liam.put(path, json!({ "order": 0.5 })).await.ok();
    let path = format!("{own}/account_data/org.example.a");
    liam.put(path, json!({ "a": 1 })).await.ok();
    let messages = json!({ "messages": { &liam.user_id: { "*": { "words": "hello" } } } });
    let path = "v3/sendToDevice/org.example.hello/for-liam";
    alice.put(path, messages).await.ok();
    world.carol.leave(room).await;
    let phone = bob.another_device().await;
    DeviceKeys::of(&phone).upload(&phone, 1).await;
    alice
        .set_state(room, "m.room.topic", "", json!({ "topic": "News" }))
        .await;
}

async fn sync(walk: &Walk, world: &World) {
    let (liam, room) = liam(world).await;
    let sync = |query: &[(&str, &str)]| {
        let call = walk.to("sync").by(&liam);
        query
            .iter()
            .fold(call, |call, (name, value)| call.query(name, value))
    };
    let all = json!({ "room": {
        "include_leave": true, "timeline": { "unread_thread_notifications": true, "limit": 5 },
        "state": { "lazy_load_members": true },
    } });
    let all = all.to_string();
    let first = sync(&[("timeout", "0"), ("filter", &all)]).valid().await;
    happen(world, &liam, &room).await;
    let since = first["next_batch"].as_str().unwrap_or_default();
    let next = [("timeout", "0"), ("since", since)];
    sync(&next).valid().await;
    sync(&[next[0], next[1], ("filter", &all)]).valid().await;
    sync(&[next[0], next[1], ("full_state", "true")])
        .valid()
        .await;
    sync(&[next[0], next[1], ("use_state_after", "true")])
        .valid()
        .await;
    sync(&[("timeout", "0"), ("use_state_after", "true")])
        .valid()
        .await;
    sync(&[("since", "no token"), next[0]])
        .refused_as(
            "since a token that nobody gave",
            &[(400, "M_INVALID_PARAM"), (400, "M_UNKNOWN_POS")],
        )
        .await;
    sync(&[("filter", "{"), next[0]])
        .refused_as(
            "with a filter that is none",
            &[
                (400, "M_INVALID_PARAM"),
                (400, "M_NOT_JSON"),
                (400, "M_BAD_JSON"),
            ],
        )
        .await;
}

async fn old_sync(walk: &Walk, world: &World) {
    let to = |id: &str| walk.to(id).by(&world.bob);
    let first = to("initialSync").query("limit", "3").valid().await;
    world.alice.say(&world.hall, "something new").await;
    let from = match first["end"].as_str() {
        Some(end) => end.to_owned(),
        None => world.bob.sync().await.next_batch().to_owned(),
    };
    world.alice.say(&world.hall, "and something more").await;
    to("getEvents")
        .query("from", &from)
        .query("timeout", "0")
        .valid()
        .await;
    to("getEvents")
        .query("from", "no token")
        .refused_as(
            "from a token that nobody gave",
            &[(400, "M_INVALID_PARAM"), (400, "M_BAD_PAGINATION")],
        )
        .await;
    to("getOneEvent")
        .with("eventId", &world.message)
        .valid()
        .await;
    to("getOneEvent")
        .with("eventId", "$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
        .refused("that is not there", 404, "M_NOT_FOUND")
        .await;
}

async fn peeking(walk: &Walk, world: &World) {
    let path = format!(
        "v3/user/{}/rooms/{}/account_data/org.example.peek",
        world.bob.user_id, world.hall
    );
    world.bob.put(path, json!({ "a": 1 })).await.ok();
    let room = |id: &str, room: &str| walk.to(id).with("roomId", room);
    room("roomInitialSync", &world.hall)
        .by(&world.bob)
        .valid()
        .await;
    room("roomInitialSync", &world.secret)
        .by(&world.carol)
        .refused("by one who is not in the room", 403, "M_FORBIDDEN")
        .await;
    let first = world
        .dave
        .get(format!("v3/rooms/{}/initialSync", world.hall));
    let first: Value = first.await.body;
    world.alice.say(&world.hall, "to those who peek").await;
    let from = first["messages"]["end"].as_str().unwrap_or("");
    let peek = walk
        .to("peekEvents")
        .by(&world.dave)
        .query("room_id", &world.hall)
        .query("timeout", "0");
    let peek = if from.is_empty() {
        peek
    } else {
        peek.query("from", from)
    };
    peek.valid().await;
    // She never was there.
    walk.to("peekEvents")
        .by(&world.carol)
        .query("room_id", &world.secret)
        .query("timeout", "0")
        .refused("into a room that is not open", 403, "M_FORBIDDEN")
        .await;
}
