//! The results as Markdown tables.

use std::collections::BTreeMap;

use measuring::statistics::{median, number, percentile};

use crate::driving::Measured;
use crate::options::{Options, Which};
use crate::sites::Site;
use crate::world::World;

/// What Cairn must be better by than Synapse with PostgreSQL.
struct Aim {
    scenario: &'static str,
    what: Quantity,
    /// At least so many times.
    times: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    Rate,
    Cpu,
    Memory,
    Disk,
}

const AIMS: [Aim; 7] = [
    Aim::new("sends-in-many-rooms", Quantity::Rate, 45.0),
    Aim::new("sends-in-many-rooms", Quantity::Cpu, 90.0),
    Aim::new("delivery", Quantity::Cpu, 90.0),
    Aim::new("first-sync", Quantity::Cpu, 50.0),
    Aim::new("first-sliding-sync", Quantity::Cpu, 25.0),
    Aim::new("", Quantity::Memory, 3.0),
    Aim::new("", Quantity::Disk, 3.0),
];

impl Aim {
    const fn new(scenario: &'static str, what: Quantity, times: f64) -> Self {
        Self {
            scenario,
            what,
            times,
        }
    }
}

/// What a server is like after everything.
struct End {
    memory: f64,
    /// Bytes on disk for each message.
    disk: Option<f64>,
}

/// Everything that was measured.
pub(crate) struct Report {
    /// In the order in which they are loaded.
    servers: Vec<String>,
    scenarios: Vec<&'static str>,
    turns: BTreeMap<(&'static str, String), Vec<Measured>>,
    ends: BTreeMap<String, End>,
    alone: Vec<String>,
    head: String,
}

impl Report {
    /// Nothing measured yet.
    pub(crate) fn new(options: &Options) -> Self {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        Self {
            servers: options
                .servers
                .iter()
                .map(|server| server.name().to_owned())
                .collect(),
            scenarios: Vec::new(),
            turns: BTreeMap::new(),
            ends: BTreeMap::new(),
            alone: Vec::new(),
            head: format!(
                "{} turns of {} s each, {processors} processors shared with the load, {} other \
                 processes wanted to run when it began (load average); {} people, {} rooms of {} \
                 members and {} messages.",
                options.turns,
                options.turn.as_secs_f64(),
                load.split(' ').next().unwrap_or_default(),
                options.size.people,
                options.size.rooms,
                options.size.members,
                options.size.messages
            ),
        }
    }

    /// Adds a turn.
    pub(crate) fn add(&mut self, scenario: &'static str, server: &str, measured: Measured) {
        if let Some(error) = &measured.first_error {
            eprintln!(
                "        {} errors, the first: {error:.300}",
                measured.errors
            );
        }
        if !self.scenarios.contains(&scenario) {
            self.scenarios.push(scenario);
        }
        let turns = self.turns.entry((scenario, server.to_owned()));
        turns.or_default().push(measured);
    }

    /// Adds what a server is like after everything.
    pub(crate) fn add_end(&mut self, site: &Site, world: &World) {
        let disk = (world.sent > 0).then(|| world.grown as f64 / world.sent as f64);
        let end = End {
            memory: site.memory(),
            disk,
        };
        self.ends.insert(site.name().to_owned(), end);
    }

    /// Adds what was measured of Cairn alone: a value for each turn, at most `most`.
    pub(crate) fn add_alone(
        &mut self,
        name: String,
        unit: &str,
        most: f64,
        values: &[f64],
        note: String,
    ) {
        let middle = median(values);
        let verdict = if middle <= most { "pass" } else { "MISS" };
        let line = format!(
            "| {name} | ≤ {} {unit} | {} {unit} | {verdict} | {note} |",
            number(most),
            number(middle)
        );
        eprintln!("{line}");
        self.alone.push(line);
    }

    fn turns(&self, scenario: &'static str, server: &str) -> &[Measured] {
        let turns = self.turns.get(&(scenario, server.to_owned()));
        turns.map_or(&[], Vec::as_slice)
    }

    /// The median of a value over the turns.
    fn middle(
        &self,
        scenario: &'static str,
        server: &str,
        value: impl Fn(&Measured) -> f64,
    ) -> f64 {
        let values: Vec<f64> = self.turns(scenario, server).iter().map(value).collect();
        median(&values)
    }

    /// How many times better the first server is than `other`.
    fn times(&self, aim: &Aim, other: &str) -> f64 {
        let first = self.servers.first().map_or("", String::as_str);
        let of = |server: &str| match aim.what {
            Quantity::Rate => self.middle(aim.scenario, server, rate),
            Quantity::Cpu => self.middle(aim.scenario, server, cost),
            Quantity::Memory => self.ends.get(server).map_or(f64::NAN, |end| end.memory),
            Quantity::Disk => {
                let disk = self.ends.get(server).and_then(|end| end.disk);
                disk.unwrap_or(f64::NAN)
            }
        };
        match aim.what {
            Quantity::Rate => of(first) / of(other),
            _ => of(other) / of(first),
        }
    }

    /// Prints all tables.
    pub(crate) fn print(&self) {
        println!("{}\n", self.head);
        if !self.scenarios.is_empty() {
            self.print_turns();
            self.print_ends();
            self.print_ratios();
            self.print_aims();
        }
        if !self.alone.is_empty() {
            println!("\n| Cairn alone | Target | Median | | Beside it |\n|---|---|---|---|---|");
            for line in &self.alone {
                println!("{line}");
            }
        }
    }

    fn print_turns(&self) {
        println!(
            "| Load | Server | A second | p50 | p95 | p99 | max | Errors | CPU each | Memory | \
             Written each |\n|---|---|---|---|---|---|---|---|---|---|---|"
        );
        for scenario in &self.scenarios {
            for server in &self.servers {
                let turns = self.turns(scenario, server);
                let middle =
                    |value: fn(&Measured) -> f64| number(self.middle(scenario, server, value));
                let errors: u64 = turns.iter().map(|turn| turn.errors).sum();
                println!(
                    "| {scenario} | {server} | {} | {} ms | {} ms | {} ms | {} ms | {errors} | \
                     {} ms | {} MiB | {} KiB |",
                    middle(rate),
                    middle(|turn| percentile(&turn.latencies, 50)),
                    middle(|turn| percentile(&turn.latencies, 95)),
                    middle(|turn| percentile(&turn.latencies, 99)),
                    middle(|turn| percentile(&turn.latencies, 100)),
                    middle(cost),
                    middle(|turn| turn.memory),
                    middle(|turn| turn.written as f64 / 1_024.0 / turn.operations as f64),
                );
            }
        }
    }

    fn print_ends(&self) {
        println!("\n| After everything | Memory (PSS) | Disk for each message |\n|---|---|---|");
        for server in &self.servers {
            if let Some(end) = self.ends.get(server) {
                let disk = end.disk.map_or("unknown".to_owned(), |bytes| {
                    format!("{} bytes", number(bytes))
                });
                println!("| {server} | {} MiB | {disk} |", number(end.memory));
            }
        }
    }

    /// How the first server stands to each of the others.
    fn print_ratios(&self) {
        let Some((first, others)) = self.servers.split_first() else {
            return;
        };
        for other in others {
            println!("\n| {first} beside {other} | Times as many a second | Of its CPU each |");
            println!("|---|---|---|");
            for scenario in &self.scenarios {
                let more = self.times(&Aim::new(scenario, Quantity::Rate, 0.0), other);
                let less = self.times(&Aim::new(scenario, Quantity::Cpu, 0.0), other);
                println!("| {scenario} | {} | 1/{} |", number(more), number(less));
            }
        }
    }

    fn print_aims(&self) {
        let other = Which::SynapsePostgres.name();
        if !self.servers.iter().any(|server| server == other) {
            return;
        }
        println!("\n| Against {other} | Target | Measured | |\n|---|---|---|---|");
        for aim in &AIMS {
            let measured = self.times(aim, other);
            let (what, sign) = match aim.what {
                Quantity::Rate => ("as many a second", ""),
                Quantity::Cpu => ("of its CPU each", "1/"),
                Quantity::Memory => ("of its memory after everything", "1/"),
                Quantity::Disk => ("of its disk for each message", "1/"),
            };
            // What stands for everything has no scenario.
            println!(
                "| {} | {sign}{} | {sign}{} | {} |",
                format!("{} {what}", aim.scenario).trim_start(),
                number(aim.times),
                number(measured),
                if measured >= aim.times {
                    "pass"
                } else {
                    "MISS"
                },
            );
        }
    }
}

/// Successes a second.
fn rate(measured: &Measured) -> f64 {
    measured.operations as f64 / measured.seconds
}

/// The server's processor time for each success, in milliseconds.
fn cost(measured: &Measured) -> f64 {
    measured.cpu / measured.operations as f64
}
