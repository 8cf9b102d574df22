//! Too few files for all who come.

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
        match TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
            Ok(stream) => flood.push(stream),
            Err(_) => break,
        }
    }
    assert!(flood.len() > FILES, "only {} came", flood.len());
    for number in 0..50 {
        user.say(&room, &format!("during the flood, {number}"))
            .await;
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
