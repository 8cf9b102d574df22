//! Looks for everything that was acknowledged.

use std::collections::{HashMap, HashSet};

use harness::{Api, Server, Synced, escape};
use serde_json::{Value, json};

use crate::load::{Entry, Ledger, People, What, file};

/// What a server must hold and does not, of all that was acknowledged before `instant`.
pub(crate) async fn missing(
    server: &Server,
    people: &People,
    ledger: &Ledger,
    instant: f64,
) -> Vec<String> {
    let found = Found::gather(server, people).await;
    let mut missing = Vec::new();
    for entry in ledger.done_by(instant) {
        let there = found.has(server, people, ledger, entry).await;
        if !there {
            missing.push(format!("{entry:?}"));
        }
    }
    missing.extend(found.fewer_keys(ledger, instant));
    // And it goes on.
    let mut user = people.users[0].clone();
    user.api = people.at(server, 0);
    user.say(&people.rooms[0], "after the cut").await;
    missing
}

/// What a server must hold and does not, of all that was ever acknowledged.
pub(crate) async fn missing_now(server: &Server, people: &People, ledger: &Ledger) -> Vec<String> {
    missing(server, people, ledger, f64::MAX).await
}

/// Everything that the workers see.
#[derive(Default)]
struct Found {
    /// Per room, the ids of all events.
    events: Vec<HashSet<String>>,
    /// Per room and worker, the number of the state event.
    state: HashMap<(usize, usize), u64>,
    data: HashSet<(usize, u64)>,
    to_device: HashSet<(usize, u64)>,
    keys: Vec<usize>,
    /// Per worker, the rooms that they are in.
    joined: Vec<HashSet<String>>,
    /// Per worker and room, the event of the receipt.
    receipts: HashMap<(usize, usize), HashSet<String>>,
    /// Whether invitations can be asked about.
    by_invitation: bool,
}

impl Found {
    async fn gather(server: &Server, people: &People) -> Self {
        let mut found = Self::default();
        for number in 0..people.rooms.len() {
            found.read_room(server, people, number).await;
        }
        for worker in 0..people.users.len() {
            found.read_worker(server, people, worker).await;
        }
        let path = "v1/register/m.login.registration_token/validity?token=nothing";
        found.by_invitation = server.api().get(path).await.status == 200;
        found
    }

    async fn read_room(&mut self, server: &Server, people: &People, number: usize) {
        let (api, room) = (people.at(server, 0), &people.rooms[number]);
        let mut ids = HashSet::new();
        let mut from = String::new();
        loop {
            let path = format!("v3/rooms/{room}/messages?dir=b&limit=1000{from}");
            let page = api.get(path).await.ok();
            let chunk = page["chunk"].as_array().expect("a chunk");
            ids.extend(harness::event_ids(chunk).into_iter().map(str::to_owned));
            match page["end"].as_str() {
                Some(end) if !chunk.is_empty() => from = format!("&from={end}"),
                _ => break,
            }
        }
        self.events.push(ids);
        let state = api.get(format!("v3/rooms/{room}/state")).await.ok();
        for event in state.as_array().expect("events") {
            let key = event["state_key"].as_str().unwrap_or_default();
            if event["type"] == "org.example.work"
                && let Some(worker) = key.strip_prefix('w').and_then(|key| key.parse().ok())
            {
                let value = event["content"]["number"].as_u64().unwrap_or(0);
                self.state.insert((number, worker), value);
            }
        }
    }

    async fn read_worker(&mut self, server: &Server, people: &People, worker: usize) {
        let api = people.at(server, worker);
        let filter = json!({ "room": { "timeline": { "limit": 1 }, "state": { "types": [] } } });
        let filter = escape(&filter.to_string());
        let mut since = String::new();
        loop {
            let path = format!("v3/sync?timeout=0&filter={filter}{since}");
            let synced = Synced(api.get(path).await.ok());
            let data = synced.0["account_data"]["events"].as_array();
            for event in data.into_iter().flatten() {
                let name = event["type"].as_str().unwrap_or_default();
                if let Some(number) = name.strip_prefix("org.example.n") {
                    self.data
                        .extend(number.parse().ok().map(|number| (worker, number)));
                }
            }
            for event in synced.to_device() {
                self.to_device.extend(
                    event["content"]["number"]
                        .as_u64()
                        .map(|number| (worker, number)),
                );
            }
            for (number, room) in people.rooms.iter().enumerate() {
                let user = &people.users[worker].user_id;
                self.read_receipts(synced.ephemeral(room, "m.receipt"), user, (worker, number));
            }
            // Messages to a device come in portions.
            if synced.to_device().is_empty() {
                break;
            }
            since = format!("&since={}", synced.next_batch());
        }
        let joined = api.get("v3/joined_rooms").await.ok();
        let joined = joined["joined_rooms"].as_array().expect("rooms");
        let joined = joined.iter().filter_map(Value::as_str).map(str::to_owned);
        self.joined.push(joined.collect());
        let counts = api.post("v3/keys/upload", json!({})).await.ok();
        let count = counts["one_time_key_counts"]["signed_curve25519"]
            .as_u64()
            .unwrap_or(0);
        self.keys.push(count as usize);
    }

    fn read_receipts(&mut self, event: Option<&Value>, user: &str, place: (usize, usize)) {
        let content = event.and_then(|event| event["content"].as_object());
        for (id, kinds) in content.into_iter().flatten() {
            if kinds["m.read"][user].is_object() {
                self.receipts.entry(place).or_default().insert(id.clone());
            }
        }
    }

    async fn has(&self, server: &Server, people: &People, ledger: &Ledger, entry: &Entry) -> bool {
        match &entry.what {
            What::Said { room, event } => self.events[*room].contains(event),
            What::State {
                room,
                worker,
                number,
                event,
            } => {
                let current = self.state.get(&(*room, *worker)).copied().unwrap_or(0);
                self.events[*room].contains(event) && current >= *number
            }
            What::Data { worker, number } => self.data.contains(&(*worker, *number)),
            What::ToDevice { to, number } => self.to_device.contains(&(*to, *number)),
            What::Receipt {
                worker,
                room,
                event,
            } => self.has_receipt(ledger, (*worker, *room), event, entry.asked),
            What::Entered { worker, room } => self.joined[*worker].contains(room),
            What::Replaced { worker, room, by } => {
                self.joined[*worker].contains(by)
                    && leads_to(&people.at(server, *worker), room, by).await
            }
            What::Registered { token, name } => {
                let answer = server
                    .api()
                    .with_token(token)
                    .get("v3/account/whoami")
                    .await;
                let expected = format!("@{name}:{}", server.name());
                answer.status == 200 && answer.body["user_id"] == expected.as_str()
            }
            What::Invited { token } => {
                let path = format!("v1/register/m.login.registration_token/validity?token={token}");
                !self.by_invitation || server.api().get(path).await.ok()["valid"] == true
            }
            What::Uploaded { place, number } => {
                let path = format!("v1/media/download/{place}");
                let answer = people.at(server, 0).get(path).await;
                answer.status == 200 && answer.text == file(*number)
            }
            // Keys are counted; of the rest nothing is known.
            What::Key { .. } | What::Unknown => true,
        }
    }

    /// Whether the receipt is there, or a later one of the same worker in the room.
    fn has_receipt(&self, ledger: &Ledger, place: (usize, usize), event: &str, asked: f64) -> bool {
        let Some(there) = self.receipts.get(&place) else {
            return false;
        };
        if there.contains(event) {
            return true;
        }
        // A later one replaced it: of an event that the worker said after this one. It
        // may have arrived without being acknowledged, so what was said is looked at.
        ledger
            .entries
            .iter()
            .filter(|later| later.asked >= asked)
            .any(|later| match &later.what {
                What::Said { room, event } | What::Receipt { room, event, .. } => {
                    *room == place.1 && there.contains(event)
                }
                _ => false,
            })
    }

    /// Which workers have fewer one-time keys than were acknowledged.
    fn fewer_keys(&self, ledger: &Ledger, instant: f64) -> Vec<String> {
        let mut expected = vec![0; self.keys.len()];
        for entry in ledger.done_by(instant) {
            if let What::Key { worker } = entry.what {
                expected[worker] += 1;
            }
        }
        let pairs = expected.into_iter().zip(&self.keys).enumerate();
        pairs
            .filter(|(_, (expected, found))| *found < expected)
            .map(|(worker, (expected, found))| {
                format!("worker {worker}: {found} of {expected} keys")
            })
            .collect()
    }
}

/// Whether a room says that another one has taken its place.
async fn leads_to(worker: &Api, room: &str, replacement: &str) -> bool {
    let path = format!("v3/rooms/{}/state/m.room.tombstone/", escape(room));
    let tombstone = worker.get(path).await;
    tombstone.status == 200 && tombstone.body["replacement_room"] == replacement
}
