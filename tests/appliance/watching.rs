//! Metrics and health, as they are documented.

use std::collections::BTreeSet;
use std::path::Path;

use harness::{Config, Server, eventually};
use reqwest::Method;

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
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/handbook/4-watching.md");
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

#[tokio::test]
async fn the_doctor_says_what_to_do() {
    let backups = tempfile::tempdir().unwrap();
    let folder = backups.path().to_str().unwrap();
    let words = ["doctor", "--backups", folder];
    let mut server = Server::with(Config {
        more: "[well_known]\nclient = \"https://matrix.test\"\n[turn]\nuris = [\"turn:t.test\"]\n"
            .into(),
        ..Config::default()
    });
    let state = |output: &std::process::Output, check: &str| {
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = told["checks"].as_array().unwrap().clone();
        let found = checks.iter().find(|one| one["check"] == check);
        found.unwrap_or_else(|| panic!("no {check} in {told}"))["state"].clone()
    };
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
        ("backup", "well"),
        ("memory", "well"),
    ] {
        assert_eq!(state(&well, check), expected, "{check}");
    }
    server.stop();
    let stopped = server.cairn(&json);
    assert_eq!(stopped.status.code(), Some(1), "{stopped:?}");
    assert_eq!(state(&stopped, "server"), "wrong");
    std::fs::write(server.config_file(), "server_name = 1\n").unwrap();
    let mistaken = server.cairn(&json);
    assert_eq!(state(&mistaken, "configuration"), "wrong");
    assert_eq!(state(&mistaken, "memory"), "well");
}
