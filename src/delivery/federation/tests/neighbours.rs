//! Other servers, all behind one address.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use runtime::Tasks;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::tests::eventually;

/// A transaction that came.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Received {
    pub(super) id: String,
    pub(super) body: Value,
}

#[derive(Default)]
struct State {
    received: HashMap<String, VecDeque<Received>>,
    /// What is answered, by server; 200 and nothing if there is no word. No status: never
    /// anything.
    answers: HashMap<String, (Option<u16>, String)>,
}

/// Servers that keep what they are sent.
pub(super) struct Neighbours {
    pub(super) root: PathBuf,
    names: Vec<String>,
    /// Names of servers where nobody is.
    nowhere: Mutex<Vec<String>>,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _tasks: Tasks,
}

impl Neighbours {
    pub(super) async fn start(names: &[&str], folder: &Path) -> Self {
        let root = folder.join("root.pem");
        let acceptor = TlsAcceptor::from(Arc::new(certified(names, &root)));
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let neighbours = Self {
            root,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            nowhere: Mutex::default(),
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
            _tasks: Tasks::new(),
        };
        let (state, tasks) = (neighbours.state.clone(), neighbours._tasks.clone());
        neighbours._tasks.spawn("neighbours", |_| async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, acceptor) = (state.clone(), acceptor.clone());
                tasks.spawn("connection", |_| async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, &state).await;
                    }
                });
            }
        });
        neighbours
    }

    /// There are servers of these names, where nobody answers.
    pub(super) fn nowhere(&self, names: impl IntoIterator<Item = String>) {
        self.nowhere.lock().extend(names);
    }

    pub(super) fn overrides(&self) -> BTreeMap<String, SocketAddr> {
        let here = self.names.iter().map(|name| (name.clone(), self.address));
        // A port of ours that nobody listens on.
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let nowhere = self.nowhere.lock().clone().into_iter();
        here.chain(nowhere.map(|name| (name, nobody))).collect()
    }

    /// Says what a server answers from now on.
    pub(super) fn answer(&self, server: &str, status: u16, body: &str) {
        let answer = (Some(status), body.to_owned());
        let mut state = self.state.lock();
        state.answers.insert(server.to_owned(), answer);
    }

    /// Lets a server take everything and say nothing.
    pub(super) fn silence(&self, server: &str) {
        let mut state = self.state.lock();
        let silence = (None, String::new());
        state.answers.insert(server.to_owned(), silence);
    }

    /// The next transaction that came to a server.
    pub(super) async fn next(&self, server: &str) -> Received {
        let what = format!("a transaction for {server}");
        eventually(&what, || self.take(server)).await
    }

    pub(super) fn take(&self, server: &str) -> Option<Received> {
        self.state.lock().received.get_mut(server)?.pop_front()
    }
}

fn certified(names: &[&str], root: &Path) -> ServerConfig {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    std::fs::write(root, authority.pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap();
    let certificate = CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &Mutex<State>) {
    let mut read = Vec::new();
    let mut piece = vec![0; 65_536];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
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
        let length: usize = header("content-length").map_or(0, |text| text.parse().unwrap());
        if body.len() < length {
            continue;
        }
        let server = header("host").unwrap();
        let signed = header("authorization").unwrap();
        assert!(
            signed.contains(&format!("destination=\"{server}\"")),
            "{signed}"
        );
        let path = head.split(' ').nth(1).unwrap();
        let id = path.strip_prefix("/_matrix/federation/v1/send/").unwrap();
        let received = Received {
            id: id.to_owned(),
            body: serde_json::from_str(body).unwrap(),
        };
        let answer = {
            let mut state = state.lock();
            let queue = state.received.entry(server.clone()).or_default();
            queue.push_back(received);
            state.answers.get(&server).cloned()
        };
        let (status, body) = answer.unwrap_or((Some(200), r#"{"pdus":{}}"#.to_owned()));
        let Some(status) = status else {
            std::future::pending::<()>().await;
            return;
        };
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        read.clear();
    }
}
