//! Backups: made while people work, checked, laid out elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::signing::DeviceKeys;
use harness::{Api, Config, Server, User};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Larger than what is kept as a row of the database.
const FILE_BYTES: usize = 40_000;

fn folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("cairn-backup-")
        .tempdir()
        .unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn number(shown: &Value, name: &str) -> u64 {
    shown[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} in {shown}"))
}

/// Uploads bytes of which each is `byte`; gives the path of the download.
async fn upload(user: &User, byte: u8) -> String {
    let request = user
        .request(Method::POST, "/_matrix/media/v3/upload")
        .header("Content-Type", "application/octet-stream")
        .body(vec![byte; FILE_BYTES]);
    let answer = user.send_request(request).await.ok();
    let uri = answer["content_uri"].as_str().unwrap();
    format!("v1/media/download/{}", uri.strip_prefix("mxc://").unwrap())
}

async fn downloaded(api: &Api, path: &str) -> Vec<u8> {
    let response = api.request(Method::GET, path).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200, "{path}");
    response.bytes().await.unwrap().to_vec()
}

/// Lays the backup out in a new folder, as a machine that has nothing yet does.
fn restored(server: &Server, from: &str, at: &Path) -> Value {
    let output = std::process::Command::new(Server::binary())
        .args(["backup", "restore", from, "--json", "--into"])
        .arg(at.join("data"))
        .arg("--config")
        .arg(at.join("cairn.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let written = fs::read(at.join("cairn.toml")).unwrap();
    assert_eq!(written, fs::read(server.config_file()).unwrap());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn start(at: &Path) -> Server {
    Server::on(at, Config::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_work_on_while_a_backup_is_made_and_find_everything_elsewhere() {
    let server = Server::start();
    let alice = server.api().register_as("alice").await;
    let bob = server.api().register_as("bob").await;
    let keys = DeviceKeys::of(&alice);
    keys.upload(&alice, 5).await;
    let room = alice.room_with(&[&bob]).await;
    let first = alice.say(&room, "before the backup").await;
    let picture = upload(&alice, 7).await;
    let token = alice.sync().await.next_batch().to_owned();
    let backups = folder();
    let to = text(backups.path());

    // Somebody writes all the time; what was acknowledged before is in the backup.
    let ends = Arc::new(AtomicBool::new(false));
    let writing = {
        let (ends, bob, room) = (ends.clone(), bob.clone(), room.clone());
        tokio::spawn(async move {
            let mut said = Vec::new();
            while !ends.load(Ordering::Acquire) {
                said.push(bob.say(&room, "while it is made").await);
                if said.len() % 20 == 0 {
                    upload(&bob, u8::try_from(said.len() / 20 % 250).unwrap()).await;
                }
            }
            said
        })
    };
    for _ in 0..3 {
        tokio::task::block_in_place(|| server.cairn_json(&["backup", "create", to]));
    }
    ends.store(true, Ordering::Release);
    let said = writing.await.unwrap();
    assert!(said.len() > 20, "{}", said.len());
    let last = alice.say(&room, "the last that is saved").await;
    let made_last = server.cairn_json(&["backup", "create", to]);
    let lost = alice.say(&room, "after it").await;
    // What lies in an earlier backup is not copied again.
    let kept = number(&made_last, "bytes") - number(&made_last, "copied_bytes");
    assert!(kept >= FILE_BYTES as u64, "{made_last}");
    assert!(!server.data_dir().join("checkpoint").exists());

    let listed = server.cairn_json(&["backup", "list", to]);
    assert_eq!(listed["backups"].as_array().unwrap().len(), 4);
    for backup in listed["backups"].as_array().unwrap() {
        let name = backup["backup"].as_str().unwrap();
        let checked = server.cairn_json(&["backup", "verify", to, "--backup", name]);
        assert_eq!(checked["accounts"], 2, "{checked}");
    }
    assert_eq!(made_last["damaged"], json!([]));

    let elsewhere = folder();
    let told = restored(&server, to, elsewhere.path());
    assert_eq!(told["one_time_keys_dropped"], 5, "{told}");
    drop(server);
    let other = start(elsewhere.path());
    // Sessions go on, on the other server's address.
    let alice = alice_at(&other, &alice);
    for event in said.iter().chain([&first, &last]) {
        alice.event(&room, event).await.ok();
    }
    alice.event(&room, &lost).await.refused(404, "M_NOT_FOUND");
    assert_eq!(downloaded(&alice, &picture).await, vec![7; FILE_BYTES]);
    // A token of the other life is worth nothing: everything comes again.
    let synced = alice.sync_with(&format!("since={token}")).await;
    assert!(
        synced
            .timeline(&room)
            .iter()
            .any(|event| event["event_id"] == last.as_str())
    );
    assert_eq!(
        synced.0["device_one_time_keys_count"]["signed_curve25519"],
        0
    );
    keys.upload(&alice, 2).await;
    let next = alice.sync_since(&synced).await;
    assert_eq!(next.0["device_one_time_keys_count"]["signed_curve25519"], 2);
    // And the server goes on, with restarts.
    alice.say(&room, "here we are again").await;
    let mut other = other;
    other.restart();
    let alice = alice_at(&other, &alice);
    let synced = alice.sync().await;
    let newest = synced.timeline(&room).last().unwrap();
    assert_eq!(newest["content"]["body"], "here we are again");
}

/// The same session at another server's address.
fn alice_at(server: &Server, user: &User) -> User {
    let session = json!({
        "user_id": user.user_id, "device_id": user.device_id, "access_token": user.access_token,
    });
    server.api().user_of(session)
}

#[tokio::test]
async fn a_later_backup_copies_little_and_old_ones_go() {
    let mut server = Server::start();
    let alice = server.api().register_as("alice").await;
    let room = alice.public_room().await;
    for byte in 0..20 {
        upload(&alice, byte).await;
    }
    let backups = folder();
    let to = text(backups.path());
    let first = server.cairn_json(&["backup", "create", to]);
    assert!(number(&first, "copied_bytes") > 20 * FILE_BYTES as u64);
    alice.say(&room, "something new").await;
    let second = server.cairn_json(&["backup", "create", to]);
    assert!(number(&second, "bytes") > 20 * FILE_BYTES as u64);
    assert!(
        number(&second, "copied_bytes") < 3 * FILE_BYTES as u64,
        "{second}"
    );
    let third = server.cairn_json(&["backup", "create", to, "--keep", "2"]);
    assert_eq!(third["removed"].as_array().unwrap().len(), 1, "{third}");
    server.cairn_json(&["backup", "verify", to]);

    // A stopped server is backed up too, and cannot be started meanwhile by accident.
    server.stop();
    let stopped = server.cairn_json(&["backup", "create", to]);
    server.cairn_json(&["backup", "verify", to]);
    assert_eq!(stopped["damaged"], json!([]));
    server.restart();
    // On new connections: those of before are closed.
    let alice = alice_at(&server, &alice);
    alice.say(&room, "and on it goes").await;
}

#[tokio::test]
async fn damage_is_found_and_named() {
    let server = Server::start();
    let alice = server.api().register_as("alice").await;
    upload(&alice, 1).await;
    let backups = folder();
    let to = text(backups.path());
    server.cairn_json(&["backup", "create", to]);
    let mut objects = Vec::new();
    for folder in fs::read_dir(backups.path().join("objects")).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            objects.push(file.unwrap().path());
        }
    }
    assert!(objects.len() > 5, "{objects:?}");
    for object in objects {
        let whole = fs::read(&object).unwrap();
        if whole.is_empty() {
            continue;
        }
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(&object, damaged).unwrap();
        let output = server.cairn(&["backup", "verify", to]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let name = object.file_name().unwrap().to_str().unwrap();
        assert!(words.contains(name), "{words}");
        fs::write(&object, whole).unwrap();
    }
    server.cairn_json(&["backup", "verify", to]);
}

#[tokio::test]
async fn a_stream_holds_everything() {
    let server = Server::start();
    let alice = server.api().register_as("alice").await;
    let room = alice.public_room().await;
    let said = alice.say(&room, "streamed").await;
    let picture = upload(&alice, 3).await;
    let output = server.cairn(&["backup", "create", "-"]);
    assert!(output.status.success(), "{output:?}");
    let elsewhere = folder();
    let archive = elsewhere.path().join("cairn.tar");
    fs::write(&archive, &output.stdout).unwrap();
    let checked = server.cairn_json(&["backup", "verify", text(&archive)]);
    assert_eq!(checked["accounts"], 1, "{checked}");
    // One that was cut off is none.
    let cut = elsewhere.path().join("cut.tar");
    fs::write(&cut, &output.stdout[..output.stdout.len() - 2_000]).unwrap();
    assert_eq!(
        server
            .cairn(&["backup", "verify", text(&cut)])
            .status
            .code(),
        Some(1)
    );

    let at = elsewhere.path().join("server");
    fs::create_dir(&at).unwrap();
    restored(&server, text(&archive), &at);
    drop(server);
    let other = start(&at);
    let alice = alice_at(&other, &alice);
    alice.event(&room, &said).await.ok();
    assert_eq!(downloaded(&alice, &picture).await, vec![3; FILE_BYTES]);
}

/// An identity file and its public key, as age's own tool makes them.
fn age_key(at: &Path) -> (PathBuf, String) {
    let file = at.join("identity.txt");
    let made = std::process::Command::new("age-keygen")
        .arg("-o")
        .arg(&file)
        .status()
        .expect("age-keygen (.ci/install-dependencies test)");
    assert!(made.success());
    let shown = std::process::Command::new("age-keygen")
        .arg("-y")
        .arg(&file)
        .output()
        .unwrap();
    let public = String::from_utf8(shown.stdout).unwrap();
    (file, public.trim().to_owned())
}

#[tokio::test]
async fn sealed_backups_are_for_the_holder_of_the_key_alone() {
    let server = Server::start();
    let alice = server.api().register_as("alice").await;
    let room = alice.public_room().await;
    let said = alice.say(&room, "sealed").await;
    let picture = upload(&alice, 3).await;
    let place = folder();
    let (identity, public) = age_key(place.path());
    let (identity, other) = (text(&identity), folder());
    let (other_identity, _) = age_key(other.path());
    let backups = place.path().join("backups");
    let to = text(&backups);

    let first = server.cairn_json(&["backup", "create", to, "--seal-to", &public]);
    upload(&alice, 4).await;
    let second = server.cairn_json(&["backup", "create", to, "--seal-to", &public, "--keep", "2"]);
    let (all, copied) = (number(&second, "bytes"), number(&second, "copied_bytes"));
    assert!(
        number(&second, "copied_files") <= number(&first, "copied_files"),
        "{second}"
    );
    assert!(all >= 2 * FILE_BYTES as u64 && copied > 0, "{second}");

    // Without the key nothing is told, and with another one neither.
    for (words, part) in [
        (vec!["backup", "verify", to], "--identity"),
        (
            vec!["backup", "list", to, "--identity", text(&other_identity)],
            "another key",
        ),
        (vec!["backup", "create", to], "are sealed for age1"),
    ] {
        let output = server.cairn(&words);
        let told = [output.stdout.as_slice(), &output.stderr].concat();
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(told.contains(part), "{words:?}: {told}");
    }
    let doctor = server.cairn(&["doctor", "--backups", to]);
    let doctor = String::from_utf8_lossy(&doctor.stderr).into_owned();
    assert!(doctor.contains("✓ backup: "), "{doctor}");

    let listed = server.cairn_json(&["backup", "list", to, "--identity", identity]);
    assert_eq!(listed["backups"].as_array().unwrap().len(), 2);
    for backup in listed["backups"].as_array().unwrap() {
        let name = backup["backup"].as_str().unwrap();
        let words = [
            "backup",
            "verify",
            to,
            "--backup",
            name,
            "--identity",
            identity,
        ];
        assert_eq!(server.cairn_json(&words)["accounts"], 1);
    }

    // A sealed stream is a file of age.
    let output = server.cairn(&["backup", "create", "-", "--seal-to", &public]);
    assert!(output.status.success(), "{output:?}");
    let archive = place.path().join("cairn.tar.age");
    fs::write(&archive, &output.stdout).unwrap();
    let opened = std::process::Command::new("age")
        .args(["--decrypt", "--identity", identity])
        .arg(&archive)
        .output()
        .unwrap();
    assert!(opened.status.success(), "{opened:?}");
    let plain = place.path().join("cairn.tar");
    fs::write(&plain, opened.stdout).unwrap();
    server.cairn_json(&["backup", "verify", text(&plain)]);
    server.cairn_json(&["backup", "verify", text(&archive), "--identity", identity]);
    // And what age has sealed is read here.
    let sealed = place.path().join("by-age");
    let status = std::process::Command::new("age")
        .args(["--recipient", &public, "--output"])
        .args([&sealed, &plain])
        .status();
    assert!(status.unwrap().success());
    server.cairn_json(&["backup", "verify", text(&sealed), "--identity", identity]);

    let config = fs::read(server.config_file()).unwrap();
    drop(server);
    for (from, name) in [(to, "folder"), (text(&archive), "stream")] {
        let at = place.path().join(name);
        fs::create_dir(&at).unwrap();
        let output = std::process::Command::new(Server::binary())
            .args(["backup", "restore", from, "--identity", identity, "--into"])
            .arg(at.join("data"))
            .arg("--config")
            .arg(at.join("cairn.toml"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(fs::read(at.join("cairn.toml")).unwrap(), config);
        let other = start(&at);
        let alice = alice_at(&other, &alice);
        alice.event(&room, &said).await.ok();
        assert_eq!(downloaded(&alice, &picture).await, vec![3; FILE_BYTES]);
    }
}

#[tokio::test]
async fn what_would_harm_is_refused() {
    let server = Server::start();
    let refused = |words: &[&str], part: &str| {
        let output = server.cairn(words);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(part), "{told}");
    };
    let inside = server.data_dir().join("backups");
    refused(
        &["backup", "create", text(&inside)],
        "lies in the data folder",
    );
    let backups = folder();
    let to = text(backups.path());
    refused(&["backup", "verify", to], "there is no backup");
    fs::write(backups.path().join("letter"), "").unwrap();
    refused(&["backup", "create", to], "holds other things");
    fs::remove_file(backups.path().join("letter")).unwrap();
    server.cairn_json(&["backup", "create", to]);
    let data = server.data_dir();
    refused(
        &["backup", "restore", to, "--into", text(&data)],
        "is not empty",
    );
    refused(&["backup", "restore", to], "is not empty");
    let other = Server::with(Config {
        server_name: "other.test".into(),
        ..Config::default()
    });
    let output = other.cairn(&["backup", "create", to]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("localhost") && told.contains("other.test"),
        "{told}"
    );

    // What was broken off before its key was written is no server's folder.
    let elsewhere = folder();
    restored(&server, to, elsewhere.path());
    let key: PathBuf = elsewhere.path().join("data/signing.key");
    fs::remove_file(&key).unwrap();
    let output = std::process::Command::new(Server::binary())
        .args(["user", "list", "--config"])
        .arg(write_config(elsewhere.path()))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("signing key"), "{told}");
}

fn write_config(at: &Path) -> PathBuf {
    let file = at.join("here.toml");
    let text = Config::default().text(&at.join("data"), "127.0.0.1:0");
    fs::write(&file, text).unwrap();
    file
}
