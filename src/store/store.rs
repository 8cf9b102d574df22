//! The store's front: opening, committing, reading, watching.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
};

use parking_lot::Mutex;
use runtime::{Clock, Lane, LaneError, Random, Timestamp};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Batch, Latest, OpenError, Position, Read, Scope, Snapshot, StoreError, StoreOptions, Watch,
    Written,
    commit::{Durability, Guards, Job, Shared, Writing, run_writer},
    database::{Database, META_BY_NAME, meta},
    internals::Measures,
    mark::{self, Mark, Synced},
    space::{Guard, Need, Space},
    upgrade::{self, STEPS, Step},
};

/// How many commits may wait for the writer.
const COMMIT_QUEUE: usize = 1024;
/// How many reads may wait for each lane.
const READ_QUEUE: usize = 4096;
/// Threads for short reads, and for long ones.
const SHORT_LANE: usize = 4;
const LONG_LANE: usize = 2;
/// Threads for writers that compute before they commit.
const WRITE_LANE: usize = 2;

/// The database of one server. Cheap to clone; closes with its last clone, after a
/// last sync.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    // `None` only while closing.
    jobs: Option<mpsc::Sender<Job>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    short: Lane,
    long: Lane,
    write: Lane,
    epoch: u64,
    secret: [u8; 32],
    /// When the last commit before this opening was made durable, if that is known.
    last_synced_at: Option<Timestamp>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer ends when the last sender is gone, and lets the syncer end.
        self.jobs = None;
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                log::error!("a thread of the store panicked");
            }
        }
    }
}

impl Store {
    /// Opens the data folder `folder`, or makes one there, for the server named
    /// `identity`. Nobody else can open it until this store is gone.
    ///
    /// # Errors
    /// One sentence for a person: see [`OpenError`].
    pub fn open(
        folder: &Path,
        identity: &str,
        options: &StoreOptions,
        clock: &Clock,
        random: &Random,
    ) -> Result<Self, OpenError> {
        Self::open_with(folder, identity, options, clock, random, STEPS)
    }

    pub(crate) fn open_with(
        folder: &Path,
        identity: &str,
        options: &StoreOptions,
        clock: &Clock,
        random: &Random,
        steps: &[Step],
    ) -> Result<Self, OpenError> {
        let database = Database::open_after(folder, options, |path| mark::check(folder, path))?;
        let database = Arc::new(database);
        let latest = Latest {
            database: database.clone(),
        };
        let format = prepare(&database, &latest, folder, identity, random, steps)?;
        upgrade::upgrade(&database, folder, format, steps)?;
        let (last, next_serial) = progress(&latest)?;
        let epoch = number(&latest, meta::EPOCH)?;
        let synced = Synced::read(folder);
        if let Some(synced) = synced {
            mark::compare(database.db.path(), synced, epoch, last)?;
        }
        let mark = Mark::open(folder, epoch).map_err(|reason| OpenError::Folder {
            path: folder.to_owned(),
            reason,
        })?;
        let secret = latest
            .get(&META_BY_NAME, &meta::SECRET)?
            .and_then(|bytes| bytes.try_into().ok())
            .unwrap_or_default();
        let measures = Measures::new(&options.metrics);
        let disk = Guard::new(folder, options.reserved_bytes);
        let guards = Guards { disk, mark };
        let shared = Shared::new(database, last, next_serial, clock.clone(), measures, guards);
        let shared = Arc::new(shared);
        let (jobs, receiver) = mpsc::channel(COMMIT_QUEUE);
        let writer = shared.clone();
        let syncer = shared.clone();
        let threads = vec![
            thread("store-writer", move || run_writer(&writer, receiver))?,
            thread("store-syncer", move || syncer.run_syncer())?,
        ];
        let lane = |name, width| Lane::measured(name, width, READ_QUEUE, &options.metrics);
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                jobs: Some(jobs),
                threads: Mutex::new(threads),
                short: lane("read-short", SHORT_LANE),
                long: lane("read-long", LONG_LANE),
                write: lane("write", WRITE_LANE),
                epoch,
                secret,
                last_synced_at: synced.map(|synced| synced.at),
            }),
        })
    }

    /// Commits what the closure puts into the batch, and returns when it is on disk
    /// and published. The closure runs alone among all commits of the server: it
    /// may look up single rows as last written and refuse, and must not compute,
    /// block or call out.
    ///
    /// # Errors
    /// The closure's own, [`StoreError::DiskFull`] (then nothing was written), or that writing
    /// has stopped.
    pub async fn commit<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Latest, Position, &mut Batch) -> Result<T, E> + Send + 'static,
    {
        self.durably(Need::New, closure).await
    }

    /// As [`Store::commit`], when the disk is nearly full too: for what makes room, and for
    /// what remembers that something was done outside already.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn commit_from_reserve<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Latest, Position, &mut Batch) -> Result<T, E> + Send + 'static,
    {
        self.durably(Need::Housekeeping, closure).await
    }

    async fn durably<T, E, F>(&self, need: Need, closure: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Latest, Position, &mut Batch) -> Result<T, E> + Send + 'static,
    {
        let (value, written) = self.submit(Durability::Waited, need, closure).await?;
        written.durable().await?;
        Ok(value)
    }

    /// Commits in order, without waiting for the disk: for what may be lost by a
    /// power cut without harm (cursors, last-seen times, acknowledged queue rows).
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn commit_later<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Latest, Position, &mut Batch) -> Result<T, E> + Send + 'static,
    {
        let (durability, need) = (Durability::Later, Need::Housekeeping);
        Ok(self.submit(durability, need, closure).await?.0)
    }

    async fn submit<T, E, F>(
        &self,
        durability: Durability,
        need: Need,
        closure: F,
    ) -> Result<(T, Written), E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Latest, Position, &mut Batch) -> Result<T, E> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let shared = self.inner.shared.clone();
        let job: Job = Box::new(move || {
            // A caller that has gone away has nothing to be told; its commit stands.
            let _ = sender.send(shared.apply(durability, need, closure));
        });
        let jobs = self.inner.jobs.as_ref().ok_or(StoreError::Busy)?;
        jobs.send(job).await.map_err(|_| StoreError::Busy)?;
        receiver.await.map_err(|_| StoreError::Busy)?
    }

    /// Runs a short read (some point reads, a page) on the published snapshot.
    ///
    /// # Errors
    /// The closure's own, or that the lane is full.
    pub async fn read<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Snapshot) -> Result<T, E> + Send + 'static,
    {
        let snapshot = self.snapshot();
        run(&self.inner.short, move || closure(&snapshot)).await
    }

    /// Runs a long read (an initial sync, a whole room) on the published snapshot,
    /// where it delays no short one.
    ///
    /// # Errors
    /// The closure's own, or that the lane is full.
    pub async fn read_long<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Snapshot) -> Result<T, E> + Send + 'static,
    {
        let snapshot = self.snapshot();
        run(&self.inner.long, move || closure(&snapshot)).await
    }

    /// Runs a writer's preparation (its reads of what was last written, its
    /// computing) off the network's threads.
    ///
    /// # Errors
    /// The closure's own, or that the lane is full.
    pub async fn prepare<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Latest) -> Result<T, E> + Send + 'static,
    {
        let latest = self.latest();
        run(&self.inner.short, move || closure(&latest)).await
    }

    /// Starts a writer's work (reads of what was last written, computing, commits of
    /// its own) off the network's threads. Nobody waits for it: `work` tells who asked.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if too much of this waits already.
    pub fn start_writing(
        &self,
        work: impl FnOnce(&Writing) + Send + 'static,
    ) -> Result<(), StoreError> {
        let writing = Writing::new(self.clone());
        self.inner
            .write
            .start(move || {
                work(&writing);
                writing.store().shared().sync_here();
            })
            .map_err(|_: LaneError| StoreError::Busy)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// Has the note of how far the log was synced last. To be called every few seconds.
    ///
    /// # Errors
    /// If the disk refuses.
    pub async fn keep_mark(&self) -> Result<(), StoreError> {
        let shared = self.inner.shared.clone();
        let kept = move || {
            let synced = shared.guards.mark.sync();
            synced.map_err(|error| StoreError::Database(error.to_string()))
        };
        run(&self.inner.long, kept).await
    }

    /// What is left of the disk.
    pub fn space(&self) -> Space {
        self.inner.shared.guards.disk.space()
    }

    /// The published snapshot.
    pub fn snapshot(&self) -> Snapshot {
        self.inner.shared.published.read().clone()
    }

    /// What was last written: for writers only.
    pub fn latest(&self) -> Latest {
        Latest {
            database: self.inner.shared.database.clone(),
        }
    }

    /// A number that was never given out before and never will be again. It may be
    /// used only in a commit that follows.
    pub fn next_serial(&self) -> u64 {
        self.inner.shared.next_serial.fetch_add(1, Ordering::AcqRel)
    }

    /// Which life of the database this is; a restore begins a new one, and tokens
    /// of another are worth nothing.
    pub fn epoch(&self) -> u64 {
        self.inner.epoch
    }

    /// When the last commit before this opening was on disk, by the clock of then; none if
    /// that is not known.
    pub fn last_synced_at(&self) -> Option<Timestamp> {
        self.inner.last_synced_at
    }

    /// 32 random bytes made with the database, for keyed hashes. Never shown.
    pub fn secret(&self) -> &[u8; 32] {
        &self.inner.secret
    }

    /// Subscribes to `scopes`. Subscribe first, read second.
    pub fn watch(&self, scopes: &[Scope]) -> Watch {
        self.inner.shared.watchers.watch(scopes)
    }

    /// Whether `scope` may have changed after `since`: a quick no saves a read. Says
    /// yes when it does not know.
    pub fn changed_since(&self, scope: Scope, since: Position) -> bool {
        self.inner.shared.watchers.changed_since(scope, since)
    }

    /// Which of `scopes` may have changed after `since`: as [`Store::changed_since`] of
    /// each of them, for less.
    pub fn changed_among(
        &self,
        scopes: impl IntoIterator<Item = Scope>,
        since: Position,
    ) -> Vec<Scope> {
        self.inner.shared.watchers.changed_among(scopes, since)
    }

    /// Whether any of `scopes` may have changed after `since`.
    pub fn any_changed_since(&self, scopes: &[Scope], since: Position) -> bool {
        self.inner.shared.watchers.any_changed_since(scopes, since)
    }

    /// Wakes those who wait for `scope`, for changes that are only in memory.
    pub fn wake(&self, scope: Scope) {
        self.inner.shared.watchers.wake([scope]);
    }

    /// Where work runs that takes long.
    pub(crate) fn long_lane(&self) -> &Lane {
        &self.inner.long
    }
}

pub(crate) async fn run<T: Send + 'static, E: From<StoreError> + Send + 'static>(
    lane: &Lane,
    job: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    lane.run(job)
        .await
        .map_err(|_: LaneError| StoreError::Busy)?
}

fn thread(name: &str, life: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(life)
        .map_err(|error| StoreError::Database(format!("no thread for {name}: {error}")))
}

/// Writes the first rows of a new database, or checks those of an old one. Returns its format.
pub(crate) fn prepare(
    database: &Database,
    latest: &Latest,
    folder: &Path,
    identity: &str,
    random: &Random,
    steps: &[Step],
) -> Result<u32, OpenError> {
    let known = upgrade::format(steps);
    let Some(format) = latest.get(&META_BY_NAME, &meta::FORMAT)? else {
        if !database.is_empty()? {
            return Err(OpenError::Foreign {
                path: folder.join("database"),
            });
        }
        let mut rows = rocksdb::WriteBatch::default();
        let mut put =
            |name: u8, value: Vec<u8>| database.put(&mut rows, &META_BY_NAME, &name, &value);
        put(meta::FORMAT, known.to_be_bytes().to_vec())?;
        put(meta::IDENTITY, identity.as_bytes().to_vec())?;
        put(meta::EPOCH, random.number().to_be_bytes().to_vec())?;
        put(meta::SECRET, random.bytes::<32>().to_vec())?;
        database.db.write(rows).map_err(StoreError::from)?;
        database.db.flush_wal(true).map_err(StoreError::from)?;
        return Ok(known);
    };
    let found = format.try_into().map_or(u32::MAX, u32::from_be_bytes);
    // An upgrade that is under way has begun to make the newer one.
    let made = upgrade::begun(database)?.map_or(found, |(to, _)| to.max(found));
    if made > known {
        return Err(OpenError::Newer {
            found: made,
            known,
            kept: upgrade::newest_kept(folder, known),
        });
    }
    let stored = latest
        .get(&META_BY_NAME, &meta::IDENTITY)?
        .unwrap_or_default();
    if stored != identity.as_bytes() {
        return Err(OpenError::OtherServer {
            stored: String::from_utf8_lossy(&stored).into_owned(),
            given: identity.to_owned(),
        });
    }
    Ok(found)
}

/// The last position and the next serial.
pub(crate) fn progress(latest: &Latest) -> Result<(Position, u64), StoreError> {
    let Some(row) = latest.get(&META_BY_NAME, &meta::PROGRESS)? else {
        return Ok((Position(0), 1));
    };
    let half = |bytes: Option<&[u8]>| {
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_be_bytes)
            .ok_or(StoreError::Corrupt {
                table: META_BY_NAME.name,
                reason: crate::DecodeError("the progress row"),
            })
    };
    Ok((Position(half(row.get(..8))?), half(row.get(8..))?))
}

fn number(latest: &Latest, name: u8) -> Result<u64, StoreError> {
    let bytes = latest.get(&META_BY_NAME, &name)?.unwrap_or_default();
    Ok(bytes.try_into().map_or(0, u64::from_be_bytes))
}
