//! Requests over real sockets.

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;

use super::house::{House, PLACES, house};
use crate::{BindError, LimitsOptions, Listener, Peer, Tls, TlsError, connections};

/// Anybody may ask for it.
const ORIGIN: &str = "/_matrix/client/v3/origin";

async fn listen(house: &House, tls: Option<Tls>) -> SocketAddr {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), tls)
        .await
        .unwrap();
    let address = listener.address().unwrap();
    listener.serve(house.front.clone(), &house.tasks);
    address
}

/// Sends a request by hand and reads until the other side closes.
async fn speak(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n")
}

/// Reads one answer and leaves the connection open.
async fn read_one(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    let mut buffer = [0; 4_096];
    loop {
        let length = stream.read(&mut buffer).await.unwrap();
        assert!(length > 0, "closed after {answer}");
        answer.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        let Some((head, body)) = answer.split_once("\r\n\r\n") else {
            continue;
        };
        let announced = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        if body.len() >= announced {
            return answer;
        }
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests_even_after_a_panic() {
    let house = house(LimitsOptions::default()).await;
    let address = listen(&house, None).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for (path, status) in [
        (ORIGIN, "200 OK"),
        ("/_matrix/client/v3/panic", "500 Internal Server Error"),
        ("/nothing", "404 Not Found"),
        (ORIGIN, "200 OK"),
    ] {
        stream.write_all(get(path, "").as_bytes()).await.unwrap();
        let answer = read_one(&mut stream).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    assert!(house.metrics.render().contains("cairn_http_connections 1"));
}

#[tokio::test]
async fn a_client_that_sends_too_much_reads_the_refusal() {
    let house = house(LimitsOptions::default()).await;
    let address = listen(&house, None).await;
    let path = "/_cairn/admin/v1/echo";
    let length = 6_000_000;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{}",
        "a".repeat(length)
    );
    let answer = speak(TcpStream::connect(address).await.unwrap(), &request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("M_TOO_LARGE"), "{answer}");
}

#[tokio::test]
async fn http2_is_spoken_without_being_negotiated() {
    let house = house(LimitsOptions::default()).await;
    let address = listen(&house, None).await;
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    house.tasks.spawn("client", |_| async {
        let _ = connection.await;
    });
    let request = Request::get(format!("http://localhost{ORIGIN}"))
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"127.0.0.1"));
}

#[tokio::test]
async fn a_stop_lets_requests_end_and_accepts_no_more() {
    let house = house(LimitsOptions::default()).await;
    let address = listen(&house, None).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(get(ORIGIN, "").as_bytes()).await.unwrap();
    read_one(&mut idle).await;
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(get("/_matrix/client/v3/slow", "").as_bytes())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;

    let begun = Instant::now();
    let left = house.tasks.shutdown(Duration::from_secs(10)).await;
    assert!(left.is_empty(), "{left:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let answer = speak(busy, "").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"),
        "{answer}"
    );
    assert_eq!(speak(idle, "").await, "");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn an_address_that_cannot_be_bound_is_one_sentence() {
    let house = house(LimitsOptions::default()).await;
    let address = listen(&house, None).await;
    let error = Listener::bind(address, None).await.unwrap_err();
    assert!(matches!(error, BindError::AddressInUse(_)), "{error}");
    assert!(error.to_string().contains("in use"), "{error}");
    let elsewhere = Listener::bind("192.0.2.1:0".parse().unwrap(), None).await;
    assert!(matches!(elsewhere, Err(BindError::AddressNotAvailable(_))));
}

#[tokio::test]
async fn the_administration_socket_is_for_its_owner() {
    let house = house(LimitsOptions::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    // What an earlier run left behind.
    std::fs::write(&path, "").unwrap();
    Listener::bind_local(&path)
        .unwrap()
        .serve(house.front.clone(), &house.tasks);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let stream = UnixStream::connect(&path).await.unwrap();
    let request = get("/_cairn/admin/v1/local", "Connection: close\r\n");
    let answer = speak(stream, &request).await;
    assert!(answer.ends_with("welcome"), "{answer}");
    house.tasks.shutdown(Duration::from_secs(5)).await;
    assert!(!path.exists());
    let nowhere = folder.path().join("missing").join("admin.sock");
    assert!(matches!(
        Listener::bind_local(&nowhere),
        Err(BindError::Socket { .. })
    ));
}

#[tokio::test]
async fn connections_are_limited() {
    let house = house(LimitsOptions {
        max_connections: 1,
        ..LimitsOptions::default()
    })
    .await;
    let address = listen(&house, None).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(get(ORIGIN, "").as_bytes()).await.unwrap();
    read_one(&mut first).await;
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(get(ORIGIN, "").as_bytes()).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(300), read_one(&mut second)).await;
    assert!(waited.is_err(), "the second waits");
    drop(first);
    read_one(&mut second).await;
}

/// One listener has what the other leaves.
#[tokio::test]
async fn listeners_share_the_places_of_connections() {
    let house = house(LimitsOptions::default()).await;
    let addresses = [listen(&house, None).await, listen(&house, None).await];
    let mut crowd = Vec::new();
    // Each listener keeps a place for its next connection, so the crowd of one leaves the other one.
    for _ in 1..PLACES {
        let mut stream = TcpStream::connect(addresses[0]).await.unwrap();
        stream.write_all(get(ORIGIN, "").as_bytes()).await.unwrap();
        read_one(&mut stream).await;
        crowd.push(stream);
    }
    let mut last = TcpStream::connect(addresses[1]).await.unwrap();
    last.write_all(get(ORIGIN, "").as_bytes()).await.unwrap();
    read_one(&mut last).await;
    for address in addresses {
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(get(ORIGIN, "").as_bytes()).await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(300), read_one(&mut next)).await;
        assert!(waited.is_err(), "it waits");
    }
    drop(crowd);
    for address in addresses {
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(get(ORIGIN, "").as_bytes()).await.unwrap();
        read_one(&mut next).await;
    }
}

/// Writes a new certificate for `localhost`; returns it.
fn certify(folder: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

/// Whether somebody who trusts `root` alone gets an answer over `protocol`.
async fn ask_with_tls(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    protocol: &str,
) -> Result<String, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    assert_eq!(
        stream.get_ref().1.alpn_protocol(),
        Some(protocol.as_bytes())
    );
    if protocol == "h2" {
        return Ok("negotiated".to_owned());
    }
    Ok(speak(stream, &get(ORIGIN, "Connection: close\r\n")).await)
}

#[tokio::test]
async fn certificates_are_read_again_while_serving() {
    let house = house(LimitsOptions::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let old = certify(folder.path());
    let (certificate, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    let tls = Tls::load(&certificate, &key).unwrap();
    let address = listen(&house, Some(tls.clone())).await;
    let answer = ask_with_tls(address, &old, "http/1.1").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    ask_with_tls(address, &old, "h2").await.unwrap();

    let new = certify(folder.path());
    ask_with_tls(address, &old, "http/1.1").await.unwrap();
    tls.reload().unwrap();
    ask_with_tls(address, &new, "http/1.1").await.unwrap();
    ask_with_tls(address, &old, "http/1.1").await.unwrap_err();

    // A key that does not belong to the certificate changes nothing.
    let other = tempfile::tempdir().unwrap();
    certify(other.path());
    std::fs::copy(other.path().join("key.pem"), &key).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Unusable { .. })));
    ask_with_tls(address, &new, "http/1.1").await.unwrap();

    std::fs::write(&certificate, "nothing").unwrap();
    let error = tls.reload().unwrap_err();
    assert!(error.to_string().contains("cert.pem"), "{error}");
    std::fs::remove_file(&key).unwrap();
    assert!(matches!(
        Tls::load(&certificate, &key),
        Err(TlsError::File { .. })
    ));

    // Not TLS at all: the connection ends, the listener goes on.
    let plain = speak(TcpStream::connect(address).await.unwrap(), &get(ORIGIN, "")).await;
    assert!(!plain.contains("200 OK"));
    ask_with_tls(address, &new, "http/1.1").await.unwrap();
}

/// How many seconds a connection stays open on which `begun` is sent and no
/// more. Time is the test's own.
async fn patience(begun: &str) -> u64 {
    let house = house(LimitsOptions::default()).await;
    let (mut client, server) = tokio::io::duplex(4_096);
    let peer = Peer {
        address: "192.0.2.1".parse().unwrap(),
        is_local: false,
    };
    let front = house.front.clone();
    house.tasks.spawn("connection", |stop| {
        connections::serve(server, peer, front, stop)
    });
    let start = tokio::time::Instant::now();
    client.write_all(begun.as_bytes()).await.unwrap();
    let _ = client.read_to_end(&mut Vec::new()).await;
    start.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn silent_connections_are_closed() {
    let head = get(ORIGIN, "");
    for (begun, seconds) in [
        ("", 20..=25),
        // The beginning of HTTP/2's preface, or of POST.
        ("P", 20..=25),
        (&head[..40], 20..=25),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 20..=26),
        // Silence after an answer, and in the middle of the next head.
        (&head, 89..=96),
        (&format!("{head}GET /"), 89..=96),
        // A request that runs is not silence.
        (&get("/_matrix/client/v3/slow?seconds=300", ""), 389..=396),
    ] {
        let waited = patience(begun).await;
        assert!(seconds.contains(&waited), "{begun:?}: {waited}");
    }
}
