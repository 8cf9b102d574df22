//! Sliding syncs: how soon a room list is there, and what one change costs.

use std::time::{Duration, Instant};

use harness::{Server, User, escape};
use serde_json::{Value, json};

use crate::client::{Client, Connection, find};
use crate::load::transaction_id;
use crate::options::{Measure, Options};
use crate::people;
use crate::process::cpu_time;
use crate::report::{Report, Target, median, number, percentile_99};

/// The rooms of the list, their members and their messages.
const ROOMS: usize = 300;
const MEMBERS: usize = 10;
const MESSAGES: usize = 30;
/// How long it is quiet between two changes: long enough that the client waits again.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a request may wait, in milliseconds.
const WAIT: u64 = 60_000;

/// Measures what the options want of sliding syncs.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    let wanted = [
        Measure::SlidingFirst,
        Measure::SlidingAll,
        Measure::SlidingChange,
    ];
    if !wanted.iter().any(|measure| options.wants(*measure)) {
        return;
    }
    let folder = options.new_folder();
    let mut server = people::start(folder.path());
    let users = people::register(&server, "slider", MEMBERS).await;
    let rooms = if options.quick { 40 } else { ROOMS };
    people::lively_rooms(&users, rooms, MESSAGES).await;
    // So that the rooms come from the database's files, not from what was just written.
    server.restart();
    if options.wants(Measure::SlidingFirst) {
        first(options, report, &server, &users[0], rooms).await;
    }
    if options.wants(Measure::SlidingAll) {
        all(options, report, &server, &users[0], rooms).await;
    }
    if options.wants(Measure::SlidingChange) {
        change(options, report, &server, &users, rooms).await;
    }
}

/// What a modern client asks of its room list.
fn request(last: usize, limit: usize) -> Value {
    json!({
        "conn_id": "room-list",
        "lists": { "all_rooms": {
            "ranges": [[0, last]],
            "timeline_limit": limit,
            "required_state": [
                ["m.room.name", ""], ["m.room.encryption", ""], ["m.room.member", "$LAZY"],
                ["m.room.member", "$ME"], ["m.room.topic", ""], ["m.room.avatar", ""],
                ["m.room.canonical_alias", ""], ["m.room.power_levels", ""],
                ["m.room.join_rules", ""], ["m.room.tombstone", ""], ["m.room.create", ""],
                ["m.room.history_visibility", ""], ["m.space.parent", "*"],
                ["m.space.child", "*"],
            ],
            "filters": { "not_room_types": ["m.space"] },
        } },
        "extensions": {
            "account_data": { "enabled": true },
            "receipts": { "enabled": true, "rooms": ["*"] },
            "typing": { "enabled": true },
        },
    })
}

/// The first 20 rooms with one event each.
async fn first(options: &Options, report: &mut Report, server: &Server, user: &User, rooms: usize) {
    let requests = if options.quick { 20 } else { 200 };
    eprintln!("measuring first sliding syncs");
    let measured = beginnings(options, server, user, &request(19, 1), requests).await;
    let note = format!(
        "99 % under {} ms; {} KiB",
        number(measured.slowest),
        measured.bytes / 1024
    );
    report.add(
        format!("Sliding sync, first 20 rooms of {rooms} with 1 event: time"),
        "ms",
        Target::AtMost(10.0),
        &measured.times,
        note,
    );
    report.add(
        format!("Sliding sync, first 20 rooms of {rooms} with 1 event: server CPU"),
        "ms",
        Target::AtMost(2.0),
        &measured.costs,
        "",
    );
}

/// All rooms with 20 events each.
async fn all(options: &Options, report: &mut Report, server: &Server, user: &User, rooms: usize) {
    let requests = if options.quick { 5 } else { 20 };
    eprintln!("measuring sliding syncs of all rooms");
    let measured = beginnings(options, server, user, &request(rooms, 20), requests).await;
    report.add(
        format!("Sliding sync, {rooms} rooms with 20 events: time"),
        "ms",
        Target::AtMost(80.0),
        &measured.times,
        format!(
            "server CPU {} ms; {} KiB",
            number(median(&measured.costs)),
            measured.bytes / 1024
        ),
    );
}

/// Medians of each run.
struct Measured {
    times: Vec<f64>,
    costs: Vec<f64>,
    slowest: f64,
    bytes: usize,
}

/// First answers of connections.
async fn beginnings(
    options: &Options,
    server: &Server,
    user: &User,
    body: &Value,
    requests: usize,
) -> Measured {
    let body = body.to_string();
    let mut connection = connect(server, user).await;
    let (mut times, mut costs, mut slowest, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..options.runs() {
        let mut latencies = Vec::with_capacity(requests);
        let cpu = cpu_time(server.process_id());
        for _ in 0..requests {
            let before = Instant::now();
            bytes = slide(&mut connection, None, 0, &body).await.bytes;
            latencies.push(before.elapsed().as_secs_f64() * 1000.0);
        }
        costs.push((cpu_time(server.process_id()) - cpu) / requests as f64);
        times.push(median(&latencies));
        slowest.push(percentile_99(&latencies));
    }
    Measured {
        times,
        costs,
        slowest: median(&slowest),
        bytes,
    }
}

/// The server's CPU time for one message, sent and delivered to a list of all rooms.
async fn change(
    options: &Options,
    report: &mut Report,
    server: &Server,
    users: &[User],
    rooms: usize,
) {
    let messages = if options.quick { 30 } else { 200 };
    eprintln!("measuring one change of {rooms} rooms");
    let body = request(rooms, 1).to_string();
    let mut reader = connect(server, &users[0]).await;
    let mut sender = connect(server, &users[1]).await;
    let known = users[1].get("v3/joined_rooms").await.ok();
    let known = known["joined_rooms"].as_array().expect("rooms");
    let mut pos = slide(&mut reader, None, 0, &body).await.pos;
    let (mut costs, mut delays) = (Vec::new(), Vec::new());
    for _ in 0..options.runs() {
        let mut latencies = Vec::with_capacity(messages);
        let cpu = cpu_time(server.process_id());
        for message in 0..messages {
            let room = known[message * 7 % known.len()].as_str().expect("a room");
            let path = format!(
                "/_matrix/client/v3/rooms/{}/send/m.room.message/{}",
                escape(room),
                transaction_id()
            );
            let waiting = slide(&mut reader, Some(&pos), WAIT, &body);
            let sending = async {
                tokio::time::sleep(PAUSE).await;
                let begun = Instant::now();
                let message = r#"{"msgtype":"m.text","body":"one change"}"#;
                sender.put(&path, message).await.expect("a send");
                begun
            };
            let (slid, begun) = tokio::join!(waiting, sending);
            assert!(slid.has_change, "an answer without the change");
            latencies.push(begun.elapsed().as_secs_f64() * 1000.0);
            pos = slid.pos;
        }
        costs.push((cpu_time(server.process_id()) - cpu) / messages as f64);
        delays.push(median(&latencies));
    }
    report.add(
        format!("Sliding sync, one change in one of {rooms} rooms: server CPU"),
        "ms",
        Target::AtMost(1.0),
        &costs,
        format!(
            "the send included; {} ms from the send to the answer",
            number(median(&delays))
        ),
    );
}

async fn connect(server: &Server, user: &User) -> Connection {
    Client::new(&server.url(), user)
        .connect()
        .await
        .expect("a connection")
}

/// What an answer told.
struct Slid {
    pos: String,
    bytes: usize,
    has_change: bool,
}

/// A sliding sync, waiting for at most `wait` milliseconds. The answer is searched, not
/// parsed: that would cost more than to serve it.
async fn slide(connection: &mut Connection, pos: Option<&str>, wait: u64, body: &str) -> Slid {
    const POS: &[u8] = br#""pos":""#;
    let pos = pos.map_or(String::new(), |pos| format!("&pos={}", escape(pos)));
    let path =
        format!("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout={wait}{pos}");
    let answer = connection
        .post(&path, body.as_bytes())
        .await
        .expect("an answer");
    let token = &answer[find(answer, POS).expect("pos") + POS.len()..];
    let token = &token[..find(token, b"\"").expect("its end")];
    Slid {
        pos: String::from_utf8_lossy(token).into_owned(),
        bytes: answer.len(),
        has_change: find(answer, b"one change").is_some(),
    }
}
