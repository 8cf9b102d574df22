//! Servers whose certificates come from one authority, and who find each other by the
//! configuration.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use tempfile::TempDir;

use crate::link::Link;
use crate::{Api, Config, Server, Synapse, SynapseConfig};

/// An authority for certificates, its files, and the places of servers.
pub struct World {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    /// Names and ports.
    places: Vec<(String, u16)>,
    /// The ports of those who listen behind a link.
    behind: Vec<(String, u16)>,
}

/// A server with its doors.
pub struct Neighbour {
    /// Its process.
    pub server: Server,
    /// The door for clients.
    pub api: Api,
    /// The door for servers, without TLS: for tests that write requests themselves.
    pub door: Api,
}

/// A port that nobody listens on and that no other test of this process was given. It is below
/// those that the system gives to connections, or one of them could take it before its server
/// listens.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(97);
        let number = number.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(number % 20_000).expect("a world");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Neighbour {
    /// Starts the server again; the door for servers is at another port then.
    pub fn restart(&mut self) {
        self.server.restart();
        self.door = Api::new(&self.server.urls()[2]);
    }
}

impl World {
    /// A world in which so many servers can be that need no configuration to be found: each
    /// is called `localhost` with its port.
    pub fn local(count: usize) -> Self {
        let ports = (0..count).map(|_| free_port());
        Self::at(
            ports
                .map(|port| (format!("localhost:{port}"), port))
                .collect(),
        )
    }

    /// A world in which servers of these names can be.
    pub fn of(names: &[&str]) -> Self {
        let places = names.iter().map(|name| ((*name).to_owned(), free_port()));
        Self::at(places.collect())
    }

    fn at(places: Vec<(String, u16)>) -> Self {
        let folder = tempfile::tempdir().expect("a world");
        let mut params = CertificateParams::new(Vec::new()).expect("a world");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a world");
        let certificate = params.self_signed(&key).expect("a world");
        std::fs::write(folder.path().join("root.pem"), certificate.pem()).expect("a world");
        Self {
            places,
            behind: Vec::new(),
            issuer: Issuer::new(params, key),
            folder,
        }
    }

    /// The name of a server.
    pub fn name(&self, number: usize) -> &str {
        &self.places[number].0
    }

    /// The authority's certificate, as a PEM file.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// Starts Synapse as one of the servers.
    ///
    /// It is installed below `cache`, as [`Synapse::start`] says.
    pub async fn start_synapse(&self, name: &str, cache: &Path) -> Synapse {
        let (certificate, key) = self.certify(name);
        let config = SynapseConfig {
            server_name: name.to_owned(),
            port: self.listening(name),
            client_port: free_port(),
            certificate,
            key,
            root: self.root(),
        };
        Synapse::start(cache, config).await
    }

    /// The port of a server.
    pub fn port(&self, name: &str) -> u16 {
        self.places
            .iter()
            .find(|place| place.0 == name)
            .expect("a world")
            .1
    }

    /// Puts a link before a server that has not started yet: others reach it by that alone.
    pub async fn link(&mut self, name: &str) -> Link {
        let port = free_port();
        self.behind.push((name.to_owned(), port));
        Link::start(self.port(name), port).await
    }

    /// The port at which a server listens itself.
    pub(crate) fn listening(&self, name: &str) -> u16 {
        let behind = self.behind.iter().find(|place| place.0 == name);
        behind.map_or_else(|| self.port(name), |place| place.1)
    }

    /// A certificate for a name, and its key, as PEM files.
    pub fn certify(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("a world");
        let host = name.split_once(':').map_or(name, |(host, _)| host);
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a world");
        // With the authority's name it would look as if it had signed itself.
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, host);
        let certificate = params.signed_by(&key, &self.issuer).expect("a world");
        let file = |end: &str| self.folder.path().join(format!("{name}.{end}.pem"));
        std::fs::write(file("cert"), certificate.pem()).expect("a world");
        std::fs::write(file("key"), key.serialize_pem()).expect("a world");
        (file("cert"), file("key"))
    }

    /// The configuration of a server; `more` is added to `[federation]`.
    pub fn config(&self, name: &str, more: &str) -> Config {
        let (certificate, key) = self.certify(name);
        let overrides = self.places.iter().filter(|place| place.0 != name);
        let overrides: String = overrides
            .map(|(name, port)| format!("{name:?} = \"127.0.0.1:{port}\"\n"))
            .collect();
        Config {
            server_name: name.to_owned(),
            more: format!(
                r#"
[[listener]]
address = "127.0.0.1:{port}"
serves = ["federation"]
tls = {{ certificate = {certificate:?}, key = {key:?} }}

[[listener]]
address = "127.0.0.1:0"
serves = ["federation"]

[outgoing]
trusted_roots = [{root:?}]
private_networks = ["127.0.0.0/8"]

[federation]
{more}

[federation.overrides]
{overrides}
"#,
                port = self.listening(name),
                root = self.root(),
            ),
            ..Config::default()
        }
    }

    /// Starts a server.
    pub fn start(&self, name: &str) -> Neighbour {
        self.start_with(name, "")
    }

    /// Starts a server; `more` is added to `[federation]`.
    pub fn start_with(&self, name: &str, more: &str) -> Neighbour {
        let server = Server::with(self.config(name, more));
        Neighbour {
            api: server.api(),
            door: Api::new(&server.urls()[2]),
            server,
        }
    }
}
