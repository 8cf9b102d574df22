//! A room in which most servers are gone: they cost neither the living time nor memory.

use std::time::{Duration, Instant};

use harness::hosted::HostedRoom;
use harness::neighbours::World;
use harness::peer::Peer;
use harness::{Server, User, escape, eventually};
use measuring::process::{cpu_time, memory};
use serde_json::json;
use tokio::net::TcpListener;

/// How many servers are gone.
const GONE: usize = 1_000;
/// How much more memory the server may take for them and for what is said meanwhile, in MiB: 64 KiB
/// for each, less than a connection kept open would take.
const MOST_MEMORY: f64 = 64.0;
/// How long the living wait for what is said, at most.
const SOON: Duration = Duration::from_secs(2);

/// A place that takes connections and never says anything.
async fn silence() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    port
}

/// How many servers are left alone for now.
async fn left_alone(server: &Server) -> usize {
    let metrics = server.api().get("/metrics").await.text;
    let line = "cairn_federation_destinations{state=\"left_alone\"} ";
    let found = metrics.lines().find_map(|found| found.strip_prefix(line));
    found.map_or(0, |number| number.parse().unwrap())
}

/// Says something, and how long it took until the peer had it.
async fn said_to(peer: &Peer, user: &User, room: &str, text: &str) -> Duration {
    let begun = Instant::now();
    user.say(room, text).await;
    eventually(text, 30, async || {
        let came = peer.transactions();
        let has = |transaction: &harness::peer::Transaction| {
            let events = transaction.body["pdus"].as_array().unwrap();
            events.iter().any(|event| event["content"]["body"] == text)
        };
        came.iter().any(has).then_some(())
    })
    .await;
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_dead_servers_cost_the_living_nothing() {
    let world = World::of(&["a.test", "z.test"]);
    let peer = Peer::start(&world, "z.test").await;
    peer.on_transactions(200, json!({ "pdus": {} }));
    let gone: Vec<String> = (0..GONE)
        .map(|number| format!("gone{number}.test"))
        .collect();
    let hosted = HostedRoom::serve_with(&peer, 10, &gone);
    // Half of them refuse connections, half take them and say nothing. Their keys are known.
    let silence = silence().await;
    let key = format!("[\"ed25519:1 {}\"]", peer.key.public());
    let pinned: Vec<String> = gone
        .iter()
        .map(|name| format!("{name:?} = {key}"))
        .collect();
    let mut config = world.config(
        "a.test",
        &format!("pinned_keys = {{ {} }}", pinned.join(", ")),
    );
    for (number, name) in gone.iter().enumerate() {
        let port = if number % 2 == 0 { 1 } else { silence };
        config.more += &format!("{name:?} = \"127.0.0.1:{port}\"\n");
    }
    let server = Server::with(config);
    let alice = server.api().register("alice").await;
    let path = format!("v3/join/{}?via=z.test", escape(&hosted.id));
    alice.post(path, json!({})).await.ok();
    let room = escape(&hosted.id);
    eventually("all members are known", 60, async || {
        let members = alice.get(format!("v3/rooms/{room}/joined_members")).await;
        let joined = members.body["joined"].as_object()?.len();
        (joined == GONE + 11).then_some(())
    })
    .await;
    let before = memory(server.process_id());

    // While all of them are tried for the first time, and when they are not any more.
    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let took = said_to(&peer, &alice, &room, &format!("early {number}")).await;
        slowest = slowest.max(took);
    }
    assert!(slowest < SOON, "{slowest:?} while the dead are tried");
    eventually("all are left alone", 300, async || {
        (left_alone(&server).await == GONE).then_some(())
    })
    .await;
    let (cpu, mut slowest) = (cpu_time(server.process_id()), Duration::ZERO);
    for number in 0..100 {
        let took = said_to(&peer, &alice, &room, &format!("late {number}")).await;
        slowest = slowest.max(took);
    }
    let each = (cpu_time(server.process_id()) - cpu) / 100.0;
    let grown = memory(server.process_id()) - before;
    println!(
        "{GONE} dead servers: {grown:.1} MiB more, a message {each:.1} ms of CPU, {slowest:?} at most"
    );
    assert!(slowest < SOON, "{slowest:?} when the dead are left alone");
    assert!(grown < MOST_MEMORY, "{grown} MiB more than {before}");
    // Each has one row for the room, however much was said.
    let status = server.cairn_json(&["federation", "status"]);
    let waiting = status["waiting"].as_array().unwrap();
    assert_eq!(waiting.len(), GONE, "{status}");
    assert!(
        waiting.iter().all(|server| server["rooms"] == 1),
        "{status}"
    );
}
