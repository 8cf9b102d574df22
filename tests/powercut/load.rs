//! Operations of every kind, many at once, and a ledger of what was acknowledged.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use harness::signing::DeviceKeys;
use harness::{Api, PASSWORD, Server, User, escape};
use reqwest::Method;
use serde_json::{Value, json};

use crate::chance::Chance;

/// How many work at the same time.
const WORKERS: usize = 40;
/// How many rooms they share.
const ROOMS: usize = 4;
/// The largest message's text; 65,536 bytes is the whole event's limit.
const LARGE: u64 = 60_000;
/// The longest a load may take.
const DEADLINE: Duration = Duration::from_secs(240);

/// Those who work, in rooms that they share.
pub(crate) struct People {
    pub(crate) users: Vec<User>,
    pub(crate) rooms: Vec<String>,
    keys: Arc<Vec<DeviceKeys>>,
}

/// An operation, and when it was asked for and acknowledged (seconds since 1970).
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) asked: f64,
    /// `None` when the answer never came.
    pub(crate) acknowledged: Option<f64>,
    pub(crate) what: What,
}

/// What must be there once it was acknowledged; the rest is known from the answer.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// An event in a room's timeline.
    Said { room: usize, event: String },
    /// A state event, and its number under the worker's state key.
    State {
        room: usize,
        worker: usize,
        number: u64,
        event: String,
    },
    /// Account data of a type of its own.
    Data { worker: usize, number: u64 },
    /// A message that waits for a device.
    ToDevice { to: usize, number: u64 },
    /// A one-time key of the worker's device.
    Key { worker: usize },
    /// A receipt; later ones replace it.
    Receipt {
        worker: usize,
        room: usize,
        event: String,
    },
    /// A room that the worker is in, having made or joined it.
    Entered { worker: usize, room: String },
    /// A room of the worker's that another one has replaced.
    Replaced {
        worker: usize,
        room: String,
        by: String,
    },
    /// A new user, signed in.
    Registered { token: String, name: String },
    /// An invitation token.
    Invited { token: String },
    /// A file: where it is fetched, and which it was.
    Uploaded { place: String, number: u64 },
    /// Asked for, with nothing known of the outcome.
    Unknown,
}

/// All operations in no particular order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) entries: Vec<Entry>,
}

/// The file of that number: some are longer than what the server holds in memory.
pub(crate) fn file(number: u64) -> String {
    let times = number % [50, 2_000, 30_000][number as usize % 3];
    format!("{number:016} ").repeat(1 + times as usize)
}

pub(crate) fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

impl Ledger {
    pub(crate) fn extend(&mut self, more: Self) {
        self.entries.extend(more.entries);
    }

    /// Forgets the messages to devices: they have been handed over.
    pub(crate) fn hand_over(&mut self) {
        for entry in &mut self.entries {
            if let What::ToDevice { .. } = entry.what {
                entry.what = What::Unknown;
            }
        }
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged_by(f64::MAX)
    }

    pub(crate) fn acknowledged_by(&self, instant: f64) -> usize {
        self.done_by(instant).count()
    }

    /// What was acknowledged before an instant.
    pub(crate) fn done_by(&self, instant: f64) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.acknowledged.is_some_and(|time| time < instant))
    }

    pub(crate) fn in_flight_at(&self, instant: f64) -> usize {
        let under_way = |entry: &&Entry| {
            entry.asked < instant && entry.acknowledged.is_none_or(|time| time > instant)
        };
        self.entries.iter().filter(under_way).count()
    }

    /// From when `count` were acknowledged until the last one was.
    pub(crate) fn window(&self, count: usize) -> (f64, f64) {
        let mut times: Vec<f64> = self
            .entries
            .iter()
            .filter_map(|entry| entry.acknowledged)
            .collect();
        times.sort_by(f64::total_cmp);
        (times[count], times[times.len() - 1])
    }
}

impl People {
    /// Registers the workers, gives their devices keys and lets them join the rooms.
    pub(crate) async fn gather(server: &Server) -> Self {
        let api = server.api();
        let (mut users, mut keys) = (Vec::new(), Vec::new());
        for number in 0..WORKERS {
            let user = api.register_as(&format!("worker{number}")).await;
            let device = DeviceKeys::of(&user);
            device.upload(&user, 0).await;
            keys.push(device);
            users.push(user);
        }
        let mut rooms = Vec::new();
        for _ in 0..ROOMS {
            let levels = json!({ "state_default": 0 });
            let options =
                json!({ "preset": "public_chat", "power_level_content_override": levels });
            let room = users[0].create_room(options).await;
            for user in &users[1..] {
                user.join(&room).await;
            }
            rooms.push(room);
        }
        Self {
            users,
            rooms,
            keys: Arc::new(keys),
        }
    }

    /// The worker's requests to a server that may listen elsewhere now.
    pub(crate) fn at(&self, server: &Server, worker: usize) -> Api {
        server.api().with_token(&self.users[worker].access_token)
    }
}

/// Works until this many operations are acknowledged.
pub(crate) async fn run(
    server: &Server,
    people: &People,
    chance: &mut Chance,
    count: usize,
) -> Ledger {
    work(server, people, chance.next(), count).await
}

/// Works until the server is gone.
pub(crate) async fn until_it_breaks(server: &Server, people: &People, seed: u64) -> Ledger {
    work(server, people, seed, usize::MAX).await
}

async fn work(server: &Server, people: &People, seed: u64, count: usize) -> Ledger {
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let opened = Arc::new(Mutex::new(Vec::new()));
    let invitations = Arc::new(invitation_command(server));
    let mut working = tokio::task::JoinSet::new();
    for number in 0..WORKERS {
        let mut worker = Worker {
            number,
            api: people.at(server, number),
            ids: people
                .users
                .iter()
                .map(|user| (user.user_id.clone(), user.device_id.clone()))
                .collect(),
            rooms: people.rooms.clone(),
            keys: Arc::clone(&people.keys),
            chance: Chance::from_seed(seed.wrapping_mul(1_000).wrapping_add(number as u64)),
            last_said: None,
            own_rooms: Vec::new(),
            opened: Arc::clone(&opened),
            ledger: Ledger::default(),
            invitations: Arc::clone(&invitations),
        };
        let acknowledged = Arc::clone(&acknowledged);
        working.spawn(async move {
            let end = tokio::time::Instant::now() + DEADLINE;
            while acknowledged.load(Ordering::Relaxed) < count && tokio::time::Instant::now() < end
            {
                if !worker.step().await {
                    break;
                }
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            worker.ledger
        });
    }
    let mut ledger = Ledger::default();
    for part in working.join_all().await {
        ledger.extend(part);
    }
    ledger
}

fn invitation_command(server: &Server) -> (std::path::PathBuf, std::path::PathBuf) {
    (Server::binary(), server.config_file())
}

struct Worker {
    number: usize,
    api: Api,
    ids: Vec<(String, String)>,
    rooms: Vec<String>,
    keys: Arc<Vec<DeviceKeys>>,
    chance: Chance,
    last_said: Option<(usize, String)>,
    /// Rooms that this worker has made and not replaced.
    own_rooms: Vec<String>,
    /// Rooms that anybody has made in this run.
    opened: Arc<Mutex<Vec<String>>>,
    ledger: Ledger,
    invitations: Arc<(std::path::PathBuf, std::path::PathBuf)>,
}

impl Worker {
    /// Does one operation of a random kind; `false` when the server did not answer.
    async fn step(&mut self) -> bool {
        let asked = now();
        let done = match self.chance.below(200) {
            0..48 => self.say().await,
            48..60 => self.upload().await,
            60..80 => self.set_state().await,
            80..106 => self.store_data().await,
            106..109 => self.open_room().await,
            109..113 => self.join_room().await,
            113..115 => self.replace_room().await,
            115..145 => self.send_to_device().await,
            145..165 => self.upload_key().await,
            165..195 => self.mark_as_read().await,
            195..199 => self.register().await,
            _ => self.invite().await,
        };
        let acknowledged = done.is_some().then(now);
        let what = done.unwrap_or(What::Unknown);
        let goes_on = acknowledged.is_some();
        self.ledger.entries.push(Entry {
            asked,
            acknowledged,
            what,
        });
        goes_on
    }

    /// Sends a request; `None` when the connection broke. Any refusal is an error.
    async fn ask(&self, method: Method, path: String, body: Value) -> Option<Value> {
        let request = self.api.request(method, &path).json(&body);
        self.api
            .try_request(request)
            .await
            .ok()
            .map(harness::Answer::ok)
    }

    async fn say(&mut self) -> Option<What> {
        let room = self.chance.below(ROOMS as u64) as usize;
        // Large ones too, so that the database moves what it has written.
        let most = [2_000, LARGE][self.chance.below(2) as usize];
        let size = self.chance.below(most) as usize;
        let path = format!(
            "v3/rooms/{}/send/m.room.message/{}",
            self.rooms[room],
            self.chance.next()
        );
        let body = json!({ "msgtype": "m.text", "body": "x".repeat(size) });
        let answer = self.ask(Method::PUT, path, body).await?;
        let event = answer["event_id"].as_str()?.to_owned();
        self.last_said = Some((room, event.clone()));
        Some(What::Said { room, event })
    }

    async fn set_state(&mut self) -> Option<What> {
        let room = self.chance.below(ROOMS as u64) as usize;
        let number = (now() * 1e6) as u64;
        let path = format!(
            "v3/rooms/{}/state/org.example.work/w{}",
            self.rooms[room], self.number
        );
        let answer = self
            .ask(Method::PUT, path, json!({ "number": number }))
            .await?;
        let event = answer["event_id"].as_str()?.to_owned();
        Some(What::State {
            room,
            worker: self.number,
            number,
            event,
        })
    }

    async fn store_data(&mut self) -> Option<What> {
        let number = self.chance.next() >> 12;
        let user = &self.ids[self.number].0;
        let path = format!("v3/user/{user}/account_data/org.example.n{number}");
        self.ask(Method::PUT, path, json!({ "number": number }))
            .await?;
        Some(What::Data {
            worker: self.number,
            number,
        })
    }

    async fn open_room(&mut self) -> Option<What> {
        let body = json!({ "preset": "public_chat" });
        let answer = self.ask(Method::POST, "v3/createRoom".into(), body).await?;
        let room = answer["room_id"].as_str()?.to_owned();
        self.own_rooms.push(room.clone());
        self.opened.lock().ok()?.push(room.clone());
        Some(What::Entered {
            worker: self.number,
            room,
        })
    }

    /// Joins a room that somebody opened.
    async fn join_room(&mut self) -> Option<What> {
        let opened = self.opened.lock().ok()?.clone();
        if opened.is_empty() {
            return self.open_room().await;
        }
        let room = opened[self.chance.below(opened.len() as u64) as usize].clone();
        let path = format!("v3/join/{}", escape(&room));
        self.ask(Method::POST, path, json!({})).await?;
        Some(What::Entered {
            worker: self.number,
            room,
        })
    }

    /// Moves a room of the worker's own to another version: many events in two rooms.
    async fn replace_room(&mut self) -> Option<What> {
        let Some(room) = self.own_rooms.pop() else {
            return self.open_room().await;
        };
        let path = format!("v3/rooms/{}/upgrade", escape(&room));
        let body = json!({ "new_version": "11" });
        let answer = self.ask(Method::POST, path, body).await?;
        Some(What::Replaced {
            worker: self.number,
            room,
            by: answer["replacement_room"].as_str()?.to_owned(),
        })
    }

    async fn send_to_device(&mut self) -> Option<What> {
        let number = self.chance.next() >> 12;
        let to = self.chance.below(WORKERS as u64) as usize;
        let (user, device) = &self.ids[to];
        let path = format!("v3/sendToDevice/org.example.work/{number}");
        let body = json!({ "messages": { user: { device: { "number": number } } } });
        self.ask(Method::PUT, path, body).await?;
        Some(What::ToDevice { to, number })
    }

    async fn upload_key(&mut self) -> Option<What> {
        let name = format!("signed_curve25519:n{}", self.chance.next());
        let key = self.keys[self.number].one_time_key();
        let body = json!({ "one_time_keys": { name: key } });
        self.ask(Method::POST, "v3/keys/upload".into(), body)
            .await?;
        Some(What::Key {
            worker: self.number,
        })
    }

    async fn mark_as_read(&mut self) -> Option<What> {
        let Some((room, event)) = self.last_said.clone() else {
            return self.say().await;
        };
        let path = format!("v3/rooms/{}/receipt/m.read/{event}", self.rooms[room]);
        self.ask(Method::POST, path, json!({})).await?;
        Some(What::Receipt {
            worker: self.number,
            room,
            event,
        })
    }

    async fn upload(&mut self) -> Option<What> {
        let number = self.chance.next() >> 12;
        let path = "/_matrix/media/v3/upload";
        let request = self.api.request(Method::POST, path).body(file(number));
        let answer = self.api.try_request(request).await.ok()?.ok();
        let uri = answer["content_uri"].as_str()?;
        Some(What::Uploaded {
            place: uri.strip_prefix("mxc://")?.to_owned(),
            number,
        })
    }

    async fn register(&mut self) -> Option<What> {
        let name = format!("new{}", self.chance.next());
        let body = json!({
            "username": name, "password": PASSWORD, "auth": { "type": "m.login.dummy" },
        });
        let api = self.api.anonymous();
        let request = api.request(Method::POST, "v3/register").json(&body);
        let answer = api.try_request(request).await.ok()?.ok();
        Some(What::Registered {
            token: answer["access_token"].as_str()?.to_owned(),
            name,
        })
    }

    /// Invitations are made by the command, which asks the running server.
    async fn invite(&mut self) -> Option<What> {
        let (binary, config) = self.invitations.as_ref().clone();
        let output = tokio::process::Command::new(binary)
            .args(["invite", "create", "--json", "--config"])
            .arg(config)
            .output()
            .await
            .ok()?;
        let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(What::Invited {
            token: answer["token"].as_str()?.to_owned(),
        })
    }
}
