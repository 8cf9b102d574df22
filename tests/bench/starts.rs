//! Starts: how long one takes, and the memory of a server that has just started.

use std::time::{Duration, Instant};

use harness::{Api, Config, Server, User};

use crate::load::{Until, send};
use crate::options::Options;
use crate::process::memory;
use crate::report::{Report, Target, median, number};

/// How long a server is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(5);

/// The memory of a server on which one user signed in and synced.
pub(crate) async fn idle_memory(options: &Options, report: &mut Report) {
    let folder = options.new_folder();
    // As an operator has it: passwords are hashed with full effort.
    let mut server = Server::on(folder.path(), Config::default());
    let user = server.api().register("idle").await;
    user.public_room().await;
    let (mut sizes, mut first) = (Vec::new(), Vec::new());
    for _ in 0..options.runs() {
        server.restart();
        first_answer(&server.api()).await;
        first.push(memory(server.process_id()));
        let user = server.api().login(&user.user_id).await;
        user.sync().await;
        tokio::time::sleep(SETTLE).await;
        sizes.push(memory(server.process_id()));
    }
    report.add(
        "Idle memory after a login and a sync (PSS)",
        "MiB",
        Target::AtMost(40.0),
        &sizes,
        format!("{} MiB before the login", number(median(&first))),
    );
}

/// From the start of the process to its first answer, after a clean stop and after
/// `kill -9` in the middle of sends.
pub(crate) async fn start_up(
    options: &Options,
    report: &mut Report,
    mut server: Server,
    (users, rooms): (&[User], &[String]),
    mut events: u64,
) {
    let mut clean = Vec::new();
    eprintln!("measuring starts");
    let disk = disk_use(&server);
    for _ in 0..options.runs() {
        server.stop();
        clean.push(start(&mut server).await);
    }
    let (mut killed, mut size) = (Vec::new(), 0.0);
    for _ in 0..options.runs() {
        events += send_and_kill(options, &mut server, users, rooms).await;
        killed.push(start(&mut server).await);
        size = memory(server.process_id());
    }
    report.add(
        "Disk after compaction / canonical bytes",
        "",
        Target::AtMost(1.2),
        &[disk.0],
        disk.1,
    );
    let target = Target::AtMost(0.5);
    let name = format!("Start-up with {} events", number(options.events() as f64));
    let note = format!("{} events in the end", number(events as f64));
    report.add(
        format!("{name}, after a clean stop"),
        "s",
        target,
        &clean,
        "",
    );
    let note = format!("{note}, PSS then {} MiB", number(size));
    report.add(
        format!("{name}, after kill -9 while 64 send"),
        "s",
        target,
        &killed,
        note,
    );
}

/// What the database takes on disk after a compaction, for each byte of the events'
/// canonical JSON; and a note with both.
fn disk_use(server: &Server) -> (f64, String) {
    let shown = server.cairn_json(&["database", "compact"]);
    let size = |name: &str| shown[name].as_f64().expect("a size") / f64::from(1 << 20);
    let (disk, events) = (size("disk_bytes"), size("canonical_bytes"));
    let note = format!(
        "{} MiB, {} MiB of it write-ahead log; {} events of {} MiB",
        number(disk),
        number(size("write_ahead_log_bytes")),
        number(shown["events"].as_f64().expect("a number")),
        number(events)
    );
    (disk / events, note)
}

/// Kills the server while all users send; gives how much it had acknowledged.
async fn send_and_kill(
    options: &Options,
    server: &mut Server,
    users: &[User],
    rooms: &[String],
) -> u64 {
    let killer = std::process::Command::new("sh")
        .args([
            "-c",
            &format!(
                "sleep {}; kill -9 {}",
                options.sending().as_secs(),
                server.process_id()
            ),
        ])
        .spawn();
    let longest = options.sending() + Duration::from_secs(10);
    let sent = send(server, users, rooms, Until::Broken(longest)).await;
    killer.expect("kill").wait().expect("kill's end");
    server.kill9();
    sent.count
}

/// Starts the server again; gives the seconds until its first answer.
async fn start(server: &mut Server) -> f64 {
    let before = Instant::now();
    server.restart();
    first_answer(&server.api()).await;
    before.elapsed().as_secs_f64()
}

/// Waits until the server answers a request, over a connection of its own.
pub(crate) async fn first_answer(api: &Api) {
    api.get("versions").await.ok();
}
