//! What to load, and how long.

use std::path::PathBuf;
use std::time::Duration;

/// A server that can be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    /// The binary that `CAIRN_BINARY` names.
    Cairn,
    /// Synapse with its database in one file.
    SynapseSqlite,
    /// Synapse with PostgreSQL.
    SynapsePostgres,
    /// Whatever listens at this URL: registration must be open and rates unlimited. What it
    /// takes of the machine is counted where its process is named.
    At(String, Option<u32>),
}

impl Which {
    /// As it is called in the report.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Cairn => "Cairn",
            Self::SynapseSqlite => "Synapse (SQLite)",
            Self::SynapsePostgres => "Synapse (PostgreSQL)",
            Self::At(url, _) => url,
        }
    }
}

/// How much there is of everything.
#[derive(Debug, Clone)]
pub(crate) struct Size {
    /// Accounts, each with one device and a room of its own.
    pub(crate) people: usize,
    /// How many of them are in the lively rooms.
    pub(crate) members: usize,
    /// Rooms in which people have talked.
    pub(crate) rooms: usize,
    /// The messages in each of them.
    pub(crate) messages: usize,
}

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) servers: Vec<Which>,
    only: Vec<String>,
    /// Turns of each server in each scenario.
    pub(crate) turns: usize,
    /// How long a turn is.
    pub(crate) turn: Duration,
    pub(crate) size: Size,
    /// How long Cairn alone is loaded with everything, instead of all scenarios.
    pub(crate) soak: Option<Duration>,
    /// Where things are installed once.
    pub(crate) cache: PathBuf,
}

impl Options {
    /// Reads the command line; ends the process where it is wrong.
    pub(crate) fn from_arguments() -> Self {
        let mut options = Self {
            servers: Vec::new(),
            only: Vec::new(),
            turns: 5,
            turn: Duration::from_millis(500),
            size: Size {
                people: 32,
                members: 8,
                rooms: 20,
                messages: 20,
            },
            soak: None,
            cache: cache(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--long" => options.lengthen(),
                "--only" => options
                    .only
                    .push(arguments.next().unwrap_or_else(|| usage())),
                "--soak" => {
                    let seconds = arguments.next().and_then(|seconds| seconds.parse().ok());
                    let seconds = seconds.unwrap_or_else(|| usage());
                    options.soak = Some(Duration::from_secs(seconds));
                }
                "--cairn" => options.servers.push(Which::Cairn),
                "--synapse-sqlite" => options.servers.push(Which::SynapseSqlite),
                "--synapse-postgres" => options.servers.push(Which::SynapsePostgres),
                "--url" => {
                    let url = arguments.next().unwrap_or_else(|| usage());
                    options.servers.push(Which::At(url, None));
                }
                "--process" => {
                    let number = arguments.next().and_then(|number| number.parse().ok());
                    match (options.servers.last_mut(), number) {
                        (Some(Which::At(_, process)), Some(number)) => *process = Some(number),
                        _ => usage(),
                    }
                }
                _ => usage(),
            }
        }
        if options.servers.is_empty() {
            options.servers = vec![Which::Cairn, Which::SynapseSqlite, Which::SynapsePostgres];
        }
        options
    }

    fn lengthen(&mut self) {
        self.turns = 5;
        self.turn = Duration::from_secs(4);
        self.size = Size {
            people: 64,
            members: 10,
            rooms: 60,
            messages: 40,
        };
    }

    /// Whether this scenario is to be run.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// Whether this is to be measured, which concerns Cairn alone.
    pub(crate) fn wants_cairn_alone(&self, name: &str) -> bool {
        self.wants(name) && self.servers.contains(&Which::Cairn)
    }
}

/// The folder in the target folder in which tests keep what they install: `TARGET/tmp`, where
/// this program is `TARGET/TRIPLE/PROFILE/load`.
fn cache() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().nth(3).map(PathBuf::from);
    target.unwrap_or_else(std::env::temp_dir).join("tmp")
}

fn usage() -> ! {
    eprintln!(
        "load [--long] [--only SCENARIO]... [--cairn] [--synapse-sqlite] [--synapse-postgres]"
    );
    eprintln!("     [--url http://ADDRESS:PORT [--process NUMBER]] [--soak SECONDS]");
    eprintln!("  --long     five long turns of everything; without it five short ones");
    eprintln!("  --only     a scenario as the report names it, `pace` or `growth`");
    eprintln!("  --soak     so many seconds of everything on Cairn alone, and what is left of it");
    eprintln!("  --url      a server that runs already, with open registration and no limits");
    eprintln!("  --process  its process, whose times and memory are then counted");
    eprintln!("Without a server: Cairn, and Synapse with SQLite and with PostgreSQL.");
    std::process::exit(2);
}
