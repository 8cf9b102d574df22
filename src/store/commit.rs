//! The ordered commit: one writer applies batches one after another, one syncer
//! makes all that was written meanwhile durable with a single fdatasync, and
//! publishes it together with a snapshot taken at exactly that position.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex, RwLock};
use rocksdb::WriteOptions;
use tokio::sync::{mpsc, oneshot};

use crate::{
    Batch, Latest, Position, Scope, Snapshot, StoreError,
    database::{Database, META_BY_NAME, meta},
    log::LOG_BY_POSITION,
    watch::Watchers,
};

/// How long a commit that nobody waits for may stay unsynced.
const LATER: Duration = Duration::from_millis(500);

/// Work for the writer.
pub(crate) type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// What the writer and the syncer share.
pub(crate) struct Shared {
    pub(crate) database: Arc<Database>,
    pub(crate) watchers: Arc<Watchers>,
    /// The published snapshot. Replaced by the syncer alone.
    pub(crate) published: RwLock<Snapshot>,
    /// Higher than every serial ever given out; stored with every commit.
    pub(crate) next_serial: AtomicU64,
    progress: Mutex<Progress>,
    written: Condvar,
}

struct Progress {
    written: Position,
    synced: Position,
    scopes: Vec<Scope>,
    waiting: Vec<oneshot::Sender<()>>,
    /// Why nothing may be written any more.
    stopped: Option<String>,
    closing: bool,
}

impl Shared {
    pub(crate) fn new(database: Arc<Database>, last: Position, next_serial: u64) -> Self {
        Self {
            watchers: Arc::new(Watchers::new(last)),
            published: RwLock::new(Snapshot::take(database.clone(), last)),
            next_serial: AtomicU64::new(next_serial),
            progress: Mutex::new(Progress {
                written: last,
                synced: last,
                scopes: Vec::new(),
                waiting: Vec::new(),
                stopped: None,
                closing: false,
            }),
            written: Condvar::new(),
            database,
        }
    }

    /// Lets the syncer end after a last sync.
    pub(crate) fn close(&self) {
        self.progress.lock().closing = true;
        self.written.notify_all();
    }

    fn failure(&self) -> StoreError {
        let reason = self.progress.lock().stopped.clone();
        StoreError::WritingStopped(reason.unwrap_or_else(|| "the store is closing".to_owned()))
    }

    /// The syncer's life: returns when the store closes.
    pub(crate) fn run_syncer(&self) {
        loop {
            let mut progress = self.progress.lock();
            while progress.waiting.is_empty() && !progress.closing {
                let unsynced = progress.written > progress.synced;
                if unsynced {
                    // Nobody waits: gather for a while, then sync what is there.
                    if self.written.wait_for(&mut progress, LATER).timed_out() {
                        break;
                    }
                } else {
                    self.written.wait(&mut progress);
                }
            }
            if progress.written == progress.synced && progress.waiting.is_empty() {
                if progress.closing {
                    return;
                }
                continue;
            }
            let target = progress.written;
            // Taken under the lock that every write holds: it has exactly the
            // commits up to `target`, and all of those are in the log.
            let snapshot = Snapshot::take(self.database.clone(), target);
            let scopes = std::mem::take(&mut progress.scopes);
            let waiting = std::mem::take(&mut progress.waiting);
            drop(progress);
            if let Err(error) = self.database.db.flush_wal(true) {
                self.stop_writing(&error.into_string());
                return;
            }
            self.progress.lock().synced = target;
            self.watchers.remember(&scopes, target);
            *self.published.write() = snapshot;
            for sender in waiting {
                // A caller that has gone away has nothing to be told.
                let _ = sender.send(());
            }
            self.watchers.wake(scopes);
        }
    }

    /// After a failed write or sync nobody can say what is on disk: from here on
    /// nothing is written, acknowledged or shown.
    fn stop_writing(&self, reason: &str) {
        log::error!("writing has stopped: {reason}");
        let mut progress = self.progress.lock();
        progress.stopped = Some(reason.to_owned());
        progress.waiting.clear();
    }
}

/// A commit that is written and not yet known to be on disk.
pub struct Written {
    shared: Arc<Shared>,
    synced: Option<oneshot::Receiver<()>>,
}

impl Written {
    /// Returns once the commit is on disk and published.
    ///
    /// # Errors
    /// If the disk refused: the commit may or may not be there after a restart.
    pub async fn durable(self) -> Result<(), StoreError> {
        match self.synced {
            None => Ok(()),
            Some(synced) => synced.await.map_err(|_| self.shared.failure()),
        }
    }
}

/// Whether somebody waits for a commit to be on disk.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Durability {
    Waited,
    Later,
}

/// Applies batches, one after another, on a thread of its own.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    latest: Latest,
    last: Position,
    options: WriteOptions,
    now: runtime::Clock,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, last: Position, now: runtime::Clock) -> Self {
        Self {
            latest: Latest {
                database: shared.database.clone(),
            },
            shared,
            last,
            options: WriteOptions::default(),
            now,
        }
    }

    /// The writer's life: returns when all senders are gone.
    pub(crate) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            job(&mut self);
        }
        self.shared.close();
    }

    /// Runs one closure and writes its batch.
    pub(crate) fn apply<T, E: From<StoreError>>(
        &mut self,
        durability: Durability,
        closure: impl FnOnce(&Latest, Position, &mut Batch) -> Result<T, E>,
    ) -> Result<(T, Written), E> {
        let position = Position(self.last.0 + 1);
        let mut batch = Batch::new(self.shared.database.clone());
        let latest = &self.latest;
        let value = catch_unwind(AssertUnwindSafe(|| closure(latest, position, &mut batch)))
            .unwrap_or_else(|_| {
                Err(StoreError::Database("a commit's closure panicked".to_owned()).into())
            })?;
        if let Some(error) = batch.broken.take() {
            return Err(error.into());
        }
        if batch.is_empty() {
            // Nothing of its own to sync, but its answer may rest on a write that
            // is not on disk yet: wait for that one.
            return Ok((value, self.after_earlier(durability)));
        }
        let written = self.write(position, batch, durability)?;
        Ok((value, written))
    }

    fn after_earlier(&self, durability: Durability) -> Written {
        let mut progress = self.shared.progress.lock();
        let synced = (durability == Durability::Waited && progress.synced < progress.written)
            .then(|| self.register(&mut progress));
        Written {
            shared: self.shared.clone(),
            synced,
        }
    }

    fn register(&self, progress: &mut Progress) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        progress.waiting.push(sender);
        self.shared.written.notify_one();
        receiver
    }

    fn write(
        &mut self,
        position: Position,
        mut batch: Batch,
        durability: Durability,
    ) -> Result<Written, StoreError> {
        let database = self.shared.database.clone();
        if !batch.entries.is_empty() {
            let entries = std::mem::take(&mut batch.entries);
            let record = crate::log::encode(self.now.now().0, &entries);
            database.put(&mut batch.rows, &LOG_BY_POSITION, &position, &record)?;
        }
        let next_serial = self.shared.next_serial.load(Ordering::Acquire);
        let mut row = position.0.to_be_bytes().to_vec();
        row.extend_from_slice(&next_serial.to_be_bytes());
        database.put(&mut batch.rows, &META_BY_NAME, &meta::PROGRESS, &row)?;
        let mut progress = self.shared.progress.lock();
        if let Some(reason) = &progress.stopped {
            return Err(StoreError::WritingStopped(reason.clone()));
        }
        if let Err(error) = database.db.write_opt(batch.rows, &self.options) {
            let reason = error.into_string();
            drop(progress);
            self.shared.stop_writing(&reason);
            return Err(StoreError::WritingStopped(reason));
        }
        self.last = position;
        progress.written = position;
        progress.scopes.append(&mut batch.scopes);
        let synced = match durability {
            Durability::Waited => Some(self.register(&mut progress)),
            Durability::Later => {
                self.shared.written.notify_one();
                None
            }
        };
        Ok(Written {
            shared: self.shared.clone(),
            synced,
        })
    }
}
