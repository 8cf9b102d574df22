//! Whether the running server is well, and what an operator should look at.

use std::{path::PathBuf, sync::Arc, time::Duration};

use certificates::Keeper;
use runtime::{Clock, Stop, Timestamp};
use store::{Internals, Store, StoreError};
use tokio::sync::Notify;
use web::{Health, Tls};

/// How long before its end a certificate is a reason to worry, in days.
const WORRY_DAYS: u64 = 14;
/// Unread records of the log from which on a reader is behind.
const FAR_BEHIND: u64 = 10_000;
/// How long a read of one row may take on a server that is well.
const PATIENCE: Duration = Duration::from_secs(10);
/// A clock before this (2026-01-01) is wrong: the program is younger.
const YOUNGEST: Timestamp = Timestamp(1_767_225_600_000);
/// So much earlier than what was written last a clock may be: people set it.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Milliseconds of a day.
const DAY: u64 = 24 * 60 * 60 * 1_000;

/// What is refused for want of room on the disk, from nothing to all that is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Nothing,
    Files,
    Everything,
}

/// What is looked at. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Overseer {
    pub(crate) store: Store,
    pub(crate) data_dir: PathBuf,
    /// Free bytes below which no file is taken any more.
    pub(crate) reserved_bytes: u64,
    pub(crate) tls: Vec<Tls>,
    /// Who sees to the certificate, if that is this server.
    pub(crate) keeper: Option<Arc<Keeper>>,
    pub(crate) clock: Clock,
    pub(crate) stop: Stop,
    /// Told when only a restart is missing for the server to be well.
    pub(crate) restart: Arc<Notify>,
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
        if let Some(reason) = self.store.damage() {
            reasons.push(format!(
                "a file of the database is damaged: look after the disk, stop the server, and have the file put back as a backup has it (cairn backup mend FOLDER): {reason}"
            ));
        }
        let answers = self.answers().await;
        if !answers {
            reasons.push(format!(
                "the database has not answered within {} seconds",
                PATIENCE.as_secs()
            ));
        }
        reasons.extend(self.disk_reason());
        reasons.extend(self.certificate_reasons());
        reasons.extend(self.clock_reason());
        let unrenewed = self.keeper.as_ref().and_then(|keeper| keeper.failure());
        reasons.extend(unrenewed.map(|reason| format!("the certificate is not renewed: {reason}")));
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

    /// What is refused as the disk is nearly full.
    pub(crate) fn refused(&self) -> Refused {
        let space = self.store.space();
        match () {
            () if space.is_short => Refused::Everything,
            () if space.free < self.reserved_bytes => Refused::Files,
            () => Refused::Nothing,
        }
    }

    /// Whether the clock cannot be right, as on a machine without a battery for it.
    fn clock_reason(&self) -> Option<String> {
        let now = self.clock.now();
        let before = match self.store.last_synced_at() {
            _ if now < YOUNGEST => YOUNGEST,
            Some(last) if now.plus(HOUR) < last => last,
            _ => return None,
        };
        Some(format!(
            "the clock shows {now}, before {before}: set it, or get a time server"
        ))
    }

    fn disk_reason(&self) -> Option<String> {
        let space = self.store.space();
        let (what, below) = match self.refused() {
            Refused::Nothing => return None,
            Refused::Files => ("files are refused", self.reserved_bytes),
            Refused::Everything => ("nothing new is written", space.reserved),
        };
        Some(format!(
            "the disk of {} is nearly full: {} MiB are free, and {what} below {}; make room, and it goes on by itself",
            self.data_dir.display(),
            space.free >> 20,
            below >> 20
        ))
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
