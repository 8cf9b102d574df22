//! What administrators have done with rooms and takes long: a room is removed, its history is
//! shortened, what somebody has said is redacted.
//!
//! Each is a row that says how far it is. One task does one step after the other; what a step does
//! and how far it has come are one commit, so that nothing is half done after a crash and it goes on
//! where it was.

mod purging;
mod redactions;
mod removal;
mod shrinking;

pub use redactions::WantedRedaction;
pub use removal::WantedRemoval;
pub use shrinking::{Boundary, WantedShrinking};

use std::time::Duration;

use audit::Deed;
use model::{
    RoomSerial, RoomTaskRecord, RoomTaskState, RoomWork,
    tables::{PURGED_ROOM, ROOM_TASK_BY_ID},
};
use runtime::Stop;
use store::{Batch, Latest, Read, Snapshot, StoreError};

use crate::{AppendError, Rooms};

/// How long to wait after a failure that has nothing to do with the room.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How long it is remembered what became of something, in ms.
const REMEMBERED: u64 = 7 * 24 * 60 * 60 * 1_000;

/// Something that takes long, with its id.
pub type RoomTask = (String, RoomTaskRecord);

impl Rooms {
    /// Does what administrators have begun until the server stops, first what was under way when
    /// it stopped last. Run it once, as a task.
    pub async fn work_on_tasks(&self, stop: Stop) {
        while !stop.is_stopping() {
            let pause = match self.next_task().await {
                Ok(Some(task)) => match self.work_on(task, &stop).await {
                    Ok(()) => continue,
                    Err(error) => {
                        log::error!(
                            "what was begun with a room cannot go on, and is tried again: {error}"
                        );
                        AFTER_FAILURE
                    }
                },
                Ok(None) => Duration::MAX,
                Err(error) => {
                    log::error!("what was begun with rooms cannot be read: {error}");
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = stop.stopped() => return,
                () = self.inner.tasks.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// What is under way, or else what was begun first.
    async fn next_task(&self) -> Result<Option<RoomTask>, StoreError> {
        let read = |view: &Snapshot| {
            let open = |task: &RoomTask| {
                matches!(task.1.state, RoomTaskState::Waiting | RoomTaskState::Active)
            };
            let tasks = room_tasks(view)?.into_iter().filter(open);
            Ok::<_, StoreError>(tasks.min_by_key(|(_, record)| {
                (record.state == RoomTaskState::Waiting, record.started_at)
            }))
        };
        self.inner.store.read(read).await
    }

    async fn work_on(&self, (id, mut record): RoomTask, stop: &Stop) -> Result<(), StoreError> {
        while record.finished_at == 0 && !stop.is_stopping() {
            record.state = RoomTaskState::Active;
            let stepped = match record.work.clone() {
                RoomWork::Removal(removal) => self.remove_on(&id, record.clone(), removal).await,
                RoomWork::Shrinking(work) => self.shrink_on(&id, record.clone(), work).await,
                RoomWork::Redaction(work) => self.redact_on(&id, record.clone(), work).await,
            };
            record = match stepped {
                Ok(record) => record,
                Err(AppendError::Store(error)) => return Err(error),
                Err(error) => self.give_up(&id, record, error.to_string()).await?,
            };
        }
        if record.finished_at > 0 {
            log::info!(id = id.as_str(), done = record.done, state:? = record.state; "what was begun with a room has ended");
        }
        Ok(())
    }

    async fn give_up(
        &self,
        id: &str,
        mut record: RoomTaskRecord,
        why: String,
    ) -> Result<RoomTaskRecord, StoreError> {
        record.state = RoomTaskState::Failed(why);
        record.finished_at = self.inner.clock.now().0;
        self.note_task(id, record).await
    }

    /// Writes how far something is.
    async fn note_task(
        &self,
        id: &str,
        record: RoomTaskRecord,
    ) -> Result<RoomTaskRecord, StoreError> {
        let id = id.to_owned();
        let commit = move |_: &Latest, _, batch: &mut Batch| {
            batch.put(&ROOM_TASK_BY_ID, &id, &record);
            Ok(record)
        };
        self.inner.store.commit_from_reserve(commit).await
    }

    /// The record as that of something that has ended now.
    fn ended(&self, mut record: RoomTaskRecord) -> RoomTaskRecord {
        record.state = RoomTaskState::Done;
        record.expected = record.done;
        record.finished_at = self.inner.clock.now().0;
        record
    }

    /// Begins something that takes long, in the commit that tells the audit trail of it. `rows`
    /// may refuse it, and writes what else begins with it. Returns its id.
    async fn begin_task(
        &self,
        by: Option<String>,
        work: RoomWork,
        expected: u64,
        deed: Deed,
        rows: impl FnOnce(&Latest, &mut Batch) -> Result<(), AppendError> + Send + 'static,
    ) -> Result<String, AppendError> {
        let now = self.inner.clock.now().0;
        let id: String = self.inner.random.token().chars().take(16).collect();
        let record = RoomTaskRecord {
            by,
            started_at: now,
            work,
            state: RoomTaskState::Waiting,
            done: 0,
            expected,
            finished_at: 0,
        };
        let key = id.clone();
        self.inner
            .store
            .commit_from_reserve(move |latest, _, batch| {
                for (old, task) in room_tasks(latest)? {
                    if is_same(&task, &record) {
                        let text = "this is being done already".to_owned();
                        return Err(AppendError::BadState(text));
                    }
                    if task.finished_at > 0 && task.finished_at + REMEMBERED < now {
                        batch.delete(&ROOM_TASK_BY_ID, &old);
                    }
                }
                rows(latest, batch)?;
                batch.put(&ROOM_TASK_BY_ID, &key, &record);
                audit::record(latest, batch, now, &[deed])?;
                Ok(())
            })
            .await?;
        self.inner.tasks.notify_one();
        Ok(id)
    }
}

/// Whether `task` is under way and would do what `other` is to do: two administrators who begin
/// the same have begun it once.
fn is_same(task: &RoomTaskRecord, other: &RoomTaskRecord) -> bool {
    if task.finished_at > 0 {
        return false;
    }
    match (&task.work, &other.work) {
        (RoomWork::Removal(one), RoomWork::Removal(other)) => one.room == other.room,
        (RoomWork::Shrinking(one), RoomWork::Shrinking(other)) => one.room == other.room,
        (RoomWork::Redaction(one), RoomWork::Redaction(other)) => {
            one.user == other.user && one.rooms == other.rooms
        }
        _ => false,
    }
}

/// All that was begun and is remembered, in no particular order.
///
/// # Errors
/// If the database fails.
pub fn room_tasks(view: &impl Read) -> Result<Vec<RoomTask>, StoreError> {
    view.scan(&ROOM_TASK_BY_ID, &()).collect()
}

/// Whether a room was removed, and only the register tells of it.
///
/// # Errors
/// If the database fails.
pub fn is_purged(view: &impl Read, room: RoomSerial) -> Result<bool, StoreError> {
    view.contains(&PURGED_ROOM, &room)
}

/// Something that was begun.
///
/// # Errors
/// If the database fails.
pub fn room_task(view: &impl Read, id: &str) -> Result<Option<RoomTaskRecord>, StoreError> {
    view.get(&ROOM_TASK_BY_ID, &id.to_owned())
}
