//! Hours of mixed load on Cairn alone: memory and latency must stay flat, and in the end
//! everything that was acknowledged must be there.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use harness::{User, escape};
use measuring::client::{Connection, Failure};
use measuring::statistics::{median, number, percentile_99};
use serde_json::json;

use crate::driving::{Worker, drive};
use crate::options::{Options, Which};
use crate::scenarios::{self, MESSAGE, sync, token};
use crate::sites::Site;
use crate::world::{World, send_path};

/// How many pieces the time is cut into.
const SLICES: u32 = 20;
/// Clients at the same time.
const CLIENTS: usize = 16;
/// How long each rests after what it did: some 200 operations a second together.
const REST: Duration = Duration::from_millis(80);
/// How much more the last quarter may take than the second one.
const MOST: f64 = 1.25;
/// Latencies below this, in ms, are not compared: the machine's own noise is larger.
const QUIET: f64 = 20.0;

/// What a slice of the time was like.
struct Slice {
    memory: f64,
    slowest: f64,
}

/// Loads for `time`. Gives what is not as it must be, in words.
pub(crate) async fn run(options: &Options, time: Duration) -> Vec<String> {
    let site = Site::start(&Which::Cairn, options).await;
    let world = World::prepare(&site, &options.size).await;
    let acknowledged = RefCell::new(BTreeMap::<String, HashSet<String>>::new());
    let begun = Instant::now();
    let (mut slices, mut complaints) = (Vec::new(), Vec::new());
    println!("| Minute | Operations | Errors | p50 | p99 | CPU each | Memory |");
    println!("|---|---|---|---|---|---|---|");
    for _ in 0..SLICES {
        let workers = workers(&world).await;
        let measured = drive(&site, workers, time / SLICES, async |worker| {
            let done = step(worker, &world, &acknowledged).await;
            tokio::time::sleep(REST).await;
            done
        })
        .await;
        // The rest is no latency.
        let rest = REST.as_secs_f64() * 1_000.0;
        let latencies: Vec<f64> = measured.latencies.iter().map(|it| it - rest).collect();
        let slice = Slice {
            memory: measured.memory,
            slowest: percentile_99(&latencies),
        };
        println!(
            "| {:.1} | {} | {} | {} ms | {} ms | {} ms | {} MiB |",
            begun.elapsed().as_secs_f64() / 60.0,
            measured.operations,
            measured.errors,
            number(median(&latencies)),
            number(slice.slowest),
            number(measured.cpu / measured.operations as f64),
            number(slice.memory)
        );
        if let Some(error) = measured.first_error {
            complaints.push(format!(
                "{} errors, the first: {error:.300}",
                measured.errors
            ));
        }
        slices.push(slice);
    }
    complaints.extend(growths(&slices));
    let (count, missing) = missing(&world, &acknowledged.into_inner()).await;
    println!("\n{count} messages were acknowledged, {missing} of them are missing.");
    if missing > 0 || count == 0 {
        complaints.push(format!(
            "{missing} of {count} acknowledged messages are missing"
        ));
    }
    complaints
}

async fn workers(world: &World) -> Vec<Worker> {
    let mut workers = Vec::new();
    for (number, person) in world.people.iter().enumerate().take(CLIENTS) {
        let mut worker = Worker::new(number, world.connect(person).await);
        let since = sync(&mut worker.connection, "", 0).await;
        worker.since = since.expect("a first sync");
        workers.push(worker);
    }
    workers
}

/// What one client does next, of everything a little.
async fn step(
    worker: &mut Worker,
    world: &World,
    acknowledged: &RefCell<BTreeMap<String, HashSet<String>>>,
) -> Result<(), Failure> {
    let connection = &mut worker.connection;
    match (worker.begun + worker.number) % 10 {
        turn @ 0..5 => {
            let room = match turn {
                0 => &world.hot_room,
                1 | 2 => &world.lively_rooms[worker.begun % world.lively_rooms.len()],
                _ => &world.own_rooms[worker.number],
            };
            // Of the lively rooms only the first few people are members.
            let room = match world.is_in(worker.number, room) {
                true => room,
                false => &world.hot_room,
            };
            let path = send_path(room);
            let answer = connection.ask("PUT", &path, MESSAGE.as_bytes()).await?;
            let event = token(answer, br#""event_id":""#)?;
            let mut acknowledged = acknowledged.borrow_mut();
            acknowledged.entry(room.clone()).or_default().insert(event);
        }
        5 | 6 => worker.since = sync(connection, &worker.since, 0).await?,
        7 => {
            let path = scenarios::upload(connection).await?;
            connection.ask("GET", &path, b"").await?;
        }
        8 => send_to_device(connection, world, worker.number).await?,
        _ => {
            let room = escape(&world.hot_room);
            let path = format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=50");
            connection.ask("GET", &path, b"").await?;
        }
    }
    Ok(())
}

/// A message to the next one's device, who takes it with the next sync.
async fn send_to_device(
    connection: &mut Connection,
    world: &World,
    worker: usize,
) -> Result<(), Failure> {
    let next: &User = &world.people[(worker + 1) % CLIENTS];
    let content = json!({ "body": "x".repeat(500) });
    let body = json!({ "messages": { &next.user_id: { &next.device_id: content } } });
    let path = format!(
        "/_matrix/client/v3/sendToDevice/org.example.load/{}",
        crate::world::number()
    );
    let body = body.to_string();
    connection
        .ask("PUT", &path, body.as_bytes())
        .await
        .map(drop)
}

/// What the last quarter takes more than the second: in the first, caches fill.
fn growths(slices: &[Slice]) -> Vec<String> {
    let quarter = slices.len() / 4;
    let of = |from: usize, value: fn(&Slice) -> f64| -> f64 {
        let values: Vec<f64> = slices[from..from + quarter].iter().map(value).collect();
        median(&values)
    };
    let mut growths = Vec::new();
    let last = slices.len() - quarter;
    let memory = of(last, |slice| slice.memory) / of(quarter, |slice| slice.memory);
    println!("\nMemory, last quarter to second: {}", number(memory));
    if memory > MOST {
        growths.push(format!("memory grew {} times", number(memory)));
    }
    let (early, late) = (
        of(quarter, |slice| slice.slowest),
        of(last, |slice| slice.slowest),
    );
    println!("p99, last quarter to second: {}", number(late / early));
    if late > QUIET && late / early > MOST {
        growths.push(format!("p99 grew {} times", number(late / early)));
    }
    growths
}

/// How many messages were acknowledged, and how many of them are not in their rooms.
async fn missing(
    world: &World,
    acknowledged: &BTreeMap<String, HashSet<String>>,
) -> (usize, usize) {
    let (mut count, mut missing) = (0, 0);
    for (room, events) in acknowledged {
        let mut unseen = events.clone();
        count += unseen.len();
        let member = world.member_of(room);
        let mut from = String::new();
        loop {
            let room = escape(room);
            let path = format!("v3/rooms/{room}/messages?dir=b&limit=500{from}");
            let page = member.get(path).await.ok();
            let chunk = page["chunk"].as_array().expect("a chunk");
            for event in harness::event_ids(chunk) {
                unseen.remove(event);
            }
            match page["end"].as_str() {
                Some(end) if !chunk.is_empty() => from = format!("&from={}", escape(end)),
                _ => break,
            }
        }
        missing += unseen.len();
    }
    (count, missing)
}
