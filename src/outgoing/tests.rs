//! Requests to a small server of their own.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use rcgen::{CertificateParams, KeyPair};
use runtime::{Metrics, Tasks};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::{Outgoing, OutgoingError, OutgoingOptions, Request, Route};

/// Answers every request with what `answer` makes of its text, and counts connections.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _tasks: Tasks,
}

impl Server {
    async fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, connections) = (Tasks::new(), Arc::new(AtomicUsize::new(0)));
        let (answer, counted, spawner) = (Arc::new(answer), connections.clone(), tasks.clone());
        tasks.spawn("server", |_| async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                spawner.spawn("connection", |_| serve(stream, answer));
            }
        });
        Self {
            address,
            connections,
            _tasks: tasks,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn serve(mut stream: TcpStream, answer: Arc<impl Fn(&str) -> String>) {
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        read.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse::<usize>().unwrap())
        });
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        if stream.write_all(answer(&text).as_bytes()).await.is_err() {
            return;
        }
        read.clear();
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

fn outgoing(private_networks: &[&str]) -> Outgoing {
    let options = OutgoingOptions {
        private_networks: private_networks
            .iter()
            .map(|text| text.parse().unwrap())
            .collect(),
        ..OutgoingOptions::default()
    };
    Outgoing::new(&options, &Metrics::new()).unwrap()
}

fn request(url: &str) -> Request {
    Request {
        purpose: "test",
        method: Method::POST,
        url: url.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"hello"),
        route: None,
        plain_http: true,
        redirects: 3,
        timeout: Duration::from_secs(5),
        answer_limit: 1_000,
    }
}

#[tokio::test]
async fn an_answer_is_whole_and_the_connection_is_reused() {
    let server = Server::start(|text| {
        let body = format!(
            "{} {}",
            text.lines().next().unwrap(),
            text.contains("hello")
        );
        answer("418 I'm a teapot", "x-kind: pot\r\n", &body)
    })
    .await;
    let outgoing = outgoing(&["127.0.0.0/8"]);
    for _ in 0..3 {
        let got = outgoing.send(request(&server.url("/a?b=c"))).await.unwrap();
        assert_eq!(got.status.as_u16(), 418);
        assert_eq!(got.headers["x-kind"], "pot");
        assert_eq!(got.body, "POST /a?b=c HTTP/1.1 true");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn private_addresses_are_refused_unless_they_are_listed() {
    let server = Server::start(|_| answer("200 OK", "", "")).await;
    let closed = outgoing(&[]);
    assert!(!closed.reaches_private_networks());
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"] {
        let url = format!("http://{host}:{}/", server.address.port());
        let refused = closed.send(request(&url)).await;
        assert!(
            matches!(refused, Err(OutgoingError::Address(_))),
            "{host}: {refused:?}"
        );
    }
    let elsewhere = outgoing(&["10.0.0.0/8"]);
    let refused = elsewhere.send(request(&server.url("/"))).await;
    assert!(matches!(refused, Err(OutgoingError::Address(_))));
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
    let open = outgoing(&["127.0.0.1"]);
    assert!(open.reaches_private_networks());
    open.send(request(&server.url("/"))).await.unwrap();
}

#[tokio::test]
async fn configured_addresses_are_reached_and_lead_nobody_else_there() {
    let server = Server::start(|text| match text.split(' ').nth(1) {
        Some("/on") => answer("307 On", "location: /here\r\n", ""),
        _ => answer("200 OK", "", ""),
    })
    .await;
    let closed = outgoing(&[]);
    let got = closed.send_configured(request(&server.url("/"))).await;
    assert_eq!(got.unwrap().status.as_u16(), 200);
    // Its connection is open, and not for others.
    let refused = closed.send(request(&server.url("/"))).await;
    assert!(
        matches!(refused, Err(OutgoingError::Address(_))),
        "{refused:?}"
    );
    let got = closed.send_configured(request(&server.url("/on"))).await;
    assert_eq!(got.unwrap().status.as_u16(), 307);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn plain_http_is_for_callers_that_take_it() {
    let server = Server::start(|_| answer("200 OK", "", "")).await;
    let outgoing = outgoing(&["127.0.0.0/8"]);
    let mut strict = request(&server.url("/"));
    strict.plain_http = false;
    let refused = outgoing.send(strict).await;
    assert!(matches!(refused, Err(OutgoingError::PlainHttp)));
    // Nor does it leave the listed networks, whoever asks.
    let refused = outgoing.send(request("http://192.0.2.1/")).await;
    assert!(matches!(refused, Err(OutgoingError::Address(_))));
    let refused = outgoing.send(request("ftp://127.0.0.1/")).await;
    assert!(matches!(refused, Err(OutgoingError::Url)));
}

#[tokio::test]
async fn a_page_may_come_without_tls_but_from_no_private_address() {
    let server = Server::start(|text| match text.split(' ').nth(1) {
        Some("/on") => answer("302 On", "location: /here?a#b\r\n", ""),
        Some("/away") => answer("302 On", "location: http://127.0.0.2:1/\r\n", ""),
        _ => answer("200 OK", "", ""),
    })
    .await;
    let listed = outgoing(&["127.0.0.1"]);
    let mut page = request(&server.url("/on"));
    page.plain_http = false;
    let begun = listed.begin_page(page).await.unwrap();
    // It says from where the page came in the end.
    assert_eq!(begun.url.as_str(), server.url("/here?a#b"));
    let refused = listed.begin_page(request(&server.url("/away"))).await;
    assert!(matches!(refused, Err(OutgoingError::Address(_))));
    let closed = outgoing(&[]);
    for url in [server.url("/"), "https://127.0.0.1/".to_owned()] {
        let refused = closed.begin_page(request(&url)).await;
        assert!(matches!(refused, Err(OutgoingError::Address(_))), "{url}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn configured_hosts_are_resolved_wherever_they_are() {
    let found = outgoing(&[]).configured_addresses("127.0.0.1").await;
    assert_eq!(
        found.unwrap(),
        ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]
    );
}

#[tokio::test]
async fn redirects_are_followed_checked_and_counted() {
    let server = Server::start(|text| {
        let to = |place: &str| answer("307 On", &format!("location: {place}\r\n"), "");
        match text.split(' ').nth(1).unwrap() {
            "/once" => to("/here"),
            "/see" => answer("303 See", "location: /here\r\n", ""),
            "/loop" => to("/loop"),
            "/private" => to("http://10.0.0.1/"),
            "/file" => to("file:///etc/passwd"),
            "/nowhere" => answer("302 On", "", ""),
            _ => answer("200 OK", "", &text.replace("\r\n", "|")),
        }
    })
    .await;
    let outgoing = outgoing(&["127.0.0.0/8"]);
    let mut secret = request(&server.url("/once"));
    let value = HeaderValue::from_static("Bearer x");
    secret.headers.insert(header::AUTHORIZATION, value);
    let body = outgoing.send(secret).await.unwrap().body;
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(body.starts_with("POST /here"), "{body}");
    assert!(
        body.ends_with("||hello") && body.contains("Bearer x"),
        "{body}"
    );
    let seen = outgoing.send(request(&server.url("/see"))).await.unwrap();
    assert!(seen.body.starts_with(b"GET /here"));
    for (path, expected) in [
        ("/loop", "redirect"),
        ("/private", "address"),
        ("/file", "url"),
        ("/nowhere", "redirect"),
    ] {
        let refused = outgoing.send(request(&server.url(path))).await;
        assert_eq!(refused.unwrap_err().name(), expected, "{path}");
    }
    let mut first = request(&server.url("/once"));
    first.redirects = 0;
    assert_eq!(outgoing.send(first).await.unwrap().status.as_u16(), 307);
}

#[test]
fn secrets_stay_with_their_server() {
    let value = HeaderValue::from_static("Bearer x");
    for (place, kept) in [
        ("https://a.test/other", true),
        ("https://b.test/", false),
        ("http://a.test/", false),
        ("https://a.test:8443/", false),
    ] {
        let mut sent = request("https://a.test/");
        sent.headers.insert(header::AUTHORIZATION, value.clone());
        let status = http::StatusCode::TEMPORARY_REDIRECT;
        crate::client::redirected(&mut sent, status, place.parse().unwrap());
        assert_eq!(
            sent.headers.contains_key(header::AUTHORIZATION),
            kept,
            "{place}"
        );
    }
}

#[tokio::test]
async fn time_and_size_have_an_end() {
    let server = Server::start(|text| match text.split(' ').nth(1).unwrap() {
        "/long" => answer("200 OK", "", &"x".repeat(1_001)),
        "/endless" => "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort".to_owned(),
        "/other" => "SSH-2.0-x\r\n\r\n".to_owned(),
        _ => answer("200 OK", "", &"x".repeat(1_000)),
    })
    .await;
    let outgoing = outgoing(&["127.0.0.0/8"]);
    let fits = outgoing.send(request(&server.url("/"))).await.unwrap();
    assert_eq!(fits.body.len(), 1_000);
    let mut endless = request(&server.url("/endless"));
    endless.timeout = Duration::from_millis(200);
    let closed = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let nobody = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    for (request, expected) in [
        (request(&server.url("/long")), "size"),
        (endless, "timeout"),
        (request(&server.url("/other")), "exchange"),
        (request(&nobody), "connection"),
    ] {
        let url = request.url.clone();
        let failed = outgoing.send(request).await;
        assert_eq!(failed.unwrap_err().name(), expected, "{url}");
    }
}

#[tokio::test]
async fn outcomes_are_counted() {
    let server = Server::start(|_| answer("500 No", "", "")).await;
    let metrics = Metrics::new();
    let options = OutgoingOptions {
        private_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..OutgoingOptions::default()
    };
    let outgoing = Outgoing::new(&options, &metrics).unwrap();
    outgoing.send(request(&server.url("/"))).await.unwrap();
    let refused = outgoing.send(request("https://10.0.0.1/")).await;
    assert!(refused.is_err());
    let text = metrics.render();
    for line in [
        "cairn_outgoing_requests_total{outcome=\"5xx\",purpose=\"test\"} 1",
        "cairn_outgoing_requests_total{outcome=\"address\",purpose=\"test\"} 1",
        "cairn_outgoing_request_seconds_count{purpose=\"test\"} 2",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn trusted_roots_must_be_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for path in [empty, folder.path().join("missing.pem")] {
        let options = OutgoingOptions {
            trusted_roots: vec![path.clone()],
            ..OutgoingOptions::default()
        };
        let refused = Outgoing::new(&options, &Metrics::new()).err().unwrap();
        assert!(refused.to_string().contains(&path.display().to_string()));
    }
}

#[tokio::test]
async fn a_route_needs_tls_and_ends_with_a_redirect() {
    let server = Server::start(|_| answer("200 OK", "", "")).await;
    let outgoing = outgoing(&["127.0.0.0/8"]);
    let route = Route {
        targets: vec![("127.0.0.1".to_owned(), server.address.port())],
        tls_name: "a.test".to_owned(),
        authorities: None,
    };
    let mut routed = request("http://a.test/");
    routed.route = Some(route.clone());
    let refused = outgoing.send(routed.clone()).await;
    assert!(
        matches!(refused, Err(OutgoingError::PlainHttp)),
        "{refused:?}"
    );
    // The connection goes there, and who listens does not know TLS.
    routed.url = "https://a.test/".parse().unwrap();
    routed.timeout = Duration::from_millis(500);
    let failed = outgoing.send(routed.clone()).await;
    assert_eq!(failed.unwrap_err().name(), "timeout");
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    // A private address is refused on a route too.
    routed.route = Some(Route {
        targets: vec![("10.0.0.1".to_owned(), 8448)],
        ..route
    });
    let refused = outgoing.send(routed.clone()).await;
    assert!(
        matches!(refused, Err(OutgoingError::Address(_))),
        "{refused:?}"
    );
    let host = HeaderValue::from_static("a.test");
    routed.headers.insert(header::HOST, host);
    let status = http::StatusCode::FOUND;
    crate::client::redirected(&mut routed, status, "https://a.test/x".parse().unwrap());
    assert!(routed.route.is_none() && !routed.headers.contains_key(header::HOST));
}

/// A server with TLS for this name that gives one answer a connection; with the certificate of
/// who vouches for it.
async fn with_tls(name: &str) -> (SocketAddr, String, Tasks) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()])
        .and_then(|params| params.self_signed(&key))
        .unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    tasks.spawn("with tls", |_| async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Who does not trust it goes away in the middle.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer("200 OK", "", "").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, certificate.pem(), tasks)
}

#[tokio::test]
async fn a_target_with_the_wrong_certificate_is_passed_by() {
    let (wrong, _, _tasks) = with_tls("b.test").await;
    let (right, authority, _more_tasks) = with_tls("a.test").await;
    let outgoing = outgoing(&["127.0.0.0/8"]);
    let mut routed = request("https://a.test/");
    let targets = |addresses: &[SocketAddr]| {
        let target = |address: &SocketAddr| (address.ip().to_string(), address.port());
        addresses.iter().map(target).collect()
    };
    let route = Route {
        targets: targets(&[wrong, right]),
        tls_name: "a.test".to_owned(),
        authorities: Some(authority.into()),
    };
    routed.route = Some(route.clone());
    let answer = outgoing.send(routed.clone()).await.unwrap();
    assert_eq!(answer.address, Some(right));
    // Where nobody is right, that is told.
    routed.route = Some(Route {
        targets: targets(&[wrong]),
        ..route
    });
    let error = outgoing.send(routed).await.unwrap_err();
    assert_eq!(error.name(), "connection", "{error}");
}

#[tokio::test]
async fn an_answer_can_be_taken_in_pieces() {
    let server = Server::start(|text| match text.split(' ').nth(1).unwrap() {
        "/endless" => "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort".to_owned(),
        _ => answer("200 OK", "", &"x".repeat(1_000)),
    })
    .await;
    let outgoing = outgoing(&["127.0.0.0/8"]);
    let mut begun = outgoing.begin(request(&server.url("/"))).await.unwrap();
    let mut length = 0;
    while let Some(piece) = begun.body.next().await.unwrap() {
        length += piece.len();
    }
    assert_eq!((begun.status.as_u16(), length), (200, 1_000));
    let mut small = request(&server.url("/"));
    small.answer_limit = 999;
    let mut begun = outgoing.begin(small).await.unwrap();
    let error = loop {
        match begun.body.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it is too long"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.name(), "size");
    let mut endless = request(&server.url("/endless"));
    endless.timeout = Duration::from_millis(200);
    let mut begun = outgoing.begin(endless).await.unwrap();
    assert_eq!(begun.body.next().await.unwrap().unwrap(), "short");
    assert_eq!(begun.body.next().await.unwrap_err().name(), "timeout");
}
