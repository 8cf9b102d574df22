//! What somebody at a terminal is asked, and sees of long work. `script` is the terminal.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::Server;
use reqwest::Method;

use crate::tls::fetch;

/// Runs `cairn` with these words on a terminal where somebody types; gives how it ended and what
/// was to be seen.
fn on_terminal(words: &[&str], typed: &str) -> (Option<i32>, String) {
    let quoted = |word: &&str| format!("'{word}'");
    let words: Vec<String> = words.iter().map(quoted).collect();
    let command = format!("'{}' {}", Server::binary().display(), words.join(" "));
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(typed.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), seen)
}

fn file(folder: &Path) -> String {
    folder.join("cairn.toml").to_str().unwrap().to_owned()
}

#[test]
fn a_new_server_is_asked_for_step_by_step() {
    let folder = tempfile::tempdir().unwrap();
    let config = file(folder.path());
    let given = [
        "init",
        "--data-dir",
        "data",
        "--listen",
        "127.0.0.1:0",
        "--config",
        &config,
    ];
    // Mistakes are asked for again.
    let typed = "not a name\ncouncil.example\n9\n3\nmatrix.council.example 127.0.0.1\nadmin\n";
    let (ended, seen) = on_terminal(&given, typed);
    assert_eq!(ended, Some(0), "{seen}");
    for part in [
        "Server name, for ever",
        "is not a server name",
        "How do apps get an encrypted connection?",
        "Names and addresses by which apps reach it",
        "First administrator's user name",
        "Administrator @admin:council.example with password",
        "Install this root certificate",
        "Next: ",
    ] {
        assert!(seen.contains(part), "{part} in {seen}");
    }
    let server = Server::with_file(folder.path());
    let root = folder.path().join("data/tls/root.pem");
    let address = &server.addresses()[0];
    let page = "_matrix/client/versions";
    assert!(fetch(Some(&root), "matrix.council.example", address, page).is_ok());

    // What is there is never written over.
    let (ended, seen) = on_terminal(&given, "");
    assert_eq!(ended, Some(1), "{seen}");
    assert!(seen.contains("exists already"), "{seen}");
}

#[test]
fn certificates_are_asked_for_and_tried() {
    let folder = tempfile::tempdir().unwrap();
    let config = file(folder.path());
    let given = [
        "init",
        "--data-dir",
        "data",
        "--listen",
        "127.0.0.1:0",
        "--config",
        &config,
    ];
    let typed = "council.example\n2\n\n\n/nowhere/a.pem\n/nowhere/b.pem\n";
    let (ended, seen) = on_terminal(&given, typed);
    assert_eq!(ended, Some(1), "{seen}");
    assert!(seen.contains("/nowhere/a.pem"), "{seen}");
    assert!(!folder.path().join("cairn.toml").exists());
}

#[test]
fn whoever_goes_away_in_the_middle_has_changed_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = file(folder.path());
    for typed in ["", "council.example\n"] {
        let (ended, seen) =
            on_terminal(&["init", "--data-dir", "data", "--config", &config], typed);
        assert_eq!(ended, Some(1), "{seen}");
        assert!(!folder.path().join("cairn.toml").exists());
        assert!(!folder.path().join("data").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_work_shows_a_bar_with_its_rate_on_a_terminal_and_lines_elsewhere() {
    let server = Server::start();
    let alice = server.api().register_as("alice").await;
    for number in 0..6_u8 {
        let bytes: Vec<u8> = (0..50 << 20)
            .map(|place: u32| number ^ (place % 251) as u8)
            .collect();
        let request = alice
            .request(Method::POST, "/_matrix/media/v3/upload")
            .header("Content-Type", "application/octet-stream")
            .body(bytes);
        alice.send_request(request).await.ok();
    }
    let backups = tempfile::tempdir().unwrap();
    let to = backups.path().to_str().unwrap();
    let config = server.config_file();
    let words = ["backup", "create", to, "--config", config.to_str().unwrap()];
    let (ended, seen) = on_terminal(&words, "");
    assert_eq!(ended, Some(0), "{seen}");
    let bar = seen
        .split('\r')
        .find(|line| line.contains('█') || line.contains('░'));
    let bar = bar.unwrap_or_else(|| panic!("no bar in {seen:?}"));
    assert!(bar.contains("MiB of") && bar.contains("/s"), "{bar}");

    let plain = server.cairn(&["backup", "verify", to]);
    let told = String::from_utf8_lossy(&plain.stderr).into_owned();
    assert!(plain.status.success(), "{told}");
    assert!(told.lines().any(|line| line.ends_with('…')), "{told}");
    assert!(!told.contains('\r') && !told.contains('█'), "{told:?}");
}
