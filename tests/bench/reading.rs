//! Reading: a page of a long timeline, the rooms of a space, and search.

use std::time::Instant;

use harness::{Server, User, escape, eventually};
use serde_json::json;

use crate::client::{Client, Connection, find};
use crate::load::{Until, send};
use crate::options::{Measure, Options};
use crate::people;
use crate::process::cpu_time;
use crate::report::{Report, Target, median, number};

/// Who fills the rooms.
const SENDERS: usize = 64;
/// The events of the long timeline, and of a page.
const EVENTS: u64 = 20_000;
const PAGE: usize = 50;
/// The messages that are searched, in rooms of which one is the long one.
const SEARCHED: u64 = 100_000;
/// The rooms of the space, more than a page holds.
const CHILDREN: usize = 60;

/// Measures what the options want of reading.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    if options.wants(Measure::Messages) || options.wants(Measure::Search) {
        timelines(options, report).await;
    }
    if options.wants(Measure::Hierarchy) {
        hierarchy(options, report).await;
    }
}

/// What one request costs of the server's CPU, and how long it takes, in ms.
struct Cost {
    cpu: f64,
    time: f64,
    bytes: usize,
}

/// Asks the same again and again.
async fn cost(server: &Server, requests: usize, mut ask: impl AsyncFnMut() -> usize) -> Cost {
    let mut bytes = 0;
    let (cpu, start) = (cpu_time(server.process_id()), Instant::now());
    for _ in 0..requests {
        bytes = ask().await;
    }
    let requests = requests as f64;
    Cost {
        cpu: (cpu_time(server.process_id()) - cpu) / requests,
        time: start.elapsed().as_secs_f64() * 1000.0 / requests,
        bytes,
    }
}

async fn connect(server: &Server, user: &User) -> Connection {
    let client = Client::new(&server.url(), user);
    client.connect().await.expect("a connection")
}

async fn timelines(options: &Options, report: &mut Report) {
    let folder = options.new_folder();
    let mut server = people::start(folder.path());
    let users = people::register(&server, "writer", SENDERS).await;
    let room = people::shared_room(&users).await;
    let events = if options.quick { 2_000 } else { EVENTS };
    eprintln!("filling a timeline");
    let rooms = [room.clone()];
    send(&server, &users, &rooms, Until::Sent(events)).await;
    if options.wants(Measure::Search) {
        let searched = if options.quick { 10_000 } else { SEARCHED };
        eprintln!("filling rooms to search");
        let rooms = people::room_for_each(&users).await;
        for room in &rooms[1..] {
            users[0].join(room).await;
        }
        send(&server, &users, &rooms, Until::Sent(searched - events)).await;
        users[0]
            .say(&room, "A word that stands once: quetzal.")
            .await;
        search(options, report, &server, &users[0]).await;
    }
    if options.wants(Measure::Messages) {
        // So that the events come from the database's files, not from what was just written.
        server.restart();
        messages(options, report, (&server, "20,000"), &users[0], &room).await;
    }
}

/// Pages of a timeline, from its end on, on a server that has so many events.
pub(crate) async fn messages(
    options: &Options,
    report: &mut Report,
    (server, events): (&Server, &str),
    user: &User,
    room: &str,
) {
    eprintln!("measuring pages of a timeline");
    let requests = if options.quick { 100 } else { 1_000 };
    let mut connection = connect(server, user).await;
    let path = format!(
        "/_matrix/client/v3/rooms/{}/messages?dir=b&limit={PAGE}",
        escape(room)
    );
    let (mut costs, mut times, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..options.runs() {
        let mut from = String::new();
        let cost = cost(server, requests, async || {
            // On along the timeline, and again from its end.
            let page = connection
                .get(&format!("{path}{from}"))
                .await
                .expect("a page");
            from = next(page).map_or_else(String::new, |next| format!("&from={next}"));
            page.len()
        })
        .await;
        costs.push(cost.cpu);
        times.push(cost.time);
        bytes = bytes.max(cost.bytes);
    }
    report.add(
        format!("/messages, page of {PAGE} of {events} events: server CPU"),
        "ms",
        Target::AtMost(0.5),
        &costs,
        format!(
            "{} ms until it is there; {} KiB",
            number(median(&times)),
            bytes / 1024
        ),
    );
}

/// The token of the next page.
fn next(page: &[u8]) -> Option<String> {
    const END: &[u8] = br#""end":""#;
    let token = &page[find(page, END)? + END.len()..];
    let token = &token[..find(token, b"\"")?];
    Some(escape(&String::from_utf8_lossy(token)))
}

async fn search(options: &Options, report: &mut Report, server: &Server, user: &User) {
    eprintln!("measuring search");
    let mut connection = connect(server, user).await;
    eventually("the index has everything", 300, async || {
        let found = ask(&mut connection, "quetzal", "rank").await;
        (found.1 == 1).then_some(())
    })
    .await;
    let requests = if options.quick { 10 } else { 50 };
    for (what, term, order) in [
        ("a rare word", "quetzal", "rank"),
        ("a word of each, newest first", "committee", "recent"),
        (
            "three words of each, by rank",
            "committee tuesday minutes",
            "rank",
        ),
    ] {
        let (mut times, mut costs) = (Vec::new(), Vec::new());
        for _ in 0..options.runs() {
            let cost = cost(server, requests, async || {
                ask(&mut connection, term, order).await.0
            });
            let cost = cost.await;
            times.push(cost.time);
            costs.push(cost.cpu);
        }
        report.add(
            format!("Search of 100,000 messages for {what}: time"),
            "ms",
            Target::AtMost(50.0),
            &times,
            format!("server CPU {} ms", number(median(&costs))),
        );
    }
}

/// The bytes of an answer, and how many results it says that there are.
async fn ask(connection: &mut Connection, term: &str, order: &str) -> (usize, u64) {
    const COUNT: &[u8] = br#""count":"#;
    let body = json!({ "search_categories": { "room_events": {
        "search_term": term, "order_by": order,
    } } });
    let path = "/_matrix/client/v3/search";
    let answer = connection.post(path, body.to_string().as_bytes()).await;
    let answer = answer.expect("an answer");
    let count = &answer[find(answer, COUNT).expect("a count") + COUNT.len()..];
    let digits: Vec<u8> = count
        .iter()
        .copied()
        .take_while(u8::is_ascii_digit)
        .collect();
    let count = String::from_utf8(digits).expect("digits").parse();
    (answer.len(), count.expect("a number"))
}

async fn hierarchy(options: &Options, report: &mut Report) {
    let folder = options.new_folder();
    let mut server = people::start(folder.path());
    let users = people::register(&server, "founder", 1).await;
    let founder = &users[0];
    eprintln!("measuring the rooms of a space");
    let space = json!({ "preset": "public_chat", "creation_content": { "type": "m.space" } });
    let space = founder.create_room(space).await;
    let via = json!({ "via": [server.name()] });
    for number in 0..CHILDREN {
        let options = json!({
            "preset": "public_chat", "name": format!("Room {number}"),
            "topic": "What the committee has to say about this matter.",
        });
        let room = founder.create_room(options).await;
        founder
            .set_state(&space, "m.space.child", &room, via.clone())
            .await;
    }
    server.restart();
    let requests = if options.quick { 20 } else { 200 };
    let mut connection = connect(&server, founder).await;
    let path = format!(
        "/_matrix/client/v1/rooms/{}/hierarchy?limit={PAGE}",
        escape(&space)
    );
    let (mut costs, mut times) = (Vec::new(), Vec::new());
    for _ in 0..options.runs() {
        let cost = cost(&server, requests, async || {
            connection.get(&path).await.expect("a page").len()
        });
        let cost = cost.await;
        costs.push(cost.cpu);
        times.push(cost.time);
    }
    report.add(
        format!("/hierarchy, page of {PAGE} rooms: server CPU"),
        "ms",
        Target::AtMost(5.0),
        &costs,
        format!("{} ms until it is there", number(median(&times))),
    );
}
