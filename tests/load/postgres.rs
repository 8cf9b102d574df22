//! A PostgreSQL of Debian's package, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::run;
use tempfile::TempDir;

/// Whom PostgreSQL runs as where this program is root, whom it refuses.
const USER: &str = "postgres";
/// The longest it may take until it answers.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// A running PostgreSQL; stopped and removed when dropped.
pub(crate) struct Postgres {
    folder: TempDir,
    process: Child,
}

impl Postgres {
    /// Makes a database and starts a server for it, which listens on a socket in its folder.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("postgres-load-")
            .tempdir()
            .expect("a folder for the database");
        let programs = programs();
        give_away(folder.path());
        let data = folder.path().join("data");
        run(as_user(&programs.join("initdb"))
            .args(["-E", "UTF8", "--locale=C", "-A", "trust", "-U", USER, "-D"])
            .arg(&data));
        let process = as_user(&programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses="])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("PostgreSQL's process");
        let postgres = Self { folder, process };
        postgres.wait(&programs);
        run(as_user(&programs.join("createdb"))
            .arg("-h")
            .arg(postgres.folder.path())
            .args(["-U", USER, "synapse"]));
        postgres
    }

    fn wait(&self, programs: &Path) {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let ready = as_user(&programs.join("pg_isready"))
                .arg("-q")
                .arg("-h")
                .arg(self.folder.path())
                .status();
            if ready.is_ok_and(|status| status.success()) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "PostgreSQL does not answer within {START_DEADLINE:?}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The folder of its socket and its data.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its first process, from which the others descend.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Who may do everything in it.
    pub(crate) fn user(&self) -> &'static str {
        USER
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // What is interrupted stops at once, and takes its children along.
        let _ = Command::new("kill")
            .args(["-QUIT", &self.process.id().to_string()])
            .status();
        let _ = self.process.wait();
    }
}

/// The folder of the newest version's programs.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs
                .join("initdb")
                .exists()
                .then_some((version, programs))
        })
        .collect();
    found.sort();
    let newest = found.pop().map(|(_, programs)| programs);
    newest.expect("PostgreSQL in /usr/lib/postgresql (.ci/install-dependencies load)")
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// A program as a user whom PostgreSQL takes.
fn as_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"])
        .arg(program)
        .current_dir("/");
    command
}

/// Makes a folder PostgreSQL's.
fn give_away(folder: &Path) {
    if is_root() {
        run(Command::new("chown")
            .arg(format!("{USER}:{USER}"))
            .arg(folder));
    }
}
