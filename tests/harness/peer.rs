//! A small server of which a test says how it behaves, and that signs what it asks.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::neighbours::World;
use crate::signing::{Key, canonical};
use crate::{Answer, Api, eventually};

/// What a peer does when somebody asks for a path.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Answers with this status and JSON.
    Json(u16, Value),
    /// Answers with these bytes, whatever they are.
    Bytes(Vec<u8>),
    /// Says nothing, and keeps the connection.
    Silence,
    /// Sends a body that never ends.
    Endless,
    /// Sends on to a place.
    Redirect(String),
    /// Answers with a status and JSON, by what it was sent.
    By(Judge),
    /// Answers with JSON that is written already, by what it was asked and sent.
    Written(Writer),
}

/// What a peer does with JSON that it was sent. It may take its time.
#[derive(Clone)]
pub struct Judge(Arc<dyn Fn(Value) -> Judging + Send + Sync>);

type Judging = Pin<Box<dyn Future<Output = (u16, Value)> + Send>>;

impl Judge {
    /// Answers with what `judge` gives.
    pub fn new<F>(judge: impl Fn(Value) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = (u16, Value)> + Send + 'static,
    {
        Self(Arc::new(move |sent| Box::pin(judge(sent))))
    }
}

/// What a peer answers to a URI and a body.
#[derive(Clone)]
pub struct Writer(Arc<Write>);

type Write = dyn Fn(&str, &str) -> Arc<str> + Send + Sync;

impl Writer {
    /// Answers with what `write` gives.
    pub fn new(write: impl Fn(&str, &str) -> Arc<str> + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Writer")
    }
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Judge")
    }
}

/// Where transactions come, each with an id at the end.
const SEND: &str = "/_matrix/federation/v1/send/";

/// A transaction that came.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    /// Its path.
    pub uri: String,
    /// Its `Authorization`.
    pub authorization: String,
    /// Its content.
    pub body: Value,
}

/// A peer that a test plays.
pub struct Peer {
    /// Its name.
    pub name: String,
    /// The key `ed25519:1`, with which it signs.
    pub key: Key,
    behaviours: Arc<Mutex<HashMap<String, Behaviour>>>,
    asked: Arc<Mutex<Vec<String>>>,
    called: Called,
    transactions: Arc<Mutex<Vec<Transaction>>>,
}

/// For each request, the name for which TLS asked and the `Host`.
type Called = Arc<Mutex<Vec<(String, String)>>>;

/// The time, in ms since the Unix epoch.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

impl Peer {
    /// Listens where the world has this name, and publishes a key.
    pub async fn start(world: &World, name: &str) -> Self {
        let (certificate, key) = world.certify(name);
        let certificates = CertificateDer::pem_file_iter(certificate).unwrap();
        let certificates = certificates.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", world.listening(name)))
            .await
            .unwrap();
        let peer = Self {
            name: name.to_owned(),
            key: Key::new(),
            behaviours: Arc::default(),
            asked: Arc::default(),
            called: Arc::default(),
            transactions: Arc::default(),
        };
        let (behaviours, asked) = (peer.behaviours.clone(), peer.asked.clone());
        let (called, transactions) = (peer.called.clone(), peer.transactions.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                let (behaviours, asked) = (behaviours.clone(), asked.clone());
                let (called, transactions) = (called.clone(), transactions.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let name = stream.get_ref().1.server_name().unwrap_or_default();
                        let call = (name.to_owned(), called);
                        let _ = serve(stream, &behaviours, &asked, &transactions, &call).await;
                    }
                });
            }
        });
        peer.publish(peer.document(now() + 3_600_000));
        peer
    }

    /// Takes transactions from now on, with this answer.
    pub fn on_transactions(&self, status: u16, answer: Value) {
        self.on(SEND, Behaviour::Json(status, answer));
    }

    /// The transactions that came.
    pub fn transactions(&self) -> Vec<Transaction> {
        self.transactions.lock().unwrap().clone()
    }

    /// The transactions that came, once there are so many.
    pub async fn until_transactions(&self, count: usize) -> Vec<Transaction> {
        let what = format!("{count} transactions");
        eventually(&what, 30, async || {
            let transactions = self.transactions();
            (transactions.len() >= count).then_some(transactions)
        })
        .await
    }

    /// Says what happens at a path, its query not counted. One that ends with `*` stands for all
    /// that begin so.
    pub fn on(&self, path: &str, behaviour: Behaviour) {
        let mut behaviours = self.behaviours.lock().unwrap();
        behaviours.insert(path.to_owned(), behaviour);
    }

    /// The paths that were asked for, with their queries.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// For each request, the name for which TLS asked and the `Host`.
    pub fn called(&self) -> Vec<(String, String)> {
        self.called.lock().unwrap().clone()
    }

    /// How often the keys were asked for.
    pub fn key_fetches(&self) -> usize {
        let asked = self.asked();
        asked
            .iter()
            .filter(|path| path.starts_with("/_matrix/key/"))
            .count()
    }

    /// The document of the key, signed with it.
    pub fn document(&self, valid_until: u64) -> Value {
        let mut document = json!({
            "server_name": self.name,
            "verify_keys": { "ed25519:1": { "key": self.key.public() } },
            "old_verify_keys": {},
            "valid_until_ts": valid_until,
        });
        self.key.sign(&mut document, &self.name, "1");
        document
    }

    /// Publishes a document of keys.
    pub fn publish(&self, document: Value) {
        self.on("/_matrix/key/v2/server", Behaviour::Json(200, document));
    }

    /// The `Authorization` of a request, signed.
    pub fn authorization(
        &self,
        destination: &str,
        method: &str,
        uri: &str,
        content: Option<&Value>,
    ) -> String {
        let mut request = json!({
            "method": method,
            "uri": uri,
            "origin": self.name,
            "destination": destination,
        });
        if let Some(content) = content {
            request["content"] = content.clone();
        }
        self.key.sign(&mut request, &self.name, "1");
        let signature = request["signatures"][&self.name]["ed25519:1"]
            .as_str()
            .unwrap();
        format!(
            "X-Matrix origin=\"{}\",destination=\"{destination}\",key=\"ed25519:1\",sig=\"{signature}\"",
            self.name
        )
    }

    /// Asks a door something, signed.
    pub async fn get(&self, door: &Api, destination: &str, uri: &str) -> Answer {
        let authorization = self.authorization(destination, "GET", uri, None);
        let request = door.request(Method::GET, uri);
        door.send_request(request.header("Authorization", authorization))
            .await
    }

    /// Asks a door something with a body, signed.
    pub async fn post(&self, door: &Api, destination: &str, uri: &str, content: Value) -> Answer {
        self.send(door, destination, Method::POST, uri, content)
            .await
    }

    /// Sends a door a transaction of these events and other messages.
    pub async fn transact(
        &self,
        door: &Api,
        destination: &str,
        id: &str,
        (pdus, edus): (Value, Value),
    ) -> Answer {
        let content = json!({
            "origin": self.name, "origin_server_ts": now(), "pdus": pdus, "edus": edus,
        });
        let uri = format!("/_matrix/federation/v1/send/{id}");
        self.send(door, destination, Method::PUT, &uri, content)
            .await
    }

    /// Asks a door something with a body, signed, by some method.
    pub async fn send(
        &self,
        door: &Api,
        destination: &str,
        method: Method,
        uri: &str,
        content: Value,
    ) -> Answer {
        let authorization = self.authorization(destination, method.as_str(), uri, Some(&content));
        let request = door.request(method, uri);
        let request = request
            .header("Authorization", authorization)
            .header("Content-Type", "application/json")
            .body(canonical(&content));
        door.send_request(request).await
    }
}

async fn serve(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    behaviours: &Mutex<HashMap<String, Behaviour>>,
    asked: &Mutex<Vec<String>>,
    transactions: &Mutex<Vec<Transaction>>,
    (tls_name, called): &(String, Called),
) -> std::io::Result<()> {
    let mut read = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        read.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let header = |wanted: &str| {
            head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_it = name.eq_ignore_ascii_case(wanted);
                is_it.then(|| value.trim().to_owned())
            })
        };
        let length = header("content-length").map(|length| length.parse::<usize>().unwrap());
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        let uri = head.split(' ').nth(1).unwrap_or_default().to_owned();
        asked.lock().unwrap().push(uri.clone());
        let host = header("host").unwrap_or_default();
        called.lock().unwrap().push((tls_name.clone(), host));
        let path = if uri.starts_with(SEND) {
            let transaction = transaction(head, body, &uri);
            transactions.lock().unwrap().push(transaction);
            SEND
        } else {
            uri.split('?').next().unwrap_or_default()
        };
        let behaviour = at(&behaviours.lock().unwrap(), path);
        let nothing = json!({ "errcode": "M_NOT_FOUND", "error": "nothing" });
        let behaviour = match behaviour {
            Some(Behaviour::By(Judge(judge))) => {
                let (status, told) = judge(serde_json::from_str(body).unwrap()).await;
                Behaviour::Json(status, told)
            }
            Some(Behaviour::Written(Writer(write))) => {
                let written = write(&uri, body);
                send_json(&mut stream, 200, &written).await?;
                read.clear();
                continue;
            }
            other => other.unwrap_or(Behaviour::Json(404, nothing)),
        };
        answer(&mut stream, behaviour).await?;
        read.clear();
    }
}

/// What happens at a path.
fn at(behaviours: &HashMap<String, Behaviour>, path: &str) -> Option<Behaviour> {
    let begins = |name: &String| {
        let beginning = name.strip_suffix('*');
        beginning.is_some_and(|beginning| path.starts_with(beginning))
    };
    let exact = behaviours.get(path);
    let found = exact.or_else(|| {
        behaviours
            .iter()
            .find(|(name, _)| begins(name))
            .map(|it| it.1)
    });
    found.cloned()
}

fn transaction(head: &str, body: &str, uri: &str) -> Transaction {
    let authorization = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_it = name.eq_ignore_ascii_case("authorization");
        is_it.then(|| value.trim().to_owned())
    });
    Transaction {
        uri: uri.to_owned(),
        authorization: authorization.unwrap_or_default(),
        body: serde_json::from_str(body).unwrap(),
    }
}

async fn answer(
    stream: &mut (impl tokio::io::AsyncWrite + Unpin),
    behaviour: Behaviour,
) -> std::io::Result<()> {
    match behaviour {
        Behaviour::Json(status, value) => send_json(stream, status, &value.to_string()).await?,
        Behaviour::Bytes(bytes) => stream.write_all(&bytes).await?,
        Behaviour::By(_) | Behaviour::Written(_) => unreachable!("it has answered already"),
        Behaviour::Silence => tokio::time::sleep(Duration::from_secs(600)).await,
        Behaviour::Endless => {
            stream
                .write_all(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n")
                .await?;
            let chunk = format!("10000\r\n{}\r\n", "[".repeat(0x10000));
            loop {
                stream.write_all(chunk.as_bytes()).await?;
            }
        }
        Behaviour::Redirect(place) => {
            let head = format!("HTTP/1.1 302 X\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
        }
    }
    stream.flush().await
}

async fn send_json(
    stream: &mut (impl tokio::io::AsyncWrite + Unpin),
    status: u16,
    body: &str,
) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.flush().await
}
