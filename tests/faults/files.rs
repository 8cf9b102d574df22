//! Too few files for all who come.
//!
//! A backup has the database write and open files of its own: one that it cannot open would
//! stop all writing.

use std::net::TcpStream;
use std::time::Duration;

use harness::{Server, User, eventually};

/// How many files the server may have open.
const FILES: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_files_left_goes_on_and_recovers() {
    let mut server = Server::start();
    let user = server.api().register("first").await;
    let room = user.public_room().await;
    let limit = format!("--nofile={FILES}");
    server.restart_under(&["prlimit", &limit]);
    let user = User {
        api: server.api().with_token(&user.access_token),
        ..user
    };
    // A connection of its own, made before the others come.
    user.say(&room, "before the flood").await;

    let address = server.addresses().remove(0);
    let address = address.parse().expect("an address");
    let mut flood = Vec::new();
    for _ in 0..2 * FILES {
        // Beyond the queue of those who wait the system itself refuses.
        match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
            Ok(stream) => flood.push(stream),
            Err(_) => break,
        }
    }
    // More than connections may have; the log says below that no further one was accepted.
    assert!(flood.len() > FILES / 4, "only {} came", flood.len());
    // The crowd leaves the database its files, and whoever looks after the server gets in.
    let copy = tempfile::tempdir().expect("a folder");
    let to = copy.path().to_str().expect("a path");
    for number in 0..50 {
        user.say(&room, &format!("during the flood, {number}"))
            .await;
        if number % 10 == 0 {
            tokio::task::block_in_place(|| server.cairn_json(&["backup", "create", to]));
        }
    }
    drop(flood);

    // Whoever comes now is served.
    eventually("a new connection is served", 30, async || {
        let fresh = harness::Api::new(&server.url());
        let asked = fresh.get("versions");
        let answer = tokio::time::timeout(Duration::from_secs(2), asked).await;
        answer.ok().filter(|answer| answer.status == 200)
    })
    .await;
    user.say(&room, "after the flood").await;
    server.stop();
    let log = std::fs::read_to_string(server.log_file()).expect("a log");
    assert!(!log.contains("Too many open files"), "{log}");
    assert!(log.contains("no connection is accepted until"), "{log}");
    server.restart();
    let reader = User {
        api: server.api().with_token(&user.access_token),
        ..user
    };
    let page = reader
        .get(format!(
            "v3/rooms/{}/messages?dir=b&limit=100",
            harness::escape(&room)
        ))
        .await
        .ok();
    let texts = page["chunk"].to_string();
    assert!(texts.contains("before the flood") && texts.contains("after the flood"));
    assert_eq!(texts.matches("during the flood").count(), 50);
}
