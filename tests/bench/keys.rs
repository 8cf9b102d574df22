//! Keys and messages of many devices: queried, claimed, sent.

use harness::signing::DeviceKeys;
use harness::{Server, User};
use serde_json::{Map, Value, json};

use crate::client::{Client, Connection, count};
use crate::load::transaction_id;
use crate::options::{Measure, Options};
use crate::people;
use crate::process::cpu_time;
use crate::report::{Report, Target, median, number};

/// The devices, of as many users.
const DEVICES: usize = 100;

const ALGORITHM: &str = "signed_curve25519";

/// Measures what the options want of keys and of messages to devices.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    let wanted = [Measure::KeyQuery, Measure::KeyClaim, Measure::ToDevice];
    if !wanted.iter().any(|measure| options.wants(*measure)) {
        return;
    }
    eprintln!("measuring keys and messages of {DEVICES} devices");
    let folder = options.new_folder();
    let server = people::start(folder.path());
    let users = people::register(&server, "keyholder", DEVICES + 1).await;
    let (asker, holders) = users.split_first().expect("users");
    // Whose keys one may know shares a room.
    people::shared_room(&users).await;
    let requests = if options.quick { 10 } else { 100 };
    // Every claim takes one of each device.
    let claims = requests * options.runs();
    let keys = if options.wants(Measure::KeyClaim) {
        claims
    } else {
        1
    };
    upload(holders, keys).await;
    let bench = Bench {
        options,
        server: &server,
        asker,
        requests,
    };
    if options.wants(Measure::KeyQuery) {
        let of = |_: &User| json!([]);
        let body = json!({ "device_keys": by_user(holders, of) }).to_string();
        let run = bench.run(async |connection| {
            let path = "/_matrix/client/v3/keys/query";
            let answer = connection.post(path, body.as_bytes()).await;
            let answer = answer.expect("an answer");
            assert!(count(answer, b"\"device_id\"") >= DEVICES);
        });
        let name = format!("keys/query of {DEVICES} devices: server CPU");
        run.await.report(report, name, 1.0);
    }
    if options.wants(Measure::KeyClaim) {
        let of = |user: &User| json!({ &user.device_id: ALGORITHM });
        let body = json!({ "one_time_keys": by_user(holders, of) }).to_string();
        let run = bench.run(async |connection| {
            let path = "/_matrix/client/v3/keys/claim";
            let answer = connection.post(path, body.as_bytes()).await;
            let claimed = count(answer.expect("an answer"), ALGORITHM.as_bytes());
            assert_eq!(claimed, DEVICES);
        });
        let name = format!("keys/claim of {DEVICES} one-time keys: server CPU");
        run.await.report(report, name, 3.0);
    }
    if options.wants(Measure::ToDevice) {
        let content = json!({
            "algorithm": "m.olm.v1.curve25519-aes-sha2",
            "sender_key": "0".repeat(43),
            "ciphertext": { "0".repeat(43): { "type": 1, "body": "x".repeat(800) } },
        });
        let of = |user: &User| json!({ &user.device_id: content });
        let body = json!({ "messages": by_user(holders, of) }).to_string();
        let run = bench.run(async |connection| {
            let path = format!(
                "/_matrix/client/v3/sendToDevice/m.room.encrypted/{}",
                transaction_id()
            );
            connection.put(&path, &body).await.expect("an answer");
        });
        let name = format!("To-device messages to {DEVICES} devices: server CPU");
        run.await.report(report, name, 3.0);
    }
}

/// Device keys and `count` one-time keys of each.
async fn upload(holders: &[User], count: usize) {
    for user in holders {
        let keys = DeviceKeys::of(user);
        // Nobody looks at the signature of a one-time key but who claims it.
        let one = keys.one_time_key();
        let mut device_keys = Some(keys.object);
        for first in (0..count).step_by(50) {
            let names = first..count.min(first + 50);
            let one_time: Map<String, Value> = names
                .map(|number| (format!("{ALGORITHM}:one{number}"), one.clone()))
                .collect();
            let mut body = json!({ "one_time_keys": one_time });
            if let Some(device_keys) = device_keys.take() {
                body["device_keys"] = device_keys;
            }
            user.post("v3/keys/upload", body).await.ok();
        }
    }
}

/// What is asked of each, by user id.
fn by_user(users: &[User], of: impl Fn(&User) -> Value) -> Map<String, Value> {
    let one = |user: &User| (user.user_id.clone(), of(user));
    users.iter().map(one).collect()
}

/// One user's connection that asks again and again.
struct Bench<'a> {
    options: &'a Options,
    server: &'a Server,
    asker: &'a User,
    requests: usize,
}

/// What the runs came to, in milliseconds for one request.
struct Runs {
    costs: Vec<f64>,
    times: Vec<f64>,
}

impl Bench<'_> {
    async fn run(&self, work: impl AsyncFn(&mut Connection)) -> Runs {
        let client = Client::new(&self.server.url(), self.asker);
        let mut connection = client.connect().await.expect("a connection");
        let mut runs = Runs {
            costs: Vec::new(),
            times: Vec::new(),
        };
        for _ in 0..self.options.runs() {
            let cpu = cpu_time(self.server.process_id());
            let begun = std::time::Instant::now();
            for _ in 0..self.requests {
                work(&mut connection).await;
            }
            let requests = self.requests as f64;
            runs.times
                .push(begun.elapsed().as_secs_f64() * 1000.0 / requests);
            let cpu = cpu_time(self.server.process_id()) - cpu;
            runs.costs.push(cpu / requests);
        }
        runs
    }
}

impl Runs {
    fn report(&self, report: &mut Report, name: String, most: f64) {
        let note = format!("{} ms until it is answered", number(median(&self.times)));
        report.add(name, "ms", Target::AtMost(most), &self.costs, note);
    }
}
