//! Sends: how many a second, what each costs, how long one takes; and the start of a
//! server that holds what was sent.

use std::time::{Duration, Instant};

use harness::{Server, User};

use crate::disk::{self, Pace};
use crate::load::{Sent, Until, send};
use crate::options::{Measure, Options};
use crate::report::{Report, Target, median, number, percentile_99};
use crate::{people, starts};

/// How many send at the same time.
const SENDERS: usize = 64;
/// Sends a second in many rooms that are always enough.
const ENOUGH: f64 = 3_000.0;
/// Sends a second in many rooms for each synced write that the disk does alone.
const SENDS_PER_SYNC: f64 = 10.0;
/// Sends before the first run, in which caches fill.
const WARM_UP: u64 = 1_000;
/// How long the one sender and the disk take turns.
const TURN: Duration = Duration::from_millis(100);

/// Measures what the options want of sends and starts.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    let wanted = [
        Measure::SendsInManyRooms,
        Measure::SendsInOneRoom,
        Measure::OneSender,
        Measure::StartUp,
    ];
    if !wanted.iter().any(|measure| options.wants(*measure)) {
        return;
    }
    let folder = options.new_folder();
    let server = people::start(folder.path());
    let users = people::register(&server, "sender", SENDERS).await;
    let rooms = people::room_for_each(&users).await;
    let mut sent = send(&server, &users, &rooms, Until::Sent(WARM_UP))
        .await
        .count;
    if options.wants(Measure::OneSender) {
        sent += one_sender(options, report, &server, &users[..1], &rooms[..1]).await;
    }
    if options.wants(Measure::SendsInManyRooms) {
        let runs = runs(options, &server, &users, &rooms).await;
        let paces: Vec<f64> = runs.iter().map(|(_, pace)| pace.rate).collect();
        let target = ENOUGH.min(SENDS_PER_SYNC * median(&paces));
        add_rates(report, "64 senders in 64 rooms", target, &runs);
        sent += total(&runs);
    }
    if options.wants(Measure::SendsInOneRoom) {
        let shared = [people::shared_room(&users).await];
        let runs = runs(options, &server, &users, &shared).await;
        add_rates(report, "64 senders in one room", 2_000.0, &runs);
        sent += total(&runs);
    }
    if options.wants(Measure::StartUp) {
        let missing = options.events().saturating_sub(sent);
        eprintln!("{sent} events were sent; {missing} more for the start");
        if missing > 0 {
            sent += send(&server, &users, &rooms, Until::Sent(missing))
                .await
                .count;
        }
        starts::start_up(options, report, server, (&users, &rooms), sent).await;
    }
}

/// Runs with the disk's pace about each.
async fn runs(
    options: &Options,
    server: &Server,
    users: &[User],
    rooms: &[String],
) -> Vec<(Sent, Pace)> {
    eprintln!("measuring {} senders, rooms: {}", users.len(), rooms.len());
    let pace = || Pace::measure(&server.data_dir(), options.disk_time());
    let mut before = pace();
    let mut runs = Vec::new();
    for _ in 0..options.runs() {
        let sent = send(server, users, rooms, Until::Elapsed(options.sending())).await;
        let after = pace();
        runs.push((sent, Pace::between(before, after)));
        before = after;
    }
    runs
}

/// Adds the rate and the CPU time of sends.
fn add_rates(report: &mut Report, name: &str, target: f64, runs: &[(Sent, Pace)]) {
    let of = |value: fn(&Sent) -> f64| -> Vec<f64> {
        runs.iter().map(|(sent, _)| value(sent)).collect()
    };
    let paces: Vec<f64> = runs.iter().map(|(_, pace)| pace.rate).collect();
    let latencies: Vec<f64> = runs
        .iter()
        .flat_map(|(sent, _)| sent.latencies.clone())
        .collect();
    report.add(
        format!("{name}: acknowledged sends"),
        "/s",
        Target::AtLeast(target),
        &of(Sent::rate),
        format!(
            "disk alone: {} synced writes/s; a send takes {} ms, 99 % under {} ms",
            number(median(&paces)),
            number(median(&latencies)),
            number(percentile_99(&latencies)),
        ),
    );
    report.add(
        format!("{name}: server CPU a send"),
        "ms",
        Target::AtMost(0.25),
        &of(Sent::cpu_per_send),
        format!(
            "the load: {} % of one processor",
            number(median(&of(Sent::load_share)))
        ),
    );
}

/// The median time of one sender's sends, in synced writes of the disk alone. Gives how
/// many were sent.
///
/// Sender and disk take short turns, and each turn is compared with its neighbour: a disk
/// that others use as well may be ten times slower in one second than in the next.
async fn one_sender(
    options: &Options,
    report: &mut Report,
    server: &Server,
    users: &[User],
    rooms: &[String],
) -> u64 {
    let (mut ratios, mut sends, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut cpu, mut sent) = (0.0, 0);
    eprintln!("measuring the sends of one sender");
    for _ in 0..options.runs() {
        let mut turns = Vec::new();
        let start = Instant::now();
        while start.elapsed() < 2 * options.sending() {
            let sync = median(&disk::synced_writes(&server.data_dir(), TURN));
            let turn = send(server, users, rooms, Until::Elapsed(TURN)).await;
            cpu += turn.server_cpu;
            sent += turn.count;
            let send = median(&turn.latencies);
            turns.push(send / sync);
            sends.push(send);
            syncs.push(sync);
        }
        ratios.push(median(&turns));
    }
    report.add(
        "One sender: time of a send",
        "disk syncs",
        Target::AtMost(1.5),
        &ratios,
        format!(
            "a send takes {} ms, a synced write of the disk alone {} ms; server CPU {} ms a send",
            number(median(&sends)),
            number(median(&syncs)),
            number(cpu / sent as f64),
        ),
    );
    sent
}

fn total(runs: &[(Sent, Pace)]) -> u64 {
    runs.iter().map(|(sent, _)| sent.count).sum()
}
