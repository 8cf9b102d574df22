//! From a message to all who wait for it.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use measuring::client::{Connection, Failure, find};

use crate::driving::{Measured, Meter, join_all};
use crate::scenarios::token;
use crate::sites::Site;
use crate::world::{World, send_path};

/// Stands before the number in each message that is to be delivered.
const MARK: &[u8] = b"load-mark-";
/// How long a message may take to everybody.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one request may wait, in milliseconds.
const WAIT: u64 = 2_000;

/// What the one who speaks and those who wait share.
struct Shared {
    /// When each message was sent.
    sent: RefCell<Vec<Instant>>,
    /// How many had each message.
    had: RefCell<Vec<usize>>,
    ended: Cell<bool>,
}

/// Everybody waits in one room; one of them says the next message when all had the last. An
/// operation is one message that reached one of them.
pub(crate) async fn measure(site: &Site, world: &World, time: Duration) -> Measured {
    deliver(site, world, time, None).await
}

/// The same, with a message each `pace` whether or not all had the last.
pub(crate) async fn measure_at(
    site: &Site,
    world: &World,
    time: Duration,
    pace: Duration,
) -> Measured {
    deliver(site, world, time, Some(pace)).await
}

async fn deliver(site: &Site, world: &World, time: Duration, pace: Option<Duration>) -> Measured {
    let shared = Shared {
        sent: RefCell::default(),
        had: RefCell::default(),
        ended: Cell::new(false),
    };
    let mut readers = Vec::new();
    for person in &world.people {
        let mut connection = world.connect(person).await;
        let path = path(None, 0);
        let body = connection.ask("GET", &path, b"").await.expect("a sync");
        let since = token(body, br#""next_batch":""#).expect("where it goes on");
        readers.push((connection, since));
    }
    let speaker = world.connect(&world.people[0]).await;
    let count = readers.len();
    let meter = Meter::start(site);
    let reading = join_all(
        readers
            .into_iter()
            .map(|(connection, since)| read(connection, since, &shared)),
    );
    let speaking = speak(speaker, &world.hot_room, time, pace, count, &shared);
    let (read, errors) = tokio::join!(reading, speaking);
    let mut all = Measured::default();
    for (latencies, error) in read {
        all.latencies.extend(latencies);
        if let Some(error) = error {
            all.errors += 1;
            all.first_error.get_or_insert(error);
        }
    }
    all.operations = all.latencies.len() as u64;
    let expected = (shared.sent.borrow().len() * count) as u64;
    all.errors += errors + expected.saturating_sub(all.operations);
    meter.end(site, all)
}

async fn speak(
    mut connection: Connection,
    room: &str,
    time: Duration,
    pace: Option<Duration>,
    readers: usize,
    shared: &Shared,
) -> u64 {
    let begun = Instant::now();
    let mut errors = 0;
    // Until all of them wait.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut next = pace.map(tokio::time::interval);
    while begun.elapsed() < time {
        if let Some(next) = &mut next {
            next.tick().await;
        }
        let number = shared.sent.borrow().len();
        shared.sent.borrow_mut().push(Instant::now());
        shared.had.borrow_mut().push(0);
        let mark = String::from_utf8_lossy(MARK);
        let body = format!(r#"{{"msgtype":"m.text","body":"{mark}{number}."}}"#);
        let sent = connection
            .ask("PUT", &send_path(room), body.as_bytes())
            .await;
        errors += u64::from(sent.is_err());
        if next.is_none() {
            until_all_have(number, readers, shared).await;
        }
    }
    let said = shared.sent.borrow().len();
    if let Some(last) = said.checked_sub(1) {
        until_all_have(last, readers, shared).await;
    }
    shared.ended.set(true);
    errors
}

/// Waits until everybody had a message, or for too long.
async fn until_all_have(number: usize, readers: usize, shared: &Shared) {
    let begun = Instant::now();
    while shared.had.borrow()[number] < readers && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Syncs on until the end. Gives how long each message took, and what went wrong.
async fn read(
    mut connection: Connection,
    mut since: String,
    shared: &Shared,
) -> (Vec<f64>, Option<String>) {
    let mut latencies = Vec::new();
    while !shared.ended.get() {
        match take(&mut connection, &since, &mut latencies, shared).await {
            Ok(next) => since = next,
            Err(failure) => return (latencies, Some(failure.to_string())),
        }
    }
    (latencies, None)
}

fn path(since: Option<&str>, wait: u64) -> String {
    let since = since.map_or(String::new(), |since| {
        format!("&since={}", harness::escape(since))
    });
    format!("/_matrix/client/v3/sync?timeout={wait}{since}")
}

async fn take(
    connection: &mut Connection,
    since: &str,
    latencies: &mut Vec<f64>,
    shared: &Shared,
) -> Result<String, Failure> {
    let body = connection.ask("GET", &path(Some(since), WAIT), b"").await?;
    let now = Instant::now();
    let mut at = 0;
    while let Some(step) = find(&body[at..], MARK) {
        at += step + MARK.len();
        let digits = body[at..].iter().take_while(|byte| byte.is_ascii_digit());
        let digits: Vec<u8> = digits.copied().collect();
        let number = String::from_utf8_lossy(&digits).parse::<usize>();
        // A message of an earlier turn has no place among those of this one.
        let sent = number
            .ok()
            .and_then(|number| Some((number, *shared.sent.borrow().get(number)?)));
        if let Some((number, sent)) = sent {
            latencies.push(now.duration_since(sent).as_secs_f64() * 1_000.0);
            shared.had.borrow_mut()[number] += 1;
        }
    }
    token(body, br#""next_batch":""#)
}
