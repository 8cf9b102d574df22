//! From nothing to a running server with the command alone, and what it tells.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use harness::{Config, PASSWORD, Server, eventually};
use serde_json::{Value, json};

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("operator-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn cairn(words: &[&str], file: &Path) -> Output {
    Command::new(Server::binary())
        .args(words)
        .arg("--config")
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn a_server_begins_without_questions() {
    let folder = folder("init");
    let file = folder.join("cairn.toml");
    let words = [
        "init",
        "--server-name",
        "localhost",
        "--data-dir",
        "data",
        "--listen",
        "127.0.0.1:0",
        "--administrator",
        "boss",
        "--json",
    ];
    let told: Value = serde_json::from_str(&done(&cairn(&words, &file))).unwrap();
    let made = &told["administrator"];
    assert_eq!(made["user_id"], "@boss:localhost");
    let password = made["password"].as_str().expect("a password").to_owned();
    assert!(password.len() >= 16, "{password}");
    for name in ["signing.key", "database"] {
        assert!(folder.join("data").join(name).exists(), "{name}");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(folder.join("data/signing.key"))
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o077, 0, "others may not read the key");
    assert!(done(&cairn(&["config", "check"], &file)).contains("no mistakes"));

    // What is there is left alone.
    let before = std::fs::read(&file).unwrap();
    let again = failed(&cairn(&words[..9], &file));
    assert!(again.contains("exists already"), "{again}");
    assert_eq!(std::fs::read(&file).unwrap(), before);

    // The server of this configuration has the administrator with this password.
    let server = Server::with_file(&folder);
    let api = server.api();
    let signed_in = api.try_login("boss", &password, json!({})).await.ok();
    assert_eq!(signed_in["user_id"], "@boss:localhost");
    let shown = server.cairn_json(&["user", "show", "boss"]);
    assert_eq!(shown["administrator"], true);
    // It takes whoever has an invitation.
    let body = json!({ "username": "anybody", "password": PASSWORD });
    let challenge = api.post("v3/register", body).await.asks_for_auth();
    assert_eq!(
        challenge["flows"],
        json!([{ "stages": ["m.login.registration_token"] }])
    );
    drop(server);
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn without_a_terminal_a_missing_name_is_an_error_and_nothing_is_written() {
    let folder = folder("nameless");
    let file = folder.join("cairn.toml");
    let words = failed(&cairn(&["init"], &file));
    assert!(words.contains("--server-name"), "{words}");
    let data = folder.join("data");
    let data = data.to_str().unwrap();
    let wrong = ["init", "--server-name", "not a name", "--data-dir", data];
    let words = failed(&cairn(&wrong, &file));
    assert!(words.contains("not a name"), "{words}");
    assert!(!folder.exists());
}

#[tokio::test]
async fn rights_are_given_and_taken() {
    let server = Server::start();
    server.api().register_as("clerk").await;
    for (verb, administrator) in [("promote", true), ("demote", false)] {
        server.cairn_json(&["user", verb, "@clerk:localhost"]);
        let shown = server.cairn_json(&["user", "show", "clerk"]);
        assert_eq!(shown["administrator"], administrator, "{verb}");
        let refused = server.cairn(&["user", verb, "nobody"]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let words = String::from_utf8_lossy(&refused.stderr);
        assert!(words.contains("nobody"), "{words}");
    }
    // For programs, failures are JSON too.
    let refused = server.cairn(&["user", "show", "nobody", "--json"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let told: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert!(told["error"].as_str().unwrap().contains("nobody"), "{told}");
}

#[test]
fn the_configuration_is_shown_without_its_secrets() {
    let server = Server::with(Config {
        registration_more: "shared_secret = \"nobody may read this\"".into(),
        ..Config::default()
    });
    for words in [&["config", "show"][..], &["config", "show", "--json"]] {
        let shown = done(&server.cairn(words));
        assert!(!shown.contains("nobody may read this"), "{shown}");
        for part in ["shared_secret", "(hidden)", "max_json_depth", "localhost"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}

#[test]
fn the_example_is_the_one_in_the_repository() {
    let example = done(
        &Command::new(Server::binary())
            .args(["config", "example"])
            .output()
            .unwrap(),
    );
    let written = harness::sources().join("../../config/cairn.example.toml");
    assert_eq!(example, std::fs::read_to_string(written).unwrap());
}

#[tokio::test]
async fn sighup_puts_other_limits_into_force() {
    let server = Server::start();
    let api = server.api();
    let alice = api.register_as("alice").await;
    for _ in 0..20 {
        alice.get("v3/account/whoami").await.ok();
    }
    let text = std::fs::read_to_string(server.config_file()).unwrap();
    let limits =
        "[limits]\nenabled = true\nrequests_per_second_per_account = 1\nburst_per_account = 5";
    let changed = text.replace("[limits]\nenabled = false", limits);
    assert_ne!(text, changed);
    let hang_up = |text: &str| {
        std::fs::write(server.config_file(), text).unwrap();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -HUP {}", server.process_id())])
            .status();
        assert!(sent.unwrap().success());
    };
    hang_up(&changed);
    eventually("the limit", 10, async || {
        let answer = alice.get("v3/account/whoami").await;
        (answer.status == 429).then_some(())
    })
    .await;
    // A configuration with a mistake changes nothing.
    hang_up("nonsense");
    eventually("the mistake in the log", 10, async || {
        let log = std::fs::read_to_string(server.log_file()).unwrap();
        log.contains("stays in use").then_some(())
    })
    .await;
    eventually("the limit is still there", 10, async || {
        let answer = alice.get("v3/account/whoami").await;
        (answer.status == 429).then_some(())
    })
    .await;
    hang_up(&text);
    eventually("no limit any more", 10, async || {
        let mut all = true;
        for _ in 0..10 {
            all &= alice.get("v3/account/whoami").await.status == 200;
        }
        all.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_listener_serves_what_it_says_and_nothing_else() {
    let second = "[[listener]]\naddress = \"127.0.0.1:0\"\nserves = [\"metrics\"]\n";
    let server = Server::with(Config {
        serves: vec!["client".into()],
        more: second.into(),
        ..Config::default()
    });
    let api = server.api();
    api.get("versions").await.ok();
    api.get("/metrics").await.refused(404, "M_UNRECOGNIZED");
    let administration = "/_cairn/admin/v1/administration";
    let wish = json!({ "verb": "list_users" });
    api.post(administration, wish)
        .await
        .refused(404, "M_UNRECOGNIZED");
    let metrics = harness::Api::new(&server.urls()[1]);
    assert_eq!(metrics.get("/metrics").await.status, 200);
    metrics.get("versions").await.refused(404, "M_UNRECOGNIZED");
}
