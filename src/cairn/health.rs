//! Whether the running server is well, and what an operator should look at.

use std::path::PathBuf;
use std::time::Duration;

use rooms::Rooms;
use runtime::{Clock, Stop};
use store::{Internals, Store, StoreError};
use web::{Health, Tls};

/// How long before its end a certificate is a reason to worry, in days.
const WORRY_DAYS: u64 = 14;
/// Unread records of the log from which on a reader is behind.
const FAR_BEHIND: u64 = 10_000;
/// How long a read of one row may take on a server that is well.
const PATIENCE: Duration = Duration::from_secs(10);
/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1_000;

/// What is looked at. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Overseer {
    pub(crate) store: Store,
    pub(crate) rooms: Rooms,
    pub(crate) data_dir: PathBuf,
    /// Free bytes below which no file is taken any more.
    pub(crate) reserved_bytes: u64,
    pub(crate) tls: Vec<Tls>,
    pub(crate) clock: Clock,
    pub(crate) stop: Stop,
}

impl Overseer {
    /// How the server is now.
    pub(crate) async fn health(&self) -> Health {
        let mut reasons = Vec::new();
        let failure = self.store.failure();
        if let Some(reason) = &failure {
            reasons.push(format!(
                "nothing is written until a restart, as the disk refused: {reason}"
            ));
        }
        let answers = self.answers().await;
        if !answers {
            reasons.push(format!(
                "the database has not answered within {} seconds",
                PATIENCE.as_secs()
            ));
        }
        if let Some(free) = self.free_bytes()
            && free < self.reserved_bytes
        {
            reasons.push(format!(
                "the disk of {} is nearly full: {} MiB are free, and files are refused below {}",
                self.data_dir.display(),
                free >> 20,
                self.reserved_bytes >> 20
            ));
        }
        reasons.extend(self.certificate_reasons());
        if answers && let Ok(internals) = self.store.internals().await {
            reasons.extend(readers_behind(&internals));
        }
        let is_stopping = self.stop.is_stopping();
        if is_stopping {
            reasons.push("the server stops".to_owned());
        }
        Health {
            live: answers,
            ready: answers && failure.is_none() && !is_stopping,
            degraded: !reasons.is_empty(),
            reasons,
        }
    }

    /// Whether the database answers in time.
    pub(crate) async fn answers(&self) -> bool {
        let asked = self.store.read(|view| {
            // Any read at all shows that threads and locks are not stuck.
            let _ = view.position();
            Ok::<_, StoreError>(())
        });
        matches!(tokio::time::timeout(PATIENCE, asked).await, Ok(Ok(())))
    }

    /// Bytes on the data folder's disk that can still be taken.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.data_dir).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// The certificates that end soon, or have ended, in words.
    pub(crate) fn certificate_reasons(&self) -> Vec<String> {
        let now = self.clock.now().0;
        let reason = |tls: &Tls| {
            let ends = tls.ends_at()?;
            let file = tls.certificate().display();
            match ends.0.checked_sub(now) {
                None => Some(format!("the certificate {file} has ended on {ends}")),
                Some(left) if left < WORRY_DAYS * DAY => Some(format!(
                    "the certificate {file} ends on {ends}, in {} days",
                    left / DAY
                )),
                Some(_) => None,
            }
        };
        self.tls.iter().filter_map(reason).collect()
    }
}

fn readers_behind(internals: &Internals) -> impl Iterator<Item = String> {
    let behind = internals
        .unread
        .iter()
        .filter(|(_, unread)| *unread >= FAR_BEHIND);
    behind.map(|(name, unread)| format!("{name} is behind: at least {unread} commits are unread"))
}
