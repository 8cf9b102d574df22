//! What many clients do at the same time.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::io::ErrorKind;

use harness::signing::DeviceKeys;
use harness::{User, escape};
use measuring::client::{Connection, Failure, find};
use serde_json::{Map, Value, json};

use crate::delivery;
use crate::driving::{Measured, Worker, drive};
use crate::options::Options;
use crate::sites::Site;
use crate::world::{World, number, send_path};

/// Clients that do the same at the same time.
const CLIENTS: usize = 16;
/// The one-time keys of one upload, and of how many devices one is claimed.
const KEYS: usize = 5;
/// The length of a file.
const FILE: usize = 10 * 1_024;
/// The files that are downloaded by turns.
const FILES: usize = 50;
/// The rooms in the window of a sliding sync.
const WINDOW: usize = 20;
/// A window of as many as there may be.
const EVERY_ROOM: usize = 1_000;

/// A message of common length.
pub(crate) const MESSAGE: &str = concat!(
    r#"{"msgtype":"m.text","body":"The committee meets on Tuesday at half past nine "#,
    r#"in the small hall; please bring the minutes of the last meeting."}"#
);

/// One kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Each sends in a room of their own.
    SendsInManyRooms,
    /// All send in one room.
    SendsInOneRoom,
    /// Everybody waits for what one says.
    Delivery,
    /// A client's first `/sync`.
    FirstSync,
    /// A message, and the `/sync` that brings it.
    NextSync,
    /// The beginning of a sliding sync.
    FirstSlidingSync,
    /// A message, and the answer of a sliding sync that brings it.
    NextSlidingSync,
    /// People leave a room and come back.
    Joins,
    /// One-time keys are uploaded, and as many claimed: devices may have only so many.
    Keys,
    /// A message to a device of everybody.
    ToDevice,
    /// Small files are uploaded.
    Uploads,
    /// Small files are downloaded.
    Downloads,
    /// Pages of a timeline are read.
    Pages,
}

impl Scenario {
    pub(crate) const ALL: [Self; 13] = [
        Self::SendsInManyRooms,
        Self::SendsInOneRoom,
        Self::Delivery,
        Self::FirstSync,
        Self::NextSync,
        Self::FirstSlidingSync,
        Self::NextSlidingSync,
        Self::Joins,
        Self::Keys,
        Self::ToDevice,
        Self::Uploads,
        Self::Downloads,
        Self::Pages,
    ];

    /// As the report and the command line call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SendsInManyRooms => "sends-in-many-rooms",
            Self::SendsInOneRoom => "sends-in-one-room",
            Self::Delivery => "delivery",
            Self::FirstSync => "first-sync",
            Self::NextSync => "next-sync",
            Self::FirstSlidingSync => "first-sliding-sync",
            Self::NextSlidingSync => "next-sliding-sync",
            Self::Joins => "leave-and-join",
            Self::Keys => "keys",
            Self::ToDevice => "to-device",
            Self::Uploads => "uploads",
            Self::Downloads => "downloads",
            Self::Pages => "pages",
        }
    }

    /// One turn of it.
    pub(crate) async fn run(self, site: &Site, world: &mut World, options: &Options) -> Measured {
        match self {
            Self::SendsInManyRooms => sends(site, world, options, false).await,
            Self::SendsInOneRoom => sends(site, world, options, true).await,
            Self::Delivery => delivery::measure(site, world, options.turn).await,
            Self::FirstSync => first_syncs(site, world, options).await,
            Self::NextSync => next_syncs(site, world, options).await,
            Self::FirstSlidingSync => first_sliding_syncs(site, world, options).await,
            Self::NextSlidingSync => next_sliding_syncs(site, world, options).await,
            Self::Joins => joins(site, world, options).await,
            Self::Keys => keys(site, world, options).await,
            Self::ToDevice => to_device(site, world, options).await,
            Self::Uploads => uploads(site, world, options).await,
            Self::Downloads => downloads(site, world, options).await,
            Self::Pages => pages(site, world, options).await,
        }
    }
}

/// A worker for each of the first `count` people.
async fn workers(world: &World, count: usize) -> Vec<Worker> {
    let mut workers = Vec::new();
    for (number, person) in world.people.iter().enumerate().take(count) {
        workers.push(Worker::new(number, world.connect(person).await));
    }
    workers
}

async fn sends(site: &Site, world: &mut World, options: &Options, hot: bool) -> Measured {
    let workers = workers(world, usize::MAX).await;
    let before = site.disk_use();
    let (own, shared) = (&world.own_rooms, &world.hot_room);
    let measured = drive(site, workers, options.turn, async |worker| {
        let room = if hot { shared } else { &own[worker.number] };
        let path = send_path(room);
        let sent = worker.connection.ask("PUT", &path, MESSAGE.as_bytes());
        sent.await.map(drop)
    });
    let measured = measured.await;
    if let (Some(before), Some(after)) = (before, site.disk_use()) {
        world.sent += measured.operations;
        world.grown += after.saturating_sub(before);
    }
    measured
}

async fn first_syncs(site: &Site, world: &World, options: &Options) -> Measured {
    // The same person: what others changed is not what is measured.
    let mut workers = Vec::new();
    for number in 0..CLIENTS.min(4) {
        workers.push(Worker::new(number, world.connect(&world.people[0]).await));
    }
    drive(site, workers, options.turn, async |worker| {
        // A filter that differs each time: some servers remember their answers for a while.
        let filter = json!({ "room": { "timeline": { "limit": 20,
            "not_types": [format!("nothing.{}", number())] } } });
        let path = format!(
            "/_matrix/client/v3/sync?timeout=0&filter={}",
            escape(&filter.to_string())
        );
        worker.connection.ask("GET", &path, b"").await.map(drop)
    })
    .await
}

/// Where a `/sync` goes on.
pub(crate) async fn sync(
    connection: &mut Connection,
    since: &str,
    wait: u64,
) -> Result<String, Failure> {
    let since = match since {
        "" => String::new(),
        since => format!("&since={}", escape(since)),
    };
    let path = format!("/_matrix/client/v3/sync?timeout={wait}{since}");
    let body = connection.ask("GET", &path, b"").await?;
    token(body, br#""next_batch":""#)
}

/// The text behind `key` in an answer. It is searched, not parsed: that would cost more than
/// to serve it.
pub(crate) fn token(body: &[u8], key: &[u8]) -> Result<String, Failure> {
    let missing = || Failure::Broken(ErrorKind::InvalidData.into());
    let from = find(body, key).ok_or_else(missing)? + key.len();
    let rest = &body[from..];
    let end = find(rest, b"\"").ok_or_else(missing)?;
    Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
}

/// Says something in one of the rooms, each time in another one.
async fn say_by_turns(worker: &mut Worker, rooms: &[String]) -> Result<(), Failure> {
    let room = &rooms[(worker.number + worker.begun * 7) % rooms.len()];
    let path = send_path(room);
    let sent = worker.connection.ask("PUT", &path, MESSAGE.as_bytes());
    sent.await.map(drop)
}

async fn next_syncs(site: &Site, world: &World, options: &Options) -> Measured {
    let mut workers = workers(world, options.size.members).await;
    for worker in &mut workers {
        let since = sync(&mut worker.connection, "", 0).await;
        worker.since = since.expect("a first sync");
    }
    let rooms = &world.lively_rooms;
    drive(site, workers, options.turn, async |worker| {
        say_by_turns(worker, rooms).await?;
        worker.since = sync(&mut worker.connection, &worker.since, 10_000).await?;
        Ok(())
    })
    .await
}

/// What a modern client asks of its room list, of the first so many rooms.
fn sliding(connection: &str, window: usize) -> String {
    json!({
        "conn_id": connection,
        "lists": { "all_rooms": {
            "ranges": [[0, window - 1]],
            "timeline_limit": 1,
            "required_state": [
                ["m.room.name", ""], ["m.room.encryption", ""], ["m.room.member", "$LAZY"],
                ["m.room.member", "$ME"], ["m.room.topic", ""], ["m.room.avatar", ""],
                ["m.room.canonical_alias", ""], ["m.room.power_levels", ""],
                ["m.room.join_rules", ""], ["m.room.create", ""],
            ],
        } },
        "extensions": { "account_data": { "enabled": true }, "receipts": { "enabled": true } },
    })
    .to_string()
}

/// A sliding sync, and where it goes on.
pub(crate) async fn slide(
    connection: &mut Connection,
    body: &str,
    position: &str,
    wait: u64,
) -> Result<String, Failure> {
    let position = match position {
        "" => String::new(),
        position => format!("&pos={}", escape(position)),
    };
    let path = format!(
        "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout={wait}{position}"
    );
    let answer = connection.ask("POST", &path, body.as_bytes()).await?;
    token(answer, br#""pos":""#)
}

async fn first_sliding_syncs(site: &Site, world: &World, options: &Options) -> Measured {
    let workers = workers(world, 4.min(options.size.members)).await;
    drive(site, workers, options.turn, async |worker| {
        let body = sliding(&format!("list-{}", worker.number), WINDOW);
        slide(&mut worker.connection, &body, "", 0).await.map(drop)
    })
    .await
}

async fn next_sliding_syncs(site: &Site, world: &World, options: &Options) -> Measured {
    let mut workers = workers(world, options.size.members).await;
    for worker in &mut workers {
        // A client knows all its rooms after a while, and looks at the first few.
        let body = sliding(&format!("next-{}", worker.number), EVERY_ROOM);
        let position = slide(&mut worker.connection, &body, "", 0).await;
        worker.since = position.expect("a first answer");
    }
    let rooms = &world.lively_rooms;
    drive(site, workers, options.turn, async |worker| {
        say_by_turns(worker, rooms).await?;
        let body = sliding(&format!("next-{}", worker.number), WINDOW);
        worker.since = slide(&mut worker.connection, &body, &worker.since, 10_000).await?;
        Ok(())
    })
    .await
}

async fn joins(site: &Site, world: &World, options: &Options) -> Measured {
    // The first made the room and stays.
    let mut workers = workers(world, CLIENTS + 1).await;
    workers.remove(0);
    let room = escape(&world.hot_room);
    let (leave, join) = (
        format!("/_matrix/client/v3/rooms/{room}/leave"),
        format!("/_matrix/client/v3/join/{room}"),
    );
    drive(site, workers, options.turn, async |worker| {
        worker.connection.ask("POST", &leave, b"{}").await?;
        worker.connection.ask("POST", &join, b"{}").await.map(drop)
    })
    .await
}

const ALGORITHM: &str = "signed_curve25519";

async fn keys(site: &Site, world: &World, options: &Options) -> Measured {
    let people = &world.people[..CLIENTS];
    let keys: Vec<Value> = people
        .iter()
        .map(|person| DeviceKeys::of(person).one_time_key())
        .collect();
    // How many keys are there for each.
    let stocks = RefCell::new(vec![0_usize; people.len()]);
    let workers = workers(world, CLIENTS).await;
    drive(site, workers, options.turn, async |worker| {
        let key = &keys[worker.number];
        let new: Map<String, Value> = (0..KEYS)
            .map(|_| (format!("{ALGORITHM}:load{}", number()), key.clone()))
            .collect();
        let body = json!({ "one_time_keys": new }).to_string();
        let path = "/_matrix/client/v3/keys/upload";
        worker.connection.ask("POST", path, body.as_bytes()).await?;
        stocks.borrow_mut()[worker.number] += KEYS;
        let body = claim(people, &mut stocks.borrow_mut());
        let path = "/_matrix/client/v3/keys/claim";
        worker
            .connection
            .ask("POST", path, body.as_bytes())
            .await
            .map(drop)
    })
    .await
}

/// Claims a key of each of those who have most: whoever is faster than the others does not
/// pile up more than a device may have.
fn claim(people: &[User], stocks: &mut [usize]) -> String {
    let mut richest: Vec<usize> = (0..people.len()).collect();
    richest.sort_unstable_by_key(|person| Reverse(stocks[*person]));
    let wanted: Map<String, Value> = richest
        .into_iter()
        .take(KEYS)
        .map(|number| {
            let person = &people[number];
            stocks[number] = stocks[number].saturating_sub(1);
            let device = json!({ &person.device_id: ALGORITHM });
            (person.user_id.clone(), device)
        })
        .collect();
    json!({ "one_time_keys": wanted }).to_string()
}

async fn to_device(site: &Site, world: &World, options: &Options) -> Measured {
    let content = json!({
        "algorithm": "m.olm.v1.curve25519-aes-sha2",
        "sender_key": "0".repeat(43),
        "ciphertext": { "0".repeat(43): { "type": 1, "body": "x".repeat(800) } },
    });
    let messages: Map<String, Value> = world
        .people
        .iter()
        .map(|person| {
            (
                person.user_id.clone(),
                json!({ &person.device_id: content }),
            )
        })
        .collect();
    let body = json!({ "messages": messages }).to_string();
    let workers = workers(world, 4).await;
    drive(site, workers, options.turn, async |worker| {
        let path = format!(
            "/_matrix/client/v3/sendToDevice/m.room.encrypted/{}",
            number()
        );
        let sent = worker.connection.ask("PUT", &path, body.as_bytes());
        sent.await.map(drop)
    })
    .await
}

/// Bytes that no other file has.
fn file() -> Vec<u8> {
    let mut bytes = vec![0x5a; FILE];
    bytes[..8].copy_from_slice(&number().to_le_bytes());
    bytes
}

/// Uploads a file. Gives the path of its download.
pub(crate) async fn upload(connection: &mut Connection) -> Result<String, Failure> {
    let path = "/_matrix/media/v3/upload?filename=load";
    let answer = connection.ask("POST", path, &file()).await?;
    let media = token(answer, b"mxc://")?;
    Ok(format!("/_matrix/client/v1/media/download/{media}"))
}

async fn uploads(site: &Site, world: &World, options: &Options) -> Measured {
    let workers = workers(world, CLIENTS).await;
    drive(site, workers, options.turn, async |worker| {
        upload(&mut worker.connection).await.map(drop)
    })
    .await
}

async fn downloads(site: &Site, world: &World, options: &Options) -> Measured {
    let mut workers = workers(world, CLIENTS).await;
    let mut paths = Vec::new();
    for _ in 0..FILES {
        let path = upload(&mut workers[0].connection).await;
        paths.push(path.expect("a file"));
    }
    drive(site, workers, options.turn, async |worker| {
        let path = &paths[(worker.number + worker.begun) % paths.len()];
        let file = worker.connection.ask("GET", path, b"").await?;
        assert_eq!(file.len(), FILE, "a file came back with another length");
        Ok(())
    })
    .await
}

async fn pages(site: &Site, world: &World, options: &Options) -> Measured {
    let workers = workers(world, CLIENTS).await;
    let path = format!(
        "/_matrix/client/v3/rooms/{}/messages?dir=b&limit=50",
        escape(&world.hot_room)
    );
    drive(site, workers, options.turn, async |worker| {
        worker.connection.ask("GET", &path, b"").await.map(drop)
    })
    .await
}
