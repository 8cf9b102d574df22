//! What the service manager is told, and the sockets that it hands over.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Api, Config, Server, eventually};
use tempfile::TempDir;

/// A server with a service manager, as far as it can tell.
struct Managed {
    folder: TempDir,
    manager: UnixDatagram,
    child: Option<Child>,
}

impl Managed {
    fn started(address: &str, environment: &[(&str, &str)], wrapper: &[&str]) -> Self {
        let mut server = Self::prepare(address);
        server.start(environment, wrapper);
        server
    }

    fn prepare(address: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("cairn.toml");
        let text = Config::default().text(&folder.path().join("data"), address);
        std::fs::write(&config, text).unwrap();
        let socket = folder.path().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self {
            folder,
            manager,
            child: None,
        }
    }

    fn start(&mut self, environment: &[(&str, &str)], wrapper: &[&str]) {
        let folder = self.folder.path();
        let binary = Server::binary();
        let mut words = wrapper.to_vec();
        words.push(binary.to_str().unwrap());
        let child = Command::new(words[0])
            .args(&words[1..])
            .args(["serve", "--json", "--config"])
            .arg(folder.join("cairn.toml"))
            .env("NOTIFY_SOCKET", folder.join("notify"))
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }

    fn heard(&self) -> String {
        let mut bytes = [0; 512];
        let length = self.manager.recv(&mut bytes).unwrap_or_else(|error| {
            let log = std::fs::read_to_string(self.folder.path().join("log"));
            panic!("{error}: {}", log.unwrap_or_default())
        });
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// Waits for something that begins so, past what may come between.
    fn hear(&self, beginning: &str) -> String {
        for _ in 0..100 {
            let heard = self.heard();
            if heard.starts_with(beginning) {
                return heard;
            }
            assert!(heard.starts_with("WATCHDOG=1"), "{heard}");
        }
        panic!("no {beginning}");
    }

    fn address(&mut self) -> String {
        let output = self.child().stdout.take().unwrap();
        let line = BufReader::new(output).lines().next().unwrap().unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        said["address"].as_str().unwrap().to_owned()
    }

    fn signal(&mut self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.child().id())])
            .status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[tokio::test]
async fn the_manager_hears_of_each_state() {
    // An eighth of a second of watchdog would be too short for a busy machine.
    let mut server = Managed::started("127.0.0.1:0", &[("WATCHDOG_USEC", "3000000")], &[]);
    let address = server.address();
    assert!(server.hear("READY=1").contains("STATUS="));
    // Ready means that it answers.
    let api = Api::new(&format!("http://{address}"));
    api.get("versions").await.ok();
    assert!(server.heard().starts_with("WATCHDOG=1"));
    server.signal("HUP");
    assert!(server.hear("RELOADING=1").contains("MONOTONIC_USEC="));
    server.hear("READY=1");
    server.signal("TERM");
    server.hear("STOPPING=1");
    assert!(server.child().wait().unwrap().success());
}

#[tokio::test]
async fn a_watchdog_of_somebody_else_is_not_fed() {
    let environment = [("WATCHDOG_USEC", "300000"), ("WATCHDOG_PID", "1")];
    let mut server = Managed::started("127.0.0.1:0", &environment, &[]);
    server.hear("READY=1");
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.signal("TERM");
    assert!(server.heard().starts_with("STOPPING=1"));
}

#[tokio::test]
async fn a_socket_that_is_handed_over_is_served() {
    // Bound here, as systemd binds it; port 1 to 1023 would need the same and root.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    // systemd's own tool hands a socket over at the first connection.
    let wrapper = [
        "systemd-socket-activate",
        "-l",
        &address,
        "-E",
        "NOTIFY_SOCKET",
    ];
    let server = Managed::started(&address, &[], &wrapper);
    let api = Api::new(&format!("http://{address}"));
    let mut answered = false;
    for _ in 0..100 {
        let request = api.request(reqwest::Method::GET, "versions");
        if let Ok(answer) = api.try_request(request).await {
            answer.ok();
            answered = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(answered);
    server.hear("READY=1");
}

/// Starts a server that ends by itself. Returns what it said and how long it took.
fn trial(config: &Path, kept: &Path) -> (String, Duration) {
    let begun = Instant::now();
    let ended = Command::new(Server::binary())
        .args(["serve", "--config"])
        .arg(config)
        .env("RUNTIME_DIRECTORY", kept)
        .output()
        .unwrap();
    assert!(!ended.status.success());
    let said = String::from_utf8(ended.stderr).unwrap();
    (said, begun.elapsed())
}

#[test]
fn who_cannot_start_waits_ever_longer() {
    let kept = tempfile::tempdir().unwrap();
    let mut server = Managed::prepare("127.0.0.1:0");
    let config = server.folder.path().join("cairn.toml");
    let good = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, "nonsense = 1\n").unwrap();
    let waits = |said: &str| said.contains("waiting");
    for _ in 0..2 {
        let (said, _) = trial(&config, kept.path());
        assert!(said.contains("nonsense") && !waits(&said), "{said}");
    }
    let (said, took) = trial(&config, kept.path());
    assert!(
        said.contains("ended 2 times") && said.contains("waiting 2 s"),
        "{said}"
    );
    assert!(took >= Duration::from_secs(2), "{took:?}");
    // What somebody ended while it waited is tried at once.
    let folder = [("RUNTIME_DIRECTORY", kept.path().to_str().unwrap())];
    server.start(&folder, &[]);
    assert!(server.hear("STATUS=").contains("waiting 6 s"));
    server.signal("TERM");
    server.child().wait().unwrap();
    assert!(!waits(&trial(&config, kept.path()).0));
    // So is what was changed.
    assert!(!waits(&trial(&config, kept.path()).0));
    std::fs::write(&config, "nonsense = 2\n").unwrap();
    assert!(!waits(&trial(&config, kept.path()).0));
    // A server that was told to stop leaves nothing behind.
    std::fs::write(&config, good).unwrap();
    server.start(&folder, &[]);
    server.hear("READY=1");
    assert_eq!(kept.path().read_dir().unwrap().count(), 1);
    server.signal("TERM");
    assert!(server.child().wait().unwrap().success());
    assert_eq!(kept.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn how_much_is_logged_changes_while_the_server_runs() {
    let server = Server::with(Config {
        more: "[log]\nlevel = \"info\"\n".into(),
        ..Config::default()
    });
    let alice = server.api().register_as("alice").await;
    let room = alice.public_room().await;
    alice.say(&room, "nobody may read this").await;
    let log = || std::fs::read_to_string(server.log_file()).unwrap();
    // Nothing of anybody at the usual level.
    for word in ["alice", "127.0.0.1 ", &room, "nobody may read this"] {
        assert!(!log().contains(word), "{word} in {}", log());
    }
    let text = std::fs::read_to_string(server.config_file()).unwrap();
    for (level, is_said) in [("debug", true), ("warn", false)] {
        let changed = text.replace("level = \"info\"", &format!("level = \"{level}\""));
        std::fs::write(server.config_file(), changed).unwrap();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -HUP {}", server.process_id())])
            .status();
        assert!(sent.unwrap().success());
        eventually(level, 10, async || {
            let before = log().len();
            alice.say(&room, "nobody may read this").await;
            let new = log().split_off(before);
            let has_entry = new.contains("DEBUG") && new.contains(&format!(" room={room}"));
            (has_entry == is_said).then_some(())
        })
        .await;
    }
    // What people write is logged at no level.
    assert!(!log().contains("nobody may read this"));
    assert!(
        log().contains("user=@alice:localhost user_hash="),
        "{}",
        log()
    );
}
