//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// 64 senders, each in a room of its own.
    SendsInManyRooms,
    /// 64 senders in the same room.
    SendsInOneRoom,
    /// One sender.
    OneSender,
    /// 100 waiting syncs in one room.
    Delivery,
    /// An incremental sync without news.
    NoChangeSync,
    /// The first sync of a user in 40 rooms.
    InitialSync,
    /// The first rooms of a room list.
    SlidingFirst,
    /// All rooms of a room list, with their timelines.
    SlidingAll,
    /// One message in one of many rooms, for a room list that waits.
    SlidingChange,
    /// The memory of a server on which next to nothing happened.
    IdleMemory,
    /// From the start of the process to its first answer.
    StartUp,
    /// Uploads and downloads of 10 KiB.
    SmallFiles,
    /// Downloads of 1 MiB, beside a plain file server.
    LargeFiles,
    /// The keys of 100 devices.
    KeyQuery,
    /// A one-time key of each of 100 devices.
    KeyClaim,
    /// A message to each of 100 devices.
    ToDevice,
    /// A page of a long timeline.
    Messages,
    /// The members of a large room.
    Members,
    /// The rooms of a space.
    Hierarchy,
    /// Coming into a room with many members, and going out.
    JoinAndLeave,
    /// Full-text search.
    Search,
    /// The administrators' list of rooms.
    RoomsList,
    /// Coming into a large room of another server.
    FederationJoin,
    /// Many events of another server.
    FederationIncoming,
    /// Forks of a large room that meet.
    FederationResolve,
    /// A table of 10,000 people, and lists of them.
    Administering,
    /// Cold starts, backups and restores with a million events. Only when it is asked for.
    Operating,
}

impl Measure {
    const ALL: [(&'static str, Self); 27] = [
        ("sends-in-many-rooms", Self::SendsInManyRooms),
        ("sends-in-one-room", Self::SendsInOneRoom),
        ("one-sender", Self::OneSender),
        ("delivery", Self::Delivery),
        ("no-change-sync", Self::NoChangeSync),
        ("initial-sync", Self::InitialSync),
        ("sliding-first", Self::SlidingFirst),
        ("sliding-all", Self::SlidingAll),
        ("sliding-change", Self::SlidingChange),
        ("idle-memory", Self::IdleMemory),
        ("start-up", Self::StartUp),
        ("small-files", Self::SmallFiles),
        ("large-files", Self::LargeFiles),
        ("key-query", Self::KeyQuery),
        ("key-claim", Self::KeyClaim),
        ("to-device", Self::ToDevice),
        ("messages", Self::Messages),
        ("members", Self::Members),
        ("hierarchy", Self::Hierarchy),
        ("join-and-leave", Self::JoinAndLeave),
        ("search", Self::Search),
        ("administering", Self::Administering),
        ("rooms-list", Self::RoomsList),
        ("operating", Self::Operating),
        ("federation-join", Self::FederationJoin),
        ("federation-incoming", Self::FederationIncoming),
        ("federation-resolve", Self::FederationResolve),
    ];
}

/// What to measure, and how long.
#[derive(Debug)]
pub(crate) struct Options {
    only: Vec<Measure>,
    folder: PathBuf,
    /// One short run of each, to see that everything works.
    pub(crate) quick: bool,
}

impl Options {
    /// Reads the command line; ends the process where it is wrong.
    pub(crate) fn from_arguments() -> Self {
        let mut options = Self {
            only: Vec::new(),
            folder: std::env::temp_dir(),
            quick: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--only" => {
                    let name = arguments.next().unwrap_or_default();
                    match Measure::ALL.iter().find(|(known, _)| *known == name) {
                        Some((_, measure)) => options.only.push(*measure),
                        None => usage(),
                    }
                }
                "--folder" => match arguments.next() {
                    Some(folder) => options.folder = folder.into(),
                    None => usage(),
                },
                _ => usage(),
            }
        }
        options
    }

    /// Whether this is to be measured.
    pub(crate) fn wants(&self, measure: Measure) -> bool {
        // It takes as long as all others together.
        let is_usual = measure != Measure::Operating;
        (self.only.is_empty() && is_usual) || self.only.contains(&measure)
    }

    /// How many runs each median comes from.
    pub(crate) fn runs(&self) -> usize {
        if self.quick { 1 } else { 5 }
    }

    /// How long the senders of one run send.
    pub(crate) fn sending(&self) -> Duration {
        Duration::from_secs(if self.quick { 2 } else { 5 })
    }

    /// How long the disk alone is measured each time.
    pub(crate) fn disk_time(&self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { 2 })
    }

    /// How many events the server that is started again holds.
    pub(crate) fn events(&self) -> u64 {
        if self.quick { 20_000 } else { 100_000 }
    }

    /// How many events a server holds on which an operator works.
    pub(crate) fn many_events(&self) -> u64 {
        if self.quick { 20_000 } else { 1_000_000 }
    }

    /// A new folder for a server's data; removed when dropped.
    pub(crate) fn new_folder(&self) -> TempDir {
        tempfile::Builder::new()
            .prefix("cairn-bench-")
            .tempdir_in(&self.folder)
            .expect("a folder for the data")
    }
}

fn usage() -> ! {
    eprintln!("bench [--quick] [--only MEASURE]... [--folder DIRECTORY]");
    eprintln!("  --quick   one short run of each measure");
    eprintln!("  --folder  where the data folders are made; default: the temporary folder");
    eprintln!("  --only    one of:");
    for (name, _) in Measure::ALL {
        eprintln!("              {name}");
    }
    std::process::exit(2);
}
