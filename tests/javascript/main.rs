//! What people do with the server, told with matrix-js-sdk under Node.
//!
//! The stories stand in `*.mjs`, a file for each test here, and use the parts of the
//! library that the clients with the most users are made of. [`library`] installs the
//! library, and Node itself, as `package-lock.json` names them.

mod library;

use std::path::Path;
use std::process::Command;

use harness::Server;

/// All that is said in the stories begins with it.
const SECRET: &str = "in confidence: ";

/// What the library says when a message in a thread comes back by `/sync` before it has
/// looked at the answer to its sending, which the order of a busy event loop decides. It
/// then gives up on a message that was sent.
const LIBRARY_GAVE_UP: &str =
    "updatePendingEventStatus called on an event which is not a local echo";
/// How often stories begin anew, each time with a new server, because of that.
const ANEW: usize = 3;

/// Runs the stories of one file against a server of their own; what people said there
/// must not stand readable in the data folder.
fn tell(file: &str) {
    let folder = library::with_stories();
    let run = || {
        let server = Server::start();
        let output = Command::new(folder.path().join("../node_modules/.bin/node"))
            .args(["--test", "--test-reporter=spec", "--test-force-exit"])
            .arg("--test-timeout=300000")
            .arg(folder.path().join(file))
            .env("HOMESERVER", server.url())
            .env("SECRET", SECRET)
            .output()
            .expect("node");
        (server, output)
    };
    let (mut server, mut output) = run();
    for _ in 0..ANEW {
        let has_given_up = String::from_utf8_lossy(&output.stdout).contains(LIBRARY_GAVE_UP);
        if output.status.success() || !has_given_up {
            break;
        }
        eprintln!("{file}: the library gave up on a message that was sent; once more");
        (server, output) = run();
    }
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{file}: {}\n{told}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        told.contains("fail 0") && !told.contains("pass 0"),
        "{told}"
    );
    nothing_is_in_the_clear(&server.data_dir());
}

/// No file below this folder holds what was said.
fn nothing_is_in_the_clear(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder of the data") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            nothing_is_in_the_clear(&path);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        let mut parts = bytes.windows(SECRET.len());
        let found = parts.any(|part| part == SECRET.as_bytes());
        assert!(!found, "what was said stands in {}", path.display());
    }
}

#[test]
fn people_talk() {
    tell("conversation.mjs");
}

#[test]
fn people_and_devices_verify_each_other() {
    tell("verification.mjs");
}

#[test]
fn a_removed_device_gets_no_new_keys() {
    tell("removed_device.mjs");
}

#[test]
fn a_recovery_key_brings_everything_back() {
    tell("recovery.mjs");
}

#[test]
fn people_do_more_than_talk() {
    tell("room_life.mjs");
}

#[test]
fn those_who_slide_talk_with_those_who_sync() {
    tell("sliding.mjs");
}
