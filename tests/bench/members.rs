//! Rooms with many members, whom an application service makes and lets in: that is quick.

use std::time::Instant;

use harness::{Config, Server, escape};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::client::{Client, Connection, count};
use crate::options::{Measure, Options};
use crate::process::cpu_time;
use crate::report::{Report, Target, median, number};

/// The members of the room whose list is asked for.
const MEMBERS: usize = 5_000;
/// The members of the room into which people come, and how many come and go in a run.
const PRESENT: usize = 1_000;
const COMING: usize = 100;
/// How many requests are under way while people are made.
const AT_ONCE: usize = 64;
const TOKEN: &str = "a-token-of-the-service";

/// Measures what the options want of rooms with many members.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    if options.wants(Measure::Members) {
        let members = if options.quick { 500 } else { MEMBERS };
        list(options, report, members).await;
    }
    if options.wants(Measure::JoinAndLeave) {
        let present = if options.quick { 200 } else { PRESENT };
        join_and_leave(options, report, present).await;
    }
}

/// A server with an application service that is told nothing.
struct Crowd {
    server: Server,
    _registrations: TempDir,
}

impl Crowd {
    fn start(options: &Options, folder: &TempDir) -> Self {
        let registrations = options.new_folder();
        let text = format!(
            "id: crowd\nurl: null\nas_token: {TOKEN}\nhs_token: another\nrate_limited: false\n\
             sender_localpart: crowd\nnamespaces:\n  users: [{{ exclusive: true, regex: '@p.*' }}]\n"
        );
        let path = registrations.path().join("crowd.yaml");
        std::fs::write(path, text).expect("a registration");
        let more = format!(
            "[application_services]\nregistrations = [{:?}]\n",
            registrations.path()
        );
        let config = Config {
            more,
            ..Config::default()
        };
        Self {
            server: Server::on(folder.path(), config),
            _registrations: registrations,
        }
    }

    async fn connect(&self) -> Connection {
        let client = Client::with_token(&self.server.url(), TOKEN);
        client.connect().await.expect("a connection")
    }

    /// Makes people with these numbers.
    async fn make(&self, numbers: std::ops::Range<usize>) {
        let body = |number: usize| {
            json!({
                "type": "m.login.application_service", "username": format!("p{number}"),
                "inhibit_login": true,
            })
        };
        let path = |_: usize| "/_matrix/client/v3/register".to_owned();
        self.post_all(numbers, path, body).await;
    }

    /// Lets people with these numbers come into a room, many at a time.
    async fn join(&self, room: &str, numbers: std::ops::Range<usize>) {
        let path = |number| act(room, "join", self.server.name(), number);
        self.post_all(numbers, path, |_| json!({})).await;
    }

    async fn post_all(
        &self,
        numbers: std::ops::Range<usize>,
        path: impl Fn(usize) -> String,
        body: impl Fn(usize) -> Value,
    ) {
        let mut shares: Vec<Vec<(String, Value)>> = vec![Vec::new(); AT_ONCE];
        for number in numbers {
            shares[number % AT_ONCE].push((path(number), body(number)));
        }
        let mut working = JoinSet::new();
        for share in shares {
            let mut connection = self.connect().await;
            working.spawn(async move {
                for (path, body) in share {
                    let body = body.to_string();
                    let posted = connection.post(&path, body.as_bytes()).await;
                    posted.expect("an answer");
                }
            });
        }
        while let Some(done) = working.join_next().await {
            done.expect("all of it");
        }
    }

    /// A room of somebody's, who is p0.
    async fn room(&self) -> String {
        self.make(0..1).await;
        let path = format!(
            "/_matrix/client/v3/createRoom?user_id={}",
            escape(&user_id(self.server.name(), 0))
        );
        let mut connection = self.connect().await;
        let body = json!({ "preset": "public_chat" }).to_string();
        let made = connection.post(&path, body.as_bytes()).await;
        let made: Value = serde_json::from_slice(made.expect("an answer")).expect("JSON");
        made["room_id"].as_str().expect("a room").to_owned()
    }
}

fn user_id(server: &str, number: usize) -> String {
    format!("@p{number}:{server}")
}

/// The path by which somebody comes into a room or goes out of it.
fn act(room: &str, verb: &str, server: &str, number: usize) -> String {
    let (room, user_id) = (escape(room), escape(&user_id(server, number)));
    format!("/_matrix/client/v3/rooms/{room}/{verb}?user_id={user_id}")
}

async fn list(options: &Options, report: &mut Report, members: usize) {
    let folder = options.new_folder();
    let mut crowd = Crowd::start(options, &folder);
    eprintln!("filling a room with {members} members");
    let room = crowd.room().await;
    crowd.make(1..members).await;
    crowd.join(&room, 1..members).await;
    crowd.server.restart();
    eprintln!("measuring lists of members");
    let requests = if options.quick { 5 } else { 20 };
    let path = act(&room, "members", crowd.server.name(), 0);
    let mut connection = crowd.connect().await;
    let (mut costs, mut times, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..options.runs() {
        let (cpu, start) = (cpu_time(crowd.server.process_id()), Instant::now());
        for _ in 0..requests {
            let answer = connection.get(&path).await.expect("an answer");
            assert!(
                count(answer, b"\"m.room.member\"") == members,
                "all members"
            );
            bytes = answer.len();
        }
        let requests = f64::from(requests);
        costs.push((cpu_time(crowd.server.process_id()) - cpu) / requests);
        times.push(start.elapsed().as_secs_f64() * 1000.0 / requests);
    }
    report.add(
        "/members of 5,000: server CPU",
        "ms",
        Target::AtMost(20.0),
        &costs,
        format!(
            "{} ms until it is there; {} KiB",
            number(median(&times)),
            bytes / 1024
        ),
    );
}

async fn join_and_leave(options: &Options, report: &mut Report, present: usize) {
    let folder = options.new_folder();
    let crowd = Crowd::start(options, &folder);
    eprintln!("filling a room with {present} members");
    let room = crowd.room().await;
    let coming = present..present + COMING;
    crowd.make(1..coming.end).await;
    crowd.join(&room, 1..present).await;
    eprintln!("measuring joins and leaves");
    let mut connection = crowd.connect().await;
    let name = crowd.server.name();
    let verbs = ["join", "leave"];
    let mut costs = [Vec::new(), Vec::new()];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..options.runs() {
        for (verb, (costs, times)) in verbs.iter().zip(costs.iter_mut().zip(&mut times)) {
            let (cpu, start) = (cpu_time(crowd.server.process_id()), Instant::now());
            for number in coming.clone() {
                let path = act(&room, verb, name, number);
                connection.post(&path, b"{}").await.expect("an answer");
            }
            let cpu = cpu_time(crowd.server.process_id()) - cpu;
            costs.push(cpu / COMING as f64);
            times.push(start.elapsed().as_secs_f64() * 1000.0 / COMING as f64);
        }
    }
    for (verb, (costs, times)) in verbs.iter().zip(costs.iter().zip(&times)) {
        report.add(
            format!("A {verb} in a room of 1,000 members: server CPU"),
            "ms",
            Target::AtMost(1.5),
            costs,
            format!("{} ms until it is done", number(median(times))),
        );
    }
}
