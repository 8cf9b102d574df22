//! Metrics and health, as they are documented.

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::process::Output;

use harness::{Config, Server, eventually};
use reqwest::Method;
use serde_json::Value;

async fn metrics(server: &Server) -> String {
    let request = server.api().request(Method::GET, "/metrics");
    server.api().send_request(request).await.text
}

/// The names of the metrics in a text of Prometheus' format.
fn names(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_metric_is_in_the_handbook_and_every_one_there_exists() {
    let server = Server::start();
    let alice = server.api().register_as("alice").await;
    let room = alice.public_room().await;
    alice.say(&room, "measured").await;
    let text = eventually("the numbers that are looked up", 20, async || {
        let text = metrics(&server).await;
        let wanted = [
            "cairn_log_unread{reader=\"push\"}",
            "cairn_ready 1",
            "cairn_media_bytes",
        ];
        wanted
            .iter()
            .all(|name| text.contains(name))
            .then_some(text)
    })
    .await;
    let page = harness::sources().join("../../packaging/handbook/4-watching.md");
    let page = std::fs::read_to_string(page).unwrap();
    let documented: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect();
    // Needs a certificate, which this server has not.
    let mut existing = names(&text);
    existing.insert("cairn_certificate_ends_seconds".to_owned());
    let missing: Vec<&String> = existing.difference(&documented).collect();
    assert!(missing.is_empty(), "not in the handbook: {missing:?}");
    let alone: BTreeSet<&String> = documented.difference(&existing).collect();
    let by_endpoint = |name: &&&String| !page.contains(&format!("| `{name}` | first use"));
    let alone: Vec<&&String> = alone.iter().filter(by_endpoint).collect();
    assert!(alone.is_empty(), "only in the handbook: {alone:?}");
    for part in [
        "cairn_http_requests_total{endpoint=\"/_matrix/client/v3/register\",method=\"POST\",status=\"200\"} ",
        "cairn_log_unread{reader=\"push\"} ",
        "cairn_database_family{family=\"events\",number=\"sorted_file_bytes\"} ",
        "cairn_commit_seconds_count ",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("alice"), "nothing personal");
}

#[tokio::test]
async fn health_says_what_is_wrong() {
    let server = Server::start();
    let request = server.api().request(Method::GET, "/_cairn/health");
    let health = server.api().send_request(request).await.ok();
    assert_eq!(health["live"], true, "{health}");
    assert_eq!(health["ready"], true, "{health}");
    assert_eq!(health["degraded"], false, "{health}");

    // A disk that is as good as full, and a certificate that ends in nine days.
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut wanted = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let now = std::time::SystemTime::now();
    let days = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    wanted.not_after = epoch + std::time::Duration::from_secs((days + 9) * 86_400);
    let certificate = wanted.self_signed(&key).unwrap();
    let (cert, private) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&cert, certificate.pem()).unwrap();
    std::fs::write(&private, key.serialize_pem()).unwrap();
    let server = Server::with(Config {
        more: format!(
            "[media]\nreserved_disk_bytes = 1152921504606846976\n\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\nserves = [\"client\"]\n\
             tls = {{ certificate = {cert:?}, key = {private:?} }}\n"
        ),
        ..Config::default()
    });
    let request = server.api().request(Method::GET, "/_cairn/health");
    let health = server.api().send_request(request).await.ok();
    assert_eq!(health["ready"], true, "{health}");
    assert_eq!(health["degraded"], true, "{health}");
    let reasons = health["reasons"].to_string();
    assert!(reasons.contains("nearly full"), "{reasons}");
    assert!(reasons.contains("cert.pem ends on"), "{reasons}");
    eventually("a warning", 10, async || {
        let warned = server.log_tail().contains("cert.pem ends on");
        warned.then_some(())
    })
    .await;

    // Only those who may see metrics are told.
    let tls = reqwest::Client::new();
    let plain = Server::with(Config {
        serves: vec!["client".into()],
        ..Config::default()
    });
    let answer = tls
        .get(format!("{}/_cairn/health", plain.url()))
        .send()
        .await;
    assert_eq!(answer.unwrap().status().as_u16(), 404);
}

/// A server for calls that says that it is there, to whoever asks.
fn calls() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            bytes[0] = 1;
            let _ = socket.send_to(&bytes[..length], from);
        }
    });
    format!("turn:{address}?transport=udp")
}

/// What the doctor says of one matter: its state and its words.
fn finding(output: &Output, check: &str) -> (String, String) {
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = told["checks"].as_array().unwrap();
    let found = checks.iter().find(|one| one["check"] == check);
    let found = found.unwrap_or_else(|| panic!("no {check} in {told}"));
    let field = |name: &str| found[name].as_str().unwrap().to_owned();
    (field("state"), field("text"))
}

fn state(output: &Output, check: &str) -> String {
    finding(output, check).0
}

#[tokio::test]
async fn the_doctor_says_what_to_do() {
    let backups = tempfile::tempdir().unwrap();
    let folder = backups.path().to_str().unwrap();
    let words = ["doctor", "--backups", folder];
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut server = Server::with(Config {
        more: format!(
            "[well_known]\nclient = \"http://{address}\"\n[turn]\nuris = [{:?}]\n\
             [[listener]]\naddress = \"{address}\"\nserves = [\"client\"]\n",
            calls()
        ),
        ..Config::default()
    });
    let json = [words.as_slice(), &["--json"]].concat();

    let without = server.cairn(&json);
    assert_eq!(without.status.code(), Some(1), "{without:?}");
    assert_eq!(state(&without, "server"), "well");
    assert_eq!(state(&without, "backup"), "wrong");
    let told = server.cairn(&words);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(
        told.contains("✓ server: ") && told.contains("✗ backup: "),
        "{told}"
    );
    assert!(told.contains("cairn-backup.timer"), "what to do: {told}");

    server.cairn_json(&["backup", "create", folder]);
    let well = server.cairn(&json);
    assert_eq!(well.status.code(), Some(0), "{well:?}");
    for (check, expected) in [
        ("configuration", "well"),
        ("sign-in", "well"),
        ("calls", "well"),
        ("data folder", "well"),
        ("disk", "well"),
        ("media", "well"),
        ("push", "not checked"),
        ("certificate", "not checked"),
        ("backup", "well"),
        ("memory", "well"),
    ] {
        assert_eq!(state(&well, check), expected, "{check}");
    }
    let told = String::from_utf8_lossy(&well.stdout);
    assert!(
        told.contains(&format!("{address} takes connections")),
        "{told}"
    );
    server.stop();
    let stopped = server.cairn(&json);
    assert_eq!(stopped.status.code(), Some(1), "{stopped:?}");
    assert_eq!(state(&stopped, "server"), "wrong");
    assert_eq!(state(&stopped, "sign-in"), "wrong");
    // Somebody else has its port.
    let _taken = TcpListener::bind(address).unwrap();
    let (found, told) = finding(&server.cairn(&json), "start-up");
    assert!(
        found == "wrong" && told.contains(&address.to_string()) && told.contains("in use"),
        "{told}"
    );
    std::fs::write(server.config_file(), "server_name = 1\n").unwrap();
    let mistaken = server.cairn(&json);
    assert_eq!(state(&mistaken, "configuration"), "wrong");
    assert_eq!(state(&mistaken, "memory"), "well");
}

#[tokio::test]
async fn the_doctor_finds_that_nobody_gets_here() {
    // Something answers, and it is no server of this kind; nobody takes calls.
    let page = Server::with(Config {
        serves: vec!["metrics".into()],
        more: "[[listener]]\naddress = \"127.0.0.1:0\"\nserves = [\"client\"]\n".into(),
        ..Config::default()
    });
    let other = page.addresses()[0].clone();
    let server = Server::with(Config {
        more: format!(
            "[well_known]\nclient = \"http://{other}\"\n[turn]\nuris = [\"turn:127.0.0.1:1\", \"turn:nobody.invalid\"]\n"
        ),
        ..Config::default()
    });
    let found = server.cairn(&["doctor", "--json"]);
    let (sign_in, told) = finding(&found, "sign-in");
    assert!(
        sign_in == "wrong" && told.contains("reverse proxy"),
        "{told}"
    );
    let (calls, told) = finding(&found, "calls");
    assert!(
        calls == "wrong" && told.contains("turn:127.0.0.1:1"),
        "{told}"
    );
    assert!(
        String::from_utf8_lossy(&found.stdout).contains("nobody.invalid"),
        "{found:?}"
    );
}
