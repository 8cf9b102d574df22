//! `kill -9` while files are uploaded: what was acknowledged is there, and nothing is
//! there half.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use harness::{Api, Server, eventually};
use reqwest::Method;
use tokio::task::JoinSet;

use super::{contents, files, noise};

/// How many upload at the same time.
const WORKERS: u64 = 12;

/// A file that is another's for each number: of any length, some shared by two.
fn file(number: u64) -> Vec<u8> {
    noise(number / 2, length(number))
}

/// Every third is so short that it is a row of the database.
fn length(number: u64) -> usize {
    let (pair, longest) = match number / 2 {
        pair if pair % 3 == 0 => (pair, 16_000),
        pair => (pair, 600_000),
    };
    1 + (pair * 7_919 % longest) as usize
}

#[tokio::test]
async fn a_kill_leaves_nothing_half_there() {
    let mut server = Server::start();
    let alice = server.api().register("alice").await;
    let (next, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut stored: HashMap<String, u64> = HashMap::new();
    for round in 0..5 {
        let api = server.api().with_token(&alice.access_token);
        let before = done.load(Ordering::Relaxed);
        let mut working = JoinSet::new();
        for _ in 0..WORKERS {
            let work = until_it_breaks(api.clone(), Arc::clone(&next), Arc::clone(&done));
            working.spawn(work);
        }
        eventually("uploads", 30, async || {
            (done.load(Ordering::Relaxed) >= before + 2 * WORKERS).then_some(())
        })
        .await;
        // Each time at another step of what is under way.
        tokio::time::sleep(Duration::from_millis(7 * round)).await;
        server.kill9();
        for uploads in working.join_all().await {
            stored.extend(uploads);
        }
        server.restart();
        assert!(files(&server, "unfinished").is_empty(), "at the start");
    }
    let api = server.api().with_token(&alice.access_token);
    for (place, number) in &stored {
        let path = format!("v1/media/download/{place}");
        let fetched = super::fetch(&api, &path).await;
        assert_eq!(fetched.status, 200, "{place}");
        assert!(fetched.bytes == file(*number), "{place}");
    }
    // Every file is a whole one. Of those whose answer got lost some may have stayed:
    // not more than were under way at the kills.
    let by_length: HashMap<usize, u64> = (0..next.load(Ordering::Relaxed))
        .map(|number| (length(number), number))
        .collect();
    let mut acknowledged: Vec<u64> = stored.values().map(|number| number / 2).collect();
    acknowledged.sort_unstable();
    acknowledged.dedup();
    let most = acknowledged.len() + 5 * WORKERS as usize;
    eventually("what nobody needs is swept out", 30, async || {
        (contents(&server).len() <= most).then_some(())
    })
    .await;
    for path in contents(&server) {
        let bytes = match std::fs::read(&path) {
            // Swept out meanwhile: nobody needs it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            bytes => bytes.unwrap(),
        };
        let number = by_length.get(&bytes.len()).copied();
        assert!(
            number.is_some_and(|number| file(number) == bytes),
            "{}",
            path.display()
        );
    }
}

/// Uploads one file after the other until the server is gone; gives what was
/// acknowledged.
async fn until_it_breaks(
    api: Api,
    next: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
) -> Vec<(String, u64)> {
    let mut acknowledged = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let request = api
            .request(Method::POST, "/_matrix/media/v3/upload")
            .body(file(number));
        match api.try_request(request).await {
            Ok(answer) => acknowledged.push((super::place(&answer.ok()), number)),
            Err(_) => return acknowledged,
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}
