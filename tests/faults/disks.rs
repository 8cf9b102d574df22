//! Disks that refuse to sync, and disks that are slow to.

use std::time::{Duration, Instant};

use harness::{Server, User, escape};
use serde_json::json;

/// Runs the server with something done to its calls of `fdatasync`. It stays this process's own
/// child (`-D`).
fn with_syncs(server: &mut Server, what: &str) {
    let inject = format!("inject=fdatasync:{what}");
    server.restart_under(&[
        "strace",
        "-D",
        "-f",
        "-q",
        "--seccomp-bpf",
        "-o",
        "/dev/null",
        "-e",
        "trace=fdatasync",
        "-e",
        &inject,
        "-e",
        "signal=none",
    ]);
}

/// The person again, at the server's present address.
fn at(server: &Server, user: &User) -> User {
    User {
        api: server.api().with_token(&user.access_token),
        ..user.clone()
    }
}

fn send_path(room: &str, transaction: &str) -> String {
    let room = escape(room);
    format!("v3/rooms/{room}/send/m.room.message/{transaction}")
}

#[tokio::test]
async fn a_disk_that_refuses_stops_writing_and_loses_nothing() {
    let mut server = Server::start();
    let user = server.api().register("writer").await;
    let room = user.public_room().await;
    with_syncs(&mut server, "error=EIO:when=40+");
    let writer = at(&server, &user);

    let (mut acknowledged, mut refusal) = (Vec::new(), None);
    for number in 0..200 {
        let body = json!({ "msgtype": "m.text", "body": format!("message {number}") });
        let path = send_path(&room, &format!("before-{number}"));
        let answer = writer.put(path, body).await;
        if answer.status != 200 {
            refusal = Some(answer);
            break;
        }
        let event = answer.ok()["event_id"].as_str().map(str::to_owned);
        acknowledged.push(event.expect("an event id"));
    }
    let refusal = refusal.expect("a disk that refuses");
    assert!(
        acknowledged.len() >= 10,
        "{} came through",
        acknowledged.len()
    );
    refusal.refused_with(&[500, 503]);

    // For good: nobody knows what is on such a disk.
    let body = json!({ "msgtype": "m.text", "body": "once more" });
    let again = writer.put(send_path(&room, "after"), body).await;
    again.refused_with(&[500, 503]);
    // What is there can be read on, the refused message is not.
    let page = writer
        .get(format!(
            "v3/rooms/{}/messages?dir=b&limit=100",
            escape(&room)
        ))
        .await
        .ok();
    let shown = harness::event_ids(page["chunk"].as_array().expect("events")).len();
    assert!(shown >= acknowledged.len());
    let health = server.api().get("/_cairn/health").await;
    assert_eq!(health.body["ready"], false, "{health:?}");
    assert!(health.text.contains("the disk refused"), "{health:?}");
    let log = std::fs::read_to_string(server.log_file()).expect("the log");
    assert!(log.contains("writing has stopped"), "{log}");

    server.kill9();
    server.restart();
    let reader = at(&server, &user);
    for event in &acknowledged {
        let path = format!("v3/rooms/{}/event/{}", escape(&room), escape(event));
        reader.get(path).await.ok();
    }
    reader.say(&room, "it goes on").await;
}

#[tokio::test]
async fn a_slow_disk_is_waited_for_once_by_all() {
    const SENDERS: usize = 24;
    const EACH: usize = 4;
    let mut server = Server::start();
    let mut people = Vec::new();
    for _ in 0..SENDERS {
        people.push(server.api().register("patient").await);
    }
    let room = people[0].public_room().await;
    for person in &people[1..] {
        person.join(&room).await;
    }
    with_syncs(&mut server, "delay_enter=100000");
    let people: Vec<User> = people.iter().map(|person| at(&server, person)).collect();

    let begun = Instant::now();
    let mut sending = tokio::task::JoinSet::new();
    for person in &people[1..] {
        let (person, room) = (person.clone(), room.clone());
        sending.spawn(async move {
            for number in 0..EACH {
                person.say(&room, &format!("message {number}")).await;
            }
        });
    }
    // Meanwhile one reads, and waits for no disk.
    let mut slowest = Duration::ZERO;
    while !sending.is_empty() {
        let asked = Instant::now();
        people[0].get("v3/sync?timeout=0").await.ok();
        slowest = slowest.max(asked.elapsed());
        tokio::select! {
            sent = sending.join_next() => sent.expect("a sender").expect("its messages"),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
    let took = begun.elapsed();
    // One after the other they would take ten seconds and more.
    let alone = Duration::from_millis(100) * ((SENDERS - 1) * EACH) as u32;
    assert!(took < alone / 2, "{took:?}, and {alone:?} one by one");
    assert!(slowest < Duration::from_secs(2), "a read took {slowest:?}");
}
