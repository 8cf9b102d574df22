//! An application service of the test's own: a small HTTP server that keeps what it is
//! told and asked, and answers as the test wants.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Api, Server, User, escape, eventually};

/// How many seconds anything may take to reach it.
const PATIENCE: u64 = 40;

/// What the path of a transaction begins with.
const TRANSACTIONS: &str = "/_matrix/app/v1/transactions/";

/// A request that it got.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The path as it was sent, with its query.
    pub path: String,
    /// The bearer token.
    pub token: Option<String>,
    /// The body as it was sent.
    pub raw: Vec<u8>,
    /// The body as JSON; null if it is none.
    pub body: Value,
    /// The status that it answered; 0 as long as it has not.
    pub status: u16,
}

impl Asked {
    /// The id of a transaction; none for other requests.
    pub fn transaction_id(&self) -> Option<&str> {
        self.path.strip_prefix(TRANSACTIONS)
    }

    /// The events of a transaction.
    pub fn events(&self) -> &[Value] {
        self.body["events"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The ephemeral events of a transaction.
    pub fn ephemeral(&self) -> &[Value] {
        self.body["ephemeral"].as_array().map_or(&[], Vec::as_slice)
    }
}

/// A status and a body.
type Reply = (u16, Value);

/// An HTTP server on this machine. It ends when dropped; connections that are open then
/// are cut.
#[derive(Debug)]
pub struct AppService {
    id: String,
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    /// By what a path begins with; those whose reply is none wait for it.
    replies: Mutex<HashMap<String, watch::Receiver<Option<Reply>>>>,
    /// Every transaction is answered with this status instead of being taken.
    refuses: Mutex<Option<u16>>,
    /// How long it takes to answer a transaction.
    delay: Mutex<Duration>,
}

impl AppService {
    /// A service on any free port.
    pub async fn start(id: &str) -> Self {
        Self::start_at(id, "127.0.0.1:0".parse().expect("an address")).await
    }

    /// A service at this address, where one may have been before.
    pub async fn start_at(id: &str, address: SocketAddr) -> Self {
        let listener = eventually("the address", PATIENCE, async || {
            TcpListener::bind(address).await.ok()
        })
        .await;
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        Self {
            id: id.to_owned(),
            address,
            listening: tokio::spawn(listen(listener, shared.clone())),
            shared,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token with which it identifies itself.
    pub fn as_token(&self) -> String {
        format!("as-token-of-{}", self.id)
    }

    /// The token with which the server identifies itself to it.
    pub fn hs_token(&self) -> String {
        format!("hs-token-of-{}", self.id)
    }

    /// A registration file with these namespaces, which are lines of YAML, and perhaps
    /// other lines.
    pub fn registration(&self, namespaces: &str, more: &str) -> String {
        format!(
            "id: {id}\nurl: 'http://{address}'\nas_token: {as_token}\nhs_token: {hs_token}\n\
             sender_localpart: {id}bot\nnamespaces:\n{namespaces}\n{more}\n",
            id = self.id,
            address = self.address,
            as_token = self.as_token(),
            hs_token = self.hs_token(),
        )
    }

    /// A registration file that keeps users and aliases which begin with `_ID_` for the
    /// service alone.
    pub fn usual_registration(&self, more: &str) -> String {
        let id = &self.id;
        let namespaces = format!(
            "  users:\n    - {{ exclusive: true, regex: '@_{id}_.*' }}\n  aliases:\n    \
             - {{ exclusive: true, regex: '#_{id}_.*' }}\n  rooms: []"
        );
        self.registration(&namespaces, more)
    }

    /// Writes a registration file into a folder; returns its path.
    pub fn register_in(&self, folder: &Path, text: &str) -> String {
        let path = folder.join(format!("{}.yaml", self.id));
        std::fs::write(&path, text).expect("the registration file");
        path.display().to_string()
    }

    /// A client with the service's token.
    pub fn api(&self, server: &Server) -> Api {
        server.api().with_token(&self.as_token())
    }

    /// The full id of a user in the usual namespace.
    pub fn user_id(&self, server: &Server, name: &str) -> String {
        format!("@_{}_{name}:{}", self.id, server.name())
    }

    /// Registers a user in the usual namespace and signs it in.
    pub async fn user(&self, server: &Server, name: &str) -> User {
        let body = json!({
            "type": "m.login.application_service", "username": format!("_{}_{name}", self.id),
        });
        let api = self.api(server);
        let made = api.post("v3/register", body).await.ok();
        api.user_of(made)
    }

    /// Registers a user in the usual namespace without a device; returns the words that
    /// make a request one of that user.
    pub async fn puppet(&self, server: &Server, name: &str) -> String {
        let body = json!({
            "type": "m.login.application_service", "username": format!("_{}_{name}", self.id),
            "inhibit_login": true,
        });
        self.api(server).post("v3/register", body).await.ok();
        format!("user_id={}", escape(&self.user_id(server, name)))
    }

    /// Answers requests whose path begins like this.
    pub fn answers(&self, path: &str, status: u16, body: Value) {
        let (_, reply) = watch::channel(Some((status, body)));
        let mut replies = self.shared.replies.lock().expect("a lock");
        replies.insert(path.to_owned(), reply);
    }

    /// Lets requests whose path begins like this wait for the answer that the test sends.
    pub fn holds(&self, path: &str) -> watch::Sender<Option<Reply>> {
        let (sender, reply) = watch::channel(None);
        let mut replies = self.shared.replies.lock().expect("a lock");
        replies.insert(path.to_owned(), reply);
        sender
    }

    /// Refuses transactions with this status from now on; takes them again after `None`.
    pub fn refuses(&self, status: Option<u16>) {
        *self.shared.refuses.lock().expect("a lock") = status;
    }

    /// Takes this long for each transaction from now on.
    pub fn takes(&self, delay: Duration) {
        *self.shared.delay.lock().expect("a lock") = delay;
    }

    /// All requests that it got, oldest first.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("a lock").clone()
    }

    /// The requests whose path begins like this. Waits for the first.
    pub async fn asked_for(&self, path: &str) -> Vec<Asked> {
        eventually(path, PATIENCE, async || {
            let mut asked = self.asked();
            asked.retain(|asked| asked.path.starts_with(path));
            (!asked.is_empty()).then_some(asked)
        })
        .await
    }

    /// The attempts to bring it transactions, oldest first.
    pub fn attempts(&self) -> Vec<Asked> {
        let mut asked = self.asked();
        asked.retain(|asked| asked.transaction_id().is_some());
        asked
    }

    /// The events that it has taken, oldest first; an event that came with more than one
    /// transaction comes more than once.
    pub fn events(&self) -> Vec<Value> {
        let attempts = self.attempts();
        let taken = attempts.iter().filter(|asked| asked.status == 200);
        taken.flat_map(|asked| asked.events().to_vec()).collect()
    }

    /// The ephemeral events that it has taken, oldest first.
    pub fn ephemeral(&self) -> Vec<Value> {
        let attempts = self.attempts();
        let taken = attempts.iter().filter(|asked| asked.status == 200);
        taken.flat_map(|asked| asked.ephemeral().to_vec()).collect()
    }

    /// What the transactions that it has taken say under this name, oldest first.
    pub fn told(&self, name: &str) -> Vec<Value> {
        let attempts = self.attempts();
        let taken = attempts.iter().filter(|asked| asked.status == 200);
        taken
            .filter_map(|asked| asked.body.get(name).cloned())
            .collect()
    }

    /// The first of what the transactions say under this name that is wanted. Waits for it.
    pub async fn until_told(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(name, PATIENCE, async || {
            self.told(name).into_iter().find(&wanted)
        })
        .await
    }

    /// The first event of those taken that is wanted. Waits for it.
    pub async fn event(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, PATIENCE, async || {
            self.events().into_iter().find(&wanted)
        })
        .await
    }

    /// The event with this id. Waits for it.
    pub async fn event_of(&self, event_id: &str) -> Value {
        self.event(event_id, |event| event["event_id"] == event_id)
            .await
    }
}

impl Drop for AppService {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped together with this task, and their connections with them.
    let mut open = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
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
        let Some(asked) = request(&read) else {
            continue;
        };
        read.clear();
        let number = shared.keep(asked.clone());
        let (status, body) = shared.reply(&asked).await;
        shared.asked.lock().expect("a lock")[number].status = status;
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

impl Shared {
    /// Keeps a request and gives its number.
    fn keep(&self, asked: Asked) -> usize {
        let mut all = self.asked.lock().expect("a lock");
        all.push(asked);
        all.len() - 1
    }

    async fn reply(&self, asked: &Asked) -> Reply {
        let told = self.told(&asked.path);
        if let Some(mut told) = told {
            // The test may have no more to say than it has said.
            let _ = told.wait_for(Option::is_some).await;
            let told = told.borrow().clone();
            return told.unwrap_or((500, json!({})));
        }
        if asked.transaction_id().is_some() {
            let delay = *self.delay.lock().expect("a lock");
            tokio::time::sleep(delay).await;
            let refuses = *self.refuses.lock().expect("a lock");
            return (refuses.unwrap_or(200), json!({}));
        }
        if asked.path == "/_matrix/app/v1/ping" {
            return (200, json!({}));
        }
        (
            404,
            json!({ "errcode": "M_NOT_FOUND", "error": "Nothing here" }),
        )
    }

    fn told(&self, path: &str) -> Option<watch::Receiver<Option<Reply>>> {
        let replies = self.replies.lock().expect("a lock");
        let mut fitting: Vec<_> = replies
            .iter()
            .filter(|(prefix, _)| path.starts_with(prefix.as_str()))
            .collect();
        fitting.sort_by_key(|(prefix, _)| prefix.len());
        fitting.pop().map(|(_, reply)| reply.clone())
    }
}

/// A request, once all of it is there.
fn request(read: &[u8]) -> Option<Asked> {
    let head = read.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&read[..head]).into_owned();
    let header = |name: &str| {
        text.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let length: usize = header("content-length").map_or(0, |text| text.parse().expect("a length"));
    let raw = read[head..].to_vec();
    if raw.len() < length {
        return None;
    }
    let mut words = text.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let token =
        header("authorization").and_then(|value| value.strip_prefix("Bearer ").map(str::to_owned));
    Some(Asked {
        method,
        path,
        token,
        body: serde_json::from_slice(&raw).unwrap_or_default(),
        raw,
        status: 0,
    })
}
