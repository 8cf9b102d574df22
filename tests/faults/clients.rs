//! Clients that come in thousands, or say nothing, or never end.

use std::process::Command;
use std::time::{Duration, Instant};

use harness::{Config, Server};
use measuring::process::memory;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Those who connect and say nothing.
const IDLE: usize = 10_000;
/// Memory that one of them may take, in KiB.
const IDLE_KIB: f64 = 16.0;

/// Lets this process and the server have so many files, if the system lets it.
fn raise_files(most: usize) {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("the limits");
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = files.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    if soft.is_some_and(|soft: usize| soft >= most) {
        return;
    }
    let own = std::process::id().to_string();
    let limit = format!("--nofile={most}:");
    let raised = Command::new("prlimit")
        .args(["--pid", &own, &limit])
        .output();
    let raised = raised.expect("prlimit");
    assert!(
        raised.status.success(),
        "{IDLE} connections need as many files: {}",
        String::from_utf8_lossy(&raised.stderr)
    );
}

async fn connect(server: &Server) -> TcpStream {
    let address = server.addresses().remove(0);
    TcpStream::connect(address).await.expect("a connection")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_who_say_nothing_cost_little() {
    raise_files(IDLE + 5_000);
    let server = Server::with(Config {
        // It follows the table of limits.
        more: format!("max_connections = {}\n", IDLE + 1_000),
        ..Config::default()
    });
    let user = server.api().register("busy").await;
    let room = user.public_room().await;
    let before = memory(server.process_id());
    let mut idle = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        idle.push(connect(&server).await);
    }
    let begun = Instant::now();
    user.say(&room, "among ten thousand").await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "a send took {took:?}");
    let each = (memory(server.process_id()) - before) * 1_024.0 / IDLE as f64;
    eprintln!("{each:.1} KiB for each of {IDLE} connections");
    assert!(each < IDLE_KIB, "{each:.1} KiB for each connection");
    drop(idle);
    user.say(&room, "alone again").await;
}

#[tokio::test]
async fn whoever_speaks_slowly_keeps_nobody_waiting() {
    const SLOW: usize = 300;
    let server = Server::start();
    let user = server.api().register("quick").await;
    let room = user.public_room().await;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        let mut stream = connect(&server).await;
        let head = b"POST /_matrix/client/v3/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n";
        stream.write_all(head).await.expect("a part of a request");
        slow.push(stream);
    }
    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        for stream in &mut slow {
            // A header that never ends, a byte at a time.
            let _ = stream.write_all(b"x").await;
        }
        let begun = Instant::now();
        user.say(&room, &format!("round {round}")).await;
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "a send took {slowest:?}");
}

#[tokio::test]
async fn a_head_has_an_end() {
    let server = Server::start();
    let mut stream = connect(&server).await;
    let begin = b"GET /_matrix/client/versions HTTP/1.1\r\nHost: x\r\nX-Endless: ";
    stream.write_all(begin).await.expect("a begun head");
    let piece = [b'x'; 16 * 1_024];
    let mut sent = 0_usize;
    // The server stops reading and says so, or hangs up.
    while sent < 64 * 1_024 * 1_024 {
        match stream.write_all(&piece).await {
            Ok(()) => sent += piece.len(),
            Err(_) => break,
        }
    }
    assert!(
        sent < 16 * 1_024 * 1_024,
        "{sent} bytes of a head were taken"
    );
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    if !answer.is_empty() {
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    server.api().get("versions").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_taken_back_at_once_cost_little() {
    const TAKEN_BACK: usize = 50_000;
    let server = Server::start();
    let user = server.api().register("calm").await;
    let room = user.public_room().await;
    let before = memory(server.process_id());
    let mut sent = 0;
    while sent < TAKEN_BACK {
        let stream = connect(&server).await;
        let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let driving = tokio::spawn(connection);
        // Until the server hangs up on who does that.
        while sent < TAKEN_BACK {
            let Ok(ready) = client.clone().ready().await else {
                break;
            };
            client = ready;
            let url = format!("{}/_matrix/client/v3/sync?timeout=30000", server.url());
            let request = http::Request::get(url)
                .header("Authorization", format!("Bearer {}", user.access_token))
                .body(())
                .expect("a request");
            let Ok((_, mut stream)) = client.send_request(request, true) else {
                break;
            };
            stream.send_reset(h2::Reason::CANCEL);
            sent += 1;
        }
        driving.abort();
    }
    let begun = Instant::now();
    user.say(&room, "still there").await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "a send took {took:?}");
    let grown = memory(server.process_id()) - before;
    assert!(grown < 100.0, "{grown:.0} MiB more");
}
