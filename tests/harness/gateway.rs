//! A push gateway of the test's own: it takes notifications and answers as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::eventually;

/// How many seconds a notification may take.
const PATIENCE: u64 = 20;

/// An HTTP server on this machine that keeps every notification. It ends when dropped;
/// connections that are open then are cut.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    received: Mutex<VecDeque<Value>>,
    answers: Mutex<VecDeque<String>>,
    connections: AtomicUsize,
}

impl Gateway {
    /// A gateway on any free port.
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address")).await
    }

    /// A gateway at this address, where one may have been before.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        let listening = tokio::spawn(listen(listener, shared.clone()));
        Self {
            address,
            shared,
            listening,
        }
    }

    /// An address at which nobody listens.
    pub async fn nowhere() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        listener.local_addr().expect("its address")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL that a pusher has.
    pub fn url(&self) -> String {
        Self::url_at(self.address)
    }

    /// The URL of a gateway at this address.
    pub fn url_at(address: SocketAddr) -> String {
        format!("http://{address}/_matrix/push/v1/notify")
    }

    /// Answers the next notification like this instead of taking it; more calls add to
    /// the queue. `headers` are whole lines.
    pub fn answer_next(&self, status: u16, headers: &str, body: &str) {
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
        self.shared
            .answers
            .lock()
            .expect("a lock")
            .push_back(answer);
    }

    /// The oldest notification that was not asked for yet. Waits for it.
    pub async fn next(&self) -> Value {
        eventually("a notification", PATIENCE, async || self.try_next()).await
    }

    /// The oldest notification that was not asked for yet, if there is one.
    pub fn try_next(&self) -> Option<Value> {
        self.shared.received.lock().expect("a lock").pop_front()
    }

    /// How many connections were ever made to it.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped together with this task, and their connections with them.
    let mut open = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        open.spawn(serve(stream, shared.clone()));
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut read = Vec::new();
    let mut piece = [0; 16_384];
    loop {
        let Ok(count @ 1..) = stream.read(&mut piece).await else {
            return;
        };
        read.extend_from_slice(&piece[..count]);
        let Some(body) = whole_body(&read) else {
            continue;
        };
        let path = read.split(|byte| *byte == b' ').nth(1);
        assert_eq!(path, Some(&b"/_matrix/push/v1/notify"[..]));
        let mut request: Value = serde_json::from_slice(&body).expect("JSON");
        let notification = request["notification"].take();
        shared
            .received
            .lock()
            .expect("a lock")
            .push_back(notification);
        let answer = shared.answers.lock().expect("a lock").pop_front();
        let answer = answer.unwrap_or_else(|| {
            "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"rejected\":[]}".to_owned()
        });
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        read.clear();
    }
}

/// The body of a request, once it is there.
fn whole_body(read: &[u8]) -> Option<Vec<u8>> {
    let head = read.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))?;
    let length: usize = length.trim().parse().ok()?;
    let body = &read[head..];
    (body.len() >= length).then(|| body[..length].to_vec())
}
