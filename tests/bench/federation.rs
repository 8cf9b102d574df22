//! Rooms of other servers: coming into a large one, taking many events, and joining forks.
//!
//! The other server is a peer of the harness on the same machine, which has made and signed
//! everything before the clock starts.

use std::time::{Duration, Instant};

use harness::hosted::HostedRoom;
use harness::neighbours::{Neighbour, World};
use harness::peer::{Peer, now};
use harness::signing::canonical;
use harness::{User, escape};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Client, count};
use crate::options::{Measure, Options};
use crate::process::{cpu_time, forget_peak, peak_memory, resident_memory};
use crate::report::{Report, Target, median, number};

/// The members of the large room.
const MEMBERS: usize = 10_000;
/// How many events a transaction has.
const EVENTS_OF_A_TRANSACTION: usize = 50;
/// The keys of the state in which two forks differ.
const DIFFERING: usize = 5;
/// How long a room may take until all of it is here.
const WHOLE: Duration = Duration::from_secs(120);

/// Measures what the options want of rooms of other servers.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    let members = if options.quick { 1_000 } else { MEMBERS };
    if options.wants(Measure::FederationJoin) {
        joins(options, report, members).await;
    }
    if options.wants(Measure::FederationIncoming) {
        incoming(options, report).await;
    }
    if options.wants(Measure::FederationResolve) {
        forks(options, report, members).await;
    }
}

/// A peer, and a server that has never heard of it.
async fn world() -> (World, Peer) {
    let world = World::of(&["a.test", "b.test"]);
    let peer = Peer::start(&world, "b.test").await;
    peer.on_transactions(200, json!({ "pdus": {} }));
    (world, peer)
}

async fn join(user: &User, room: &HostedRoom<'_>) {
    let path = format!("v3/join/{}?via=b.test", escape(&room.id));
    user.post(path, json!({})).await.ok();
}

async fn joins(options: &Options, report: &mut Report, members: usize) {
    let (world, peer) = world().await;
    eprintln!("making a room of {members} members");
    let room = HostedRoom::serve(&peer, members);
    let (mut usable, mut whole, mut growth) = (Vec::new(), Vec::new(), Vec::new());
    let mut cpu = Vec::new();
    for _ in 0..options.runs() {
        let a = world.start("a.test");
        let user = a.api.register("newcomer").await;
        user.sync().await;
        let process = a.server.process_id();
        forget_peak(process);
        let before = (resident_memory(process), cpu_time(process));
        let begun = Instant::now();
        join(&user, &room).await;
        user.say(&room.id, "Good morning").await;
        usable.push(begun.elapsed().as_secs_f64());
        until_whole(&a, &user, &room, members).await;
        whole.push(begun.elapsed().as_secs_f64());
        growth.push(peak_memory(process) - before.0);
        cpu.push((cpu_time(process) - before.1) / 1_000.0);
    }
    let name = format!("Joining a room of {} members", number(members as f64));
    report.add(
        format!("{name} of another server: until something is said there"),
        "s",
        Target::AtMost(2.0),
        &usable,
        "",
    );
    report.add(
        format!("{name}: until all members are here"),
        "s",
        Target::AtMost(10.0),
        &whole,
        format!("server CPU {} s", number(median(&cpu))),
    );
    report.add(
        format!("{name}: growth of memory at its peak"),
        "MiB",
        Target::AtMost(100.0),
        &growth,
        "",
    );
}

/// Waits until the server tells all members, and the user.
async fn until_whole(a: &Neighbour, user: &User, room: &HostedRoom<'_>, members: usize) {
    let path = format!("/_matrix/client/v3/rooms/{}/members", escape(&room.id));
    let client = Client::new(&a.server.url(), user);
    let mut connection = client.connect().await.expect("a connection");
    let begun = Instant::now();
    loop {
        let answer = connection.get(&path).await.expect("an answer");
        if count(answer, b"\"m.room.member\"") == members + 1 {
            return;
        }
        assert!(begun.elapsed() < WHOLE, "not all members are there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A transaction that is written and signed.
struct Prepared {
    uri: String,
    authorization: String,
    body: String,
    ids: Vec<String>,
}

impl Prepared {
    fn new(peer: &Peer, number: usize, events: Vec<(String, Value)>) -> Self {
        let (ids, pdus): (Vec<String>, Vec<Value>) = events.into_iter().unzip();
        let content = json!({
            "origin": peer.name, "origin_server_ts": now(), "pdus": pdus, "edus": [],
        });
        let uri = format!("/_matrix/federation/v1/send/{}-{number}", now());
        Self {
            authorization: peer.authorization("a.test", "PUT", &uri, Some(&content)),
            body: canonical(&content),
            uri,
            ids,
        }
    }

    /// Sends it; all of its events must be taken.
    async fn send(self, a: &Neighbour) {
        let request = a.door.request(Method::PUT, &self.uri);
        let request = request
            .header("Authorization", self.authorization)
            .header("Content-Type", "application/json")
            .body(self.body);
        let answer = a.door.send_request(request).await.ok();
        for id in self.ids {
            assert_eq!(answer["pdus"][&id], json!({}), "{answer}");
        }
    }
}

async fn incoming(options: &Options, report: &mut Report) {
    let (world, peer) = world().await;
    let room = HostedRoom::serve(&peer, 10);
    let a = world.start("a.test");
    let user = a.api.register("newcomer").await;
    join(&user, &room).await;
    let transactions = if options.quick { 10 } else { 60 };
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    let (last, mut depth) = room.end();
    let mut ends = vec![last];
    for run in 0..options.runs() {
        eprintln!("signing {} events", transactions * EVENTS_OF_A_TRANSACTION);
        let prepared: Vec<Prepared> = (0..transactions)
            .map(|number| {
                let events = with_a_fork(&room, &mut ends, &mut depth);
                Prepared::new(&peer, run * transactions + number, events)
            })
            .collect();
        let process = a.server.process_id();
        let (cpu, begun) = (cpu_time(process), Instant::now());
        for transaction in prepared {
            transaction.send(&a).await;
        }
        let events = (transactions * EVENTS_OF_A_TRANSACTION) as f64;
        rates.push(events / begun.elapsed().as_secs_f64());
        costs.push((cpu_time(process) - cpu) / events);
    }
    report.add(
        "Events of another server in one room, every 50th a fork: taken",
        "/s",
        Target::AtLeast(1_000.0),
        &rates,
        format!("server CPU {} ms each", number(median(&costs))),
    );
}

/// As many events as a transaction has, the first two of which are a fork.
fn with_a_fork(
    room: &HostedRoom<'_>,
    ends: &mut Vec<String>,
    depth: &mut u64,
) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    let said = || json!({ "msgtype": "m.text", "body": "The committee meets on Tuesday." });
    for number in 0..EVENTS_OF_A_TRANSACTION {
        let after: Vec<&str> = ends.iter().map(String::as_str).collect();
        let (kind, content) = match number {
            1 => (
                ("m.room.topic", Some("")),
                json!({ "topic": format!("Topic {depth}") }),
            ),
            _ => (("m.room.message", None), said()),
        };
        let (id, event) = room.event(kind, content, &after, *depth + 1);
        events.push((id.clone(), event));
        match number {
            // The next event has the same ones before it.
            0 => {}
            1 => {
                *ends = vec![events[0].0.clone(), id];
                *depth += 1;
            }
            _ => {
                *ends = vec![id];
                *depth += 1;
            }
        }
    }
    events
}

async fn forks(options: &Options, report: &mut Report, members: usize) {
    let (world, peer) = world().await;
    eprintln!("making a room of {members} members");
    let room = HostedRoom::serve(&peer, members);
    let a = world.start("a.test");
    let user = a.api.register("newcomer").await;
    join(&user, &room).await;
    until_whole(&a, &user, &room, members).await;
    let rounds = if options.quick { 3 } else { 10 };
    let (mut times, mut plain) = (Vec::new(), Vec::new());
    let (mut last, mut depth) = room.end();
    let said = || json!({ "msgtype": "m.text", "body": "The committee meets on Tuesday." });
    let message = ("m.room.message", None);
    for run in 0..options.runs() {
        let (mut of_run, mut of_plain) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let number = 4 * (run * rounds + round);
            let mut ends = Vec::new();
            let mut events = Vec::new();
            for fork in 0..2 {
                let (mut end, mut depth) = (last.clone(), depth);
                for key in 0..DIFFERING {
                    let (key, content) = (key.to_string(), json!({ "fork": fork, "at": number }));
                    depth += 1;
                    let kind = ("org.example.state", Some(key.as_str()));
                    let (id, event) = room.event(kind, content, &[&end], depth);
                    events.push((id.clone(), event));
                    end = id;
                }
                ends.push(end);
            }
            Prepared::new(&peer, number, events).send(&a).await;
            depth += DIFFERING as u64 + 1;
            let (id, event) = room.event(message, said(), &[&ends[0], &ends[1]], depth);
            let joining = Prepared::new(&peer, number + 1, vec![(id.clone(), event)]);
            let begun = Instant::now();
            joining.send(&a).await;
            of_run.push(begun.elapsed().as_secs_f64() * 1_000.0);
            depth += 1;
            let (next, event) = room.event(message, said(), &[&id], depth);
            let after = Prepared::new(&peer, number + 2, vec![(next.clone(), event)]);
            let begun = Instant::now();
            after.send(&a).await;
            of_plain.push(begun.elapsed().as_secs_f64() * 1_000.0);
            last = next;
        }
        times.push(median(&of_run));
        plain.push(median(&of_plain));
    }
    report.add(
        format!(
            "An event that joins two forks of {} members, {DIFFERING} entries differ: time",
            number(members as f64)
        ),
        "ms",
        Target::AtMost(5.0),
        &times,
        format!(
            "the request included; the event after it {} ms",
            number(median(&plain))
        ),
    );
}
