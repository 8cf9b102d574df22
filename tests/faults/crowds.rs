//! A small machine and many people.

use std::time::Duration;

use harness::{PASSWORD, Server, User, escape};
use measuring::process::peak_memory;
use serde_json::json;
use tokio::task::JoinSet;

/// Who are there.
const PEOPLE: usize = 500;
/// Who sign in at the same time.
const NEWCOMERS: usize = PEOPLE / 4;
/// What the server may ever have taken, in MiB.
const MEMORY: f64 = 512.0;
/// What is said while all wait for it.
const MESSAGES: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_people_have_room_in_512_mebibytes() {
    let server = Server::start();
    let people = register(&server).await;
    let room = people[0].public_room().await;
    let mut joining = JoinSet::new();
    for person in &people[1..] {
        let (person, room) = (person.clone(), room.clone());
        joining.spawn(async move { person.join(&room).await });
    }
    joining.join_all().await;

    let mut arriving = JoinSet::new();
    for person in &people {
        let person = person.clone();
        arriving.spawn(async move {
            let since = sync(&person, "", 0).await.0;
            (person, since)
        });
    }
    let mut waiting = JoinSet::new();
    for (person, since) in arriving.join_all().await {
        waiting.spawn(read_all(person, since));
    }
    let mut coming = JoinSet::new();
    for person in people.iter().take(NEWCOMERS) {
        let person = person.clone();
        coming.spawn(async move {
            let answer = person.api.try_login(&person.user_id, PASSWORD, json!({}));
            answer.await.ok();
        });
    }
    for message in 0..MESSAGES {
        people[0]
            .say(&room, &format!("said to all: {message}."))
            .await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    coming.join_all().await;
    let read = waiting.join_all().await;
    assert_eq!(read, vec![MESSAGES; PEOPLE]);
    let most = peak_memory(server.process_id());
    eprintln!("{most:.0} MiB at most");
    assert!(most < MEMORY, "{most:.0} MiB");
}

async fn register(server: &Server) -> Vec<User> {
    let mut people = Vec::new();
    // No more at a time than may wait for their passwords to be hashed.
    while people.len() < PEOPLE {
        let mut registering = JoinSet::new();
        for _ in 0..100 {
            let api = server.api();
            registering.spawn(async move { api.register("one-of-many").await });
        }
        people.extend(registering.join_all().await);
    }
    people
}

/// Syncs until everything that was said to all is there. Gives how much that was.
async fn read_all(person: User, mut since: String) -> usize {
    let mut read = 0;
    let last = format!("said to all: {}.", MESSAGES - 1);
    loop {
        let (next, text) = sync(&person, &since, 30_000).await;
        read += text.matches("said to all: ").count();
        if text.contains(&last) {
            return read;
        }
        since = next;
    }
}

/// Where a sync goes on, and all that it told.
async fn sync(person: &User, since: &str, wait: u64) -> (String, String) {
    let filter = escape(r#"{"room":{"timeline":{"limit":100}}}"#);
    let since = match since {
        "" => String::new(),
        since => format!("&since={since}"),
    };
    let path = format!("v3/sync?timeout={wait}&filter={filter}{since}");
    let answer = person.get(path).await;
    let text = answer.text.clone();
    let next = answer.ok()["next_batch"].as_str().map(str::to_owned);
    (next.expect("where it goes on"), text)
}
