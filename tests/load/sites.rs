//! The servers that are loaded, and what they take of the machine.

use std::path::{Path, PathBuf};

use harness::{Api, Config, Server};
use measuring::process::{cpu_time, family, memory, written};

use crate::options::{Options, Which};
use crate::synapse::Synapse;

/// A running server.
pub(crate) struct Site {
    name: String,
    url: String,
    kind: Kind,
}

enum Kind {
    Cairn(Server),
    Synapse(Synapse),
    /// Its process, if that is known.
    Elsewhere(Option<u32>),
}

/// What a server took of the machine until now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    /// Processor time, in milliseconds.
    pub(crate) cpu: f64,
    /// Bytes that were written to disks.
    pub(crate) written: u64,
}

impl Site {
    /// Starts the server, or finds it.
    pub(crate) async fn start(which: &Which, options: &Options) -> Self {
        let kind = match which {
            Which::Cairn => Kind::Cairn(cairn()),
            Which::SynapseSqlite => Kind::Synapse(Synapse::with_sqlite(&options.cache).await),
            Which::SynapsePostgres => Kind::Synapse(Synapse::with_postgres(&options.cache).await),
            Which::At(_, process) => Kind::Elsewhere(*process),
        };
        let url = match (&kind, which) {
            (Kind::Cairn(server), _) => server.url(),
            (Kind::Synapse(synapse), _) => synapse.url(),
            (_, Which::At(url, _)) => url.trim_end_matches('/').to_owned(),
            (Kind::Elsewhere(_), _) => String::new(),
        };
        Self {
            name: which.name().to_owned(),
            url,
            kind,
        }
    }

    /// Starts Cairn again: what it had only in memory is in files then.
    pub(crate) fn restart(&mut self) {
        if let Kind::Cairn(server) = &mut self.kind {
            server.restart();
        }
    }

    /// Its name in the report.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Requests to it.
    pub(crate) fn api(&self) -> Api {
        Api::new(&self.url)
    }

    /// Its processes, those of its database included.
    fn processes(&self) -> Vec<u32> {
        match &self.kind {
            Kind::Cairn(server) => family(server.process_id()),
            Kind::Synapse(synapse) => synapse.processes(),
            Kind::Elsewhere(process) => process.iter().flat_map(|one| family(*one)).collect(),
        }
    }

    /// What it took so far.
    pub(crate) fn taken(&self) -> Taken {
        let processes = self.processes();
        Taken {
            cpu: processes.iter().map(|process| cpu_time(*process)).sum(),
            written: processes.iter().map(|process| written(*process)).sum(),
        }
    }

    /// Its memory (PSS), in MiB.
    pub(crate) fn memory(&self) -> f64 {
        self.processes().into_iter().map(memory).sum()
    }

    /// The bytes of its data on disk; none where that is not known.
    pub(crate) fn disk_use(&self) -> Option<u64> {
        match &self.kind {
            Kind::Cairn(server) => Some(size_of(&server.data_dir())),
            Kind::Synapse(synapse) => Some(synapse.folders().iter().map(|it| size_of(it)).sum()),
            Kind::Elsewhere(_) => None,
        }
    }
}

/// Starts Cairn. Registering many people is quick: their passwords are hashed with little
/// effort, as Synapse's are.
fn cairn() -> Server {
    let hashing = "[accounts]\npassword_hash_memory = 64\npassword_hash_passes = 1\n";
    Server::with(Config {
        more: format!("{hashing}\n[media]\nmax_files_per_user = 0\n"),
        ..Config::default()
    })
}

/// The bytes that the files in a folder take on disk.
fn size_of(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes += metadata.blocks() * 512,
                // Removed meanwhile.
                Err(_) => {}
            }
        }
    }
    bytes
}
