//! Servers that send what they may not, and more of it than anybody needs.

use std::time::{Duration, Instant};

use harness::neighbours::{Neighbour, World};
use harness::signing::Key;
use reqwest::Method;
use serde_json::{Value, json};

use crate::peer::{Behaviour, Peer, now};
use crate::visitors::{Visitor, event_id, sign};

const BOB: &str = "@bob:b.test";
const DAY: u64 = 24 * 60 * 60 * 1_000;

fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

async fn world() -> (World, Neighbour, Peer) {
    let world = World::of(&["a.test", "b.test"]);
    let a = world.start("a.test");
    let peer = Peer::start(&world, "b.test").await;
    peer.on_transactions(200, json!({ "pdus": {} }));
    (world, a, peer)
}

/// What a counter says; zero if it is not there.
async fn metric(a: &Neighbour, line: &str) -> u64 {
    let text = a.api.get("/metrics").await.text;
    let found = text.lines().find_map(|found| found.strip_prefix(line));
    found.map_or(0, |number| number.trim().parse().unwrap())
}

async fn events(a: &Neighbour, outcome: &str) -> u64 {
    let line = format!("cairn_federation_received_events_total{{outcome=\"{outcome}\"}}");
    metric(a, &line).await
}

/// An event of Bob's that was changed before it was signed, and its id.
fn made(peer: &Peer, bob: &mut Visitor<'_>, change: impl FnOnce(&mut Value)) -> (String, Value) {
    let last = bob.last.clone();
    let (_, mut event) = bob.event("m.room.message", None, text("hello"));
    bob.last = last;
    change(&mut event);
    for field in ["hashes", "signatures"] {
        event.as_object_mut().unwrap().remove(field);
    }
    sign(peer, &mut event);
    (event_id(&event), event)
}

/// Bob's events that no server may take, by what is wrong with them, whether Bob's server is
/// told so: it is not where the room's rules are what is against them.
fn refused(
    peer: &Peer,
    bob: &mut Visitor<'_>,
    elsewhere: &str,
) -> Vec<(&'static str, bool, String, Value)> {
    const BY_THE_RULES: [&str; 3] = [
        "allowed by what nobody has",
        "power that nobody has given",
        "a ban",
    ];
    let mut all = Vec::new();
    let mut add = |what, (id, event): (String, Value)| {
        all.push((what, !BY_THE_RULES.contains(&what), id, event));
    };
    let (id, mut forged) = made(peer, bob, |_| {});
    forged["signatures"] = json!({});
    Key::new().sign(&mut forged, "b.test", "1");
    add("another key", (id, forged));
    let (id, mut unsigned) = made(peer, bob, |event| event["content"]["n"] = 1.into());
    unsigned["signatures"] = json!({});
    add("no signature", (id, unsigned));
    let alice = "@alice:a.test";
    let changed = made(peer, bob, |event| event["sender"] = alice.into());
    add("in the name of another server's user", changed);
    let later = now() + 30 * DAY;
    let changed = made(peer, bob, |event| event["origin_server_ts"] = later.into());
    add("longer ahead than the key is valid", changed);
    let changed = made(peer, bob, |event| event["room_id"] = elsewhere.into());
    add("in a room of others", changed);
    let changed = made(peer, bob, |event| {
        event["type"] = "m.room.power_levels".into();
        event["state_key"] = "".into();
        event["content"] = json!({ "users": { BOB: 100 } });
    });
    add("power that nobody has given", changed);
    let changed = made(peer, bob, |event| {
        event["prev_events"] = json!([format!("${}", "A".repeat(43))]);
    });
    add("after what nobody has", changed);
    let changed = made(peer, bob, |event| {
        event["auth_events"] = json!([format!("${}", "B".repeat(43))]);
    });
    add("allowed by what nobody has", changed);
    let changed = made(peer, bob, |event| {
        event["type"] = "m.room.member".into();
        event["state_key"] = alice.into();
        event["content"] = json!({ "membership": "ban" });
    });
    add("a ban", changed);
    all
}

/// Bob's events that are none at all.
fn unusable(peer: &Peer, bob: &mut Visitor<'_>) -> Vec<(&'static str, Value)> {
    let deep = |levels: usize| -> Value {
        let text = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        serde_json::from_str(&text).unwrap()
    };
    let id = bob.last.0.clone();
    let mut all = vec![("no object", json!(7)), ("empty", json!({}))];
    let mut add = |what, change: &dyn Fn(&mut Value)| {
        all.push((what, made(peer, bob, |event| change(event)).1));
    };
    add("too large", &|event| {
        event["content"]["body"] = "x".repeat(65_536).into()
    });
    add("too deep", &|event| event["content"]["body"] = deep(110));
    add("too long a type", &|event| {
        event["type"] = "x".repeat(256).into()
    });
    add("a fraction", &|event| event["content"]["n"] = 1.5.into());
    add("a number too large", &|event| {
        event["depth"] = (1_u64 << 60).into()
    });
    add("too many before it", &|event| {
        event["prev_events"] = vec![id.as_str(); 21].into()
    });
    add("too many that allow it", &|event| {
        event["auth_events"] = vec![id.as_str(); 11].into()
    });
    add("no list before it", &|event| {
        event["prev_events"] = json!({})
    });
    add("a room of nobody", &|event| {
        event["room_id"] = "!nowhere:b.test".into()
    });
    add("no room", &|event| event["room_id"] = json!(null));
    all
}

#[tokio::test]
async fn what_is_forged_or_out_of_bounds_is_no_event() {
    let (_world, a, peer) = world().await;
    let alice = a.api.register_as("alice").await;
    let room = alice.public_room().await;
    let elsewhere = alice.public_room().await;
    let mut bob = Visitor::join(&peer, (&a.door, "a.test"), BOB, &room).await;
    let since = alice.sync().await;
    let (taken_before, refused_before) = (events(&a, "taken").await, events(&a, "refused").await);

    let refused = refused(&peer, &mut bob, &elsewhere);
    let unusable = unusable(&peer, &mut bob);
    let (good, event) = bob.event("m.room.message", None, text("good"));
    let mut sent: Vec<&Value> = refused.iter().map(|(.., event)| event).collect();
    sent.extend(unusable.iter().map(|(_, event)| event));
    sent.push(&event);
    let answer = bob.transact("t", json!(sent), json!([])).await.ok();
    for (what, is_told, id, _) in &refused {
        let told = answer["pdus"][id]["error"].is_string();
        assert_eq!(told, *is_told, "{what}: {answer}");
    }
    assert_eq!(answer["pdus"][&good], json!({}), "{answer}");
    let told = answer["pdus"].as_object().unwrap();
    assert_eq!(told.len(), refused.len() + 1, "{answer}");

    // Nothing but the good one is there, for anybody.
    let synced = alice.sync_since(&since).await;
    let bodies: Vec<_> = synced
        .timeline(&room)
        .iter()
        .map(|event| &event["content"])
        .collect();
    assert_eq!(bodies, [&text("good")]);
    assert!(synced.joined(&elsewhere).is_null(), "{:?}", synced.0);
    for (what, _, id, _) in &refused {
        let answer = alice.event(&room, id).await;
        assert_eq!(answer.status, 404, "{what}: {answer:?}");
    }
    let levels = alice.state(&room, "m.room.power_levels", "").await.ok();
    assert_eq!(levels["users"][BOB], json!(null), "{levels}");

    // Each is counted.
    let told = refused.iter().filter(|(_, is_told, ..)| *is_told).count() as u64;
    let rest = refused.len() as u64 - told;
    assert_eq!(events(&a, "refused").await - refused_before, told);
    assert_eq!(events(&a, "taken").await - taken_before, rest + 1);
    assert_eq!(events(&a, "unusable").await, unusable.len() as u64);
}

#[tokio::test]
async fn changed_content_is_taken_away() {
    let (_world, a, peer) = world().await;
    let alice = a.api.register_as("alice").await;
    let room = alice.public_room().await;
    let mut bob = Visitor::join(&peer, (&a.door, "a.test"), BOB, &room).await;
    let (id, mut changed) = bob.event("m.room.message", None, text("hello"));
    changed["content"]["body"] = "changed".into();
    let answer = bob.transact("t", json!([changed]), json!([])).await.ok();
    assert_eq!(answer["pdus"][&id], json!({}), "{answer}");
    let shown = alice.event(&room, &id).await.ok();
    assert_eq!(shown["content"], json!({}), "{shown}");
}

#[tokio::test]
async fn requests_that_are_too_much_are_refused_at_the_door() {
    let (_world, a, peer) = world().await;
    a.api.register_as("alice").await;
    let uri = "/_matrix/federation/v1/send/t";
    // Deeper than anything that is read as a whole.
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    let request = a
        .door
        .request(Method::PUT, uri)
        .body(format!("{{\"edus\":{deep}}}"));
    let authorization = peer.authorization("a.test", "PUT", uri, Some(&json!({})));
    let answer = a
        .door
        .send_request(request.header("Authorization", authorization));
    let answer = answer.await;
    assert!(matches!(answer.status, 400 | 401), "{answer:?}");
    // More bytes than fifty events and a hundred messages can have: the server does not even
    // read all of them.
    let content = json!({ "origin": "b.test", "x": "x".repeat(64 << 20) });
    let authorization = peer.authorization("a.test", "PUT", uri, Some(&content));
    let request = a.door.request(Method::PUT, uri).body(content.to_string());
    let request = request.header("Authorization", authorization);
    if let Ok(answer) = a.door.try_request(request).await {
        answer.refused(413, "M_TOO_LARGE");
    }
    a.api.get("versions").await.ok();
}

#[tokio::test]
async fn redirects_end() {
    let world = World::local(3);
    let a = world.start(world.name(0));
    let b = Peer::start(&world, world.name(1)).await;
    let c = Peer::start(&world, world.name(2)).await;
    let alice = a.api.register_as("alice").await;
    // A file that lies with the other, where it lies with the first.
    for (peer, other) in [(&b, &c), (&c, &b)] {
        let place = Behaviour::Redirect(format!("https://{}/file", other.name));
        peer.on("/file", place.clone());
        peer.on("/_matrix/federation/v1/media/download/abc", place);
    }
    let begun = Instant::now();
    let path = format!("v1/media/download/{}/abc?timeout_ms=10000", b.name);
    let answer = alice.get(path).await;
    assert!(matches!(answer.status, 404 | 502 | 504), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    let asked = b.asked().len() + c.asked().len();
    assert!((1..40).contains(&asked), "{:?} {:?}", b.asked(), c.asked());
}

/// What a hundred messages of a hostile server are about: nothing that is here.
fn messages(number: usize, alice: &str, device: &str) -> Value {
    let messages = (0..100).map(|at| {
        let number = number * 100 + at;
        let user = format!("@user{number}:b.test");
        let room = format!("!room{number}:b.test");
        let (kind, content) = match at % 7 {
            0 => (
                "m.typing",
                json!({ "room_id": room, "user_id": user, "typing": true }),
            ),
            1 => (
                "m.receipt",
                json!({ &room: { "m.read": { &user: {
                    "data": { "ts": number }, "event_ids": [format!("$event{number}")],
                } } } }),
            ),
            2 => (
                "m.presence",
                json!({ "push": [{
                    "user_id": user, "presence": "online", "last_active_ago": 1,
                    "status_msg": "x".repeat(100),
                }] }),
            ),
            3 => (
                "m.device_list_update",
                json!({
                    "user_id": user, "device_id": "D", "stream_id": number, "prev_id": [],
                    "deleted": false,
                }),
            ),
            4 => (
                "m.direct_to_device",
                json!({
                    "sender": user, "type": "x", "message_id": format!("m{number}"),
                    "messages": { alice: { device: { "n": "x".repeat(200) } } },
                }),
            ),
            5 => ("m.signing_key_update", json!({ "user_id": user })),
            _ => ("org.example.new", json!({ "n": number })),
        };
        json!({ "edu_type": kind, "content": content })
    });
    Value::Array(messages.collect())
}

/// What a process has in the machine's memory, in MiB.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.unwrap().trim().strip_suffix("kB").unwrap();
    size.trim().parse::<u64>().unwrap() / 1024
}

fn bytes_below(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        Ok(found) => found.len(),
        // Removed meanwhile.
        Err(_) => 0,
    });
    sizes.sum()
}

/// How many transactions of a hundred messages come; `make flood` sends many more.
fn flood() -> usize {
    let told = std::env::var("FEDERATION_FLOOD").ok();
    told.map_or(1_000, |told| {
        told.parse().expect("a number of transactions")
    })
}

#[tokio::test]
async fn a_flood_of_messages_fills_nothing() {
    let (_world, a, peer) = world().await;
    let alice = a.api.register_as("alice").await;
    let room = alice.public_room().await;
    let mut bob = Visitor::join(&peer, (&a.door, "a.test"), BOB, &room).await;
    let process = a.server.process_id();
    let (flood, mut before) = (flood(), 0);
    for number in 0..flood {
        let edus = messages(number, &alice.user_id, &alice.device_id);
        let answer = bob.transact(&format!("t{number}"), json!([]), edus).await;
        assert_eq!(answer.ok(), json!({ "pdus": {} }));
        // What caches and queues keep at most, they have by then, or nearly so.
        if number == flood / 5 {
            before = resident(process);
        }
    }
    let growth = resident(process).saturating_sub(before);
    assert!(growth < 64, "{growth} MiB more than {before}");
    // The device's queue is full, and everything else is gone.
    let disk = bytes_below(&a.server.data_dir()) >> 20;
    assert!(disk < 128, "{disk} MiB");

    // Others are served as before.
    let (good, event) = bob.event("m.room.message", None, text("good"));
    let begun = Instant::now();
    let answer = bob.transact("good", json!([event]), json!([])).await.ok();
    assert_eq!(answer["pdus"][&good], json!({}), "{answer}");
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    alice.event(&room, &good).await.ok();

    // Each kind is counted, and most of it as refused.
    let count = async |kind: &str, outcome: &str| {
        let line = format!("cairn_federation_edus_total{{outcome=\"{outcome}\",type=\"{kind}\"}}");
        metric(&a, &line).await
    };
    let each = u64::try_from(flood).unwrap() * 14;
    for kind in ["m.typing", "m.receipt", "m.presence"] {
        assert_eq!(count(kind, "taken").await, 0, "{kind}");
        assert!(count(kind, "refused").await >= each, "{kind}");
    }
    assert!(count("other", "unknown").await >= each);
    eprintln!("{flood}00 messages: {growth} MiB of memory more than {before}, {disk} MiB of disk");
}

#[tokio::test]
async fn who_asks_too_often_is_told_to_wait() {
    let world = World::of(&["a.test", "b.test"]);
    let mut config = world.config("a.test", "");
    config.limits = true;
    let server = harness::Server::with(config);
    let door = harness::Api::new(&server.urls()[2]);
    let peer = Peer::start(&world, "b.test").await;
    let uri = "/_matrix/federation/v1/query/profile?user_id=%40x%3Aa.test";
    let mut limited = 0;
    for _ in 0..2_000 {
        let answer = peer.get(&door, "a.test", uri).await;
        match answer.status {
            404 => {}
            429 => {
                assert_eq!(answer.body["errcode"], "M_LIMIT_EXCEEDED", "{answer:?}");
                limited += 1;
            }
            _ => panic!("{answer:?}"),
        }
        if limited > 10 {
            return;
        }
    }
    panic!("2,000 requests, and only {limited} were refused");
}
