//! A listener with a certificate: clients that trust it, and its replacement while the
//! server runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use harness::{Config, PASSWORD, Server, eventually};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A connection that stays open.
struct Connection {
    stream: BufReader<TlsStream<TcpStream>>,
}

impl Connection {
    /// Connects as a client that trusts `root` alone.
    async fn open(address: &str, root: &CertificateDer<'static>) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    async fn ask(&mut self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let request = format!(
            "{method} /_matrix/client/{path} HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line).await.unwrap();
            assert!(read > 0, "the connection was closed");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some(rest) = line.strip_prefix("content-length:") {
                length = rest.trim().parse().unwrap();
            } else if line.is_empty() {
                break;
            }
        }
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }
}

/// A folder for certificates.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("certificates");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Writes a new certificate for `localhost` with its key; returns it.
fn certify(folder: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

fn hang_up(server: &Server) {
    let sent = std::process::Command::new("sh")
        .args(["-c", &format!("kill -HUP {}", server.process_id())])
        .status();
    assert!(sent.unwrap().success());
}

#[tokio::test]
async fn a_certificate_is_served_and_replaced_while_people_are_connected() {
    let folder = folder();
    let first = certify(&folder);
    let server = Server::with(Config {
        listener: format!(
            "tls = {{ certificate = {:?}, key = {:?} }}",
            folder.join("cert.pem"),
            folder.join("key.pem")
        ),
        ..Config::default()
    });
    let address = server.url().replace("http://", "");

    // Whoever trusts the certificate registers and signs in.
    let mut early = Connection::open(&address, &first).await.unwrap();
    let body = json!({
        "username": "alice", "password": PASSWORD, "auth": { "type": "m.login.dummy" },
    });
    let (status, made) = early.ask("POST", "v3/register", "", &body).await;
    assert_eq!(status, 200, "{made}");
    let body = json!({
        "type": "m.login.password", "password": PASSWORD,
        "identifier": { "type": "m.id.user", "user": "alice" },
    });
    let (status, session) = early.ask("POST", "v3/login", "", &body).await;
    assert_eq!(status, 200, "{session}");
    let token = session["access_token"].as_str().unwrap().to_owned();
    let who = async |connection: &mut Connection| {
        let answer = connection
            .ask("GET", "v3/account/whoami", &token, &json!({}))
            .await;
        assert_eq!(
            (answer.0, &answer.1["user_id"]),
            (200, &json!("@alice:localhost"))
        );
    };
    who(&mut early).await;

    // Whoever trusts another does not even connect; nobody speaks plain HTTP.
    let stranger = certify(&folder);
    assert!(Connection::open(&address, &stranger).await.is_err());
    let plain = server.api();
    let request = plain.request(reqwest::Method::GET, "versions");
    if let Ok(answer) = plain.try_request(request).await {
        assert_ne!(answer.status, 200, "{answer:?}");
    }

    // The stranger's files have taken the place of the first ones: with SIGHUP they
    // are for new connections, and the one that is open goes on.
    Connection::open(&address, &first).await.unwrap();
    hang_up(&server);
    let mut late = eventually("the new certificate", 10, async || {
        Connection::open(&address, &stranger).await.ok()
    })
    .await;
    assert!(Connection::open(&address, &first).await.is_err());
    who(&mut late).await;
    who(&mut early).await;

    // What is no certificate changes nothing, and the log says so.
    std::fs::write(folder.join("cert.pem"), "no certificate").unwrap();
    hang_up(&server);
    eventually("the refusal in the log", 10, async || {
        let log = std::fs::read_to_string(server.log_file()).unwrap();
        log.contains("cert.pem").then_some(())
    })
    .await;
    who(&mut Connection::open(&address, &stranger).await.unwrap()).await;
    who(&mut early).await;
}
