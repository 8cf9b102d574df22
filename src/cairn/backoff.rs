//! How long a server waits that ends again and again soon after it has begun.
//!
//! A service manager starts it anew after a moment, for ever. Only from version 254 on systemd takes
//! longer each time, so the server counts by itself, in a folder that the manager keeps from one start to
//! the next (`RuntimeDirectory=` with `RuntimeDirectoryPreserve=restart`) and removes when it is
//! stopped.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::systemd::Manager;

/// Whoever has run for so long has not failed to start.
const STEADY: u64 = 600;
/// The longest wait, in seconds.
const LONGEST: u64 = 300;

/// What is kept from one start to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Trial {
    /// How often in a row the server ended soon after it had begun.
    failures: u32,
    /// When it began, or is to begin: seconds since the machine started.
    begins: u64,
}

impl Trial {
    /// The trial after `last`, and how many seconds it has to wait. Where something was
    /// `mended` in between, it begins at once.
    fn after(last: Option<Self>, now: u64, mended: bool) -> (Self, u64) {
        let failures = match last {
            // Nothing but a hand ends a server while it waits.
            Some(last) if !mended && (last.begins..last.begins + STEADY).contains(&now) => {
                last.failures.saturating_add(1)
            }
            _ => 0,
        };
        // 0, 0, 2, 6, 14 s and so on: the first crash costs nobody a wait.
        let wait = match failures {
            0 => 0,
            failures => (1_u64 << failures.min(10)) - 2,
        };
        let wait = wait.min(LONGEST);
        let begins = now + wait;
        (Self { failures, begins }, wait)
    }
}

/// The server's trials to start.
pub(crate) struct Backoff {
    /// None where nobody keeps a folder for it.
    file: Option<PathBuf>,
}

impl Backoff {
    /// Those of the service manager's folder, as the environment names it.
    pub(crate) fn from_environment() -> Self {
        let folders = std::env::var_os("RUNTIME_DIRECTORY");
        let first = folders.and_then(|folders| std::env::split_paths(&folders).next());
        Self {
            file: first.map(|folder| folder.join("trial.json")),
        }
    }

    /// Waits, if the server has ended soon after each of its last starts. A configuration or a
    /// program that is newer than the last start is tried at once.
    pub(crate) fn wait(&self, config: &Path, manager: &Manager) {
        let Some(file) = &self.file else {
            return;
        };
        let last = read(file);
        let told = changed(file);
        let program = std::env::current_exe().ok();
        let mended = [Some(config), program.as_deref()]
            .into_iter()
            .flatten()
            .any(|path| changed(path) > told);
        let (trial, wait) = Trial::after(last, since_boot(), mended);
        if let Err(error) = write(file, trial) {
            eprintln!("{} cannot be written: {error}", file.display());
        }
        if wait == 0 {
            return;
        }
        let why = format!(
            "ended {} times soon after it began: waiting {wait} s before the next start",
            trial.failures
        );
        manager.status(&why);
        eprintln!("the server {why}; `systemctl restart` starts it at once");
        std::thread::sleep(Duration::from_secs(wait));
    }

    /// The server was told to stop: the next start is the first.
    pub(crate) fn end(&self) {
        let Some(file) = &self.file else {
            return;
        };
        match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                log::warn!("{} cannot be removed: {error}", file.display());
            }
            _ => {}
        }
    }
}

/// When a file was written last.
fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

/// What was kept; none if nothing can be read.
fn read(file: &Path) -> Option<Trial> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

fn write(file: &Path, trial: Trial) -> std::io::Result<()> {
    fs::write(file, serde_json::to_vec(&trial)?)
}

/// Seconds since the machine started; its clock may jump meanwhile.
fn since_boot() -> u64 {
    u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_in_a_row_doubles_the_wait() {
        let (mut last, mut now) = (None, 1_000);
        let mut waits = Vec::new();
        for _ in 0..12 {
            let (trial, wait) = Trial::after(last, now, false);
            waits.push(wait);
            // It runs for five seconds.
            now = trial.begins + 5;
            last = Some(trial);
        }
        assert_eq!(waits, [0, 0, 2, 6, 14, 30, 62, 126, 254, 300, 300, 300]);
    }

    #[test]
    fn who_ran_for_long_was_stopped_or_mended_begins_anew() {
        let last = Trial {
            failures: 6,
            begins: 1_000,
        };
        let first = |now| Trial {
            failures: 0,
            begins: now,
        };
        assert_eq!(Trial::after(Some(last), 1_600, false), (first(1_600), 0));
        assert_eq!(Trial::after(Some(last), 1_599, false).0.failures, 7);
        // It was ended while it waited.
        assert_eq!(Trial::after(Some(last), 999, false), (first(999), 0));
        assert_eq!(Trial::after(Some(last), 1_001, true), (first(1_001), 0));
        assert_eq!(Trial::after(None, 7, false), (first(7), 0));
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trial.json");
        assert_eq!(read(&file), None);
        let (trial, _) = Trial::after(None, 77, false);
        write(&file, trial).unwrap();
        assert_eq!(read(&file), Some(trial));
        let backoff = Backoff {
            file: Some(file.clone()),
        };
        backoff.end();
        assert!(!file.exists());
        backoff.end();
        fs::write(&file, "{").unwrap();
        assert_eq!(read(&file), None);
    }
}
