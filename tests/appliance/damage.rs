//! A database whose log is torn, or whose files are damaged.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::{Config, Server, User};
use serde_json::json;

/// How many messages there are.
const MESSAGES: usize = 300;

/// The files of the database with an ending, the largest first.
fn files(server: &Server, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(server.data_dir().join("database")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    found.sort_by_key(|path| std::cmp::Reverse(length(path)));
    found
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// Turns one bit over.
fn damage(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

async fn talk(user: &User, room: &str) -> Vec<String> {
    let mut said = Vec::new();
    for number in 0..MESSAGES {
        said.push(user.say(room, &format!("message {number}")).await);
    }
    said
}

fn again(server: &Server, user: &User) -> User {
    server.api().user_of(json!({
        "user_id": user.user_id, "device_id": user.device_id, "access_token": user.access_token,
    }))
}

/// How many of the events are there.
async fn there(user: &User, room: &str, events: &[String]) -> usize {
    let mut found = 0;
    for event in events {
        found += usize::from(user.event(room, event).await.status == 200);
    }
    found
}

/// Starts a server that does not start, and gives what it says.
fn refused(server: &Server) -> String {
    let output = Command::new("timeout")
        .arg("30")
        .arg(Server::binary())
        .args(["serve", "--config"])
        .arg(server.config_file())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    words(&output)
}

fn words(output: &Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[tokio::test]
async fn a_log_that_is_torn_after_its_last_sync_opens_by_itself() {
    let mut server = Server::start();
    let alice = server.api().register_as("alice").await;
    let room = alice.public_room().await;
    let said = talk(&alice, &room).await;
    let whole: Vec<u8> = (0..40_u8).cycle().take(3_000).collect();
    for torn in [&whole[..7], &whole, &[0; 70_000]] {
        server.kill9();
        // What a power cut leaves of a write that nobody was told of.
        let log = &files(&server, "log")[0];
        let file = File::options().append(true).open(log).unwrap();
        file.write_all_at(torn, length(log)).unwrap();
        server.restart();
        let alice = again(&server, &alice);
        assert_eq!(there(&alice, &room, &said).await, MESSAGES);
        alice.say(&room, "and on").await;
    }
}

#[tokio::test]
async fn a_log_that_is_damaged_in_front_of_its_end_is_no_silent_loss() {
    let mut server = Server::start();
    let alice = server.api().register_as("alice").await;
    let room = alice.public_room().await;
    let early = alice.say(&room, "before the backup").await;
    let backups = tempfile::tempdir().unwrap();
    let to = backups.path().to_str().unwrap();
    server.cairn_json(&["backup", "create", to]);
    let said = talk(&alice, &room).await;
    server.kill9();
    let log = files(&server, "log")[0].clone();
    damage(&log, length(&log) * 2 / 3);
    let before = fs::read(&log).unwrap();

    // It does not start, says why and what to do, and changes nothing.
    for _ in 0..2 {
        let told = refused(&server);
        for part in [
            "log is damaged",
            log.file_name().unwrap().to_str().unwrap(),
            "commits that were on disk",
            "cairn backup restore",
            "cairn database accept-loss",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert!(fs::read(&log).unwrap() == before, "nothing was changed");
    }
    let listed = server.cairn(&["user", "list"]);
    assert!(words(&listed).contains("log is damaged"), "{listed:?}");

    // One way out: what is left.
    let kept = tempfile::tempdir().unwrap();
    let copy = Command::new("cp")
        .arg("-a")
        .args([server.data_dir(), kept.path().join("data")])
        .status();
    assert!(copy.unwrap().success());
    let accepted = server.cairn_json(&["database", "accept-loss"]);
    let lost = accepted["commits"].as_u64().unwrap();
    assert!((1..=MESSAGES as u64).contains(&lost), "{accepted}");
    let nothing = server.cairn(&["database", "accept-loss"]);
    assert!(words(&nothing).contains("nothing is lost"), "{nothing:?}");
    server.restart();
    let alice_now = again(&server, &alice);
    let left = there(&alice_now, &room, &said).await;
    assert!(
        left > 0 && left < MESSAGES,
        "{left} of {MESSAGES} messages are left"
    );
    alice_now.sync().await;
    alice_now.say(&room, "on with what is left").await;
    server.stop();

    // The other: the backup.
    let elsewhere = tempfile::tempdir().unwrap();
    let restored = Command::new(Server::binary())
        .args(["backup", "restore", to, "--into"])
        .arg(elsewhere.path().join("data"))
        .arg("--config")
        .arg(elsewhere.path().join("cairn.toml"))
        .output()
        .unwrap();
    assert!(restored.status.success(), "{restored:?}");
    let other = Server::on(elsewhere.path(), Config::default());
    again(&other, &alice).event(&room, &early).await.ok();
}

#[tokio::test]
async fn a_log_that_is_gone_is_noticed() {
    let mut server = Server::start();
    let alice = server.api().register_as("alice").await;
    let room = alice.public_room().await;
    talk(&alice, &room).await;
    server.kill9();
    for log in files(&server, "log") {
        fs::remove_file(log).unwrap();
    }
    let told = refused(&server);
    assert!(told.contains("damaged"), "{told}");
    assert!(told.contains("cairn backup restore"), "{told}");
}

#[tokio::test]
async fn a_damaged_file_is_named_and_put_back_from_a_backup() {
    let mut server = Server::start();
    let alice = server.api().register_as("alice").await;
    let room = alice.public_room().await;
    let said = talk(&alice, &room).await;
    // Everything in sorted files.
    server.cairn_json(&["database", "compact"]);
    let backups = tempfile::tempdir().unwrap();
    let to = backups.path().to_str().unwrap();
    server.cairn_json(&["backup", "create", to]);
    let later = alice.say(&room, "after the backup").await;
    server.stop();
    // The one with the messages. Its end, which is read at the start, is left alone.
    let has_events = |path: &&PathBuf| {
        let bytes = fs::read(path).unwrap();
        let end = &bytes[bytes.len().saturating_sub(4_096)..];
        end.windows(6).any(|part| part == b"events")
    };
    let file = files(&server, "sst")
        .iter()
        .find(has_events)
        .unwrap()
        .clone();
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    for at in (100..length(&file) / 2).step_by(997) {
        damage(&file, at);
    }
    server.restart();
    let alice_now = again(&server, &alice);
    let mut failed = 0;
    for event in &said {
        failed += usize::from(alice_now.event(&room, event).await.status == 500);
    }
    assert!(failed > 0, "no message is damaged");
    // Whoever looks into the log finds request, room and person, and no name.
    let log = fs::read_to_string(server.log_file()).unwrap();
    let entry = log.lines().find(|line| line.contains("failed with 500"));
    let entry = entry.unwrap_or_else(|| panic!("no entry in {log}"));
    for field in [" request_id=", " user_hash=", &format!(" room={room}")] {
        assert!(entry.contains(field), "{field} in {entry}");
    }
    assert!(!log.contains("alice"), "{log}");
    let request = alice_now.request(reqwest::Method::GET, "/_cairn/health");
    let health = alice_now.send_request(request).await.body;
    let reasons = health["reasons"].to_string();
    for part in ["damaged", &name, "cairn backup mend"] {
        assert!(reasons.contains(part), "{part} in {reasons}");
    }
    let doctor = words(&server.cairn(&["doctor", "--backups", to]));
    assert!(doctor.contains(&name), "{doctor}");
    assert!(doctor.contains("cairn backup mend"), "{doctor}");

    let running = server.cairn(&["backup", "mend", to]);
    assert!(words(&running).contains("in use"), "{running:?}");
    server.stop();
    let mended = server.cairn_json(&["backup", "mend", to]);
    assert_eq!(
        mended["put_back"],
        json!([format!("database/{name}")]),
        "{mended}"
    );
    assert_eq!(mended["beyond"], json!([]));
    server.restart();
    let alice_now = again(&server, &alice);
    assert_eq!(there(&alice_now, &room, &said).await, MESSAGES);
    // What came after the backup is there too.
    alice_now.event(&room, &later).await.ok();
    server.stop();

    // One that is missing is named at the start, and put back as well.
    fs::remove_file(&file).unwrap();
    let told = refused(&server);
    assert!(
        told.contains(&name) && told.contains("cairn backup mend"),
        "{told}"
    );
    let mended = server.cairn_json(&["backup", "mend", to]);
    assert_eq!(
        mended["put_back"],
        json!([format!("database/{name}")]),
        "{mended}"
    );
    server.restart();
    again(&server, &alice).event(&room, &later).await.ok();
}

#[tokio::test]
async fn a_damaged_list_of_files_is_named_and_the_way_out_leads_on() {
    let mut server = Server::start();
    let alice = server.api().register_as("alice").await;
    let room = alice.public_room().await;
    let said = talk(&alice, &room).await;
    let backups = tempfile::tempdir().unwrap();
    let to = backups.path().to_str().unwrap();
    server.cairn_json(&["backup", "create", to]);
    server.kill9();
    let database = server.data_dir().join("database");
    let current = fs::read_to_string(database.join("CURRENT")).unwrap();
    let list = database.join(current.trim_end());
    let whole = fs::read(&list).unwrap();
    // The kind of its second record, which RocksDB would never come to the end of; and some byte.
    let second = 7 + u64::from(u16::from_le_bytes([whole[4], whole[5]]));
    for (at, bit) in [(second + 6, 4), (second + 9, 1)] {
        let mut damaged = whole.clone();
        damaged[usize::try_from(at).unwrap()] ^= bit;
        fs::write(&list, &damaged).unwrap();
        let doctor = words(&server.cairn(&["doctor", "--backups", to]));
        for told in [refused(&server), doctor] {
            for part in [
                list.file_name().unwrap().to_str().unwrap(),
                "the list of the database's files is damaged",
                "cairn backup restore",
            ] {
                assert!(told.contains(part), "{part} in {told}");
            }
        }
        assert!(fs::read(&list).unwrap() == damaged, "nothing was changed");
    }
    // Single files do not bring it back, and it is not said that they did.
    let mended = server.cairn(&["backup", "mend", to]);
    assert_eq!(mended.status.code(), Some(1), "{mended:?}");
    assert!(
        words(&mended).contains("cairn backup restore"),
        "{mended:?}"
    );

    fs::remove_dir_all(server.data_dir()).unwrap();
    server.cairn_json(&["backup", "restore", to]);
    server.restart();
    let alice = again(&server, &alice);
    assert_eq!(there(&alice, &room, &said).await, MESSAGES);
}
