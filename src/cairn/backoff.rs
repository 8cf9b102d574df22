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

/// Whoever has run for so long, in seconds, has not failed to start.
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
    /// When the configuration or the program was changed last: nanoseconds since 1970.
    changed: u64,
}

impl Trial {
    /// Whether it began, and has not run for long.
    fn has_just_begun(self, now: u64) -> bool {
        now.checked_sub(self.begins).is_some_and(|ran| ran < STEADY)
    }

    /// The trial after `last`, and how many seconds it has to wait. Where something was
    /// changed in between, it begins at once.
    fn after(last: Option<Self>, now: u64, changed: u64) -> (Self, u64) {
        let failures = match last {
            // Nothing but a hand ends a server while it waits.
            Some(last) if last.changed == changed && last.has_just_begun(now) => {
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
        let trial = Self {
            failures,
            begins,
            changed,
        };
        (trial, wait)
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

    /// Waits, if the server has ended soon after each of its last starts. Another configuration or
    /// program than at the last start is tried at once.
    pub(crate) fn wait(&self, config: &Path, manager: &Manager) {
        let Some(file) = &self.file else {
            return;
        };
        let program = std::env::current_exe().ok();
        let parts = [Some(config), program.as_deref()];
        let newest = parts.into_iter().flatten().map(changed).max().unwrap_or(0);
        let (trial, wait) = Trial::after(read(file), since_boot(), newest);
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

/// When a file was written last: nanoseconds since 1970, 0 if that is not known.
fn changed(path: &Path) -> u64 {
    let written = fs::metadata(path).and_then(|data| data.modified()).ok();
    let since = written.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0))
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
            let (trial, wait) = Trial::after(last, now, 1);
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
            changed: 1,
        };
        let first = |now, changed| Trial {
            failures: 0,
            begins: now,
            changed,
        };
        assert_eq!(Trial::after(Some(last), 1_600, 1), (first(1_600, 1), 0));
        assert_eq!(Trial::after(Some(last), 1_599, 1).0.failures, 7);
        // It was ended while it waited.
        assert_eq!(Trial::after(Some(last), 999, 1), (first(999, 1), 0));
        assert_eq!(Trial::after(Some(last), 1_001, 2), (first(1_001, 2), 0));
        assert_eq!(Trial::after(None, 7, 1), (first(7, 1), 0));
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trial.json");
        assert_eq!(read(&file), None);
        let (trial, _) = Trial::after(None, 77, 1);
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
