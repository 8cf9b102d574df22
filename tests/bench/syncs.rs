//! Syncs: what a delivered event costs, how long a sync without news takes, what the
//! first one costs.

use std::time::{Duration, Instant};

use harness::{Server, User, escape};
use tokio::task::JoinSet;

use crate::client::{Client, Connection, count, find};
use crate::load::transaction_id;
use crate::options::{Measure, Options};
use crate::people;
use crate::process::cpu_time;
use crate::report::{Report, Target, median, number, percentile_99};

/// How many wait for what one of them says.
const WAITING: usize = 100;
/// How long it is quiet between two messages: long enough that each is delivered alone.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the waiting syncs may wait, in milliseconds.
const WAIT: u64 = 60_000;
/// Stands in each message that is to be delivered.
const MARK: &str = "a message to be delivered";
/// Stands in the last one besides.
const LAST: &str = "which is the last";

/// The rooms of a first sync, their members and their messages.
const ROOMS: usize = 40;
const MEMBERS: usize = 10;
const MESSAGES: usize = 30;

/// Measures what the options want of syncs.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    if options.wants(Measure::Delivery) {
        delivery(options, report).await;
    }
    if !options.wants(Measure::NoChangeSync) && !options.wants(Measure::InitialSync) {
        return;
    }
    let folder = options.new_folder();
    let mut server = people::start(folder.path());
    let users = people::register(&server, "member", MEMBERS).await;
    people::lively_rooms(&users, ROOMS, MESSAGES).await;
    // So that the rooms come from the database's files, not from what was just written.
    server.restart();
    if options.wants(Measure::NoChangeSync) {
        no_change(options, report, &server, &users[0]).await;
    }
    if options.wants(Measure::InitialSync) {
        initial(options, report, &server, &users[0]).await;
    }
}

/// The server's CPU time for each event that it delivers to a waiting sync.
async fn delivery(options: &Options, report: &mut Report) {
    let folder = options.new_folder();
    let server = people::start(folder.path());
    let users = people::register(&server, "reader", WAITING).await;
    let room = people::shared_room(&users).await;
    let messages = if options.quick { 30 } else { 100 };
    let (mut costs, mut bundles) = (Vec::new(), Vec::new());
    eprintln!("measuring delivery to {WAITING} waiting syncs");
    for _ in 0..options.runs() {
        let (delivered, answers, cpu) = deliver(&server, &users, &room, messages).await;
        assert!(
            delivered == WAITING * messages,
            "{delivered} of {} events were delivered",
            WAITING * messages
        );
        costs.push(cpu / delivered as f64);
        bundles.push(delivered as f64 / answers as f64);
    }
    report.add(
        "100 waiting syncs in one room: server CPU a delivered event",
        "ms",
        Target::AtMost(0.1),
        &costs,
        format!(
            "{} messages/s; {} events an answer; the send included",
            number(1000.0 / PAUSE.as_millis() as f64),
            number(median(&bundles))
        ),
    );
}

/// One of the users says `messages` messages, which all wait for. Gives how often one
/// was delivered, in how many answers, and the server's CPU time in milliseconds.
async fn deliver(
    server: &Server,
    users: &[User],
    room: &str,
    messages: usize,
) -> (usize, usize, f64) {
    let mut waiting = JoinSet::new();
    let url = server.url();
    for user in users {
        let mut connection = Client::new(&url, user)
            .connect()
            .await
            .expect("a connection");
        let since = sync(&mut connection, None, 0).await.next;
        waiting.spawn(receive(connection, since));
    }
    let mut sender = Client::new(&url, &users[0])
        .connect()
        .await
        .expect("a connection");
    // Until all of them wait.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = cpu_time(server.process_id());
    let mut next = tokio::time::interval(PAUSE);
    for number in 1..=messages {
        next.tick().await;
        let last = if number == messages { LAST } else { "" };
        let body = format!(r#"{{"msgtype":"m.text","body":"{MARK} {last}"}}"#);
        let path = format!(
            "/_matrix/client/v3/rooms/{}/send/m.room.message/{}",
            escape(room),
            transaction_id()
        );
        sender.put(&path, &body).await.expect("a send");
    }
    let (mut delivered, mut answers) = (0, 0);
    while let Some(received) = waiting.join_next().await {
        let (events, times) = received.expect("a reader");
        delivered += events;
        answers += times;
    }
    let cpu = cpu_time(server.process_id()) - before;
    (delivered, answers, cpu)
}

/// Syncs on until the last message came. Gives the messages and the answers in which
/// they came.
async fn receive(mut connection: Connection, mut since: String) -> (usize, usize) {
    let (mut events, mut answers) = (0, 0);
    loop {
        let synced = sync(&mut connection, Some(&since), WAIT).await;
        events += synced.marks;
        answers += 1;
        if synced.last {
            return (events, answers);
        }
        since = synced.next;
    }
}

/// The time of an incremental sync without news.
async fn no_change(options: &Options, report: &mut Report, server: &Server, user: &User) {
    let requests = if options.quick { 500 } else { 2_000 };
    eprintln!("measuring syncs without news");
    let mut connection = Client::new(&server.url(), user)
        .connect()
        .await
        .expect("a connection");
    let mut since = sync(&mut connection, None, 0).await.next;
    let (mut medians, mut slowest, mut costs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.runs() {
        let mut latencies = Vec::with_capacity(requests);
        let cpu = cpu_time(server.process_id());
        for _ in 0..requests {
            let before = Instant::now();
            let synced = sync(&mut connection, Some(&since), 0).await;
            latencies.push(before.elapsed().as_secs_f64() * 1000.0);
            since = synced.next;
        }
        costs.push((cpu_time(server.process_id()) - cpu) / requests as f64);
        medians.push(median(&latencies));
        slowest.push(percentile_99(&latencies));
    }
    report.add(
        "Sync without news, 40 rooms: time",
        "ms",
        Target::AtMost(1.0),
        &medians,
        format!(
            "99 % under {} ms; server CPU {} ms",
            number(median(&slowest)),
            number(median(&costs))
        ),
    );
}

/// The server's CPU time for a first sync.
async fn initial(options: &Options, report: &mut Report, server: &Server, user: &User) {
    let requests = if options.quick { 20 } else { 100 };
    eprintln!("measuring first syncs");
    let mut connection = Client::new(&server.url(), user)
        .connect()
        .await
        .expect("a connection");
    let (mut costs, mut latencies, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..options.runs() {
        let cpu = cpu_time(server.process_id());
        for _ in 0..requests {
            let before = Instant::now();
            bytes = sync(&mut connection, None, 0).await.bytes;
            latencies.push(before.elapsed().as_secs_f64() * 1000.0);
        }
        costs.push((cpu_time(server.process_id()) - cpu) / f64::from(requests));
    }
    report.add(
        "First sync, 40 rooms of 10 members and 30 messages: server CPU",
        "ms",
        Target::AtMost(5.0),
        &costs,
        format!(
            "{} ms until it is there; {} KiB",
            number(median(&latencies)),
            bytes / 1024
        ),
    );
}

/// What a sync told.
struct Synced {
    next: String,
    marks: usize,
    last: bool,
    bytes: usize,
}

/// `GET /_matrix/client/v3/sync`, waiting for at most `wait` milliseconds. The answer is
/// searched, not parsed: that would cost more than to serve it.
async fn sync(connection: &mut Connection, since: Option<&str>, wait: u64) -> Synced {
    const NEXT: &[u8] = br#""next_batch":""#;
    let since = since.map_or(String::new(), |since| format!("&since={}", escape(since)));
    let path = format!("/_matrix/client/v3/sync?timeout={wait}{since}");
    let body = connection.get(&path).await.expect("an answer");
    let token = &body[find(body, NEXT).expect("next_batch") + NEXT.len()..];
    let token = &token[..find(token, b"\"").expect("its end")];
    Synced {
        next: String::from_utf8_lossy(token).into_owned(),
        marks: count(body, MARK.as_bytes()),
        last: find(body, LAST.as_bytes()).is_some(),
        bytes: body.len(),
    }
}
