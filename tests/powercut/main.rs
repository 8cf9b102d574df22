//! Power cuts and kills at any instant: everything acknowledged is still there.
//!
//! The power-cut story runs a server under `strace` and a load of operations of every
//! kind. The recording tells each write and each sync of the data folder with its
//! time. From it the folder is built again as a disk may hold it after a power cut at
//! any instant: everything that was synced, and of the rest a random beginning, cut at
//! any byte. A server is started on each such folder, and everything that had been
//! acknowledged by then must be there.
//!
//! `POWERCUT_SEED` repeats a run's choices; the seed is printed when a run fails.
//! `POWERCUT_CUTS` and `POWERCUT_KILLS` are how many there are (`make kills`).

mod chance;
mod check;
mod disk;
mod load;
mod recording;

use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chance::Chance;
use harness::{Config, Registration, Server};
use load::{Ledger, People};

/// At how many instants the power is cut, unless `POWERCUT_CUTS` says it.
const CUTS: usize = 50;
/// How many operations are acknowledged before the first cut, at least.
const BEFORE_THE_FIRST_CUT: usize = 1_000;
/// How many operations are acknowledged before the load ends.
const ALTOGETHER: usize = 4_000;
/// How many operations are under way at each cut, at least.
const IN_FLIGHT: usize = 20;
/// How often the server is killed in the story of kills, unless `POWERCUT_KILLS` says it.
const KILLS: usize = 10;
/// How often one server is killed: all that it ever acknowledged is looked for each time.
const ON_ONE: usize = 20;

/// The number in a variable of the environment, or else `usual`.
fn times(variable: &str, usual: usize) -> usize {
    match std::env::var(variable) {
        Ok(number) => number.parse().expect("a number of times"),
        Err(_) => usual,
    }
}

/// The configuration on the folders after a cut: invitations can be asked about.
fn by_invitation() -> Config {
    Config {
        registration: Registration::Invite,
        ..Config::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_in_a_power_cut() {
    let mut chance = Chance::new();
    let mut server = Server::start();
    let people = People::gather(&server).await;
    server.stop();
    let before = disk::Disk::read(&server.data_dir());

    let folder = tempfile::tempdir().expect("a folder for the recording");
    let trace = folder.path().join("trace");
    server.restart_under(&recording::command(&trace));
    let ledger = load::run(&server, &people, &mut chance, ALTOGETHER).await;
    server.kill9();
    let recording = recording::read(&trace, &server.data_dir()).await;
    assert!(
        ledger.acknowledged() >= ALTOGETHER,
        "only {} operations were acknowledged",
        ledger.acknowledged()
    );
    eprintln!(
        "{} operations acknowledged, {} writes, {} syncs and {} new files recorded",
        ledger.acknowledged(),
        recording.writes(),
        recording.syncs(),
        recording.files()
    );

    for number in 0..times("POWERCUT_CUTS", CUTS) {
        let instant = instant_of_a_cut(&ledger, &mut chance);
        let image = tempfile::tempdir().expect("a folder for the image");
        let lost = before
            .after(&recording, instant, &mut chance)
            .write(&image.path().join("data"));
        let what = format!(
            "cut {number} with {} acknowledged and {} in flight, {lost} bytes lost, {}",
            ledger.acknowledged_by(instant),
            ledger.in_flight_at(instant),
            chance.name(),
        );
        eprintln!("{what}");
        start_and_check(image.path(), &people, &ledger, instant, &what).await;
    }
}

/// An instant after enough was acknowledged, with enough under way.
fn instant_of_a_cut(ledger: &Ledger, chance: &mut Chance) -> f64 {
    let (first, last) = ledger.window(BEFORE_THE_FIRST_CUT);
    for _ in 0..100_000 {
        let instant = first + (last - first) * chance.fraction();
        if ledger.in_flight_at(instant) >= IN_FLIGHT {
            return instant;
        }
    }
    panic!("there are never {IN_FLIGHT} operations under way");
}

async fn start_and_check(
    folder: &Path,
    people: &People,
    ledger: &Ledger,
    instant: f64,
    what: &str,
) {
    let server = Server::on(folder, by_invitation());
    let missing = check::missing(&server, people, ledger, instant).await;
    if !missing.is_empty() {
        let kept = tempfile::tempdir().expect("a folder to keep").keep();
        let _ = Command::new("cp").arg("-r").arg(folder).arg(&kept).status();
        panic!(
            "{what}: lost {} operations, the folder is in {}:\n{}",
            missing.len(),
            kept.display(),
            missing.into_iter().take(20).collect::<Vec<_>>().join("\n"),
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let mut chance = Chance::new();
    let kills = times("POWERCUT_KILLS", KILLS);
    for first in (0..kills).step_by(ON_ONE) {
        let last = kills.min(first + ON_ONE);
        killed_again_and_again(first..last, &mut chance).await;
        println!("{last} kills");
    }
}

/// Kills one server so often; after each time everything that was ever acknowledged is there.
async fn killed_again_and_again(kills: Range<usize>, chance: &mut Chance) {
    let mut server = Server::start();
    let people = People::gather(&server).await;
    let mut ledger = Ledger::default();
    let backups = tempfile::tempdir().expect("a folder for backups");
    for kill in kills {
        // Some kills come in the middle of it.
        let backup = begin_backup(&server, backups.path());
        let (_, more) = tokio::join!(
            async {
                // The load ends by itself when the server is gone.
                let wait = Duration::from_millis(500 + chance.below(1_500));
                tokio::time::sleep(wait).await;
                tokio::task::block_in_place(|| server_kill(&server));
            },
            load::until_it_breaks(&server, &people, 7 + kill as u64),
        );
        ledger.extend(more);
        tokio::task::block_in_place(|| {
            server.kill9();
            let ended = backup.wait_with_output();
            assert!(ended.is_ok(), "the backup's end");
            server.restart();
        });
        let missing = check::missing_now(&server, &people, &ledger).await;
        assert!(
            missing.is_empty(),
            "kill {kill}, {} acknowledged: lost {}:\n{}",
            ledger.acknowledged(),
            missing.len(),
            missing.into_iter().take(20).collect::<Vec<_>>().join("\n"),
        );
        ledger.hand_over();
    }
    assert!(
        ledger.acknowledged() >= BEFORE_THE_FIRST_CUT,
        "{}",
        ledger.acknowledged()
    );
    let folder = backups.path().to_str().expect("a path");
    for words in [["backup", "create", folder], ["backup", "verify", folder]] {
        let output = tokio::task::block_in_place(|| server.cairn(&words));
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
}

/// Begins a backup of the running server into a folder, where earlier ones may be.
fn begin_backup(server: &Server, folder: &Path) -> Child {
    Command::new(Server::binary())
        .args(["backup", "create"])
        .arg(folder)
        .arg("--config")
        .arg(server.config_file())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the backup's process")
}

/// Kills the server's process; it is waited for later.
fn server_kill(server: &Server) {
    let killed = Command::new("sh")
        .args(["-c", &format!("kill -KILL {}", server.process_id())])
        .status();
    assert!(killed.is_ok_and(|status| status.success()));
}
