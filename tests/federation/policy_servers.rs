//! A room lets a peer that a test plays look at its events (server-server API, "Policy
//! Servers").

use std::sync::Arc;

use harness::signing::{Key, is_signed};
use harness::{Answer, User, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::peer::{Behaviour, Judge, Peer};
use crate::visitors::{Visitor, redacted};
use harness::neighbours::{Neighbour, World};

const SIGN: &str = "/_matrix/policy/v1/sign";
const KEY: &str = "ed25519:policy_server";
const PEER: &str = "b.test";

/// A server, and a peer that looks at events with a key of its own.
struct Watched {
    _world: World,
    a: Neighbour,
    peer: Peer,
    key: Arc<Key>,
    /// Lets one event that says `slow` go on.
    slow: Arc<Semaphore>,
}

/// The signature of an event, as a policy server answers it.
fn signature(key: &Key, event: &Value) -> Value {
    let mut signed = redacted(event);
    signed["signatures"] = json!({});
    key.sign(&mut signed, PEER, "policy_server");
    signed["signatures"].clone()
}

impl Watched {
    async fn start() -> Self {
        let world = World::of(&["a.test", PEER]);
        let a = world.start("a.test");
        let peer = Peer::start(&world, PEER).await;
        peer.on_transactions(200, json!({ "pdus": {} }));
        let (key, slow) = (Arc::new(Key::new()), Arc::new(Semaphore::new(0)));
        let (signer, pace) = (key.clone(), slow.clone());
        let judge = Judge::new(move |event: Value| {
            let (key, slow) = (signer.clone(), pace.clone());
            async move {
                let refused = |status, errcode: &str| {
                    let told = json!({ "errcode": errcode, "error": "It looks like spam." });
                    (status, told)
                };
                match event["content"]["body"].as_str() {
                    Some("spam") => refused(400, "M_FORBIDDEN"),
                    Some("own word") => refused(403, "ORG.EXAMPLE_SPAM"),
                    Some("session") => refused(401, "M_UNKNOWN_TOKEN"),
                    Some("ill") => refused(503, "M_UNKNOWN"),
                    Some("forged") => (200, signature(&Key::new(), &event)),
                    Some("mute") => (200, json!({})),
                    Some("slow") => {
                        slow.acquire().await.unwrap().forget();
                        (200, signature(&key, &event))
                    }
                    _ => (200, signature(&key, &event)),
                }
            }
        });
        peer.on(SIGN, Behaviour::By(judge));
        Self {
            _world: world,
            a,
            peer,
            key,
            slow,
        }
    }

    /// Somebody of the peer, who is in the room.
    async fn visitor(&self, room: &str) -> Visitor<'_> {
        let door = (&self.a.door, "a.test");
        Visitor::join(&self.peer, door, "@watch:b.test", room).await
    }

    fn policy(&self) -> Value {
        json!({ "via": PEER, "public_keys": { "ed25519": self.key.public() } })
    }

    /// How often the peer was asked for a signature.
    fn questions(&self) -> usize {
        self.peer
            .asked()
            .iter()
            .filter(|path| *path == SIGN)
            .count()
    }

    /// An event as the peer was sent it, once it was.
    async fn sent(&self, event_id: &str) -> Value {
        eventually("the event is sent to the peer", 30, async || {
            let transactions = self.peer.transactions();
            let mut pdus = transactions
                .iter()
                .flat_map(|sent| sent.body["pdus"].as_array().unwrap());
            pdus.find(|pdu| crate::visitors::event_id(pdu) == event_id)
                .cloned()
        })
        .await
    }

    /// Whether the policy server's signature of an event is right.
    fn is_recommended(&self, event: &Value) -> bool {
        let mut signed = redacted(event);
        signed.as_object_mut().unwrap().remove("signatures");
        let signature = event["signatures"][PEER][KEY].as_str();
        signature.is_some_and(|it| is_signed(&signed, &self.key.public(), it))
    }
}

async fn try_say(user: &User, room: &str, text: &str) -> Answer {
    let content = json!({ "msgtype": "m.text", "body": text });
    user.try_send_event(room, "m.room.message", content).await
}

/// What was said in a room, newest first.
async fn said(user: &User, room: &str) -> Vec<String> {
    let path = format!("v3/rooms/{room}/messages?dir=b&limit=100");
    let page = user.get(path).await.ok();
    let bodies = page["chunk"].as_array().unwrap().iter();
    bodies
        .filter_map(|event| event["content"]["body"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn own_events_are_signed_or_refused() {
    let watched = Watched::start().await;
    let alice = watched.a.api.register_as("alice").await;
    let bob = watched.a.api.register_as("bob").await;
    let room = alice.public_room().await;
    // Nobody of it is in the room: it is not asked.
    alice
        .set_state(&room, "m.room.policy", "", watched.policy())
        .await;
    alice.say(&room, "spam").await;
    assert_eq!(watched.questions(), 0);
    let _visitor = watched.visitor(&room).await;

    let hello = alice.say(&room, "hello").await;
    let hello = watched.sent(&hello).await;
    assert!(watched.is_recommended(&hello), "{hello}");
    assert!(hello["signatures"]["a.test"].is_object(), "{hello}");
    bob.join(&room).await;
    assert_eq!(watched.questions(), 2);

    for (text, status, errcode) in [
        ("spam", 400, "M_FORBIDDEN"),
        ("own word", 403, "ORG.EXAMPLE_SPAM"),
        ("session", 403, "M_FORBIDDEN"),
        ("forged", 502, "M_UNKNOWN"),
        ("mute", 502, "M_UNKNOWN"),
    ] {
        let refused = try_say(&alice, &room, text).await;
        let told = refused.refused(status, errcode);
        if status < 500 {
            assert_eq!(told["error"], "It looks like spam.");
        }
    }
    assert_eq!(said(&bob, &room).await, ["hello", "spam"]);

    // What names it is not asked about, and gets rid of it.
    let before = watched.questions();
    alice.set_state(&room, "m.room.policy", "", json!({})).await;
    alice.say(&room, "spam").await;
    assert_eq!(watched.questions(), before);
    let other_key = alice.set_state(&room, "m.room.policy", "", watched.policy());
    other_key.await;
    assert_eq!(watched.questions(), before);
    let keyed = alice.try_set_state(&room, "m.room.policy", "key", json!({ "body": "spam" }));
    keyed.await.refused(400, "M_FORBIDDEN");
    let path = format!("v3/rooms/{room}/send/m.room.message/once");
    let content = json!({ "msgtype": "m.text", "body": "once" });
    let once = alice.put(&path, content.clone()).await.ok();
    assert_eq!(alice.put(&path, content).await.ok(), once);
    let known = alice
        .event(&room, once["event_id"].as_str().unwrap())
        .await
        .ok();
    assert_eq!(known["unsigned"]["transaction_id"], "once");
    // Last: one that fails is left alone for a while.
    let ill = try_say(&alice, &room, "ill").await;
    ill.refused(502, "M_UNKNOWN");
}

#[tokio::test]
async fn the_room_goes_on_while_a_policy_server_thinks() {
    let watched = Watched::start().await;
    let alice = watched.a.api.register_as("alice").await;
    let bob = watched.a.api.register_as("bob").await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    let _visitor = watched.visitor(&room).await;
    alice
        .set_state(&room, "m.room.policy", "", watched.policy())
        .await;

    let (slow_alice, slow_room) = (alice.clone(), room.clone());
    let slow = tokio::spawn(async move { slow_alice.say(&slow_room, "slow").await });
    eventually("it is asked", 30, async || {
        (watched.questions() == 1).then_some(())
    })
    .await;
    let quick = bob.say(&room, "quick").await;
    assert_eq!(said(&alice, &room).await, ["quick"]);
    watched.slow.add_permits(1);
    let slow = slow.await.unwrap();
    let mut both = said(&bob, &room).await;
    both.sort();
    assert_eq!(both, ["quick", "slow"]);
    // Both ends of the room are what comes next after.
    let last = bob.say(&room, "last").await;
    let last = watched.sent(&last).await;
    let mut before: Vec<&str> = last["prev_events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_str().unwrap())
        .collect();
    before.sort_unstable();
    let mut expected = [quick.as_str(), slow.as_str()];
    expected.sort_unstable();
    assert_eq!(before, expected);

    // What the room does not allow any more when the answer comes is refused.
    let (slow_bob, slow_room) = (bob.clone(), room.clone());
    let asked = watched.questions();
    let slow = tokio::spawn(async move { try_say(&slow_bob, &slow_room, "slow").await });
    eventually("it is asked", 30, async || {
        (watched.questions() > asked).then_some(())
    })
    .await;
    alice.act_on("ban", &room, &bob).await.ok();
    watched.slow.add_permits(1);
    slow.await.unwrap().refused(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn events_of_others_are_shown_if_they_are_recommended() {
    let watched = Watched::start().await;
    let alice = watched.a.api.register_as("alice").await;
    let room = alice.public_room().await;
    let mut visitor = watched.visitor(&room).await;
    alice
        .set_state(&room, "m.room.policy", "", watched.policy())
        .await;

    let text = |text: &str| json!({ "msgtype": "m.text", "body": text });
    // With a signature, without, with a wrong one, and refused.
    let (_, mut signed) = visitor.event("m.room.message", None, text("signed"));
    let own = signature(&watched.key, &signed)[PEER][KEY].clone();
    signed["signatures"][PEER][KEY] = own;
    visitor.transact("1", json!([signed]), json!([])).await.ok();
    assert_eq!(watched.questions(), 0);
    let (plain_id, plain) = visitor.event("m.room.message", None, text("plain"));
    let (_, mut wrong) = visitor.event("m.room.message", None, text("wrong"));
    let other = signature(&Key::new(), &wrong)[PEER][KEY].clone();
    wrong["signatures"][PEER][KEY] = other;
    let (spam_id, spam) = visitor.event("m.room.message", None, text("spam"));
    let (_, after) = visitor.event("m.room.message", None, text("after"));
    let pdus = json!([plain, wrong, spam, after]);
    let taken = visitor.transact("2", pdus, json!([])).await.ok();
    assert_eq!(taken["pdus"][&spam_id], json!({}), "{taken}");
    assert_eq!(watched.questions(), 4);
    let told = said(&alice, &room).await;
    assert_eq!(told, ["after", "wrong", "plain", "signed"]);
    alice
        .event(&room, &spam_id)
        .await
        .refused(404, "M_NOT_FOUND");

    // Kept with the signature that it was given, and sent so.
    let uri = format!(
        "/_matrix/federation/v1/event/{}",
        harness::escape(&plain_id)
    );
    let kept = watched.peer.get(&watched.a.door, "a.test", &uri).await.ok();
    assert!(watched.is_recommended(&kept["pdus"][0]), "{kept}");
    assert!(kept["pdus"][0]["signatures"][PEER]["ed25519:1"].is_string());
}

#[tokio::test]
async fn the_end_of_a_room_is_signed_too() {
    let watched = Watched::start().await;
    let alice = watched.a.api.register_as("alice").await;
    for (old, new) in [("11", "12"), ("11", "11")] {
        let options = json!({ "room_version": old, "preset": "public_chat" });
        let room = alice.create_room(options).await;
        let _visitor = watched.visitor(&room).await;
        alice
            .set_state(&room, "m.room.policy", "", watched.policy())
            .await;
        let before = watched.questions();
        let path = format!("v3/rooms/{room}/upgrade");
        let moved = alice.post(path, json!({ "new_version": new })).await.ok();
        assert!(watched.questions() > before);
        let path = format!("v3/rooms/{room}/state/m.room.tombstone/?format=event");
        let tombstone = alice.get(path).await.ok();
        let content = &tombstone["content"];
        assert_eq!(content["replacement_room"], moved["replacement_room"]);
        let sent = watched.sent(tombstone["event_id"].as_str().unwrap()).await;
        assert!(watched.is_recommended(&sent), "{sent}");
        let replacement = moved["replacement_room"].as_str().unwrap();
        let create = alice.state(replacement, "m.room.create", "").await.ok();
        assert_eq!(create["predecessor"]["room_id"], room.as_str());
        // The levels with which nobody speaks in the old room any more.
        let levels = alice.state(&room, "m.room.power_levels", "").await.ok();
        assert!(levels["events_default"].as_i64().unwrap() >= 50, "{levels}");
    }
}

#[tokio::test]
async fn this_server_is_no_policy_server() {
    let world = World::of(&["a.test", PEER]);
    let a = world.start("a.test");
    let peer = Peer::start(&world, PEER).await;
    let asked = peer.send(
        &a.door,
        "a.test",
        Method::POST,
        SIGN,
        json!({ "type": "x" }),
    );
    asked.await.refused(404, "M_UNRECOGNIZED");
    let page = a.api.get("/.well-known/matrix/policy_server").await;
    assert_eq!(page.status, 404);
    // One whose room names it writes there as everywhere.
    let alice = a.api.register_as("alice").await;
    let room = alice.public_room().await;
    let own = json!({ "via": "a.test", "public_keys": { "ed25519": "" } });
    alice.set_state(&room, "m.room.policy", "", own).await;
    alice.say(&room, "hello").await;
}
