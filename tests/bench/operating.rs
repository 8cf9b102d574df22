//! What an operator waits for on a server with a million events: its start with cold caches,
//! a backup beside a plain copy, a restore; and its memory when people have gone home.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{Server, User};

use crate::load::{Until, send};
use crate::options::{Measure, Options};
use crate::people;
use crate::process::memory;
use crate::reading::messages;
use crate::report::{Report, Target, number};
use crate::starts::first_answer;

/// How many send at the same time.
const SENDERS: usize = 64;
/// How long they send on a server that has grown.
const SENDING: Duration = Duration::from_secs(2);
/// How long a server is left alone before its memory is read: what nobody asks for goes within
/// minutes.
const HOME: Duration = Duration::from_secs(300);

/// Measures what the options want of it: minutes, as a million events are sent first.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    if !options.wants(Measure::Operating) {
        return;
    }
    let folder = options.new_folder();
    let mut server = people::start(folder.path());
    let users = people::register(&server, "operator", SENDERS).await;
    let rooms = people::room_for_each(&users).await;
    eprintln!("sending {} events", options.many_events());
    let sent = send(&server, &users, &rooms, Until::Sent(options.many_events())).await;
    let events = number(sent.count as f64);
    for user in users.iter().take(8) {
        user.sync().await;
    }
    tokio::time::sleep(if options.quick {
        Duration::from_secs(2)
    } else {
        HOME
    })
    .await;
    let idle = memory(server.process_id());
    let note = format!("after {events} sends and 8 first syncs");
    report.add(
        "Memory of a server that was used, idle (PSS)",
        "MiB",
        Target::AtMost(60.0),
        &[idle],
        note,
    );

    let mut cold = Vec::new();
    for _ in 0..options.runs() {
        server.stop();
        forget(&server.data_dir());
        let before = Instant::now();
        server.restart();
        first_answer(&server.api()).await;
        cold.push(before.elapsed().as_secs_f64());
    }
    let name = format!("Start with {events} events and cold caches");
    report.add(name, "s", Target::AtMost(1.0), &cold, "");
    grown(options, report, &server, (&users, &rooms), &events).await;
    backups(options, report, &mut server);
}

/// What people do on it costs no more than on a new server.
async fn grown(
    options: &Options,
    report: &mut Report,
    server: &Server,
    (users, rooms): (&[User], &[String]),
    events: &str,
) {
    let mut sends = Vec::new();
    for _ in 0..options.runs() {
        let sent = send(server, users, rooms, Until::Elapsed(SENDING)).await;
        sends.push(sent.cpu_per_send());
    }
    let name = format!("64 senders in 64 rooms with {events} events: server CPU a send");
    report.add(name, "ms", Target::AtMost(0.25), &sends, "");
    messages(options, report, (server, events), &users[0], &rooms[0]).await;
}

/// A first backup, a later one and a restore, each beside a plain copy of the same bytes.
fn backups(options: &Options, report: &mut Report, server: &mut Server) {
    let place = options.new_folder();
    let (mut made, mut restored, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..options.runs() {
        let at = |name: &str| place.path().join(format!("{name}-{run}"));
        forget(&server.data_dir());
        let plain = timed(
            Command::new("cp")
                .arg("-r")
                .args([server.data_dir(), at("copy")]),
        );
        forget(&server.data_dir());
        let before = Instant::now();
        let to = at("backup");
        let to = to.to_str().expect("a path");
        let told = server.cairn_json(&["backup", "create", to]);
        let backup = before.elapsed().as_secs_f64();
        let bytes = told["bytes"].as_f64().expect("a number of bytes");
        rates.push(bytes / backup / f64::from(1 << 20));
        made.push(backup / plain);

        forget(Path::new(to));
        let plain = timed(
            Command::new("cp")
                .arg("-r")
                .arg(to)
                .arg(at("copy-of-backup")),
        );
        forget(Path::new(to));
        let into = at("restored");
        let into = into.to_str().expect("a path");
        let before = Instant::now();
        server.cairn_json(&["backup", "restore", to, "--into", into]);
        restored.push(before.elapsed().as_secs_f64() / plain);
        for name in ["copy", "backup", "copy-of-backup", "restored"] {
            let _ = std::fs::remove_dir_all(at(name));
        }
    }
    report.add(
        "A first backup",
        "MiB/s",
        Target::AtLeast(1.0),
        &rates,
        "hashed and synced",
    );
    report.add(
        "A first backup: time",
        "of cp -r and sync",
        Target::AtMost(2.0),
        &made,
        "",
    );
    report.add(
        "A restore: time",
        "of cp -r and sync",
        Target::AtMost(2.0),
        &restored,
        "",
    );
}

/// The seconds that a command takes, and the disk after it.
fn timed(command: &mut Command) -> f64 {
    let before = Instant::now();
    assert!(command.status().expect("a command").success());
    assert!(Command::new("sync").status().expect("sync").success());
    before.elapsed().as_secs_f64()
}

/// Has the system forget what it holds of a folder's files in memory.
fn forget(folder: &Path) {
    // Only what is on disk can be forgotten.
    assert!(Command::new("sync").status().expect("sync").success());
    let each = "dd if=\"$1\" iflag=nocache count=0 status=none";
    let forgotten = Command::new("find")
        .arg(folder)
        .args(["-type", "f", "-exec", "sh", "-c", each, "sh", "{}", ";"])
        .status();
    assert!(forgotten.expect("find").success());
}
