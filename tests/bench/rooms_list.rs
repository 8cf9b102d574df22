//! The list of rooms, as administrators page through it and search it.

use std::time::Instant;

use harness::{Server, User};
use serde_json::json;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::desk;
use crate::options::{Measure, Options};
use crate::people;
use crate::process::cpu_time;
use crate::report::{Report, Target, median, number};

/// How many rooms there are, made by so many people.
const ROOMS: usize = 5_000;
const MAKERS: usize = 16;

/// Measures what the options want of it.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    if !options.wants(Measure::RoomsList) {
        return;
    }
    let folder = options.new_folder();
    let mut server = people::start(folder.path());
    let users = people::register(&server, "maker", MAKERS).await;
    let rooms = if options.quick { 500 } else { ROOMS };
    eprintln!("making {rooms} rooms");
    fill(&users, rooms).await;
    server.cairn_json(&["user", "promote", users[0].localpart()]);
    server.restart();
    let client = Client::new(&server.url(), &users[0]);
    let mut connection = client.connect().await.expect("a connection");
    let requests = if options.quick { 5 } else { 20 };
    for (what, query) in [
        ("by name", "order_by=name&limit=100"),
        (
            "the last page, by members",
            "order_by=joined_members&limit=100&from=4900",
        ),
        ("that a search finds", "search_term=number%204&limit=100"),
    ] {
        let path = format!("/_synapse/admin/v1/rooms?{query}");
        let (mut times, mut costs) = (Vec::new(), Vec::new());
        for _ in 0..options.runs() {
            let (cpu, start) = (cpu_time(server.process_id()), Instant::now());
            for _ in 0..requests {
                let page = connection.get(&path).await.expect("a page");
                assert!(page.len() > 1_000, "{}", String::from_utf8_lossy(page));
            }
            let each = requests as f64;
            times.push(start.elapsed().as_secs_f64() * 1_000.0 / each);
            costs.push((cpu_time(server.process_id()) - cpu) / each);
        }
        report.add(
            format!("Page of 100 of 5,000 rooms {what}: time"),
            "ms",
            Target::AtMost(100.0),
            &times,
            format!("server CPU {} ms", number(median(&costs))),
        );
    }
    sizes(&server, &users[0]).await;
    let mut clerk = desk::clerk(&server, &users[0]).await;
    let register = format!("/console/register?person={}", users[0].localpart());
    let pages = [
        ("first page", "/console/rooms"),
        ("search", "/console/rooms?q=number+4321"),
        ("search that fits nearly all", "/console/rooms?q=room"),
        ("search that fits none", "/console/rooms?q=nothing"),
        ("those that nobody administers", "/console/abandoned-rooms"),
        ("the register of a person in every 16th", register.as_str()),
    ];
    desk::measure(&mut clerk, ("5,000 rooms", &pages), options, report).await;
}

async fn fill(users: &[User], rooms: usize) {
    let mut making = JoinSet::new();
    for (place, user) in users.iter().cloned().enumerate() {
        making.spawn(async move {
            for number in (place..rooms).step_by(MAKERS) {
                let options = json!({
                    "name": format!("Room number {number}"), "topic": "What is to be done.",
                    "room_alias_name": format!("room-{number}"),
                });
                user.create_room(options).await;
            }
        });
    }
    while let Some(made) = making.join_next().await {
        made.expect("rooms");
    }
}

/// What is measured is what is there.
async fn sizes(server: &Server, user: &User) {
    let page = user.get("/_synapse/admin/v1/rooms?limit=1").await.ok();
    let listed = server.cairn_json(&["room", "list", "--limit", "1"]);
    assert_eq!(page["total_rooms"], listed["total"]);
}
