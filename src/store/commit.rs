//! The ordered commit: batches are applied one after another, one syncer makes all that was written meanwhile durable with a single fdatasync, and
//! publishes it together with a snapshot taken at exactly that position.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use rocksdb::WriteOptions;
use tokio::sync::{mpsc, oneshot};

use crate::{
    Batch, Latest, Position, Scope, Snapshot, Store, StoreError,
    database::{Database, META_BY_NAME, meta},
    internals::Measures,
    log::LOG_BY_POSITION,
    mark::Mark,
    space::{Guard, Need},
    watch::Watchers,
};

/// How long a commit that nobody waits for may stay unsynced.
const LATER: Duration = Duration::from_millis(500);

/// How many commits the writer makes before it syncs.
const GROUP: usize = 256;

/// Work for the writer's thread.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// What the writer and the syncer share.
pub(crate) struct Shared {
    pub(crate) database: Arc<Database>,
    pub(crate) watchers: Arc<Watchers>,
    /// The published snapshot. Replaced by the syncer alone.
    pub(crate) published: RwLock<Snapshot>,
    /// Higher than every serial ever given out; stored with every commit.
    pub(crate) next_serial: AtomicU64,
    /// Held by whoever commits: this is what makes commits one after another.
    writer: Mutex<Writer>,
    progress: Mutex<Progress>,
    written: Condvar,
    measures: Measures,
    pub(crate) guards: Guards,
    now: runtime::Clock,
}

/// What watches over the disk.
pub(crate) struct Guards {
    /// Whether there is room.
    pub(crate) disk: Guard,
    /// How far it was synced.
    pub(crate) mark: Mark,
}

struct Progress {
    written: Position,
    synced: Position,
    scopes: Vec<Scope>,
    waiting: Vec<(oneshot::Sender<()>, Instant)>,
    /// Why nothing may be written any more.
    stopped: Option<String>,
    /// Whether a thread syncs at this moment.
    syncing: bool,
    closing: bool,
}

impl Shared {
    pub(crate) fn new(
        database: Arc<Database>,
        last: Position,
        next_serial: u64,
        now: runtime::Clock,
        measures: Measures,
        guards: Guards,
    ) -> Self {
        Self {
            measures,
            guards,
            now: now.clone(),
            writer: Mutex::new(Writer {
                latest: Latest {
                    database: database.clone(),
                },
                last,
                options: WriteOptions::default(),
                now,
            }),
            watchers: Arc::new(Watchers::new(last)),
            published: RwLock::new(Snapshot::take(database.clone(), last)),
            next_serial: AtomicU64::new(next_serial),
            progress: Mutex::new(Progress {
                written: last,
                synced: last,
                scopes: Vec::new(),
                waiting: Vec::new(),
                stopped: None,
                syncing: false,
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

    /// Why nothing may be written any more.
    pub(crate) fn stopped(&self) -> Option<String> {
        self.progress.lock().stopped.clone()
    }

    fn failure(&self) -> StoreError {
        let reason = self.stopped();
        StoreError::WritingStopped(reason.unwrap_or_else(|| "the store is closing".to_owned()))
    }

    /// The syncer's life: returns when the store closes.
    pub(crate) fn run_syncer(&self) {
        let mut progress = self.progress.lock();
        loop {
            if progress.stopped.is_some() {
                return;
            }
            if !progress.waiting.is_empty() && !progress.syncing {
                progress = self.sync(progress);
                continue;
            }
            let unsynced = progress.written > progress.synced;
            if progress.syncing {
                // Somebody else syncs, and says so when that is done.
                self.written.wait(&mut progress);
            } else if progress.closing {
                if !unsynced {
                    return;
                }
                progress = self.sync(progress);
            } else if unsynced {
                // Nobody waits: gather for a while, then sync what is there.
                let waited = self.written.wait_for(&mut progress, LATER);
                if waited.timed_out() && !progress.syncing {
                    progress = self.sync(progress);
                }
            } else {
                self.written.wait(&mut progress);
            }
        }
    }

    /// Syncs at once on the caller's thread, if somebody waits for it and nobody does so
    /// already: saves waking the syncer.
    pub(crate) fn sync_here(&self) {
        let mut progress = self.progress.lock();
        if progress.syncing || progress.stopped.is_some() {
            // Whoever syncs now lets the syncer go on with those who came meanwhile.
            return;
        }
        if progress.waiting.is_empty() {
            if progress.written > progress.synced {
                // Nobody waits; the syncer sees to it in time.
                self.written.notify_one();
            }
            return;
        }
        progress = self.sync(progress);
        let more = progress.written > progress.synced || !progress.waiting.is_empty();
        if more || progress.closing {
            self.written.notify_one();
        }
    }

    /// Lets the syncer begin with what was written so far.
    pub(crate) fn sync_soon(&self) {
        self.written.notify_one();
    }

    /// Makes everything durable that was written, publishes it and tells those who wait.
    /// The lock is let go meanwhile.
    fn sync<'a>(&'a self, mut progress: MutexGuard<'a, Progress>) -> MutexGuard<'a, Progress> {
        progress.syncing = true;
        let target = progress.written;
        // Taken under the lock that every write holds: it has exactly the commits up to
        // `target`, and all of those are in the log.
        let snapshot = Snapshot::take(self.database.clone(), target);
        let scopes = std::mem::take(&mut progress.scopes);
        let waiting = std::mem::take(&mut progress.waiting);
        let commits = target.0.saturating_sub(progress.synced.0);
        drop(progress);
        let begun = Instant::now();
        let synced = self.database.db.flush_wal(true);
        self.measures.synced(begun, commits);
        if let Err(error) = synced {
            self.stop_writing(&error.into_string());
        } else {
            self.watchers.remember(&scopes, target);
            *self.published.write() = snapshot;
            for (sender, since) in waiting {
                self.measures.durable(since);
                // A caller that has gone away has nothing to be told.
                let _ = sender.send(());
            }
            self.watchers.wake(scopes);
            self.guards.mark.note(target, self.now.now());
        }
        let mut progress = self.progress.lock();
        progress.syncing = false;
        if progress.stopped.is_none() {
            progress.synced = target;
        }
        progress
    }

    /// After a failed write or sync nobody can say what is on disk: from here on
    /// nothing is written, acknowledged or shown.
    fn stop_writing(&self, reason: &str) {
        log::error!("writing has stopped: {reason}");
        self.database.damage.note(reason);
        let mut progress = self.progress.lock();
        progress.stopped = Some(reason.to_owned());
        progress.waiting.clear();
        self.written.notify_all();
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

/// What only the one who commits touches.
struct Writer {
    latest: Latest,
    last: Position,
    options: WriteOptions,
    now: runtime::Clock,
}

/// Writing on a thread of a lane, where blocking for a moment harms nobody: reads of
/// what was last written, computing, and commits in place.
pub struct Writing {
    store: Store,
    latest: Latest,
}

impl Writing {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            latest: store.latest(),
            store,
        }
    }

    /// What was last written.
    pub fn latest(&self) -> &Latest {
        &self.latest
    }

    /// The store that is written to.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Commits, as [`Store::commit`] does, and returns when it is written in its place
    /// in the order: nothing of it may be told before [`Written::durable`].
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn write<T, E: From<StoreError>>(
        &self,
        closure: impl FnOnce(&Latest, Position, &mut Batch) -> Result<T, E>,
    ) -> Result<(T, Written), E> {
        let shared = self.store.shared();
        shared.apply(Durability::Waited, Need::New, closure)
    }

    /// Has what was written so far made durable while this work goes on. At the work's
    /// end that happens anyway.
    pub fn sync_meanwhile(&self) {
        self.store.shared().sync_soon();
    }
}

/// The life of the writer's thread, which commits for those who must not block: all who
/// wait, and then one sync for all of them on the same thread. Who comes meanwhile would
/// have to wait for the next sync anyway. Returns when all senders are gone.
pub(crate) fn run_writer(shared: &Shared, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.blocking_recv() {
        job();
        for _ in 1..GROUP {
            let Ok(job) = jobs.try_recv() else { break };
            job();
        }
        shared.sync_here();
    }
    shared.close();
}

impl Shared {
    /// Runs one closure and writes its batch.
    pub(crate) fn apply<T, E: From<StoreError>>(
        self: &Arc<Self>,
        durability: Durability,
        need: Need,
        closure: impl FnOnce(&Latest, Position, &mut Batch) -> Result<T, E>,
    ) -> Result<(T, Written), E> {
        let mut writer = self.writer.lock();
        let position = Position(writer.last.0 + 1);
        let mut batch = Batch::new(self.database.clone());
        let latest = &writer.latest;
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
        self.guards
            .disk
            .admit(need, batch.rows.size_in_bytes() as u64)?;
        let written = self.write(&mut writer, position, batch, durability)?;
        Ok((value, written))
    }

    fn after_earlier(self: &Arc<Self>, durability: Durability) -> Written {
        let mut progress = self.progress.lock();
        let synced = (durability == Durability::Waited && progress.synced < progress.written)
            .then(|| self.register(&mut progress));
        Written {
            shared: self.clone(),
            synced,
        }
    }

    fn register(&self, progress: &mut Progress) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        progress.waiting.push((sender, Instant::now()));
        receiver
    }

    fn write(
        self: &Arc<Self>,
        writer: &mut Writer,
        position: Position,
        mut batch: Batch,
        durability: Durability,
    ) -> Result<Written, StoreError> {
        let database = &self.database;
        if !batch.entries.is_empty() {
            let entries = std::mem::take(&mut batch.entries);
            let record = crate::log::encode(writer.now.now().0, &entries);
            database.put(&mut batch.rows, &LOG_BY_POSITION, &position, &record)?;
        }
        let next_serial = self.next_serial.load(Ordering::Acquire);
        let mut row = position.0.to_be_bytes().to_vec();
        row.extend_from_slice(&next_serial.to_be_bytes());
        database.put(&mut batch.rows, &META_BY_NAME, &meta::PROGRESS, &row)?;
        let mut progress = self.progress.lock();
        if let Some(reason) = &progress.stopped {
            return Err(StoreError::WritingStopped(reason.clone()));
        }
        if let Err(error) = database.db.write_opt(batch.rows, &writer.options) {
            let reason = error.into_string();
            drop(progress);
            self.stop_writing(&reason);
            return Err(StoreError::WritingStopped(reason));
        }
        self.measures.commits.inc();
        writer.last = position;
        progress.written = position;
        progress.scopes.append(&mut batch.scopes);
        let synced = (durability == Durability::Waited).then(|| self.register(&mut progress));
        Ok(Written {
            shared: self.clone(),
            synced,
        })
    }
}
