//! Many senders at once.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use harness::{Server, User, escape};
use tokio::task::LocalSet;

use crate::client::Client;
use crate::process::cpu_time;

/// When the senders stop.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// After this time.
    Elapsed(Duration),
    /// When this many sends were started.
    Sent(u64),
    /// After this time, or, without complaint, when the server is gone.
    Broken(Duration),
}

/// What the senders did.
#[derive(Debug)]
pub(crate) struct Sent {
    /// The acknowledged sends.
    pub(crate) count: u64,
    /// From the start to the last acknowledgement, in seconds.
    pub(crate) seconds: f64,
    /// How long each send took, in milliseconds.
    pub(crate) latencies: Vec<f64>,
    /// The server's CPU time, in milliseconds.
    pub(crate) server_cpu: f64,
    /// The CPU time of the load, in milliseconds.
    pub(crate) load_cpu: f64,
}

impl Sent {
    /// Acknowledged sends a second.
    pub(crate) fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// The server's CPU time a send, in milliseconds.
    pub(crate) fn cpu_per_send(&self) -> f64 {
        self.server_cpu / self.count as f64
    }

    /// How much of one processor the load took, in per cent.
    pub(crate) fn load_share(&self) -> f64 {
        self.load_cpu / (self.seconds * 10.0)
    }
}

/// Each user sends one message after the other, as soon as the last was acknowledged:
/// the first user in the first room and so on, all in the last where rooms run out.
pub(crate) async fn send(server: &Server, users: &[User], rooms: &[String], until: Until) -> Sent {
    let senders = LocalSet::new();
    let shared = Rc::new(Shared {
        started: Cell::new(0),
        until,
        start: Instant::now(),
    });
    let own = std::process::id();
    let cpu_before = (cpu_time(server.process_id()), cpu_time(own));
    let mut working = Vec::new();
    for (number, user) in users.iter().enumerate() {
        let client = Client::new(&server.url(), user);
        let room = rooms.get(number).or(rooms.last()).expect("a room").clone();
        working.push(senders.spawn_local(send_on(client, room, Rc::clone(&shared))));
    }
    let mut latencies = Vec::new();
    senders
        .run_until(async {
            for sender in working {
                latencies.extend(sender.await.expect("a sender"));
            }
        })
        .await;
    let seconds = shared.start.elapsed().as_secs_f64();
    // A server that was killed has no times any more.
    let (server_cpu, load_cpu) = match until {
        Until::Broken(_) => (f64::NAN, f64::NAN),
        _ => (
            cpu_time(server.process_id()) - cpu_before.0,
            cpu_time(own) - cpu_before.1,
        ),
    };
    Sent {
        count: latencies.len() as u64,
        seconds,
        latencies,
        server_cpu,
        load_cpu,
    }
}

/// What all senders of a run look at.
struct Shared {
    started: Cell<u64>,
    until: Until,
    start: Instant,
}

impl Shared {
    fn goes_on(&self) -> bool {
        self.started.set(self.started.get() + 1);
        match self.until {
            Until::Elapsed(time) | Until::Broken(time) => self.start.elapsed() < time,
            Until::Sent(count) => self.started.get() <= count,
        }
    }
}

/// Gives how long each send took, in milliseconds.
async fn send_on(client: Client, room: String, shared: Rc<Shared>) -> Vec<f64> {
    let room = escape(&room);
    let mut latencies = Vec::new();
    let may_break = matches!(shared.until, Until::Broken(_));
    let Ok(mut connection) = client.connect().await else {
        assert!(may_break, "no connection to the server");
        return latencies;
    };
    while shared.goes_on() {
        let path = format!(
            "/_matrix/client/v3/rooms/{room}/send/m.room.message/{}",
            transaction_id()
        );
        let before = Instant::now();
        match connection.put(&path, MESSAGE).await {
            Ok(_) => latencies.push(before.elapsed().as_secs_f64() * 1000.0),
            Err(_) if may_break => return latencies,
            Err(error) => panic!("a send got no answer: {error}"),
        }
    }
    latencies
}

/// A message of common length.
const MESSAGE: &str = concat!(
    r#"{"msgtype":"m.text","body":"The committee meets on Tuesday at half past nine "#,
    r#"in the small hall; please bring the minutes of the last meeting."}"#
);

/// A transaction id that no other send in this process has.
pub(crate) fn transaction_id() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
